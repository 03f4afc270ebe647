"""On which side of a change a commit is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.bisection.sides import (
    Reading,
    Shift,
    Side,
    Target,
    enough_processes,
    is_worse,
    level_of,
    shift,
    side_of,
)

TIME = Target("t", "test", "gpu.kernel_time", "ns", "timed", "up")
COUNT = Target("t", "test", "gpu.kernel_count", "1", "exact", "up")
SPEED = Target("t", "test", "mine.speed", "1/s", "timed", "down")


def _steady(*values: float) -> tuple[tuple[float, ...], ...]:
    return tuple((value,) * 5 for value in values)


def _shift(amount: float, limit: float = 1.0, *processes: float) -> Shift:
    return Shift(amount, limit, amount, amount, processes or (amount,), 100.0, 100.0 + amount)


@pytest.mark.parametrize(
    ("one", "side"),
    [
        (_shift(0), "good"),
        (_shift(-50), "good"),
        (_shift(4.9), "good"),
        (_shift(5.1), "bad"),
        (_shift(10), "bad"),
        (_shift(60), "bad"),
        (_shift(10, 6), "inconclusive"),
        (_shift(30, 6), "bad"),
        (_shift(5.1, 1, 0, 10.2), "inconclusive"),
        (_shift(5.1, 1, 4, 6.2), "bad"),
    ],
)
def test_a_commit_is_on_the_side_that_it_is_nearer_to(one: Shift, side: Side) -> None:
    assert side_of(one, 0, 10) == side


def test_the_machine_being_slower_is_no_change() -> None:
    """All clocks 10 % lower since the first run."""
    reading = Reading(_steady(1100, 1100), _steady(1144, 1144))
    assert shift(TIME, reading, 0.01).amount == pytest.approx(44)
    assert shift(TIME, reading, 0.01, reference=1000).amount == pytest.approx(40)
    counted = Reading(_steady(11), _steady(13))
    assert shift(COUNT, counted, 0.01, reference=10).amount == 2


def test_what_gets_worse_downwards_is_turned_around() -> None:
    moved = shift(SPEED, Reading(_steady(100, 100), _steady(90, 90)), 0.01)
    assert moved.amount == pytest.approx(10)
    assert moved.low < 10 < moved.high
    assert moved.processes == pytest.approx((10, 10))


def test_one_process_that_counts_more_is_enough() -> None:
    moved = shift(COUNT, Reading(_steady(3, 3), _steady(3, 5)), 0.01)
    assert (moved.amount, moved.limit, moved.low, moved.high) == (2, 0, 2, 2)


def test_as_many_processes_as_half_the_change_takes() -> None:
    reading = Reading(_steady(1000, 1000), _steady(1040, 1040))
    level = level_of(6)
    counts = [enough_processes(TIME, reading, half, level) for half in (50, 12, 8, 0.1)]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (2, 8)
    assert enough_processes(TIME, reading, 50, level, least=4) == 4
    assert enough_processes(COUNT, reading, 0.1, level) == 2
    confirmed = Reading(_steady(*[1000] * 4), _steady(*[1040] * 4))
    assert enough_processes(TIME, confirmed, 50, level) == 2, "not as many as it was confirmed by"


def test_processes_of_two_runs_are_counted_together() -> None:
    one = Reading(_steady(1), _steady(2), 1.0)
    both = one.and_again(Reading(_steady(3), _steady(4), 2.0))
    assert both == Reading(_steady(1, 3), _steady(2, 4), 2.0)


def test_worse_is_what_noise_does_not_explain() -> None:
    assert is_worse(TIME, Reading(_steady(1000, 1000), _steady(1040, 1040)))
    assert not is_worse(TIME, Reading(_steady(1000, 1000), _steady(1002, 1002)))


@given(st.floats(-1e3, 1e3), st.floats(0.1, 1e3), st.floats(0, 1), st.floats(0, 1e3))
def test_a_side_does_not_depend_on_where_zero_is(
    good: float, gap: float, place: float, limit: float
) -> None:
    amount = good + place * gap
    moved = side_of(_shift(amount, limit), good, good + gap)
    if abs(place - 0.5) > 1e-6 and moved != "inconclusive":
        assert moved == ("bad" if place > 0.5 else "good")
    if abs(limit - gap / 2) > 1e-6 * gap:
        assert (moved == "inconclusive") == (limit > gap / 2)
