"""Files of results: each is written once, they are bounded, and they go after their time."""

from __future__ import annotations

import time
from pathlib import Path

import gradio as gr
import pytest

from facemeld.errors import UserError
from facemeld.web import keep
from facemeld.web.api import Api
from facemeld.web.engine import Engine, Offered
from facemeld.web.jobs import Jobs
from facemeld.web.keep import stored


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "files"))
    return tmp_path / "files"


def test_the_same_file_is_written_once(place: Path) -> None:
    first = stored("a.png", b"content")
    assert Path(first).read_bytes() == b"content" and Path(first).is_relative_to(place)
    assert stored("a.png", b"content") == first
    assert stored("a.png", b"other") != first
    assert len([path for path in place.rglob("*") if path.is_file()]) == 2


def test_files_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "MOST_STORED", 100)
    stored("a", bytes(60))
    with pytest.raises(UserError, match="too many files"):
        stored("b", bytes(61))
    stored("b", bytes(40))
    stored("a", bytes(60))  # is there


def test_what_programs_asked_for_is_cleared_away(resnet_model: Path) -> None:
    from gradio.route_utils import delete_files_created_by_app

    with gr.Blocks() as page:
        engine = Engine({"tiny": Offered(resnet_model, "tiny")})
        api = Api(engine, Jobs(), page.upload_file_set)
    path = Path(api._file("fused.png", b"picture")["path"])
    delete_files_created_by_app(page, 3600)
    assert path.is_file()
    time.sleep(0.01)
    delete_files_created_by_app(page, 0)
    assert not path.exists()
