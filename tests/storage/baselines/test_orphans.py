"""Baselines whose test is gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_nsys.measure.measurement import Measurement, Part
from pytest_nsys.plan.collection import Collection
from pytest_nsys.storage.baselines import BaselineStore
from pytest_nsys.storage.baselines.orphans import elsewhere, orphans, renamed, skipped
from tests.support import made

ONE = made.measurement(made.kernels(Part("gemm", 2, ns=100)))


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    """Baselines of three test files, of two devices; one of the files is gone."""
    store = BaselineStore(tmp_path / "baselines")
    names = ("a.py::test", "a.py::test[x/y]", "sub dir/b.py::TestB::test", "sub dir/gone.py::test")
    for nodeid in names:
        store.write(replace(ONE, nodeid=nodeid))
    store.write(replace(ONE, nodeid="a.py::test", device="nvidia-h100"))
    for file in ("a.py", "sub dir/b.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    return store


def _found(store: BaselineStore, collection: Collection) -> list[str]:
    return [
        f"{one.head.device} {one.head.nodeid}{' unmarked' * one.is_unmarked}"
        for one in orphans(store.root, collection)
    ]


@pytest.mark.parametrize(
    ("nodeids", "files", "folder", "found"),
    [
        (["a.py::test", "a.py::test[x/y]"], ["a.py"], None, []),
        (["a.py::test"], ["a.py"], None, ["nvidia-h200 a.py::test[x/y]"]),
        (
            ["a.py::test[x/y]"],
            ["a.py"],
            None,
            ["nvidia-h100 a.py::test", "nvidia-h200 a.py::test"],
        ),
        (["a.py::test"], [], None, []),  # only a part of the file was collected
        ([], ["sub dir/b.py"], None, ["nvidia-h200 sub dir/b.py::TestB::test"]),
        ([], [], "sub dir", ["nvidia-h200 sub dir/gone.py::test"]),
        ([], [], "elsewhere", []),
    ],
)
def test_those_of_files_that_were_collected_as_a_whole_are_found(
    store: BaselineStore,
    tmp_path: Path,
    nodeids: list[str],
    files: list[str],
    folder: str | None,
    found: list[str],
) -> None:
    folders = (tmp_path / folder,) if folder else ()
    seen = Collection(tmp_path, frozenset(nodeids), frozenset(files), folders)
    assert _found(store, seen) == found


def test_a_test_that_is_no_longer_measured_is_told_apart(
    store: BaselineStore, tmp_path: Path
) -> None:
    seen = Collection(
        tmp_path,
        frozenset({"a.py::test", "a.py::test[x/y]"}),
        frozenset({"a.py"}),
        unmarked=frozenset({"a.py::test[x/y]"}),
    )
    assert _found(store, seen) == ["nvidia-h200 a.py::test[x/y] unmarked"]
    (orphan,) = orphans(store.root, seen)
    assert str(orphan.path).startswith("baselines/nvidia-h200/a.py/test-x-y-")


def test_what_was_skipped_before_it_was_collected_is_not_gone(
    store: BaselineStore, tmp_path: Path
) -> None:
    there = (frozenset({"a.py::test"}), frozenset({"a.py"}))
    seen = Collection(tmp_path, *there, skipped={"a.py::test[": "empty", "b.py::": "not now"})
    assert _found(store, seen) == []
    assert skipped(store.root, seen) == {
        "a.py::test[x/y]": ("nvidia-h200",),
    }
    assert [seen.why_skipped(name) for name in ("a.py::test", "b.py::x")] == ["", "not now"]
    assert skipped(tmp_path / "nowhere", seen) == {}


@pytest.mark.parametrize(
    ("nodeids", "found"),
    [
        (["project/sub dir/gone.py::test"], "project/sub dir/gone.py"),
        (["gone.py::test"], "gone.py"),
        (["other/gone.py::test", "sub dir/c.py::test"], ""),
        (["x/sub dir/gone.py::test", "a.py::test"], "x/sub dir/gone.py"),
    ],
)
def test_a_file_that_may_have_moved_is_named(
    store: BaselineStore, tmp_path: Path, nodeids: list[str], found: str
) -> None:
    seen = Collection(tmp_path, frozenset(nodeids), folders=(tmp_path,))
    (one,) = orphans(store.root, seen)
    assert elsewhere(one.head, store.root, seen) == found


def test_a_file_that_is_beside_the_baselines_or_above_the_root_may_be_that_of_the_test(
    store: BaselineStore, tmp_path: Path
) -> None:
    (head,) = (h.head for h in orphans(store.root, Collection(tmp_path, folders=(tmp_path,))))
    (tmp_path / "sub dir/gone.py").touch()
    path = str(tmp_path / "sub dir/gone.py")
    for root in (tmp_path / "sub dir", tmp_path.parent, tmp_path / "nowhere"):
        assert elsewhere(head, store.root, Collection(root)) == path
    assert elsewhere(head, store.root, Collection(tmp_path)) == ""


def test_what_is_no_baseline_is_nobodys(store: BaselineStore, tmp_path: Path) -> None:
    store.path("nvidia-h200", "a.py::test").write_text("{")
    (tmp_path / "baselines/nvidia-h200/other/gone.py").mkdir(parents=True)
    (tmp_path / "baselines/nvidia-h200/other/gone.py/x.json").write_text("{")
    assert _found(store, Collection(tmp_path, files=frozenset({"a.py"}), folders=(tmp_path,))) == [
        "nvidia-h100 a.py::test",
        "nvidia-h200 a.py::test[x/y]",
        "nvidia-h200 sub dir/gone.py::test",
    ]
    assert list(orphans(tmp_path / "none", Collection(tmp_path))) == []


def _of(nodeid: str, *parts: Part) -> Measurement:
    return made.measurement(made.kernels(*parts), nodeid=nodeid)


def test_a_renamed_test_is_known_by_its_kernels_and_then_by_its_name() -> None:
    kernels = (Part("gemm", 20, ns=5), Part("norm", 4, ns=9))
    new = _of("t.py::test_attention_fast", *kernels)
    other = _of("t.py::test_attention", Part("gemm", 20, ns=5))
    assert renamed(new, [other]) is None
    assert renamed(new, []) is None
    same = _of("t.py::test_attention", Part("gemm", 19, ns=50), Part("norm", 4, ns=90))
    assert renamed(new, [other, same]) is same
    alike = _of("t.py::test_attention_faster", *kernels)
    assert renamed(new, [same, alike, other]) is alike
    empty = made.measurement(made.window({}), nodeid="t.py::empty")
    assert renamed(empty, [empty]) is None, "nothing is like everything"
