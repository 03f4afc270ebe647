"""What a worker writes about its tests, damaged: events in order, or one error that says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.capture import follow
from pytest_nsys.capture.follow import Event, EventTail, read_event
from pytest_nsys.controller.reports import warning_category
from pytest_nsys.errors import WorkerFailed
from pytest_nsys.support.json_values import written
from pytest_nsys.windows.record import MAIN, WindowRecord
from pytest_nsys.worker.events import EventLog
from pytest_nsys.worker.job import Job, Repeats
from tests.support.mutations import (
    DEEP,
    HUGE_NUMBER,
    changed,
    changed_bytes,
    changed_json,
    check_refusal,
)

RECORD = WindowRecord(3, "round", "t.py::test_ü[a]", "part", 2, {"tokens": 2.5})
REPORT = {"$report_type": "TestReport", "when": "call", "outcome": "passed"}
EVENTS: tuple[Event, ...] = (
    {"event": "hello"},
    {"event": "collected", "nodeids": ["t.py::test_ü[a]"]},
    {"event": "start", "nodeid": "t.py::test_ü[a]"},
    {"event": "round", "nodeid": "t.py::test_ü[a]", "round": -1},
    {"event": "window", **written(RECORD)},
    {"event": "report", "nodeid": "t.py::test_ü[a]", "data": REPORT},
    {"event": "collect_error", "nodeid": "u.py", "text": "no"},
    {
        "event": "warning",
        "when": "runtest",
        "nodeid": "",
        "location": None,
        "text": "old",
        "category": "UserWarning",
        "filename": "t.py",
        "lineno": 3,
    },
    {"event": "internal_error", "text": "no"},
    {"event": "exit", "reason": "enough"},
    {"event": "finish", "nodeid": "t.py::test_ü[a]"},
    {"event": "end", "exitstatus": 0, "stop": "", "workeroutput": {}},
)
LINES = [json.dumps(event, ensure_ascii=False).encode() for event in EVENTS]


def as_read(event: Event) -> Event:
    """What is read of an event that was written so."""
    return {"event": "window", "record": RECORD} if event["event"] == "window" else event


def read(line: bytes) -> Event | None:
    """The event of a line; None where it is refused as it should be."""
    try:
        return read_event(line)
    except WorkerFailed as error:
        check_refusal(error, "what the worker wrote")
        return None


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event["event"]))
def test_a_good_event_is_read(event: Event) -> None:
    assert read_event(json.dumps(event).encode()) == as_read(event)


def use(event: Event) -> None:
    """What the controller does with an event: nothing of it may fail later."""
    name = event["event"]
    if name == "window":
        assert event["record"].label
    elif name == "collected":
        assert set(event["nodeids"]) is not None
    elif name in ("start", "finish", "round"):
        hash(event["nodeid"])
    elif name == "report":
        assert isinstance(event["data"]["when"] + event["data"]["outcome"], str)
    elif name == "warning":
        assert issubclass(warning_category(event["category"]), Warning)
    elif name == "end":
        assert isinstance(event["stop"], str)


@given(st.data())
def test_a_changed_event_is_read_or_refused(data: st.DataObject) -> None:
    line = data.draw(st.sampled_from(EVENTS).flatmap(changed_json))
    event = read(line)
    if event is not None:
        use(event)


@given(st.sampled_from(LINES).flatmap(changed_bytes))
def test_changed_bytes_are_read_or_refused(line: bytes) -> None:
    event = read(line)
    if event is not None:
        use(event)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(line: bytes) -> None:
    read(line)


@pytest.mark.parametrize(
    "line",
    [
        DEEP,
        HUGE_NUMBER,
        b"",
        b"null",
        b"\xff",
        LINES[4].replace(b'"index": 3', b'"index": ' + HUGE_NUMBER),
        LINES[4].replace(b'"index": 3', b'"index": 1e999'),
        LINES[4].replace(b"2.5", b"NaN"),
        LINES[4].replace(b"2.5", b"-1"),
        LINES[4].replace(b'"kind": "round"', b'"kind": "circle"'),
        LINES[4].replace(b"round", b"span", 1).replace(b'"kind": "span"', b'"kind": []'),
        LINES[2][:10] + LINES[3],
    ],
    ids=lambda line: repr(line[:12]) + str(len(line)),
)
def test_is_refused(line: bytes) -> None:
    assert read(line) is None


def test_a_line_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_LONGEST", 1000)
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "' + b"x" * 2000)
    tail = EventTail(path)
    with pytest.raises(WorkerFailed, match="cannot be understood") as caught:
        list(tail.read())
    tail.close()
    assert "longer than" in caught.value.evidence


@given(st.integers(0, sum(map(len, LINES)) + len(LINES)))
def test_a_worker_that_dies_while_it_writes_leaves_the_whole_lines(length: int) -> None:
    data = b"".join(line + b"\n" for line in LINES)[:length]
    path = Path(f"/proc/self/fd/{os.memfd_create('events')}")
    try:
        path.write_bytes(data)
        tail = EventTail(path)
        events = list(tail.read())
        tail.close()
    finally:
        os.close(int(path.name))
    assert events == list(map(as_read, EVENTS[: data.count(b"\n")]))


WRITER = """
import sys
from pytest_nsys.worker.events import EventLog
log = EventLog(sys.argv[1])
for number in range(200):
    log.write("start", nodeid=sys.argv[2] * 1000, number=number)
"""


def test_the_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), letter]) for letter in "abc"
    ]
    tail = EventTail(path)
    events: list[Event] = []
    deadline = time.monotonic() + 60
    while any(writer.poll() is None for writer in writers) and time.monotonic() < deadline:
        events += tail.read()
    events += tail.read()
    tail.close()
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    for letter in "abc":
        own = [event for event in events if event["nodeid"] == letter * 1000]
        assert [event["number"] for event in own] == list(range(200))


@given(st.dictionaries(st.text(), st.text() | st.floats() | st.binary() | st.none()))
def test_whatever_is_logged_can_be_read(values: dict[str, Any]) -> None:
    path = Path(f"/proc/self/fd/{os.memfd_create('events')}")
    log = None
    try:
        log = EventLog(str(path))
        log.write("of_tomorrow", **{f"x{key}": value for key, value in values.items()})
        tail = EventTail(path)
        (event,) = tail.read()
        tail.close()
        assert event["event"] == "of_tomorrow"
    finally:
        if log is not None:
            os.close(log._fd)
        os.close(int(path.name))


JOB = Job(("-q",), ("pytest",), ("/lib",), {"t.py::test": Repeats(1, 5)}, "/tmp/events")


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    JOB.write(tmp_path / "job.json")
    assert Job.read(tmp_path / "job.json") == JOB


SERVED = replace(RECORD, times=(5, 2**61), values={"client.ttft_p50": 1.5, "client.errors": 0.0})
"""A round that was sent to a server."""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("times", None),
        ("times", [5]),
        ("times", [5, 5]),
        ("times", [6, 5]),
        ("times", [-1, 5]),
        ("times", [1, 2**63]),
        ("times", [1.0, 2]),
        ("times", {"5": 6}),
        ("values", None),
        ("values", {"gpu.busy": 1}),
        ("values", {"client.errors": -1}),
        ("values", {"client.errors": "1"}),
        ("values", [1]),
    ],
)
def test_times_and_values_that_mean_nothing_are_refused(key: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        WindowRecord.from_json({**written(SERVED), key: value})


@pytest.mark.parametrize(("kind", "key"), [("sentinel", "times"), ("span", "values")])
def test_times_and_values_are_those_of_windows_that_can_have_them(kind: str, key: str) -> None:
    data = {**written(RECORD), "kind": kind, key: written(SERVED)[key]}
    with pytest.raises(ValueError, match=f"a {kind} with"):
        WindowRecord.from_json(data)


def test_a_range_has_not_the_name_of_the_body() -> None:
    data = {**written(RECORD), "kind": "range", "name": MAIN}
    with pytest.raises(ValueError, match="a range with the name of the test's body"):
        WindowRecord.from_json(data)


def test_what_a_record_lacks_is_not_in_its_json() -> None:
    assert written(RECORD).keys().isdisjoint({"times", "values", "state"})
    assert WindowRecord.from_json(written(SERVED)) == SERVED


@given(st.sampled_from([RECORD, SERVED]).flatmap(lambda record: changed(written(record))))
def test_a_changed_record_is_read_or_refused(data: Any) -> None:
    try:
        record = WindowRecord.from_json(data)
    except (KeyError, TypeError, ValueError):
        return
    assert WindowRecord.from_json(json.loads(json.dumps(written(record)))) == record
