"""run_command.sh: the jobs, the set-up on first use and what it does when things go wrong.

The real script runs on a copy of the project's files. A set-up with the real pip takes minutes, so
`FACEMELD_PYTHON` is a Python that makes real virtual environments whose `pip` only notes what it
was asked for and puts a `facemeld` command in place.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SET_UP_FILES = ("run_command.sh", "pyproject.toml", "constraints.txt")
CROSS = {
    "cross-human-animal": ("woman man", "cat dog wild"),
    "cross-animal-human": ("cat dog wild", "woman man"),
}
WITHOUT_PROGRAM = {"demo", "test", "train-faces-64", "facemeld", "help", *CROSS}

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="run_command.sh needs bash")

PYTHON = """#!/usr/bin/env bash
[ "$1 $2" = "-m venv" ] || exec {python} "$@"
{python} -m venv --without-pip "$3" && cp "{pip}" "$3"/lib/python*/site-packages/
"""

PIP = """
import pathlib, sys, time
project = pathlib.Path.cwd()
with open(project / "pip.log", "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
time.sleep(0.5 if (project / "pip-is-slow").exists() else 0)
if (project / "pip-fails").exists():
    sys.exit("no matching distribution")
command = pathlib.Path(sys.prefix, "bin", "facemeld")
command.write_text('#!/bin/sh\\nprintf "[%s]" "$PWD" "$VIRTUAL_ENV" "$@"\\nexit 7\\n')
command.chmod(0o755)
"""


class Project:
    """A copy of what set-up reads, in a folder whose name has a space."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "a project"
        self.root.mkdir()
        for name in SET_UP_FILES:
            shutil.copy(ROOT / name, self.root)
        pip, self.python = tmp_path / "pip.py", tmp_path / "python"
        pip.write_text(PIP)
        self.python.write_text(PYTHON.format(python=sys.executable, pip=pip))
        self.python.chmod(0o755)
        self.environment = os.environ | {
            "FACEMELD_PYTHON": str(self.python),
            "FACEMELD_TORCH_INDEX": "",
        }

    def start(self, *arguments: str, cwd: Path | None = None, script: Path | None = None):
        return subprocess.Popen(
            [str(script or self.root / "run_command.sh"), *arguments],
            cwd=cwd or self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **where: Path) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **where)
        output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    @property
    def pip_calls(self) -> list[str]:
        log = self.root / "pip.log"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def stamp(self) -> Path:
        return self.root / ".venv" / ".facemeld-set-up"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def listed_jobs() -> dict[str, str]:
    """Job name -> what it does, as `help` lists them."""
    listing = subprocess.run(
        [str(ROOT / "run_command.sh"), "help"], capture_output=True, text=True, check=True
    ).stdout
    return dict(re.findall(r"^  (\S+) +(\S.*)$", listing, flags=re.MULTILINE))


def test_help_lists_the_jobs_without_set_up(project: Project) -> None:
    result = project.run("help")
    assert result.returncode == 0
    assert {"demo", "test", "train", "help"} <= listed_jobs().keys()
    for name, text in listed_jobs().items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", result.stdout, flags=re.MULTILINE)
    assert not (project.root / ".venv").exists()


@pytest.mark.parametrize("job", sorted(listed_jobs().keys() - WITHOUT_PROGRAM))
def test_each_listed_job_is_a_command_of_the_program(job: str) -> None:
    command = [sys.executable, "-m", "facemeld", job, "--help"]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"usage: facemeld {job} ")


def test_an_unknown_job_is_refused_with_the_list(project: Project) -> None:
    result = project.run("demoo")
    assert result.returncode == 2
    assert '"demoo"' in result.stderr and "import-stargan-v2" in result.stderr
    assert result.stdout == ""
    assert not (project.root / ".venv").exists()


def test_no_job_at_all_shows_the_list_and_fails(project: Project) -> None:
    result = project.run()
    assert result.returncode == 2
    assert "usage:" in result.stderr


def test_from_another_folder_through_links_arguments_and_exit_code_pass(
    project: Project, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    (tmp_path / "first").symlink_to(Path("a project", "run_command.sh"))
    (elsewhere / "second").symlink_to(Path("..", "first"))
    result = project.run(
        "fuse", "--source", "my face.jpg", cwd=elsewhere, script=elsewhere / "second"
    )
    assert result.returncode == 7
    venv = project.root / ".venv"
    assert result.stdout == f"[{elsewhere}][{venv}][fuse][--source][my face.jpg]"


def test_a_preset_job_puts_its_own_arguments_first(project: Project) -> None:
    result = project.run("train-faces-64", "--data", "faces")
    assert result.stdout.endswith("[train][--preset][faces-64][--data][faces]")


@pytest.mark.parametrize("job", CROSS)
def test_a_cross_domain_job_names_its_domains(project: Project, job: str) -> None:
    result = project.run(job, "--data", "my faces", "--out", "o")
    own, foreign = ("".join(f"[{d}]" for d in domains.split()) for domains in CROSS[job])
    told = f"[cross][--own]{own}[--foreign]{foreign}[--data][my faces][--out][o]"
    assert result.stdout.endswith(told)


def test_the_second_run_installs_nothing_and_is_quick(project: Project) -> None:
    first = project.run("demo")
    assert "set up in" in first.stderr
    assert len(project.pip_calls) == 1
    assert "-c constraints.txt -e ." in project.pip_calls[0]
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        again = project.run("demo")
        seconds.append(time.perf_counter() - start)
        assert again.stderr == "" and again.stdout == first.stdout
    assert len(project.pip_calls) == 1
    assert min(seconds) < 0.2


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_change_of_what_is_needed_installs_again(project: Project, name: str) -> None:
    project.run("demo")
    with (project.root / name).open("a") as file:
        file.write("# one more line\n")
    project.run("demo")
    assert len(project.pip_calls) == 2


def test_a_job_with_more_extras_adds_them_to_those_there(project: Project) -> None:
    project.run("train")
    project.run("test")
    project.run("demo")
    project.run("train")
    wanted = [call.rsplit(" ", 1)[1] for call in project.pip_calls]
    assert wanted == [".[train]", ".[dev,reports,train]"]


def test_a_failed_set_up_says_so_and_starts_afresh_next_time(project: Project) -> None:
    (project.root / "pip-fails").touch()
    failed = project.run("demo")
    assert failed.returncode == 2
    assert "no matching distribution" in failed.stderr and "fix:" in failed.stderr
    assert failed.stdout == ""
    (project.root / "pip-fails").unlink()
    half_installed = project.root / ".venv" / "half-installed"
    half_installed.touch()
    assert project.run("demo").returncode == 7
    assert not half_installed.exists()


def test_a_set_up_that_was_killed_is_repaired(project: Project) -> None:
    (project.root / "pip-is-slow").touch()
    process = project.start("demo")
    deadline = time.monotonic() + 30
    while not project.pip_calls and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert project.stamp.read_text() == "unfinished\n"
    assert project.run("demo").returncode == 7
    assert project.stamp.read_text().startswith(f"{project.root}\n")


def test_a_moved_project_is_set_up_again(project: Project, tmp_path: Path) -> None:
    project.run("demo")
    project.root = project.root.rename(tmp_path / "moved")
    result = project.run("demo")
    assert f"[{project.root / '.venv'}]" in result.stdout
    assert len(project.pip_calls) == 2


def test_a_virtual_environment_made_by_hand_is_kept(project: Project) -> None:
    subprocess.run([project.python, "-m", "venv", project.root / ".venv"], check=True)
    own = project.root / ".venv" / "my-own"
    own.touch()
    assert project.run("demo").returncode == 7
    assert own.exists() and len(project.pip_calls) == 1


@pytest.mark.skipif(not shutil.which("flock"), reason="the lock needs flock")
def test_two_first_uses_at_once_install_once(project: Project) -> None:
    (project.root / "pip-is-slow").touch()
    both = [project.start("demo"), project.start("demo")]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [7, 7]
    assert outputs[0] == outputs[1] != ""
    assert len(project.pip_calls) == 1


def test_without_a_fitting_python_the_error_says_what_to_do(project: Project) -> None:
    project.environment["FACEMELD_PYTHON"] = "/bin/false"
    result = project.run("demo")
    assert result.returncode == 2
    assert "no Python 3.11" in result.stderr and "FACEMELD_PYTHON=" in result.stderr
    assert not (project.root / ".venv").exists()


def test_the_package_index_for_torch_can_be_chosen(project: Project) -> None:
    project.environment["FACEMELD_TORCH_INDEX"] = "https://example.org/wheels"
    project.run("demo")
    assert "--extra-index-url https://example.org/wheels" in project.pip_calls[0]


def test_without_an_index_for_torch_pip_is_left_to_itself(project: Project) -> None:
    project.run("demo")
    assert "index" not in project.pip_calls[0]


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def test_pins_are_exact_and_leave_the_build_of_torch_open() -> None:
    for name, version in constraints().items():
        assert re.fullmatch(r"\d+(\.\d+)*", version), f"{name}=={version}"


def test_everything_that_set_up_installs_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    queue = [*project["dependencies"], *(line for extra in extras for line in extra)]
    seen: set[str] = set()
    while queue:
        requirement = Requirement(queue.pop())
        name = canonicalize_name(requirement.name)
        if name in seen or requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        seen.add(name)
        try:
            queue += importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
    assert {"torch", "numpy", "pytest", "sympy"} <= seen
    assert seen - constraints().keys() == {project["name"]}  # an extra that holds another
