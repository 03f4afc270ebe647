"""The lock per GPU: one run at a time, for all users of a machine, whatever lies in its folder."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_nsys.errors import GpuBusy
from pytest_nsys.gpu import lock as gpu_lock
from pytest_nsys.gpu.lock import FOLDER, FOLDER_VARIABLE, gpu_locks, lock_folder

HOLD = """
import sys, time
from pathlib import Path
from pytest_nsys.gpu.lock import gpu_locks
with gpu_locks(sys.argv[2:], deadline_s=30, waiting=print, folder=Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the locks are."""
    return tmp_path / "locks"


@pytest.fixture
def hold(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts processes that hold locks."""
    started = []

    def start(*uuids: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(folder), *uuids]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def take(folder: Path, *uuids: str, deadline_s: float = 0.0) -> tuple[tuple[str, ...], list[str]]:
    """Take the locks and let go; the notes, and what was told while waiting."""
    told: list[str] = []
    with gpu_locks(uuids, deadline_s=deadline_s, waiting=told.append, folder=folder) as notes:
        return notes, told


def test_everybody_may_use_the_folder_and_the_files(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        assert take(folder, "GPU-1") == ((), [])
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE((folder / "GPU-1.lock").stat().st_mode) == 0o666


def test_without_gpus_nothing_is_made(folder: Path) -> None:
    assert take(folder) == ((), [])
    assert not folder.exists()


def test_a_gpu_in_use_is_an_error_with_its_user(
    folder: Path, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    holder = hold("GPU-1")
    assert take(folder, "GPU-2") == ((), [])
    told: list[str] = []
    with (
        pytest.raises(GpuBusy, match=r"GPU GPU-1 is in use .* waited 0\.3 s") as caught,
        gpu_locks(["GPU-2", "GPU-1"], deadline_s=0.3, waiting=told.append, folder=folder),
    ):
        pass
    assert f"process {holder.pid} of " in caught.value.evidence
    assert "s ago)" in caught.value.evidence
    assert "CUDA_VISIBLE_DEVICES" in caught.value.remedy
    (text,) = told
    assert text.startswith(f"waiting for GPU GPU-1, in use by process {holder.pid} of ")
    assert take(folder, "GPU-2") == ((), [])  # nothing is kept of a failure


def test_who_waits_gets_the_gpu_when_it_is_free(
    folder: Path, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    holder = hold("GPU-1")
    told: list[str] = []

    def end(text: str) -> None:
        told.append(text)
        threading.Timer(0.3, holder.send_signal, [signal.SIGKILL]).start()

    with gpu_locks(["GPU-1"], deadline_s=20, waiting=end, folder=folder) as notes:
        data = json.loads((folder / "GPU-1.lock").read_text())
    assert (notes, len(told)) == ((), 1)
    assert data["pid"] == os.getpid()


def test_what_runs_in_the_block_may_fail(folder: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        gpu_locks(["GPU-1"], deadline_s=0, waiting=print, folder=folder),
    ):
        raise ZeroDivisionError
    assert take(folder, "GPU-1") == ((), [])


def test_children_do_not_keep_the_lock(folder: Path) -> None:
    with gpu_locks(["GPU-1"], deadline_s=0, waiting=print, folder=folder):
        child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert take(folder, "GPU-1") == ((), [])
    finally:
        child.communicate(b"\n")


def _contend(folder: Path, uuids: list[str], log: Path) -> None:
    for _ in range(10):
        with gpu_locks(uuids, deadline_s=60, waiting=lambda _: None, folder=folder):
            with log.open("a") as file:
                file.write(f"+{os.getpid()}\n")
            time.sleep(0.005)
            with log.open("a") as file:
                file.write(f"-{os.getpid()}\n")


def test_nor_do_forks_that_execute_nothing(folder: Path) -> None:
    waits, ends = os.pipe()
    with gpu_locks(["GPU-1"], deadline_s=0, waiting=print, folder=folder):
        fork = os.fork()
        if fork == 0:
            os.read(waits, 1)
            os._exit(0)
    try:
        assert take(folder, "GPU-1") == ((), [])
    finally:
        os.write(ends, b"x")
        os.waitpid(fork, 0)
        os.close(waits)
        os.close(ends)


def test_two_runs_take_several_gpus_in_one_order(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_lock, "_POLL_S", 0.002)
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    runs = [
        context.Process(target=_contend, args=(folder, uuids, log))
        for uuids in (["GPU-1", "GPU-2"], ["GPU-2", "GPU-1"])
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
        assert run.exitcode == 0
    lines = log.read_text().split()
    assert len(lines) == 40
    pairs = zip(lines[::2], lines[1::2], strict=True)
    assert all(begin[1:] == end[1:] and begin[0] == "+" for begin, end in pairs)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        '{"pid": 1}',
        '{"pid": 0, "user": "a", "since": 1}',
        '{"pid": 1, "user": "a\\u001b[2J", "since": 1}',
        '{"pid": 1, "user": "a", "since": 1e55}',
        '{"pid": 1, "user": "' + "a" * 2000,
        "\x00" * 100,
    ],
)
def test_nonsense_about_the_holder_is_not_shown(
    folder: Path, hold: Callable[..., subprocess.Popen[str]], text: str
) -> None:
    hold("GPU-1")
    (folder / "GPU-1.lock").write_text(text)
    with pytest.raises(GpuBusy) as caught:
        take(folder, "GPU-1")
    assert caught.value.evidence == f"another run\n{folder}"


def test_a_long_wait_is_told_in_minutes() -> None:
    holder = gpu_lock.Holder(12, "alice", time.time() - 185)
    assert holder.described().endswith("(3 min ago)")
    assert gpu_lock.Holder(12, "alice", time.time() + 1000).described().endswith("(0 s ago)")


# What may be in the way: a note, and no failure


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    folder.mkdir()
    (folder / "GPU-1.lock").symlink_to(precious)
    (notes, _) = take(folder, "GPU-1", "GPU-2")
    (note,) = notes
    assert note.startswith(f"GPU GPU-1 is not locked against other runs: {folder}: ")
    assert precious.read_text() == "precious"
    assert (folder / "GPU-2.lock").exists()


def test_a_link_in_place_of_the_folder_is_not_followed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    assert take(folder, "GPU-1") == ((), [])  # whoever names a link means it
    monkeypatch.setattr(gpu_lock, "FOLDER", folder)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    with gpu_locks(["GPU-9"], deadline_s=0, waiting=print) as notes:
        assert len(notes) == 1
    assert not (tmp_path / "elsewhere" / "GPU-9.lock").exists()


def test_what_is_no_file_is_not_used(folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / "GPU-1.lock")
    (folder / "GPU-2.lock").mkdir()
    (notes, _) = take(folder, "GPU-1", "GPU-2")
    assert [note.rpartition(": ")[2] for note in notes] == [
        "GPU-1.lock is not a file",
        "Is a directory",
    ]


def test_a_folder_that_cannot_be_made_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (notes, _) = take(tmp_path / "file" / "locks", "GPU-1")
    assert "Not a directory" in notes[0] or "File exists" in notes[0]
    (notes, _) = take(tmp_path / "file", "GPU-1")
    assert "Not a directory" in notes[0]


def test_a_file_that_may_only_be_read_can_be_locked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(folder, "GPU-1")
    content = (folder / "GPU-1.lock").read_text()
    real = os.open

    def refuse(path: str, flags: int, *args: int, **kwargs: int) -> int:
        if str(path).endswith(".lock") and flags & os.O_RDWR and not flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    assert take(folder, "GPU-1") == ((), [])
    assert (folder / "GPU-1.lock").read_text() == content


def test_a_file_system_without_locks_is_a_note(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(gpu_lock.fcntl, "flock", refuse)
    (notes, _) = take(folder, "GPU-1")
    assert notes[0].endswith("No locks available")


def test_a_user_without_a_name_has_a_number(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("no name")

    monkeypatch.setattr(gpu_lock.getpass, "getuser", unknown)
    take(folder, "GPU-1")
    assert json.loads((folder / "GPU-1.lock").read_text())["user"] == str(os.getuid())


def test_odd_names_stay_in_the_folder(folder: Path) -> None:
    assert take(folder, "../GPU 1") == ((), [])
    assert [path.name for path in folder.iterdir()] == ["___GPU_1.lock"]


def test_the_folder_is_the_same_for_all_users_unless_one_is_named() -> None:
    assert lock_folder({"TMPDIR": "/mine"}) == FOLDER == Path("/tmp/pytest-nsys-gpu-locks")
    assert lock_folder({FOLDER_VARIABLE: "/shared"}) == Path("/shared")
