"""The server of the page: where it listens, what it lets in, and that nothing of it is left."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from facemeld.errors import UserError
from facemeld.training.signals import Interruption
from facemeld.web.guard import LOOPBACK
from facemeld.web.jobs import TIME_LIMIT, Jobs

if TYPE_CHECKING:
    from facemeld.web.engine import Offered

PORT = 7860
MOST_CONNECTIONS = 200
_PICTURE_BLOCK = 256_000_000
"""Bytes that Pillow allocates at once; the largest picture that is let in needs half of them."""


def check_address(host: str, auth: str | None) -> tuple[str, str] | None:
    """User and password, if any.

    Raises:
        UserError: other machines could reach the page, and no password keeps them off.
    """
    if auth is None:
        if host not in LOOPBACK:
            raise UserError(
                "other machines could use this page",
                where=f"--host {host}",
                fix="set a password: --auth user:password",
            )
        return None
    user, colon, password = auth.partition(":")
    if not (user and colon and password):
        raise UserError("this is no user and password", where="--auth", fix="--auth user:password")
    return user, password


@contextmanager
def application(
    models: Mapping[str, Offered],
    *,
    host: str = "127.0.0.1",
    auth: tuple[str, str] | None = None,
    device: str = "cpu",
    backend: str = "auto",
    time_limit: float = TIME_LIMIT,
) -> Iterator[object]:
    """The page as an ASGI application; its temporary files go when the block ends.

    So they do when Ctrl-C or SIGTERM ends it.

    Args:
        models: by what the page calls them.
        host: the address that will be listened on.
        auth: user and password that every request must carry.
        device: where the networks run.
        backend: what computes them on the CPU.
        time_limit: seconds that one job may take.
    """
    # a request to stop ends the block, where SIGTERM would end the process and leave its files
    with Interruption(), tempfile.TemporaryDirectory(prefix="facemeld-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        import fastapi
        import gradio as gr
        from PIL import Image

        from facemeld.web.engine import Engine
        from facemeld.web.guard import Guard
        from facemeld.web.look import style_sheet, theme
        from facemeld.web.page import build_page
        from facemeld.web.portraits import LIMITS
        from facemeld.web.sessions import Sessions

        # In Pillow's own blocks of 16 MB, which malloc keeps among its small ones, a large picture
        # leaves its memory taken for long after; a block of its own goes back to the system.
        Image.core.set_block_size(_PICTURE_BLOCK)
        engine = Engine(models, device=device, backend=backend)
        app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        gr.mount_gradio_app(
            app,
            build_page(engine, Jobs(time_limit), Sessions()),
            "",
            server_name=host,
            allowed_paths=[],
            max_file_size=LIMITS.max_bytes,
            enable_monitoring=False,
            show_error=False,
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            theme=theme(),
            css=style_sheet(),
        )
        yield Guard(
            app, uploads=Path(folder), most_upload=LIMITS.max_bytes + 100_000, host=host, auth=auth
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket for the server.

    Raises:
        UserError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"the page cannot be opened: {reason}",
            where=f"{host}, port {port}",
            fix="choose another port: --port",
        ) from None
    return listening


def serve(application_: object, listening: socket.socket, *, on_start: Callable[[], None]) -> None:
    """Answers requests until the process is told to end.

    Args:
        application_: what ``application`` gives.
        listening: what ``listen`` gives.
        on_start: called when the first request can be answered.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list | None = None) -> None:
            await super().startup(sockets=sockets)
            on_start()

    config = uvicorn.Config(
        application_,
        log_level="warning",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=3,
        server_header=False,
    )
    Server(config).run(sockets=[listening])
