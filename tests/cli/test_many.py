"""Many fusions in one command: going on, failing alone, dividing, and the same pictures as one."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from facemeld.cli import main
from facemeld.errors import UserError
from facemeld.fusion import choice, pipeline
from facemeld.fusion import jobs as jobs_module
from facemeld.images import read_picture, read_settings


class Work:
    """A folder with sources, a list of jobs and results."""

    def __init__(self, folder: Path, faces: Path, model: Path, capsys) -> None:
        self.folder, self.model, self.capsys = folder, model, capsys
        self.out, self.list = folder / "out", folder / "in" / "jobs.csv"
        (folder / "in").mkdir()
        for index, path in enumerate(sorted(faces.glob("*/*.png"))[:12:2]):
            shutil.copy(path, folder / "in" / f"{index}.png")

    def __call__(self, *options: str) -> tuple[int, dict]:
        """Exit code and report."""
        code = 0
        try:
            command = ["fuse", "--out", str(self.out), "--model", str(self.model), "--json"]
            main([*command, *options])
        except SystemExit as error:
            code = error.code
        told = self.capsys.readouterr()
        self.told = told.err
        return code, json.loads(told.out) if told.out else {}

    def jobs(self, text: str) -> tuple[str, str]:
        self.list.write_text(text)
        return "--jobs", str(self.list)

    def record(self, name: str = "results.jsonl") -> list[dict]:
        return [json.loads(line) for line in (self.out / name).read_text().splitlines()]


@pytest.fixture
def work(tmp_path: Path, faces: Path, projected_model: Path, capsys) -> Work:
    return Work(tmp_path, faces, projected_model, capsys)


LIST = """source,reference,weights,strength,latent,domain,seed,out
0.png,1.png|4.png,3|1,0.5,,,,a.png
2.png,,,,yes,dog,9,deep/b.png
3.png,4.png,,,,,,c.png
"""


def test_each_job_gives_the_picture_that_it_gives_alone(work: Work, tmp_path: Path) -> None:
    assert work(*work.jobs(LIST)) == (
        0,
        {"out": str(work.out), "done": 3, "already_done": 0, "failed": []},
    )
    inside, alone = work.folder / "in", tmp_path / "alone.png"
    common = ["--model", str(work.model), "--out", str(alone)]
    options = {
        "a.png": ["0.png", "--reference", f"{inside / '1.png'}", f"{inside / '4.png'}"]
        + ["--weights", "3", "1", "--strength", "0.5"],
        "deep/b.png": ["2.png", "--latent", "--domain", "dog", "--seed", "9"],
        "c.png": ["3.png", "--reference", f"{inside / '4.png'}"],
    }
    for name, (source, *rest) in options.items():
        main(["fuse", "--source", str(inside / source), *rest, *common])
        assert read_picture(work.out / name).tobytes() == read_picture(alone).tobytes()
        assert read_settings(work.out / name) == read_settings(alone)


def test_done_jobs_are_not_done_again_unless_something_changed(work: Work) -> None:
    jobs = work.jobs(LIST)
    work(*jobs)
    times = {p: p.stat().st_mtime_ns for p in work.out.rglob("*.png")}
    assert work(*jobs)[1]["already_done"] == 3
    assert times == {p: p.stat().st_mtime_ns for p in work.out.rglob("*.png")}

    (work.out / "a.png").unlink()
    assert work(*jobs)[1] | {"out": 0} == {"out": 0, "done": 1, "already_done": 2, "failed": []}
    shutil.copy(work.folder / "in" / "5.png", work.folder / "in" / "4.png")  # of two jobs
    assert work(*jobs)[1]["done"] == 2
    assert work(*work.jobs(LIST.replace("yes,dog,9", "yes,dog,8")))[1]["done"] == 1
    (work.out / "c.png").write_bytes(b"somebody wrote over it")
    assert work(*work.jobs(LIST))[1]["done"] == 2


def test_a_cut_record_goes_on(work: Work) -> None:
    jobs = work.jobs(LIST)
    work(*jobs)
    path = work.out / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    assert work(*jobs)[1]["done"] == 1
    assert work(*jobs)[1]["already_done"] == 3


def test_what_fails_is_told_and_the_rest_is_done(work: Work) -> None:
    (work.folder / "in" / "bad.png").write_bytes(b"no picture")
    text = LIST + "bad.png,4.png,,,,,,d.png\nnone.png,4.png,,,,,,e.png\n5.png,4.png,,,,,,f.png\n"
    text += "5.png,none.png,,,,,,g.png\n"
    code, report = work(*work.jobs(text))
    assert code == 1 and report["done"] == 4
    assert {f["out"]: f["error"] for f in report["failed"]} == {
        "d.png": "this is not a picture that can be read",
        "e.png": "there is no such file",
        "g.png": "there is no such file",
    }
    assert "failed: d.png: this is not" in work.told and "jobs.csv, line 5" in str(work.record())
    assert sorted(p.name for p in work.out.glob("*.png")) == ["a.png", "c.png", "f.png"]
    shutil.copy(work.folder / "in" / "0.png", work.folder / "in" / "bad.png")
    code, report = work(*work.jobs(text))
    assert (code, report["done"], report["already_done"], len(report["failed"])) == (1, 1, 4, 2)


def test_faults_that_nobody_foresaw_do_not_stop_the_rest(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fuse_batch(pipe, sources, looks, codes, controls):
        if controls.strength == 0.5:
            raise MemoryError("no room\nfor it")
        if any(source.name == "3.png" for source in sources):
            raise RuntimeError
        return real(pipe, sources, looks, codes, controls)

    real = pipeline.fuse_batch
    monkeypatch.setattr(pipeline, "fuse_batch", fuse_batch)
    jobs = work.jobs(LIST + "5.png,4.png,,,,,,d.png\n")  # beside c.png, with its look
    code, report = work(*jobs)
    failed = {f["out"]: f["error"] for f in report["failed"]}
    assert code == 1 and failed == {"a.png": "MemoryError no room for it", "c.png": "RuntimeError"}
    assert sorted(p.name for p in work.out.rglob("*.png")) == ["b.png", "d.png"]
    monkeypatch.setattr(pipeline, "fuse_batch", real)
    assert work(*jobs)[1]["done"] == 2


def test_the_first_process_decides_what_computes(
    work: Work, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    work.model = "faces"
    measured = {"onnx": 5.0, "openvino": 9.0}
    monkeypatch.setattr(choice, "_milliseconds", lambda backend: measured[backend.name[:-5]])
    jobs = work.jobs(LIST.replace("dog", "cat"))
    made = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        made.append(work(*jobs)[1]["done"])
        measured = {"onnx": 9.0, "openvino": 5.0}  # the second one would choose otherwise
        shutil.rmtree(tmp_path / "home", ignore_errors=True)
    assert made == [2, 1] and (work.out / jobs_module.AGREED).read_text() == "onnx-fp32\n"
    backends = {read_settings(path)["backend"] for path in work.out.rglob("*.png")}
    assert backends == {"onnx-fp32"}
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    assert work(*jobs)[1]["already_done"] == 3


def test_others_wait_for_the_first_process(tmp_path: Path) -> None:
    def agreed(usable: list[str], **options) -> str:
        return jobs_module.agreed_backend(tmp_path, usable, lambda: "torch-bf16", **options)

    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(agreed, ["torch"], rank=1)
        assert agreed(["torch"]) == "torch-bf16" and waiting.result(timeout=10) == "torch-bf16"
    with pytest.raises(UserError, match="has not decided"):  # what was agreed is not there
        agreed(["onnx"], rank=1, wait=0.3)


def test_processes_divide_the_list(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = work.jobs(LIST + "none.png,4.png,,,,,,d.png\n")
    monkeypatch.setenv("WORLD_SIZE", "2")
    made = []
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        code, report = work(*jobs)
        made.append(report["done"])
        assert code == 0  # torchrun would stop the other
    assert made == [1, 2]
    assert [e["out"] for e in work.record("results.1.jsonl")] == ["deep/b.png", "d.png"]
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.delenv("RANK")
    code, report = work(*jobs)
    assert (code, report["already_done"], len(report["failed"])) == (1, 3, 1)


def test_a_folder_of_sources(work: Work) -> None:
    reference = str(work.folder / "in" / "4.png")
    options = ("--source", str(work.folder / "in"), "--reference", reference, "--variations", "2")
    code, report = work(*options)
    assert code == 0 and report["done"] == 12
    assert {p.name for p in work.out.glob("0_*")} == {"0_variation1.png", "0_variation2.png"}
    assert read_settings(work.out / "0_variation2.png")["variation"] == 2
    assert work(*options)[1]["already_done"] == 12


MISTAKES = {
    "a source beside a list": (["--jobs", "{list}", "--source", "{faces}/0.png"], "leave it out"),
    "two folders": (["--source", "{faces}", "{faces}"], "goes alone"),
    "a picture for many": (["--jobs", "{list}", "--out", "r.png"], "need a folder"),
    "a second model": (["--jobs", "{list}", "--then", "faces"], "neither a second model"),
    "results over inputs": (["--source", "{faces}", "--out", "{faces}"], "replace an input"),
    "all faces": (["--jobs", "{list}", "--align", "human", "--faces", "all"], "one picture"),
    "unknown domain": (["--source", "{faces}", "--domain", "dgo"], "did you mean 'dog'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_before_anything_is_written(name: str, work: Work) -> None:
    work.list.write_text(LIST)
    options, expected = MISTAKES[name]
    options = [o.format(list=work.list, faces=work.folder / "in") for o in options]
    code, _ = work("--reference", str(work.folder / "in" / "4.png"), *options)
    assert code == 2 and expected in work.told
    assert not work.out.exists()


def test_a_link_does_not_lead_out(work: Work) -> None:
    work.out.mkdir()
    (work.folder / "elsewhere").mkdir()
    (work.out / "deep").symlink_to(work.folder / "elsewhere", target_is_directory=True)
    code, _ = work(*work.jobs(LIST))
    assert code == 2 and "outside the output folder" in work.told
    assert not list((work.folder / "elsewhere").iterdir())
