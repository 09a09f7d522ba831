"""The command line: each command maps to one function of the library, nothing else.

A module here holds the commands of one subject. torch is imported inside the commands that need
it, after everything that can be checked without it, so that help and mistakes answer at once.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import tyro

from facemeld import __version__
from facemeld.cli.app import app, speaks
from facemeld.errors import UserError

# each module registers its commands; the help lists them in this order
for subject in (
    "fuse",
    "video",
    "faces",
    "data",
    "train",
    "distil",
    "evaluate",
    "compare",
    "models",
    "export",
    "bench",
    "ui",
):
    import_module(f"facemeld.cli.{subject}")


def main(arguments: list[str] | None = None) -> None:
    """Runs one command; a UserError becomes three lines and exit code 2."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    if arguments in (["--version"], ["-V"]):
        print(f"facemeld {__version__}")
        return
    try:
        app.cli(
            prog="facemeld",
            description="Fuse the features of faces. --debug shows tracebacks of errors.",
            args=arguments,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        )
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, like `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except (UserError, OSError) as error:
        if debug or not (error := _as_user_error(error)):
            raise
        if speaks():
            print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        if speaks():
            print("stopped", file=sys.stderr)
        raise SystemExit(130) from None


def _as_user_error(error: UserError | OSError) -> UserError | None:
    """What a full disk or a folder without rights is for a person; None for other faults."""
    import errno

    if isinstance(error, UserError):
        return error
    outside = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
    if error.errno not in outside:
        return None
    return UserError(
        f"cannot write: {error.strerror}",
        where=str(error.filename or "the output folder"),
        fix="free some space or choose another folder; earlier files are intact",
    )
