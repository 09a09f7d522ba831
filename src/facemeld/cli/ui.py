"""The command that opens the studio: ui."""

from __future__ import annotations

import sys

from facemeld.cli.app import app
from facemeld.errors import UserError


@app.command
def ui(
    model: tuple[str, ...] = ("faces",),
    host: str = "127.0.0.1",
    port: int = 7860,
    auth: str | None = None,
    device: str = "cpu",
    browser: bool = True,
) -> None:
    """Open the studio: a page on this machine to fuse faces in a browser.

    Args:
        model: bundled models or model folders that the page offers; the first is the usual one.
        host: address to listen on; any but this machine's own needs --auth.
        port: to listen on.
        auth: user:password that the page asks for.
        device: where the networks run: cpu, cuda, …
        browser: open the page in the browser.
    """
    from facemeld.networks.model_folder import find_model, read_network_config
    from facemeld.web.serve import application, check_address, serve

    password = check_address(host, auth)
    models = {}
    for name in model:
        folder = find_model(name)
        read_network_config(folder)
        models[folder.resolve().name] = folder
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise UserError(
            "the studio needs Gradio", where="facemeld ui", fix="pip install 'facemeld[ui]'"
        ) from None
    address = f"http://{'[::1]' if host == '::1' else host}:{port}"
    with application(models, host=host, auth=password, device=device) as application_:
        print(address, flush=True)
        print("Press Ctrl-C to end it.", file=sys.stderr)
        serve(application_, host=host, port=port, open_at=address if browser else None)
