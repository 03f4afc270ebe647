"""Count, sum, mean, median, extremes and deviation of the values of each group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from pytest_nsys.support.arrays.rows import Floats, Ints
from tests.parity.like_nsys.table import Column, rounded, whole


@dataclass(frozen=True)
class Summary:
    """Statistics of groups; each array has one element per group.

    Attributes:
        count: number of values.
        total: their sum.
        mean: arithmetic mean; nan without values.
        median: of an even number of values, the mean of the middle two; nan without values.
        minimum: nan without values.
        maximum: nan without values.
        deviation: corrected sample standard deviation; 0 for fewer than two values, as in nsys.
    """

    count: Ints
    total: Ints
    mean: Floats
    median: Floats
    minimum: Floats
    maximum: Floats
    deviation: Floats

    def take(self, groups: Ints) -> Summary:
        """The statistics of these groups, in this order."""
        return Summary(*(getattr(self, field.name)[groups] for field in fields(self)))

    def columns(
        self,
        heading: str,
        short: Callable[[float], str] = rounded,
        long: Callable[[float], str] = whole,
    ) -> list[Column]:
        """The five columns that nsys's reports share.

        Args:
            heading: heading of a column, ``{}`` where the statistic's name goes.
            short: how mean, median and deviation are written.
            long: how the extremes are written.
        """
        return [
            (heading.format("Avg"), self.mean, short),
            (heading.format("Med"), self.median, short),
            (heading.format("Min"), self.minimum, long),
            (heading.format("Max"), self.maximum, long),
            (heading.format("StdDev"), self.deviation, short),
        ]


def summarise(values: Ints, groups: Ints, number: int) -> Summary:
    """The statistics of values by group.

    Args:
        values: ns, bytes or counts.
        groups: per value, the number of its group, from 0.
        number: how many groups there are; some may have no value.
    """
    ordered = values[np.lexsort((values, groups))]
    count = np.bincount(groups, minlength=number)
    filled = np.flatnonzero(count)
    size = count[filled]
    first = np.cumsum(size) - size
    total = np.zeros(number, dtype=np.int64)
    mean, median, minimum, maximum = (np.full(number, np.nan) for _ in range(4))
    if len(filled):
        # Integers: sums of floats would lose the last digits of long totals.
        total[filled] = np.add.reduceat(ordered, first)
        mean[filled] = total[filled] / size
        median[filled] = (ordered[first + (size - 1) // 2] + ordered[first + size // 2]) / 2
        minimum[filled] = ordered[first]
        maximum[filled] = ordered[first + size - 1]
    squares = np.bincount(groups, weights=(values - mean[groups]) ** 2, minlength=number)
    deviation = np.sqrt(squares / np.maximum(count - 1, 1))
    return Summary(count, total, mean, median, minimum, maximum, deviation)
