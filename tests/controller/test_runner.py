"""Which processes run, of which tests, in which order; and what becomes of each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pytest_nsys.capture.result import PHASES, CaptureResult, RanTest, Uncollected
from pytest_nsys.controller.judges import Judged, Missing, PairJudge
from pytest_nsys.controller.runner import Arm, Outcome, Runner, Step
from pytest_nsys.errors import (
    CaptureMissing,
    GpuBusy,
    NsysError,
    NsysUsageError,
    RevisionError,
    WorkerFailed,
)
from pytest_nsys.measure.measurement import Measurement, Part
from pytest_nsys.plan.batches import Batch, PlannedTest
from pytest_nsys.plan.marker import Spec
from pytest_nsys.verdict.judge import Policy, judge
from tests.support import made

SPEC = Spec(warmup=1, rounds=5, timeout_s=60)
FAST, SLOW = 1e6, 2e6

# What a process makes of a test: its kernel time, how it goes wrong, or None for "not reached".
Scene = float | str | NsysError | None


def _reports(outcome: str) -> tuple[Mapping[str, Any], ...]:
    return tuple({"when": when, "outcome": outcome} for when in PHASES)


def _measured(nodeid: str, ns: float) -> Measurement:
    return made.measurement(made.kernels(Part("gemm", 1, ns=ns)), nodeid=nodeid)


_UNCOLLECTED: Mapping[str, Uncollected] = {
    "absent": "absent",
    "file skipped": "skipped",
    "file broken": "broken",
}


@dataclass
class Source:
    """Captures made up from scenes: for each test, what each of its processes is to be.

    Samples that are ``broken`` raise that error as a whole.
    """

    scenes: Mapping[str, Sequence[Scene]]
    processes: int = 1
    confirmations: int = 2
    name: str = ""
    log: list[str] = field(default_factory=list)
    maxfails: list[int] = field(default_factory=list)
    broken: Mapping[int, NsysError] = field(default_factory=dict)

    def planned(self, test: PlannedTest) -> int:
        return max(self.processes, test.spec.processes)

    def expect(self, batch: Batch, processes: int) -> None:
        """Nothing is started ahead."""

    def capture(self, batch: Batch, maxfail: int, process: int) -> Iterator[CaptureResult]:
        names = " ".join(test.nodeid for test in batch.tests)
        self.log.append(f"{self.name}{process}: {names}")
        self.maxfails.append(maxfail)
        if process in self.broken:
            raise self.broken[process]
        tests = []
        for test in batch.tests:
            scene = self.scenes[test.nodeid][process]
            if scene is None:
                continue
            uncollected = _UNCOLLECTED.get(scene, "") if isinstance(scene, str) else ""
            gone = scene in ("lost", "stopped") or uncollected
            outcome = scene if scene in ("failed", "skipped") else "passed"
            tests.append(
                RanTest(
                    test.nodeid,
                    () if gone else _reports(str(outcome)),
                    1,
                    5,
                    lost="the worker died\nof this" if scene == "lost" or uncollected else "",
                    uncollected=uncollected,
                    stopped="enough" if scene == "stopped" else "",
                    problem=scene if isinstance(scene, NsysError) else None,
                )
            )
        yield CaptureResult(tuple(tests), None, (), (), f"{self.name}{process}", "", {})


@dataclass
class Measurer:
    """Measures what the scenes say."""

    scenes: Mapping[str, Mapping[str, Sequence[Scene]]]

    def measure(
        self, result: CaptureResult, specs: Mapping[str, Spec]
    ) -> dict[str, Measurement | NsysError]:
        arm, process = result.nsys[:-1], int(result.nsys[-1])
        found: dict[str, Measurement | NsysError] = {}
        for ran in result.tests:
            assert ran.nodeid in specs
            scene = self.scenes[arm][ran.nodeid][process]
            if ran.problem is not None:
                found[ran.nodeid] = ran.problem
            elif isinstance(scene, float):
                found[ran.nodeid] = _measured(ran.nodeid, scene)
        return found


class Judge:
    """Against a baseline of fast processes, or another revision."""

    def judge(
        self, spec: Spec, measurement: Measurement, reference: Measurement | Missing | None
    ) -> Judged:
        if isinstance(reference, Missing):
            return PairJudge(Policy("profile"), "main").judge(spec, measurement, reference)
        baseline = reference or _measured(measurement.nodeid, FAST)
        return Judged(judge(spec, measurement, baseline, Policy("gate")))


class Stage:
    """A runner with everything around it made up."""

    def __init__(
        self,
        *sources: Source,
        gpu_lock: Callable[[Batch], AbstractContextManager[object]] | None = None,
    ) -> None:
        self.log: list[str] = []
        self.steps: list[Step] = []
        self.results: list[tuple[str, bool]] = []
        self.held: list[str] = []
        for source in sources:
            source.log = self.log
        measurer: Any = Measurer({source.name: source.scenes for source in sources})
        judge: Any = Judge()
        self.runner = Runner(
            [Arm(source, source.name) for source in sources],
            measurer,
            judge,
            gpu_lock=gpu_lock or self._lock,
            on_step=self.steps.append,
            on_result=lambda result, under_test: self.results.append((result.nsys, under_test)),
        )
        self._tests = dict.fromkeys(sources[-1].scenes, SPEC)

    @contextmanager
    def _lock(self, batch: Batch) -> Iterator[None]:
        self.held.append("entered")
        try:
            yield
        finally:
            self.held.append("left")

    def run(self, maxfail: int = 0, **specs: Spec) -> Mapping[str, Outcome]:
        tests = {**self._tests, **specs}
        batch = Batch(tuple(PlannedTest(name, spec) for name, spec in tests.items()))
        return self.runner.run(batch, maxfail)


def _status(outcome: Outcome) -> str:
    assert outcome.judged is not None
    assert outcome.judged.verdict is not None
    return outcome.judged.verdict.status


def _times(outcome: Outcome) -> list[float]:
    assert outcome.judged is not None
    assert outcome.judged.verdict is not None
    body = outcome.judged.verdict.measurement.windows["test"]
    return [process[0] for process in body.by_process("gpu.kernel_time")]


def test_planned_sessions_are_run_and_judged_together() -> None:
    stage = Stage(Source({"a": [FAST, 1.001e6, 1.002e6], "b": [FAST] * 3}, processes=3))
    outcomes = stage.run()
    assert stage.log == ["0: a b", "1: a b", "2: a b"]
    assert [(step.number, step.of, step.purpose) for step in stage.steps] == [
        (1, 3, "plan"),
        (2, 3, "plan"),
        (3, 3, "plan"),
    ]
    assert _times(outcomes["a"]) == [FAST, 1.001e6, 1.002e6]
    assert [len(outcome.processes) for outcome in outcomes.values()] == [3, 3]
    assert stage.results == [("0", True), ("1", True), ("2", True)]
    assert stage.held == ["entered", "left"]


def test_a_test_has_as_many_sessions_as_it_asks_for() -> None:
    stage = Stage(Source({"a": [FAST], "b": [FAST] * 3}))
    outcomes = stage.run(b=replace(SPEC, processes=3))
    assert stage.log == ["0: a b", "1: b", "2: b"]
    assert [len(_times(outcome)) for outcome in outcomes.values()] == [1, 3]


def test_only_what_is_suspected_is_measured_again_until_it_is_no_longer() -> None:
    scenes = {
        "fine": [FAST],
        "once": [SLOW, FAST, FAST],  # the median of two lies between them; of three it is fast
        "lasting": [SLOW, SLOW, SLOW],
        "faster": [FAST / 2],
    }
    stage = Stage(Source(scenes))
    outcomes = stage.run()
    assert stage.log == ["0: fine once lasting faster", "1: once lasting", "2: once lasting"]
    assert [(step.purpose, step.of) for step in stage.steps] == [
        ("plan", 1),
        ("confirm", 3),
        ("confirm", 3),
    ]
    assert {name: _status(outcome) for name, outcome in outcomes.items()} == {
        "fine": "ok",
        "once": "inconclusive",
        "lasting": "regressed",
        "faster": "improved",
    }
    assert _times(outcomes["once"]) == [SLOW, FAST, FAST]
    assert _times(outcomes["lasting"]) == [SLOW] * 3


def test_measuring_again_ends_as_soon_as_nothing_is_suspected() -> None:
    # A little too slow once: with the second process the median is within the tolerance.
    stage = Stage(Source({"a": [1.04e6, FAST], "b": [FAST]}))
    assert _status(stage.run()["a"]) in ("ok", "inconclusive")
    assert stage.log == ["0: a b", "1: a"]


@pytest.mark.parametrize("confirmations", [0, 1, 4])
def test_it_is_measured_again_as_often_as_the_source_can(confirmations: int) -> None:
    stage = Stage(Source({"a": [SLOW] * 5}, confirmations=confirmations))
    assert _times(stage.run()["a"]) == [SLOW] * (1 + confirmations)
    assert len(stage.log) == 1 + confirmations


def test_confirming_sessions_follow_the_planned_ones() -> None:
    stage = Stage(Source({"a": [SLOW] * 5, "b": [FAST] * 3}, processes=3))
    assert _times(stage.run()["a"]) == [SLOW] * 5
    assert stage.log == ["0: a b", "1: a b", "2: a b", "3: a", "4: a"]


def test_two_revisions_are_measured_a_b_b_a() -> None:
    before = Source({"a": [FAST] * 4, "b": [FAST] * 4}, processes=2, name="A")
    after = Source({"a": [FAST] * 4, "b": [SLOW] * 4}, processes=2, name="B")
    stage = Stage(before, after)
    outcomes = stage.run()
    assert stage.log[:4] == ["A0: a b", "B0: a b", "B1: a b", "A1: a b"]
    assert stage.log[4:] == ["A2: b", "B2: b", "B3: b", "A3: b"]
    assert [step.arm for step in stage.steps[:4]] == ["A", "B", "B", "A"]
    assert [under_test for _, under_test in stage.results[:4]] == [False, True, True, False]
    assert {name: _status(outcome) for name, outcome in outcomes.items()} == {
        "a": "ok",
        "b": "regressed",
    }
    judged = outcomes["b"].judged
    assert judged is not None
    assert judged.verdict is not None
    assert judged.verdict.baseline is not None
    assert judged.verdict.baseline.processes == judged.verdict.measurement.processes == 4


@pytest.mark.parametrize(
    ("wrong", "process"),
    [*((wrong, number) for wrong in ("failed", "lost") for number in range(3)), ("skipped", 0)],
)
def test_a_test_that_goes_wrong_in_any_session_has_gone_wrong(wrong: str, process: int) -> None:
    scenes: list[Scene] = [FAST] * 3
    scenes[process] = wrong
    stage = Stage(Source({"a": scenes, "b": [FAST] * 3}, processes=3))
    outcomes = stage.run()
    assert outcomes["a"].judged is None
    ran = outcomes["a"].ran
    assert not ran.passed
    assert bool(ran.lost) is (wrong == "lost")
    assert len(outcomes["a"].processes) == process + 1  # it is not run again
    assert _times(outcomes["b"]) == [FAST] * 3


@pytest.mark.parametrize(
    ("scene", "note", "stopped"),
    [
        ("absent", "the worker did not collect it", ""),
        ("file skipped", "its file was skipped", ""),
        ("file broken", "its file could not be imported", ""),
        ("stopped", "the run was stopped: enough", "enough"),
    ],
)
def test_a_further_process_without_the_test_takes_nothing_back(
    scene: str, note: str, stopped: str
) -> None:
    outcome = Stage(Source({"a": [SLOW, scene, scene]})).run()["a"]
    assert _status(outcome) == "regressed"
    assert outcome.judged.verdict.notes == (f"it could not be measured again: {note}",)
    assert (outcome.ran.lost, outcome.ran.stopped, outcome.stopped) == ("", "", stopped)


@pytest.mark.parametrize("scenes", [[SLOW, *["skipped"] * 4], [SLOW, SLOW, *["skipped"] * 3]])
@pytest.mark.parametrize("processes", [1, 3])
def test_what_was_measured_stays_measured_where_a_later_process_skips(
    scenes: list[Scene], processes: int
) -> None:
    outcome = Stage(Source({"a": scenes}, processes=processes)).run()["a"]
    assert _status(outcome) == "regressed"
    assert outcome.ran.passed
    assert outcome.judged is not None
    assert outcome.judged.verdict is not None
    assert outcome.judged.verdict.notes == ("it could not be measured again: it was skipped",)


def test_a_suspect_that_fails_when_it_is_measured_again_has_failed() -> None:
    stage = Stage(Source({"a": [SLOW, "failed"]}))
    outcome = stage.run()["a"]
    assert outcome.judged is None
    assert outcome.ran.reports[1]["outcome"] == "failed"
    assert stage.log == ["0: a", "1: a"]


NO_REPORT = CaptureMissing("there is no report", remedy="x")


def test_a_problem_of_a_planned_session_is_the_tests() -> None:
    stage = Stage(Source({"a": [FAST, NO_REPORT, FAST], "b": [FAST] * 3}, processes=3))
    outcomes = stage.run()
    assert outcomes["a"].judged == Judged(problem=NO_REPORT)
    assert stage.log == ["0: a b", "1: a b", "2: b"]
    assert _status(outcomes["b"]) == "ok"


def test_a_problem_of_a_confirming_session_is_a_remark_and_the_rest_decides() -> None:
    stage = Stage(Source({"a": [SLOW, NO_REPORT, SLOW]}))
    outcome = stage.run()["a"]
    assert _status(outcome) == "regressed"
    assert _times(outcome) == [SLOW, SLOW]
    assert outcome.judged is not None
    assert outcome.judged.verdict is not None
    assert outcome.judged.verdict.notes == ("it could not be measured again: there is no report",)


def test_a_capture_that_is_no_good_is_the_problem_of_all_its_tests() -> None:
    stage = Stage(Source({"a": [FAST], "b": [FAST]}, broken={0: NO_REPORT}))
    outcomes = stage.run()
    assert {outcome.judged for outcome in outcomes.values()} == {Judged(problem=NO_REPORT)}
    assert outcomes["a"].ran.reports == ()
    # A recording of the run keeps why, and fails again when it is replayed.
    assert outcomes["a"].ran.problem is NO_REPORT
    assert stage.held == ["entered", "left"]
    # Of a confirming process it is a remark.
    stage = Stage(Source({"a": [SLOW] * 3}, broken={1: NO_REPORT}))
    outcome = stage.run()["a"]
    assert _times(outcome) == [SLOW, SLOW]


def test_a_capture_that_breaks_half_way_is_the_problem_of_the_tests_that_are_left() -> None:
    class Breaking(Source):
        def capture(self, batch: Batch, maxfail: int, process: int) -> Iterator[CaptureResult]:
            yield from super().capture(Batch(batch.tests[:1]), maxfail, process)
            raise NO_REPORT

    outcomes = Stage(Breaking({"a": [FAST], "b": [FAST]})).run()
    assert _status(outcomes["a"]) == "ok"
    assert outcomes["b"].judged == Judged(problem=NO_REPORT)


def test_a_problem_at_the_other_revision_is_the_tests() -> None:
    before = Source({"a": [NO_REPORT, FAST], "b": [FAST] * 2}, processes=2, name="A")
    after = Source({"a": [FAST] * 2, "b": [FAST] * 2}, processes=2, name="B")
    outcomes = Stage(before, after).run()
    assert outcomes["a"].judged == Judged(problem=NO_REPORT)
    assert _status(outcomes["b"]) == "ok"


@pytest.mark.parametrize(
    ("of", "status", "note"),
    [
        ("absent", "new", "there is nothing to compare with: A has no such test"),
        ("skipped", "incomparable", "there is nothing to compare with: it was skipped at A"),
        ("file skipped", "incomparable", "there is nothing to compare with: it was skipped at A"),
    ],
)
def test_a_test_that_the_other_revision_lacks_is_measured_all_the_same(
    of: Scene, status: str, note: str
) -> None:
    before = Source({"a": [of, of]}, processes=2, name="A")
    after = Source({"a": [FAST, FAST]}, processes=2, name="B")
    stage = Stage(before, after)
    outcome = stage.run()["a"]
    assert _times(outcome) == [FAST, FAST]
    assert stage.log == ["A0: a", "B0: a", "B1: a"]
    assert (_status(outcome), outcome.judged.verdict.notes[0]) == (status, note)
    assert not outcome.judged.verdict.failed


@pytest.mark.parametrize(
    ("of", "said", "evidence"),
    [
        ("failed", "cannot be compared with A: it failed there (setup)", "None"),
        ("lost", "cannot be compared with A: the worker died", "of this"),
        ("file broken", "cannot be compared with A: the worker died", "of this"),
        ("stopped", "cannot be compared with A: it was not run: enough", ""),
        (None, "cannot be compared with A: it was not run", ""),
    ],
)
def test_a_test_that_goes_wrong_at_the_other_revision_is_not_new(
    of: Scene, said: str, evidence: str
) -> None:
    """Not even where it went well once: of a suspect that is measured again."""
    for scenes in ([of], [FAST, of]) if of is not None else ([of],):
        before = Source({"a": scenes}, name="A", confirmations=1)
        after = Source({"a": [SLOW, SLOW]}, name="B", confirmations=1)
        judged = Stage(before, after).run()["a"].judged
        assert judged is not None
        assert isinstance(judged.problem, RevisionError)
        assert (judged.problem.what, judged.problem.evidence) == (f"the test {said}", evidence)


def test_tests_that_were_never_reached_have_no_outcome() -> None:
    stage = Stage(Source({"a": ["failed", None], "b": [None, None]}, processes=2))
    outcomes = stage.run(maxfail=1)
    assert list(outcomes) == ["a"]
    assert stage.log == ["0: a b"]


def test_failures_at_the_other_revision_stop_nothing() -> None:
    before = Source({"a": [FAST]}, name="A")
    after = Source({"a": [FAST]}, name="B")
    Stage(before, after).run(maxfail=2)
    assert (before.maxfails, after.maxfails) == ([0], [2])


def test_a_wrong_option_of_nsys_ends_the_run_and_frees_the_gpu() -> None:
    error = NsysUsageError("nsys does not know --x")
    stage = Stage(Source({"a": [FAST]}, broken={0: error}))
    with pytest.raises(NsysUsageError, match="does not know"):
        stage.run()
    assert stage.held == ["entered", "left"]
    stage = Stage(Source({"a": [SLOW] * 3}, broken={1: error}))
    with pytest.raises(NsysUsageError, match="does not know"):
        stage.run()
    assert stage.held == ["entered", "left"]


def test_an_error_at_the_other_revision_says_where_it_happened() -> None:
    error = WorkerFailed("the worker ended", evidence="exit code 3", remedy="look")
    scenes = {"a": [FAST], "b": [FAST]}
    stage = Stage(Source(scenes, name="main", broken={0: error}), Source(scenes))
    problems = [outcome.judged and outcome.judged.problem for outcome in stage.run().values()]
    assert problems[0] is problems[1]  # it is told in full once
    assert str(problems[0]).splitlines()[:2] == ["at main: the worker ended", "  exit code 3"]


def test_any_other_error_frees_the_gpu_too() -> None:
    class Broken(Source):
        def capture(self, batch: Batch, maxfail: int, process: int) -> Iterator[CaptureResult]:
            raise KeyboardInterrupt

    stage = Stage(Broken({"a": [FAST]}))
    with pytest.raises(KeyboardInterrupt):
        stage.run()
    assert stage.held == ["entered", "left"]


def test_a_gpu_that_stays_in_use_is_the_problem_of_every_test() -> None:
    @contextmanager
    def busy(batch: Batch) -> Iterator[None]:
        raise GpuBusy("GPU 0 is in use")
        yield

    source = Source({"a": [FAST], "b": [FAST]})
    stage = Stage(source, gpu_lock=busy)
    outcomes = stage.run()
    assert stage.log == []
    problems = [outcome.judged.problem for outcome in outcomes.values() if outcome.judged]
    assert [str(problem) for problem in problems] == ["GPU 0 is in use"] * 2
