"""When the median of the rounds is known precisely enough."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.support.precision import half_width, is_precise, median_rank


@pytest.mark.parametrize(
    # The ranks of the tables for the sign test, two-sided at 5 %.
    ("count", "rank"),
    [(0, None), (1, None), (5, None), (6, 1), (8, 1), (9, 2), (12, 3), (15, 4), (20, 6), (25, 8)],
)
def test_ranks_are_those_of_the_tables(count: int, rank: int | None) -> None:
    assert median_rank(count) == rank


@given(st.integers(0, 1500), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_the_rank_is_the_largest_with_the_confidence(count: int, confidence: float) -> None:
    rank = median_rank(count, confidence)

    def covered(of: int) -> Fraction:
        return 1 - Fraction(2 * sum(comb(count, i) for i in range(of)), 2**count)

    if rank is not None:
        assert rank <= count - rank + 1
        assert covered(rank) >= Fraction(confidence)
    if count:
        assert covered((rank or 0) + 1) < Fraction(confidence)


def test_the_interval_is_that_between_the_ranked_values() -> None:
    values = [30.0, 10.0, 20.0, 60.0, 40.0, 50.0, 80.0, 70.0, 1000.0]
    assert half_width(values) == (80.0 - 20.0) / 2
    assert half_width(values[:5]) is None


@pytest.mark.parametrize(
    ("values", "precise"),
    [
        ([100.0] * 5, False),  # too few to say
        ([100.0] * 6, True),
        ([99.0, 101.0, 100.0, 100.0, 100.0, 100.0], True),
        ([99.0, 101.1, 100.0, 100.0, 100.0, 100.0], False),
        ([0.0] * 6, True),
        ([100.0] * 8 + [900.0], True),  # one outlier of nine is outside
    ],
)
def test_the_precision_is_relative_to_the_median(values: list[float], precise: bool) -> None:
    assert is_precise(values, 0.01) is precise


times = st.lists(st.floats(1e-6, 1e3), min_size=6, max_size=60)


@given(times, st.sampled_from([0.001, 0.01, 0.1]))
def test_order_and_scale_do_not_matter(values: list[float], precision: float) -> None:
    assert is_precise(values[::-1], precision) is is_precise(values, precision)
    assert is_precise([value * 1024 for value in values], precision) is is_precise(
        values, precision
    )


@given(times)
def test_what_is_precise_is_precise_enough_for_less(values: list[float]) -> None:
    found = [is_precise(values, precision) for precision in (0.001, 0.01, 0.1, 10.0)]
    assert found == sorted(found)
