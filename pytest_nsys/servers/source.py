"""Captures of server tests: such a test runs here, in pytest's own protocol, and the server that it
starts runs under nsys."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from pytest_nsys.capture.export import export_report, keep_report
from pytest_nsys.capture.live import installed_versions
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.capture.proof import prove_report
from pytest_nsys.capture.result import CaptureResult, RanTest
from pytest_nsys.capture.workers import CaptureOptions
from pytest_nsys.errors import CaptureError, NsysError
from pytest_nsys.plan.batches import Batch, PlannedTest
from pytest_nsys.plan.privacy import published_options
from pytest_nsys.servers.context import ServerContext
from pytest_nsys.servers.records import TestCaptures, WindowCapture, prove_rounds, round_records
from pytest_nsys.support.own import own
from pytest_nsys.trace import load_trace


@dataclass(frozen=True)
class ServerSource:
    """Captures one server test.

    Attributes:
        item: the test.
        nextitem: the one after it, for which pytest keeps fixtures.
        context: what its fixture starts servers with.
        options: how captures are made.
        explain: adds to an error what on this machine may be its cause.
    """

    item: pytest.Item
    nextitem: pytest.Item | None
    context: ServerContext
    options: CaptureOptions
    explain: Callable[[NsysError], NsysError]

    @property
    def confirmations(self) -> int:
        """How often what is suspected can be measured again."""
        return self.options.confirmations

    def planned(self, test: PlannedTest) -> int:
        """How many processes the test is to have."""
        return test.spec.processes

    def expect(self, batch: Batch, processes: int) -> None:
        """There is nothing to be started ahead."""

    def capture(self, batch: Batch, maxfail: int, process: int) -> Iterator[CaptureResult]:
        """Run the test once; one result per window that it measured, or one without any."""
        del maxfail  # one test
        (test,) = batch.tests
        ran, captures = self._run(test, process)
        seconds: Mapping[str, float] = captures.seconds
        for result in self._results(test, ran, captures.windows):
            yield replace(result, seconds={**seconds, **result.seconds})
            seconds = {}  # once

    def _results(
        self, test: PlannedTest, ran: RanTest, windows: Sequence[WindowCapture]
    ) -> Iterator[CaptureResult]:
        if not ran.passed:
            yield self._result(ran, None)
            return
        if not windows:
            yield self._result(replace(ran, problem=_no_window()), None)
        for window in windows:
            try:
                yield self._measured(ran, window, needs_cuda=not test.spec.allow_empty)
            except NsysError as error:
                yield self._result(replace(ran, problem=self.explain(error)), window)

    def _run(self, test: PlannedTest, process: int) -> tuple[RanTest, TestCaptures]:
        """Run the test: how it ended, and what its body measured."""
        captures = TestCaptures(test.nodeid, process, test.spec.nsys_args)
        with self.context.capturing(captures):
            reports = runtestprotocol(self.item, log=False, nextitem=self.nextitem)
        serialise = self.item.config.hook.pytest_report_to_serializable
        ran = RanTest(
            test.nodeid,
            tuple(serialise(config=self.item.config, report=report) for report in reports),
            warmup=0,
            rounds=max((len(window.rounds) for window in captures.windows), default=1) or 1,
        )
        return ran, captures

    def _measured(self, ran: RanTest, window: WindowCapture, *, needs_cuda: bool) -> CaptureResult:
        assert self.context.nsys is not None
        if window.cut_short:
            raise CaptureError(
                f"window {window.name!r} was cut short: {window.cut_short}",
                remedy="ask for a smaller window: fewer requests, rounds or tokens",
            )
        keep_report(window.report, self.options.keep, self.context.folder.next_number())
        began = own.clock()
        export = window.export or self._exported(self.context.nsys, window)
        exported = own.clock()
        trace = load_trace(export)
        records = round_records(trace, window, ran.nodeid)
        needs_gpu = self.options.needs_gpu
        prove_rounds(trace, records, needs_gpu=needs_gpu, needs_cuda=needs_gpu and needs_cuda)
        seconds = {"export": exported - began, "load": own.clock() - exported}
        return replace(
            self._result(ran, window), trace=trace, records=records, export=export, seconds=seconds
        )

    def _exported(self, nsys: NsysTool, window: WindowCapture) -> Path:
        prove_report(window.report, window.printed)
        folder = window.report.parent
        deadline_s = self.options.deadlines.export
        return export_report(nsys, window.report, folder, deadline_s=deadline_s)

    def _result(self, ran: RanTest, window: WindowCapture | None) -> CaptureResult:
        return CaptureResult(
            tests=(ran,),
            trace=None,
            records=(),
            options=published_options(window.options) if window is not None else (),
            nsys=self.context.nsys.version_text if self.context.nsys is not None else "",
            date=datetime.date.today().isoformat(),
            versions=installed_versions(),
            server=window.server if window is not None else (),
            commit=self.options.commit,
        )


def _no_window() -> CaptureError:
    return CaptureError(
        "the test passed and opened no window",
        remedy='measure with "with server.window(NAME) as window: window.load(prompts)"',
    )
