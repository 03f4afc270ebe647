"""The verdict on one test, in every mode."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import made
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.catalogue import Metric, lookup
from pytest_nsys.config.marker import Spec
from pytest_nsys.config.options import Mode
from pytest_nsys.gate.judge import failing, judge
from pytest_nsys.gate.rule import Outcome
from pytest_nsys.gate.verdict import SEVERITY, Comparison, Status, Verdict
from pytest_nsys.measurement import Measurement, Part, Sessions
from pytest_nsys.quantities import Tolerance
from pytest_nsys.windows import MAIN

SPEC = Spec(warmup=1, rounds=5, timeout_s=1800)
MODES: tuple[Mode, ...] = ("profile", "gate", "update", "update-new")

FAST = made.measurement(made.kernels(Part("gemm", 2, ns=1_000_000)))
SLOW = made.measurement(made.kernels(Part("gemm", 2, ns=1_500_000)))
SAME = made.measurement(made.kernels(Part("gemm", 2, ns=1_000_000)))


def _of(verdict: Verdict, key: str, window: str = MAIN) -> Comparison:
    (found,) = (
        part for part in verdict.comparisons if (part.metric.key, part.window) == (key, window)
    )
    return found


def test_every_status_has_a_severity_and_none_twice() -> None:
    assert set(SEVERITY) == set(get_args(Status))
    assert len(set(SEVERITY.values())) == len(SEVERITY)


@pytest.mark.parametrize("mode", MODES)
def test_only_the_gate_fails_what_cannot_be_compared(mode: Mode) -> None:
    always = {"regressed", "over budget", "violated"}
    assert failing(mode) == (always | {"new", "incomparable"} if mode == "gate" else always)


@pytest.mark.parametrize("mode", ["profile", "gate", "update-new"])
@pytest.mark.parametrize(
    ("now", "then", "status"),
    [(SAME, FAST, "ok"), (SLOW, FAST, "regressed"), (FAST, SLOW, "improved")],
)
def test_a_measurement_is_compared_with_its_baseline(
    mode: Mode, now: Measurement, then: Measurement, status: Status
) -> None:
    verdict = judge(SPEC, now, then, mode)
    assert verdict.status == status
    assert verdict.failed is (status == "regressed")
    assert _of(verdict, "gpu.kernel_time").status == status
    assert _of(verdict, "gpu.kernel_count").status == "ok"
    assert verdict.nodeid == now.nodeid
    assert (verdict.measurement, verdict.baseline) == (now, then)


def test_where_baselines_are_recorded_nothing_is_compared() -> None:
    verdict = judge(SPEC, SLOW, FAST, "update")
    assert (verdict.status, verdict.failed, verdict.comparisons) == ("new", False, ())


@pytest.mark.parametrize(
    ("mode", "failed"), [("profile", False), ("gate", True), ("update", False)]
)
def test_a_test_without_a_baseline_is_new(mode: Mode, failed: bool) -> None:
    verdict = judge(SPEC, FAST, None, mode)
    assert (verdict.status, verdict.failed) == ("new", failed)
    if mode != "update":
        assert verdict.notes == ("no baseline yet: record one with --nsys-update-new",)


def test_a_test_with_baselines_of_other_devices_only_is_incomparable() -> None:
    verdict = judge(SPEC, FAST, None, "gate", other_devices=("nvidia-a100", "nvidia-t4"))
    assert (verdict.status, verdict.failed) == ("incomparable", True)
    (note,) = verdict.notes
    assert note == "no baseline for nvidia-h200; there is one for nvidia-a100, nvidia-t4"
    assert not judge(SPEC, FAST, None, "profile", other_devices=("nvidia-a100",)).failed


def test_recording_what_is_missing_is_new_and_passes() -> None:
    verdict = judge(SPEC, FAST, None, "update-new", other_devices=("nvidia-a100",))
    assert (verdict.status, verdict.failed, verdict.notes) == ("new", False, ())


@pytest.mark.parametrize(("mode", "failed"), [("profile", False), ("gate", True)])
def test_another_number_of_warm_ups_cannot_be_compared(mode: Mode, failed: bool) -> None:
    verdict = judge(SPEC, replace(SLOW, warmup=3), FAST, mode)
    assert (verdict.status, verdict.failed) == ("incomparable", failed)
    assert verdict.notes == ("the baseline was recorded with 1 warm-up calls, this run has 3",)
    assert _of(verdict, "gpu.kernel_time").status == "incomparable"


def test_another_number_of_rounds_can_be_compared() -> None:
    now = made.measurement(made.kernels(Part("gemm", 2, ns=1_000_000), rounds=9))
    assert judge(SPEC, replace(now, rounds=9), FAST, "gate").status == "ok"


def test_other_capture_options_cannot_be_compared_and_their_order_does_not_matter() -> None:
    def traced(*options: str) -> Measurement:
        return replace(FAST, environment=replace(FAST.environment, trace=options))

    assert judge(SPEC, traced("-a", "-b"), traced("-b", "-a"), "gate").status == "ok"
    verdict = judge(SPEC, traced("-a", "-c"), traced("-a", "-b"), "gate")
    assert verdict.status == "incomparable"
    assert verdict.notes == ("the baseline was recorded with other capture options: -b -c",)


def test_another_driver_or_gpu_name_is_no_obstacle() -> None:
    other = replace(FAST.environment, gpu="NVIDIA H200 NVL", driver="999", date="2030-01-01")
    assert judge(SPEC, replace(FAST, environment=other), FAST, "gate").status == "ok"


def test_other_units_cannot_be_compared() -> None:
    part = Part("gemm", 2, ns=1e6)
    now, then = made.kernels(part, token=512), made.kernels(part, token=256)
    verdict = judge(SPEC, made.measurement(now), made.measurement(then), "gate")
    assert (verdict.status, verdict.failed) == ("incomparable", True)
    (only,) = verdict.comparisons
    assert "256 token(s)" in only.note
    assert "512 token(s)" in only.note
    bare = judge(SPEC, made.measurement(now), FAST, "gate")
    assert "no units" in bare.comparisons[0].note


def test_a_window_that_is_new_has_nothing_to_be_compared_with() -> None:
    part = made.kernels(Part("gemm", 1, ns=5e5), name="prefill")
    now = made.measurement(*FAST.windows.values(), part)
    verdict = judge(SPEC, now, FAST, "gate")
    assert (verdict.status, verdict.failed) == ("new", True)
    assert _of(verdict, "gpu.kernel_time", "prefill").note == (
        "gpu.kernel_time of window 'prefill' is not in the baseline"
    )
    assert _of(verdict, "gpu.kernel_time").status == "ok"
    assert not judge(SPEC, now, FAST, "profile").failed


def test_a_window_that_is_gone_is_incomparable() -> None:
    part = made.kernels(Part("gemm", 1, ns=5e5), name="prefill")
    then = made.measurement(*FAST.windows.values(), part)
    verdict = judge(SPEC, FAST, then, "gate")
    assert (verdict.status, verdict.failed) == ("incomparable", True)
    assert "no longer measures" in _of(verdict, "gpu.kernel_time", "prefill").note


def test_the_worst_window_decides() -> None:
    quick, slow = (made.kernels(Part("gemm", 1, ns=ns), name="decode") for ns in (5e5, 9e5))
    now = made.measurement(*SAME.windows.values(), slow)
    then = made.measurement(*SAME.windows.values(), quick)
    verdict = judge(SPEC, now, then, "profile")
    assert verdict.status == "regressed"
    assert [(part.window, part.metric.key) for part in verdict.worse] == [
        ("decode", "gpu.kernel_time")
    ]


def test_a_metric_is_gated_with_its_own_tolerance_where_the_marker_names_it() -> None:
    def judged(**tolerance: Tolerance) -> Comparison:
        named = {key.replace("_", ".", 1): value for key, value in tolerance.items()}
        named = {"*" if key == "any" else key: value for key, value in named.items()}
        return _of(judge(replace(SPEC, tolerance=named), SLOW, FAST, "gate"), "gpu.kernel_time")

    assert judged().tolerance == lookup("gpu.kernel_time").tolerance
    assert judged(any=Tolerance(0.6)).status == "ok"
    assert judged(gpu_kernel_time=Tolerance(0.6)).status == "ok"
    assert judged(any=Tolerance(0.6), gpu_kernel_time=Tolerance(0.1)).status == "regressed"
    assert judged(gpu_kernel_time=Tolerance(absolute=4e5)).status == "regressed"


def test_the_tolerance_of_timed_metrics_is_not_that_of_exact_ones() -> None:
    more = made.measurement(made.kernels(Part("gemm", 3, ns=1_000_000)))
    spec = replace(SPEC, tolerance={"*": Tolerance(5.0)})
    verdict = judge(spec, more, FAST, "gate")
    assert _of(verdict, "gpu.kernel_count").status == "regressed"


def test_a_metric_that_is_not_gated_is_shown_and_never_fails() -> None:
    now, then = (
        made.measurement(made.window({"gpu.kernel_count": [1], "wall.time": [ns]}))
        for ns in (9e9, 1e3)
    )
    verdict = judge(SPEC, now, then, "gate")
    wall = _of(verdict, "wall.time")
    assert (wall.status, wall.gated, wall.baseline, wall.current) == ("ok", False, 1e3, 9e9)
    assert not verdict.failed
    named = replace(SPEC, tolerance={"wall.time": Tolerance(0.1)})
    assert judge(named, now, then, "gate").failed


def test_a_metric_per_unit_is_judged_where_it_is_named() -> None:
    now, then = (
        made.measurement(made.kernels(Part("gemm", 1, ns=ns), token=10)) for ns in (9e6, 1e6)
    )
    spec = replace(SPEC, tolerance={"gpu.kernel_time.per_token": Tolerance(0.1)})
    found = _of(judge(spec, now, then, "gate"), "gpu.kernel_time.per_token")
    assert (found.status, found.baseline, found.current) == ("regressed", 1e5, 9e5)
    assert found.culprits[0].change == pytest.approx(8e5)


def test_a_metric_that_only_one_side_has_is_new_or_incomparable() -> None:
    with_copies = made.measurement(
        made.window({"gpu.kernel_count": [1], "memcpy.h2d.bytes": [4096]})
    )
    without = made.measurement(made.window({"gpu.kernel_count": [1]}))
    verdict = judge(SPEC, with_copies, without, "gate")
    assert _of(verdict, "memcpy.h2d.bytes").status == "new"
    verdict = judge(SPEC, without, with_copies, "gate")
    assert _of(verdict, "memcpy.h2d.bytes").status == "incomparable"
    assert "is not in this run" in _of(verdict, "memcpy.h2d.bytes").note


def test_culprits_are_looked_for_only_where_something_got_worse() -> None:
    regressed = _of(judge(SPEC, SLOW, FAST, "gate"), "gpu.kernel_time")
    assert [(part.label, part.change) for part in regressed.culprits] == [("gemm", 500_000)]
    assert _of(judge(SPEC, FAST, SLOW, "gate"), "gpu.kernel_time").culprits == ()


@pytest.mark.parametrize("outcome", ["ok", "improved", "regressed", "inconclusive"])
@pytest.mark.parametrize("mode", ["profile", "gate"])
def test_another_rule_takes_the_place_of_the_medians(mode: Mode, outcome: Outcome) -> None:
    seen: list[tuple[str, Sessions, Sessions]] = []

    def rule(
        metric: Metric, tolerance: Tolerance, baseline: Sessions, current: Sessions
    ) -> Outcome:
        seen.append((metric.key, baseline, current))
        return outcome

    verdict = judge(SPEC, SLOW, FAST, mode, rule=rule)
    assert verdict.status == outcome
    assert verdict.failed is (outcome == "regressed")
    assert ("gpu.kernel_time", ((1e6,) * 5,), ((1.5e6,) * 5,)) in seen


EMPTY = made.measurement(made.window({"gpu.kernel_count": [0, 0], "api.count": [0, 0]}))


@pytest.mark.parametrize("mode", MODES)
def test_a_test_that_did_nothing_on_the_gpu_fails_unless_it_may(mode: Mode) -> None:
    verdict = judge(SPEC, EMPTY, None, mode)
    assert (verdict.status, verdict.failed) == ("violated", True)
    assert "allow_empty=True" in verdict.demands[0].text
    allowed = judge(replace(SPEC, allow_empty=True), EMPTY, None, mode)
    assert allowed.demands == ()
    assert allowed.failed is (mode == "gate")


def test_kernels_that_have_all_gone_are_no_improvement() -> None:
    spec = replace(SPEC, allow_empty=True)
    verdict = judge(spec, EMPTY, FAST, "profile")
    assert (verdict.status, verdict.failed) == ("violated", True)
    (demand,) = verdict.demands
    assert "no kernel was recorded" in demand.text


def test_an_empty_named_part_of_a_test_that_works_is_all_right() -> None:
    part = made.window({"gpu.kernel_count": [0]}, name="setup")
    now = made.measurement(*FAST.windows.values(), part)
    assert judge(SPEC, now, now, "gate").demands == ()


def test_demands_hold_in_every_mode_and_with_every_baseline() -> None:
    spec = replace(SPEC, budget={"gpu.kernel_count": 1.0})
    for mode in MODES:
        for baseline in (None, FAST):
            verdict = judge(spec, SAME, baseline, mode)
            assert (verdict.status, verdict.failed) == ("over budget", True)


def test_what_got_worse_is_worse_than_a_broken_demand() -> None:
    spec = replace(SPEC, budget={"gpu.kernel_count": 1.0}, forbid=("gemm",))
    verdict = judge(spec, SLOW, FAST, "profile")
    assert verdict.status == "regressed"
    assert [demand.status for demand in verdict.demands] == ["over budget", "violated"]


times = st.integers(0, 10**7).map(float)


@given(times, times, times)
def test_a_slower_test_never_gets_a_milder_verdict(then: float, now: float, step: float) -> None:
    def verdict(ns: float) -> Verdict:
        current = made.measurement(made.kernels(Part("gemm", 2, ns=ns)))
        return judge(
            SPEC, current, made.measurement(made.kernels(Part("gemm", 2, ns=then))), "gate"
        )

    order = {"improved": 0, "ok": 1, "regressed": 2}
    assert order[verdict(now + step).status] >= order[verdict(now).status]
    assert verdict(now + step).failed >= verdict(now).failed


@given(made.measurements, made.measurements, st.sampled_from(MODES))
def test_any_two_measurements_have_a_verdict(
    now: Measurement, then: Measurement, mode: Mode
) -> None:
    verdict = judge(SPEC, now, then, mode)
    statuses = [part.status for part in (*verdict.comparisons, *verdict.demands)]
    assert SEVERITY[verdict.status] >= max((SEVERITY[status] for status in statuses), default=0)
    assert verdict.failed is any(status in failing(mode) for status in statuses)
