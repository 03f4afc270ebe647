"""From windows to rounds: samples from the values of all windows, breakdowns from their lines.

A round may enter a range several times, and a user's NVTX range has many instances. Each metric
says how its values are made one; quotients are formed afterwards, from what they are quotients of.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from pytest_nsys.catalogue import METRICS, Combine, Ratio, lookup
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.measure.measurement import Part, Parts, largest_first
from pytest_nsys.metrics.breakdown import Lines
from pytest_nsys.support.arrays.rows import Floats, Ints

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


def round_parts(
    lines: Lines, places: Sequence[Rounds], naming: Naming | None = None
) -> list[Parts]:
    """Per place, what a round is made of: for each label, medians over all its rounds.

    A round without a label counts as zero for it.

    Args:
        lines: the lines of all windows of a cut.
        places: what is measured: each a window of a test with its rounds.
        naming: for lines that are kernels: gives their category.
    """
    place_of, round_of = _where(lines, places)
    place = place_of[lines.window]
    kept = place >= 0
    place, rounds = place[kept], round_of[lines.window[kept]]
    label, labels = pd.factorize(lines.label[kept])
    raw, raws = pd.factorize(lines.raw[kept])
    group, group_place, group_label = _groups(place, label, max(len(labels), 1))
    sizes = np.array([len(part) for part in places], dtype=np.int64)[group_place]
    medians = [
        _medians(group, rounds, sizes, column[kept]).tolist()
        for column in (lines.count, lines.ns, lines.bytes)
    ]
    names: list[list[str]] = [[] for _ in group_place]
    for pair in np.unique(group * max(len(raws), 1) + raw).tolist():
        names[pair // len(raws)].append(str(raws[pair % len(raws)]))
    found: dict[int, list[Part]] = defaultdict(list)
    categories: dict[str, str] = {}
    for number, (owner, code) in enumerate(
        zip(group_place.tolist(), group_label.tolist(), strict=True)
    ):
        known = sorted(names[number])
        if naming is not None and known[0] not in categories:
            categories[known[0]] = naming.category(known[0])
        text = str(labels[code])
        count, ns, size = (column[number] for column in medians)
        others = tuple(name for name in known if name != text)
        found[owner].append(Part(text, count, ns, size, categories.get(known[0], ""), others))
    return [Parts(tuple(sorted(found[n], key=largest_first))) for n in range(len(places))]


def _where(lines: Lines, places: Sequence[Rounds]) -> tuple[Ints, Ints]:
    """Per window of the cut, its place (-1: none) and which of the place's rounds it is of."""
    windows = int(lines.window.max(initial=-1)) + 1
    place_of = np.full(windows, -1, dtype=np.int64)
    round_of = np.zeros(windows, dtype=np.int64)
    for number, rounds in enumerate(places):
        for round_, of_round in enumerate(rounds.values()):
            inside = [window for window in of_round if window < windows]
            place_of[inside] = number
            round_of[inside] = round_
    return place_of, round_of


def _groups(place: Ints, label: Ints, labels: int) -> tuple[Ints, Ints, Ints]:
    """The pairs of a place and a label: per line its pair, and per pair its place and label."""
    pairs, group = np.unique(place * labels + label, return_inverse=True)
    of_place, of_label = np.divmod(pairs, labels)
    return group.reshape(-1), of_place, of_label


def _medians(group: Ints, rounds: Ints, sizes: Ints, values: Ints) -> Floats:
    """Per group the median over its rounds, ``sizes`` many, of the sums of its lines' values."""
    offsets = np.cumsum(sizes) - sizes
    cell = offsets[group] + rounds
    sums = np.bincount(cell, weights=values.astype(np.float64), minlength=int(sizes.sum()))
    medians = np.zeros(len(sizes))
    for size in np.unique(sizes).tolist():
        equal = np.flatnonzero(sizes == size)
        medians[equal] = np.median(sums[offsets[equal][:, None] + np.arange(size)], axis=1)
    return medians
