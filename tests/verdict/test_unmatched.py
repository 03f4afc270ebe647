"""Patterns that matched nothing in a run."""

from __future__ import annotations

from pytest_nsys.measure.measurement import Part
from pytest_nsys.verdict.unmatched import never_matched
from tests.support import made

GEMM, TYPO = "kernel[gemm*].time", "kernel[gemmm*].time"


def test_a_tolerance_of_the_run_is_void_where_no_test_has_what_it_names() -> None:
    some = made.measurement(made.window({GEMM: [5.0], TYPO: [0.0]}, Part("gemm", 1)))
    none = made.measurement(made.window({GEMM: [0.0], TYPO: [0.0]}))
    keys = ["*", "gpu.kernel_time", GEMM, TYPO]
    assert never_matched(keys, [some, none]) == [
        f"{TYPO} matched nothing in any test; nearest: gemm"
    ]
    assert never_matched(keys, [none]) == [
        f"{key} matched nothing in any test; there is no kernel at all" for key in (GEMM, TYPO)
    ]
    assert never_matched(keys, []) == [], "nothing was measured"
    assert never_matched(["kernel[other].time"], [some]) == [], "that was not looked for"
