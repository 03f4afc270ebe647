"""Running a batch: as many processes as are planned, and further ones of what is suspected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from pytest_nsys.capture.result import CaptureResult, RanTest, Uncollected
from pytest_nsys.capture.workers import Command
from pytest_nsys.controller.judges import Judged, Missing
from pytest_nsys.errors import GpuBusy, NsysError, NsysUsageError, RevisionError
from pytest_nsys.measure.measurement import Measurement
from pytest_nsys.measure.measurer import Measurer
from pytest_nsys.measure.processes import join_captures, join_recorded
from pytest_nsys.plan.batches import Batch, PlannedTest
from pytest_nsys.plan.marker import Spec
from pytest_nsys.verdict.verdict import Verdict

_LINES = 10


_UNCOLLECTED: Mapping[Uncollected, str] = {
    "absent": "the worker did not collect it",
    "skipped": "its file was skipped",
    "broken": "its file could not be imported",
}

Purpose = Literal["plan", "confirm", "alone"]


Look = Callable[[PlannedTest, Verdict, Sequence["Command | None"]], Verdict]
"""Adds to a verdict what there is to see beside it."""


class CaptureSource(Protocol):
    """Where captures come from: a live nsys, or a recording.

    Attributes:
        confirmations: how often what is suspected can be measured again.
    """

    @property
    def confirmations(self) -> int: ...

    def planned(self, test: PlannedTest) -> int:
        """How many processes the test is to have."""

    def expect(self, batch: Batch, processes: int) -> None:
        """The batch is about to be captured so many times, and nothing else before it."""

    def capture(self, batch: Batch, maxfail: int, process: int) -> Iterator[CaptureResult]:
        """The batch's results in this process (from 0), one per worker."""


class Judge(Protocol):
    """Gives verdicts on tests."""

    def judge(
        self, spec: Spec, measurement: Measurement, reference: Measurement | Missing | None
    ) -> Judged:
        """The verdict; ``reference`` is what another revision measured in the same run, or why it
        did not."""


@dataclass(frozen=True)
class Outcome:
    """What became of one test.

    Attributes:
        ran: how it ended, in the process that counts: the first that went wrong, else the first.
        judged: its verdict, or why there is none; None if it did not pass.
        processes: how it ended in each.
        stopped: why the run is to end after it (``pytest.exit`` while it was measured again).
    """

    ran: RanTest
    judged: Judged | None = None
    processes: tuple[RanTest, ...] = ()
    stopped: str = ""

    def by_device(self) -> Iterator[Outcome]:
        """What became of it on each device, where recordings have it of several; else this."""
        yield self
        for judged in self.judged.elsewhere if self.judged is not None else ():
            yield replace(self, judged=judged)

    def named(self, test: str) -> str:
        """A test's name; with the device as if that were a parameter, where there are several."""
        device = self.judged.device if self.judged is not None else ""
        if not device:
            return test
        return f"{test[:-1]}-{device}]" if test.endswith("]") else f"{test}[{device}]"


@dataclass(frozen=True)
class Step:
    """One process that is about to run.

    Attributes:
        batch: its tests.
        number: of the process, from 1.
        of: how many are planned.
        purpose: "plan" for a planned one, "confirm" for one that measures suspects again, "alone"
            for one that measures a test without what earlier ones had left running.
        arm: name of the revision; "" where there is only one.
    """

    batch: Batch
    number: int
    of: int
    purpose: Purpose = "plan"
    arm: str = ""


@dataclass
class Arm:
    """One of the revisions that are compared, usually the only one.

    Attributes:
        source: where its captures come from.
        name: of the revision; "" for the one under test.
        command: how its workers are started; None where no worker runs the tests.
    """

    source: CaptureSource
    name: str = ""
    command: Command | None = None
    _ran: dict[str, list[RanTest]] = field(default_factory=dict)
    _measured: dict[str, list[Measurement]] = field(default_factory=dict)
    _problems: dict[str, NsysError] = field(default_factory=dict)
    _remarks: dict[str, list[str]] = field(default_factory=dict)
    _stopped: dict[str, str] = field(default_factory=dict)

    def run(self, step: Step, maxfail: int, measurer: Measurer) -> Iterator[CaptureResult]:
        """Run a process and keep what it measured; gives its captures as they are made.

        Raises:
            NsysUsageError: nsys was asked for something that it does not know.
        """
        specs = {test.nodeid: test.spec for test in step.batch.tests}
        ran: dict[tuple[str, str], list[RanTest]] = {}
        found: dict[tuple[str, str], list[Measurement | NsysError | None]] = {}
        try:
            for result in self.source.capture(step.batch, maxfail, step.number - 1):
                yield result
                measured = measurer.measure(result, specs)
                for test in result.tests:
                    key = (test.nodeid, result.worker)
                    ran.setdefault(key, []).append(test)
                    found.setdefault(key, []).append(measured.get(test.nodeid))
                del result  # the next capture is made without this one's tables
        except NsysUsageError:
            raise
        except NsysError as caught:
            error = self._named(caught)
            known = {nodeid for nodeid, _ in ran}
            for nodeid, spec in specs.items():
                if nodeid not in known:
                    lost = RanTest(nodeid, (), spec.warmup, spec.rounds, problem=error)
                    ran[nodeid, ""], found[nodeid, ""] = [lost], [error]
        for key, tests in ran.items():
            bad = (test for test in tests if test.problem is not None)
            self._add(step, next(bad, tests[0]), _together(found[key]))

    def _named(self, error: NsysError) -> NsysError:
        """An error that says at which revision it happened, where that is another."""
        if not self.name:
            return error
        what = f"at {self.name}: {error.what}"
        return RevisionError(what, evidence=error.evidence, remedy=error.remedy)

    def _add(self, step: Step, ran: RanTest, found: Measurement | NsysError | None) -> None:
        why = found.what if isinstance(found, NsysError) and step.purpose == "confirm" else ""
        if self._measured.get(ran.nodeid):
            # What an earlier process has measured stays measured.
            again = step.purpose == "confirm" and not self.name
            if ran.is_skipped:
                why = why or ran.skipped
            elif ran.uncollected == "skipped" or (ran.uncollected and again):
                why = why or _UNCOLLECTED[ran.uncollected]
            elif ran.stopped and again:
                why = why or f"the run was stopped: {ran.stopped}"
                self._stopped[ran.nodeid] = ran.stopped
        if why:
            remark = f"it could not be measured again: {why}"
            self._remarks.setdefault(ran.nodeid, []).append(remark)
            return
        self._ran.setdefault(ran.nodeid, []).append(ran)
        if isinstance(found, NsysError):
            self._problems.setdefault(ran.nodeid, found)
        elif found is not None:
            self._measured.setdefault(ran.nodeid, []).append(found)

    def forget(self, nodeid: str, why: str) -> None:
        """What was measured of a test counts no more: it is measured anew."""
        self._ran.pop(nodeid, None)
        self._measured.pop(nodeid, None)
        self._remarks[nodeid] = [why]

    def goes_on(self, test: PlannedTest, process: int) -> bool:
        """Whether the test is to run in this process (from 0): planned, and well so far."""
        if process >= self.source.planned(test):
            return False
        well = test.nodeid not in self._problems
        return process == 0 or (well and len(self._measured.get(test.nodeid, ())) >= process)

    def measurement(self, nodeid: str) -> Measurement | None:
        """All processes of a test together; None if one of them went wrong."""
        return next(self.measurements(nodeid), None)

    def measurements(self, nodeid: str) -> Iterator[Measurement]:
        """All processes of a test together, apart by device where several recordings have it.

        Raises:
            RecordingError: processes of several recordings are not alike.
        """
        if nodeid in self._problems or not all(ran.passed for ran in self._ran.get(nodeid, ())):
            return
        measured = self._measured.get(nodeid, [])
        apart = len({one.recordings for one in measured}) > 1
        by_device: dict[str, list[Measurement]] = {}
        for one in measured:
            by_device.setdefault(one.device if apart else "", []).append(one)
        for processes in by_device.values():
            joined = join_recorded(processes)
            remarks = dict.fromkeys((*joined.remarks, *self._remarks.get(nodeid, ())))
            yield replace(joined, remarks=(*remarks,))

    def missing(self, nodeid: str) -> Missing:
        """Why there is no measurement of a test at this revision, where that is no mistake.

        Raises:
            NsysError: it is one: the revision has the test, and it cannot be measured there.
        """
        if nodeid in self._problems:
            raise self._problems[nodeid]
        rans = self._ran.get(nodeid, [])
        if rans and all(ran.uncollected == "absent" for ran in rans):
            why = f"there is nothing to compare with: {self.name} has no such test"
            return Missing(why, is_new=True)
        bad = next((ran for ran in rans if not ran.passed), None)
        if bad is not None and (bad.is_skipped or bad.uncollected == "skipped"):
            why = f"there is nothing to compare with: it was skipped at {self.name}"
            return Missing(why, is_new=False)
        why, _, more = (bad.failure if bad else "it was not run").partition("\n")
        raise RevisionError(
            f"the test cannot be compared with {self.name}: {why or 'it failed there'}",
            evidence="\n".join(more.strip().splitlines()[-_LINES:]),
            remedy="name a revision at which it passes, or make that one ready with "
            "nsys_against_setup and nsys_against_python",
        )

    def outcome(self, nodeid: str, judged: Judged | None) -> Outcome | None:
        """What became of a test; None if it was never reached."""
        rans = self._ran.get(nodeid)
        if not rans:
            return None
        problem = self._problems.get(nodeid)
        bad = [ran for ran in rans if not ran.passed or ran.problem is not None]
        if problem is not None:
            judged = Judged(problem=problem)
        shown = bad or [ran for ran in rans if not ran.is_torn_down] or rans
        return Outcome(shown[0], judged, tuple(rans), self._stopped.get(nodeid, ""))


@dataclass(frozen=True)
class Runner:
    """Runs batches.

    Attributes:
        arms: the revision under test last; before it the one that it is compared with, if any.
        measurer: measures captures.
        judge: gives the verdicts.
        gpu_lock: keeps other runs off the GPUs that a batch uses, meanwhile.
        on_step: called before each process.
        on_result: called with each capture, and whether it is of the revision under test.
        look: adds to a verdict what there is to see beside it, given how the workers of each arm
            are started.
    """

    arms: Sequence[Arm]
    measurer: Measurer
    judge: Judge
    gpu_lock: Callable[[Batch], AbstractContextManager[object]]
    on_step: Callable[[Step], None]
    on_result: Callable[[CaptureResult, bool], None]
    look: Look | None = None

    def run(self, batch: Batch, maxfail: int) -> Mapping[str, Outcome]:
        """The outcomes of the batch's tests, by node id, without those that were not reached.

        A test that noise or the code itself made slower is measured again, in fresh processes and
        alone with others of its kind, before it fails: as often as the source can and is to.

        Raises:
            NsysUsageError: nsys was asked for something that it does not know.
        """
        try:
            return self._run(batch, maxfail)
        except GpuBusy as error:
            return {
                test.nodeid: Outcome(
                    RanTest(test.nodeid, (), test.spec.warmup, test.spec.rounds),
                    Judged(problem=error),
                )
                for test in batch.tests
            }

    def _run(self, batch: Batch, maxfail: int) -> Mapping[str, Outcome]:
        with self.gpu_lock(batch), ExitStack() as afterwards:
            planned = max(arm.source.planned(test) for arm in self.arms for test in batch.tests)
            for arm in self.arms:
                arm.source.expect(batch, planned)
                afterwards.callback(arm.source.expect, batch, 0)
            for number in range(planned):
                self._process(batch.tests, number, planned, "plan", maxfail)
            judged = {test.nodeid: self._judge(test) for test in batch.tests}
            again = self.arms[-1].source.confirmations
            alone = self._alone(batch, judged, planned, maxfail) if again else set()
            for number in range(planned, planned + again):
                suspects = [test for test in batch.tests if _is_suspected(judged[test.nodeid])]
                if not suspects:
                    break
                together = [test for test in suspects if test.nodeid not in alone]
                apart = [[test] for test in suspects if test.nodeid in alone]
                for tests in filter(None, [together, *apart]):
                    self._process(tests, number, planned + again, "confirm", maxfail)
                judged |= {test.nodeid: self._judge(test) for test in suspects}
            for arm in self.arms:  # what waits in vain takes memory
                arm.source.expect(batch, 0)
            judged |= {test.nodeid: self._look(test, judged[test.nodeid]) for test in batch.tests}
        outcomes = {nodeid: self.arms[-1].outcome(nodeid, of) for nodeid, of in judged.items()}
        return {nodeid: outcome for nodeid, outcome in outcomes.items() if outcome is not None}

    def _alone(
        self, batch: Batch, judged: dict[str, Judged | None], planned: int, maxfail: int
    ) -> set[str]:
        """Measure anew, in workers of their own, the tests that failed or may have while something
        that earlier ones had left launched work in their rounds; returns their node ids.
        """
        disturbed = [test for test in batch.tests if _is_disturbed(judged[test.nodeid])]
        for test in disturbed:
            measured = self.arms[-1].measurement(test.nodeid)
            why = f"it was measured again, alone: {measured.leftovers if measured else ''}"
            for arm in self.arms:
                arm.forget(test.nodeid, why)
            for number in range(planned):
                self._process([test], number, planned, "alone", maxfail)
            judged[test.nodeid] = self._judge(test)
        return {test.nodeid for test in disturbed}

    def _process(
        self,
        tests: Sequence[PlannedTest],
        number: int,
        of: int,
        purpose: Purpose,
        maxfail: int,
    ) -> None:
        """Run the tests once in every arm; A B, then B A, so that a drift hits both alike."""
        for arm in self.arms if number % 2 == 0 else reversed(self.arms):
            due = [test for test in tests if purpose == "confirm" or arm.goes_on(test, number)]
            if due:
                step = Step(Batch(tuple(due)), number + 1, of, purpose, arm.name)
                self.on_step(step)
                under_test = arm is self.arms[-1]
                # What fails at the other revision is no failure of this run.
                for result in arm.run(step, maxfail if under_test else 0, self.measurer):
                    self.on_result(result, under_test)

    def _judge(self, test: PlannedTest) -> Judged | None:
        try:
            measured = [*self.arms[-1].measurements(test.nodeid)]
        except NsysError as error:
            return Judged(problem=error)
        if not measured:
            return None
        if len(self.arms) == 1:
            judged = [self.judge.judge(test.spec, one, None) for one in measured]
            if len(judged) == 1:
                return judged[0]
            on = zip(judged, measured, strict=True)
            first, *elsewhere = (replace(of, device=one.device) for of, one in on)
            return replace(first, elsewhere=tuple(elsewhere))
        (measurement,), other = measured, self.arms[0]
        try:
            reference = other.measurement(test.nodeid) or other.missing(test.nodeid)
        except NsysError as error:
            return Judged(problem=error)
        return self.judge.judge(test.spec, measurement, reference)

    def _look(self, test: PlannedTest, judged: Judged | None) -> Judged | None:
        if self.look is None or judged is None or judged.verdict is None:
            return judged
        commands = [arm.command for arm in self.arms]
        return replace(judged, verdict=self.look(test, judged.verdict, commands))


def _together(
    found: Sequence[Measurement | NsysError | None],
) -> Measurement | NsysError | None:
    """What the captures of one process say of a test, or the first reason why one says nothing."""
    problem = next((one for one in found if isinstance(one, NsysError)), None)
    measured = [one for one in found if isinstance(one, Measurement)]
    return problem or (join_captures(measured) if measured else None)


def _is_disturbed(judged: Judged | None) -> bool:
    if judged is None or judged.verdict is None or not judged.verdict.measurement.leftovers:
        return False
    # Measured again, a test would have no baseline all the same.
    compared = judged.verdict.status not in ("new", "incomparable")
    return compared and (judged.verdict.failed or judged.verdict.is_suspected)


def _is_suspected(judged: Judged | None) -> bool:
    return judged is not None and judged.verdict is not None and judged.verdict.is_suspected
