"""What an update leaves as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_nsys.measure.measurement import Measurement, Part
from pytest_nsys.plan.marker import Spec
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.judge import Policy, judge
from pytest_nsys.verdict.rule import default_rule
from pytest_nsys.verdict.unchanged import is_unchanged
from tests.support import made

SPEC = Spec(warmup=1, rounds=5, timeout_s=60)


def measured(ns: float = 1e6, label: str = "gemm", count: float = 2, **more: float) -> Measurement:
    return made.measurement(made.kernels(Part(label, count, ns=ns), **more))


THEN = measured()


@pytest.mark.parametrize(
    ("now", "unchanged"),
    [
        (measured(), True),
        (measured(1.001e6), True),
        (measured(1.02e6), False),  # within the tolerance, and more than noise
        (measured(0.9e6), False),
        (measured(label="gemm_b"), False),
        (measured(count=3), False),
        (measured(token=5), False),
        (replace(THEN, warmup=2), False),
        (replace(THEN, rounds=6), False),
        (replace(THEN, environment=replace(THEN.environment, date="2031-01-01")), True),
        (replace(THEN, environment=replace(THEN.environment, nsys="2031.1")), False),
        (replace(THEN, windows={**THEN.windows, "more": THEN.windows["test"]}), False),
    ],
)
def test_only_what_noise_explains_is_no_change(now: Measurement, unchanged: bool) -> None:
    assert is_unchanged(SPEC, now, THEN, default_rule) is unchanged
    verdict = judge(SPEC, now, THEN, Policy("update"))
    assert verdict.status == ("ok" if unchanged else "new")


def test_more_processes_are_more_to_know() -> None:
    window = THEN.windows["test"]
    more = replace(window, samples={key: of * 3 for key, of in window.samples.items()})
    wide = replace(THEN, windows={"test": more})
    assert not is_unchanged(SPEC, wide, THEN, default_rule)
    assert is_unchanged(SPEC, THEN, wide, default_rule)


def test_a_metric_that_is_newly_gated_is_a_change() -> None:
    spec = replace(SPEC, tolerance={"mem.peak": Tolerance()})
    now = made.measurement(made.kernels(Part("gemm", 2, ns=1e6)))
    window = now.windows["test"]
    samples = {**window.samples, "mem.peak": ((5.0,),)}
    now = replace(now, windows={"test": replace(window, samples=samples)})
    assert not is_unchanged(spec, now, THEN, default_rule)
