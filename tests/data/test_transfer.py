"""Downloads from a server on this machine that behaves badly in every way we know of."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from loopback_server import (
    answers,
    cuts_after,
    dribbles,
    ignores_ranges,
    redirects_to,
    serving,
    stalls_after,
    well,
)

from facemeld.data import transfer
from facemeld.data.addresses import check_address
from facemeld.data.transfer import Patience, fetch
from facemeld.errors import UserError

CONTENT = bytes(range(256)) * 2000  # half a megabyte: several pieces
DIGEST = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(timeout=0.5, attempts=3, first_wait=0.01)


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "new" / "file.bin"


def left(to: Path) -> list[str]:
    return sorted(p.name for p in to.parent.iterdir())


def refused(server_url: str, to: Path, words: str, **options: object) -> UserError:
    with pytest.raises(UserError, match=words) as caught:
        fetch(server_url, to, patience=QUICK, **options)
    assert not to.exists()
    return caught.value


def test_a_file_arrives_whole_and_nothing_else_stays(to: Path) -> None:
    seen = []
    with serving(CONTENT) as server:
        digest = fetch(
            server.url, to, sha256=DIGEST, size=len(CONTENT), progress=lambda *s: seen.append(s)
        )
    assert digest == DIGEST and to.read_bytes() == CONTENT and left(to) == ["file.bin"]
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and seen == sorted(seen)


def test_a_file_of_unknown_hash_gives_its_hash(to: Path) -> None:
    with serving(CONTENT) as server:
        assert fetch(server.url, to) == DIGEST


def test_a_cut_connection_goes_on_where_it_stopped(to: Path) -> None:
    with serving(CONTENT, cuts_after(100_000), cuts_after(50_000), well) as server:
        fetch(server.url, to, sha256=DIGEST, patience=QUICK)
        assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
        assert server.requests[1]["If-Range"] == '"v1"'
    assert to.read_bytes() == CONTENT and left(to) == ["file.bin"]


def test_progress_does_not_use_up_the_attempts(to: Path) -> None:
    with serving(CONTENT, cuts_after(40_000)) as server:
        fetch(server.url, to, sha256=DIGEST, patience=QUICK)
        assert len(server.requests) == 13 > QUICK.attempts


def test_a_stalled_connection_is_given_up_and_continued(to: Path) -> None:
    with serving(CONTENT, stalls_after(70_000), well) as server:
        fetch(server.url, to, sha256=DIGEST, patience=QUICK)
        assert server.ranges == [None, "bytes=70000-"]
    assert to.read_bytes() == CONTENT


def test_a_trickle_is_a_stall(to: Path) -> None:
    started = time.monotonic()
    with serving(CONTENT, dribbles) as server:
        refused(server.url, to, "hardly anything arrives", sha256=DIGEST)
    assert time.monotonic() - started < 10


def test_a_server_that_always_cuts_ends_in_an_error_and_a_second_run_continues(to: Path) -> None:
    with serving(CONTENT, cuts_after(60_000), cuts_after(0)) as server:
        error = refused(server.url, to, "cut after 60000 of 512000 bytes", sha256=DIGEST)
        assert "goes on where it stopped" in error.fix
        assert left(to) == ["file.bin.partial", "file.bin.partial.json"]
        server.manners = [well]
        fetch(server.url, to, sha256=DIGEST, patience=QUICK)
        assert server.ranges[-1] == "bytes=60000-"
    assert to.read_bytes() == CONTENT and left(to) == ["file.bin"]


def test_a_server_without_ranges_sends_it_all_again(to: Path) -> None:
    with serving(CONTENT, cuts_after(100_000), ignores_ranges) as server:
        fetch(server.url, to, sha256=DIGEST, patience=QUICK)
        assert server.ranges == [None, "bytes=100000-"]
    assert to.read_bytes() == CONTENT


def test_a_changed_file_is_not_glued_to_the_old_part(to: Path) -> None:
    changed = CONTENT[::-1]
    with serving(CONTENT, cuts_after(100_000), answers(503)) as server:
        refused(server.url, to, "503")

        def new_version(handler, content):
            handler.answer(200, {"ETag": '"v2"', "Content-Length": len(content)}, content)

        server.content, server.manners = changed, [new_version]
        assert fetch(server.url, to) == hashlib.sha256(changed).hexdigest()
    assert to.read_bytes() == changed


def test_a_part_of_another_address_is_not_used(to: Path) -> None:
    with serving(CONTENT, cuts_after(100_000), answers(503)) as server:
        refused(server.url, to, "503")
        server.manners = [well]
        fetch(server.url + "?other", to, patience=QUICK)
        assert server.ranges[-1] is None


def test_a_part_without_anything_to_recognise_it_by_is_not_used(to: Path) -> None:
    no_tag = answers(200, {"Content-Length": len(CONTENT)}, CONTENT[:1000])
    with serving(CONTENT, no_tag, answers(503)) as server:
        refused(server.url, to, "503")
        server.manners = [well]
        fetch(server.url, to, patience=QUICK)
        assert server.ranges[-1] is None


def test_glued_parts_of_two_versions_are_fetched_anew(to: Path) -> None:
    to.parent.mkdir()
    to.with_name("file.bin.partial").write_bytes(b"x" * 1000)
    with serving(CONTENT) as server:
        facts = {"url": server.url, "validator": '"v1"'}
        to.with_name("file.bin.partial.json").write_text(json.dumps(facts))
        fetch(server.url, to, sha256=DIGEST, patience=QUICK)
        assert server.ranges == ["bytes=1000-", None]
    assert to.read_bytes() == CONTENT


def test_a_download_that_only_lacked_its_end_is_taken_as_it_is(to: Path) -> None:
    to.parent.mkdir()
    to.with_name("file.bin.partial").write_bytes(CONTENT)
    with serving(CONTENT) as server:
        facts = {"url": server.url, "validator": '"v1"'}
        to.with_name("file.bin.partial.json").write_text(json.dumps(facts))
        fetch(server.url, to, sha256=DIGEST, patience=QUICK)
        assert len(server.requests) == 1
    assert to.read_bytes() == CONTENT


def test_corruption_is_found_and_not_kept(to: Path) -> None:
    with serving(CONTENT[:-1] + b"!") as server:
        error = refused(server.url, to, "not the published file", sha256=DIGEST)
    assert DIGEST in error.what and left(to) == []


def test_an_existing_file_stays_when_the_new_one_is_wrong(tmp_path: Path) -> None:
    to = tmp_path / "file.bin"
    to.write_bytes(b"mine")
    with serving(CONTENT) as server, pytest.raises(UserError):
        fetch(server.url, to, sha256="0" * 64, patience=QUICK)
    assert to.read_bytes() == b"mine"


def test_a_length_that_is_too_long_is_a_cut(to: Path) -> None:
    lie = answers(200, {"Content-Length": len(CONTENT) + 9}, CONTENT)
    with serving(CONTENT, lie) as server:
        refused(server.url, to, "cut after 512000 of 512009", sha256=DIGEST)


def test_a_length_that_is_too_short_is_found_by_the_hash(to: Path) -> None:
    with serving(CONTENT, answers(200, {"Content-Length": 1000}, CONTENT)) as server:
        refused(server.url, to, "not the published file", sha256=DIGEST)


def test_another_size_than_published_is_refused_before_the_download(to: Path) -> None:
    with serving(CONTENT) as server:
        refused(server.url, to, "offers 512000 bytes, expected 17", size=17)
    assert left(to) == []


def test_an_endless_file_is_stopped(to: Path) -> None:
    def endless(handler, _):
        handler.answer(200, {"Connection": "close"})
        while not handler.server.owner.released.is_set():
            handler.wfile.write(bytes(100_000))

    with serving(b"", endless) as server:
        refused(server.url, to, "over 0.001 GB", most_bytes=10**6)
    assert to.with_name("file.bin.partial").stat().st_size < 2 * 10**6


def test_a_length_larger_than_the_disk_is_refused_before_the_download(to: Path) -> None:
    with serving(CONTENT, answers(200, {"Content-Length": 10**11})) as server:
        free = SimpleNamespace(free=10**9)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _: free)
            error = refused(server.url, to, "no room: 100000 MB are to come, 1000 MB are free")
    assert "FACEMELD_HOME" in error.fix and left(to) == []


def test_a_full_disk_is_told_and_what_came_is_kept(
    to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(CONTENT, cuts_after(100_000), well) as server:

        class Full:
            name = str(to)

            def write(self, _):
                raise OSError(errno.ENOSPC, "No space left on device")

        write = transfer._write
        written = []

        def until_full(file, chunk):
            written.append(len(chunk))
            write(file if sum(written) <= 200_000 else Full(), chunk)

        monkeypatch.setattr(transfer, "_write", until_full)
        refused(server.url, to, "No space left on device", sha256=DIGEST)
        monkeypatch.undo()
        fetch(server.url, to, sha256=DIGEST, patience=QUICK)
        assert int(server.ranges[-1].removeprefix("bytes=").removesuffix("-")) > 100_000


@pytest.mark.parametrize("status", [404, 410, 403])
def test_a_dead_link_is_told_at_once(to: Path, status: int) -> None:
    with serving(CONTENT, answers(status)) as server:
        error = refused(server.url, to, f"does not give the file out: {status}")
        assert len(server.requests) == 1
    assert "dead" in error.fix and left(to) == []


def test_a_busy_server_is_asked_again(to: Path) -> None:
    with serving(CONTENT, answers(503), answers(429, {"Retry-After": 0}), well) as server:
        fetch(server.url, to, sha256=DIGEST, patience=QUICK)
        assert len(server.requests) == 3


def test_a_busy_server_is_waited_for_as_it_asks(to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    with serving(CONTENT, answers(429, {"Retry-After": 7}), answers(503), well) as server:
        fetch(server.url, to, sha256=DIGEST, patience=Patience(first_wait=0.5))
    assert waits == [7.0, 1.0]
    waits.clear()
    to.unlink()
    with serving(CONTENT, answers(503, {"Retry-After": 10**9})) as server:
        refused(server.url, to, "503", sha256=DIGEST)
    assert max(waits) == 60


def test_a_web_page_is_not_the_file(to: Path) -> None:
    page = answers(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>sign in")
    with serving(CONTENT, page) as server:
        error = refused(server.url, to, "a web page, not the file")
    assert "browser" in error.fix and left(to) == []


# -- addresses ----------------------------------------------------------------------------------


def test_redirects_are_followed(to: Path) -> None:
    with serving(CONTENT, redirects_to("/else/where")) as server:
        server.manners.append(well)
        fetch(server.url, to, sha256=DIGEST, patience=QUICK)
        assert len(server.requests) == 2


def test_circles_of_redirects_end(to: Path) -> None:
    with serving(CONTENT, redirects_to("/file.bin")) as server:
        refused(server.url, to, "does not give the file out: 302")
        assert len(server.requests) <= 6


@pytest.mark.parametrize(
    "target",
    ["http://example.com/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "https://[::"],
)
def test_redirects_to_other_addresses_are_refused(to: Path, target: str) -> None:
    with serving(CONTENT, redirects_to(target)) as server:
        refused(server.url, to, "not allowed|not an address")
        assert len(server.requests) == 1


def test_nobody_else_redirects_to_this_machine() -> None:
    stranger = "https://example.com/file"
    with pytest.raises(UserError, match="not allowed"):
        check_address("http://127.0.0.1/secret", came_from=stranger)
    with pytest.raises(UserError, match="not allowed"):
        check_address("https://localhost/secret", came_from=stranger)
    with pytest.raises(UserError, match="not allowed"):
        check_address("http://example.com/file", came_from=stranger)
    check_address("https://cdn.example.com/file", came_from=stranger)


@pytest.mark.parametrize("url", ["http://example.com/x", "file:///etc/passwd", "x", "https:///x"])
def test_only_https(to: Path, url: str) -> None:
    refused(url, to, "only https")


def test_offline_is_one_clear_error(to: Path) -> None:
    with serving(CONTENT) as server:
        url = server.url
    started = time.monotonic()
    error = refused(url, to, "no connection to 127.0.0.1")
    assert "check the network" in error.fix and time.monotonic() - started < 2
    refused("https://no-such-host.invalid/x", to, "no connection to no-such-host.invalid")
    assert left(to) == []


def test_two_downloads_of_one_file_do_not_mix(to: Path) -> None:
    pytest.importorskip("fcntl")
    to.parent.mkdir()
    with serving(CONTENT) as server, transfer._Partial(to).locked():
        refused(server.url, to, "another download")
        assert server.requests == []
