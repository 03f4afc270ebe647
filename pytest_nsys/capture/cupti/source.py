"""Captures of tests that run here, in the pytest that the user started: one of each test."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from pytest_nsys.capture.cupti.session import Captured, CuptiSession
from pytest_nsys.capture.cupti.tables import write_export
from pytest_nsys.capture.cupti.windows import TimedWindows
from pytest_nsys.capture.nsys import DEFAULT_FLAGS
from pytest_nsys.capture.result import CaptureResult, RanTest
from pytest_nsys.capture.workers import repeats, writing_temporary_files
from pytest_nsys.catalogue import parse_range, undivided
from pytest_nsys.errors import EventsMissing, NeedsNsys, NoCudaEvents, NoGpu, NsysError
from pytest_nsys.gpu.nvml import describe_gpus
from pytest_nsys.plan.batches import Batch, PlannedTest
from pytest_nsys.plan.marker import Spec
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.support.own import own
from pytest_nsys.trace import Trace
from pytest_nsys.trace.lost import launches_without_kernels
from pytest_nsys.worker.rounds import Rounds
from pytest_nsys.worker.sent_report import sent_report

_HOW = "measure it with nsys_capture = nsys"
_LOGREPORT = "pytest_runtest_logreport"


class Unheard:
    """Told what happens to tests, of which nobody is told: they run here."""

    def write(self, event: str, **values: Any) -> None:
        """Something has happened."""


@dataclass(frozen=True)
class Here:
    """What tests are measured with in this process.

    Attributes:
        session: CUPTI.
        windows: of the tests.
        rounds: the hooks that run them.
        folder: for private files; None where there are none.
        keeps: whether captures are kept as files.
        needs_gpu: whether a capture in which there is no GPU is no good.
        commit: what git has checked out; "" if unknown.
        versions: of Python, the frameworks and CUPTI.
    """

    session: CuptiSession
    windows: TimedWindows
    rounds: Rounds
    folder: RunFolder | None = None
    keeps: bool = False
    needs_gpu: bool = True
    commit: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CuptiSource:
    """Captures one test, which runs here.

    Attributes:
        item: the test.
        nextitem: the one after it, for which pytest keeps fixtures.
        here: what it is measured with.
        explain: adds to an error what on this machine may be its cause.
        refused: why it cannot be measured so; "" if it can.
    """

    item: pytest.Item
    nextitem: pytest.Item | None
    here: Here
    explain: Callable[[NsysError], NsysError]
    refused: str = ""

    @property
    def confirmations(self) -> int:
        """None: what is measured again is so in a fresh process, and there is but this one."""
        return 0

    def planned(self, test: PlannedTest) -> int:
        """One process: this one."""
        del test
        return 1

    def expect(self, batch: Batch, processes: int) -> None:
        """There is nothing to be started ahead."""

    def capture(self, batch: Batch, maxfail: int, process: int) -> Iterator[CaptureResult]:
        """Run the test.

        Raises:
            NeedsNsys: it asks for what CUPTI within the process does not have.
            CuptiError: CUPTI cannot record.
        """
        del maxfail, process  # one test, once
        (test,) = batch.tests
        why = self.refused or needs_nsys(test.spec)
        if why:
            raise NeedsNsys(why, remedy=_HOW)
        try:
            self.here.session.begin_test()
        except NsysError as error:
            raise self.explain(error) from None
        ran, captured = self._run(test)
        yield self._result(test, ran, captured)

    def _run(self, test: PlannedTest) -> tuple[RanTest, Captured | NsysError]:
        """Run the test: how it ended, and what was recorded, or why nothing was."""
        here, item = self.here, self.item
        here.windows.take()
        here.rounds.begin(item, repeats([test])[test.nodeid])
        captured: Captured | NsysError
        try:
            with _caught_subtests(item, here.rounds) as parts:
                reports = runtestprotocol(item, log=False, nextitem=self.nextitem)
        finally:
            here.rounds.end(item)
            try:
                captured = here.session.end_test()
            except NsysError as error:
                captured = error
        sent = tuple(sent_report(item.config, report) for report in (*parts, *reports))
        return RanTest(test.nodeid, sent, test.spec.warmup, test.spec.rounds), captured

    def _result(
        self, test: PlannedTest, ran: RanTest, captured: Captured | NsysError
    ) -> CaptureResult:
        began = own.clock()
        trace, export, records = None, None, self.here.windows.take()
        if ran.passed:
            try:
                if isinstance(captured, NsysError):
                    raise captured
                trace = replace(captured.trace(), unknown=captured.unknown)
                self._prove(trace, needs_cuda=not test.spec.allow_empty)
                export = self._export(captured) if self.here.keeps else None
            except NsysError as error:
                trace, ran = None, replace(ran, problem=self.explain(error))
        return CaptureResult(
            tests=(ran,),
            trace=trace,
            records=records,
            options=DEFAULT_FLAGS,
            nsys="",
            date=datetime.date.today().isoformat(),
            versions=self.here.versions,
            commit=self.here.commit,
            export=export,
            seconds={"load": own.clock() - began},
        )

    def _prove(self, trace: Trace, *, needs_cuda: bool) -> None:
        if not self.here.needs_gpu:
            return
        if not trace.gpus:
            raise NoGpu(
                "CUDA shows this process no NVIDIA GPU",
                evidence=describe_gpus(),
                remedy="run on a machine with a GPU and its driver (nvidia-smi shows it); without "
                "the --nsys options the tests run as ordinary tests",
            )
        launches = launches_without_kernels(trace)
        if needs_cuda and launches:
            raise EventsMissing(
                "CUPTI has recorded launches and no kernel",
                evidence=f"calls that launch kernels: {launches}",
                remedy="see whether another profiler runs in the test (torch.profiler, Proton), "
                "and whether a CUDA error has broken the process's context",
            )
        if needs_cuda and not trace.has_cuda_activity:
            raise NoCudaEvents(
                "CUPTI has recorded no CUDA events at all",
                evidence="of this process: child processes are recorded by nsys alone",
                remedy="check that what is measured uses the GPU (allow_empty=True in the marker "
                "says that a test need not), and that it does so in this process",
            )

    def _export(self, captured: Captured) -> Path:
        folder = self.here.folder
        assert folder is not None
        with writing_temporary_files():
            path = folder.path / f"capture-{folder.next_number()}.sqlite"
            write_export(captured.tables, path)
        return path


def needs_nsys(spec: Spec) -> str:
    """What a test asks for that nsys alone has; "" for nothing."""
    asked = {
        "isolate=True": spec.isolate,
        f"gpus={spec.gpus}": spec.gpus > 1,
        "nsys_args": bool(spec.nsys_args),
    }
    keys = {undivided(key) for key in (*spec.tolerance, *spec.budget)}
    asked |= {key: True for key in sorted(keys) if parse_range(key)}
    named = [name for name, is_asked in asked.items() if is_asked]
    if not named:
        return ""
    return f"{', '.join(named)}: CUPTI in this process does not have that, nsys has"


@contextmanager
def _caught_subtests(item: pytest.Item, rounds: Rounds) -> Iterator[list[pytest.TestReport]]:
    """The reports of subtests, which are logged as they end, in each round: those of the first
    call, and of whichever fails, are kept for after the verdict."""
    kept: list[pytest.TestReport] = []

    def keep(report: pytest.TestReport) -> None:
        if report.failed:
            rounds.failing.add(report.nodeid)
        elif report.nodeid in rounds.again:
            return
        kept.append(report)

    # pluggy keeps the callers of hooks as attributes: those of the session, and of a folder.
    with pytest.MonkeyPatch.context() as patch:
        for relay in {id(one): one for one in (item.config.hook, item.ihook)}.values():
            patch.setattr(relay, _LOGREPORT, keep)
        yield kept
