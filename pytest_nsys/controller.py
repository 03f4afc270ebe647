"""The controller's pytest plugin: measured tests run in the worker, their reports are held here
until the verdicts are known, and are then logged in pytest's own order as if they had run here."""

from __future__ import annotations

import builtins
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_nsys.config.marker import Spec, read_spec
from pytest_nsys.config.settings import Settings
from pytest_nsys.errors import NsysError, NsysUsageError, SettingsError
from pytest_nsys.plan import Batch, PlannedTest, make_plan

if TYPE_CHECKING:
    from pytest_nsys.baselines import Change
    from pytest_nsys.capture.live import LiveCapture
    from pytest_nsys.capture.result import CaptureResult, RanTest
    from pytest_nsys.capture.run import RunFolder
    from pytest_nsys.gate.verdict import Verdict
    from pytest_nsys.judging import Judge, Judged
    from pytest_nsys.recording import RecordedTest
    from pytest_nsys.report.run import RunReport, Unmeasured


class CaptureSource(Protocol):
    """Where captures come from: a live nsys, or a recording."""

    def capture(self, batch: Batch, maxfail: int) -> Iterator[CaptureResult]:
        """The batch's results, one per worker."""


@dataclass(frozen=True)
class _Outcome:
    """What the controller holds back for one test until its turn."""

    ran: RanTest
    judged: Judged | None


class Controller:
    """Hooks of a run that measures; registered only then."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._batches: dict[str, Batch] = {}
        self._specs: dict[str, Spec] = {}
        self._outcomes: dict[str, _Outcome] = {}
        self._results: list[CaptureResult] = []
        self._verdicts: list[Verdict] = []
        self._unmeasured: list[Unmeasured] = []
        self._changes: list[Change] = []
        self._recorded: list[RecordedTest] = []
        self._told: set[int] = set()
        self._folder: RunFolder | None = None
        self._source: CaptureSource | None = None
        self._judge: Judge | None = None

    # Collection

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Read the marks; a replay keeps only measured tests, whose bodies it does not run."""
        measured = [item for item in items if item.get_closest_marker("nsys")]
        if self._settings.replay is not None:
            others = [item for item in items if not item.get_closest_marker("nsys")]
            if others:
                config.hook.pytest_deselected(items=others)
                items[:] = measured

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Plan the run, and find nsys before any test has run."""
        try:
            planned = [
                PlannedTest(item.nodeid, read_spec(item, self._settings))
                for item in session.items
                if item.get_closest_marker("nsys")
            ]
        except NsysError as error:  # pytest comes here after a failed collection too
            raise pytest.UsageError(str(error)) from None
        unique = {test.nodeid: test for test in planned}
        self._specs = {test.nodeid: test.spec for test in unique.values()}
        for batch in make_plan(unique.values()):
            self._batches.update({test.nodeid: batch for test in batch.tests})
        if self._batches and not _only_looks(self._config):
            self._source = self._open_source()
            self._judge = self._make_judge()

    def _open_source(self) -> CaptureSource:
        try:
            if self._settings.replay is not None:
                from pytest_nsys.replay import Replay

                return Replay(self._settings.replay)
            return self._live()
        except NsysError as error:
            raise pytest.UsageError(str(error)) from None

    def _live(self) -> LiveCapture:
        from pytest_nsys.capture.live import Command, LiveCapture
        from pytest_nsys.capture.nsys import find_nsys
        from pytest_nsys.capture.run import Listener, RunFolder
        from pytest_nsys.report.progress import Progress

        nsys = find_nsys(self._settings.executable)
        self._folder = RunFolder()
        self._progress = Progress(self._config)
        return LiveCapture(
            nsys,
            self._settings,
            Command(
                args=_worker_args(self._config),
                argv=tuple(sys.argv),
                sys_path=tuple(sys.path),
                basetemp=_worker_basetemp(self._config),
            ),
            self._folder,
            Listener(self._worker_event, self._progress.stdout, self._progress.stderr),
        )

    def _make_judge(self) -> Judge:
        from pytest_nsys.baselines import BaselineStore
        from pytest_nsys.judging import Judge, default_device_key
        from pytest_nsys.metrics.naming import Naming

        hook = self._config.hook
        plain = Naming()

        def canonical(name: str) -> str:
            return hook.pytest_nsys_kernel_name(name=name) or plain.canonical(name)

        def category(name: str) -> str:
            return hook.pytest_nsys_kernel_category(name=name) or plain.category(name)

        def device_key(gpus: tuple[str, ...]) -> str:
            return hook.pytest_nsys_device_key(gpus=gpus) or default_device_key(gpus)

        return Judge(
            self._settings,
            BaselineStore(self._settings.baseline_dir),
            naming=Naming(canonical, category),
            device_key=device_key,
        )

    # Running

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        """A measured test's turn: capture its batch if that is still to be done, then report."""
        if item.nodeid not in self._batches or self._source is None:
            return None
        if item.nodeid not in self._outcomes:
            _stop_the_clock(item)
            self._capture(self._batches[item.nodeid], item.session)
        outcome = self._outcomes.get(item.nodeid)
        if outcome is None or outcome.ran.stopped:
            self._not_run(item, outcome)
            return True
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = self._reports(item, outcome)
        reports += _teardown_report(item, nextitem)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _capture(self, batch: Batch, session: pytest.Session) -> None:
        from pytest_nsys.capture.result import RanTest
        from pytest_nsys.judging import Judged

        assert self._source is not None
        assert self._judge is not None
        maxfail = self._config.getoption("maxfail")
        left = max(1, maxfail - session.testsfailed) if maxfail else 0
        if self._settings.replay is None:
            self._progress.begin(batch)
        try:
            for result in self._source.capture(batch, left):
                self._results.append(result)
                judged = self._judge.judge(result, self._specs)
                for ran in result.tests:
                    self._outcomes[ran.nodeid] = _Outcome(ran, judged.get(ran.nodeid))
        except NsysUsageError as error:
            raise pytest.UsageError(str(error)) from None
        except NsysError as error:
            for test in batch.tests:
                if test.nodeid not in self._outcomes:
                    ran = RanTest(test.nodeid, (), test.spec.warmup, test.spec.rounds)
                    self._outcomes[test.nodeid] = _Outcome(ran, Judged(problem=error))
        finally:
            if self._settings.replay is None:
                self._progress.end()

    def _worker_event(self, event: dict[str, Any]) -> None:
        self._progress.event(event)
        if event["event"] == "warning":
            message = warnings.WarningMessage(
                message=event["text"],
                category=_warning_category(event["category"]),
                filename=event["filename"],
                lineno=event["lineno"],
            )
            self._config.hook.pytest_warning_recorded.call_historic(
                kwargs={
                    "warning_message": message,
                    "when": event["when"],
                    "nodeid": event["nodeid"],
                    "location": event["location"],
                }
            )

    def _not_run(self, item: pytest.Item, outcome: _Outcome | None) -> None:
        """The worker left this test out: it was told to stop, and so are we."""
        from pytest_nsys.report.run import Unmeasured

        if outcome is None:
            reason = (
                "it is not in the recording"
                if self._settings.replay is not None
                else "the worker stopped before it"
            )
            self._unmeasured.append(Unmeasured(item.nodeid, reason))
            if self._settings.replay is not None:
                self._log_missing(item, reason)
            return
        item.session.shouldstop = outcome.ran.stopped

    def _log_missing(self, item: pytest.Item, reason: str) -> None:
        fails = self._settings.mode == "gate"
        longrepr: Any = reason if fails else (str(item.path), item.location[1] or 0, reason)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        report = _report(item, "setup", "failed" if fails else "skipped", longrepr)
        item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _reports(self, item: pytest.Item, outcome: _Outcome) -> list[pytest.TestReport]:
        """The worker's reports with what the capture adds to them."""
        from pytest_nsys.report.run import Unmeasured

        ran, judged = outcome.ran, outcome.judged
        self._remember(ran)
        reports = [self._deserialise(report) for report in ran.reports]
        problem = judged.problem if judged else None
        verdict = judged.verdict if judged else None
        if ran.lost:
            self._unmeasured.append(Unmeasured(item.nodeid, ran.lost.splitlines()[0]))
            return [*reports, _report(item, _phase_after(ran), "failed", ran.lost)]
        if verdict is not None and not verdict.failed and any(r.failed for r in reports):
            verdict = None  # it passed against a strict expectation, which is a failure of its own
        if verdict is not None:
            verdict, problem = self._settle(verdict)
        if problem is not None:
            self._unmeasured.append(Unmeasured(item.nodeid, problem.what))
            return _failed_by(item, reports, self._shown_once(problem))
        if verdict is None:
            reason = "skipped" if any(r.outcome == "skipped" for r in reports) else "failed"
            self._unmeasured.append(Unmeasured(item.nodeid, reason))
            return reports
        self._verdicts.append(verdict)
        self._config.hook.pytest_nsys_verdict(nodeid=item.nodeid, verdict=verdict)
        if verdict.failed:
            from pytest_nsys.report.longrepr import VerdictRepr

            return _failed_by(item, reports, VerdictRepr(verdict, item.location))
        return reports

    def _settle(self, verdict: Verdict) -> tuple[Verdict | None, NsysError | None]:
        """Record the baseline where that is due; failing to is a problem of the test."""
        assert self._judge is not None
        try:
            change = self._judge.record(verdict)
        except NsysError as error:
            return None, error
        if change is not None:
            self._changes.append(change)
        return verdict, None

    def _shown_once(self, problem: NsysError) -> str:
        """A problem of a whole capture is told in full once, and in short after that."""
        if id(problem) in self._told:
            return f"{problem.what} (see the first test of this capture)"
        self._told.add(id(problem))
        return str(problem)

    def _deserialise(self, data: Mapping[str, Any]) -> pytest.TestReport:
        fields = dict(data)
        # JSON has no tuples, and pytest insists on some.
        if isinstance(fields.get("longrepr"), list):
            fields["longrepr"] = tuple(fields["longrepr"])
        for name in ("location",):
            fields[name] = tuple(fields[name])
        for name in ("sections", "user_properties"):
            fields[name] = [tuple(pair) for pair in fields.get(name, ())]
        report: pytest.TestReport = self._config.hook.pytest_report_from_serializable(
            config=self._config, data=fields
        )
        return report

    # Ending

    def _remember(self, ran: RanTest) -> None:
        if self._settings.record is None:
            return
        from pytest_nsys.recording import RecordedTest

        number = next(
            (
                number
                for number, result in enumerate(self._exported())
                if any(test is ran for test in result.tests)
            ),
            None,
        )
        problem = ran.lost or (ran.problem.what if ran.problem else "")
        self._recorded.append(
            RecordedTest(
                nodeid=ran.nodeid,
                reports=tuple(_published(report) for report in ran.reports),
                capture=number,
                warmup=ran.warmup,
                rounds=ran.rounds,
                problem=_published_line(problem),
            )
        )

    def _exported(self) -> list[CaptureResult]:
        return [result for result in self._results if result.export is not None]

    def _write_recording(self, folder: Path) -> None:
        from pytest_nsys.recording import RecordedCapture, Recording, write_recording

        results = self._exported()
        recording = Recording(
            captures=tuple(
                RecordedCapture(f"capture-{number}.sqlite.xz", result.options, result.records)
                for number, result in enumerate(results, 1)
            ),
            tests=tuple(self._recorded),
            versions=self._results[0].versions if self._results else {},
            nsys=self._results[0].nsys if self._results else "",
            date=self._results[0].date if self._results else "",
        )
        write_recording(folder, recording, [r.export for r in results if r.export is not None])

    def _run_report(self) -> RunReport:
        from pytest_nsys.report.run import RunReport

        seconds: dict[str, float] = {}
        for result in self._results:
            for name, value in result.seconds.items():
                seconds[name] = seconds.get(name, 0.0) + value
        return RunReport(
            mode=self._settings.mode,
            verdicts=tuple(self._verdicts),
            unmeasured=tuple(self._unmeasured),
            changes=tuple(self._changes),
            seconds=seconds,
            command=shlex.join(["pytest", *map(str, self._config.invocation_params.args)]),
            kept=str(self._settings.keep or ""),
        )

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Write what was asked for."""
        if not self._batches or self._source is None:
            return
        run = self._run_report()
        try:
            if self._settings.record is not None:
                self._write_recording(self._settings.record)
            if self._settings.json is not None:
                from pytest_nsys.report.json import write_json

                write_json(run, self._settings.json)
            if self._settings.html is not None:
                from pytest_nsys.report.html import write_html

                write_html(run, self._settings.html)
        except (OSError, NsysError) as error:
            raise pytest.UsageError(f"nsys: {error}") from None

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The summary section."""
        if not self._batches or self._source is None:
            return
        from pytest_nsys.report.text import summary_lines

        terminalreporter.section("nsys summary")
        for line in summary_lines(self._run_report()):
            terminalreporter.write_line(line)
        for name, path in (
            ("recording", self._settings.record),
            ("JSON", self._settings.json),
            ("HTML", self._settings.html),
        ):
            if path is not None:
                terminalreporter.write_line(f"{name}: {path}")

    @pytest.hookimpl
    def pytest_unconfigure(self) -> None:
        """Remove the run's private folder."""
        if self._folder is not None:
            self._folder.remove()


def check_conflicts(config: pytest.Config) -> None:
    """Options that cannot be had together with profiling.

    Raises:
        SettingsError: some are given.
    """
    if config.getoption("usepdb", False) or config.getoption("trace", False):
        raise SettingsError(
            "--pdb and --trace cannot be used while tests are profiled: they run in a worker "
            "below nsys, which has no terminal",
            remedy="leave out the --nsys options to debug a test",
        )
    if config.getoption("numprocesses", None) or config.getoption("dist", "no") != "no":
        raise SettingsError(
            "-n (pytest-xdist) cannot be used while tests are profiled: tests that share a GPU "
            "disturb each other's timings",
            remedy="leave out -n, or the --nsys options",
        )


def _only_looks(config: pytest.Config) -> bool:
    """Whether tests are only listed or set up, and not run."""
    names = ("collectonly", "setuponly", "setupplan", "showfixtures", "show_fixtures_per_test")
    return any(config.getoption(name, False) for name in names)


def _stop_the_clock(item: pytest.Item) -> None:
    """End pytest-timeout's timer here: it runs in the worker too, for each test its own."""
    cancel = getattr(item.config.hook, "pytest_timeout_cancel_timer", None)
    if cancel is not None:
        cancel(item=item)


def _worker_args(config: pytest.Config) -> tuple[str, ...]:
    """The controller's own arguments: the worker parses them again, plugins and all.

    Coverage is switched off in it: tracing every line would distort what is measured.
    """
    args = [str(arg) for arg in config.invocation_params.args]
    if config.pluginmanager.hasplugin("pytest_cov"):
        args.append("--no-cov")
    return tuple(args)


def _worker_basetemp(config: pytest.Config) -> str | None:
    """A folder inside ``--basetemp``, which the worker would otherwise empty."""
    if not config.getoption("basetemp", None):
        return None
    factory: Any = getattr(config, "_tmp_path_factory", None)
    return None if factory is None else str(factory.getbasetemp() / "nsys-worker")


def _phase_after(ran: RanTest) -> str:
    """The phase a test was in when its worker died."""
    done = [report["when"] for report in ran.reports]
    return "teardown" if "call" in done else "call" if "setup" in done else "setup"


def _report(item: pytest.Item, when: str, outcome: Any, longrepr: Any) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome=outcome,
        longrepr=longrepr,
        when=when,  # type: ignore[arg-type]
    )


def _warning_category(name: str) -> type[Warning]:
    """The built-in category of this name, or one that looks like the worker's own."""
    category = getattr(builtins, name, None)
    if isinstance(category, type) and issubclass(category, Warning):
        return category
    return type(name, (UserWarning,), {})


def _failed_by(
    item: pytest.Item, reports: list[pytest.TestReport], longrepr: Any
) -> list[pytest.TestReport]:
    """The reports with the call phase failed.

    A test that was expected to fail fails as expected by a verdict just as by its body.
    """
    from pytest_nsys.capture.result import is_strict_pass

    if not any(report.when == "call" for report in reports):
        return [*reports, _report(item, "call", "failed", longrepr)]
    for report in reports:
        if report.when != "call" or hasattr(report, "context"):  # that of a subtest
            continue
        if is_strict_pass(report.longrepr) or hasattr(report, "wasxfail"):
            marker = item.get_closest_marker("xfail")
            reason = marker.kwargs.get("reason", "") if marker else ""
            report.outcome = "skipped"
            report.wasxfail = reason
        else:
            report.outcome = "failed"
        report.longrepr = longrepr
    return reports


def _teardown_report(item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    """Tear down here what the next test does not need of what earlier, unmeasured tests set up.

    pytest does this in each test's teardown; a measured test has none in this process.
    """
    state = item.session._setupstate
    call = pytest.CallInfo.from_call(
        lambda: state.teardown_exact(nextitem),
        when="teardown",
        reraise=(KeyboardInterrupt, pytest.exit.Exception),
    )
    if call.excinfo is None:
        return []
    report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
    return [report]


def _published_line(text: str) -> str:
    """The first line of a text, and of absolute paths in it their last part."""
    line = text.partition("\n")[0]
    return re.sub(r"(?<![\w.])/(?:[^/\s'\"]+/)+", "", line)


def _published(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report as a recording keeps it: without captured output, properties and tracebacks.

    They may hold anything, and a recording is made to be handed on.
    """
    kept = {
        key: report[key]
        for key in ("$report_type", "nodeid", "location", "outcome", "when", "duration")
        if key in report
    }
    longrepr = report.get("longrepr")
    if isinstance(longrepr, Mapping):
        with suppress(KeyError, TypeError):
            crash = longrepr["reprcrash"]
            message = _published_line(crash["message"])
            longrepr = f"{Path(crash['path']).name}:{crash['lineno']}: {message}"
    elif isinstance(longrepr, str):
        longrepr = _published_line(longrepr)
    if isinstance(longrepr, (list, tuple)):  # of a skip: where, and why
        path, line, reason = longrepr
        longrepr = [Path(path).name, line, reason]
    kept["longrepr"] = longrepr if isinstance(longrepr, (str, list)) else None
    if "wasxfail" in report:
        kept["wasxfail"] = report["wasxfail"]
    return {**kept, "keywords": {}, "sections": [], "user_properties": []}
