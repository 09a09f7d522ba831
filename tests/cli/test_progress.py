"""Progress of long work where nobody sees a bar: lines with the time left."""

from __future__ import annotations

import time

import pytest

from facemeld.cli.progress import Progress


def test_lines_tell_the_speed_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Progress("fakes") as progress:
        for seconds, done in ((0, 100), (2, 150), (20, 300), (60, 700)):
            now[0] = seconds
            progress(done, 700)
    # 200 fakes in 20 seconds after the first 100, which an earlier run had made
    assert capsys.readouterr().err.splitlines() == [
        "300/700 fakes, 10.0 a second, 40 s left",
        "700/700 fakes, 10.0 a second",
    ]
