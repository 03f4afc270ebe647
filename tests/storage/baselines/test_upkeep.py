"""Renaming, removing and merging baselines."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.errors import BaselineDamaged, BaselineError
from pytest_nsys.insights.timeline import Timeline
from pytest_nsys.measure.measurement import Measurement, Part
from pytest_nsys.storage.baselines import BaselineStore
from pytest_nsys.storage.baselines.heads import heads
from pytest_nsys.storage.baselines.upkeep import (
    merge_conflicts,
    merge_folder,
    remove,
    rename,
    renames,
)
from tests.support import made
from tests.support.harness import git

TIMELINE = Timeline(length=1000, lanes=(), labels=(), elements=(), memory=())


def measured(
    ns: float, nodeid: str = "t.py::test", label: str = "gemm", day: str = "2026-01-01"
) -> Measurement:
    environment = replace(made.ENVIRONMENT, date=day, gpu_digests=(f"gpu {ns:g}",))
    window = made.kernels(Part(label, 2, ns=ns))
    return made.measurement(window, nodeid=nodeid, environment=environment)


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path / "baselines")


def _heads(store: BaselineStore) -> list[Any]:
    return [*heads(store.root)]


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("a/t.py::test", "a/t.py::other", ["a/t.py::other", "a/t.py::other[1]"]),
        (
            "a/t.py",
            "b/u.py",
            ["b/u.py::test", "b/u.py::test[1]", "b/u.py::test_2"],
        ),
        ("a/", "b", ["b/t.py::test", "b/t.py::test[1]", "b/t.py::test_2"]),
        ("a/t.py::tes", "x", []),
    ],
)
def test_a_test_a_file_or_a_folder_is_renamed(
    store: BaselineStore, old: str, new: str, names: list[str]
) -> None:
    for nodeid in ("a/t.py::test", "a/t.py::test[1]", "a/t.py::test_2", "ab/t.py::test"):
        store.write(measured(100, nodeid))
    assert sorted(name for _, name in renames(_heads(store), old, new)) == names


def test_a_renamed_baseline_keeps_all_but_its_name(store: BaselineStore) -> None:
    one = replace(measured(100), timeline=TIMELINE)
    store.write(one)
    (head,) = _heads(store)
    target = rename(store, head, "sub/u.py::test_new")
    assert target == store.path("nvidia-h200", "sub/u.py::test_new")
    found = store.read("nvidia-h200", "sub/u.py::test_new")
    assert found == replace(one, nodeid="sub/u.py::test_new", timeline=None)
    assert store.read_timeline(found) == TIMELINE, "its digest is that of the new name"
    left = sorted(path.name for path in store.root.rglob("*") if path.is_file())
    assert left == [".gitignore", ".lock", "test_new.json", "test_new.timeline.json.gz"]


def test_no_baseline_is_renamed_over_another(store: BaselineStore) -> None:
    store.write(measured(100))
    store.write(measured(200, "t.py::other"))
    head = next(one for one in _heads(store) if one.nodeid == "t.py::test")
    with pytest.raises(BaselineError, match="has a baseline for nvidia-h200 already"):
        rename(store, head, "t.py::other")
    remove(head.path)
    with pytest.raises(BaselineError, match="is gone"):
        rename(store, head, "t.py::third")


def test_what_cannot_be_removed_is_said(store: BaselineStore) -> None:
    store.path("x", "t.py::test").mkdir(parents=True)
    with pytest.raises(BaselineError, match="cannot be removed"):
        remove(store.path("x", "t.py::test"))


def test_another_folder_gives_what_is_missing_and_more_processes(
    store: BaselineStore, tmp_path: Path
) -> None:
    other = BaselineStore(tmp_path / "other")
    store.write(measured(100))
    store.write(measured(100, "t.py::differs"))
    other.write(measured(104, day="2026-02-02"))
    other.write(replace(measured(7, "t.py::new"), timeline=TIMELINE))
    other.write(measured(9, "t.py::differs", label="gemm_b", day="2026-02-02"))
    by_name = {one.path.stem: one for one in merge_folder(store, other, None)}
    assert {name: (one.how, one.is_open) for name, one in by_name.items()} == {
        "differs": ("left: window 'test' has other kernels", True),
        "new": ("taken: there was none", False),
        "test": ("joined: 2 processes", False),
    }
    joined = store.read("nvidia-h200", "t.py::test")
    assert joined is not None
    samples = joined.windows["test"].samples
    assert samples["gpu.kernel_time"] == ((104.0,) * 5, (100.0,) * 5)
    assert samples["gpu.kernel_count"] == ((2.0,) * 5, (2.0,) * 5)
    assert joined.environment.date == "2026-02-02"
    assert joined.environment.gpu_digests == ("gpu 104", "gpu 100")
    new = store.read("nvidia-h200", "t.py::new")
    assert new is not None
    assert store.read_timeline(new) == TIMELINE
    again = {one.path.stem: one.how for one in merge_folder(store, other, "theirs")}
    assert again["test"] == again["new"] == "nothing new in it"
    assert again["differs"] == "taken from theirs: window 'test' has other kernels"
    taken = store.read("nvidia-h200", "t.py::differs")
    assert taken is not None
    assert taken.windows["test"].kernels.parts[0].label == "gemm_b"
    with pytest.raises(BaselineError, match="no folder of baselines"):
        merge_folder(store, BaselineStore(tmp_path / "none"), None)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"warmup": 3}, "1 warm-up calls here, 3 there"),
        ({"environment": replace(made.ENVIRONMENT, trace=("--x",))}, "other capture options"),
        ({"windows": {}}, "other windows"),
    ],
)
def test_only_measurements_of_the_same_work_are_put_together(
    store: BaselineStore, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    other = BaselineStore(tmp_path / "other")
    store.write(made.measurement(made.kernels(Part("a", 1, ns=1)), made.kernels(name="part")))
    theirs = made.measurement(made.kernels(Part("a", 1, ns=1), token=3), made.kernels(name="part"))
    other.write(theirs)
    (one,) = merge_folder(store, other, None)
    assert one.how == "left: window 'test' processes something else"
    other.write(replace(theirs, **change))
    (one,) = merge_folder(store, other, None)
    assert one.how == f"left: {why}"


def _conflict(folder: Path, ours: Measurement, theirs: Measurement) -> BaselineStore:
    """A folder in which git could not merge two recordings of one test."""
    store = BaselineStore(folder / "baselines")
    git(folder, "init", "--quiet", "-b", "main")
    store.write(measured(100))
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    git(folder, "checkout", "-qb", "branch")
    store.write(theirs)
    git(folder, "commit", "-qam", "theirs")
    git(folder, "checkout", "-q", "main")
    store.write(ours)
    git(folder, "commit", "-qam", "ours")
    with pytest.raises(subprocess.CalledProcessError):
        git(folder, "merge", "branch")
    return store


@pytest.mark.parametrize("style", ["merge", "diff3"])
def test_a_conflict_of_git_becomes_the_processes_of_both(
    tmp_path: Path, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "merge.conflictStyle")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", style)
    store = _conflict(tmp_path, measured(110, day="2026-03-03"), measured(90, day="2026-02-02"))
    with pytest.raises(BaselineDamaged, match="conflict"):
        store.read("nvidia-h200", "t.py::test")
    (one,) = merge_conflicts(store, None)
    assert one.how == "joined: 2 processes"
    joined = store.read("nvidia-h200", "t.py::test")
    assert joined is not None
    assert joined.windows["test"].values("gpu.kernel_time")[::5] == (110.0, 90.0)
    assert joined.environment.date == "2026-03-03"
    assert merge_conflicts(store, None) == []


def test_a_conflict_that_cannot_be_joined_is_left_as_it_is_or_decided(tmp_path: Path) -> None:
    theirs = measured(90, label="gemm_b", day="2026-02-02")
    store = _conflict(tmp_path, measured(110, day="2026-03-03"), theirs)
    path = store.path("nvidia-h200", "t.py::test")
    before = path.read_text()
    (one,) = merge_conflicts(store, None)
    assert (one.how, one.is_open) == ("left: window 'test' has other kernels", True)
    assert path.read_text() == before
    (one,) = merge_conflicts(store, "newer")
    assert not one.is_open
    taken = store.read("nvidia-h200", "t.py::test")
    assert taken is not None
    assert taken.windows["test"].kernels.parts[0].label == "gemm"


def test_a_side_that_is_no_baseline_is_an_error_and_the_file_stays(store: BaselineStore) -> None:
    store.write(measured(100))
    path = store.path("nvidia-h200", "t.py::test")
    text = path.read_text()
    broken = f"<<<<<<< a\n{text}=======\n{{\n>>>>>>> b\n"
    path.write_text(broken)
    with pytest.raises(BaselineDamaged, match=r"\(theirs\)"):
        merge_conflicts(store, None)
    assert path.read_text() == broken
    path.with_name("other.json").write_text(f"<<<<<<< a\n{text}=======\n{text}>>>>>>> b\n")
    path.write_text(text)
    with pytest.raises(BaselineDamaged, match="of another test or device"):
        merge_conflicts(store, None)
