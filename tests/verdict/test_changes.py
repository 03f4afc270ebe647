"""What a verdict alone does not say: what got better, and what changed below the limit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.measure.measurement import Measurement, Part
from pytest_nsys.plan.marker import Spec
from pytest_nsys.verdict.changes import (
    below_limit,
    below_limit_lines,
    improvement_lines,
    improvements,
)
from pytest_nsys.verdict.judge import Policy, judge
from pytest_nsys.verdict.verdict import Verdict
from tests.support import made

SPEC = Spec(warmup=1, rounds=5, timeout_s=1800)
GEMM = Part("gemm", 2, ns=1e6)


def _verdict(now: Measurement, then: Measurement | None) -> Verdict:
    return judge(SPEC, now, then, Policy("gate"))


def _kernels(**ns: float) -> Measurement:
    return made.measurement(made.kernels(GEMM, *(Part(name, 1, ns=t) for name, t in ns.items())))


def test_of_several_changes_the_largest_are_named() -> None:
    then = _kernels(a=1e4, b=1e4, c=1e4, d=1e4, gone=4e3)
    now = _kernels(a=1.4e4, b=0.5e4, c=1.9e4, d=1.45e4, new=6e3)
    assert below_limit_lines(_verdict(now, then)) == (
        "largest changes below the limit: c +90.0%, 9 us of 1.058 ms; new new, 6 us; "
        "b -50.0%, 5 us; and 1 more",
    )


def test_what_is_beyond_the_limit_and_may_be_noise_is_not_below_it() -> None:
    verdict = _verdict(_kernels(a=3e4), _kernels(a=1e4))
    assert below_limit_lines(verdict)
    doubtful = (replace(one, status="inconclusive", beyond=True) for one in verdict.comparisons)
    assert below_limit_lines(replace(verdict, comparisons=(*doubtful,))) == ()


def test_what_is_gone_is_called_so() -> None:
    (line,) = below_limit_lines(_verdict(_kernels(), _kernels(silu=2e4)))
    assert line == "largest changes below the limit: silu gone, 20 us of 1 ms"


def test_what_got_better_begins_with_what_helped_most() -> None:
    then, now = _kernels(a=4e5, b=2e5, c=1e4), _kernels(a=1e5, b=1e5, c=2e4)
    verdict = _verdict(now, then)
    assert improvement_lines(verdict) == (
        "gpu.kernel_time -24.2%, limit 3% or 5 us: a -300 us (1x); 1.61 ms -> 1.22 ms",
    )
    (better,) = improvements(verdict)
    assert [part.label for part in better.culprits] == ["a", "b", "c"]
    # The rest of it is no secret: what became slower meanwhile.
    assert below_limit_lines(verdict) == (
        "largest changes below the limit: c +100%, 10 us of 1.22 ms",
    )


@pytest.mark.parametrize("then", [None, replace(_kernels(a=1e4), warmup=2)])
def test_without_a_comparison_nothing_is_told(then: Measurement | None) -> None:
    verdict = _verdict(_kernels(a=2e4), then)
    assert below_limit_lines(verdict) == improvement_lines(verdict) == ()


_times = st.dictionaries(st.sampled_from("abcdef"), st.floats(1e3, 1e6), max_size=6)


@given(_times, _times)
def test_what_is_told_changed_by_as_much_as_it_is_said_to(
    then: dict[str, float], now: dict[str, float]
) -> None:
    verdict = _verdict(_kernels(**now), _kernels(**then))
    for part in below_limit(verdict):
        assert part.status in ("ok", "improved", "inconclusive")
        sizes = [abs(one.change) for one in part.culprits]
        assert sizes == sorted(sizes, reverse=True)
        for one in part.culprits:
            change = now.get(one.label, 0) - then.get(one.label, 0)
            assert one.change == pytest.approx(change)
            assert abs(change) >= 0.05 * then.get(one.label, 0)
    for part in improvements(verdict):
        assert part.status == "improved"
        assert part.gated
