"""The rooms of the house import only from rooms further down (docs/architecture.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import facemeld

ROOT = Path(facemeld.__file__).parent
ORDER = (
    "cli",
    "web",
    "reports",
    "training",
    "evaluation",
    "export",
    "fusion",
    "faces",
    "data",
    "networks",
    "images",
    "config",
    "files",
    "errors",
)


def _room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "facemeld" and len(parts) > 1 else None


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {room for name in found if (room := _room(name)) is not None}


def test_every_import_points_down():
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if own not in ORDER:
            continue
        for room in _imports(path):
            if ORDER.index(room) < ORDER.index(own):
                wrong.append(f"{path.relative_to(ROOT)} imports {room}")
    assert wrong == []


def test_every_room_is_in_the_list():
    rooms = {p.name.removesuffix(".py") for p in ROOT.iterdir() if not p.name.startswith("_")}
    assert rooms - {"assets", "models", "py.typed"} == set(ORDER)
