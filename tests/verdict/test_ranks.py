"""The Mann-Whitney U test, against SciPy's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from pytest_nsys.verdict.ranks import larger_by_chance

few_values = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=20)
any_values = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20)


@given(few_values, few_values)
def test_with_ties_it_is_that_of_scipy(values: list[float], others: list[float]) -> None:
    expected = mannwhitneyu(values, others, alternative="greater").pvalue
    assert larger_by_chance(values, others) == pytest.approx(expected, abs=1e-12)


@given(any_values, any_values)
def test_it_is_that_of_scipy(values: list[float], others: list[float]) -> None:
    expected = mannwhitneyu(values, others, alternative="greater").pvalue
    assert larger_by_chance(values, others) == pytest.approx(expected, abs=1e-12)


def test_of_equal_samples_none_is_larger() -> None:
    assert larger_by_chance([1.0] * 5, [1.0] * 5) == 1.0


def test_the_smallest_probability_is_that_of_one_order_in_all() -> None:
    assert larger_by_chance([4.0, 5.0, 6.0], [1.0, 2.0, 3.0]) == 1 / 20
    assert larger_by_chance([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]) == 1.0
