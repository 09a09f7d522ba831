"""The studio's server against requests that no page sends: each is answered or refused, and it
stays up, with the memory that it had."""

from __future__ import annotations

import base64
import http.client
import io
import json
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from PIL import Image
from studio_process import Studio, end_studio, start_studio

from facemeld.data.folders import bundled_faces
from facemeld.errors import UserError
from facemeld.web.page import MOST_WAITING
from facemeld.web.serve import check_address, listen

CAT = next(path for path in bundled_faces() if path.stem == "cat_chelsea").read_bytes()
MEGABYTE = 1_000_000
PATIENCE = 300  # seconds


def ask(
    studio: Studio, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes]:
    """Status and content of an answer."""
    place = urlsplit(studio.address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def send_json(studio: Studio, path: str, value: object) -> tuple[int, bytes]:
    return ask(studio, "POST", path, json.dumps(value).encode(), Content_Type="application/json")


def send_file(studio: Studio, name: str, content: bytes) -> tuple[int, bytes]:
    body = (
        f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        "Content-Type: image/png\r\n\r\n"
    ).encode() + content + b"\r\n--x--\r\n"  # fmt: skip
    kind = "multipart/form-data; boundary=x"
    return ask(studio, "POST", "/gradio_api/upload", body, Content_Type=kind)


def uploaded(studio: Studio, name: str, content: bytes) -> str:
    status, answer = send_file(studio, name, content)
    assert status == 200, answer
    return json.loads(answer)[0]


def begun(studio: Studio, function: str, path: str, **arguments: object) -> tuple[int, str]:
    """Status of the request for a job with this source, and the job's number or the answer."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    body = {"source": file, "references": [file], **arguments}
    status, answer = send_json(studio, f"/gradio_api/call/v2/{function}", body)
    return status, json.loads(answer)["event_id"] if status == 200 else answer.decode()


def outcome(studio: Studio, job: str) -> str:
    """What comes of a job, when it is over."""
    return ask(studio, "GET", f"/gradio_api/call/fuse/{job}")[1].decode()


def fused(studio: Studio, path: str) -> str:
    """What comes of a job with this source."""
    status, job = begun(studio, "fuse", path)
    assert status == 200, job
    return outcome(studio, job)


def test_other_addresses_need_a_password() -> None:
    with pytest.raises(UserError, match="other machines could use this page"):
        check_address("0.0.0.0", None)
    with pytest.raises(UserError, match="no user and password"):
        check_address("0.0.0.0", "me")
    assert check_address("0.0.0.0", "me:a:b") == ("me", "a:b")
    assert check_address("127.0.0.1", None) is None


def test_a_taken_port_is_told() -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(UserError, match="cannot be opened"):
            listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=//etc/passwd",
        "/gradio_api/file=" + quote("../../../../../../etc/passwd"),
        "/gradio_api/file=" + str(Path(__file__).resolve()),
        "/gradio_api/file=http://127.0.0.1:1/x",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1:1/x",
        "/monitoring",
        "/monitoring/summary",
        "/gradio_api/deep_link",
        "/gradio_api/runs",
        "/docs",
        "/openapi.json",
        "/gradio_api/vibe-code/",
        "/static/../../../../../../etc/passwd",
        "/assets/" + quote("../../../../../../etc/passwd", safe=""),
    ],
)
def test_no_file_and_no_other_page_is_told(studio: Studio, path: str) -> None:
    status, answer = ask(studio, "GET", path)
    assert status in (400, 403, 404), answer
    assert b"root:" not in answer and b"import" not in answer


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../etc/passwd", "http://127.0.0.1:1/cat.png", "~/.ssh/id_rsa", 7, {"a": 1}],
)
@pytest.mark.parametrize("route", ["queue/join", "run/predict", "call/fuse", "call/v2/fuse"])
def test_requests_name_no_files_of_the_machine(studio: Studio, route: str, path: object) -> None:
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    body = {"data": [file, [file]], "source": file, "references": [file], "fn_index": 0}
    status, answer = send_json(studio, f"/gradio_api/{route}", body)
    assert (status, answer) == (422, b"This request cannot be read.")


def test_an_uploads_name_leads_nowhere(studio: Studio) -> None:
    for name in (
        "../../../escaped.png",
        "/escaped.png",
        "..\\\\escaped.png",
        "a/../../escaped.png",
    ):
        kept = Path(uploaded(studio, name, CAT)).resolve()
        assert kept.is_relative_to(studio.folder.resolve())
    found = [p for p in studio.folder.rglob("*escaped*") if p.is_file()]
    assert all(p.is_relative_to(next(studio.folder.glob("facemeld-*"))) for p in found)


def test_other_names_and_other_pages_are_refused(studio: Studio) -> None:
    assert ask(studio, "GET", "/", Host="attacker.example")[0] == 403
    assert ask(studio, "GET", "/config", Origin="https://attacker.example")[0] == 403
    assert ask(studio, "GET", "/", Host="localhost")[0] == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/gradio_api/file=%00", {}),
        ("/gradio_api/file=/etc/passwd%00.png", {}),
        ("/", {"Host": "[::1"}),
        ("/config", {"Origin": "http://[x"}),
    ],
)
def test_what_cannot_be_read_is_refused(studio: Studio, path: str, headers: dict) -> None:
    status, answer = ask(studio, "GET", path, **headers)
    assert (status, answer) == (400, b"This request cannot be read.")


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("queue/join", {"data": []}),
        ("queue/join", {"data": [], "session_hash": "x", "fn_index": 9999}),
        ("queue/join", {"data": [], "session_hash": "x", "fn_index": "a"}),
        ("run/predict", {"data": [], "session_hash": "x", "fn_index": 9999}),
        ("run/predict", {"data": [], "session_hash": "x"}),
        ("run/stop", {"data": "stop"}),
        ("call/nothing", {"data": []}),
        ("call/v2/nothing", {}),
        ("call/v2/fuse", {"unknown": 1}),
        ("call/v2/fuse", {}),
        ("cancel", {}),
        ("queue/join", 7),
        ("call/v2/fuse", [1]),
    ],
)
def test_requests_for_nothing_are_refused(studio: Studio, route: str, body: object) -> None:
    status, answer = send_json(studio, f"/gradio_api/{route}", body)
    assert 400 <= status < 500, (status, answer)
    assert b"Traceback" not in answer


@pytest.mark.parametrize(
    "route", ["component_server", "run/fuse", "stream/x", "login", "vibe-code"]
)
def test_what_the_page_does_not_need_is_closed(studio: Studio, route: str) -> None:
    file = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    body = {"session_hash": "x", "component_id": 1, "fn_name": "ls", "data": file}
    assert send_json(studio, f"/gradio_api/{route}", body)[0] == 404


def test_a_full_queue_refuses_and_a_stop_frees_the_device(studio: Studio) -> None:
    cat = uploaded(studio, "cat.jpg", CAT)
    file = {"path": cat, "meta": {"_type": "gradio.FileData"}}
    status, film = begun(studio, "video", cat, references=[file, file], seconds=600)
    assert status == 200, film
    answers = [begun(studio, "fuse", cat) for _ in range(MOST_WAITING + 4)]
    waiting = [job for status, job in answers if status == 200]
    refusals = [(status, told) for status, told in answers if status != 200]
    assert MOST_WAITING <= len(waiting) <= MOST_WAITING + 1  # one more before the video began
    assert all(status == 503 and "Queue is full" in told for status, told in refusals)
    stop = {"data": [film]}
    assert send_json(studio, "/gradio_api/run/stop", stop)[0] == 200  # a full queue hinders no stop
    assert "Stopped." in outcome(studio, film)
    assert all("event: complete" in outcome(studio, job) for job in waiting)


def test_headers_keep_the_page_to_itself(studio: Studio) -> None:
    place = urlsplit(studio.address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=PATIENCE)
    connection.request("GET", "/")
    answer = connection.getresponse()
    policy = answer.getheader("content-security-policy")
    connection.close()
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "http" not in policy and "*" not in policy
    assert answer.getheader("x-content-type-options") == "nosniff"


def test_a_bomb_and_a_letter_are_told_in_a_sentence(studio: Studio) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")
    before = studio.memory()
    answer = fused(studio, uploaded(studio, "bomb.png", bomb))
    assert "too many pixels" in answer and "Traceback" not in answer
    assert "not a picture" in fused(studio, uploaded(studio, "letter.png", b"Dear machine"))
    assert "not a picture" in fused(studio, uploaded(studio, "a.svg", b"<svg onload='x()'/>"))
    assert studio.memory() < before + 100 * MEGABYTE


def test_with_a_password_nothing_answers_without(tmp_path: Path) -> None:
    studio = start_studio(tmp_path, "--auth", "me:secret")
    try:
        for path in ("/", "/config", "/gradio_api/info", "/theme.css", "/assets/x.js"):
            assert ask(studio, "GET", path)[0] == 401
        wrong = base64.b64encode(b"me:secre").decode()
        assert ask(studio, "GET", "/", Authorization=f"Basic {wrong}")[0] == 401
        right = base64.b64encode(b"me:secret").decode()
        assert ask(studio, "GET", "/", Authorization=f"Basic {right}")[0] == 200
    finally:
        end_studio(studio)
    assert list(tmp_path.glob("facemeld-*")) == []


def test_told_to_end_by_a_service_manager_it_leaves_no_picture(tmp_path: Path) -> None:
    studio = start_studio(tmp_path)
    assert "event: complete" in fused(studio, uploaded(studio, "face.jpg", _large()))
    assert list(tmp_path.glob("facemeld-*/*"))
    assert end_studio(studio, signal.SIGTERM) == 143
    assert list(tmp_path.glob("facemeld-*")) == []


# -- the flood ----------------------------------------------------------------------------------


def _oversize(studio: Studio) -> int:
    """Announces a large upload, and sends none of it."""
    place = urlsplit(studio.address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=PATIENCE)
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", str(500 * MEGABYTE))
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def _unmeasured(studio: Studio) -> int:
    place = urlsplit(studio.address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=PATIENCE)
    parts = (b"x" * 1000 for _ in range(3))
    connection.request("POST", "/gradio_api/upload", parts, encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    status = connection.getresponse().status
    connection.close()
    return status


def _job(studio: Studio, name: str, content: bytes) -> int:
    return 200 if "event: complete" in fused(studio, uploaded(studio, name, content)) else 0


def _large() -> bytes:
    """A valid picture, a little below the limit: 90 MB of pixels in a small file."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((6000, 5000)).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


LARGE = _large()
FLOOD = (
    (lambda s: ask(s, "GET", "/")[0], 200),
    (lambda s: _job(s, "cat.jpg", CAT), 200),
    (lambda s: _job(s, "large.jpg", LARGE), 200),
    (_oversize, 413),
    (_unmeasured, 411),
    (lambda s: send_file(s, "cat.png", b"\0" * 3 * MEGABYTE)[0], 200),
    (lambda s: ask(s, "POST", "/gradio_api/queue/join", b"{" * 5000)[0], 422),
    (lambda s: ask(s, "POST", "/gradio_api/queue/join", b"[" * 900_000)[0], 422),
    (lambda s: ask(s, "POST", "/gradio_api/run/predict", b" " * 2 * MEGABYTE)[0], 413),
    (lambda s: send_json(s, "/gradio_api/queue/join", {"data": []})[0], 400),
    (lambda s: send_json(s, "/gradio_api/call/v2/fuse", {"references": 1})[0], 400),
    (lambda s: ask(s, "DELETE", "/gradio_api/queue/join")[0], 404),
)


def _send(studio: Studio, requests: int) -> Counter:
    """So many requests with 20 in flight: how often each kind had which answer."""

    def one(number: int) -> tuple[int, int]:
        kind, _ = FLOOD[number % len(FLOOD)]
        return number % len(FLOOD), kind(studio)

    with ThreadPoolExecutor(20) as senders:
        return Counter(senders.map(one, range(requests)))


def test_a_flood(studio: Studio) -> None:
    _send(studio, 200)  # what is loaded once, and caches until they are full, are not counted
    before = studio.memory()
    answers = _send(studio, 200)
    wanted = Counter((n % len(FLOOD), FLOOD[n % len(FLOOD)][1]) for n in range(200))
    assert answers == wanted
    deadline = time.monotonic() + 10
    while studio.memory() > before + 60 * MEGABYTE and time.monotonic() < deadline:
        time.sleep(0.5)
    assert studio.memory() < before + 60 * MEGABYTE
