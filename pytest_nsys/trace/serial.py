"""nsys's serialised ids of processes and threads: one integer, unique within a capture.

The low 24 bits are the operating system's number of the thread, the 24 above them that of the
process. The id of a process is that of its threads with no thread in it.
"""

from __future__ import annotations

from typing import TypeVar

from pytest_nsys.support.arrays.rows import Ints

_BITS = 24
_NUMBER = 0xFFFFFF

Ids = TypeVar("Ids", int, Ints)
"""One id, or an array of them."""


def process_id(ids: Ids) -> Ids:
    """The serialised process of serialised threads (or processes)."""
    return (ids >> _BITS) << _BITS


def process_number(ids: Ids) -> Ids:
    """The operating system's number of the process."""
    return (ids >> _BITS) & _NUMBER


def thread_number(ids: Ids) -> Ids:
    """The operating system's number of the thread."""
    return ids & _NUMBER
