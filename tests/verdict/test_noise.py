"""How much a metric scatters: estimates from samples, and what follows for a comparison."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.measure.measurement import Samples
from pytest_nsys.verdict.noise import PRIOR_FREEDOM, PRIOR_SPREAD, Noise, estimate

values = st.floats(0, 1e12).map(lambda value: round(value, 3))
processes = st.lists(
    st.lists(values, min_size=1, max_size=8).map(tuple), min_size=1, max_size=4
).map(tuple)


def test_within_a_session_it_is_the_scaled_median_absolute_deviation() -> None:
    # Deviations 0, 1, 1, 2, 2 of which one zero says nothing: the median of 1, 1, 2, 2 is 1.5.
    assert estimate(((8.0, 9.0, 10.0, 11.0, 12.0),)).within == pytest.approx(1.4826 * 1.5)
    assert estimate(((8.0, 9.0, 10.0, 11.0, 9e9),)).within == pytest.approx(1.4826 * 1.5)
    assert estimate(((10.0,), (90.0,))).within == 0.0


def test_sessions_are_taken_about_their_own_medians() -> None:
    near = estimate(((8.0, 9.0, 10.0, 11.0, 12.0), (8.0, 9.0, 10.0, 11.0, 12.0)))
    far = estimate(((8.0, 9.0, 10.0, 11.0, 12.0), (108.0, 109.0, 110.0, 111.0, 112.0)))
    assert far.within == near.within
    assert far.between > 20 * near.between


def test_measurements_are_taken_about_their_own_centres() -> None:
    one: Samples = ((100.0, 101.0, 102.0), (102.0, 103.0, 104.0))
    shifted: Samples = ((50.0, 51.0, 52.0), (52.0, 53.0, 54.0))
    assert estimate(one, shifted).within == estimate(one, one).within
    assert estimate(one, shifted).between == pytest.approx(estimate(one, one).between)


def test_the_rounds_of_one_session_are_known_from_the_prior_alone() -> None:
    noise = estimate(((1000.0,) * 5,))
    assert noise == Noise(0.0, pytest.approx(PRIOR_SPREAD * 1000), PRIOR_FREEDOM, 5)
    # And with scatter: the prior of the offset, and pi/2n of the rounds' variance.
    noise = estimate(((980.0, 990.0, 1000.0, 1010.0, 1020.0),))
    expected = math.sqrt((PRIOR_SPREAD * 1000) ** 2 + math.pi / 10 * noise.within**2)
    assert noise.between == pytest.approx(expected)


def test_the_variance_between_sessions_is_the_weighted_mean_of_prior_and_seen() -> None:
    # Smyth (2004), equation 6: (d0 s0^2 + d s^2) / (d0 + d).
    medians = [990.0, 1000.0, 1030.0]
    noise = estimate(tuple((value,) * 5 for value in medians))
    prior = (PRIOR_SPREAD * 1000) ** 2
    expected = (PRIOR_FREEDOM * prior + 2 * statistics.variance(medians)) / (PRIOR_FREEDOM + 2)
    assert noise.between == pytest.approx(math.sqrt(expected))
    assert noise.freedom == PRIOR_FREEDOM + 2
    both = estimate(tuple((value,) * 5 for value in medians), ((998.0,) * 5, (1002.0,) * 5))
    expected = (PRIOR_FREEDOM * prior + 2 * statistics.variance(medians) + 8) / (PRIOR_FREEDOM + 3)
    assert both.between == pytest.approx(math.sqrt(expected))
    assert both.freedom == PRIOR_FREEDOM + 3


def test_many_sessions_speak_for_themselves() -> None:
    random.seed(3)
    found = tuple((1000.0 + random.gauss(0, 50),) * 5 for _ in range(400))
    medians = [process[0] for process in found]
    assert estimate(found).between == pytest.approx(statistics.stdev(medians), rel=0.01)


def test_the_scatter_of_normal_rounds_is_found() -> None:
    random.seed(4)
    found = tuple(tuple(1000 + random.gauss(0, 10) for _ in range(5)) for _ in range(2000))
    assert estimate(found).within == pytest.approx(10, rel=0.06)


def test_a_noisy_measurement_is_not_taken_for_quiet_because_the_other_has_more_rounds() -> None:
    quiet: Samples = ((1000.0,) * 5,) * 3
    noisy: Samples = ((800.0, 900.0, 1000.0, 1200.0, 1400.0),)
    alone = estimate(noisy)
    for pair in (estimate(quiet, noisy), estimate(noisy, quiet)):
        assert pair.within == pytest.approx(alone.within / math.sqrt(2))


def test_few_rounds_count_as_few_beside_many() -> None:
    # The mean of pi/2n over both, not pi/2 over the mean number of rounds.
    assert estimate(((1.0,) * 5,), ((1.0,) * 50,)).rounds == pytest.approx(100 / 11)


def test_of_nothing_there_is_no_noise() -> None:
    assert estimate() == estimate(()) == estimate(((),)) == Noise(0.0, 0.0, PRIOR_FREEDOM, 1.0)
    assert estimate(((0.0, 0.0),), ((0.0,),)).of_change(1, 1) == 0.0


def test_the_error_of_a_change_falls_with_sessions_and_is_never_that_of_one_side_alone() -> None:
    noise = Noise(within=0.0, between=10.0, freedom=4, rounds=5)
    assert noise.of_change(1, 1) == pytest.approx(10 * math.sqrt(2))
    assert noise.of_change(3, 3) == pytest.approx(10 * math.sqrt(2 * math.pi / 6))
    assert noise.of_change(10**9, 1) == pytest.approx(10)
    assert noise.of_change(2, 3) == noise.of_change(3, 2)


def test_more_rounds_take_away_what_rounds_add_and_no_more() -> None:
    # An offset of 3 and rounds of 20: a median of five has a variance of pi/10 of 400.
    noise = Noise(20.0, math.sqrt(9 + math.pi / 10 * 400), 4, rounds=5)
    assert noise.of_processes(5) == pytest.approx(noise.between)
    assert noise.of_processes(1) == pytest.approx(math.sqrt(9 + 400))
    assert noise.of_processes(10**9) == pytest.approx(3)
    assert noise.of_change(1, 1, rounds=(5, 5)) == pytest.approx(noise.of_change(1, 1))
    assert noise.of_change(1, 1, rounds=(10**9, 10**9)) == pytest.approx(3 * math.sqrt(2))
    # Where processes differ less than their rounds would make them, there is no offset.
    assert Noise(20.0, 1.0, 4, rounds=5).of_processes(10**9) == pytest.approx(0, abs=1e-2)


@given(processes, processes)
def test_every_number_is_one_and_none_is_below_zero(one: Samples, other: Samples) -> None:
    noise = estimate(one, other)
    found = (noise.within, noise.between, noise.of_change(len(one), len(other)))
    assert all(math.isfinite(value) and value >= 0 for value in found)
    assert noise.freedom >= PRIOR_FREEDOM
    lengths = [len(process) for process in (*one, *other)]
    assert min(lengths) <= noise.rounds * (1 + 1e-9)
    assert noise.rounds <= max(lengths) * (1 + 1e-9)


def _scaled(factor: float) -> Callable[[Samples], Samples]:
    return lambda found: tuple(tuple(value * factor for value in one) for one in found)


@given(processes, processes, st.sampled_from([1e-6, 0.5, 1e3, 2.0**20]))
def test_in_another_unit_the_noise_is_the_same(one: Samples, other: Samples, factor: float) -> None:
    scaled = _scaled(factor)
    here, there = estimate(one, other), estimate(scaled(one), scaled(other))
    size = max(max(process) for process in (*one, *other)) * factor
    near = {"rel": 1e-6, "abs": 1e-9 * size + 1e-300}
    assert there.within == pytest.approx(here.within * factor, **near)
    assert there.between == pytest.approx(here.between * factor, **near)


@given(st.integers(1, 6), st.integers(3, 12), st.floats(1.5, 1e9), st.integers(0, 10**6))
def test_one_wild_round_of_a_session_moves_the_noise_little(
    count: int, rounds: int, wild: float, seed: int
) -> None:
    random.seed(seed)
    calm = [[1000 + random.uniform(-10, 10) for _ in range(2 * rounds)] for _ in range(count)]
    noise = estimate(tuple(map(tuple, calm)))
    for process in calm:
        process[0] *= wild
    assert estimate(tuple(map(tuple, calm))).within <= 3 * noise.within + 20
