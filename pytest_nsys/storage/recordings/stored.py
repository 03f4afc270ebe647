"""Stored captures: a report, an export, a packed export, or a recording, given by path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pytest_nsys.capture.export import export_report
from pytest_nsys.capture.nsys import find_nsys
from pytest_nsys.errors import NotACapture
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.storage.recordings.recording import (
    INDEX,
    RecordedCapture,
    check_one,
    load_capture,
    load_packed,
    read_recording,
    unpacked,
)
from pytest_nsys.support.files import open_file
from pytest_nsys.trace import Trace, load_trace
from pytest_nsys.trace.others import is_other, load_other

PACKED = ".sqlite.xz"
REPORTS = (".nsys-rep", ".qdrep")
"""What nsys calls its reports; the second until 2021."""


def is_recording(path: Path) -> bool:
    """Whether the path is a folder that ``--nsys-record`` or ``pytest-nsys capture`` wrote."""
    return (path / INDEX).is_file()


def has_tests(path: Path) -> bool:
    """Whether the path is a recording of tests, and not of one command as a whole."""
    if not is_recording(path):
        return False
    recording = read_recording(path)
    return bool(recording.tests) or len(recording.captures) != 1


def has_several(path: Path) -> bool:
    """Whether the path is a recording of tests with several captures, as one of servers has."""
    return is_recording(path) and len(read_recording(path).captures) > 1


def check_captures(paths: Sequence[Path], executable: str | None = None) -> None:
    """Refuse captures that are not to be compared, before any is read: so the right one is blamed.

    Args:
        paths: what is to be compared.
        executable: the nsys that exports reports.

    Raises:
        NsysError: one does not exist, is none, or is one while another is a recording of several.
    """
    for path in paths:
        if not path.exists():
            raise NotACapture(f"there is no {path}", remedy="correct the path")
        _check_one(path)
    several = [path for path in paths if has_several(path)]
    others = [path for path in paths if not has_tests(path)]
    if several and others:
        for path in others:
            load_stored(path, executable)
        raise NotACapture(
            f"{several[0]} is a recording of tests, and {others[0]} is one capture",
            remedy=f"name a capture of the recording, such as {several[0] / 'capture-1.sqlite.xz'}"
            ", or two recordings",
        )


def _check_one(path: Path) -> None:
    """Refuse a folder with recordings and nothing else that can be read."""
    if path.is_dir() and not is_other(path) and not any(path.glob("*.parquet")):
        check_one(path)


def load_stored(path: Path, executable: str | None = None) -> Trace:
    """The trace of a stored capture: .nsys-rep or .qdrep (where nsys is there), .sqlite,
    .sqlite.xz, a folder of Parquet files, a recording with one capture, or what torch.profiler or
    Proton wrote (one file, or a folder of ranks).

    Raises:
        NsysError: it is none of these, is damaged, or cannot be exported.
    """
    if is_recording(path):
        captures = read_recording(path).captures
        if len(captures) != 1:
            files = ", ".join(capture.file for capture in captures) or "none"
            raise NotACapture(
                f"{path} is a recording with {len(captures)} captures",
                evidence=files,
                remedy=f"name one of them, such as {path / 'capture-1.sqlite.xz'}",
            )
        return load_capture(path, captures[0])
    if path.name.endswith(PACKED):
        return load_packed(path)
    if is_other(path):
        return load_other(path)
    with exported(path, executable) as export:
        return load_trace(export)


def recorded_capture(path: Path) -> RecordedCapture | None:
    """What a recording knows of a capture: of its only one, or of that which the path names.

    Raises:
        RecordingError: the recording is damaged or newer.
    """
    if is_recording(path):
        return read_recording(path).captures[0]
    if not is_recording(path.parent):
        return None
    captures = read_recording(path.parent).captures
    return next((capture for capture in captures if capture.file == path.name), None)


@contextmanager
def exported(path: Path, executable: str | None = None) -> Iterator[Path]:
    """A stored capture, but no recording, as an export: a SQLite file or a folder of Parquet files.

    What is made for it lies in a guarded folder: nothing of it outlives this process for long.

    Raises:
        NsysError: a report cannot be exported, or a packed export cannot be unpacked.
    """
    _check_one(path)
    if path.suffix in REPORTS:
        with suppress(OSError), open_file(path):
            pass  # what is no report at all is told apart before nsys is asked
        nsys = find_nsys(executable)
        with RunFolder() as folder:
            yield export_report(nsys, path, folder.path)
    elif path.name.endswith(PACKED):
        with unpacked(path) as export:
            yield export
    else:
        yield path
