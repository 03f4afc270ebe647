"""The end of a log, as people read it."""

from __future__ import annotations

import os
from pathlib import Path

LINES = 30
"""Lines of a log that errors show."""

_READ = 256 * 1024


def read_end(path: Path) -> str:
    """The end of a log, at most 256 KiB; of lines that write over themselves, the last state."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _READ, 0))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return readable(text)


def readable(text: str) -> str:
    """A text without empty lines; of lines that write over themselves, the last state."""
    lines = (line.rstrip().split("\r")[-1].rstrip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def last_lines(text: str, count: int = LINES) -> str:
    """The last lines of a text."""
    return "\n".join(text.splitlines()[-count:])
