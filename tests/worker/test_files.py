"""The two files between controller and worker: the job and the event log."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.support.own import own
from pytest_nsys.worker.events import EventLog
from pytest_nsys.worker.job import Job, Repeats


def lines(path: Path) -> list[dict[str, object]]:
    """The events in a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_is_there_when_write_returns(tmp_path: Path) -> None:
    path = tmp_path / "events"
    log = EventLog(str(path))
    log.write("hello")
    assert lines(path) == [{"event": "hello"}]
    log.write("round", number=3, text="ü\n")
    assert lines(path)[1:] == [{"event": "round", "number": 3, "text": "ü\n"}]


def test_the_log_is_private(tmp_path: Path) -> None:
    path = tmp_path / "events"
    EventLog(str(path))
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_not_json_is_written_as_its_repr(tmp_path: Path) -> None:
    path = tmp_path / "events"
    EventLog(str(path)).write("report", data={"path": Path("/a"), "kind": int}, raw=b"x")
    assert lines(path) == [
        {
            "event": "report",
            "data": {"path": "PosixPath('/a')", "kind": "<class 'int'>"},
            "raw": "b'x'",
        }
    ]


def test_a_forked_child_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events"
    log = EventLog(str(path))
    child = os.fork()
    if child == 0:
        log.write("from the child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    log.write("from the parent")
    assert [event["event"] for event in lines(path)] == ["from the parent"]


def test_a_child_that_becomes_another_program_does_not_have_it(tmp_path: Path) -> None:
    path = str(tmp_path / "events")
    EventLog(path)
    listed = ["sh", "-c", "ls -l /proc/self/fd"]
    done = subprocess.run(listed, check=True, capture_output=True, text=True, close_fds=False)
    assert path not in done.stdout


def test_a_write_that_is_cut_short_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events"
    log = EventLog(str(path))
    real_write = own.write
    monkeypatch.setattr(own, "write", lambda fd, data: real_write(fd, data[:3]))
    log.write("hello", text="of some length")
    monkeypatch.undo()
    assert lines(path) == [{"event": "hello", "text": "of some length"}]


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "events"
    log = EventLog(str(path))

    def work(name: str) -> None:
        for number in range(100):
            log.write(name, number=number, padding="x" * 500)

    threads = [threading.Thread(target=work, args=(f"thread {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(path)) == 400


_TEXTS = st.text(st.characters(codec="utf-8"))


@given(
    args=st.lists(_TEXTS, max_size=3),
    tests=st.dictionaries(_TEXTS, st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=4),
    maxfail=st.integers(0, 9),
    basetemp=st.none() | _TEXTS,
)
def test_a_job_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    args: list[str],
    tests: dict[str, tuple[int, int]],
    maxfail: int,
    basetemp: str | None,
) -> None:
    job = Job(
        args=tuple(args),
        argv=("pytest", *args),
        sys_path=("", "/a"),
        tests={nodeid: Repeats(*counts) for nodeid, counts in tests.items()},
        events="/run/events",
        maxfail=maxfail,
        basetemp=basetemp,
    )
    path = tmp_path_factory.mktemp("job") / "job.json"
    job.write(path)
    read = Job.read(path)
    assert read == job
    assert list(read.tests) == list(job.tests)
