"""Following a file that somebody else appends to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.capture.follow import EventTail, Tail
from pytest_nsys.worker.events import EventLog


class File:
    """A file that grows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, data: bytes) -> None:
        """Append to it."""
        with self.path.open("ab") as file:
            file.write(data)


@pytest.fixture
def file(tmp_path: Path) -> File:
    """A file that is not there yet."""
    return File(tmp_path / "events.jsonl")


@pytest.fixture
def tail(file: File) -> Iterator[EventTail]:
    """The events of the file."""
    tail = EventTail(file.path)
    yield tail
    tail.close()


def test_a_file_may_appear_later(file: File) -> None:
    tail = Tail(file.path)
    assert tail.read() == b""
    file.append(b"a")
    assert [tail.read(), tail.read()] == [b"a", b""]
    file.append(b"bc")
    assert tail.read() == b"bc"
    tail.close()


def test_closing_what_was_never_there_is_no_trouble(file: File) -> None:
    tail = Tail(file.path)
    tail.close()
    assert tail.read() == b""


def test_a_line_counts_once_it_is_complete(file: File, tail: EventTail) -> None:
    assert list(tail.read()) == []
    file.append(b'{"event": "hel')
    assert list(tail.read()) == []
    file.append(b'lo"}')
    assert list(tail.read()) == []
    file.append(b'\n{"event": "more"}\n{"ev')
    assert list(tail.read()) == [{"event": "hello"}, {"event": "more"}]
    assert list(tail.read()) == []


def test_a_character_may_be_cut_in_two(file: File, tail: EventTail) -> None:
    line = json.dumps({"event": "grün"}, ensure_ascii=False).encode() + b"\n"
    middle = line.index("ü".encode()) + 1
    file.append(line[:middle])
    assert list(tail.read()) == []
    file.append(line[middle:])
    assert list(tail.read()) == [{"event": "grün"}]


@given(texts=st.lists(st.text(), max_size=5), sizes=st.lists(st.integers(1, 40), max_size=20))
def test_however_it_is_cut_every_event_comes_once_and_in_order(
    texts: list[str], sizes: list[int]
) -> None:
    events = [{"event": "something", "text": text} for text in texts]
    data = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    seen = []
    with TemporaryDirectory() as folder, closing(EventTail(Path(folder) / "events.jsonl")) as tail:
        file = File(Path(folder) / "events.jsonl")
        for size in [*sizes, len(data)]:
            file.append(data[:size])
            data = data[size:]
            seen += list(tail.read())
    assert seen == events


def test_what_a_worker_writes_is_read(file: File, tail: EventTail) -> None:
    log = EventLog(str(file.path))
    log.write("start", nodeid="a\nb\udcff")
    log.write("finish", nodeid="b", value=1.5)
    assert list(tail.read()) == [
        {"event": "start", "nodeid": "a\nb\udcff"},
        {"event": "finish", "nodeid": "b", "value": 1.5},
    ]
