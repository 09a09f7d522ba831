"""A whole evaluation of a tiny model: its numbers, its report, stopping and going on."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import pytest
from drawn_faces import draw_face, write_faces
from several_ranks import in_two_ranks

import facemeld
from facemeld.data.shards import Sample, write_shard
from facemeld.errors import UserError
from facemeld.evaluation import pairs
from facemeld.evaluation.cache import cache_folder
from facemeld.evaluation.plan import Plan, make_plan
from facemeld.evaluation.run import run_plan
from facemeld.evaluation.unfinished import Session, Unfinished
from facemeld.reports.evaluation import write_report

SOURCES, REALS, OUTPUTS = 10, 12, 2
FAKES = 4 * SOURCES * OUTPUTS  # of two pairs in two modes
PART = 4  # sources


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_faces(root / "val", {"cat": SOURCES, "dog": SOURCES}, first=100)
    write_faces(root / "train", {"cat": REALS, "dog": REALS})
    return root


@pytest.fixture(scope="module")
def plan(data: Path, resnet_model: Path, judges_dir: Path) -> Plan:
    return make_plan(
        "clean", resnet_model, data, outputs=OUTPUTS, people=("cat", "dog"), weights_dir=judges_dir
    )


@pytest.fixture(scope="module")
def whole(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """An evaluation that nothing stopped."""
    return run_plan(plan, tmp_path_factory.mktemp("whole"), batch=PART)


@pytest.fixture(scope="module")
def stopped(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation that was stopped within its last pair."""
    out = tmp_path_factory.mktemp("stopped")

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, out, progress=stop)
    return out


@pytest.fixture(scope="module")
def result(plan: Plan, stopped: Path) -> dict:
    """The result of the stopped evaluation, gone on with."""
    done: list[tuple[int, int]] = []
    found = run_plan(plan, stopped, progress=lambda *now: done.append(now), batch=7)
    assert done[0][0] > done[0][1] / 2 and done[-1][0] == done[-1][1]  # only what was missing
    return found


def test_every_pair_and_mode_has_its_scores(result: dict) -> None:
    pairs = {(p["source"], p["target"], p["mode"]): p for p in result["pairs"]}
    assert len(pairs) == len(result["pairs"]) == 4
    for (_, _, mode), pair in pairs.items():
        assert pair["fakes"] == SOURCES * OUTPUTS and pair["reals"] == REALS
        assert pair["fid"] > 0 and -1 <= pair["structure"] <= 1
        assert ("likeness" in pair) == (mode == "reference")
        assert pair["pose_degrees"] > 0 and pair["landmark_shift"] > 0
        assert pair["kid_deviation"] >= 0 and pair["layout_kept"] <= 1
    for mode in ("latent", "reference"):
        mine = [p["fid"] for p in result["pairs"] if p["mode"] == mode]
        assert result["mean"][mode]["fid"] == pytest.approx(sum(mine) / 2)
    assert [d["domain"] for d in result["domains"]] == ["cat", "dog"]


def test_the_file_says_what_was_done(result: dict, stopped: Path) -> None:
    told = json.loads((stopped / "evaluation.json").read_text(encoding="utf-8"))
    assert told["seed"] == 0 and told["outputs"] == OUTPUTS and not told["whole"]
    assert told["fakes"] == FAKES
    assert set(told["networks_sha256"]) == {"inception", "lpips", "mobilenet_v2", "head_geometry"}
    assert all(len(h) == 64 for h in told["networks_sha256"].values())
    assert told["seconds"] > 0 and {"inception", "generator"} <= set(told["seconds_by_part"])
    assert "examples" not in told["pairs"][0]
    assert [p.name for p in stopped.iterdir() if p.is_dir()] == []  # nothing partial is left


def test_features_of_reals_come_from_the_cache(
    plan: Plan, result: dict, whole: dict, tmp_path: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in cache_folder().iterdir()}
    assert len(before) == 4  # Inception and light features of two domains
    again = run_plan(plan, tmp_path, batch=PART)
    assert {p: p.stat().st_mtime_ns for p in cache_folder().iterdir()} == before
    assert again["pairs"] == whole["pairs"]
    for one, other in zip(result["pairs"], again["pairs"], strict=True):
        for name, value in one.items():
            if isinstance(value, float):
                assert other[name] == pytest.approx(value, rel=2e-3, abs=1e-4), name


def test_within_a_pair_it_goes_on_with_the_same_bits_and_remembers_its_time(
    plan: Plan, whole: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "KEPT", PART)
    first, done = FAKES // 2 + 2 * PART * OUTPUTS, []  # of the last pair: all of its first part

    def stop(made: int, total: int) -> None:
        if made > first:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, tmp_path, progress=stop, batch=PART)
    parts = Unfinished(tmp_path / f"partial-{plan.fingerprint}")
    assert parts.names("001-to-000") == ["001-to-000"]  # the first pair's result
    assert parts.names("000-to-001") == ["000-to-001-000000-000004"]  # sources of the last one
    (time_file,) = parts.names("time-")
    spent = parts.get(time_file)
    assert spent["parts"]["inception"] > 0

    again = run_plan(plan, tmp_path, progress=lambda *now: done.append(now), batch=PART)
    assert done[0] == (first + PART * OUTPUTS, FAKES) and done[-1] == (FAKES, FAKES)
    assert again["pairs"] == whole["pairs"]  # to the last bit, and with the same examples
    assert again["seconds"] > spent["seconds"]
    assert again["seconds_by_part"]["inception"] >= round(spent["parts"]["inception"], 1)
    assert not parts.folder.exists()


def test_times_of_all_sessions_and_ranks_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    parts = Unfinished(tmp_path)
    cut, other = Session(parts), Session(parts, rank=1)
    now[0] = 110.0
    cut.seconds_by_part |= {"inception": 6.0}
    cut.keep()
    now[0] = 115.0  # spent on a part that was never put
    again = Session(parts)
    now[0] = 120.0
    other.seconds_by_part |= {"inception": 1.0, "lpips": 2.0}
    other.keep()
    assert again.total() == (10.0 + 20.0 + 5.0, {"inception": 7.0, "lpips": 2.0})
    again.keep()
    assert again.total() == (35.0, {"inception": 7.0, "lpips": 2.0})


def test_two_ranks_share_the_work(plan: Plan, whole: dict, tmp_path: Path) -> None:
    program = """
from facemeld.evaluation.run import run_plan
plan, out = given
made = []
found = run_plan(plan, out, progress=lambda *n: made.append(n))
print(made[-1][1], found is None)
"""
    out = tmp_path / "out"
    told = in_two_ranks(program, (plan, out), tmp_path)
    assert [t.split() for t in told] == [["40", "False"], ["40", "True"]]
    found = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert found["ranks"] == 2
    for one, other in zip(whole["pairs"], found["pairs"], strict=True):
        assert other["fid"] == pytest.approx(one["fid"], rel=1e-3)


def test_only_distances_takes_no_scores_of_fusion(
    plan: Plan, whole: dict, data: Path, tmp_path: Path
) -> None:
    options = {"outputs": OUTPUTS, "only": "distances", "weights_dir": plan.weights_dir}
    alone = make_plan("clean", plan.model, data, **options)
    assert alone.fingerprint != plan.fingerprint and set(alone.judges) == {"inception", "lpips"}
    found = run_plan(alone, tmp_path, batch=PART)
    assert found["domains"] == found["targets"] == []
    assert not {"fusion scores", "smoothness"} & set(found["seconds_by_part"])
    for one, other in zip(whole["pairs"], found["pairs"], strict=True):
        assert {"fid", "kid", "density", "coverage", "diversity"} <= set(other)
        assert not {"structure", "likeness", "pose_degrees", "smoothness"} & set(other)
        assert all(one[name] == value for name, value in other.items())
    write_report(found, "facemeld evaluate", tmp_path)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "fusion itself was not scored" in page and "Best and worst" not in page
    with pytest.raises(UserError, match="heads are not compared with --only distances"):
        make_plan("clean", plan.model, data, people=("cat", "dog"), **options)


def test_the_report_is_one_page_with_everything(result: dict, tmp_path: Path) -> None:
    strange = copy.deepcopy(result)
    strange["model"]["folder"] = "runs/<b>bold</b>"
    for pair in strange["pairs"]:
        for end in ("source", "target"):
            pair[end] = {"cat": "<script>cat", "dog": "dog & co"}[pair[end]]
    paths = write_report(strange, "facemeld evaluate --data '<i>'", tmp_path)
    assert [p.name for p in paths[:2]] == ["report.md", "report.html"]
    page = paths[1].read_text(encoding="utf-8")
    assert "<script" not in page and "<b>" not in page and "<i>" not in page
    assert "&lt;script&gt;cat" in page and "facemeld evaluate" in page
    assert page.count("data:image/png") == 2  # a plot for each mode
    assert page.count("data:image/jpeg") == 4 * 2 * 2 + 2  # best and worst; likeness in one
    assert "Best and worst by head pose" in page and "Best and worst by layout" in page
    assert "Reduced" in page and "http" not in page.replace("http-equiv", "")


def test_the_paper_protocol_has_no_kernel_distance(
    data: Path, resnet_model: Path, judges_dir: Path, tmp_path: Path
) -> None:
    plan = make_plan("starganv2", resnet_model, data, outputs=2, weights_dir=judges_dir)
    assert not plan.whole and plan.people == ()
    looked: list[tuple[int, int]] = []
    found = run_plan(plan, tmp_path, reals_progress=lambda *now: looked.append(now))
    assert looked[-1] == (2 * REALS, 2 * REALS) and looked == sorted(looked)
    assert found["targets"] == []  # the light protocol's distances are none of the paper's
    assert all("kid" not in p and p["fid"] > 0 for p in found["pairs"])
    assert "pose_degrees" not in found["mean"]["latent"]


def test_pictures_of_several_sizes_are_refused(
    data: Path, resnet_model: Path, judges_dir: Path, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    write_faces(root / "val", {"cat": SOURCES, "dog": SOURCES})
    write_faces(root / "train", {"cat": SOURCES, "dog": SOURCES})
    draw_face("cat", 1, 40).save(root / "train" / "cat" / "odd.png")
    with pytest.raises(UserError, match=r"2 different sizes \(40 of 48 x 48, 1 of 40 x 40\)"):
        make_plan("clean", resnet_model, root, weights_dir=judges_dir)


@pytest.fixture
def in_shards(data: Path, tmp_path: Path) -> Path:
    """The same pictures in two shards a domain."""
    root = tmp_path / "shards"
    for folder in sorted(data.glob("*/*")):
        files = sorted(folder.iterdir())
        half = len(files) // 2
        for name, part in (("000000.tar", files[:half]), ("000001.tar", files[half:])):
            samples = [Sample(file.stem, file, 0) for file in part]
            write_shard(root / folder.relative_to(data) / name, samples)
    return root


def test_pictures_in_shards_give_the_same_numbers(
    plan: Plan,
    whole: dict,
    in_shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path / "home"))  # no cached features
    same = make_plan(
        "clean",
        plan.model,
        in_shards,
        outputs=OUTPUTS,
        people=plan.people,
        weights_dir=plan.weights_dir,
    )
    assert same.hashes == plan.hashes
    found = run_plan(same, tmp_path / "out", batch=PART)
    assert found["pairs"] == whole["pairs"]


def test_shards_are_looked_into_before_any_work(
    resnet_model: Path, judges_dir: Path, in_shards: Path, tmp_path: Path
) -> None:
    shard, odd = in_shards / "train" / "cat" / "000002.tar", tmp_path / "odd.png"
    draw_face("cat", 1, 40).save(odd)
    write_shard(shard, [Sample("odd", odd, 0)])
    with pytest.raises(UserError, match="2 different sizes"):
        make_plan("clean", resnet_model, in_shards, weights_dir=judges_dir)
    odd.write_bytes(b"no picture")
    write_shard(shard, [Sample("odd", odd, 0)])
    with pytest.raises(UserError) as caught:
        make_plan("clean", resnet_model, in_shards, weights_dir=judges_dir)
    assert "000002.tar" in caught.value.where and "odd.png" in caught.value.where


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(outputs=1), "outputs is 1"),
        (dict(sources=9), "sources is 9"),
        (dict(seed=-1), "seed is -1"),
        (dict(people=("bird",)), "no domain 'bird'"),
        (dict(people=("cat",)), "fewer than two are named"),
        (dict(model="no such model"), "no such model"),
        (dict(weights_dir="nowhere"), "no such folder"),
    ],
)
def test_impossible_options_are_refused(
    data: Path, resnet_model: Path, judges_dir: Path, options: dict, message: str
) -> None:
    options = {"model": resnet_model, "weights_dir": judges_dir} | options
    with pytest.raises(UserError, match=message):
        make_plan("clean", data=data, **options)


def test_unknown_domains_and_too_few_pictures_are_refused(
    data: Path, resnet_model: Path, judges_dir: Path, tmp_path: Path
) -> None:
    birds = write_faces(tmp_path / "birds", {"bird": 10, "cat": 10})
    with pytest.raises(UserError, match="no domain 'bird'"):
        make_plan("clean", resnet_model, birds, data / "train", weights_dir=judges_dir)
    few = write_faces(tmp_path / "few", {"cat": 10, "dog": 9})
    with pytest.raises(UserError, match=r"fewer than 10 held-out pictures: dog \(9\)"):
        make_plan("clean", resnet_model, few, data / "train", weights_dir=judges_dir)
    with pytest.raises(UserError, match="no real pictures to compare with"):
        make_plan("clean", resnet_model, data / "val", weights_dir=judges_dir)
    for folders in ((tmp_path / "nowhere",), (data / "val", tmp_path / "nowhere")):
        with pytest.raises(UserError, match="no such folder") as caught:
            make_plan("clean", resnet_model, *folders, weights_dir=judges_dir)
        assert caught.value.where.endswith("nowhere")


def test_a_missing_network_is_named_with_what_gets_it(
    data: Path, resnet_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEMELD_HOME", str(tmp_path))
    with pytest.raises(UserError, match="StarGAN v2 paper") as caught:
        make_plan("starganv2", resnet_model, data)
    assert "facemeld download inception-torchvision" in caught.value.fix


def test_parts_of_another_plan_version_or_judge_are_not_gone_on_with(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plan.fingerprint
    assert dataclasses.replace(plan, weights_dir=None).fingerprint == plan.fingerprint
    others = [
        {"seed": 1},
        {"only": "distances"},
        {"precision": "bf16"},
        {"judges": plan.judges | {"lpips": "0" * 64}},
    ]
    found = {dataclasses.replace(plan, **other).fingerprint for other in others}
    monkeypatch.setattr(facemeld, "__version__", "0.0.0")
    assert len(found | {before, plan.fingerprint}) == 6


def test_a_model_folder_without_weights_is_refused(
    data: Path, resnet_model: Path, judges_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_bytes((resnet_model / "config.json").read_bytes())
    with pytest.raises(UserError, match="weights are missing"):
        make_plan("clean", tmp_path, data, weights_dir=judges_dir)
