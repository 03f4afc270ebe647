"""The verdict on one test, in every mode."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.catalogue import Metric, lookup
from pytest_nsys.measure.measurement import Measurement, Part, Samples, WindowMeasurement, centre
from pytest_nsys.plan.expected import ExpectedChange
from pytest_nsys.plan.marker import Spec
from pytest_nsys.plan.options import Mode
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.judge import Policy, judge
from pytest_nsys.verdict.rule import Decision, Ruling
from pytest_nsys.verdict.verdict import SEVERITY, Comparison, Status, Verdict
from pytest_nsys.verdict.wording import headline
from pytest_nsys.windows.record import MAIN
from tests.support import made

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
    gate = always | {"new", "incomparable"}
    assert Policy(mode).failing == (gate if mode == "gate" else always)
    strict = Policy(mode, inconclusive="fail").failing
    assert strict == (gate | {"inconclusive"} if mode == "gate" else always)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_recorded_is_what_the_run_is_for(mode: Mode) -> None:
    assert Policy(mode).records(None) is mode.startswith("update")
    assert Policy(mode).records(FAST) is (mode == "update")


def test_keys_of_the_baseline_that_are_no_metrics_are_named() -> None:
    window = FAST.windows[MAIN]
    samples = {**window.samples, "ours.rate": ((1.0,),)}
    samples["gpu.kernel_tim"] = samples.pop("gpu.kernel_time")
    then = replace(FAST, windows={MAIN: replace(window, samples=samples)})
    verdict = judge(SPEC, FAST, then, Policy("gate"))
    assert (verdict.status, verdict.failed) == ("new", True)
    end = (
        "restore its file from git, load the plugin that has the metric, or record it anew with "
        "--nsys-update"
    )
    begin = "which is no metric here:"
    assert verdict.notes == (
        f"the baseline has 'ours.rate', {begin} {end}",
        f"the baseline has 'gpu.kernel_tim', {begin} did you mean 'gpu.kernel_time'? {end}",
    )
    samples["gpu.kernel_time"] = samples.pop("gpu.kernel_tim")
    verdict = judge(SPEC, FAST, then, Policy("gate"))
    assert (verdict.status, len(verdict.notes)) == ("ok", 1)


@pytest.mark.parametrize("mode", ["profile", "gate", "update-new"])
@pytest.mark.parametrize(
    ("now", "then", "status"),
    [(SAME, FAST, "ok"), (SLOW, FAST, "regressed"), (FAST, SLOW, "improved")],
)
def test_a_measurement_is_compared_with_its_baseline(
    mode: Mode, now: Measurement, then: Measurement, status: Status
) -> None:
    verdict = judge(SPEC, now, then, Policy(mode))
    assert verdict.status == status
    assert verdict.failed is (status == "regressed")
    assert _of(verdict, "gpu.kernel_time").status == status
    assert _of(verdict, "gpu.kernel_count").status == "ok"
    assert verdict.nodeid == now.nodeid
    assert (verdict.measurement, verdict.baseline) == (now, then)


def test_where_baselines_are_recorded_nothing_is_compared() -> None:
    verdict = judge(SPEC, SLOW, FAST, Policy("update"))
    assert (verdict.status, verdict.failed, verdict.comparisons) == ("new", False, ())


@pytest.mark.parametrize(
    ("mode", "failed"), [("profile", False), ("gate", True), ("update", False)]
)
def test_a_test_without_a_baseline_is_new(mode: Mode, failed: bool) -> None:
    verdict = judge(SPEC, FAST, None, Policy(mode))
    assert (verdict.status, verdict.failed) == ("new", failed)
    if mode != "update":
        assert verdict.notes == ("no baseline yet: record one with --nsys-update-new",)


def test_a_test_with_baselines_of_other_devices_only_is_incomparable() -> None:
    verdict = judge(SPEC, FAST, None, Policy("gate"), other_devices=("nvidia-a100", "nvidia-t4"))
    assert (verdict.status, verdict.failed) == ("incomparable", True)
    (note,) = verdict.notes
    assert note == (
        "no baseline for nvidia-h200; there is one for nvidia-a100, nvidia-t4: record one with "
        "--nsys-update-new"
    )
    assert not judge(SPEC, FAST, None, Policy("profile"), other_devices=("nvidia-a100",)).failed


def test_recording_what_is_missing_is_new_and_passes() -> None:
    verdict = judge(SPEC, FAST, None, Policy("update-new"), other_devices=("nvidia-a100",))
    assert (verdict.status, verdict.failed, verdict.notes) == ("new", False, ())


@pytest.mark.parametrize(("mode", "failed"), [("profile", False), ("gate", True)])
def test_another_number_of_warm_ups_cannot_be_compared(mode: Mode, failed: bool) -> None:
    verdict = judge(SPEC, replace(SLOW, warmup=3), FAST, Policy(mode))
    assert (verdict.status, verdict.failed) == ("incomparable", failed)
    assert verdict.notes == ("the baseline was recorded with 1 warm-up calls, this run has 3",)
    assert _of(verdict, "gpu.kernel_time").status == "incomparable"


def test_another_number_of_rounds_can_be_compared() -> None:
    now = made.measurement(made.kernels(Part("gemm", 2, ns=1_000_000), rounds=9))
    assert judge(SPEC, replace(now, rounds=9), FAST, Policy("gate")).status == "ok"


def test_other_capture_options_cannot_be_compared_and_their_order_does_not_matter() -> None:
    def traced(*options: str) -> Measurement:
        return replace(FAST, environment=replace(FAST.environment, trace=options))

    assert judge(SPEC, traced("-a", "-b"), traced("-b", "-a"), Policy("gate")).status == "ok"
    verdict = judge(SPEC, traced("-a", "-c"), traced("-a", "-b"), Policy("gate"))
    assert verdict.status == "incomparable"
    assert verdict.notes == ("the baseline was recorded with other capture options: -b -c",)


def test_another_driver_or_gpu_name_is_no_obstacle() -> None:
    other = replace(FAST.environment, gpu="NVIDIA H200 NVL", driver="999", date="2030-01-01")
    assert judge(SPEC, replace(FAST, environment=other), FAST, Policy("gate")).status == "ok"


def test_other_units_cannot_be_compared() -> None:
    part = Part("gemm", 2, ns=1e6)
    now, then = made.kernels(part, token=512), made.kernels(part, token=256)
    verdict = judge(SPEC, made.measurement(now), made.measurement(then), Policy("gate"))
    assert (verdict.status, verdict.failed) == ("incomparable", True)
    (only,) = verdict.comparisons
    assert "256 tokens" in only.note
    assert "512 tokens" in only.note
    bare = judge(SPEC, made.measurement(now), FAST, Policy("gate"))
    assert "no units" in bare.comparisons[0].note


def test_a_window_that_is_new_has_nothing_to_be_compared_with() -> None:
    part = made.kernels(Part("gemm", 1, ns=5e5), name="prefill")
    now = made.measurement(*FAST.windows.values(), part)
    verdict = judge(SPEC, now, FAST, Policy("gate"))
    assert (verdict.status, verdict.failed) == ("new", True)
    assert _of(verdict, "gpu.kernel_time", "prefill").note == (
        "gpu.kernel_time of window 'prefill' is not in the baseline"
    )
    assert _of(verdict, "gpu.kernel_time").status == "ok"
    assert not judge(SPEC, now, FAST, Policy("profile")).failed


def test_a_window_that_is_gone_is_incomparable() -> None:
    part = made.kernels(Part("gemm", 1, ns=5e5), name="prefill")
    then = made.measurement(*FAST.windows.values(), part)
    verdict = judge(SPEC, FAST, then, Policy("gate"))
    assert (verdict.status, verdict.failed) == ("incomparable", True)
    assert "no longer measures" in _of(verdict, "gpu.kernel_time", "prefill").note


def test_the_worst_window_decides() -> None:
    quick, slow = (made.kernels(Part("gemm", 1, ns=ns), name="decode") for ns in (5e5, 9e5))
    now = made.measurement(*SAME.windows.values(), slow)
    then = made.measurement(*SAME.windows.values(), quick)
    verdict = judge(SPEC, now, then, Policy("profile"))
    assert verdict.status == "regressed"
    assert [(part.window, part.metric.key) for part in verdict.worse] == [
        ("decode", "gpu.kernel_time")
    ]


def test_what_has_a_known_culprit_is_told_before_what_clients_saw() -> None:
    verdict = judge(SPEC, SLOW, FAST, Policy("gate"))
    (slow,) = verdict.worse
    assert slow.culprits
    clients = replace(slow, metric=lookup("client.ttft_p50"), culprits=())
    both = replace(verdict, comparisons=(clients, slow))
    assert both.worse == (slow, clients)
    assert headline(both).startswith("gpu.kernel_time +50.0%")


def test_a_metric_is_gated_with_its_own_tolerance_where_the_marker_names_it() -> None:
    def judged(**tolerance: Tolerance) -> Comparison:
        named = {key.replace("_", ".", 1): value for key, value in tolerance.items()}
        named = {"*" if key == "any" else key: value for key, value in named.items()}
        verdict = judge(replace(SPEC, tolerance=named), SLOW, FAST, Policy("gate"))
        return _of(verdict, "gpu.kernel_time")

    assert judged().tolerance == lookup("gpu.kernel_time").tolerance
    assert judged(any=Tolerance(0.6)).status == "ok"
    assert judged(gpu_kernel_time=Tolerance(0.6)).status == "ok"
    assert judged(any=Tolerance(0.6), gpu_kernel_time=Tolerance(0.1)).status == "regressed"
    assert judged(gpu_kernel_time=Tolerance(absolute=4e5)).status == "regressed"


def test_the_tolerance_of_timed_metrics_is_not_that_of_exact_ones() -> None:
    more = made.measurement(made.kernels(Part("gemm", 3, ns=1_000_000)))
    spec = replace(SPEC, tolerance={"*": Tolerance(5.0)})
    verdict = judge(spec, more, FAST, Policy("gate"))
    assert _of(verdict, "gpu.kernel_count").status == "regressed"


def test_a_metric_that_is_not_gated_is_shown_and_never_fails() -> None:
    now, then = (
        made.measurement(made.window({"gpu.kernel_count": [1], "wall.time": [ns]}))
        for ns in (9e9, 1e3)
    )
    verdict = judge(SPEC, now, then, Policy("gate"))
    wall = _of(verdict, "wall.time")
    assert (wall.status, wall.gated, wall.baseline, wall.current) == ("ok", False, 1e3, 9e9)
    assert not verdict.failed
    named = replace(SPEC, tolerance={"wall.time": Tolerance(0.1)})
    assert judge(named, now, then, Policy("gate")).failed


def test_a_metric_per_unit_is_judged_where_it_is_named() -> None:
    now, then = (
        made.measurement(made.kernels(Part("gemm", 1, ns=ns), token=10)) for ns in (9e6, 1e6)
    )
    spec = replace(SPEC, tolerance={"gpu.kernel_time.per_token": Tolerance(0.1)})
    found = _of(judge(spec, now, then, Policy("gate")), "gpu.kernel_time.per_token")
    assert (found.status, found.baseline, found.current) == ("regressed", 1e5, 9e5)
    assert found.culprits[0].change == pytest.approx(8e5)


def test_a_metric_that_only_one_side_has_is_new_or_incomparable() -> None:
    with_copies = made.measurement(
        made.window({"gpu.kernel_count": [1], "memcpy.h2d.bytes": [4096]})
    )
    without = made.measurement(made.window({"gpu.kernel_count": [1]}))
    verdict = judge(SPEC, with_copies, without, Policy("gate"))
    assert _of(verdict, "memcpy.h2d.bytes").status == "new"
    verdict = judge(SPEC, without, with_copies, Policy("gate"))
    assert _of(verdict, "memcpy.h2d.bytes").status == "incomparable"
    assert "is not in this run" in _of(verdict, "memcpy.h2d.bytes").note


def test_culprits_are_looked_for_only_where_something_got_worse() -> None:
    regressed = _of(judge(SPEC, SLOW, FAST, Policy("gate")), "gpu.kernel_time")
    assert [(part.label, part.change) for part in regressed.culprits] == [("gemm", 500_000)]
    assert _of(judge(SPEC, FAST, SLOW, Policy("gate")), "gpu.kernel_time").culprits == ()


@pytest.mark.parametrize("decision", ["ok", "improved", "regressed", "inconclusive"])
@pytest.mark.parametrize("mode", ["profile", "gate"])
def test_another_rule_takes_the_place_of_the_medians(mode: Mode, decision: Decision) -> None:
    seen: list[tuple[str, Samples, Samples]] = []

    def rule(
        metric: Metric,
        tolerance: Tolerance,
        baseline: Samples,
        current: Samples,
        *,
        level: float,
        resolution: float = 0.0,
    ) -> Ruling:
        seen.append((metric.key, baseline, current))
        return Ruling(decision, centre(baseline), centre(current), limit=1.0)

    verdict = judge(SPEC, SLOW, FAST, Policy(mode, rule=rule))
    assert verdict.status == decision
    assert verdict.failed is (decision == "regressed")
    assert ("gpu.kernel_time", ((1e6,) * 5,), ((1.5e6,) * 5,)) in seen


EMPTY = made.measurement(made.window({"gpu.kernel_count": [0, 0], "api.count": [0, 0]}))


@pytest.mark.parametrize("mode", MODES)
def test_a_test_that_did_nothing_on_the_gpu_fails_unless_it_may(mode: Mode) -> None:
    verdict = judge(SPEC, EMPTY, None, Policy(mode))
    assert (verdict.status, verdict.failed) == ("violated", True)
    assert "allow_empty=True" in verdict.unmet[0].text
    allowed = judge(replace(SPEC, allow_empty=True), EMPTY, None, Policy(mode))
    assert allowed.unmet == ()
    assert allowed.failed is (mode == "gate")


def test_kernels_that_have_all_gone_are_no_improvement() -> None:
    spec = replace(SPEC, allow_empty=True)
    verdict = judge(spec, EMPTY, FAST, Policy("profile"))
    assert (verdict.status, verdict.failed) == ("violated", True)
    (requirement,) = verdict.unmet
    assert "no kernel was recorded" in requirement.text


def test_an_empty_named_part_of_a_test_that_works_is_all_right() -> None:
    part = made.window({"gpu.kernel_count": [0]}, name="setup")
    now = made.measurement(*FAST.windows.values(), part)
    assert judge(SPEC, now, now, Policy("gate")).unmet == ()


def test_requirements_hold_in_every_mode_and_with_every_baseline() -> None:
    spec = replace(SPEC, budget={"gpu.kernel_count": 1.0})
    for mode in MODES:
        for baseline in (None, FAST):
            verdict = judge(spec, SAME, baseline, Policy(mode))
            assert (verdict.status, verdict.failed) == ("over budget", True)


def test_what_got_worse_is_worse_than_an_unmet_requirement() -> None:
    spec = replace(SPEC, budget={"gpu.kernel_count": 1.0}, forbid=("gemm",))
    verdict = judge(spec, SLOW, FAST, Policy("profile"))
    assert verdict.status == "regressed"
    assert [one.status for one in verdict.unmet] == ["over budget", "violated"]


times = st.integers(0, 10**7).map(float)


@given(times, times, times)
def test_a_slower_test_never_gets_a_milder_verdict(then: float, now: float, step: float) -> None:
    def verdict(ns: float) -> Verdict:
        current = made.measurement(made.kernels(Part("gemm", 2, ns=ns)))
        baseline = made.measurement(made.kernels(Part("gemm", 2, ns=then)))
        return judge(SPEC, current, baseline, Policy("gate"))

    order = {"improved": 0, "ok": 1, "inconclusive": 2, "regressed": 3}
    assert order[verdict(now + step).status] >= order[verdict(now).status]
    assert verdict(now + step).failed >= verdict(now).failed


@given(made.measurements, made.measurements, st.sampled_from(MODES))
def test_any_two_measurements_have_a_verdict(
    now: Measurement, then: Measurement, mode: Mode
) -> None:
    verdict = judge(SPEC, now, then, Policy(mode))
    statuses = [part.status for part in (*verdict.comparisons, *verdict.unmet)]
    assert SEVERITY[verdict.status] >= max((SEVERITY[status] for status in statuses), default=0)
    assert verdict.failed is any(status in Policy(mode).failing for status in statuses)


def _processes(
    *processes: list[float], key: str = "gpu.kernel_time", **samples: list[list[float]]
) -> Measurement:
    """A measurement of these processes; further keyword arguments are other metrics' samples."""
    by_key = {key: processes, **{name.replace("__", "."): found for name, found in samples.items()}}
    window = WindowMeasurement(
        MAIN,
        {name: tuple(tuple(map(float, one)) for one in found) for name, found in by_key.items()}
        | {"gpu.kernel_count": ((1.0,) * len(processes[0]),) * len(processes)},
    )
    return made.measurement(window)


STEADY = _processes(*[[1e6] * 5] * 3)
LATE = ExpectedChange(reason="new attention", until=date(2026, 6, 30))


def test_a_slow_down_is_suspected_and_so_is_what_noise_makes_look_like_one() -> None:
    assert judge(SPEC, SLOW, FAST, Policy("gate")).is_suspected
    assert not judge(SPEC, SAME, FAST, Policy("gate")).is_suspected
    assert not judge(SPEC, FAST, SLOW, Policy("gate")).is_suspected
    noisy = _processes([0.8e6, 0.9e6, 1.1e6, 1.2e6, 1.4e6])
    verdict = judge(SPEC, noisy, STEADY, Policy("gate"))
    assert (verdict.status, verdict.failed, verdict.is_suspected) == ("inconclusive", False, True)
    # Noise without a slow-down: another process would not be worth its time.
    noisy = _processes([0.8e6, 0.9e6, 1e6, 1.2e6, 1.4e6])
    verdict = judge(SPEC, noisy, STEADY, Policy("gate"))
    assert (verdict.status, verdict.is_suspected) == ("inconclusive", False)


def test_what_is_counted_is_not_measured_again() -> None:
    more = made.measurement(made.kernels(Part("gemm", 3, ns=1_000_000)))
    verdict = judge(SPEC, more, FAST, Policy("gate"))
    assert (verdict.status, verdict.is_suspected) == ("regressed", False)


def test_what_cannot_be_compared_is_not_measured_again() -> None:
    verdict = judge(SPEC, replace(SLOW, warmup=3), FAST, Policy("gate"))
    assert (verdict.status, verdict.is_suspected) == ("incomparable", False)


def test_what_cannot_be_told_fails_only_where_it_is_to() -> None:
    noisy = _processes([0.8e6, 0.9e6, 1e6, 1.1e6, 1.2e6])
    for mode, inconclusive, failed in [
        ("gate", "warn", False),
        ("gate", "fail", True),
        ("profile", "fail", False),
    ]:
        policy = Policy(mode, inconclusive=inconclusive)  # type: ignore[arg-type]
        verdict = judge(SPEC, noisy, STEADY, policy)
        assert (verdict.status, verdict.failed) == ("inconclusive", failed)


def test_a_failed_test_is_named_after_what_failed_it() -> None:
    """Not after what is worse by itself and only a warning: a window that is too noisy to tell."""
    noisy = _processes([0.8e6, 0.9e6, 1e6, 1.1e6, 1.2e6])
    one = made.kernels(Part("gemm", 2, ns=1_000_000), name="later")
    noisy = replace(noisy, windows={**noisy.windows, "later": one})
    verdict = judge(SPEC, noisy, STEADY, Policy("gate"))
    assert (verdict.status, verdict.failed) == ("new", True)
    assert headline(verdict) == "new: gpu.kernel_time of window 'later' is not in the baseline"
    passed = judge(SPEC, noisy, STEADY, Policy("profile"))
    assert (passed.status, passed.failed) == ("inconclusive", False)


@pytest.mark.parametrize(
    ("entry", "status"),
    [
        (LATE, "expected"),
        (replace(LATE, until=date(2026, 6, 1)), "expected"),  # the last day counts
        (replace(LATE, until=date(2026, 5, 31)), "regressed"),
        (replace(LATE, limit="60%"), "expected"),
        (replace(LATE, limit="40%"), "regressed"),
        (replace(LATE, metric="mem.peak"), "regressed"),
        (replace(LATE, test="other.py::*"), "regressed"),
    ],
)
@pytest.mark.parametrize("where", ["file", "marker"])
def test_a_regression_that_was_accepted_is_expected_as_long_as_it_was_accepted(
    entry: ExpectedChange, status: Status, where: str
) -> None:
    spec = replace(SPEC, expected=(entry,) if where == "marker" else ())
    expected = (entry,) if where == "file" else ()
    policy = Policy("gate", expected=expected, today=date(2026, 6, 1))
    verdict = judge(spec, SLOW, FAST, policy)
    assert (verdict.status, verdict.failed) == (status, status == "regressed")
    assert not (verdict.is_suspected and status == "expected")
    if status == "expected":
        assert verdict.worse == ()
        assert [part.reason for part in verdict.expected] == [
            f"accepted until {entry.until}: new attention"
        ]


def test_an_acceptance_that_no_longer_holds_is_told() -> None:
    past = replace(LATE, until=date(2026, 5, 31))
    policy = Policy("gate", expected=(past,), today=date(2026, 6, 1))
    assert judge(SPEC, SLOW, FAST, policy).notes == (
        "gpu.kernel_time was accepted until 2026-05-31: new attention",
    )
    assert judge(SPEC, SAME, FAST, policy).notes == ()


def test_one_accepted_regression_does_not_excuse_another() -> None:
    more = made.measurement(made.kernels(Part("gemm", 3, ns=1_500_000)))
    policy = Policy("gate", expected=(replace(LATE, metric="gpu.*_time"),), today=date(2026, 6, 1))
    verdict = judge(SPEC, more, FAST, policy)
    assert (verdict.status, verdict.failed) == ("regressed", True)
    assert [part.metric.key for part in verdict.worse] == ["gpu.kernel_count"]
    assert [part.metric.key for part in verdict.expected] == ["gpu.kernel_time"]


def test_what_was_odd_about_a_measurement_is_a_note_after_the_others() -> None:
    odd = replace(FAST, remarks=("round 2 is disturbed: throttled",))
    assert judge(SPEC, odd, FAST, Policy("gate")).notes == odd.remarks
    verdict = judge(SPEC, odd, None, Policy("gate"))
    assert verdict.notes == ("no baseline yet: record one with --nsys-update-new", *odd.remarks)


def test_a_session_that_recorded_no_kernel_is_none_to_compare_or_to_record() -> None:
    counts: Samples = ((2.0,) * 5, (0.0,) * 5, (2.0,) * 5)
    window = made.kernels(Part("gemm", 2, ns=1_000_000))
    window = replace(window, samples={**window.samples, "gpu.kernel_count": counts})
    for mode in ("gate", "update"):
        verdict = judge(SPEC, made.measurement(window), FAST, Policy(mode=mode))
        assert verdict.failed
        texts = [one.text for one in verdict.unmet]
        assert texts == ["no kernel was recorded in process 2, in others some"]
