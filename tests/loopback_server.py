"""A web server on this machine whose manners a test chooses: it stalls, cuts, lies, redirects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Manners = Callable[["Handler", bytes], None]


class Server:
    """Serves `content` at any path; `manners` say how, one for each request, the last one on."""

    def __init__(self, content: bytes, manners: list[Manners]) -> None:
        self.content = content
        self.manners = manners
        self.requests: list[dict[str, str]] = []
        self.released = threading.Event()
        """Set when the test is over: handlers that stall end then."""
        self.web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.web.daemon_threads = True
        self.web.owner = self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web.server_port}/file.bin"

    @property
    def ranges(self) -> list[str | None]:
        """What each request asked for."""
        return [headers.get("Range") for headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    """One request, handed to the server's manners."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        owner: Server = self.server.owner
        index = len(owner.requests)
        owner.requests.append(dict(self.headers.items()))
        manners = owner.manners[min(index, len(owner.manners) - 1)]
        try:
            manners(self, owner.content)
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, headers: dict[str, object], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def start(self) -> int:
        """Where the request wants to begin, if its If-Range still fits."""
        if self.headers.get("If-Range", '"v1"') != '"v1"':
            return 0
        asked = self.headers.get("Range", "bytes=0-")
        return int(asked.removeprefix("bytes=").removesuffix("-"))


def well(handler: Handler, content: bytes) -> None:
    """As a good server does: ranges, an ETag, an honest length."""
    first = handler.start()
    tag = {"ETag": '"v1"', "Content-Type": "application/octet-stream"}
    if first >= len(content):
        handler.answer(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": 0})
        return
    body = content[first:]
    if first:
        tag["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
    handler.answer(206 if first else 200, tag | {"Content-Length": len(body)}, body)


def cuts_after(count: int) -> Manners:
    """Closes the connection after so many bytes of what was asked for."""

    def manners(handler: Handler, content: bytes) -> None:
        first = handler.start()
        headers = {"ETag": '"v1"', "Content-Length": len(content) - first}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        handler.answer(206 if first else 200, headers, content[first : first + count])

    return manners


def stalls_after(count: int) -> Manners:
    """Sends so many bytes, then nothing, with the connection open."""

    def manners(handler: Handler, content: bytes) -> None:
        cuts_after(count)(handler, content)
        handler.server.owner.released.wait(20)

    return manners


def dribbles(handler: Handler, content: bytes) -> None:
    """One byte at a time, each before a timeout strikes."""
    handler.answer(200, {"Content-Length": len(content)})
    for byte in content:
        handler.wfile.write(bytes([byte]))
        if handler.server.owner.released.wait(0.05):
            return


def ignores_ranges(handler: Handler, content: bytes) -> None:
    handler.answer(200, {"ETag": '"v1"', "Content-Length": len(content)}, content)


def redirects_to(url: str) -> Manners:
    return lambda handler, _: handler.answer(302, {"Location": url, "Content-Length": 0})


def answers(status: int, headers: dict[str, object] | None = None, body: bytes = b"") -> Manners:
    headers = {"Content-Length": len(body)} | (headers or {})
    return lambda handler, _: handler.answer(status, headers, body)


@contextmanager
def serving(content: bytes, *manners: Manners) -> Iterator[Server]:
    """A server that lives as long as the block."""
    server = Server(content, list(manners) or [well])
    thread = threading.Thread(target=server.web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.web.shutdown()
        server.web.server_close()
        thread.join()
