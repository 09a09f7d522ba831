"""What stands between the network and Gradio: an allow-list, limits, headers, a password.

Gradio's own defaults are made for sharing demonstrations. This page lets through only what it
uses, so that a route that a later Gradio adds stays closed until somebody opens it here.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
MOST_BODY = 1_000_000
"""Bytes of a request that is no upload."""
MOST_STORED = 1_000_000_000
"""Bytes of temporary files, beyond which uploads are refused until some are cleared away."""

_READ = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/(assets|static|svelte)/.+"
    r"|/gradio_api/(info/?|openapi\.json|startup-events|upload_progress|queue/data|theme\.css"
    r"|app_id/?|heartbeat/\w+|file=.+|call/(v2/)?\w+/\w+)"
)
_WRITE = re.compile(
    r"/gradio_api/(upload|queue/join|run/predict|cancel|reset/?|component_server/?"
    r"|call/(v2/)?\w+)"
)
_UPLOADS = ("/gradio_api/upload", "/gradio_api/component_server")
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
        if refusal := self._refusal(scope):
            await refusal(scope, receive, send)
            return
        if scope["method"] == "POST" and not scope["path"].startswith(_UPLOADS):
            body = await _body(receive, MOST_BODY)
            if body is None:
                await _answer(413, "This is too large.")(scope, receive, send)
                return
            if not self._names_only_uploads(body):
                await _answer(422, "This request cannot be read.")(scope, receive, send)
                return
            receive = _replayed(body, receive)
        await self._app(scope, receive, _with_headers(send))

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
        return self._upload_refusal(headers) if scope["path"].startswith(_UPLOADS) else None

    def _upload_refusal(self, headers: Headers) -> PlainTextResponse | None:
        length = headers.get("content-length", "")
        if not length.isdecimal():  # the server holds senders to the length that they announce
            return _answer(411, "An upload has to say how long it is.")
        if int(length) > self._most_upload:
            return _answer(413, "This is too large.")
        if _stored(self._uploads) > MOST_STORED:
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


def _stored(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _answer(code: int, text: str) -> PlainTextResponse:
    return PlainTextResponse(text, status_code=code, headers=_HEADERS)
