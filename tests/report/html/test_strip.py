"""The drawing of samples: what is where."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.catalogue import lookup
from pytest_nsys.measure.measurement import Samples, centre
from pytest_nsys.report.html.strip import WIDTH, draw_strip
from pytest_nsys.verdict.verdict import Comparison


def comparison(
    then: Samples, now: Samples, limit: float | None = None, noise: float | None = None
) -> Comparison:
    return Comparison(
        "test",
        lookup("gpu.kernel_time"),
        "ok",
        True,
        centre(then) if any(then) else None,
        centre(now) if any(now) else None,
        limit=limit,
        noise=noise,
    )


def marks(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"M([\d.]+) ([\d.]+)", path)]


def test_a_mark_for_each_round_and_a_row_for_each_process() -> None:
    then, now = ((100.0, 110.0, 120.0), (105.0, 115.0)), ((200.0, 210.0),)
    strip = draw_strip(comparison(then, now, limit=10.0, noise=4.0), then, now)
    assert strip is not None
    assert len(marks(strip.then)) == 5
    assert len(marks(strip.now)) == 2
    assert len({y for _, y in marks(strip.then)}) == 2
    assert max(y for _, y in marks(strip.then)) < strip.middle < min(y for _, y in marks(strip.now))
    places = [x for x, _ in marks(strip.then)]
    assert places[0] < places[1] < places[2]
    assert max(places) < min(x for x, _ in marks(strip.now))
    assert strip.limit is not None
    assert strip.noise is not None
    middle = float(strip.then_median)
    for bar in (strip.limit, strip.noise):
        assert abs(float(bar.x) + float(bar.width) / 2 - middle) < 0.2
    assert float(strip.noise.width) < float(strip.limit.width)
    assert strip.text == (
        "Baseline: 5 rounds of 2 processes, from 100 ns to 120 ns; "
        "Current: 2 rounds, from 200 ns to 210 ns"
    )


def test_without_a_baseline_there_is_one_half() -> None:
    now = ((5.0, 6.0),)
    strip = draw_strip(comparison((), now), (), now)
    assert strip is not None
    assert (strip.then, strip.then_median, strip.middle) == ("", "", 0)
    assert strip.limit is None
    assert strip.text == "Current: 2 rounds, from 5 ns to 6 ns"


def test_only_the_baseline_has_samples() -> None:
    then = ((5.0, 6.0),)
    strip = draw_strip(comparison(then, ()), then, ())
    assert strip is not None
    assert (strip.now, strip.now_median) == ("", "")


def test_samples_that_are_all_the_same_are_not_drawn() -> None:
    assert draw_strip(comparison(((3.0, 3.0),), ((3.0,),)), ((3.0, 3.0),), ((3.0,),)) is None
    assert draw_strip(comparison((), ()), (), ()) is None


def test_one_value_is_said_once() -> None:
    then, now = ((3.0, 3.0),), ((4.0,),)
    strip = draw_strip(comparison(then, now), then, now)
    assert strip is not None
    assert strip.text == "Baseline: 2 rounds, 3 ns; Current: 1 round, 4 ns"


def test_rounds_on_one_pixel_are_drawn_once() -> None:
    now = ((*(1000.0 + number / 1e6 for number in range(500)), 2000.0),)
    strip = draw_strip(comparison((), now), (), now)
    assert strip is not None
    assert len(marks(strip.now)) == 2


def test_what_cannot_be_drawn_is_not() -> None:
    now = ((1.0, math.nan, math.inf, 2.0),)
    part = comparison((), ((1.0, 2.0),), limit=math.inf)
    strip = draw_strip(part, (), now)
    assert strip is not None
    assert len(marks(strip.now)) == 2
    huge = ((-1.7e308, 1.7e308),)
    assert draw_strip(comparison((), huge), (), huge) is None


VALUES = st.floats(0, 1e12, allow_nan=False)
PROCESSES = st.lists(st.lists(VALUES, max_size=12).map(tuple), max_size=12).map(tuple)


@given(PROCESSES, PROCESSES, st.none() | VALUES, st.none() | VALUES)
def test_everything_is_within_the_box(
    then: Samples, now: Samples, limit: float | None, noise: float | None
) -> None:
    strip = draw_strip(comparison(then, now, limit, noise), then, now)
    if strip is None:
        return
    assert 0 < strip.bottom <= 110
    assert strip.bottom < strip.height
    for x, y in (*marks(strip.then), *marks(strip.now)):
        assert 0 <= x <= WIDTH
        assert 0 <= y <= strip.bottom
    for bar in filter(None, (strip.limit, strip.noise)):
        assert float(bar.x) >= 0
        assert float(bar.x) + float(bar.width) <= WIDTH
    assert len(strip.ticks) >= 2
    places = [float(tick.x) for tick in strip.ticks]
    assert places == sorted(places)
    assert places[0] >= 0
    assert places[-1] <= WIDTH


def ticks(*values: float, key: str = "gpu.kernel_time") -> list[tuple[str, str]]:
    now = (values,)
    strip = draw_strip(replace(comparison((), now), metric=lookup(key)), (), now)
    assert strip is not None
    return [(tick.text, tick.anchor) for tick in strip.ticks]


def test_the_axis_has_round_numbers_and_a_unit() -> None:
    assert ticks(44e3, 188e3) == [("50", "start"), ("100", "middle"), ("150 us", "middle")]
    assert ticks(2.3651e6, 2.3691e6) == [("2.366", "middle"), ("2.368 ms", "middle")]
    assert ticks(1, 5, key="gpu.kernel_count")[-1] == ("5", "end")
    assert ticks(64 * 2**20, 192 * 2**20, key="mem.peak")[-1] == ("150 MiB", "middle")
    assert ticks(10, 31, key="gpu.busy_pct")[-1] == ("30%", "end")
    assert ticks(95, 199, key="client.tokens_per_s")[-1][0].endswith("/s")


def test_the_axis_of_what_differs_in_its_last_digits_has_both_ends() -> None:
    assert ticks(2.3651e6, 2.3669e6) == [("2.3651", "start"), ("2.3669 ms", "end")]
    assert ticks(1e12, 1e12 + 1) == [("1000", "start"), ("1000 s", "end")]
