"""Charts of a metric over the runs: paths that say what was measured, and nothing more."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.report.html.history.chart import HEIGHT, draw_chart
from pytest_nsys.report.html.history.model import Chart
from pytest_nsys.storage.history.document import Entry
from pytest_nsys.storage.history.overview import run_key
from pytest_nsys.storage.history.store import Series
from pytest_nsys.storage.history.trend import Trend, trends_of

START = datetime(2026, 10, 1, tzinfo=timezone.utc)
DAYS = ("2026-10-01", "2026-11-30")


def trend(values: Sequence[float], metric: str = "gpu.kernel_time") -> Trend:
    """A run a day."""
    entries = tuple(
        Entry(
            "t.py::t",
            "nvidia-h200",
            START + timedelta(days=day),
            driver="570" if day < 20 else "580",
            windows={"test": {metric: (value, 5)}},
        )
        for day, value in enumerate(values)
    )
    (test,) = trends_of([Series("t.py::t", "nvidia-h200", entries)], metrics=[metric])
    return test.trends[0]


def drawn(of: Trend, *, first: int = 0, most: int | None = None) -> Chart | None:
    """Its chart, on a page whose runs begin with one of its own."""
    slots = {run_key(entry): number for number, entry in enumerate(of.entries[first:])}
    return draw_chart(of, slots, DAYS, most)


def chart(of: Trend, *, first: int = 0, most: int | None = None) -> Chart:
    found = drawn(of, first=first, most=most)
    assert found is not None
    return found


def places(line: str) -> list[tuple[int, int]]:
    """Where the path of a chart's values goes, read as the page's script reads it."""
    numbers = [int(number) for number in re.findall(r"-?\d+", line)]
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    return list(itertools.accumulate(pairs, lambda one, two: (one[0] + two[0], one[1] + two[1])))


def values_of(of: Chart) -> list[float]:
    """The values that a script reads from the drawing."""
    high, low = float(of.high_value), float(of.low_value)
    return [high - y / HEIGHT * (high - low) for _, y in places(of.line)]


NOISE = [1e6 + 4e3 * (run * 7 % 11 - 5) / 5 for run in range(40)]
STEP = [value + 5e4 * (run >= 20) for run, value in enumerate(NOISE)]
RISE = [value + 2e3 * run for run, value in enumerate(NOISE)]

numbers = st.one_of(
    st.floats(-(2.0**200), 2.0**200), st.floats(0.9e6, 1.1e6), st.sampled_from([0.0, 1.0, 1e300])
)


@given(st.lists(numbers, min_size=1, max_size=40), st.integers(0, 5))
def test_any_values_are_drawn_within_the_chart(values: list[float], first: int) -> None:
    of = trend(values)
    found = drawn(of, first=min(first, len(values) - 1))
    if found is None:
        return
    at = places(found.line)
    assert len(at) == len(values) - min(first, len(values) - 1)
    assert [x for x, _ in at] == list(range(len(at)))
    assert all(0 <= y <= HEIGHT for _, y in at)
    for path in (found.line, found.band, found.levels, found.slope, found.far):
        assert re.fullmatch(r"[mMlLhHvVz0-9 -]*", path)


@given(st.lists(st.floats(0.99e6, 1.01e6), min_size=2, max_size=40))
def test_a_script_reads_the_values_from_the_line(values: list[float]) -> None:
    found = chart(trend(values))
    span = float(found.high_value) - float(found.low_value)
    for read, value in zip(values_of(found), values, strict=True):
        assert read == pytest.approx(value, abs=span / HEIGHT)


def test_a_chart_is_as_high_as_the_tolerance_so_that_noise_looks_small() -> None:
    found = chart(trend(NOISE))
    assert found.high == "1.03 ms"
    assert found.low == "970 us"
    heights = [y for _, y in places(found.line)]
    assert max(heights) - min(heights) < HEIGHT / 4
    assert found.words == "1 ms \N{PLUS-MINUS SIGN} 0.7%"


def test_an_outlier_does_not_flatten_the_rest() -> None:
    values = list(NOISE)
    values[10] *= 50
    found = chart(trend(values))
    assert places(found.line)[10] == (10, 0)
    assert found.far == "M10 0v50"
    usual = [y for x, y in places(found.line) if x != 10]
    assert max(usual) - min(usual) > HEIGHT / 20


def test_a_change_of_level_has_a_mark_levels_and_a_band() -> None:
    found = chart(trend(STEP))
    (mark,) = found.marks
    assert (mark.x, mark.tone) == (20, "worse")
    assert mark.text == (
        "+5.0%, over the tolerance of 3% or 5 us, between 2026-10-20 00:00 and 2026-10-21 00:00, "
        "with driver 570 -> 580"
    )
    assert re.fullmatch(r"M0 \d+H19M20 \d+H39", found.levels)
    assert found.band.count("M") == 2
    assert not found.slope
    assert found.words == "1 ms \N{RIGHTWARDS ARROW} 1.05 ms (+5.0%)"
    better = chart(trend([*reversed(STEP)])).marks[0]
    assert better.tone == "better"


def test_a_drift_has_a_slope_that_its_band_follows() -> None:
    found = chart(trend(RISE))
    assert re.fullmatch(r"M0 \d+L39 \d+", found.slope)
    assert found.band.count("M") == 1
    assert "drifted +7." in found.text
    assert not found.marks


def test_counts_have_no_band() -> None:
    found = chart(trend([3.0] * 10 + [4.0] * 10, "gpu.kernel_count"))
    assert found.band == ""
    assert (found.high, found.low) == ("4", "3")
    assert found.words == "3 \N{RIGHTWARDS ARROW} 4 (+1)"


def test_runs_that_the_page_does_not_have_are_left_out() -> None:
    found = chart(trend(STEP), first=25)
    assert len(places(found.line)) == 15
    assert found.marks == ()
    assert re.fullmatch(r"M0 \d+H14", found.levels)
    of = trend(STEP)
    assert draw_chart(of, {(START - timedelta(days=1), ""): 0}, DAYS, None) is None


def test_a_thinned_chart_keeps_what_sticks_out() -> None:
    values = list(NOISE * 10)
    values[123] = 1.02e6
    values[321] = 0.98e6
    whole, thin = chart(trend(values)), chart(trend(values), most=60)
    at = places(thin.line)
    assert len(at) <= 62
    assert {*at} <= {*places(whole.line)}
    assert {0, 123, 321, 399} <= {x for x, _ in at}


def test_one_run_is_a_dot() -> None:
    assert chart(trend([1e6])).line.endswith("h0")
    assert drawn(trend([0.0], "gpu.kernel_count")) is None
