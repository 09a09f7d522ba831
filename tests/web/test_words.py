"""The page's texts: none is missing or left over, and errors are Chinese on a Chinese page."""

from __future__ import annotations

import ast
import re
import string
import tomllib
from pathlib import Path

import pytest

import facemeld
from facemeld.config import LEVELS
from facemeld.errors import UserError
from facemeld.fusion.regions import REGIONS
from facemeld.web.words import preferred, tell

PACKAGE = Path(facemeld.__file__).parent
TEXTS = tomllib.loads((PACKAGE / "web" / "words.toml").read_text(encoding="utf-8"))
ERRORS = TEXTS.pop("errors")
FROM_OTHER_ROOMS = {*REGIONS, *LEVELS, "human", "animal", "anime"}
# What works when somebody asks for a fusion on the page. The rest is about other commands.
ASKED = ("images/read.py", "networks/model_folder.py", "networks/bundle.py", "web/jobs.py")
ASKED += ("web/keep.py", "web/engine.py", "faces/__init__.py", "faces/heads.py")
ASKED += ("faces/landmarks.py", *(f"fusion/{name}.py" for name in (
    "encodings", "exported", "graph_backends", "pipeline", "regions", "request", "skip_masks",
    "timing",
)))  # fmt: skip
NOT_ASKED = ("cell is", "has no PyTorch networks")


def strings_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in found if isinstance(value, str)}


def test_every_text_is_used() -> None:
    used = set().union(*(strings_in(path) for path in (PACKAGE / "web").glob("*.py")))
    assert set(TEXTS) - used <= FROM_OTHER_ROOMS
    assert FROM_OTHER_ROOMS <= set(TEXTS)


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_say_it_with_the_same_values(key: str) -> None:
    text = TEXTS[key]
    assert set(text) == {"en", "zh"}
    parts = {spoken: string.Formatter().parse(said) for spoken, said in text.items()}
    values = {spoken: {part[1] for part in found} - {None} for spoken, found in parts.items()}
    assert values["en"] == values["zh"]
    assert re.search(r"[\u4e00-\u9fff]", text["zh"])


def errors_of(path: Path) -> list[str]:
    """What each UserError says; values are 7."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UserError":
            parts = [n for n in ast.walk(node.args[0]) if isinstance(n, ast.JoinedStr)]
            whole = parts[0].values if parts else [node.args[0]]
            found.append("".join(v.value if isinstance(v, ast.Constant) else "7" for v in whole))
    return found


SAID = sorted({what for name in ASKED for what in errors_of(PACKAGE / name)} - {"7"})


@pytest.mark.parametrize("what", [w for w in SAID if not any(part in w for part in NOT_ASKED)])
def test_an_error_is_chinese_on_a_chinese_page(what: str) -> None:
    assert len(SAID) > 50
    text = tell(UserError(what, fix="do this"), "zh")
    assert re.search(r"[\u4e00-\u9fff]", text) and what not in text, text


def test_every_chinese_error_is_said_somewhere() -> None:
    said = [what for path in PACKAGE.rglob("*.py") for what in errors_of(path)]
    assert [part for part in ERRORS if not any(part in what for what in said)] == []


def test_an_error_that_nobody_translated_still_ends_in_a_sentence() -> None:
    error = UserError("the moon is away", fix="wait")
    assert tell(error, "en") == "The moon is away: wait."
    assert tell(error, "zh") == "無法完成這項要求：The moon is away: wait。"


def test_the_browsers_language() -> None:
    assert preferred("zh-TW,zh;q=0.9,en;q=0.8") == "zh"
    assert preferred("de,en;q=0.7") == "en"
    assert preferred("fr") == "en"
