"""Window by window, metric by metric: what is compared, at which level, and what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_nsys.catalogue import Metric
from pytest_nsys.measure.measurement import Measurement, Part, Samples, WindowMeasurement, centre
from pytest_nsys.plan.marker import Spec
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.compare import compare, difference
from pytest_nsys.verdict.rule import FAMILY_LEVEL, Ruling, default_rule
from pytest_nsys.verdict.verdict import Comparison
from tests.support import made

SPEC = Spec(warmup=1, rounds=5, timeout_s=1800)
BODY = made.kernels(Part("gemm", 2, ns=1e6))
PREFILL, DECODE = (made.kernels(Part("gemm", 1, ns=5e5), name=name) for name in ("pre", "dec"))


def _noisy(*times: float) -> Measurement:
    return made.measurement(made.window({"gpu.kernel_time": times, "gpu.kernel_count": [1]}))


def _levels(spec: Spec, now: Measurement, then: Measurement) -> dict[tuple[str, str], float]:
    """The level that each metric was ruled at, by key and kind."""
    seen = {}

    def rule(
        metric: Metric,
        tolerance: Tolerance,
        baseline: Samples,
        current: Samples,
        *,
        level: float = 1.0,
        resolution: float = 0.0,
    ) -> Ruling:
        seen[metric.key, metric.kind] = level
        return Ruling("ok", centre(baseline), centre(current), 0.0)

    compare(spec, now, then, rule)
    return seen


def test_a_test_with_one_timed_gate_may_use_up_the_whole_level() -> None:
    now = made.measurement(BODY)
    assert _levels(SPEC, now, now)["gpu.kernel_time", "timed"] == FAMILY_LEVEL


def test_the_level_is_shared_by_the_timed_gates_of_all_windows_and_no_others() -> None:
    now = made.measurement(BODY, PREFILL, DECODE)
    assert _levels(SPEC, now, now)["gpu.kernel_time", "timed"] == pytest.approx(FAMILY_LEVEL / 3)
    both = replace(SPEC, tolerance={"kernel[gemm].time": Tolerance(0.1)})
    time = WindowMeasurement(BODY.name, {**BODY.samples, "kernel[gemm].time": ((1e6,) * 5,)})
    now = made.measurement(time, PREFILL, DECODE)
    assert _levels(both, now, now)["kernel[gemm].time", "timed"] == pytest.approx(FAMILY_LEVEL / 4)


def test_without_any_timed_gate_there_is_a_level_all_the_same() -> None:
    now = made.measurement(made.window({"gpu.kernel_count": [1]}))
    assert _levels(SPEC, now, now) == {("gpu.kernel_count", "exact"): FAMILY_LEVEL}


def _only(comparisons: tuple[Comparison, ...], key: str = "gpu.kernel_time") -> Comparison:
    (found,) = (part for part in comparisons if part.metric.key == key)
    return found


def test_a_comparison_holds_what_the_rule_says() -> None:
    then, now = _noisy(*[1e6] * 5), _noisy(*[1.2e6] * 5)
    found = _only(compare(SPEC, now, then, default_rule))
    ruling = default_rule(found.metric, Tolerance(0.03, 2e4), ((1e6,) * 5,), ((1.2e6,) * 5,))
    assert found.status == ruling.decision == "regressed"
    assert (found.limit, found.noise) == (ruling.limit, ruling.noise)
    assert (found.detectable, found.beyond) == (ruling.detectable, True)
    exact = _only(compare(SPEC, now, then, default_rule), "gpu.kernel_count")
    assert (exact.noise, exact.detectable, exact.beyond) == (None, None, False)
    assert exact.limit == 0


def test_what_is_too_noisy_says_what_could_have_been_seen() -> None:
    noisy = _noisy(0.8e6, 0.9e6, 1e6, 1.1e6, 1.2e6)
    found = _only(compare(SPEC, noisy, noisy, default_rule))
    assert found.status == "inconclusive"
    assert found.detectable is not None
    assert found.note == (
        "gpu.kernel_time is too noisy to tell: a change would be found from "
        f"{found.detectable / 1e4:.0f}% on"
    )


def test_of_a_rate_no_fall_is_found_that_is_more_than_all_of_it() -> None:
    key = "client.tokens_per_s"
    noisy = made.measurement(made.window({key: [50.0, 100.0, 150.0]}))
    found = _only(compare(SPEC, noisy, noisy, default_rule), key)
    assert found.status == "inconclusive"
    assert found.detectable is not None
    assert found.detectable > 100
    assert found.note == f"{key} is too noisy to tell: no fall would be found, however deep"


def test_what_the_ranks_deny_is_not_called_too_noisy() -> None:
    then, now = _noisy(*[1e6] * 5), _noisy(1e6, 1.5e6, 1.5e6, 1.5e6)
    found = _only(compare(SPEC, now, then, default_rule))
    assert (found.status, found.beyond) == ("inconclusive", True)
    assert found.note == (
        "gpu.kernel_time: the median moved, but too few of the rounds did (rank test)"
    )


def test_a_metric_that_is_not_gated_is_not_ruled_on() -> None:
    then = made.measurement(made.window({"wall.time": [1e3], "gpu.kernel_count": [1]}))
    now = made.measurement(made.window({"wall.time": [9e9], "gpu.kernel_count": [1]}))
    found = _only(compare(SPEC, now, then, default_rule), "wall.time")
    assert (found.status, found.gated, found.limit) == ("ok", False, None)


def test_windows_that_cannot_be_compared_have_one_comparison_that_says_why() -> None:
    part = Part("gemm", 2, ns=1e6)
    now = made.measurement(made.kernels(part, token=512), PREFILL)
    then = made.measurement(made.kernels(part, token=256), DECODE)
    by_window = {part.window: part for part in compare(SPEC, now, then, default_rule)}
    assert by_window["test"].status == by_window["dec"].status == "incomparable"
    assert "256 tokens" in by_window["test"].note
    assert "no longer measures" in by_window["dec"].note
    assert by_window["pre"].status == "new"
    assert all(part.gated for part in by_window.values() if part.status == "incomparable")


def test_what_a_pattern_no_longer_matches_has_not_improved() -> None:
    key = "kernel[gemm*].time"
    spec = replace(SPEC, tolerance={key: Tolerance(0.03)})

    def sides(label: str, ns: float, now_ns: float) -> Comparison:
        samples = {"gpu.kernel_count": [1], key: [ns]}
        then = made.window(samples, Part("gemm_a", 1, ns=1e6), Part("gone", 0))
        now = made.window({**samples, key: [now_ns]}, Part(label, 1, ns=5e6))
        found = compare(spec, made.measurement(now), made.measurement(then), default_rule)
        return _only(found, key)

    found = sides("cutlass_gemm", 1e6, 0)
    assert found.status == "incomparable"
    assert found.note == (
        "no kernel matches 'gemm*' any more, as in the baseline (gemm_a); nearest: cutlass_gemm"
    )
    assert sides("gemm_b", 1e6, 5e5).status == "improved"
    assert sides("gemm_b", 0, 1e6).status == "regressed"
    assert sides("cutlass", 0, 0).status == "ok", "as in a part of the test that has none"


def test_measurements_of_the_same_plan_can_be_compared() -> None:
    now = made.measurement(BODY)
    assert difference(now, replace(now, rounds=50)) == ""
    assert "1 warm-up calls, this run has 4" in difference(replace(now, warmup=4), now)
    other = replace(now, environment=replace(now.environment, trace=("--trace=cuda",)))
    assert difference(now, other) == (
        "the baseline was recorded with other capture options: --trace=cuda --trace=cuda,nvtx"
    )


SHARE = "gpu.pct_peak_bw"
GATED = replace(SPEC, tolerance={SHARE: Tolerance(absolute=3)})


def _at(share: float | None) -> Measurement:
    """A test whose kernels reach a share of the bandwidth; None of one that says no work."""
    work = {} if share is None else {SHARE: [share] * 5}
    return made.measurement(made.window({"gpu.kernel_time": [1e6] * 5, **work}))


@pytest.mark.parametrize(
    ("then", "now", "status"),
    [(80, 70, "regressed"), (70, 80, "improved"), (80, 78, "ok"), (None, 80, "new")],
)
def test_a_share_of_a_peak_is_the_better_the_larger(
    then: float | None, now: float, status: str
) -> None:
    assert _only(compare(GATED, _at(now), _at(then), default_rule), SHARE).status == status
    # What nobody asks for is shown: it says what the kernels' time says, and that is gated.
    unasked = _only(compare(SPEC, _at(now), _at(then), default_rule), SHARE)
    assert (unasked.status, unasked.gated, unasked.baseline) == ("ok", False, then)
