"""Checkpoints made to do harm, or simply wrong: one clear error, no code run, no memory filled."""

from __future__ import annotations

import io
import os
import pickle
import random
import resource
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from facemeld.errors import UserError
from facemeld.export.stargan_v2 import PARTS, import_stargan_v2

FORMATS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before zip"])
MEGABYTE = 2**20


class RunsCode:
    """Unpickling this the usual way makes a folder."""

    def __init__(self, function, target: Path) -> None:
        self.function, self.target = function, target

    def __reduce__(self):
        return self.function, (str(self.target),)


def saved(contents: object, is_zip: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(contents, buffer, _use_new_zipfile_serialization=is_zip)
    return buffer.getvalue()


def small(is_zip: bool = True) -> bytes:
    """A sound file with the right parts, though far too few weights in them."""
    return saved({part: {"from_rgb.weight": torch.zeros(12345)} for part in PARTS}, is_zip)


def peak_memory() -> int:
    """Bytes that this process has held at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def rewritten(archive: bytes, change, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The same zip file with data.pkl changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as before:
        with zipfile.ZipFile(buffer, "w", compression) as after:
            for name in before.namelist():
                data = before.read(name)
                after.writestr(name, change(data) if name.endswith("data.pkl") else data)
    return buffer.getvalue()


def refuse(contents: bytes, folder: Path, words: str | None = None) -> UserError:
    """Imports these bytes, which must end in a UserError that matches, and leave nothing."""
    path = folder / "100000_nets_ema.ckpt"
    path.write_bytes(contents)
    with pytest.raises(UserError, match=words) as raised:
        import_stargan_v2(path, folder / "model")
    assert raised.value.where == str(path) and raised.value.fix
    assert os.listdir(folder) == [path.name]
    return raised.value


@FORMATS
@pytest.mark.parametrize(
    ("function", "name"), [(os.mkdir, "(posix|nt).mkdir"), (shutil.rmtree, "shutil.rmtree")]
)
def test_code_in_a_checkpoint_is_not_run(tmp_path_factory, is_zip, function, name):
    target = tmp_path_factory.mktemp("target") / "folder"
    if function is shutil.rmtree:
        target.mkdir()
    there = target.exists()
    trap = RunsCode(function, target)
    folder = tmp_path_factory.mktemp("checkpoint")
    contents = {part: {"from_rgb.weight": trap} for part in PARTS}
    refuse(saved(contents, is_zip), folder, f"asks for {name}, and nothing of it was run")
    refuse(pickle.dumps(trap), folder)
    assert target.exists() == there
    pickle.loads(pickle.dumps(trap))
    assert target.exists() != there, "the trap itself must work"


@FORMATS
@pytest.mark.parametrize("claimed", [2**32, 2**40])
def test_a_claim_of_giant_weights_fills_no_memory(tmp_path, is_zip, claimed):
    def exaggerate(data: bytes) -> bytes:
        assert data.count(b"M\x39\x30") >= 2, "12345 as pickle writes it"
        return data.replace(b"M\x39\x30", b"\x8a\x06" + claimed.to_bytes(6, "little"))

    sound = small(is_zip)
    contents = rewritten(sound, exaggerate) if is_zip else exaggerate(sound)
    before = peak_memory()
    refuse(contents, tmp_path, "truncated or damaged")
    assert peak_memory() - before < 200 * MEGABYTE


@FORMATS
def test_a_giant_view_of_one_number_fills_no_memory(tmp_path, is_zip):
    view = torch.zeros(1).expand(10**6, 10**6)
    contents = saved({part: {"from_rgb.weight": view} for part in PARTS}, is_zip)
    refuse(contents, tmp_path, "claims more weights than the file holds")


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    bomb = rewritten(small(), lambda data: bytes(64 * MEGABYTE), zipfile.ZIP_DEFLATED)
    assert len(bomb) < MEGABYTE
    refuse(bomb, tmp_path, "records are compressed or larger than the file")


def test_records_that_overlap_are_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(MEGABYTE))
        info = archive.infolist()[0]
        archive.filelist += [info] * 100  # one record, listed a hundred times
    refuse(buffer.getvalue(), tmp_path, "records are compressed or larger than the file")


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"no checkpoint\n",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"PK\x03\x04",
        bytes(1000),
        b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",  # lists nested 100,000 deep
        b"\x80\x02\x8d" + (2**50).to_bytes(8, "little") + b"text of a petabyte",
    ],
    ids=["empty", "text", "picture", "zip magic", "zeros", "nested", "long text"],
)
def test_files_that_are_no_checkpoints(tmp_path, contents):
    refuse(contents, tmp_path, "not a PyTorch checkpoint, or a truncated")


@FORMATS
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files(tmp_path, is_zip, share):
    sound = small(is_zip)
    refuse(sound[: int(share * len(sound))], tmp_path, "truncated or damaged")


@FORMATS
def test_damaged_files_end_in_a_clear_error(tmp_path, is_zip):
    contents = {part: {"from_rgb.weight": torch.zeros(3)} for part in PARTS}
    sound = saved(contents, is_zip)
    dice = random.Random(0)
    for _ in range(150):
        damaged = bytearray(sound)
        for _ in range(dice.choice((1, 3, 10))):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        refuse(bytes(damaged), tmp_path)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (torch.zeros(3), "holds a Tensor, not a dict"),
        ([1, 2], "holds a list, not a dict"),
        ({}, "no generator and no mapping_network and no style_encoder in it; it holds nothing"),
        ({"state_dict": {"conv1.weight": torch.zeros(3)}}, "it holds state_dict"),
        ({"\x1b[2J": 1, 7: 2}, r"it holds \\x1b\[2J, 7"),
        ({part: {7: torch.zeros(3)} for part in PARTS}, "generator is not a dict of tensors"),
        ({part: {"a": torch.zeros(3).to_sparse()} for part in PARTS}, "not a plain tensor"),
        ({part: {"a": torch.zeros(3, dtype=torch.cfloat)} for part in PARTS}, "not a plain tensor"),
        ({part: {"a": torch.zeros(3)} for part in PARTS}, "generator.from_rgb.weight is missing"),
        (dict.fromkeys(PARTS, {"from_rgb.weight": torch.tensor(1.0)}), "unexpected shape"),
    ],
)
def test_sound_files_of_something_else(tmp_path, contents, words):
    refuse(saved(contents), tmp_path, words)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        import_stargan_v2(tmp_path / "missing.ckpt", tmp_path / "model")
    with pytest.raises(UserError, match="not a file"):
        import_stargan_v2(tmp_path, tmp_path / "model")


def test_a_file_too_large_is_refused_unread(tmp_path):
    path = tmp_path / "huge.ckpt"
    with path.open("wb") as file:
        file.truncate(5 << 30)  # takes no room on the disk
    with pytest.raises(UserError, match="5.4 GB is too large"):
        import_stargan_v2(path, tmp_path / "model")
