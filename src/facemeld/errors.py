"""The one exception for mistakes that a person can make and mend."""

from __future__ import annotations


class UserError(Exception):
    """A mistake outside the program: a wrong file, option or folder.

    The command line prints it without a traceback and exits with code 2.

    Args:
        what: what is wrong, one line, without a final full stop.
        where: the file, folder, option or place that it is about.
        fix: what the person can do about it.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)


def did_you_mean(name: str, known: list[str] | tuple[str, ...]) -> str:
    """A sentence that suggests the nearest known name, or lists them all.

    Args:
        name: what the person wrote.
        known: the names that would have been right; not empty.
    """
    import difflib

    close = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=0.5)
    if close:
        match = next(k for k in known if k.lower() == close[0])
        return f"did you mean '{match}'? (there are: {', '.join(known)})"
    return f"choose one of: {', '.join(known)}"
