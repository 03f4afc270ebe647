"""What may be wrong with the rows of an export: mended and told, or refused.

Each function looks at one thing. What can be taken in one way only is taken so, with a line in
the defects; what would make all sums wrong is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pytest_nsys.support.arrays.rows import Flags, Ints
from pytest_nsys.trace.source import ABSENT, not_understood

Columns = dict[str, Ints]

LATEST = 2**61
"""ns either side of 0 that a time may be: 73 years, so also when they are counted from 1970."""

LONGEST = 2**53
"""ns that one event may last (104 days), and bytes that one may be of: exact as a float."""

_LARGEST_SUM = 2.0**62


def describe(count: int, table: str, what: str, consequence: str) -> str:
    """A line of the defects."""
    rows = f"{count} row{'s' if count != 1 else ''}"
    return f"{rows} of {table} {what}: {consequence}"


def note(flags: Flags, table: str, what: str, consequence: str, defects: list[str]) -> bool:
    """Tell of the flagged rows; returns whether there are any."""
    count = int(np.count_nonzero(flags))
    if count:
        defects.append(describe(count, table, what, consequence))
    return count > 0


def dropped(
    columns: Columns, flags: Flags, table: str, what: str, defects: list[str], why: str = "left out"
) -> Columns:
    """The rows that are not flagged."""
    if not note(flags, table, what, why, defects):
        return columns
    return {name: values[~flags] for name, values in columns.items()}


def started(table: str, columns: Columns, defects: list[str], time: str = "start") -> Columns:
    """The rows that have a time, which must be one that can be.

    Raises:
        ExportFailed: a time is further from 0 than any capture lasts.
    """
    columns = dropped(columns, columns[time] == ABSENT, table, "have no time", defects)
    _check_times(table, time, columns[time])
    return columns


def ended(table: str, columns: Columns, defects: list[str]) -> Columns:
    """Started rows with an end that is not before their start.

    What ends before it starts, or never, has taken no time: clocks that were set back do that.

    Raises:
        ExportFailed: a time or a duration is longer than any capture.
    """
    columns = started(table, columns, defects)
    start, end = columns["start"], columns["end"]
    _check_times(table, "end", end)
    taken = "taken as of no duration"
    open_, backwards = end == ABSENT, end < start
    backwards &= ~open_
    note(open_, table, "have no end", taken, defects)
    note(backwards, table, "end before they start", taken, defects)
    if open_.any() or backwards.any():
        columns["end"] = np.where(open_ | backwards, start, end)
    _check_sum(table, "end - start", columns["end"] - start, "ns")
    return columns


def amounts(table: str, name: str, values: Ints, defects: list[str]) -> Ints:
    """Sizes or counts; what is negative or NULL counts as 0.

    Raises:
        ExportFailed: one is larger than anything there is.
    """
    negative = values < 0
    if note(negative, table, f"have no {name}, or a negative one", "taken as 0", defects):
        values = np.where(negative, 0, values)
    _check_sum(table, name, values, "")
    return values


def _check_times(table: str, name: str, times: Ints) -> None:
    for time in _extremes(times):
        if abs(time) > LATEST:
            raise not_understood(
                f"{table}.{name} holds the time {time} ns", "no capture lasts so long"
            )


def _check_sum(table: str, name: str, values: Ints, unit: str) -> None:
    largest = int(values.max(initial=0))
    if largest > LONGEST or float(values.sum(dtype=np.float64)) > _LARGEST_SUM:
        raise not_understood(
            f"{table}.{name} is up to {largest} {unit}".rstrip(), "there is nothing so large"
        )


def _extremes(values: Ints) -> Iterable[int]:
    return (int(values.min()), int(values.max())) if len(values) else ()
