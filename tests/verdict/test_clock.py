"""Slow-downs that are the clock's, and those that are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from pytest_nsys.catalogue import lookup
from pytest_nsys.measure.measurement import Measurement, WindowMeasurement
from pytest_nsys.plan.marker import Spec
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.clock import at_clock, clocks, depends_on_clock
from pytest_nsys.verdict.judge import Policy, judge
from pytest_nsys.verdict.verdict import Verdict
from tests.support import made

SPEC = Spec(warmup=1, rounds=5, timeout_s=1800)


def _window(
    times: Sequence[float], clock: Sequence[float] | None, **more: Sequence[float]
) -> WindowMeasurement:
    samples = {"gpu.kernel_time": times, "gpu.kernel_count": [1] * len(times)}
    samples |= {key.replace("__", "."): values for key, values in more.items()}
    if clock is not None:
        samples["gpu.sm_clock"] = clock
    return made.window(samples)


def _verdict(now: WindowMeasurement, then: WindowMeasurement, spec: Spec = SPEC) -> Verdict:
    return judge(spec, made.measurement(now), made.measurement(then), Policy("gate"))


FAST = _window([1e6] * 5, [1.98e9] * 5)


def test_a_slow_down_that_vanishes_in_cycles_is_inconclusive() -> None:
    verdict = _verdict(_window([1.1e6] * 5, [1.8e9] * 5), FAST)
    assert (verdict.status, verdict.failed) == ("inconclusive", False)
    (part,) = (p for p in verdict.comparisons if p.status == "inconclusive")
    assert part.note == (
        "the SM clock is 1.8 GHz, in the baseline 1.98 GHz: in cycles the change is ="
    )
    assert part.culprits == ()
    assert verdict.is_suspected


@pytest.mark.parametrize(
    "now",
    [
        _window([1.5e6] * 5, [1.8e9] * 5),  # more than the clock explains
        _window([1.1e6] * 5, [1.98e9] * 5),  # the same clock
        _window([1.1e6] * 5, [2.2e9] * 5),  # a higher one
        _window([1.1e6] * 5, [1.97e9] * 5),  # as good as the same
        _window([1.1e6] * 5, None),  # not known
        _window([1.1e6] * 5, [1.8e9] * 4),  # not known of every round
    ],
)
def test_any_other_slow_down_is_a_regression(now: WindowMeasurement) -> None:
    assert _verdict(now, FAST).status == "regressed"


@pytest.mark.parametrize("clock", [None, [0.0] * 5, [1.98e9] * 4])
def test_without_the_baselines_clock_nothing_is_explained(clock: Sequence[float] | None) -> None:
    now = _window([1.1e6] * 5, [1.8e9] * 5)
    assert _verdict(now, _window([1e6] * 5, clock)).status == "regressed"


def test_every_round_is_put_at_its_own_clock() -> None:
    # Two rounds were throttled, and took as many cycles as the others.
    clock = [1.98e9, 1.98e9, 0.99e9, 0.99e9, 0.99e9]
    now = _window([1e6 * 1.98e9 / hz for hz in clock], clock)
    assert at_clock(now.by_process("gpu.kernel_time"), now.by_process("gpu.sm_clock"), 1.98e9) == (
        pytest.approx((1e6,) * 5),
    )
    assert _verdict(now, FAST).status == "inconclusive"


def test_what_the_host_does_is_not_explained_by_the_gpus_clock() -> None:
    now = _window([1e6] * 5, [1.8e9] * 5, wall__time=[2e6] * 5)
    then = _window([1e6] * 5, [1.98e9] * 5, wall__time=[1e6] * 5)
    spec = replace(SPEC, tolerance={"wall.time": Tolerance(0.03)})
    verdict = _verdict(now, then, spec)
    assert [part.metric.key for part in verdict.worse] == ["wall.time"]


@pytest.mark.parametrize(
    ("key", "depends"),
    [
        ("gpu.kernel_time", True),
        ("gpu.kernel_time.per_token", True),
        ("gpu.busy", True),
        ("kernel[gemm*].time", True),
        ("category[gemm].time", True),
        ("range[fwd].gpu.kernel_time", True),
        ("nccl.time", True),
        ("gpu.idle", False),
        ("gpu.max_gap", False),
        ("gpu.kernel_count", False),
        ("gpu.busy_pct", False),
        ("gpu.sm_clock", False),
        ("wall.time", False),
        ("range[fwd].wall.time", False),
        ("memcpy.h2d.time", False),
        ("api.time", False),
    ],
)
def test_the_times_of_kernels_depend_on_the_clock(key: str, depends: bool) -> None:
    assert depends_on_clock(lookup(key)) is depends


def test_clocks_are_known_where_both_are_and_the_new_one_is_lower() -> None:
    high, low = ((1.98e9, 1.98e9),), ((1.5e9,), (1.5e9,))
    assert clocks(high, low) == (1.98e9, 1.5e9)
    assert clocks(low, high) is None
    assert clocks(high, ()) is None
    assert clocks((), low) is None


def test_a_named_part_of_a_test_has_the_clock_of_the_test() -> None:
    def measured(ns: float, hz: float) -> Measurement:
        part = made.window({"gpu.kernel_time": [ns] * 5, "gpu.kernel_count": [1] * 5}, name="fwd")
        return made.measurement(_window([2 * ns] * 5, [hz] * 5), part)

    verdict = judge(SPEC, measured(1.1e6, 1.8e9), measured(1e6, 1.98e9), Policy("gate"))
    unclear = [part.window for part in verdict.comparisons if part.status == "inconclusive"]
    assert (verdict.status, unclear) == ("inconclusive", ["test", "fwd"])
