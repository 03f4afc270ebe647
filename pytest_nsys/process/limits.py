"""Limits of one capture: how long it may take, how large it may grow, and the space that there must
be for it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.errors import NoRunFolder
from pytest_nsys.support.own import own
from pytest_nsys.support.units import format_amount

NEEDED = 16 * 2**20
"""Bytes that must be free for temporary files before nsys is started.

While it records a program that does nothing, nsys (2022.4 and 2023.4) holds up to 7.5 MiB there.
With 4 MiB the program crashes, and with 1 MiB nsys does, or waits for ever. A worker with two tests
that do next to nothing goes well on a disk of 17 MiB. What tests record comes on top: so this is
the least that can be enough, not what is.
"""

_FULL = 2**20
_BLOCK = 512  # the unit of st_blocks, whatever the file system's own


@dataclass(frozen=True)
class Limits:
    """What a capture may use; None for as much as it likes.

    Attributes:
        duration_s: seconds that it takes.
        size: bytes on disk that are written meanwhile.
        names: what users call the two.
    """

    duration_s: float | None = None
    size: int | None = None
    names: tuple[str, str] = ("max_duration", "max_size")

    @property
    def any(self) -> bool:
        """Whether there is a limit."""
        return self.duration_s is not None or self.size is not None

    def exceeded(self, seconds: float, size: int) -> str:
        """The limit that is reached by now, in words; empty if none is."""
        longest, largest = self.names
        if self.duration_s is not None and seconds >= self.duration_s:
            return f"{longest} ({format_amount(self.duration_s * 1e9, 'ns')}) was reached"
        if self.size is not None and size >= self.size:
            return f"{largest} ({format_amount(self.size, 'B')}) was reached"
        return ""


NO_LIMITS = Limits()


def shortage(folder: Path) -> str:
    """What to add to a message where the folder's disk is full; else empty."""
    try:
        state = own.statvfs(folder)
    except OSError:
        return ""
    full = state.f_bavail * state.f_frsize < _FULL or (state.f_files and not state.f_favail)
    return ": the disk with the temporary files is full (TMPDIR)" if full else ""


def demand_space(folder: Path) -> None:
    """There is the least space that a capture can do with; file systems that do not say have it.

    Raises:
        NoRunFolder: there is less.
    """
    try:
        state = own.statvfs(folder)
    except OSError:
        return
    free = state.f_bavail * state.f_frsize
    if free < NEEDED and state.f_blocks:
        raise NoRunFolder(
            f"there is too little space for temporary files: {format_amount(free, 'B')}, and "
            f"nsys needs {format_amount(NEEDED, 'B')} to begin with",
            remedy="free some space, or name a folder on a larger disk in TMPDIR",
        )


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
