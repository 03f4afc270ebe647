"""What a capture gives to the rest: how its tests ended, and the trace to measure them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pytest_nsys.errors import NoWindows, NsysError
from pytest_nsys.support.json_values import read, read_keys
from pytest_nsys.windows.record import WindowRecord

if TYPE_CHECKING:
    from pytest_nsys.trace.tables import Trace

CUPTI = "cupti"
"""Among the versions of a run: that of CUPTI, where it recorded in nsys's place."""

PHASES = ("setup", "call", "teardown")


def _report(value: object) -> Mapping[str, Any]:
    read_keys({"when": str, "outcome": str}, value)
    return read(Mapping[str, Any], value)


Report = Annotated[Mapping[str, Any], _report]
"""A report as pytest serialises it; read, it says how its phase ended."""


Uncollected = Literal["", "absent", "skipped", "broken"]
"""Why a worker did not collect a test: there is none where it would be, or that place skips itself,
or cannot be imported; "" of one that was collected."""


def missing_phase(reports: Sequence[Mapping[str, Any]]) -> str:
    """The first phase that a test whose worker ended well must have a report of and has not; "" for
    none. Those of subtests are reports beside that of the call.
    """
    own = {report["when"]: report["outcome"] for report in reports if not _is_subtest(report)}
    if "setup" not in own:
        return "set-up"
    if own["setup"] == "passed" and "call" not in own:
        return "call"
    return "" if "teardown" in own else "teardown"


def _is_subtest(report: Mapping[str, Any]) -> bool:
    return "_subtest.context" in report


@dataclass(frozen=True)
class RanTest:
    """How one test ended.

    Attributes:
        nodeid: the test.
        reports: its reports, serialised by pytest.
        lost: why it has no proper end (worker's death, deadline); "" if it has.
        stopped: why it was not run at all (``pytest.exit`` in an earlier one); "" if it was.
        uncollected: why it is lost, where the worker did not collect it.
        problem: why it cannot be measured although it ran; None if it can.
        warmup: calls before the measured ones.
        rounds: measured calls.
    """

    nodeid: str
    reports: tuple[Report, ...]
    warmup: int
    rounds: int
    lost: str = ""
    uncollected: Uncollected = ""
    stopped: str = ""
    problem: NsysError | None = None

    @property
    def passed(self) -> bool:
        """Whether every phase was run and passed, be it against a strict expectation.

        A test has passed in spite of its subtests: they fail, or are skipped, by themselves. So it
        has whatever becomes of its tear-down: all rounds were over by then.
        """
        held = {r["when"]: _held(r) or r["when"] == "teardown" for r in self.reports}
        return not self.lost and not self.failed and all(held.get(p, False) for p in PHASES)

    @property
    def failed(self) -> bool:
        """Whether a phase before the tear-down, or a subtest, failed by itself."""
        return any(
            r["outcome"] == "failed" and r["when"] != "teardown" and not _held(r)
            for r in self.reports
        )

    @property
    def is_torn_down(self) -> bool:
        """Whether its tear-down did not fail."""
        return ("teardown", "failed") not in ((r["when"], r["outcome"]) for r in self.reports)

    @property
    def is_skipped(self) -> bool:
        """Whether it was skipped, or failed as was expected, and nothing else went wrong."""
        outcomes = {report["outcome"] for report in self.reports}
        ended = not (self.passed or self.lost or self.stopped)
        return ended and outcomes <= {"passed", "skipped"}

    @property
    def skipped(self) -> str:
        """Whether it was skipped, or failed as was expected, in words; "" if neither.

        Without the reason, which is for the terminal and for recordings alone.
        """
        for report in self.reports:
            if report["outcome"] == "skipped":
                return "it xfailed" if "wasxfail" in report else "it was skipped"
        return ""

    @property
    def failure(self) -> str:
        """Why it did not pass: a line, and what more there is to see; "" if that is not known."""
        if self.lost or self.stopped:
            return self.lost or f"it was not run: {self.stopped}"
        for report in self.reports:
            if not _held(report):
                shown = report.get("longrepr")
                crash = shown.get("reprcrash") if isinstance(shown, Mapping) else None
                text = crash.get("message") if isinstance(crash, Mapping) else shown
                return f"it {report['outcome']} there ({report['when']})\n{text}"
        return ""


def _held(report: Mapping[str, Any]) -> bool:
    """Whether the phase did not fail by itself; a strict xfail that passes is called failed."""
    return report["outcome"] == "passed" or is_strict_pass(report.get("longrepr"))


def is_strict_pass(longrepr: object) -> bool:
    """Whether this is what pytest says of a test that passed and was strictly expected to fail."""
    return isinstance(longrepr, str) and longrepr.startswith("[XPASS(strict)]")


@dataclass(frozen=True)
class CaptureResult:
    """One capture and its tests.

    Attributes:
        tests: in the order they ran.
        trace: the capture; None if no test needs it or it cannot be used.
        records: the worker's windows.
        options: the options of the capture.
        export: the exported capture, while the run's folder lives.
        nsys: version of nsys; "" where CUPTI recorded in its place.
        date: day of the run (ISO 8601).
        versions: Python and frameworks of the run, and `CUPTI`, where it recorded.
        commit: what git had checked out; "" if unknown.
        seconds: where the time went.
        server: what the server was started with, of a capture of one, as may be handed on.
        worker: which of several that may each have run a test, as processes of their own.
        recording: what the recording is called that it is from; "" of one that was just made.
    """

    tests: tuple[RanTest, ...]
    trace: Trace | None
    records: tuple[WindowRecord, ...]
    options: tuple[str, ...]
    nsys: str
    date: str
    versions: Mapping[str, str]
    commit: str = ""
    export: Path | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    server: tuple[str, ...] = ()
    worker: str = ""
    recording: str = ""

    @property
    def is_in_process(self) -> bool:
        """Whether CUPTI recorded it, within the process of the tests."""
        return CUPTI in self.versions

    @property
    def lost_all_ranges(self) -> bool:
        """Whether nsys recorded no NVTX range at all.

        Where several run at once, old ones do so now and then. If nvtx and nsys do not fit
        together, it will be so again.
        """
        return any(isinstance(test.problem, NoWindows) for test in self.tests)
