"""Samples and breakdowns of rounds against the standard library's medians."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.catalogue import METRICS
from pytest_nsys.measure.rounds import RATIOS, combined, round_parts, round_samples
from pytest_nsys.metrics.breakdown import Lines

WINDOWS = 6
VALUES = st.one_of(st.integers(0, 100).map(float), st.just(math.nan))
COLUMN = st.lists(VALUES, min_size=WINDOWS, max_size=WINDOWS)
ROUNDS = st.dictionaries(
    st.integers(0, 5), st.lists(st.integers(0, WINDOWS - 1), max_size=3), max_size=4
)
BY_HAND = {"sum": sum, "max": max, "median": statistics.median, "mean": statistics.fmean}
PLAIN = [metric for metric in METRICS if metric.ratio is None]


@pytest.mark.parametrize("how", sorted(BY_HAND))
@given(values=st.lists(VALUES, max_size=6))
def test_values_of_windows_become_one(how: str, values: list[float]) -> None:
    keys = [metric.key for metric in PLAIN if metric.combine == how]
    present = [value for value in values if not math.isnan(value)]
    assert keys or how == "median"
    for key in keys:
        found = combined(key, values)
        if present:
            assert found == pytest.approx(BY_HAND[how](present))
        elif not values and how in ("sum", "max"):
            assert found == 0
        else:
            assert math.isnan(found)


@given(st.lists(COLUMN, min_size=2, max_size=2), st.lists(ROUNDS, max_size=3))
def test_each_round_has_its_sample_and_nan_none(
    columns: list[list[float]], places: list[dict[int, list[int]]]
) -> None:
    keys = ("gpu.kernel_time", "gpu.max_gap")
    arrays = {key: np.array(column) for key, column in zip(keys, columns, strict=True)}
    found = round_samples(arrays, places)
    assert len(found) == len(places)
    for rounds, samples in zip(places, found, strict=True):
        for key, column in zip(keys, columns, strict=True):
            values = [combined(key, [column[n] for n in numbers]) for numbers in rounds.values()]
            expected = tuple(value for value in values if not math.isnan(value))
            assert samples.get(key, ()) == expected
            assert () not in samples.values()


@given(st.data())
def test_quotients_are_finite_or_absent(data: st.DataObject) -> None:
    parts = {part for ratio in RATIOS.values() for part in (*ratio.above, *ratio.below)}
    arrays = {part: np.array(data.draw(COLUMN)) for part in sorted(parts)}
    (samples,) = round_samples(arrays, [{n: [n] for n in range(WINDOWS)}])
    for key in RATIOS:
        assert all(math.isfinite(value) for value in samples.get(key, ()))


LINES = st.lists(
    st.tuples(
        st.integers(0, WINDOWS - 1),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["raw 1", "raw 2"]),
        st.integers(0, 9),
        st.integers(0, 2**40),
        st.integers(0, 2**40),
    ),
    max_size=15,
)


@given(LINES, st.permutations(range(WINDOWS)), st.lists(st.integers(1, 3), max_size=3))
def test_parts_are_medians_over_all_rounds(
    rows: list[tuple[int, str, str, int, int, int]], order: list[int], sizes: list[int]
) -> None:
    """Each window is of one round at most; a round has one window or more."""
    free = list(order)
    places: list[dict[int, list[int]]] = []
    for size in sizes:
        numbers = [free.pop() for _ in range(min(size, len(free)))]
        places.append(
            {0: numbers[:2], 1: numbers[2:]} if len(numbers) > 2 else {n: [n] for n in numbers}
        )
    rows = sorted(rows, key=lambda row: row[0])
    columns = [*zip(*rows, strict=True)] if rows else [()] * 6
    window, count, ns, size_ = (np.array(columns[n], dtype=np.int64) for n in (0, 3, 4, 5))
    label, raw = (np.array(columns[n], dtype=object) for n in (1, 2))
    found = round_parts(Lines(window, label, raw, count, ns, size_), places)
    assert len(found) == len(places)
    for rounds, parts in zip(places, found, strict=True):
        inside = {n for numbers in rounds.values() for n in numbers}
        by_label: dict[str, list[list[float]]] = defaultdict(
            lambda: [[0.0, 0.0, 0.0] for _ in rounds]  # noqa: B023, called within the loop
        )
        raws: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            if row[0] in inside:
                raws[row[1]].add(row[2])
                for number, numbers in enumerate(rounds.values()):
                    if row[0] in numbers:
                        for column in range(3):
                            by_label[row[1]][number][column] += row[3 + column]
        expected = {
            name: tuple(statistics.median(values) for values in zip(*of_rounds, strict=True))
            for name, of_rounds in by_label.items()
        }
        got = {part.label: (part.count, part.ns, part.bytes) for part in parts.parts}
        assert got == expected
        assert {part.label: set(part.raw) for part in parts.parts} == raws
