"""From photographs to training pictures: what is kept, what is not, and that it is reproducible."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from drawn_faces import draw_face
from PIL import Image, ImageOps

from facemeld.data import prepare as module
from facemeld.data import squares
from facemeld.data.folders import scan_domains
from facemeld.data.prepare import PrepareOptions, prepare
from facemeld.data.store import load_pictures
from facemeld.errors import UserError

SMALL = PrepareOptions(size=32)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Domains ``cat`` (12) and ``dog`` (8), not square, of different sizes."""
    root = tmp_path / "in"
    for domain, count in (("cat", 12), ("dog", 8)):
        (root / domain).mkdir(parents=True)
        for index in range(count):
            draw_face(domain, index, 96 + 8 * (index % 3)).save(root / domain / f"{index:02d}.png")
    return root


def manifest(out: Path) -> dict[str, dict]:
    lines = (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return {record["source"]: record for record in map(json.loads, lines)}


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder, by name: its SHA-256."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(source: Path, out: Path, options: PrepareOptions = SMALL, **more: object):
    return prepare(source, out, options, processes=1, **more)


# -- the result ---------------------------------------------------------------------------------


def test_the_result_is_what_training_reads(photographs: Path, tmp_path: Path) -> None:
    before = content(photographs)
    done = run(photographs, tmp_path / "out")
    assert content(photographs) == before
    counts = {d: sum(split.get(d, 0) for split in done.kept.values()) for d in ("cat", "dog")}
    assert counts == {"cat": 12, "dog": 8} and done.rejected == ()
    store = load_pictures(scan_domains(tmp_path / "out" / "train"), 32)
    assert store.domains == ("cat", "dog")
    assert [p.shape[1:] for p in store.pictures] == [(32, 32, 3)] * 2
    assert json.loads((tmp_path / "out" / "domains.json").read_text()) == ["cat", "dog"]
    with Image.open(tmp_path / "out" / "sheet.jpg") as page:
        assert page.width > 12 * 96
    assert not (tmp_path / "out" / ".work").exists()


def test_the_manifest_accounts_for_every_file(photographs: Path, tmp_path: Path) -> None:
    (photographs / "cat" / "notes.txt").write_text("words")
    run(photographs, tmp_path / "out")
    records = manifest(tmp_path / "out")
    assert list(records) == sorted(content(photographs))
    for source, record in records.items():
        original = (photographs / source).read_bytes()
        assert record["sha256"] == hashlib.sha256(original).hexdigest()
        assert record["bytes"] == len(original)
        if source == "cat/notes.txt":
            assert record["rejected"] == "this is not a picture that can be read"
            continue
        result = tmp_path / "out" / record["result"]
        assert record["result_sha256"] == hashlib.sha256(result.read_bytes()).hexdigest()
        assert record["result"].split("/")[1] == record["domain"] == source.split("/")[0]


@pytest.mark.parametrize("kind", ["png", "webp", "jpg"])
def test_the_transform_in_the_manifest_gives_the_result(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "in" / "cat"
    source.mkdir(parents=True)
    wide = Image.new("RGB", (200, 120), "grey")
    wide.paste(draw_face("cat", 1, 120), (60, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    wide.transpose(Image.Transpose.ROTATE_90).save(source / "1.png", exif=exif)
    run(tmp_path / "in", tmp_path / "out", PrepareOptions(size=40, format=kind, validation=0))
    record = manifest(tmp_path / "out")["cat/1.png"]
    assert (record["width"], record["height"]) == (200, 120)
    assert record["transform"] == {"box": [40, 0, 160, 120]}
    expected = np.asarray(wide.crop((40, 0, 160, 120)).resize((40, 40), Image.Resampling.LANCZOS))
    with Image.open(tmp_path / "out" / record["result"]) as result:
        difference = np.abs(np.asarray(result).astype(int) - expected)
        assert result.size == (40, 40) and result.mode == "RGB" and not result.getexif()
    assert difference.mean() < (3 if kind == "jpg" else 0.01)


@pytest.mark.parametrize("lies", range(1, 9))
def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(tmp_path: Path, lies: int) -> None:
    source = tmp_path / "in" / "cat"
    source.mkdir(parents=True)
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    large = Image.fromarray(coarse).resize((1201, 901), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = lies
    large.save(source / "1.jpg", quality=95, exif=exif)
    run(tmp_path / "in", tmp_path / "out", PrepareOptions(size=64, validation=0))
    record = manifest(tmp_path / "out")["cat/1.jpg"]
    wide = lies < 5
    assert (record["width"], record["height"]) == ((1201, 901) if wide else (901, 1201))
    box = (150, 0, 1051, 901) if wide else (0, 150, 901, 1051)
    assert record["transform"] == {"box": list(box)}
    with Image.open(source / "1.jpg") as image:
        upright = ImageOps.exif_transpose(image).crop(box)
    expected = np.asarray(upright.resize((64, 64), Image.Resampling.LANCZOS), float)
    with Image.open(tmp_path / "out" / record["result"]) as result:
        error = np.mean((np.asarray(result, float) - expected) ** 2)
    assert 10 * np.log10(255**2 / error) > 45


def test_twice_gives_the_same_bytes_with_any_number_of_processes(
    photographs: Path, tmp_path: Path
) -> None:
    run(photographs, tmp_path / "one")
    prepare(photographs, tmp_path / "two", SMALL, processes=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    state = content(tmp_path / "one")
    again = run(photographs, tmp_path / "one")
    assert again.made_now == 0 and content(tmp_path / "one") == state


def test_the_split_follows_the_content_alone(photographs: Path, tmp_path: Path) -> None:
    options = PrepareOptions(size=32, validation=0.3)
    run(photographs, tmp_path / "one", options)
    split = {r["sha256"]: r["result"].split("/")[0] for r in manifest(tmp_path / "one").values()}
    assert {"train", "val"} == set(split.values())
    for index, path in enumerate(sorted((photographs / "cat").iterdir())):
        path.rename(path.with_name(f"renamed {index}.png"))
    draw_face("cat", 50, 96).save(photographs / "cat" / "added.png")
    run(photographs, tmp_path / "two", options)
    after = {r["sha256"]: r["result"].split("/")[0] for r in manifest(tmp_path / "two").values()}
    assert split.items() <= after.items()
    run(photographs, tmp_path / "none", PrepareOptions(size=32, validation=0))
    assert not (tmp_path / "none" / "val").exists()


def test_one_domain_from_any_folders(photographs: Path, tmp_path: Path) -> None:
    done = run(photographs, tmp_path / "out", PrepareOptions(size=32, domain="animal"))
    assert done.kept["train"].keys() | done.kept["val"].keys() == {"animal"}
    assert sum(done.kept[split].get("animal", 0) for split in done.kept) == 20


def test_shards_hold_the_same_pictures_and_the_labels(photographs: Path, tmp_path: Path) -> None:
    run(photographs, tmp_path / "folders")
    options = PrepareOptions(size=32, shards=5)
    done = run(photographs, tmp_path / "shards", options)
    records = manifest(tmp_path / "shards")
    found = {}
    for path in sorted((tmp_path / "shards").glob("*/*/*.tar")):
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            assert len(members) <= 10
            assert {(m.mtime, m.uid, m.gid, m.uname) for m in members} == {(0, 0, 0, "")}
            for picture, label in zip(members[::2], members[1::2], strict=True):
                assert picture.name.split(".")[0] == label.name.split(".")[0]
                data = archive.extractfile(picture).read()
                domain = ("cat", "dog")[int(archive.extractfile(label).read())]
                assert domain == path.parent.name
                shard = path.relative_to(tmp_path / "shards").as_posix()
                found[f"{shard}/{picture.name}"] = domain, hashlib.sha256(data).hexdigest()
    assert found == {r["result"]: (r["domain"], r["result_sha256"]) for r in records.values()}
    as_files = {r["result_sha256"] for r in manifest(tmp_path / "folders").values()}
    assert {digest for _, digest in found.values()} == as_files
    assert sum(sum(split.values()) for split in done.kept.values()) == len(found) == 20
    again = run(photographs, tmp_path / "shards", options)
    assert again.made_now == 0 and again.kept == done.kept
    to_train_on = scan_domains(tmp_path / "shards" / "train")
    counts = dict(zip(to_train_on.domains, map(len, to_train_on.files)))
    assert counts == done.kept["train"]


# -- copies -------------------------------------------------------------------------------------


def test_copies_are_dropped_and_the_largest_stays(photographs: Path, tmp_path: Path) -> None:
    face = Image.open(photographs / "cat" / "00.png")
    shutil.copy(photographs / "cat" / "00.png", photographs / "cat" / "Z exact.png")
    face.save(photographs / "cat" / "a.jpg", quality=60)
    ImageOps.mirror(face).save(photographs / "cat" / "mirrored.webp", quality=80)
    face.resize((300, 300), Image.Resampling.BICUBIC).save(photographs / "cat" / "large.png")
    face.resize((64, 64), Image.Resampling.LANCZOS).save(photographs / "dog" / "moved.png")
    done = run(photographs, tmp_path / "out")
    records = manifest(tmp_path / "out")
    assert sum(sum(split.values()) for split in done.kept.values()) == 20
    assert "result" in records["cat/large.png"]
    names = ("cat/00.png", "cat/a.jpg", "cat/mirrored.webp", "dog/moved.png", "cat/Z exact.png")
    for name in names:
        assert records[name]["copy_of"] == "cat/large.png", name
    assert "mirrored" in records["cat/mirrored.webp"]["rejected"]
    assert "another domain" in records["dog/moved.png"]["rejected"]
    assert records["cat/Z exact.png"]["rejected"] == "exact copy: of cat/00.png"
    assert done.reasons == {"near copy": 4, "exact copy": 1}


def test_of_equal_files_the_first_by_name_stays(photographs: Path, tmp_path: Path) -> None:
    for name in ("b", "a", "ä"):
        shutil.copy(photographs / "dog" / "00.png", photographs / "dog" / f"{name}.png")
    run(photographs, tmp_path / "out")
    records = manifest(tmp_path / "out")
    assert [n for n in records if records[n].get("copy_of")] == [
        "dog/a.png",
        "dog/b.png",
        "dog/ä.png",
    ]
    assert {records[n]["copy_of"] for n in records if "copy_of" in records[n]} == {"dog/00.png"}


# -- bad input ----------------------------------------------------------------------------------


def test_bad_files_are_reported_and_every_good_picture_is_kept(
    photographs: Path, tmp_path: Path
) -> None:
    cat = photographs / "cat"
    good = {
        f"cat/{name}" for name in ("spaces in it.png", "貓 🐱.png", "new\nline.png", "noending")
    }
    for index, name in enumerate(sorted(good)):
        draw_face("cat", 100 + index, 96).save(photographs / name, "PNG")
    draw_face("cat", 110, 96).save(os.fsencode(cat) + b"/\xff\xfe.png", "PNG")
    good.add("cat/\udcff\udcfe.png")
    draw_face("cat", 111, 96).save(tmp_path / "elsewhere.png")
    (cat / "link.png").symlink_to(tmp_path / "elsewhere.png")
    good.add("cat/link.png")
    good |= {f"cat/{index:02d}.png" for index in range(1, 12)}
    good |= {f"dog/{index:02d}.png" for index in range(8)}
    bad = {
        "cat/00.png": "truncated or damaged",
        "cat/words.txt": "not a picture",
        "cat/empty.png": "empty (0 bytes)",
        "cat/tiny.png": "too small: 15 x 40 pixels, 16 are the least",
        "cat/huge.png": "too many pixels",
        "cat/blank.png": "blank",
        "cat/broken link.png": "no such file",
        "cat/circle.png": "cannot be read",
        "cat/folder link": "a link to a folder",
        "cat/pipe.png": "pipe or a device",
        "loose.png": "not in the folder of a domain",
        "loop": "not in the folder of a domain",
    }
    (cat / "00.png").write_bytes((cat / "00.png").read_bytes()[:300])
    (cat / "words.txt").write_text("words")
    (cat / "empty.png").touch()
    draw_face("cat", 1, 40).crop((0, 0, 15, 40)).save(cat / "tiny.png")
    Image.new("1", (9000, 9000)).save(cat / "huge.png")
    Image.new("RGB", (99, 99), "red").save(cat / "blank.png")
    (cat / "broken link.png").symlink_to("nowhere.png")
    (cat / "circle.png").symlink_to("circle.png")
    (cat / "folder link").symlink_to(photographs / "dog")
    os.mkfifo(cat / "pipe.png")
    draw_face("cat", 99, 96).save(photographs / "loose.png")
    (photographs / "loop").symlink_to("loop")
    (cat / ".hidden.png").write_text("not looked at")
    state = sorted((str(p), p.lstat().st_mtime_ns, p.lstat().st_size) for p in tree(photographs))

    done = run(photographs, tmp_path / "out")

    records = manifest(tmp_path / "out")
    assert {name for name, record in records.items() if "result" in record} == good
    assert {name for name, record in records.items() if "rejected" in record} == set(bad)
    for name, words in bad.items():
        assert words in records[name]["rejected"], name
    assert len(done.rejected) == len(bad)
    after = sorted((str(p), p.lstat().st_mtime_ns, p.lstat().st_size) for p in tree(photographs))
    assert after == state


def tree(folder: Path) -> list[Path]:
    return [folder, *folder.rglob("*")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_reported(photographs: Path, tmp_path: Path) -> None:
    (photographs / "cat" / "closed").mkdir(mode=0)
    run(photographs, tmp_path / "out")
    assert "cannot be read" in manifest(tmp_path / "out")["cat/closed"]["rejected"]


def refused(source: Path, out: Path, words: str, options: PrepareOptions = SMALL) -> UserError:
    before = content(out) if out.is_dir() else None
    with pytest.raises(UserError, match=words) as caught:
        run(source, out, options)
    assert (content(out) if out.is_dir() else None) == before
    return caught.value


def test_folders_inside_each_other_are_refused(photographs: Path, tmp_path: Path) -> None:
    for out in (
        photographs,
        photographs / "out",
        photographs / "cat" / "out",
        tmp_path,
        photographs / ".." / "in" / "x",
    ):
        refused(photographs, out, "folder of the photographs|not empty")
    (tmp_path / "link").symlink_to(photographs)
    refused(photographs, tmp_path / "link" / "out", "in the folder of the photographs")
    real = tmp_path / "real"
    shutil.move(photographs / "dog", real)
    (photographs / "dog").symlink_to(real)
    refused(photographs, real / "out", "in the folder of the photographs")
    assert not (photographs / "out").exists()


def test_a_folder_of_something_else_is_not_touched(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    refused(photographs, out, "not of an earlier run")
    (out / "prepare.json").write_text('{"options": 1}')
    refused(photographs, out, "not of an earlier run")
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UserError):
        run(photographs, file)
    assert file.read_text() == "mine"


def test_other_options_or_photographs_are_refused(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photographs, out)
    error = refused(photographs, out, "size was 32, is 48", PrepareOptions(size=48))
    assert "choose another folder" in error.fix
    refused(photographs, out, "validation was 0.1", PrepareOptions(size=32, validation=0.2))
    draw_face("cat", 77, 96).save(photographs / "cat" / "new.png")
    refused(photographs, out, "the photographs have changed")


def test_results_that_are_gone_are_told(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photographs, out)
    complete = content(out)
    next((out / "train" / "cat").iterdir()).unlink()
    refused(photographs, out, "1 of the results in the manifest are gone")
    (out / "manifest.jsonl").unlink()
    run(photographs, out)
    assert content(out) == complete
    lines = (out / "manifest.jsonl").read_text().splitlines(keepends=True)
    (out / "manifest.jsonl").write_text("".join(lines[:-1]))
    refused(photographs, out, "the manifest is damaged: it has 19 lines for 20 files")


def test_inputs_that_cannot_be(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(tmp_path / "nowhere", out, "no such folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", out, "no files in this folder")
    error = refused(photographs / "cat", out, "12 files lie here, and no subfolders")
    assert "--domain" in error.fix
    (tmp_path / "splits").mkdir()
    shutil.copytree(photographs, tmp_path / "splits" / "train")
    shutil.copytree(photographs, tmp_path / "splits" / "val")
    refused(tmp_path / "splits", out, "splits")
    assert not out.exists()


def test_nothing_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "in" / "cat").mkdir(parents=True)
    (tmp_path / "in" / "cat" / "1.txt").write_text("words")
    with pytest.raises(UserError, match="no picture is left of 1 files: 1 x this is not a picture"):
        run(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size": 4}, "size is 4"),
        ({"validation": 1.0}, "validation is 1.0"),
        ({"format": "pgn"}, "did you mean 'png'"),
        ({"quality": 0}, "quality is 0"),
        ({"smallest": 0}, "smallest is 0"),
        ({"shards": 0}, "shards is 0"),
        ({"domain": "../x"}, "domain is"),
        ({"domain": ".x"}, "domain is"),
    ],
)
def test_impossible_options(photographs: Path, tmp_path: Path, values: dict, words: str) -> None:
    refused(photographs, tmp_path / "out", words, PrepareOptions(**values))


# -- interrupted --------------------------------------------------------------------------------


class Stop(Exception):
    """Stands for Ctrl-C, a crash or a power cut."""


def stop_after(count: int):
    def progress(done: int, total: int) -> None:
        if done >= count:
            raise Stop

    return progress


@pytest.mark.parametrize("options", [SMALL, PrepareOptions(size=32, shards=4)])
def test_a_cut_run_goes_on_and_ends_with_the_same_bytes(
    photographs: Path, tmp_path: Path, options: PrepareOptions
) -> None:
    shutil.copy(photographs / "cat" / "03.png", photographs / "cat" / "copy.png")
    run(photographs, tmp_path / "whole", options)
    out = tmp_path / "cut"
    with pytest.raises(Stop):
        run(photographs, out, options, progress=stop_after(8))
    with (out / ".work" / "journal.jsonl").open("a") as journal:
        journal.write('{"index": 9, "half a li')
    (out / ".work" / "0000002.png").unlink()
    (out / ".work" / "0000015.png.partial").write_bytes(b"half")
    done = run(photographs, out, options)
    assert done.made_now == 21 - 8 + 1
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.parametrize("options", [SMALL, PrepareOptions(size=32, shards=4)])
def test_a_run_cut_while_it_puts_pictures_in_place_goes_on(
    photographs: Path,
    tmp_path: Path,
    options: PrepareOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy(photographs / "cat" / "03.png", photographs / "cat" / "copy.png")
    run(photographs, tmp_path / "whole", options)
    out = tmp_path / "cut"

    def stop(*_: object) -> None:
        raise Stop

    monkeypatch.setattr(module._Run, "_write_sheet", stop)
    with pytest.raises(Stop):
        run(photographs, out, options)
    monkeypatch.undo()
    assert run(photographs, out, options).made_now == 0
    assert content(out) == content(tmp_path / "whole")


def test_a_full_disk_is_one_sentence_and_nothing_is_lost(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(photographs, tmp_path / "whole")
    write, left = squares.write_whole, [5]

    def until_full(path: Path, content) -> None:
        left[0] -= 1
        if left[0] < 0:
            content = partial(_no_space, path)
        write(path, content)

    monkeypatch.setattr(squares, "write_whole", until_full)
    with pytest.raises(UserError, match="No space left on device") as caught:
        run(photographs, tmp_path / "out")
    assert "free some space" in caught.value.fix
    monkeypatch.undo()
    assert run(photographs, tmp_path / "out").made_now < 20
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def _no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_two_runs_into_one_folder_do_not_mix(photographs: Path, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    out = tmp_path / "out"

    def second_run(done: int, total: int) -> None:
        with pytest.raises(UserError, match="another preparation"):
            run(photographs, out)

    run(photographs, out, progress=second_run)


# -- alignment ----------------------------------------------------------------------------------


def upper_left(size: int, *, least_red: int):
    """An aligner for tests: cuts the upper left quarter, and finds no face in blue pictures."""

    def align(image: Image.Image):
        if np.asarray(image)[..., 0].mean() < least_red:
            return None
        half = image.width // 2
        scale = size / half
        face = image.crop((0, 0, half, half)).resize((size, size), Image.Resampling.LANCZOS)
        return face, [[scale, 0, 0], [0, scale, 0]]

    return align


def aligner_for_tests():
    return upper_left(32, least_red=40)


def test_pictures_are_aligned_and_those_without_a_face_left_out(
    photographs: Path, tmp_path: Path
) -> None:
    options = PrepareOptions(size=32, align="animal")
    Image.effect_noise((96, 96), 30).point(lambda v: v / 8).convert("RGB").save(
        photographs / "dog" / "dark.png"
    )
    done = prepare(photographs, tmp_path / "out", options, aligner=aligner_for_tests, processes=2)
    records = manifest(tmp_path / "out")
    assert records["dog/dark.png"]["rejected"] == "no face was found"
    assert done.reasons == {"no face was found": len(done.rejected)}
    record = records["cat/01.png"]
    assert record["transform"] == {"matrix": [[round(32 / 52, 4), 0, 0], [0, round(32 / 52, 4), 0]]}
    with Image.open(photographs / "cat" / "01.png") as image:
        expected, _ = aligner_for_tests()(image)
    with Image.open(tmp_path / "out" / record["result"]) as result:
        assert result.tobytes() == expected.tobytes()


def test_other_detectors_are_refused(photographs: Path, tmp_path: Path) -> None:
    options, out = PrepareOptions(size=32, align="animal"), tmp_path / "out"
    how = {"aligner": aligner_for_tests, "processes": 1}
    prepare(photographs, out, options, detectors=("heads",), **how)
    assert json.loads((out / "prepare.json").read_text())["detectors"] == ["heads"]
    assert prepare(photographs, out, options, detectors=("heads",), **how).made_now == 0
    with pytest.raises(UserError, match="detectors was heads, is yunet and heads"):
        prepare(photographs, out, options, detectors=("yunet", "heads"), **how)
