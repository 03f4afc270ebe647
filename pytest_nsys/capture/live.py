"""Capturing a batch of tests: one worker under one nsys, and another for what a crash left over."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_nsys.capture.ahead import Ahead, Turn
from pytest_nsys.capture.export import export_report, keep_report
from pytest_nsys.capture.nsys import trace_options
from pytest_nsys.capture.proof import prove_report, prove_trace
from pytest_nsys.capture.result import CaptureResult, RanTest, Uncollected, missing_phase
from pytest_nsys.capture.run import WorkerRun
from pytest_nsys.capture.starting import launch_repeatedly
from pytest_nsys.capture.workers import (
    Workers,
    nsys_arguments,
    number_of,
    repeats,
    writing_temporary_files,
)
from pytest_nsys.errors import (
    CaptureError,
    LimitReached,
    NsysError,
    RevisionError,
)
from pytest_nsys.gpu.shares import shares, visible_entries
from pytest_nsys.plan.batches import Batch, PlannedTest
from pytest_nsys.plan.privacy import published_options
from pytest_nsys.process.environment import given_environment
from pytest_nsys.support.own import own
from pytest_nsys.trace import Trace, load_trace
from pytest_nsys.windows.record import WindowRecord
from pytest_nsys.worker.job import Task

_FRAMEWORKS = ("torch", "triton", "jax", "jaxlib", "cupy-cuda12x", "cupy-cuda13x", "transformers")


class LiveCapture:
    """Captures batches with a real nsys.

    Args:
        workers: starts workers.
        ahead: those that wait for their turns.
        explain: adds to an error what on this machine may be its cause.
        commit: what git has checked out of what they run; "" if unknown.
    """

    def __init__(
        self,
        workers: Workers,
        ahead: Ahead,
        explain: Callable[[NsysError], NsysError] = lambda error: error,
        commit: str = "",
    ) -> None:
        self._workers = workers
        self._nsys = workers.nsys
        self._options = workers.options
        self._ahead = ahead
        self._explain = explain
        self._commit = commit

    @property
    def confirmations(self) -> int:
        """How often what is suspected can be measured again."""
        return self._options.confirmations

    def planned(self, test: PlannedTest) -> int:
        """How many processes the test is to have."""
        return test.spec.processes

    def expect(self, batch: Batch, processes: int) -> None:
        """The batch is about to be captured so many times, and nothing else before it."""
        self._ahead.expect(self._turn(batch.tests), processes)

    def capture(self, batch: Batch, maxfail: int, process: int = 0) -> Iterator[CaptureResult]:
        """Run the batch; one result per worker.

        A test in which a worker died is not run again. What had not been run goes to a new
        worker, and so do the tests that had passed: a process that dies takes with it the CUDA
        events that were not yet flushed, and nothing in the capture says how many.

        Raises:
            NotEnoughGpus: there are fewer than a test asks for.
        """
        del process  # one is like another
        gpus = batch.tests[0].spec.gpus
        if gpus > 1:
            shares(1, visible_entries(given_environment()), gpus=gpus)
        left = list(batch.tests)
        lost_all_ranges = False
        while left:
            try:
                run = launch_repeatedly(functools.partial(self._run, left, maxfail))
            except NsysError as error:
                raise self._explain(error) from None
            result = self.analyse(run, left, batch)
            if result.lost_all_ranges and not lost_all_ranges:
                lost_all_ranges = True  # once: see there
                continue
            if run.lost is not None:
                kept = tuple(test for test in result.tests if not test.passed)
                result = replace(result, tests=kept)
            done = {test.nodeid for test in result.tests}
            yield result
            del run, result
            left = [test for test in left if test.nodeid not in done]

    def _run(self, tests: Sequence[PlannedTest], maxfail: int) -> WorkerRun:
        worker = self._ahead.take(self._turn(tests))
        with writing_temporary_files():
            worker.tell(Task(repeats(tests), maxfail))
        return worker.run({test.nodeid: test.spec.timeout_s for test in tests})

    def _turn(self, tests: Sequence[PlannedTest]) -> Turn:
        return Turn(self._workers, nsys_arguments(self._options, tests))

    def analyse(
        self, run: WorkerRun, planned: Sequence[PlannedTest], batch: Batch
    ) -> CaptureResult:
        """What a worker has measured, or why it has not.

        Args:
            run: how it ended.
            planned: the tests that it was to run, in the order in which they are reported.
            batch: that they belong to.
        """
        tests = _ran_tests(run, planned)
        seconds = dict(run.wall_s)
        trace, export = None, None
        passed = {test.nodeid for test in tests if test.passed and test.problem is None}
        if passed and run.lost is None:
            try:
                self._check_modules(run)
                export = self._export(run, seconds)
                began = own.clock()
                trace = load_trace(export)
                self._prove(trace, run.records, planned, passed)
                seconds["load"] = own.clock() - began
            except NsysError as error:
                trace, export = None, None
                problem = self._explain(error)
                tests = [replace(t, problem=problem) if t.nodeid in passed else t for t in tests]
        return CaptureResult(
            tests=tuple(tests),
            trace=trace,
            records=run.records,
            options=published_options(trace_options(nsys_arguments(self._options, batch.tests))),
            nsys=run.brought.nsys if run.brought else self._nsys.version_text,
            date=datetime.date.today().isoformat(),
            versions=run.brought.versions if run.brought else installed_versions(),
            commit=self._commit,
            export=export,
            seconds=seconds,
        )

    def _export(self, run: WorkerRun, seconds: dict[str, float]) -> Path:
        if not run.ended:
            raise CaptureError(
                "the worker died after its tests, before the capture was complete",
                evidence=_loss(run),
                remedy="look for what fails when the session ends: fixtures of session scope, "
                "plugins, or the frameworks' own clean-up",
            )
        if run.brought is not None:
            if run.brought.problem is not None:
                raise run.brought.problem
            assert run.brought.export is not None
            return run.brought.export
        keep_report(run.report, self._options.keep, number_of(run.report.parent))
        prove_report(run.report, run.nsys_output)
        began = own.clock()
        export = export_report(
            self._nsys, run.report, run.report.parent, deadline_s=self._options.deadlines.export
        )
        seconds["export"] = own.clock() - began
        return export

    def _check_modules(self, run: WorkerRun) -> None:
        """That the code of a revision was measured, and not that of another checkout."""
        strays = [
            file for event in run.events if event["event"] == "strays" for file in event["files"]
        ]
        if strays:
            raise RevisionError(
                "tests imported code of another checkout than their own",
                evidence="\n".join(strays[:5]),
                remedy="the project is installed in place: give each revision an environment of "
                "its own with nsys_against_setup and nsys_against_python, or put its folder on the "
                "path (pythonpath = src)",
            )

    def _prove(
        self,
        trace: Trace,
        records: Sequence[WindowRecord],
        planned: Sequence[PlannedTest],
        passed: set[str],
    ) -> None:
        needs_gpu = self._options.needs_gpu
        uses_gpu = any(t.nodeid in passed and not t.spec.allow_empty for t in planned)
        prove_trace(trace, records, needs_gpu=needs_gpu, needs_cuda=needs_gpu and uses_gpu)


def _ran_tests(run: WorkerRun, planned: Sequence[PlannedTest]) -> list[RanTest]:
    """How each test of the job ended; without those that a dead worker did not come to."""
    reports: dict[str, list[Mapping[str, Any]]] = {}
    for event in run.events:
        if event["event"] == "report":
            reports.setdefault(event["nodeid"], []).append(event["data"])
    collected = {
        nodeid
        for event in run.events
        if event["event"] == "collected"
        for nodeid in event["nodeids"]
    }
    started = {event["nodeid"] for event in run.events if event["event"] == "start"}
    cut = {event["nodeid"] for event in run.events if event["event"] == "cut"}
    stop = stop_reason(run)
    tests = []
    for test in planned:
        ran = RanTest(
            test.nodeid,
            tuple(reports.get(test.nodeid, ())),
            warmup=test.spec.warmup,
            rounds=test.spec.rounds,
        )
        if test.nodeid == run.lost:
            tests.append(replace(ran, lost=_loss(run)))
        elif test.nodeid in cut or (test.nodeid not in started and stop and stop == run.limit):
            tests.append(replace(ran, problem=_not_measured(run, begun=test.nodeid in cut)))
        elif test.nodeid in started:
            missing = missing_phase(ran.reports)
            if missing and stop:
                ran = replace(ran, stopped=stop)
            elif missing:
                ran = replace(ran, lost=_unaccounted(run, f"sent no report of its {missing}"))
            tests.append(ran)
        elif test.nodeid not in collected:
            why = _uncollected(run, test.nodeid)
            tests.append(replace(ran, lost=_not_collected(run), uncollected=why))
        elif stop:
            tests.append(replace(ran, stopped=stop))
        elif run.ended and run.lost is None:
            tests.append(replace(ran, lost=_unaccounted(run, "never came to this test")))
    if not tests:
        # A worker that dies between tests would otherwise be started for ever.
        first = planned[0]
        lost = RanTest(first.nodeid, (), first.spec.warmup, first.spec.rounds, lost=_loss(run))
        tests.append(lost)
    return tests


def stop_reason(run: WorkerRun) -> str:
    """Why the worker stopped before its end (``pytest.exit``, a limit); "" if it did not."""
    for event in run.events:
        if event["event"] == "exit":
            return str(event["reason"])
        if event["event"] == "internal_error":
            return f"internal error in the worker:\n{event['text']}"
        if event["event"] == "end" and event["stop"]:
            return str(event["stop"])
    return ""


def _not_measured(run: WorkerRun, *, begun: bool) -> LimitReached:
    return LimitReached(
        f"not measured: {run.limit}" + (" between its rounds" if begun else " before it"),
        evidence=f"{run.wall_s['worker']:.1f} s after the start of the worker",
        remedy="raise the limit, or measure less in one run: fewer tests, rounds or calls",
    )


def _loss(run: WorkerRun) -> str:
    reason = run.reason or "the worker ended suddenly"
    return f"{reason}\n\n{run.stderr}".strip() if run.stderr else reason


_ENDED_WELL = (0, 1, 5)
"""pytest's exit codes of a session that came to its end: all passed, some failed, none ran."""


def _unaccounted(run: WorkerRun, what: str) -> str:
    """That a test is missing in what the worker said, and what it said of its end."""
    ends = [int(e["exitstatus"]) for e in run.events if e["event"] == "end"]
    well = "ended well" if ends and ends[0] in _ENDED_WELL else "ended"
    ended = f"{well} (exit status {ends[0]})" if ends else well
    return (
        f"the worker {ended} and {what}\n\nA plugin or a fixture runs or reports tests in a way of "
        f"its own: see which with -p no:NAME, or measure the test alone with isolate=True.\n"
        f"{run.stderr}"
    ).rstrip()


SAME_TESTS = (
    "have every process find the same tests, with the same ids: nothing random, no time and "
    "nothing that differs between processes may choose or name them"
)


def _not_collected(run: WorkerRun) -> str:
    kinds = ("collect_error", "collect_skip")
    reasons = [event["text"] for event in run.events if event["event"] in kinds]
    reasons = reasons or [f"What to do: {SAME_TESTS}"]
    return "the worker did not collect this test, the controller did" + "".join(
        f"\n{text}" for text in reasons
    )


def _uncollected(run: WorkerRun, nodeid: str) -> Uncollected:
    """Why a test was not collected, by what became of the place where it would be."""
    kinds: tuple[tuple[str, Uncollected], ...] = (
        ("collect_error", "broken"),
        ("collect_skip", "skipped"),
    )
    for kind, why in kinds:
        places = (event["nodeid"] for event in run.events if event["event"] == kind)
        if any(_is_in(place, nodeid) for place in places):
            return why
    return "absent"


def _is_in(place: str, nodeid: str) -> bool:
    # A package is collected by its __init__.py, and the whole project by nothing.
    place = place.removesuffix("__init__.py").rstrip("/")
    return nodeid.startswith(place) or not place.strip("./")


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the frameworks that are installed (not whether they are used)."""
    versions = {"python": platform.python_version()}
    for name in _FRAMEWORKS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
