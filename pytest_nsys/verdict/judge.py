"""Judging one test: its comparisons with the baseline, and its requirements, make the verdict."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from pytest_nsys.measure.measurement import Measurement
from pytest_nsys.plan.expected import ExpectedChange, expectation
from pytest_nsys.plan.marker import Spec
from pytest_nsys.plan.options import Clock, Mode, WarnOrFail
from pytest_nsys.verdict.captures import other_capture
from pytest_nsys.verdict.compare import compare, difference
from pytest_nsys.verdict.requirements import unmet_requirements
from pytest_nsys.verdict.rule import Rule, default_rule
from pytest_nsys.verdict.spread import disagreements
from pytest_nsys.verdict.unchanged import is_unchanged
from pytest_nsys.verdict.unmatched import unknown_metrics
from pytest_nsys.verdict.verdict import SEVERITY, Comparison, Requirement, Status, Verdict
from pytest_nsys.verdict.wording import place, recording_command

_ALWAYS_FAILS: frozenset[Status] = frozenset({"regressed", "over budget", "violated"})
_FAILS_GATE: frozenset[Status] = _ALWAYS_FAILS | {"new", "incomparable"}


@dataclass(frozen=True)
class Policy:
    """What decides besides the samples.

    Attributes:
        mode: of the run; what fails a test depends on it.
        inconclusive: whether what cannot be told fails the gate.
        clock: whether the gate needs the GPU's clocks to be locked.
        expected: changes that are expected, of all tests.
        today: the day by which they expire.
        rule: how samples are compared.
    """

    mode: Mode = "profile"
    inconclusive: WarnOrFail = "warn"
    clock: Clock = "note"
    expected: Sequence[ExpectedChange] = ()
    today: datetime.date = field(default_factory=datetime.date.today)
    rule: Rule = default_rule

    @property
    def failing(self) -> frozenset[Status]:
        """The statuses that fail a test."""
        if self.mode != "gate":
            return _ALWAYS_FAILS
        return _FAILS_GATE | {"inconclusive"} if self.inconclusive == "fail" else _FAILS_GATE

    def records(self, baseline: Measurement | None) -> bool:
        """Whether the measurement becomes the baseline, instead of being compared with it."""
        return self.mode == "update" or (self.mode == "update-new" and baseline is None)


def judge(
    spec: Spec,
    measurement: Measurement,
    baseline: Measurement | None,
    policy: Policy,
    *,
    other_devices: tuple[str, ...] = (),
) -> Verdict:
    """The verdict on one test.

    Args:
        spec: tolerances and requirements of the test.
        measurement: what was measured.
        baseline: what it is compared with; None if there is none for this device. Where
            baselines are being recorded nothing is compared, only requirements are; "ok" says
            that the baseline is as good as what was measured.
        policy: what fails the test.
        other_devices: devices that there are baselines for, when there is none for this one.
    """
    unmet = [
        *unmet_requirements(spec, measurement),
        *_emptiness(spec, measurement, baseline),
        *_clocks(spec, measurement, policy),
    ]
    recording = policy.records(baseline)
    notes: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    if baseline is not None and not recording:
        comparisons = compare(spec, measurement, baseline, policy.rule)
        reason = difference(measurement, baseline)
        if reason:
            notes = (reason,)
            comparisons = tuple(_incomparable(part, reason) for part in comparisons)
        elif other := other_capture(measurement, baseline):
            notes = (f"{other}: counts, bytes, memory and the device's times are compared",)
        notes += (*unknown_metrics(baseline),)
        comparisons, expired = _mark_expected(comparisons, spec, measurement, policy)
        notes += expired
    elif baseline is None and not recording:
        notes = (_no_baseline(measurement, other_devices),)
    default: Status = "ok"
    if recording and not (baseline and is_unchanged(spec, measurement, baseline, policy.rule)):
        default = "new"
    statuses: list[Status] = [part.status for part in comparisons]
    statuses += [one.status for one in unmet]
    if baseline is None and not recording:
        statuses.append("incomparable" if other_devices else "new")
    failing = policy.failing.intersection(statuses)
    # What fails a test names it: too noisy elsewhere may be worse, and is no more than a warning.
    status = max(failing or statuses, key=SEVERITY.__getitem__, default=default)
    return Verdict(
        nodeid=measurement.nodeid,
        status=status,
        failed=bool(failing),
        measurement=measurement,
        baseline=baseline,
        comparisons=comparisons,
        unmet=tuple(unmet),
        notes=(*notes, *measurement.remarks),
        warnings=(*_warnings(spec, measurement, comparisons, recording=recording),),
    )


def _warnings(
    spec: Spec, measurement: Measurement, comparisons: Sequence[Comparison], *, recording: bool
) -> Iterator[str]:
    for part in comparisons:
        if part.gated and part.note and part.status in ("ok", "improved"):
            yield place(part.window) + part.note
    yield from measurement.warnings
    if measurement.leftovers:
        yield measurement.leftovers
    if recording:
        yield from disagreements(spec, measurement)


def _incomparable(part: Comparison, reason: str) -> Comparison:
    status: Status = "incomparable" if part.gated else "ok"
    return replace(part, status=status, note=reason, beyond=False, culprits=())


def _mark_expected(
    comparisons: Sequence[Comparison], spec: Spec, measurement: Measurement, policy: Policy
) -> tuple[tuple[Comparison, ...], tuple[str, ...]]:
    """The comparisons with expected regressions marked, and notes on those that have expired."""
    entries = (*spec.expected, *policy.expected)
    marked, notes = [], []
    for part in comparisons:
        if part.status == "regressed" and part.baseline is not None and part.current is not None:
            answer = expectation(
                entries,
                nodeid=measurement.nodeid,
                device=measurement.device,
                window=part.window,
                metric=part.metric,
                baseline=part.baseline,
                current=part.current,
                today=policy.today,
            )
            if answer is not None and answer.holds:
                part = replace(part, status="expected", reason=answer.words)
            elif answer is not None:
                notes.append(f"{place(part.window)}{part.metric.key} {answer.words}")
        marked.append(part)
    return tuple(marked), tuple(dict.fromkeys(notes))


def _emptiness(
    spec: Spec, measurement: Measurement, baseline: Measurement | None
) -> Iterator[Requirement]:
    """A test that was to use the GPU and did not has measured nothing, not something fast."""
    for name, window in measurement.windows.items():
        then = baseline.windows.get(name) if baseline else None
        had_kernels = then is not None and any(then.values("gpu.kernel_count"))
        without = [
            number
            for number, process in enumerate(window.by_process("gpu.kernel_count"), 1)
            if not any(process)
        ]
        if without and any(window.values("gpu.kernel_count")):
            processes = "process" if len(without) == 1 else "processes"
            numbers = ", ".join(map(str, without))
            yield Requirement(
                name, "violated", f"no kernel was recorded in {processes} {numbers}, in others some"
            )
        elif had_kernels and not any(window.values("gpu.kernel_count")):
            yield Requirement(name, "violated", "no kernel was recorded, and the baseline has some")
        elif window.is_empty and not spec.allow_empty and name in measurement.bodies:
            yield Requirement(
                name,
                "violated",
                "no CUDA activity was recorded; if this test is to use no GPU, "
                "say allow_empty=True in its marker",
            )


def _clocks(spec: Spec, measurement: Measurement, policy: Policy) -> Iterator[Requirement]:
    """That clocks are not locked, where a gate needs it: nobody is to read this from the noise."""
    if policy.clock == "note" or policy.mode != "gate" or spec.allow_empty:
        return
    if measurement.unlocked:
        yield Requirement(
            measurement.bodies[0],
            "violated",
            f"{measurement.unlocked}; lock them below the highest (nvidia-smi -lgc MHZ, as root), "
            "or set nsys_clock = note",
        )


def _no_baseline(measurement: Measurement, other_devices: tuple[str, ...]) -> str:
    option = "--nsys-update-new"
    recordings = measurement.recordings
    how = f"record one with {recording_command(recordings, option) if recordings else option}"
    if other_devices:
        others = ", ".join(other_devices)
        return f"no baseline for {measurement.device}; there is one for {others}: {how}"
    return f"no baseline yet: {how}"
