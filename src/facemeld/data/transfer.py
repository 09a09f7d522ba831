"""One file over HTTPS: resumed, bounded, checked, and there whole or not at all.

Python's own urllib does the talking: the libraries that people usually add for this either do not
resume (pooch) or bring an HTTP stack of their own, and what is left to write is the same.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from facemeld import __version__
from facemeld.data.addresses import Redirects, check_address
from facemeld.data.catalogue import sha256_of
from facemeld.errors import UserError
from facemeld.files import locked
from facemeld.images.read import shown

_CHUNK = 1 << 16
_LONGEST_WAIT = 60.0  # seconds, whatever the server asks for
_SPARE = 50 * 10**6  # bytes to leave free on the disk
_OPENER = urllib.request.build_opener(Redirects)
_WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to try."""

    timeout: float = 30.0
    """Seconds without a byte, or at less than a kilobyte in as many seconds, that are a stall."""
    attempts: int = 5
    """Failures in a row, with nothing received between them, before giving up."""
    first_wait: float = 1.0
    """Seconds before the second attempt; doubled before each further one."""


class _Passing(Exception):
    """A failure that another attempt may mend."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _Complete(Exception):
    """Everything is there already."""


def fetch(
    url: str,
    to: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    expected: str = "the published file",
    most_bytes: int = 200 * 10**9,
    patience: Patience = Patience(),
    progress: Callable[[int, int | None], object] | None = None,
) -> str:
    """Download a file; one that was cut goes on where it stopped.

    What has arrived lies in ``NAME.partial`` until it is whole and verified.

    Args:
        url: https; http only on this machine itself.
        to: the file to write; an existing one is replaced only by a verified one.
        sha256: what the content must have, if known.
        size: bytes it must have, if known.
        expected: what file has that SHA-256, for the error when this one is another.
        most_bytes: what to refuse.
        patience: how long to try.
        progress: called with (bytes so far, bytes in all if known).

    Returns:
        the SHA-256 of the content.

    Raises:
        UserError: no connection, a dead link, another file than expected, no room on the disk, an
            address that is not allowed; what has arrived is kept where it can be continued.
    """
    check_address(url)
    to.parent.mkdir(parents=True, exist_ok=True)
    partial = _Partial(to)
    with partial.locked():
        resumed = _receive_all(url, partial, size, most_bytes, sha256, patience, progress)
        digest = sha256_of(partial.path)
        if sha256 is not None and digest != sha256 and resumed:
            # the parts may be of two versions of the file
            partial.clear()
            _receive_all(url, partial, size, most_bytes, sha256, patience, progress)
            digest = sha256_of(partial.path)
        if sha256 is not None and digest != sha256:
            partial.clear()
            raise UserError(
                f"not {expected}: SHA-256 is {digest}, expected {sha256}",
                where=url,
                fix="try once more; if it stays so, the publisher has changed the file",
            )
        partial.finish(to)
    return digest


class _Partial:
    """What has arrived of a file, and what the server said about it."""

    def __init__(self, to: Path) -> None:
        self.path = to.with_name(to.name + ".partial")
        self.facts_path = to.with_name(to.name + ".partial.json")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else may write here meanwhile; the lock goes with the process."""
        try:
            with locked(self.path, what="another download of this file"):
                yield
        finally:
            if self.path.exists() and not self.size:
                self.path.unlink()

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def clear(self) -> None:
        self.path.open("wb").close()  # not removed: the lock is on this file
        self.facts_path.unlink(missing_ok=True)

    def facts(self) -> dict:
        try:
            facts = json.loads(self.facts_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def remember(self, url: str, validator: str | None) -> None:
        self.facts_path.write_text(json.dumps({"url": url, "validator": validator}) + "\n")

    def finish(self, to: Path) -> None:
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        self.path.replace(to)
        self.facts_path.unlink(missing_ok=True)


def _receive_all(
    url: str,
    partial: _Partial,
    size: int | None,
    most_bytes: int,
    sha256: str | None,
    patience: Patience,
    progress: Callable[[int, int | None], object] | None,
) -> bool:
    """Receives until all is there; whether that took more than one piece."""
    facts = partial.facts()
    if facts.get("url") != url or not (facts.get("validator") or sha256):
        partial.clear()  # of something else, or nothing could tell whether the pieces fit
    pieces = failures = 0
    while True:
        before = partial.size
        pieces += 1
        try:
            with _attempt(url, partial, size, most_bytes, patience) as (response, total):
                _receive(response, partial, total, most_bytes, patience, progress)
            return pieces > 1 or before > 0
        except _Complete:
            return True
        except _Passing as failure:
            failures = 1 if partial.size > before else failures + 1
            if failures >= patience.attempts:
                raise UserError(
                    f"the download stopped: {failure} ({failures} times)",
                    where=url,
                    fix="run the same command again, it goes on where it stopped",
                ) from None
            time.sleep(min(failure.wait or patience.first_wait * 2**failures / 2, _LONGEST_WAIT))


@contextlib.contextmanager
def _attempt(
    url: str, partial: _Partial, size: int | None, most_bytes: int, patience: Patience
) -> Iterator[tuple[http.client.HTTPResponse, int | None]]:
    """One request for what is missing; gives the response and the bytes of the whole file."""
    have = partial.size
    headers = {"User-Agent": f"facemeld/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator := partial.facts().get("validator"):
            headers["If-Range"] = validator
    with _errors_explained(url, partial, have):
        request = urllib.request.Request(url, headers=headers)
        response = _OPENER.open(request, timeout=patience.timeout)
    with response:
        if have and response.status != 206:
            partial.clear()  # the server sends all of it, or the file has changed
            have = 0
        total = _announced(response, have, partial)
        _check_answer(response, url, size, total, most_bytes)
        _check_room(partial.path, total, have)
        partial.remember(url, _validator(response))
        yield response, total


@contextlib.contextmanager
def _errors_explained(url: str, partial: _Partial, have: int) -> Iterator[None]:
    """Failures to get an answer, as `_Passing` or as UserError."""
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:
                if error.headers.get("Content-Range") == f"bytes */{have}":
                    raise _Complete from None
                partial.clear()
                raise _Passing("the server has a shorter file now") from None
            if error.code in _WORTH_ANOTHER_TRY:
                asked = error.headers.get("Retry-After", "")
                wait = float(asked) if asked.isdecimal() else 0.0
                raise _Passing(f"the server answers {error.code} {error.reason}", wait) from None
        raise UserError(
            f"the publisher does not give the file out: {error.code} {error.reason}",
            where=url,
            fix="the link may be dead: look for the file elsewhere, and put it where "
            "`facemeld download` lists it",
        ) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _Passing("no answer") from None
        if _is_lasting(error.reason):
            raise UserError(
                f"no connection to {urlsplit(url).hostname}: {error.reason}",
                where=url,
                fix="check the network; offline, get the file by other means and name its folder "
                "with --weights-dir",
            ) from None
        raise _Passing(str(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise _Passing(str(error) or type(error).__name__) from None
    except ValueError:
        raise UserError("the server redirects to what is not an address", where=url) from None


def _is_lasting(reason: object) -> bool:
    """Whether a connection that failed for this reason would fail again at once."""
    if isinstance(reason, socket.gaierror | ConnectionRefusedError | ssl.SSLCertVerificationError):
        return True
    return getattr(reason, "errno", None) in (errno.ENETUNREACH, errno.EHOSTUNREACH)


def _receive(
    response: http.client.HTTPResponse,
    partial: _Partial,
    total: int | None,
    most_bytes: int,
    patience: Patience,
    progress: Callable[[int, int | None], object] | None,
) -> None:
    with partial.path.open("ab") as file:
        have = file.tell()
        since, at_least = time.monotonic(), have + 1000
        while chunk := _read(response):
            _write(file, chunk)
            have += len(chunk)
            if have > most_bytes:
                raise UserError(f"the file is over {most_bytes / 1e9:g} GB", where=response.url)
            now = time.monotonic()
            if have >= at_least:
                since, at_least = now, have + 1000
            elif now - since > patience.timeout:
                raise _Passing("hardly anything arrives")
            if progress is not None:
                progress(have, total)
    if total is not None and have < total:
        raise _Passing(f"cut after {have} of {total} bytes")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(_CHUNK)
    except TimeoutError:
        raise _Passing("it stalled") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Passing(f"cut ({error or type(error).__name__})") from None


def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise UserError(
            f"cannot write: {error.strerror}",
            where=shown(file.name),
            fix="free some space, then run the same command again; it goes on where it stopped",
        ) from None


def _announced(response: http.client.HTTPResponse, have: int, partial: _Partial) -> int | None:
    """Bytes of the whole file, as the server says."""
    length = response.headers.get("Content-Length", "")
    if response.status == 206:
        span, _, whole = response.headers.get("Content-Range", "").partition("/")
        if not span.startswith(f"bytes {have}-"):
            partial.clear()
            raise _Passing("the server sends another part than was asked for")
        if whole.isdecimal():
            return int(whole)
    return have + int(length) if length.isdecimal() else None


def _check_answer(
    response: http.client.HTTPResponse,
    url: str,
    size: int | None,
    total: int | None,
    most_bytes: int,
) -> None:
    kind = response.headers.get_content_type()
    if kind == "text/html" and "Content-Type" in response.headers:
        raise UserError(
            "the answer is a web page, not the file: the link is dead, or wants a person",
            where=response.url,
            fix="open it in a browser, and put the file where `facemeld download` lists it",
        )
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise UserError("the server sends an encoding that was not asked for", where=url)
    if total is not None and (total > most_bytes or (size is not None and total != size)):
        expected = f"at most {most_bytes}" if size is None else str(size)
        raise UserError(
            f"not the published file: the server offers {total} bytes, expected {expected}",
            where=url,
            fix="try once more; if it stays so, the publisher has changed the file",
        )


def _check_room(path: Path, total: int | None, have: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if total is not None and total - have + _SPARE > free:
        raise UserError(
            f"no room: {(total - have) / 1e6:.0f} MB are to come, {free / 1e6:.0f} MB are free",
            where=shown(path.parent),
            fix="free some space, or set FACEMELD_HOME to a folder on another disk",
        )


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What names this version of the file in a later If-Range; a weak ETag does not (RFC 9110)."""
    tag = response.headers.get("ETag", "")
    if tag.startswith('"'):
        return tag
    return response.headers.get("Last-Modified")
