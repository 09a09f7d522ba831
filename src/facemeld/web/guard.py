"""What stands between the network and Gradio: an allow-list, limits, headers, a password.

Gradio's own defaults are made for sharing demonstrations. This page lets through only what it
uses, so that a route that a later Gradio adds stays closed until somebody opens it here.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
MOST_BODY = 1_000_000
"""Bytes of a request that is no upload."""
MOST_STORED = 1_000_000_000
"""Bytes of temporary files, beyond which further ones are refused until some are cleared away."""

ARRIVED = "facemeld.arrived"
"""Under this name a request's scope says when it came, on the clock of ``time.monotonic``."""

_READ = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/(assets|static|svelte)/.+"
    r"|/gradio_api/(info/?|openapi\.json|startup-events|upload_progress|queue/data|theme\.css"
    r"|app_id/?|heartbeat/\w+|file=.+|call/(v2/)?\w+/\w+)"
)
_WRITE = re.compile(
    r"/gradio_api/(upload|queue/join|run/(predict|stop)|cancel|reset/?|call/(v2/)?\w+)"
)
_UPLOAD = "/gradio_api/upload"
_UNREADABLE = "This request cannot be read."
_HEADERS = {
    # Gradio starts from a script in its page, and makes functions of strings.
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'"
    "; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:"
    "; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:"
    "; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: what is guarded.
        uploads: the folder of uploaded and made files; requests may name no other paths.
        most_upload: bytes of one upload.
        host: the address that is listened on; on loopback, requests under other names are refused,
            so that no foreign page can reach the studio through a name of its own.
        auth: user and password that every request must carry, or None.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        uploads: Path,
        most_upload: int,
        host: str,
        auth: tuple[str, str] | None = None,
    ) -> None:
        self._app = app
        self._uploads = uploads.resolve()
        self._most_upload = most_upload
        self._only_loopback = host in LOOPBACK
        self._auth = None if auth is None else base64.b64encode(":".join(auth).encode()).decode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        scope[ARRIVED] = time.monotonic()
        try:
            refusal = self._refusal(scope)
        except ValueError:  # no host, no origin or no path is written so
            refusal = _answer(400, _UNREADABLE)
        if refusal:
            await refusal(scope, receive, send)
            return
        if scope["method"] == "POST" and scope["path"] != _UPLOAD:
            body = await _body(receive, MOST_BODY)
            if body is None:
                await _answer(413, "This is too large.")(scope, receive, send)
                return
            if not self._names_only_uploads(body):
                await _answer(422, _UNREADABLE)(scope, receive, send)
                return
            receive = _replayed(body, receive)
        send = _with_headers(send)
        held: list[Message] = []
        try:
            await self._app(scope, receive, _held_if_broken(send, held))
        except Exception as error:
            # So Gradio takes requests for functions that it has not, or with other arguments.
            if not held:
                raise
            print(f"refused: {scope['path']}: {error!r}", file=sys.stderr)
            held.clear()
            await _answer(400, _UNREADABLE)(scope, receive, send)
        finally:
            for message in held:
                await send(message)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = urlsplit("//" + headers.get("host", "")).hostname or ""
        if self._only_loopback and host not in LOOPBACK:
            return _answer(403, "The studio answers only under the names of this machine.")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return _answer(403, "Other pages may not use the studio.")
        if self._auth is not None and not self._knows(headers.get("authorization", "")):
            answer = _answer(401, "The studio asks for a user and a password.")
            answer.headers["www-authenticate"] = 'Basic realm="facemeld", charset="UTF-8"'
            return answer
        allowed = {"GET": _READ, "HEAD": _READ, "POST": _WRITE}.get(scope["method"])
        if allowed is None or not allowed.fullmatch(scope["path"]):
            return _answer(404, "There is nothing here.")
        asked = scope["path"].removeprefix("/gradio_api/file=")
        if asked != scope["path"] and not self._is_upload(asked):
            return _answer(404, "There is nothing here.")
        return self._upload_refusal(headers) if scope["path"] == _UPLOAD else None

    def _upload_refusal(self, headers: Headers) -> PlainTextResponse | None:
        length = headers.get("content-length", "")
        if not length.isdecimal():  # the server holds senders to the length that they announce
            return _answer(411, "An upload has to say how long it is.")
        if int(length) > self._most_upload:
            return _answer(413, "This is too large.")
        if bytes_in(self._uploads) > MOST_STORED:
            return _answer(507, "There are too many uploads; try again later.")
        return None

    def _knows(self, authorization: str) -> bool:
        kind, _, given = authorization.partition(" ")
        return kind.lower() == "basic" and hmac.compare_digest(given.encode(), self._auth.encode())

    def _names_only_uploads(self, body: bytes) -> bool:
        """Whether it is JSON without files that are elsewhere, on this machine or another."""
        try:
            value = json.loads(body or b"null")
            return all(self._is_upload(path) for path in _paths(value))
        except (ValueError, RecursionError, OSError):
            return False

    def _is_upload(self, path: object) -> bool:
        if path is None:
            return True
        return isinstance(path, str) and Path(path).resolve().is_relative_to(self._uploads)


def _paths(value: object):
    """The files that are named anywhere in a JSON value."""
    if isinstance(value, dict):
        if "path" in value:
            yield value["path"]
        for inner in value.values():
            yield from _paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner)


async def _body(receive: Receive, most: int) -> bytes | None:
    """The whole body, or None if it is larger."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            extra = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
            names = {name for name, _ in extra}
            kept = [(k, v) for k, v in message.get("headers", []) if k.lower() not in names]
            message = {**message, "headers": [*kept, *extra]}
        await send(message)

    return sending


def _held_if_broken(send: Send, held: list[Message]) -> Send:
    """Answers that tell of a broken server wait, so that another can be given instead."""

    async def sending(message: Message) -> None:
        if held or message.get("status", 0) >= 500:
            held.append(message)
        else:
            await send(message)

    return sending


def bytes_in(folder: Path) -> int:
    """Of all files below a folder; those that go meanwhile do not count."""
    sizes = []
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            sizes.append(file.stat().st_size if file.is_file() else 0)
    return sum(sizes)


def _answer(code: int, text: str) -> PlainTextResponse:
    return PlainTextResponse(text, status_code=code, headers=_HEADERS)
