"""No weights that this machine happens to have: a fresh clone finds the same faces."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_weights(tmp_path_factory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path_factory.mktemp("home")))
