"""The folder of a history: one file per device and test, to which lines are only ever added."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.errors import HistoryError
from pytest_nsys.storage.baselines.location import baseline_path
from pytest_nsys.storage.history.document import Entry, Torn, parse, render
from pytest_nsys.support.files import locked_folder, read_limited, writing

_LOCK_DEADLINE_S = 60.0
_LARGEST = 64 * 2**20
_SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Series:
    """The runs of one test on one device, the oldest first.

    Attributes:
        nodeid: the test.
        device: the device's key.
        entries: at least one.
    """

    nodeid: str
    device: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class TornLine:
    """A line that was left out, because a run was killed in the middle of it."""

    path: Path
    line: int


def history_path(device: str, nodeid: str) -> Path:
    """The file of a test, relative to the folder: that of its baseline, but for the suffix."""
    return Path(baseline_path(device, nodeid)).with_suffix(_SUFFIX)


def append(
    root: Path, entries: Iterable[Entry], *, lock_deadline_s: float = _LOCK_DEADLINE_S
) -> None:
    """Add a line for each entry.

    What a killed run, or a full disk, left of a line stays a line of its own.

    Raises:
        HistoryError: the folder cannot be written, or stays locked by another run.
    """
    remedy = "make the folder writable, or name another with --nsys-history"
    with (
        writing(f"the history in {root}", HistoryError, remedy),
        locked_folder(root, lock_deadline_s, HistoryError),
    ):
        for entry in entries:
            _append(root / history_path(entry.device, entry.nodeid), render(entry))


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    with os.fdopen(fd, "rb+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(fd, 1, size - 1) != b"\n":
            line = b"\n" + line
        rest = memoryview(line)
        while rest:  # where the disk is nearly full, a part is written, and then nothing
            rest = rest[file.write(rest) :]
        os.fsync(fd)


def read(root: Path) -> tuple[tuple[Series, ...], tuple[TornLine, ...]]:
    """All there is in a folder, by node id and device; and the lines that were left out.

    The runs of a test are ordered by their dates: merged files hold those of several branches.

    Raises:
        HistoryDamaged: a line cannot be understood.
        HistoryError: there is no such folder, nothing in it, or it cannot be read.
    """
    if not root.is_dir():
        raise HistoryError(
            f"there is no folder {root}", remedy="name the folder that --nsys-history named"
        )
    found: dict[tuple[str, str], list[Entry]] = {}
    torn: list[TornLine] = []
    paths = sorted(root.rglob(f"*{_SUFFIX}"))
    if not paths:
        raise HistoryError(
            f"there is no history in {root}",
            remedy="run pytest with --nsys-history, and name its folder here",
        )
    for path in paths:
        entries, lost = _read(path)
        torn += [TornLine(path, one.number) for one in lost]
        for entry in entries:
            found.setdefault((entry.nodeid, entry.device), []).append(entry)
    series = [
        Series(nodeid, device, tuple(sorted(entries, key=lambda entry: entry.date)))
        for (nodeid, device), entries in sorted(found.items())
    ]
    return tuple(series), tuple(torn)


def _read(path: Path) -> tuple[tuple[Entry, ...], tuple[Torn, ...]]:
    try:
        content = read_limited(path, _LARGEST)
    except OSError as error:
        raise HistoryError(
            f"{path} cannot be read", evidence=str(error), remedy="see to the file"
        ) from None
    return parse(content, str(path))
