"""The roofline: to scale, within its box, and the same as the metrics say."""

from __future__ import annotations

import math
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.report.html.roofline_svg import (
    HEIGHT,
    WIDTH,
    Point,
    Roofs,
    point_of,
    roofline_svg,
    roofline_words,
    roofs_of,
)
from tests.support.page_samples import under_a_roof

H200 = Roofs(989.4e12, 4.814304e12, "bf16")

points = st.builds(Point, st.floats(1e-3, 1e5), st.floats(1e6, 1e16))
roofs = st.builds(Roofs, st.floats(1e11, 1e16), st.floats(1e10, 1e13), st.just("bf16"))


def drawn(now: Point, then: Point | None, of: Roofs) -> ElementTree.Element:
    return ElementTree.fromstring(roofline_svg(now, then, of, "words & <more>"))


def spots(root: ElementTree.Element) -> dict[str, tuple[float, float]]:
    """Where the points are: the first circle of each class; the second is the legend's."""
    found: dict[str, tuple[float, float]] = {}
    for circle in root.iter("circle"):
        place = float(circle.get("cx") or 0), float(circle.get("cy") or 0)
        found.setdefault(circle.get("class") or "", place)
    return found


def roof_line(root: ElementTree.Element) -> list[float]:
    """Foot x, foot y, ridge x, ridge y."""
    (path,) = (path for path in root.iter("path") if path.get("class") == "roof")
    bent = (path.get("d") or "")[1:].partition("H")[0]
    return [float(number) for corner in bent.split("L") for number in corner.split()]


@given(points, points, roofs)
def test_points_are_to_scale_below_their_roofs_and_in_the_box(
    now: Point, then: Point, of: Roofs
) -> None:
    root = drawn(now, then, of)
    at = spots(root)
    foot_x, foot_y, ridge_x, ridge_y = roof_line(root)
    places = [*at.values(), (foot_x, foot_y), (ridge_x, ridge_y)]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
    assert root.get("aria-label") == "words & <more>"
    # In both directions, one factor is one distance.
    for axis, values in enumerate(
        zip(*((one.intensity, one.flops_per_s) for one in (now, then)), strict=True)
    ):
        ridge = (of.ridge, of.flops_per_s)[axis]
        logs = [math.log10(value / ridge) for value in values]
        gaps = [at[name][axis] - (ridge_x, ridge_y)[axis] for name in ("now", "then")]
        assert gaps[0] * logs[1] == pytest.approx(gaps[1] * logs[0], abs=0.5)
        assert all(gap * log * (1, -1)[axis] >= -0.1 for gap, log in zip(gaps, logs, strict=True))


def test_without_a_baseline_there_is_one_point() -> None:
    assert spots(drawn(Point(1, 1e12), None, H200)).keys() == {"now"}


@pytest.mark.parametrize(
    ("now", "then", "words"),
    [
        (
            Point(0.25, 0.25 * 0.8 * 4.814304e12),
            None,
            "Memory bound: 80.0% of the peak bandwidth of GPU, 4.814 TB/s. Its 0.25 FLOP/B are "
            "below the ridge at 205.5, where both peaks meet.",
        ),
        (
            Point(2731, 0.75 * 989.4e12),
            Point(2731, 0.7 * 989.4e12),
            "Compute bound: 75.0% (baseline: 70.0%) of the bf16 peak of GPU, 989.4 TFLOP/s. Its "
            "2731 FLOP/B are above the ridge at 205.5, where both peaks meet.",
        ),
        (
            Point(1, 0.1 * 4.814304e12),
            None,
            "Below its roof: 10.0% of the peak bandwidth of GPU, 4.814 TB/s. Its 1 FLOP/B are "
            "below the ridge at 205.5, where both peaks meet. Neither peak is near: something "
            "else limits it, such as latency or occupancy.",
        ),
    ],
)
def test_the_words_say_what_limits(now: Point, then: Point | None, words: str) -> None:
    assert roofline_words(now, then, H200, "GPU") == words


def test_the_peaks_are_those_of_the_shares() -> None:
    window = under_a_roof().measurement.windows["test"]
    found = roofs_of(window)
    assert found is not None
    assert found.flops_per_s == pytest.approx(66.9e12)
    assert found.bytes_per_s == pytest.approx(4.814304e12)
    assert found.precision == "fp32"
    assert point_of(window) == Point(0.25, window["gpu.flops_per_s"])


@pytest.mark.parametrize(
    "missing", ["work.flops", "work.bytes", "gpu.pct_peak_flops", "gpu.pct_peak_bw"]
)
def test_without_work_or_peak_there_is_no_drawing(missing: str) -> None:
    window = under_a_roof().measurement.windows["test"]
    kept = {key: samples for key, samples in window.samples.items() if key != missing}
    window = replace(window, samples=kept)
    assert point_of(window) is None or roofs_of(window) is None
    assert point_of(None) is roofs_of(None) is None
    # A baseline may hold whatever somebody wrote into it.
    strange = replace(window, samples={**kept, missing: ((-1.0,),)})
    assert point_of(strange) is None or roofs_of(strange) is None
