"""Student's t distribution, held to SciPy's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtr, stdtrit

from pytest_nsys.verdict.student import critical_value, exceeds

FREEDOMS = st.integers(1, 400)


@given(FREEDOMS, st.floats(1e-7, 0.499) | st.floats(0.501, 0.999))
def test_critical_values_are_those_of_scipy(freedom: int, level: float) -> None:
    assert critical_value(freedom, level) == pytest.approx(stdtrit(freedom, 1 - level), rel=1e-7)


@given(FREEDOMS, st.floats(0, 40))
def test_probabilities_are_those_of_scipy(freedom: int, value: float) -> None:
    assert exceeds(freedom, value) == pytest.approx(stdtr(freedom, -value), rel=1e-9, abs=1e-14)


def test_half_of_all_values_are_above_zero() -> None:
    assert critical_value(4, 0.5) == pytest.approx(0.0, abs=1e-12)
