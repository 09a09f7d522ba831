"""Configurations as plain text: dicts for JSON, and TOML."""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path

from facemeld.config.checks import without_none
from facemeld.config.training import TrainingConfig
from facemeld.errors import UserError, did_you_mean


def to_dict(config) -> dict:
    """A configuration as plain dicts, lists, strings, numbers and booleans."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(kind: type, values: dict, where: str = ""):
    """Reads a configuration of class ``kind``; unknown names and wrong types are UserErrors."""
    return _build(kind, values, where, prefix="")


def _build(kind: type, values: dict, where: str, prefix: str):
    if not isinstance(values, dict):
        raise UserError(f"{prefix or 'the configuration'} must be a table", where=where)
    hints = typing.get_type_hints(kind)
    for name in values:
        if name not in hints:
            raise UserError(
                f"unknown option '{prefix}{name}'", where=where, fix=did_you_mean(name, list(hints))
            )
    built = {}
    for name, value in values.items():
        hint = without_none(hints[name])
        if dataclasses.is_dataclass(hint) and value is not None:
            value = _build(hint, value, where, prefix=f"{prefix}{name}.")
        elif typing.get_origin(hint) is tuple and isinstance(value, list):
            value = tuple(value)
        elif hint is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        built[name] = value
    return kind(**built)


def dotted(values: dict, prefix: str = "") -> dict:
    """Nested tables as one, with dotted names."""
    options = {}
    for name, value in values.items():
        inner = dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else None
        options |= inner or {f"{prefix}{name}": value}
    return options


def write_toml(config: TrainingConfig, path: Path) -> None:
    """Writes a configuration as TOML: top-level options first, then a table for each group."""
    path.write_text(_toml_table(to_dict(config), name=""), encoding="utf-8")


def _toml_table(values: dict, name: str) -> str:
    lines = [f"[{name}]"] if name else []
    tables = []
    for key, value in values.items():
        if isinstance(value, dict):
            tables.append(_toml_table(value, f"{name}.{key}" if name else key))
        elif value is not None:
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n" + "".join("\n" + table for table in tables)


def read_toml(path: Path) -> dict:
    """The tables of a TOML file; UserError if it is missing or not TOML."""
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("no such configuration file", where=str(path)) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"not a readable TOML file: {error}", where=str(path)) from None
