"""From values of windows to samples of rounds: several windows of a round made one.

A round may enter a range several times, and a user's NVTX range has many instances. Each metric
says how its values are made one; quotients are formed afterwards, from what they are quotients of.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

from pytest_nsys.catalogue import METRICS, Combine, Ratio, lookup
from pytest_nsys.support.arrays.rows import Floats

Rounds = Mapping[int, Sequence[int]]
"""Per round, the numbers of its windows in the cut."""

_FUNCTIONS: Mapping[Combine, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "max": max,
    "median": statistics.median,
    "mean": statistics.fmean,
}
RATIOS: Mapping[str, Ratio] = {metric.key: metric.ratio for metric in METRICS if metric.ratio}
"""The metrics that are quotients of others."""


def combined(key: str, values: Sequence[float]) -> float:
    """The values of one metric as one; windows without a value (NaN) do not count.

    Of no windows at all, sums and maxima are zero, and the others have no value.
    """
    how = lookup(key).combine
    present = [value for value in values if not math.isnan(value)]
    if present:
        return _FUNCTIONS[how](present)
    return 0.0 if not values and how in ("sum", "max") else math.nan


def round_samples(
    columns: Mapping[str, Floats], places: Sequence[Rounds]
) -> list[dict[str, tuple[float, ...]]]:
    """Per place and metric, one sample per round.

    Args:
        columns: per metric, its value in every window of a cut; NaN where it has none.
        places: what is measured: each a window of a test with its rounds.

    Returns:
        Per place, the samples by metric; rounds without a value are left out, and so are metrics
        without any sample.
    """
    # Numbers of Python's own: taking them from an array one by one costs five times as much.
    lists = {key: column.tolist() for key, column in columns.items()}
    return [_of_place(lists, [*rounds.values()]) for rounds in places]


def _of_place(
    lists: Mapping[str, list[float]], rounds: Sequence[Sequence[int]]
) -> dict[str, tuple[float, ...]]:
    if all(len(numbers) == 1 for numbers in rounds):
        firsts = [numbers[0] for numbers in rounds]
        values = {key: [column[number] for number in firsts] for key, column in lists.items()}
    else:
        values = {
            key: [combined(key, [column[number] for number in numbers]) for numbers in rounds]
            for key, column in lists.items()
        }
    values |= _ratios(values)
    samples = {
        key: tuple(value for value in found if not math.isnan(value))
        for key, found in values.items()
    }
    return {key: sample for key, sample in samples.items() if sample}


def _ratios(values: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    found = {}
    for key, ratio in RATIOS.items():
        if values.keys() >= {*ratio.above, *ratio.below}:
            above = zip(*(values[part] for part in ratio.above), strict=True)
            below = zip(*(values[part] for part in ratio.below), strict=True)
            found[key] = [
                ratio.factor * sum(one) / sum(other) if sum(other) else math.nan
                for one, other in zip(above, below, strict=True)
            ]
    return found
