"""Limits of one capture: how long its worker may run and how large it may grow."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.quantities import format_amount

_FULL = 2**20
_BLOCK = 512  # the unit of st_blocks, whatever the file system's own


@dataclass(frozen=True)
class Limits:
    """What a worker may use; None for as much as it likes.

    Attributes:
        duration_s: seconds from its launch on.
        size: bytes on disk of what nsys has recorded and the worker has said.
    """

    duration_s: float | None = None
    size: int | None = None

    def exceeded(self, seconds: float, size: int) -> str:
        """The limit that is reached by now, in words; empty if none is."""
        if self.duration_s is not None and seconds >= self.duration_s:
            return f"nsys_max_duration ({format_amount(self.duration_s * 1e9, 'ns')}) was reached"
        if self.size is not None and size >= self.size:
            return f"nsys_max_capture_size ({format_amount(self.size, 'B')}) was reached"
        return ""


NO_LIMITS = Limits()


def shortage(folder: Path) -> str:
    """What to add to a message where the folder's disk is full; else empty."""
    try:
        state = os.statvfs(folder)
    except OSError:
        return ""
    full = state.f_bavail * state.f_frsize < _FULL or (state.f_files and not state.f_favail)
    return ": the disk with the temporary files is full (TMPDIR)" if full else ""


def bytes_on_disk(folder: Path) -> int:
    """What the files in a folder and below it take up; files that go meanwhile count nothing.

    Blocks, not lengths: nsys makes files longer than what it has written to them.
    """
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += bytes_on_disk(Path(entry.path))
                else:
                    total += _BLOCK * entry.stat(follow_symlinks=False).st_blocks
    except OSError:
        return total
    return total
