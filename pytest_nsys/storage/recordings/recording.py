"""Recordings: a finished run as files, scrubbed, to be judged again anywhere.

A recording is a folder: ``recording.json`` (what was run and how each test ended), and for each
capture ``capture-N.sqlite.xz``: the tables and columns that we read and nothing else, so that
the environment, command lines, processes, paths and output that nsys stores are not in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_nsys.errors import NsysError, RecordingError
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.storage.recordings.scrub import scrub
from pytest_nsys.support.files import read_limited, replace_text
from pytest_nsys.support.json_values import listing, load, mapping, text_of, whole
from pytest_nsys.support.xz import unpack
from pytest_nsys.trace.load import load_trace
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.record import WindowRecord

SCHEMA = 2
"""2: a test may have several captures, and a window the times at which it lies in its capture, in
the place of an NVTX range; what has the form of 1 is read as before."""

INDEX = "recording.json"

_LARGEST_INDEX = 256 * 2**20
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
    reports: tuple[Mapping[str, Any], ...]
    captures: tuple[int, ...]
    warmup: int
    rounds: int
    problem: str = ""


@dataclass(frozen=True)
class RecordedCapture:
    """One capture of a recording.

    Attributes:
        file: its file in the folder.
        options: the options it was made with.
        records: its windows.
    """

    file: str
    options: tuple[str, ...]
    records: tuple[WindowRecord, ...]


@dataclass(frozen=True)
class Recording:
    """A recording's index.

    Attributes:
        captures: by their number.
        tests: in the order they ran.
        versions: Python and frameworks of the run.
        nsys: version of nsys.
        date: day of the run.
    """

    captures: tuple[RecordedCapture, ...]
    tests: tuple[RecordedTest, ...]
    versions: Mapping[str, str]
    nsys: str
    date: str


def write_recording(folder: Path, recording: Recording, exports: Sequence[Path]) -> None:
    """Write a recording; ``exports`` are the exported captures, in the order of the index.

    The index is written last: a folder without one is no recording.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    for capture, export in zip(recording.captures, exports, strict=True):
        scrub(export, folder / capture.file)
    replace_text(folder / INDEX, json.dumps(_to_json(recording), indent=1) + "\n")


def read_recording(folder: Path) -> Recording:
    """The index of a recording.

    Raises:
        RecordingError: the folder holds none, or one that is damaged or newer.
    """
    path = folder / INDEX
    try:
        data = mapping(load(read_limited(path, _LARGEST_INDEX)))
        if whole(data["schema"], 1) > SCHEMA:
            raise RecordingError(
                f"{path} was written by a newer pytest-nsys", remedy="upgrade pytest-nsys"
            )
        return _from_json(data)
    except FileNotFoundError:
        raise RecordingError(
            f"there is no recording in {folder}",
            evidence=f"{path} does not exist",
            remedy="name a folder that --nsys-record wrote",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordingError(
            f"{path} is damaged",
            evidence=f"{type(error).__name__}: {error}",
            remedy="record the run again, or restore the folder",
        ) from None


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


def _to_json(recording: Recording) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "nsys": recording.nsys,
        "date": recording.date,
        "versions": dict(recording.versions),
        "captures": [
            {
                "file": capture.file,
                "options": list(capture.options),
                "windows": [record.to_json() for record in capture.records],
            }
            for capture in recording.captures
        ],
        "tests": [
            {
                "nodeid": test.nodeid,
                "captures": list(test.captures),
                "warmup": test.warmup,
                "rounds": test.rounds,
                "problem": test.problem,
                "reports": [dict(report) for report in test.reports],
            }
            for test in recording.tests
        ],
    }


def _from_json(data: Mapping[str, Any]) -> Recording:
    """The inverse of `_to_json`.

    Raises:
        KeyError, TypeError, ValueError: the data is something else.
    """
    versions = mapping(data["versions"])
    recording = Recording(
        captures=tuple(map(_read_capture, listing(data["captures"]))),
        tests=tuple(map(_read_test, listing(data["tests"]))),
        versions={name: text_of(version) for name, version in versions.items()},
        nsys=text_of(data["nsys"]),
        date=text_of(data["date"]),
    )
    for test in recording.tests:
        for number in test.captures:
            if number >= len(recording.captures):
                raise ValueError(f"{test.nodeid} has capture {number}, which does not exist")
    return recording


def _read_capture(value: object) -> RecordedCapture:
    capture = mapping(value)
    return RecordedCapture(
        file=text_of(capture["file"]),
        options=tuple(map(text_of, listing(capture["options"]))),
        records=tuple(
            WindowRecord.from_json(mapping(record)) for record in listing(capture["windows"])
        ),
    )


def _read_test(value: object) -> RecordedTest:
    test = mapping(value)
    return RecordedTest(
        nodeid=text_of(test["nodeid"]),
        reports=tuple(map(_read_report, listing(test["reports"]))),
        captures=_read_numbers(test),
        warmup=whole(test["warmup"], 0),
        rounds=whole(test["rounds"], 1),
        problem=text_of(test["problem"]),
    )


def _read_numbers(test: Mapping[str, Any]) -> tuple[int, ...]:
    """The numbers of a test's captures; in the first schema it had one, or null."""
    if "captures" not in test:
        return () if test["capture"] is None else (whole(test["capture"], 0),)
    if "capture" in test:
        raise ValueError("a test with both capture and captures")
    numbers = tuple(whole(number, 0) for number in listing(test["captures"]))
    if len(set(numbers)) < len(numbers):
        raise ValueError("a test has a capture twice")
    return numbers


def _read_report(value: object) -> Mapping[str, Any]:
    """A report with what says how its test ended; what pytest needs of it is for a replay."""
    report = mapping(value)
    text_of(report["when"]), text_of(report["outcome"])
    return report
