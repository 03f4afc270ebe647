"""The folder of baselines: reading, writing in one step, and the lock."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import BaselineDamaged, BaselineError
from pytest_nsys.measure.measurement import Measurement, Part
from pytest_nsys.storage.baselines import BaselineStore
from tests.support import made
from tests.support.harness import ROOT

OLD = made.measurement(made.kernels(Part("gemm", 2, ns=100)))
NEW = made.measurement(made.kernels(Part("gemm", 2, ns=120)))


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path / "baselines")


def written(store: BaselineStore, measurement: Measurement) -> Path:
    """The file of a baseline that was just written."""
    store.write(measurement)
    return store.path(measurement.device, measurement.nodeid)


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_baseline_that_was_never_written_is_none(store: BaselineStore) -> None:
    assert store.read("nvidia-h200", "t.py::test") is None


def test_what_was_written_is_read(store: BaselineStore) -> None:
    change = store.write(OLD)
    assert change.before is None
    assert change.after == OLD
    assert change.path == Path("baselines/nvidia-h200/t.py/test.json")
    assert store.read("nvidia-h200", "t.py::test") == OLD


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (("nvidia-h200", "t.py::test_copy"), "t.py::test on nvidia-h200"),
        (("nvidia-h100", "t.py::test"), "t.py::test on nvidia-h200"),
    ],
)
def test_a_copy_of_another_baseline_is_none(
    store: BaselineStore, there: tuple[str, str], said: str
) -> None:
    path, copy = written(store, OLD), store.path(*there)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(path.read_bytes())
    for use in (
        lambda: store.read(*there),
        lambda: list(store.matching("*")),
        lambda: store.write(replace(NEW, nodeid=there[1], device=there[0])),
    ):
        with pytest.raises(BaselineDamaged, match="is the baseline of another test or") as caught:
            use()
        assert caught.value.evidence == f"it says that it is of {said}"
        assert f"move it back to {path}" in caught.value.remedy
    assert copy.read_bytes() == path.read_bytes()


def test_writing_again_says_what_was_there(store: BaselineStore) -> None:
    store.write(OLD)
    assert store.write(NEW).before == OLD
    assert store.read("nvidia-h200", "t.py::test") == NEW


def test_nothing_but_the_baseline_the_lock_and_its_gitignore_is_left(
    store: BaselineStore, tmp_path: Path
) -> None:
    store.write(OLD)
    store.write(NEW)
    left = _files(tmp_path / "baselines")
    assert [name for name in left if name != ".lock"] == [
        ".gitignore",
        "nvidia-h200/t.py/test.json",
    ]
    assert (tmp_path / "baselines" / ".gitignore").read_text() == ".lock\n"


def test_a_gitignore_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.orig\n")
    BaselineStore(tmp_path).write(OLD)
    assert (tmp_path / ".gitignore").read_text() == "*.orig\n"


def test_git_sees_no_lock(store: BaselineStore, tmp_path: Path) -> None:
    store.write(OLD)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    status = subprocess.run(
        ["git", "-C", str(tmp_path), "status", "--porcelain", "--untracked-files=all"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert status.stdout.split() == [
        *("??", "baselines/.gitignore"),
        *("??", "baselines/nvidia-h200/t.py/test.json"),
    ]


def test_a_baseline_can_be_read_by_everybody(store: BaselineStore) -> None:
    path = written(store, OLD)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_devices_are_those_with_a_baseline_of_this_test(
    store: BaselineStore, tmp_path: Path
) -> None:
    assert store.devices("t.py::test") == ()
    for device in ("nvidia-h200", "nvidia-a100"):
        store.write(made.measurement(made.kernels(), device=device))
    store.write(made.measurement(made.kernels(), device="nvidia-t4", nodeid="t.py::other"))
    (tmp_path / "baselines" / "README.md").write_text("a file\n")
    assert store.devices("t.py::test") == ("nvidia-a100", "nvidia-h200")


@given(made.measurements.filter(lambda found: "\x00" not in found.nodeid))
def test_any_measurement_is_written_and_read_back(
    tmp_path_factory: pytest.TempPathFactory, measurement: Measurement
) -> None:
    store = BaselineStore(tmp_path_factory.getbasetemp() / "any")
    store.path(measurement.device, measurement.nodeid).unlink(missing_ok=True)
    store.write(measurement)
    assert store.read(measurement.device, measurement.nodeid) == measurement


@given(st.text(st.characters(codec=None, categories=["Cs", "L"]), min_size=1, max_size=4))
def test_a_node_id_that_no_encoding_can_write_is_no_obstacle(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    store = BaselineStore(tmp_path_factory.getbasetemp() / "surrogates")
    measurement = made.measurement(made.kernels(), nodeid=f"t.py::test[{name}]")
    store.write(measurement)
    assert store.read(measurement.device, measurement.nodeid) is not None


@pytest.mark.parametrize("step", ["write", "fsync", "fchmod", "replace"])
def test_a_crash_while_writing_leaves_the_old_file(
    store: BaselineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = written(store, OLD)
    before = path.read_bytes()

    class PulledPlugError(BaseException):
        pass

    def crash(*args: object, **kwargs: object) -> None:
        raise PulledPlugError

    if step == "write":
        monkeypatch.setattr(os, "fdopen", crash)
    elif step in ("fsync", "fchmod"):
        monkeypatch.setattr(os, step, crash)
    else:
        monkeypatch.setattr(Path, step, crash)
    with pytest.raises(PulledPlugError):
        store.write(NEW)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [name for name in _files(tmp_path) if name.endswith(".tmp")] == []


def test_a_full_disk_is_an_error_that_says_so_and_the_old_file_stays(
    store: BaselineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(OLD)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BaselineError, match="cannot be written") as caught:
        store.write(NEW)
    assert "No space left" in caught.value.evidence
    assert "--nsys-baseline-dir" in caught.value.remedy
    assert store.read("nvidia-h200", "t.py::test") == OLD


def test_a_damaged_file_is_left_alone(store: BaselineStore) -> None:
    path = written(store, OLD)
    path.write_text("<<<<<<< HEAD\n{}\n")
    with pytest.raises(BaselineDamaged, match=r"test\.json:1: a merge conflict"):
        store.read("nvidia-h200", "t.py::test")
    with pytest.raises(BaselineDamaged):
        store.write(NEW)
    assert path.read_text() == "<<<<<<< HEAD\n{}\n"


def test_a_file_that_is_no_text_cannot_be_read(store: BaselineStore) -> None:
    written(store, OLD).write_bytes(b"\xff\xfe{}")
    with pytest.raises(BaselineError, match="cannot be read"):
        store.read("nvidia-h200", "t.py::test")


def test_a_folder_in_the_place_of_a_baseline_cannot_be_read(store: BaselineStore) -> None:
    store.path("nvidia-h200", "t.py::test").mkdir(parents=True)
    with pytest.raises(BaselineError, match="cannot be read"):
        store.read("nvidia-h200", "t.py::test")


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "baselines").write_text("not a folder")
    with pytest.raises(BaselineError, match="cannot be written"):
        BaselineStore(tmp_path / "baselines").write(OLD)


def test_a_folder_that_stays_locked_is_an_error_after_the_deadline(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path, lock_deadline_s=0.05)
    with FileLock(tmp_path / ".lock"), pytest.raises(BaselineError, match=r"for 0\.05 s") as caught:
        store.write(OLD)
    assert caught.value.evidence == str(tmp_path / ".lock")
    assert store.read("nvidia-h200", "t.py::test") is None
    assert store.write(OLD).before is None


def test_eight_processes_that_update_at_once_lose_nothing(tmp_path: Path) -> None:
    script = tmp_path / "writer.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.insert(0, {str(ROOT)!r})
            from pathlib import Path
            from tests.support import made
            from pytest_nsys.storage.baselines import BaselineStore
            store = BaselineStore(Path({str(tmp_path / "baselines")!r}))
            number = int(sys.argv[1])
            for step in range(10):
                window = made.window({{"gpu.kernel_time": [number * 1000 + step] * 200}})
                store.write(made.measurement(window, nodeid=f"t.py::test_{{number}}_{{step}}"))
                change = store.write(made.measurement(window))
                before = change.before
                if before is not None:
                    values = set(before.windows["test"].values("gpu.kernel_time"))
                    assert len(values) == 1, values
            """
        )
    )
    writers = [
        subprocess.Popen([sys.executable, str(script), str(number)], env=os.environ)
        for number in range(1, 9)
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0] * 8
    written = BaselineStore(tmp_path / "baselines")
    found = written.read("nvidia-h200", "t.py::test")
    assert found is not None
    last = {number * 1000 + 9.0 for number in range(1, 9)}
    assert set(found.windows["test"].values("gpu.kernel_time")) <= last
    for number in range(1, 9):
        for step in range(10):
            assert written.read("nvidia-h200", f"t.py::test_{number}_{step}") is not None


def test_a_reader_needs_no_lock(store: BaselineStore, tmp_path: Path) -> None:
    store.write(OLD)
    with FileLock(tmp_path / "baselines" / ".lock"):
        assert store.read("nvidia-h200", "t.py::test") == OLD
