"""The rule of medians, and the parts that a change is made of."""

from __future__ import annotations

import statistics
from dataclasses import replace

import made
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_nsys.catalogue import METRICS, Metric, lookup
from pytest_nsys.gate.culprit import contributions
from pytest_nsys.gate.rule import median_rule
from pytest_nsys.measurement import Part, Sessions, WindowMeasurement
from pytest_nsys.quantities import Tolerance

TIME = lookup("gpu.kernel_time")
COUNT = lookup("gpu.kernel_count")
DOWN = replace(TIME, key="gpu.busy_pct", worse="down")

samples = st.lists(st.integers(0, 10_000).map(float), min_size=1, max_size=8)
sessions = st.lists(samples.map(tuple), min_size=1, max_size=3).map(tuple)
tolerances = st.builds(
    Tolerance, st.sampled_from([0.0, 0.03, 0.5]), st.sampled_from([0.0, 20.0, 5000.0])
)
metrics = st.sampled_from([TIME, COUNT, DOWN, replace(COUNT, worse="down")])


@pytest.mark.parametrize(
    ("tolerance", "baseline", "current", "outcome"),
    [
        (Tolerance(0.1), [100, 100, 100], [110, 110, 110], "ok"),
        (Tolerance(0.1), [100, 100, 100], [110.1, 111, 112], "regressed"),
        (Tolerance(0.1), [100, 100, 100], [90, 90, 90], "ok"),
        (Tolerance(0.1), [100, 100, 100], [89, 89, 89], "improved"),
        (Tolerance(0.1, 50), [100, 100, 100], [150, 150, 150], "ok"),
        (Tolerance(0.1, 50), [1000, 1000, 1000], [1100, 1100, 1100], "ok"),
        (Tolerance(0.1, 50), [1000, 1000, 1000], [1101, 1101, 1101], "regressed"),
        (Tolerance(0.1), [100, 100, 9000], [100, 105, 9000], "ok"),
        (Tolerance(), [100], [100], "ok"),
        (Tolerance(), [0], [0], "ok"),
        (Tolerance(0.5), [0], [1], "regressed"),
    ],
)
def test_a_timed_metric_is_judged_by_its_medians(
    tolerance: Tolerance, baseline: list[float], current: list[float], outcome: str
) -> None:
    assert median_rule(TIME, tolerance, (tuple(baseline),), (tuple(current),)) == outcome


@pytest.mark.parametrize(
    ("tolerance", "baseline", "current", "outcome"),
    [
        (Tolerance(), [12, 12, 12], [12, 12, 12], "ok"),
        (Tolerance(), [12, 12, 12], [13, 13, 13], "regressed"),
        (Tolerance(), [12, 12, 12], [11, 11, 11], "improved"),
        (Tolerance(), [12, 13, 14], [14, 14, 14], "ok"),
        (Tolerance(), [12, 13, 14], [15, 15, 15], "regressed"),
        (Tolerance(), [12, 13, 14], [11, 11, 11], "improved"),
        (Tolerance(absolute=2), [12, 12, 12], [14, 14, 14], "ok"),
        (Tolerance(absolute=2), [12, 12, 12], [15, 15, 15], "regressed"),
        (Tolerance(), [0], [1], "regressed"),
    ],
)
def test_an_exact_metric_is_compared_with_the_range_of_its_baseline(
    tolerance: Tolerance, baseline: list[float], current: list[float], outcome: str
) -> None:
    assert median_rule(COUNT, tolerance, (tuple(baseline),), (tuple(current),)) == outcome


def test_sessions_are_taken_together() -> None:
    baseline: Sessions = ((100.0, 100.0), (200.0, 200.0))
    assert median_rule(TIME, Tolerance(0.01), baseline, ((150.0,),)) == "ok"
    assert median_rule(COUNT, Tolerance(), baseline, ((200.0,),)) == "ok"


@given(metrics, tolerances, sessions)
def test_a_measurement_is_never_worse_or_better_than_itself(
    metric: Metric, tolerance: Tolerance, found: Sessions
) -> None:
    assert median_rule(metric, tolerance, found, found) == "ok"


@given(st.integers(0, 10_000), sessions, st.sampled_from(["up", "down"]))
def test_without_tolerance_a_deterministic_exact_metric_must_be_equal(
    value: int, current: Sessions, worse: str
) -> None:
    metric = replace(COUNT, worse=worse)  # type: ignore[arg-type]
    now = statistics.median(sample for session in current for sample in session)
    outcome = median_rule(metric, Tolerance(), ((float(value),) * 3,), current)
    assert (outcome == "ok") is (now == value)


@given(metrics, tolerances, sessions, sessions, st.integers(0, 5000))
def test_getting_worse_never_makes_the_verdict_milder(
    metric: Metric, tolerance: Tolerance, baseline: Sessions, current: Sessions, step: int
) -> None:
    order = ["improved", "ok", "regressed"]
    sign = 1 if metric.worse == "up" else -1
    worse = tuple(tuple(sample + sign * step for sample in session) for session in current)
    before = median_rule(metric, tolerance, baseline, current)
    after = median_rule(metric, tolerance, baseline, worse)
    assert order.index(after) >= order.index(before)


@given(metrics, sessions, sessions, tolerances, tolerances)
def test_a_wider_tolerance_never_finds_more(
    metric: Metric, baseline: Sessions, current: Sessions, one: Tolerance, other: Tolerance
) -> None:
    assume(one.relative <= other.relative and one.absolute <= other.absolute)
    narrow = median_rule(metric, one, baseline, current)
    wide = median_rule(metric, other, baseline, current)
    assert wide in (narrow, "ok")


@given(tolerances, sessions, sessions)
def test_the_direction_turns_the_verdict_round(
    tolerance: Tolerance, baseline: Sessions, current: Sessions
) -> None:
    turned = {"improved": "regressed", "regressed": "improved", "ok": "ok"}
    up = median_rule(TIME, tolerance, baseline, current)
    assert median_rule(DOWN, tolerance, baseline, current) == turned[up]


labels = st.sampled_from([f"{kind} {size}" for kind in ("h2d", "d2h") for size in "1234"])
whole = st.integers(0, 2**40).map(float)
parts = st.lists(
    st.builds(Part, label=labels, count=whole, ns=whole, bytes=whole),
    unique_by=lambda part: part.label,
)


@pytest.mark.parametrize(
    ("key", "attribute", "prefix"),
    [
        ("gpu.kernel_time", "ns", ""),
        ("gpu.kernel_count", "count", ""),
        ("memcpy.h2d.bytes", "bytes", "h2d "),
        ("memcpy.h2d.count", "count", "h2d "),
        ("memcpy.h2d.time", "ns", "h2d "),
        ("memcpy.d2h.bytes", "bytes", "d2h "),
        ("sync.count", "count", ""),
        ("memset.bytes", "bytes", ""),
    ],
)
@given(before=parts, after=parts)
def test_culprits_add_up_to_the_change_of_their_metric(
    key: str, attribute: str, prefix: str, before: list[Part], after: list[Part]
) -> None:
    metric = lookup(key)
    assert metric.breakdown is not None
    found = contributions(
        metric,
        made.window({}, *before, kind=metric.breakdown),
        made.window({}, *after, kind=metric.breakdown),
    )
    then, now = (
        sum(getattr(part, attribute) for part in side if part.label.startswith(prefix))
        for side in (before, after)
    )
    assert sum(part.change for part in found) == now - then
    changes = [part.change for part in found]
    assert changes == sorted(changes, reverse=True)
    assert all(changes)


def _kernels(*parts: Part, **units: float) -> WindowMeasurement:
    return replace(made.kernels(*parts), units=units)


def test_new_and_gone_kernels_are_culprits() -> None:
    then = _kernels(Part("old", 1, ns=30), Part("same", 2, ns=5))
    now = _kernels(Part("new", 3, ns=70), Part("same", 2, ns=5))
    new, gone = contributions(TIME, then, now)
    assert (new.label, new.baseline, new.change) == ("new", None, 70)
    assert (gone.label, gone.current, gone.change) == ("old", None, -30)


def test_what_is_worse_comes_first_also_where_down_is_worse() -> None:
    then = _kernels(Part("a", 1, ns=30), Part("b", 1, ns=10))
    now = _kernels(Part("a", 1, ns=10), Part("b", 1, ns=50))
    assert [part.label for part in contributions(TIME, then, now)] == ["b", "a"]
    assert [part.label for part in contributions(DOWN, then, now)] == ["a", "b"]


def test_a_metric_without_a_breakdown_has_no_culprits() -> None:
    then, now = _kernels(Part("a", 1, ns=30)), _kernels(Part("a", 1, ns=60))
    assert contributions(lookup("wall.time"), then, now) == ()


def test_culprits_of_a_family_are_the_kernels_it_selects() -> None:
    then = _kernels(Part("gemm_a", 1, ns=10, category="gemm"), Part("norm", 1, ns=10))
    now = _kernels(Part("gemm_a", 1, ns=40, category="gemm"), Part("norm", 1, ns=90))
    for key in ("kernel[gemm*].time", "category[gemm].time"):
        assert [p.label for p in contributions(lookup(key), then, now)] == ["gemm_a"]
    calls = made.window({}, Part("cudaMalloc", 3), Part("cudaFree", 3), kind="calls")
    none = made.window({}, Part("cudaMalloc", 1), kind="calls")
    found = contributions(lookup("api[cudaMalloc].count"), none, calls)
    assert [(part.label, part.change) for part in found] == [("cudaMalloc", 2)]


def test_culprits_of_a_family_are_found_by_raw_name_though_baselines_keep_none() -> None:
    then = _kernels(Part("gemm", 1, ns=10))
    now = _kernels(Part("gemm", 1, ns=40, raw=("gemm<64>",)))
    (found,) = contributions(lookup("kernel[gemm<64>].time"), then, now)
    assert (found.label, found.change) == ("gemm", 30)
    assert found.baseline is not None


def test_pageable_copies_are_those_that_say_so() -> None:
    then = made.window({}, Part("h2d 4 KiB", 2), kind="copies")
    now = made.window({}, Part("h2d 4 KiB pageable", 2), kind="copies")
    found = contributions(lookup("memcpy.pageable"), then, now)
    assert [(part.label, part.change) for part in found] == [("h2d 4 KiB pageable", 2)]


@pytest.mark.parametrize(
    "key",
    [
        "gpu.kernel_time.per_token",
        "kernel[gemm].time.per_token",
        "category[gemm].time.per_token",
        "gpu.kernel_time.per_token.per_head",
    ],
)
def test_culprits_of_a_metric_per_unit_are_per_unit(key: str) -> None:
    then = _kernels(Part("gemm", 1, ns=100, category="gemm"), token=10, head=2)
    now = _kernels(Part("gemm", 1, ns=150, category="gemm"), token=10, head=2)
    (found,) = contributions(lookup(key), then, now)
    assert found.change == pytest.approx(2.5 if "head" in key else 5)


def test_every_breakdown_of_a_metric_is_looked_at() -> None:
    for metric in METRICS:
        if metric.breakdown is not None:
            prefix = metric.key.split(".")[1] if metric.key.startswith("memcpy") else "x"
            label = "h2d 1 B pageable" if metric.key == "memcpy.pageable" else f"{prefix} 1 B"
            category = "comm" if metric.key.startswith("nccl") else ""
            part = Part(label, 1, ns=2, bytes=3, category=category)
            now = made.window({}, part, kind=metric.breakdown)
            (found,) = contributions(metric, made.window({}), now)
            assert found.change == {"1": 1, "ns": 2, "B": 3}[metric.unit]
