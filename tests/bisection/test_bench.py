"""Measuring a commit: what keeps it from being measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_nsys.bisection import bench
from pytest_nsys.bisection.bench import Bench, Broken, Project
from tests.support.commits import make_history
from tests.support.harness import write_program
from tests.support.quick_python import kernels


@pytest.mark.parametrize(
    ("inside", "python", "reason"),
    [
        ("deep", "./python", "it has no folder deep"),
        (".", "./none", "pytest cannot be started: "),
        (".", "./python", "it did not end within "),
    ],
)
def test_a_commit_that_cannot_be_measured_says_why(
    inside: str, python: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "repository"
    one, other = {"kernels.json": kernels(), "deep/x": ""}, {"deep/x": "x"}
    hashes = make_history(top, [one, other])
    write_program(top / "python", "#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(bench, "_RUN_DEADLINE_S", 0.2)
    (tmp_path / "run").mkdir()
    brought = ("python",)
    project = Project(top, Path(inside), ("test_it.py",), python=python, brought=brought)
    measured = Bench(project, tmp_path / "run")
    if inside != ".":
        setup = ("sh", "-c", 'test "$(cat deep/x)" = "" || rm -r deep')
        measured = Bench(Project(top, Path(inside), (), setup=setup), tmp_path / "run")
    found = measured.measure(hashes[1], hashes[0], ["test_it.py"])
    assert isinstance(found, Broken)
    assert found.reason.startswith(reason)
    assert not (tmp_path / "run/here").exists()


def test_as_many_processes_as_are_asked_for() -> None:
    def processes(*options: str) -> int:
        return Project(Path(), Path(), (), options).processes

    assert processes() == processes("-k", "a") == processes("--nsys-processes=none") == 2
    assert processes("--nsys-processes=1") == 1
    assert processes("--nsys-processes=3", "--nsys-processes", "5") == 5


def test_a_test_is_named_as_seen_from_where_pytest_starts(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/test_it.py").touch()
    (tmp_path / "test_top.py").touch()
    measured = Bench(Project(tmp_path, Path("deep"), ()), tmp_path)
    assert measured.place("deep/test_it.py::A::test[a/b]") == "test_it.py::A::test[a/b]"
    assert measured.place("test_top.py::test") == "../test_top.py::test"
    assert measured.place("nowhere.py::test") == "nowhere.py::test"
