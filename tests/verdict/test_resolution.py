"""What the GPU's clock is good for: two ticks for each kernel."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_nsys.catalogue import lookup
from pytest_nsys.measure.measurement import Part
from pytest_nsys.plan.marker import Spec
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.compare import compare
from pytest_nsys.verdict.resolution import resolution
from pytest_nsys.verdict.rule import default_rule
from pytest_nsys.verdict.verdict import Comparison, Resolution
from pytest_nsys.verdict.wording import format_limit
from tests.support import made


@pytest.mark.parametrize(
    ("key", "ns"),
    [
        ("gpu.kernel_time", 320),
        ("gpu.busy", 320),
        ("kernel[gemm*].time", 128),
        ("category[norm].time", 192),
        ("gpu.kernel_time.per_token", 32),
        ("wall.time", 0),
        ("gpu.kernel_count", 0),
        ("memcpy.h2d.time", 0),
    ],
)
def test_it_is_that_of_the_kernels_a_time_is_made_of(key: str, ns: float) -> None:
    parts = (Part("gemm_a", 2, ns=50, category="gemm"), Part("norm", 3, ns=9, category="norm"))
    window = made.kernels(*parts, token=10)
    fewer = made.kernels(Part("gemm_a", 1, ns=50, category="gemm"), token=10)
    found = resolution(lookup(key), window, fewer)
    assert (found.amount, found.cause) == (pytest.approx(ns), "clock")


def _compared(now_us: float, tolerance: Tolerance) -> Comparison:
    spec = Spec(warmup=1, rounds=5, timeout_s=1, tolerance={"gpu.kernel_time": tolerance})
    then = made.measurement(made.kernels(Part("tiny", 300, ns=304_000)))
    now = made.measurement(made.kernels(Part("tiny", 300, ns=now_us * 1000)))
    (found,) = (
        part
        for part in compare(spec, now, then, default_rule)
        if part.metric.key == "gpu.kernel_time"
    )
    return found


@pytest.mark.parametrize(
    ("now_us", "status"), [(304, "ok"), (312, "ok"), (319, "inconclusive"), (330, "regressed")]
)
def test_what_one_process_differs_from_another_by_is_no_regression(
    now_us: float, status: str
) -> None:
    found = _compared(now_us, Tolerance(relative=0.03))
    assert found.status == status
    assert found.resolution == Resolution(300 * 64, "clock")
    assert found.beyond is (now_us > 304 * 1.03)
    if status == "inconclusive":
        assert found.note.startswith("gpu.kernel_time moved by less than 64 ns a kernel")


def test_a_tolerance_above_it_is_what_counts() -> None:
    assert _compared(326, Tolerance(relative=0.1)).status == "ok"
    assert _compared(338, Tolerance(relative=0.1)).status == "regressed"


def _elsewhere(now_ms: float, then_gpus: tuple[str, ...], now_gpus: tuple[str, ...]) -> Comparison:
    spec = Spec(1, 5, 1, tolerance={"gpu.kernel_time": Tolerance(relative=0.03)})
    then, now = (
        made.measurement(
            made.kernels(Part("gemm", 4, ns=ms * 1e6)),
            environment=replace(made.ENVIRONMENT, gpu_digests=gpus),
        )
        for ms, gpus in ((1.0, then_gpus), (now_ms, now_gpus))
    )
    return next(
        part
        for part in compare(spec, now, then, default_rule)
        if part.metric.key == "gpu.kernel_time"
    )


@pytest.mark.parametrize(
    ("now_ms", "status"), [(1.02, "ok"), (1.04, "inconclusive"), (1.06, "regressed")]
)
def test_another_gpu_of_the_model_may_be_a_little_slower(now_ms: float, status: str) -> None:
    found = _elsewhere(now_ms, ("a",), ("b",))
    assert found.status == status
    assert format_limit(found) == "5.0% (another GPU)"
    if status == "inconclusive":
        assert "that of another GPU of this model, and one may be 5% slower" in found.note


@pytest.mark.parametrize(
    ("then", "now"), [((), ("b",)), (("a",), ()), (("a",), ("a",)), (("a", "b"), ("b",))]
)
def test_where_it_may_be_the_same_gpu_nothing_is_wider(
    then: tuple[str, ...], now: tuple[str, ...]
) -> None:
    assert _elsewhere(1.04, then, now).status == "regressed"


def test_another_gpu_comes_on_top_of_the_clock() -> None:
    window = made.kernels(Part("tiny", 300, ns=304_000))
    found = resolution(lookup("gpu.kernel_time"), window, window, another_gpu=True)
    assert found == Resolution(300 * 64 + 0.05 * 304_000, "gpu")


def test_only_times_of_kernels_that_were_measured_have_it() -> None:
    other = Resolution(0.05, "gpu")
    window = made.window({"gpu.kernel_time": [1.0]})
    assert resolution(lookup("gpu.kernel_time"), window, window, another_gpu=True) == other
    assert resolution(lookup("wall.time"), window, window, another_gpu=True).amount == 0
    assert resolution(lookup("gpu.busy"), window, window, another_gpu=True).amount == 0
