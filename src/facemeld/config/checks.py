"""Checks of configuration values; each returns the problems that it found, as sentences."""

from __future__ import annotations

import dataclasses
import types
import typing

from facemeld.errors import UserError, did_you_mean


def check(problems: list[str], where: str) -> None:
    """Raises one UserError that lists all problems, if there are any."""
    if problems:
        raise UserError("; ".join(problems), where=where, fix="change these values")


def type_problems(config) -> list[str]:
    """Values of another type than their field's."""
    found = []
    hints = typing.get_type_hints(type(config))
    for name, hint in hints.items():
        value = getattr(config, name)
        if value is None and without_none(hint) is not hint:
            continue
        hint = without_none(hint)
        if type(value) is hint and dataclasses.is_dataclass(value):
            if not hasattr(value, "problems"):  # others check themselves
                found += [f"{name}.{p}" for p in type_problems(value)]
            continue
        if typing.get_origin(hint) is tuple:
            item = typing.get_args(hint)[0]
            good = isinstance(value, tuple) and all(type(v) is item for v in value)
            kind = f"list of {item.__name__}"
        else:
            good = type(value) is hint or (hint is float and type(value) is int)
            kind = hint.__name__
        if good and hint is float and value != value:
            good = False
        if not good:
            found.append(f"{name} must be a {kind}, not {value!r}")
    return found


def choice_problems(config, name: str, known: tuple[str, ...]) -> list[str]:
    """A value that is none of the known names."""
    value = getattr(config, name)
    return [] if value in known else [f"no {name} named '{value}': {did_you_mean(value, known)}"]


def range_problems(config, name: str, low: float, high: float) -> list[str]:
    """A number outside low to high."""
    value = getattr(config, name)
    return [] if low <= value <= high else [f"{name} is {value}, but must be {low} to {high}"]


def without_none(hint):
    """The type in ``X | None``; any other type as it is."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(h for h in typing.get_args(hint) if h is not type(None))
    return hint
