"""What a change is made of: kernels, of which one may go by another name now."""

from __future__ import annotations

import pytest

from pytest_nsys.catalogue import lookup
from pytest_nsys.measure.measurement import Part, Parts, WindowMeasurement
from pytest_nsys.verdict.culprit import contributions
from pytest_nsys.verdict.verdict import Comparison
from pytest_nsys.verdict.wording import told_of


def window(**kernels: float) -> WindowMeasurement:
    parts = (Part(name, 1, ns=ns, category="norm") for name, ns in kernels.items())
    return WindowMeasurement("test", {}, breakdown={"kernels": Parts(tuple(parts))})


@pytest.mark.parametrize("key", ["gpu.kernel_time", "kernel[rms_norm*].time"])
def test_a_renamed_kernel_is_one_part_of_a_change(key: str) -> None:
    metric = lookup(key)
    then, now = window(rms_norm=40e3, gelu=5e3), window(rms_norm_v2=52e3, gelu=5e3)
    (one,) = contributions(metric, then, now)
    assert (one.label, one.before, one.change) == ("rms_norm_v2", "rms_norm", 12e3)
    comparison = Comparison("test", metric, "regressed", True, 45e3, 57e3, culprits=(one,))
    assert told_of(comparison, one) == ("rms_norm_v2 +12 us (1x)", "was rms_norm")


def test_a_renamed_kernel_that_is_as_fast_is_no_part() -> None:
    metric = lookup("gpu.kernel_time")
    assert contributions(metric, window(rms_norm=40e3), window(rms_norm_v2=40e3)) == ()


def test_what_only_one_side_has_is_new_or_gone() -> None:
    metric = lookup("kernel[rms_norm].time")
    then, now = window(rms_norm=40e3), window(rms_norm_v2=52e3)
    (gone,) = contributions(metric, then, now)
    assert (gone.label, gone.before, gone.current) == ("rms_norm", "", None)
