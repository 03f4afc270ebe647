"""The rule that tells a change from noise, and the parts that a change is made of."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_nsys.catalogue import METRICS, Metric, lookup
from pytest_nsys.measure.measurement import (
    Part,
    Samples,
    WindowMeasurement,
    process_medians,
)
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.culprit import contributions
from pytest_nsys.verdict.rule import FAMILY_LEVEL, default_rule
from tests.support import made

TIME = lookup("gpu.kernel_time")
COUNT = lookup("gpu.kernel_count")
DOWN = replace(TIME, worse="down")  # with the same prior

samples = st.lists(st.integers(0, 10_000).map(float), min_size=1, max_size=8)
processes = st.lists(samples.map(tuple), min_size=1, max_size=3).map(tuple)
tolerances = st.builds(
    Tolerance, st.sampled_from([0.0, 0.03, 0.5]), st.sampled_from([0.0, 20.0, 5000.0])
)
metrics = st.sampled_from([TIME, COUNT, DOWN, replace(COUNT, worse="down")])


def _times(*values: float) -> Samples:
    return (tuple(map(float, values)),)


def _decision(
    metric: Metric,
    tolerance: Tolerance,
    baseline: Samples,
    current: Samples,
    level: float = FAMILY_LEVEL,
) -> str:
    return default_rule(metric, tolerance, baseline, current, level=level).decision


@pytest.mark.parametrize(
    ("tolerance", "baseline", "current", "decision"),
    [
        (Tolerance(0.1), [100, 100, 100], [110, 110, 110], "ok"),
        (Tolerance(0.1), [100, 100, 100], [110.1, 111, 112], "regressed"),
        (Tolerance(0.1), [100, 100, 100], [90, 90, 90], "ok"),
        (Tolerance(0.1), [100, 100, 100], [89, 89, 89], "improved"),
        (Tolerance(0.1, 50), [100, 100, 100], [150, 150, 150], "ok"),
        (Tolerance(0.1, 50), [1000, 1000, 1000], [1100, 1100, 1100], "ok"),
        (Tolerance(0.1, 50), [1000, 1000, 1000], [1101, 1101, 1101], "regressed"),
        (Tolerance(), [0], [0], "ok"),
        (Tolerance(0.5), [0], [1], "regressed"),
        # Every process is a little different, however alike its rounds are.
        (Tolerance(0.001), [1000] * 5, [1005] * 5, "inconclusive"),
        (Tolerance(0.001), [1000] * 5, [1030] * 5, "regressed"),
    ],
)
def test_a_timed_metric_is_judged_by_its_medians(
    tolerance: Tolerance, baseline: list[float], current: list[float], decision: str
) -> None:
    assert _decision(TIME, tolerance, _times(*baseline), _times(*current)) == decision


NOISY = _times(90, 95, 100, 105, 110)


@pytest.mark.parametrize(
    ("current", "decision"),
    [
        (NOISY, "inconclusive"),  # as it was, but +3 % would not have been seen either
        (_times(95, 100, 105, 110, 115), "inconclusive"),
        (_times(140, 145, 150, 155, 160), "regressed"),
        (_times(40, 45, 50, 55, 60), "improved"),
        (_times(70, 75, 80, 85, 90), "ok"),  # too little to be sure of, and surely no slow-down
    ],
)
def test_noise_that_hides_the_tolerance_is_told_from_a_change_that_is_larger(
    current: Samples, decision: str
) -> None:
    ruling = default_rule(TIME, Tolerance(0.03), NOISY, current)
    assert ruling.decision == decision
    assert ruling.noise is not None
    assert 3 < ruling.limit < ruling.detectable


def test_a_ruling_says_what_was_compared_and_what_would_have_been_seen() -> None:
    ruling = default_rule(TIME, Tolerance(0.03), _times(*[1000] * 5), _times(*[1050] * 5))
    assert (ruling.decision, ruling.baseline, ruling.current) == ("regressed", 1000, 1050)
    # Nothing seen, so the prior of 0.3 % with four degrees of freedom is all there is:
    # 0.003 * 1050 in each of two processes, and t(4, 95 %) = 2.132.
    assert ruling.noise == pytest.approx(0.003 * 1050 * math.sqrt(2))
    assert ruling.limit == 30
    assert ruling.detectable == pytest.approx(30 + 2.1318 * ruling.noise, rel=1e-4)
    assert ruling.beyond


def test_more_sessions_find_smaller_changes() -> None:
    found = [
        default_rule(TIME, Tolerance(0.001), ((1000.0,) * 5,) * n, ((1000.0,) * 5,) * n).detectable
        for n in (1, 2, 3, 5, 9)
    ]
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0] / 3


def test_more_rounds_find_smaller_changes_down_to_what_sessions_differ_by() -> None:
    noisy = (90.0, 110.0, 95.0, 105.0, 100.0)
    found = [
        default_rule(TIME, Tolerance(0.001), (noisy * n,), (noisy * n,)).detectable
        for n in (1, 2, 4, 1000, 2000)
    ]
    assert found == sorted(found, reverse=True)
    assert found[-1] > 0.003 * 100


# Measured: 12 kernels of topk, which some processes lay out otherwise.
QUIET = ((429.4, 427.7, 428.7), (429.2, 428.7, 427.3), (431.7, 430.0, 429.3))
AS_BEFORE, SLOWER = (430.8, 429.1, 430.0), (454.1, 454.3, 452.8)


@pytest.mark.parametrize("current", [(SLOWER, AS_BEFORE, SLOWER), (SLOWER, SLOWER, AS_BEFORE)])
def test_a_regression_is_seen_in_every_process(current: Samples) -> None:
    ruling = default_rule(TIME, Tolerance(0.03), QUIET, current)
    assert (ruling.decision, ruling.doubt, ruling.beyond) == ("inconclusive", "process", True)
    assert default_rule(TIME, Tolerance(0.03), QUIET, (SLOWER,) * 3).decision == "regressed"


def test_an_improvement_is_seen_in_every_session_or_is_none() -> None:
    faster = (400.0, 401.0, 402.0)
    ruling = default_rule(TIME, Tolerance(0.03), QUIET, (faster, (430.0, 429.5, 428.0), faster))
    assert (ruling.decision, ruling.doubt) == ("ok", "process")
    assert default_rule(TIME, Tolerance(0.03), QUIET, (faster,) * 3).decision == "improved"


def test_a_change_of_the_medians_that_the_ranks_deny_is_inconclusive() -> None:
    baseline, current = _times(*[100] * 5), _times(100, 150, 150, 150)
    ruling = default_rule(TIME, Tolerance(0.03), baseline, current)
    assert (ruling.decision, ruling.beyond, ruling.limit) == ("inconclusive", True, 3)
    # Five of five is more than chance, and so few rounds that they cannot tell do not count.
    assert _decision(TIME, Tolerance(0.03), baseline, _times(*[150] * 5)) == "regressed"
    assert _decision(TIME, Tolerance(0.03), _times(100), _times(150)) == "regressed"


def test_one_odd_session_of_three_does_not_decide() -> None:
    steady: Samples = ((1000.0,) * 5,) * 3
    odd: Samples = ((1000.0,) * 5, (1200.0,) * 5, (1000.0,) * 5)
    assert _decision(TIME, Tolerance(0.03), steady, odd) != "regressed"
    assert _decision(TIME, Tolerance(0.03), odd, steady) != "regressed"


def test_a_change_in_every_session_is_found_though_sessions_differ() -> None:
    then: Samples = ((1000.0,) * 5, (1004.0,) * 5, (998.0,) * 5)
    now: Samples = ((1050.0,) * 5, (1046.0,) * 5, (1055.0,) * 5)
    assert _decision(TIME, Tolerance(0.03), then, now) == "regressed"
    assert _decision(TIME, Tolerance(0.03), now, then) == "improved"


def test_a_smaller_share_of_false_alarms_asks_for_a_larger_change() -> None:
    one, many = (
        default_rule(TIME, Tolerance(0.001), NOISY, NOISY, level=level) for level in (0.01, 0.0001)
    )
    assert many.limit > one.limit
    assert many.detectable > one.detectable


@pytest.mark.parametrize(
    ("tolerance", "baseline", "current", "decision"),
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
    tolerance: Tolerance, baseline: list[float], current: list[float], decision: str
) -> None:
    ruling = default_rule(COUNT, tolerance, _times(*baseline), _times(*current))
    assert ruling.decision == decision
    assert (ruling.noise, ruling.beyond) == (None, False)
    assert min(baseline) <= ruling.baseline <= max(baseline)
    assert (ruling.current - ruling.baseline > ruling.limit) is (decision == "regressed")


def test_one_process_is_enough_for_an_exact_metric_to_be_worse_and_all_to_be_better() -> None:
    then, more, less = _times(100, 100), _times(300, 300), _times(50, 50)
    for now in ([*more, *then, *then], [*then, *more, *less]):
        ruling = default_rule(COUNT, Tolerance(), then, tuple(now))
        assert (ruling.decision, ruling.baseline, ruling.current) == ("regressed", 100, 300)
    assert _decision(COUNT, Tolerance(), then, (*less, *less, *then)) == "ok"
    ruling = default_rule(COUNT, Tolerance(absolute=20), then, _times(100, 110, 130, 100, 100))
    assert (ruling.decision, ruling.strays) == ("ok", 1)


def test_the_range_of_an_exact_metric_is_that_of_all_processes() -> None:
    baseline: Samples = ((100.0, 100.0), (200.0, 200.0))
    assert _decision(COUNT, Tolerance(), baseline, _times(200)) == "ok"
    assert _decision(COUNT, Tolerance(), baseline, _times(201)) == "regressed"


@given(metrics, tolerances, processes)
def test_a_measurement_is_never_worse_or_better_than_itself(
    metric: Metric, tolerance: Tolerance, found: Samples
) -> None:
    decision = _decision(metric, tolerance, found, found)
    assert decision == "ok" or (metric.kind == "timed" and decision == "inconclusive")


@given(st.integers(0, 10_000), processes, st.sampled_from(["up", "down"]))
def test_without_tolerance_a_deterministic_exact_metric_must_be_equal(
    value: int, current: Samples, worse: str
) -> None:
    metric = replace(COUNT, worse=worse)  # type: ignore[arg-type]
    ruling = default_rule(metric, Tolerance(), ((float(value),) * 3,), current)
    sign = 1 if worse == "up" else -1
    changes = [sign * (median - value) for median in process_medians(current)]
    expected = "regressed" if max(changes) > 0 else "improved" if max(changes) < 0 else "ok"
    assert ruling.decision == expected
    every = [sign * (sample - value) for process in current for sample in process]
    assert ruling.strays == (0 if expected == "regressed" else sum(one > 0 for one in every))


ORDER = ["improved", "ok", "inconclusive", "regressed"]


@given(metrics, tolerances, processes, processes, st.integers(0, 5000))
def test_getting_worse_never_makes_the_verdict_milder(
    metric: Metric, tolerance: Tolerance, baseline: Samples, current: Samples, step: int
) -> None:
    sign = 1 if metric.worse == "up" else -1
    # Times are never below zero; where they would be, the noise has another size.
    assume(sign > 0 or min(min(process) for process in current) >= step)
    worse = tuple(tuple(sample + sign * step for sample in process) for process in current)
    before = _decision(metric, tolerance, baseline, current)
    after = _decision(metric, tolerance, baseline, worse)
    assert ORDER.index(after) >= ORDER.index(before)


@given(metrics, processes, processes, tolerances, tolerances)
def test_a_wider_tolerance_never_finds_more(
    metric: Metric, baseline: Samples, current: Samples, one: Tolerance, other: Tolerance
) -> None:
    assume(one.relative <= other.relative and one.absolute <= other.absolute)
    narrow = _decision(metric, one, baseline, current)
    wide = _decision(metric, other, baseline, current)
    assert (
        wide
        in {
            "improved": ("improved", "ok"),
            "ok": ("ok",),
            "inconclusive": ("inconclusive", "ok"),
            "regressed": ("regressed", "inconclusive", "ok"),
        }[narrow]
    )


@given(tolerances, processes, processes)
def test_the_direction_turns_the_verdict_round(
    tolerance: Tolerance, baseline: Samples, current: Samples
) -> None:
    turned = {"improved": "regressed", "regressed": "improved"}
    up = _decision(TIME, tolerance, baseline, current)
    down = _decision(DOWN, tolerance, baseline, current)
    if up in turned:
        assert down == turned[up]
    else:
        assert down in ("ok", "inconclusive")


@given(metrics, tolerances, processes, processes)
def test_what_a_ruling_says_belongs_together(
    metric: Metric, tolerance: Tolerance, baseline: Samples, current: Samples
) -> None:
    ruling = default_rule(metric, tolerance, baseline, current)
    change = (ruling.current - ruling.baseline) * (1 if metric.worse == "up" else -1)
    assert ruling.limit >= tolerance.limit(ruling.baseline)
    if ruling.decision == "regressed":
        assert change > ruling.limit
        assert ruling.beyond is (metric.kind == "timed")
    if ruling.decision == "ok":
        assert change <= ruling.limit
        assert not ruling.beyond
    if metric.kind == "timed":
        assert ruling.noise is not None
        assert ruling.detectable >= ruling.limit


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
