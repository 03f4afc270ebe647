"""The guard: finding and ending what belongs to a folder, whatever it does about it."""

from __future__ import annotations

import lzma
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pytest_nsys.errors import NoRunFolder
from pytest_nsys.process import guard
from pytest_nsys.process.guard import MARK, end_marked, marked, wait_for
from pytest_nsys.process.run_folder import RunFolder, undone
from pytest_nsys.support.xz import pack
from tests.support.harness import TESTS, until

SLEEPS = "import time; open({ready!r}, 'w').close(); time.sleep(300)"
DEAF = (
    "import signal\nfor n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, signal.SIG_IGN)\n"
    + SLEEPS
)
# Its child has an environment of its own, without the mark.
WITH_CHILD = (
    "import subprocess, sys\n"
    "code = 'import time; time.sleep(300)'\n"
    "subprocess.Popen([sys.executable, '-S', '-c', code], env={{}})\n" + SLEEPS
)

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts programs that carry the mark of a folder."""
    started = []

    def start(program: str, folder: str) -> subprocess.Popen[bytes]:
        ready = tmp_path / f"ready-{len(started)}"
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", program.format(ready=str(ready))],
            env={MARK: folder},
            start_new_session=True,
        )
        started.append(process)
        until(ready.exists)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_processes_are_found_by_their_folder_or_one_inside(start: Start, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    one, ten, other = (
        start(SLEEPS, folder) for folder in (f"{run}/worker-1", f"{run}/worker-10", f"{run}-2")
    )
    assert marked(run) == sorted([one.pid, ten.pid])
    assert marked(f"{run}/worker-1") == [one.pid]
    assert marked(f"{run}-2") == [other.pid]
    assert marked(str(tmp_path)) == sorted([one.pid, ten.pid, other.pid])
    assert marked(str(tmp_path / "none")) == []


def test_descendants_belong_to_it_with_any_environment(start: Start, tmp_path: Path) -> None:
    parent = start(WITH_CHILD, str(tmp_path))
    until(lambda: len(marked(str(tmp_path))) == 2)
    (child,) = set(marked(str(tmp_path))) - {parent.pid}
    end_marked(str(tmp_path))
    assert marked(str(tmp_path)) == []
    until(lambda: not Path(f"/proc/{child}/cmdline").exists() or not _line(child))


def _line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_one_that_has_ended_and_was_not_asked_how_is_none(start: Start, tmp_path: Path) -> None:
    process = start(SLEEPS, str(tmp_path))
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: guard._stat(process.pid)[0] == "Z")
    assert marked(str(tmp_path)) == []


def test_signals_are_sent_in_turn_and_who_is_deaf_is_killed(start: Start, tmp_path: Path) -> None:
    deaf, hears = start(DEAF, str(tmp_path)), start(SLEEPS, str(tmp_path))
    assert end_marked(str(tmp_path), signals=((signal.SIGTERM, 0.3),)) == []
    assert deaf.wait() == -signal.SIGKILL
    assert hears.wait() == -signal.SIGTERM


def test_who_ends_by_itself_is_waited_for(start: Start, tmp_path: Path) -> None:
    process = start("import time; open({ready!r}, 'w').close(); time.sleep(0.3)", str(tmp_path))
    assert end_marked(str(tmp_path), patience_s=20) == []
    assert process.wait() == 0


def test_an_interrupt_while_waiting_leaves_nobody_behind(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(DEAF, str(tmp_path))

    def interrupt(folder: str, within_s: float) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(guard, "_all_gone", interrupt)
    with pytest.raises(KeyboardInterrupt):
        end_marked(str(tmp_path))
    assert process.wait(timeout=20) == -signal.SIGKILL


def test_who_cannot_be_ended_is_told_of_and_not_waited_for(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process inside a driver call does not even hear SIGKILL."""
    process = start(SLEEPS, str(tmp_path))
    monkeypatch.setattr(guard, "_KILL_S", 0.1)
    monkeypatch.setattr("os.kill", lambda pid, number: None)
    assert end_marked(str(tmp_path), signals=()) == [process.pid]


def test_somebody_elses_processes_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError

    monkeypatch.setattr("builtins.open", refuse)
    assert guard._read(1, "environ") == b""


def test_the_guard_waits_for_the_pipe_to_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_LOOK_S", 0.01)
    read, write = os.pipe()
    os.close(write)
    wait_for(read, os.getppid())
    os.close(read)


def test_the_guard_is_told_though_a_fork_holds_the_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (removed, says_so), (waits, ends) = os.pipe(), os.pipe()
    folder = RunFolder()
    fork = os.fork()
    if fork == 0:
        folder.remove()  # as one does that goes on as if it were pytest
        os.write(says_so, b"x")
        os.read(waits, 1)
        os._exit(0)
    try:
        os.read(removed, 1)
        assert folder.path.is_dir()
        folder.remove()
        assert not folder.path.exists()
        assert folder._guard.returncode == 0
        assert os.waitpid(fork, os.WNOHANG) == (0, 0)
    finally:
        os.write(ends, b"x")
        os.waitpid(fork, 0)
        for pipe in (removed, says_so, waits, ends):
            os.close(pipe)


def test_the_guard_waits_for_its_parent_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_LOOK_S", 0.01)
    read, write = os.pipe()
    parents = iter([7, 7, 1])
    monkeypatch.setattr("os.getppid", lambda: next(parents))
    wait_for(read, 7)
    assert next(parents, None) is None
    os.close(read)
    os.close(write)


def test_the_guard_ends_all_and_removes_the_folder(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    (folder / "inside").mkdir(parents=True)
    process = start(SLEEPS, str(folder / "inside"))
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    guard.main(str(folder), parent=-1)
    assert process.wait() == -signal.SIGTERM
    assert not folder.exists()


def test_the_guard_undoes_what_the_run_could_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order; what cannot be run, or does not end, keeps nothing from being undone."""
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    monkeypatch.setattr(guard, "_UNDO_S", 0.2)
    folder, log = tmp_path / "run", tmp_path / "a log"
    folder.mkdir()
    say = ["sh", "-c", 'echo "$1" >> "$2"', "sh"]
    with ExitStack() as done:
        for name, command in (
            ("4", [*say, "second", str(log)]),
            ("1", [str(tmp_path / "no such program")]),
            ("2", ["sleep", "300"]),
            ("3", [*say, "first", str(log)]),
        ):
            done.enter_context(undone(folder, name, command))
        with undone(folder, "5", [*say, "too much", str(log)]):
            pass
        guard.main(str(folder), parent=-1)
    assert log.read_text() == "first\nsecond\n"
    assert not folder.exists()


def test_a_run_folder_ends_what_was_started_for_it(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with RunFolder() as folder:
        process = start(SLEEPS, str(folder.path / "worker-1"))
    assert process.wait() == -signal.SIGTERM
    assert not list(tmp_path.glob("pytest-nsys-*"))


UNPACKS = """
import sys, time
from pathlib import Path
import pytest_nsys.storage.recordings.recording, pytest_nsys.storage.recordings.scrub

def stay(*arguments, **named):
    open(sys.argv[2], "w").close()
    time.sleep(300)

pytest_nsys.storage.recordings.recording.load_trace = stay
pytest_nsys.storage.recordings.scrub.pack = stay
{call}(Path(sys.argv[1]){more})
"""


@pytest.mark.parametrize(
    ("call", "more"),
    [
        ("pytest_nsys.storage.recordings.recording.load_packed", ""),
        ("pytest_nsys.storage.recordings.scrub.scrub", ", Path(sys.argv[2] + '.xz')"),
    ],
)
def test_what_was_unpacked_goes_where_its_reader_is_killed(
    tmp_path: Path, call: str, more: str
) -> None:
    capture = tmp_path / "capture.sqlite"
    with lzma.open(TESTS / "captures" / "basic.sqlite.xz") as packed:
        capture.write_bytes(packed.read())
    if call.endswith("load_packed"):
        pack(capture, tmp_path / "capture.sqlite.xz")
        capture = tmp_path / "capture.sqlite.xz"
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    ready = tmp_path / "ready"
    with subprocess.Popen(
        [sys.executable, "-c", UNPACKS.format(call=call, more=more), str(capture), str(ready)],
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as process:
        until(ready.exists)
        assert list(temporary.glob("pytest-nsys-*/*"))
        process.kill()
    until(lambda: not list(temporary.iterdir()))


def test_there_may_be_no_place_for_a_run_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/none")
    with pytest.raises(NoRunFolder) as caught:
        RunFolder()
    assert "TMPDIR" in caught.value.remedy


def test_what_nsys_leaves_in_shared_memory_goes(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shm"
    shared.mkdir()
    monkeypatch.setattr(guard, "_SHARED_MEMORY", str(shared))
    process = start(DEAF, str(tmp_path))
    here = "".join(filter(str.isdigit, str(Path("/proc/self/ns/pid").readlink())))
    gone = f"sem.NSys-process_waiter-{process.pid}-{here}-2023.4.4"
    # Of another process, of another container, and of somebody else.
    stay = [
        f"sem.NSys-process_waiter-{os.getpid()}-{here}-2023.4.4",
        f"sem.NSys-process_waiter-{process.pid}-1-2023.4.4",
        f"sem.mine-{process.pid}",
    ]
    for name in (gone, *stay):
        (shared / name).touch()
    assert end_marked(str(tmp_path), signals=((signal.SIGTERM, 0.1),)) == []
    assert process.wait() == -signal.SIGKILL
    assert sorted(path.name for path in shared.iterdir()) == sorted(stay)
    monkeypatch.setattr(guard, "_SHARED_MEMORY", str(tmp_path / "none"))
    assert end_marked(str(tmp_path)) == []
