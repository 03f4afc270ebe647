"""Recordings: a finished run as files, scrubbed, to be judged again anywhere.

A recording is a folder: ``recording.json`` (what was run and how each test ended), and for each
capture ``capture-N.sqlite.xz``: the tables and columns that we read and nothing else, so that
the environment, command lines, processes, paths and output that nsys stores are not in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from pytest_nsys.capture.result import Report
from pytest_nsys.errors import NsysError, RecordingError
from pytest_nsys.plan.kept import KeptMarks
from pytest_nsys.plan.part import Part
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.storage.recordings.scrub import scrub
from pytest_nsys.support.files import read_limited, replace_pieces
from pytest_nsys.support.json_lines import json_lines
from pytest_nsys.support.json_values import (
    Check,
    Count,
    Maybe,
    Positive,
    load_written,
    read,
    read_keys,
    written,
)
from pytest_nsys.support.text import listed
from pytest_nsys.support.xz import unpack
from pytest_nsys.trace.load import load_trace
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.record import WindowRecord

SCHEMA = 2
"""2: a test may have several captures, and a window the times at which it lies in its capture, in
the place of an NVTX range; what has the form of 1 is read as before."""

INDEX = "recording.json"

_NAMED = 5
_LARGEST_INDEX = 512 * 2**20
"""Bytes: of 10,000 tests and three processes it is 40 MB."""
_Numbers = Annotated[
    tuple[Count, ...], Check(lambda given: len({*given}) == len(given), "has a capture twice")
]
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}")


@dataclass(frozen=True)
class RecordedTest:
    """How a test ended when it was recorded.

    Attributes:
        nodeid: the test.
        reports: its reports as pytest serialises them, without captured output.
        captures: numbers of its captures: one, or one for each window of a server test; none where
            it was not measured.
        warmup: calls before the measured ones.
        rounds: measured calls.
        problem: what was wrong with its capture; "" if nothing.
    """

    nodeid: str
    reports: tuple[Report, ...]
    captures: _Numbers
    warmup: Count
    rounds: Positive
    problem: str = ""


@dataclass(frozen=True)
class RecordedCapture:
    """One capture of a recording.

    Attributes:
        file: its file in the folder.
        options: the options it was made with.
        windows: what was measured in it.
        server: what the server was started with, of a capture of one, as may be handed on.
    """

    file: str
    options: tuple[str, ...]
    windows: tuple[Annotated[WindowRecord, WindowRecord.from_json], ...]
    server: Maybe[tuple[str, ...]] = ()


@dataclass(frozen=True)
class Recording:
    """A recording's index.

    Attributes:
        nsys: version of nsys.
        date: day of the run.
        versions: Python and frameworks of the run.
        captures: by their number.
        tests: in the order they ran.
        marks: how the tests were marked, by node id; of recordings that are older than this, none.
        options: the run's options that say how to judge, as an ini file has them.
        hooks: hooks of the project by which its tests were measured.
        commit: what git had checked out; "" if unknown.
        part: which part of the suite the run was; None where nobody said that there are others.
        unfinished: why tests may be missing that were to run, of which there are marks if they were
            collected; "" where the run came to its end.
    """

    nsys: str
    date: str
    versions: Mapping[str, str]
    captures: tuple[RecordedCapture, ...]
    tests: tuple[Annotated[RecordedTest, _test], ...]
    marks: Maybe[Mapping[str, KeptMarks]] = field(default_factory=dict)
    options: Maybe[Mapping[str, str]] = field(default_factory=dict)
    hooks: Maybe[tuple[str, ...]] = ()
    commit: Maybe[str] = ""
    part: Part | None = None
    unfinished: Maybe[str] = ""


def write_recording(folder: Path, recording: Recording, exports: Sequence[Path]) -> None:
    """Write a recording; ``exports`` are the exported captures, in the order of the index.

    The index is written last: a folder without one is no recording.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_index(folder)
    for capture, export in zip(recording.captures, exports, strict=True):
        scrub(export, folder / capture.file)
    data = {"schema": SCHEMA, **written(recording)}
    # A line for each window, mark and report.
    replace_pieces(folder / INDEX, chain(json_lines(data, 4), ["\n"]))


def remove_index(folder: Path) -> None:
    """Have the folder be no recording any more, if it is one."""
    (folder / INDEX).unlink(missing_ok=True)


def read_recording(folder: Path) -> Recording:
    """The index of a recording.

    Raises:
        RecordingError: the folder holds none, or one that is damaged or newer.
    """
    path = folder / INDEX
    try:
        data = load_written(read_limited(path, _LARGEST_INDEX).decode("utf-8"))
        if read_keys({"schema": Positive}, data)["schema"] > SCHEMA:
            raise RecordingError(
                f"{path} was written by a newer pytest-nsys", remedy="upgrade pytest-nsys"
            )
        return _from_json(data)
    except (FileNotFoundError, NotADirectoryError):
        check_one(folder)
        is_file = folder.is_file()
        raise RecordingError(
            f"{folder} is no recording" if is_file else f"there is no recording in {folder}",
            evidence="it is a file" if is_file else f"{path} does not exist",
            remedy="name a folder that --nsys-record wrote",
        ) from None
    except (OSError, ValueError) as error:
        raise RecordingError(
            f"{path} is damaged",
            evidence=str(error),
            remedy="record the run again, or restore the folder",
        ) from None


def check_one(folder: Path) -> None:
    """Refuse a folder with recordings where one is meant.

    Raises:
        RecordingError: it is one.
    """
    if (folder / INDEX).is_file() or not folder.is_dir():
        return
    names = sorted(path.parent.name for path in folder.glob(f"*/{INDEX}"))
    if names:
        raise RecordingError(
            f"{folder} holds recordings",
            evidence=listed(names, _NAMED),
            remedy=f"name one, such as {folder / names[0]}",
        )


def load_capture(folder: Path, capture: RecordedCapture) -> Trace:
    """The trace of one capture of a recording.

    Raises:
        RecordingError: its file is missing, damaged, or outside the folder.
    """
    if not _FILE.fullmatch(capture.file) or (folder / capture.file).is_symlink():
        raise RecordingError(
            f"{folder / INDEX} names a file outside its folder: {capture.file!r}",
            remedy="do not use this recording",
        )
    return load_packed(folder / capture.file)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """What a ``.sqlite.xz`` holds, in a guarded folder: nothing of it outlives this process.

    Raises:
        RecordingError: it is missing or damaged, or too large (`pytest_nsys.support.xz.unpack`).
        NoRunFolder: there is no place to unpack it.
    """
    with RunFolder() as folder:
        export = folder.path / "capture.sqlite"
        unpack(path, export)
        yield export


def load_packed(path: Path) -> Trace:
    """The trace of a ``.sqlite.xz``.

    Raises:
        RecordingError, NoRunFolder: it cannot be unpacked, or holds something else.
    """
    with unpacked(path) as export:
        try:
            return load_trace(export)
        except NsysError as error:
            raise RecordingError(
                f"{path} does not hold a capture",
                evidence=error.evidence or error.what.replace(str(export), "it"),
                remedy="record the run again, or restore the folder",
            ) from None


def _from_json(data: object) -> Recording:
    recording = read(Recording, data)
    for test in recording.tests:
        for number in test.captures:
            if number >= len(recording.captures):
                raise ValueError(f"{test.nodeid} has capture {number}, which does not exist")
    return recording


def _test(value: object) -> RecordedTest:
    """A test; in the first schema it had one capture, or null."""
    data = read(Mapping[str, Any], value)
    if "captures" in data and "capture" in data:
        raise ValueError("a test with both capture and captures")
    if "capture" in data:
        data = {**data, "captures": [one for one in (data["capture"],) if one is not None]}
    return read(RecordedTest, data)
