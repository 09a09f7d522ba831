"""The command that opens the studio: ui."""

from __future__ import annotations

import sys
import webbrowser
from importlib.util import find_spec
from typing import Literal

from facemeld.cli.app import app
from facemeld.errors import UserError


@app.command
def ui(
    model: tuple[str, ...] = (),
    host: str = "127.0.0.1",
    port: int = 7860,
    auth: str | None = None,
    device: str = "cpu",
    backend: Literal["auto", "torch", "onnx", "openvino"] = "auto",
    browser: bool = True,
) -> None:
    """Open the studio: a page on this machine to fuse faces in a browser.

    Args:
        model: bundled models or model folders that the page offers; the first is the usual one. All
            bundled ones if none is named.
        host: address to listen on; any but this machine's own needs --auth.
        port: to listen on; 0 takes any that is free.
        auth: user:password that the page asks for.
        device: where the networks run: cpu, cuda, …
        backend: what computes on the CPU; auto measures once which is fastest here.
        browser: open the page in the browser.
    """
    if find_spec("gradio") is None:
        raise UserError(
            "the studio needs Gradio", where="facemeld ui", fix="pip install 'facemeld[ui]'"
        )
    from facemeld.web.serve import LOOPBACK, application, check_address, listen, serve

    password = check_address(host, auth)
    models = _models(model, only_here=host in LOOPBACK)
    if device != "cpu":
        from facemeld.networks.bundle import check_device

        check_device(device)
    listening = listen(host, port)
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listening.getsockname()[1]}"

    def on_start() -> None:
        print(address, flush=True)
        print("Ctrl-C ends it.", file=sys.stderr)
        if browser:
            webbrowser.open(address)

    with application(models, host=host, auth=password, device=device, backend=backend) as page:
        serve(page, listening, on_start=on_start)


def _models(names: tuple[str, ...], *, only_here: bool) -> dict:
    """The models by different names, checked; all bundled ones if none is named.

    Args:
        names: bundled ones, or folders.
        only_here: the page is for this machine, and may tell where its folders are.
    """
    from facemeld.networks.model_folder import bundled_models, find_model, read_network_config
    from facemeld.reports.runs import labels
    from facemeld.web.engine import Offered

    bundled = bundled_models()
    folders = {find_model(name).resolve(): name for name in names or bundled}
    models = {}
    for label, (folder, name) in zip(labels(list(folders)), folders.items()):
        read_network_config(folder)
        known = name in bundled or not only_here
        models[label] = Offered(folder, name if known else str(folder))
    return models
