"""The controller's hooks: measured tests run in the worker, their reports are held here until the
verdicts are known, and are then logged in pytest's own order as if they had run here."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_nsys.controller.checks import (
    check_marks,
    is_measured,
    is_server_test,
    note_of_coverage,
    note_of_retries,
    only_looks,
)
from pytest_nsys.controller.collected import Collected, others_chosen
from pytest_nsys.controller.ledger import Ledger
from pytest_nsys.controller.reports import (
    expected_by,
    failed_by,
    is_expected,
    lost_report,
    make_report,
    teardown_report,
    told_in_short,
    with_figure,
    with_properties,
    word_with_figure,
)
from pytest_nsys.controller.selection import Selection
from pytest_nsys.controller.watchers import decided_by_dependencies, show
from pytest_nsys.errors import NsysError, NsysMissing
from pytest_nsys.plan.batches import Batch, PlannedTest, make_plan
from pytest_nsys.plan.collection import Collection
from pytest_nsys.plan.marker import Spec, read_spec
from pytest_nsys.plan.settings import Settings
from pytest_nsys.support.imports import imported_for_good
from pytest_nsys.support.text import fit_to_print, one_line
from pytest_nsys.support.units import format_count
from pytest_nsys.worker.node import distributes
from pytest_nsys.worker.sent_report import received_report

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from pytest_nsys.controller.here import HereRun
    from pytest_nsys.controller.launch import Launch
    from pytest_nsys.controller.run import Run
    from pytest_nsys.controller.runner import Outcome
    from pytest_nsys.storage.baselines import Change


_RAN_TO_ITS_END = (
    pytest.ExitCode.OK,
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.NO_TESTS_COLLECTED,
)
_LOOKED_AT_NOTHING = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
"""What pytest ends with where no test failed; the second where all were deselected."""
_TAKEN = "another plugin ran it in a way of its own, without nsys, or left it out"
_HOW_TO_ALLOW = (
    "  the gate fails, as it has looked at nothing: where that is right, set nsys_allow_none = true"
)
_NOT_COUNTED = (
    "nsys_ncu: a recording is judged, and no test is run; 'pytest-nsys ncu RECORDING TEST' runs one"
)
_SERVERS = "servers and commands are recorded by nsys alone"
_UNJUDGED = "the test passed, and nothing was measured of it"
_NOT_AGAINST = "server tests are not measured at another revision: it ran without nsys"


class Controller:
    """Hooks of a run that measures; registered only then."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._ledger = Ledger(config, settings)
        self._collected = Collected()
        config.pluginmanager.register(self._collected, "nsys-collected")
        self._collection = Collection(config.rootpath)
        self._batches: dict[str, Batch] = {}
        self._servers: set[str] = set()
        self._here: HereRun | None = None
        self._specs: dict[str, Spec] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._told: set[int] = set()
        self._accounted: set[str] = set()
        self._selection = Selection()
        self._nothing: list[str] = []
        self._logged: pytest.TestReport | None = None
        self._has_uncollected = False
        self._launch: Launch | None = None
        self._run: Run | None = None

    # Collection

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Have the first workers collect meanwhile; another revision is yet to be checked out, and
        workers of pytest-xdist start when no other runs any more.
        """
        settings, config = self._settings, self._config
        measures = not settings.replay and not only_looks(config)
        alone = settings.against is None and not distributes(config)
        # What records here has to begin before modules use the GPU.
        if measures and (settings.capture != "nsys" or (alone and settings.ahead)):
            with contextlib.suppress(NsysError):  # it is told if there is something to measure
                self._make_launch()
                if self._launch is not None and alone and settings.ahead:
                    self._launch.start(settings.processes)

    def _make_launch(self) -> None:
        """Make what starts workers below nsys, or measures here.

        Raises:
            NsysError: something is missing or cannot be read.
        """
        config, settings = self._config, self._settings
        if settings.capture == "cupti":
            from pytest_nsys.controller.here import make_here

            self._here = make_here(config, settings)
            return
        from pytest_nsys.controller.launch import make_launch

        try:
            self._launch = make_launch(config, settings)
        except NsysMissing as error:
            from pytest_nsys.controller.here import in_place_of

            self._here = in_place_of(config, settings, error)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """See what there is; a replay keeps only measured tests, whose bodies it does not run."""
        self._selection.begin(items)
        yield
        if self._settings.replay:
            measured = [item for item in items if is_measured(item)]
            others = [item for item in items if not is_measured(item)]
            if others:
                config.hook.pytest_deselected(items=others)
                items[:] = measured

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Plan the run, and find nsys before any test has run."""
        self._collection = self._collected.collection(session)
        if self._settings.record is not None and not only_looks(self._config):
            from pytest_nsys.storage.recordings.recording import remove_index

            try:
                remove_index(self._settings.record)  # if this run dies, it is not taken for its own
            except OSError as error:
                raise pytest.UsageError(fit_to_print(f"nsys: {error}")) from None
        measured = [item for item in session.items if is_measured(item)]
        try:
            check_marks(measured)
            planned = [
                PlannedTest(item.nodeid, read_spec(item, self._settings)) for item in measured
            ]
        except NsysError as error:  # pytest comes here after a failed collection too
            raise pytest.UsageError(fit_to_print(error)) from None
        unique = {test.nodeid: test for test in planned}
        self._specs = {test.nodeid: test.spec for test in unique.values()}
        for item in session.items:
            if item.nodeid in self._specs:
                self._ledger.add_marks(item, self._specs[item.nodeid])
        if not self._settings.replay:
            self._servers = {item.nodeid for item in session.items if is_server_test(item)}
        runs = bool(unique) and not only_looks(self._config)
        if runs and not self._settings.replay:
            self._be_ready()
        here = self._here is not None
        for batch in make_plan(unique.values(), alone=self._specs if here else self._servers):
            self._batches.update({test.nodeid: batch for test in batch.tests})
        if runs:
            self._run = self._start_run()
            if self._run.replay is not None and self._run.replay.note:
                self._ledger.add_note(self._run.replay.note)
            if self._settings.replay and self._settings.ncu != "off":
                self._ledger.add_note(_NOT_COUNTED)
            if self._here is not None:
                self._ledger.add_note(self._here.note)
                several = sum(spec.processes > 1 for spec in self._specs.values())
                if several:
                    self._ledger.add_note(_one_process(several))
            in_workers = [item for item in measured if not self._runs_here(item)]
            for note_of in (note_of_retries, note_of_coverage):
                if note := note_of(self._config, in_workers):
                    self._ledger.add_note(note)

    def _runs_here(self, item: pytest.Item) -> bool:
        """Whether the test runs in this process, and not in a worker."""
        return self._here is not None or item.nodeid in self._servers

    def _be_ready(self) -> None:
        """Find what measures, if that has not been found before."""
        try:
            if self._here is None and self._launch is None:
                self._make_launch()
        except NsysError as error:
            raise self._unready(error) from None

    @staticmethod
    def _unready(error: NsysError) -> pytest.UsageError:
        """With what on this machine may be its cause."""
        from pytest_nsys.controller.sources import make_explain

        return pytest.UsageError(fit_to_print(make_explain(None)(error)))

    def _start_run(self) -> Run:
        with imported_for_good("pytest_nsys.controller.run"):
            from pytest_nsys.controller.run import start_run

        try:
            return start_run(
                self._config,
                self._settings,
                self._launch,
                self._here,
                self._ledger.add_result,
                self._collection,
                tests=len(self._specs),
                servers=bool(self._servers) and self._settings.against is None,
            )
        except NsysError as error:
            raise self._unready(error) from None

    @pytest.hookimpl
    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Remember what was left out on purpose."""
        self._selection.deselected |= {item.nodeid for item in items}

    # Running

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        """A measured test's turn: capture its batch if that is still to be done, then report."""
        if item.nodeid not in self._batches or self._run is None:
            return None
        if item.nodeid not in self._outcomes:
            if item.nodeid in self._servers and self._settings.against is not None:
                self._ledger.add_unmeasured(item.nodeid, _NOT_AGAINST)
                self._accounted.add(item.nodeid)
                return None
            if self._here is None:
                _stop_the_clock(item)
            self._measure(self._run, item, nextitem)
            if self._run.is_interrupted:
                self._report_all(self._run, item)
                raise KeyboardInterrupt
        self._report(self._run, item, nextitem)
        return True

    def _report_all(self, run: Run, item: pytest.Item) -> None:
        """Report the tests of the batch of a test now: the run ends before their turn."""
        of_batch = {test.nodeid for test in self._batches[item.nodeid].tests}
        for one in item.session.items:
            if one.nodeid in of_batch:
                self._report(run, one, None)

    def _report(self, run: Run, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Report what became of a test whose batch was captured."""
        outcome = self._outcomes.get(item.nodeid)
        self._accounted.add(item.nodeid)
        if outcome is None:
            self._log_missing(item)
            return
        if outcome.ran.stopped:  # the worker was told to stop, and so are we
            item.session.shouldstop = outcome.ran.stopped
            return
        *others, last = outcome.by_device()
        item.session.testscollected += len(others)
        for one in others:
            self._log(run, item, one, torn_down=False)
        self._log(run, item, last, nextitem, torn_down=True)
        if outcome.stopped:
            item.session.shouldstop = outcome.stopped

    def _workers(self) -> Path:
        """The folder with those of the run's workers; of which a recording has none."""
        return self._settings.replay[0] if self._launch is None else self._launch.folder.path

    def _log(
        self,
        run: Run,
        item: pytest.Item,
        outcome: Outcome,
        nextitem: pytest.Item | None = None,
        *,
        torn_down: bool,
    ) -> None:
        """Log what became of a test; at last, what it needs no longer is torn down here."""
        nodeid = outcome.named(item.nodeid)
        item.ihook.pytest_runtest_logstart(nodeid=nodeid, location=item.location)
        ran_here = self._runs_here(item)
        skipped = None if ran_here else decided_by_dependencies(item)
        if skipped is None:
            reports = self._reports(run, item, outcome)
        else:
            self._ledger.add_unmeasured(item.nodeid, "skipped")
            reports = [skipped]
        show(item, reports, None if ran_here else self._workers())
        if torn_down:
            reports += teardown_report(item, nextitem)
        for report in reports:
            if nodeid != item.nodeid:
                path, line, domain = report.location
                report.nodeid, report.location = nodeid, (path, line, outcome.named(domain))
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=nodeid, location=item.location)

    def _measure(self, run: Run, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Run the batch of a test, and keep what became of its tests."""
        batch = self._batches[item.nodeid]
        maxfail = self._config.getoption("maxfail")
        left = max(1, maxfail - item.session.testsfailed) if maxfail else 0
        if self._here is not None:
            refused = _SERVERS if item.nodeid in self._servers else ""
            self._outcomes.update(run.here_outcomes(item, nextitem, batch, refused))
        elif item.nodeid in self._servers:
            self._outcomes.update(run.server_outcomes(item, nextitem, batch, left))
        else:
            self._outcomes.update(run.outcomes(batch, left))

    def _log_missing(self, item: pytest.Item) -> None:
        """Report a test that the recording lacks, or that a live run knows nothing of."""
        live = not self._settings.replay
        several = "s" * (len(self._settings.replay) > 1)
        missing = f"it is not in the recording{several}"
        reason = "the run has no result of it" if live else missing
        self._ledger.add_unmeasured(item.nodeid, reason)
        fails = live or self._settings.mode == "gate"
        longrepr: Any = reason if fails else (str(item.path), item.location[1] or 0, reason)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        report = make_report(item, "setup", "failed" if fails else "skipped", longrepr)
        item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _reports(self, run: Run, item: pytest.Item, outcome: Outcome) -> list[pytest.TestReport]:
        """The worker's reports with what the capture adds to them."""
        ran, judged = outcome.ran, outcome.judged
        for process in outcome.processes:
            self._ledger.add_test(process)
        reports = [received_report(self._config, report) for report in ran.reports]
        problem = judged.problem if judged else None
        verdict = judged.verdict if judged else None
        if verdict is not None:
            verdict = replace(verdict, nodeid=outcome.named(item.nodeid))
        if ran.lost:
            self._ledger.add_unmeasured(item.nodeid, ran.lost.splitlines()[0])
            # Before the teardown's, with which other plugins close what they keep of a test.
            ended = [report for report in reports if report.when == "teardown"]
            begun = [report for report in reports if report.when != "teardown"]
            return [*begun, lost_report(item, ran), *ended]
        if verdict is not None and not verdict.failed and any(r.failed for r in reports):
            verdict = None  # it passed against a strict expectation, which is a failure of its own
        change: Change | None = None
        if verdict is not None:
            try:
                change = run.judge.record(verdict)
            except NsysError as error:
                problem = error
        if problem is not None:
            self._ledger.add_unmeasured(outcome.named(item.nodeid), problem.what)
            from pytest_nsys.report.longrepr import explain_text

            explained = explain_text(self._shown_once(problem), item.location)
            return failed_by(item, reports, explained)
        if verdict is None and ran.passed and not any(report.failed for report in reports):
            self._ledger.add_unmeasured(item.nodeid, _UNJUDGED)
            from pytest_nsys.report.longrepr import explain_text

            return failed_by(item, reports, explain_text(_UNJUDGED, item.location))
        if verdict is None:
            return self._unmeasured(run, item, reports)
        told = verdict
        if is_expected(item, reports, verdict):
            verdict = verdict.as_expected("the test is marked xfail")
        self._ledger.add_verdict(verdict, change)
        self._config.hook.pytest_nsys_verdict(nodeid=item.nodeid, verdict=verdict)
        from pytest_nsys.report.properties import properties

        reports = with_properties(reports, properties(verdict))
        with_figure(reports, self._ledger.word(verdict))
        if told.failed:
            from pytest_nsys.report.longrepr import explain_verdict

            longrepr = explain_verdict(told, item.location)
            return failed_by(item, reports, longrepr, expected=told is not verdict)
        if verdict.expected:
            return expected_by(reports, verdict.expected[0].reason)
        return reports

    def _unmeasured(
        self, run: Run, item: pytest.Item, reports: list[pytest.TestReport]
    ) -> list[pytest.TestReport]:
        """The reports of a test that did not pass; one that was skipped can fail the gate."""
        skipped = [report for report in reports if report.skipped]
        xfailed = any(hasattr(report, "wasxfail") for report in skipped)
        reason = "failed" if not skipped else "xfailed" if xfailed else "skipped"
        baselines = run.judge.devices(item.nodeid) if skipped else ()
        self._selection.skip(skipped)
        self._ledger.add_unmeasured(item.nodeid, reason, baselines)
        if self._settings.fails_skipped and baselines and not xfailed:
            from pytest_nsys.report.longrepr import explain_text

            for report in skipped:
                why = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
                report.outcome = "failed"
                report.longrepr = explain_text(_skipped_text(why, baselines), item.location)
        return reports

    def _shown_once(self, problem: NsysError) -> str:
        """A problem of a whole capture is told in full once, and in short after that."""
        if id(problem) in self._told:
            return f"{problem.what} (see the first test of this capture)"
        self._told.add(id(problem))
        return str(problem)

    # Skipped before they were collected

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """List the tests with baselines whose module was skipped, after all that ran."""
        result = yield
        if not only_looks(self._config) and self._settings.against is None:
            self._list_uncollected(session, self._collection)
        if self._run is not None and self._run.replay is not None:
            for name, gap in self._run.replay.gaps:
                self._tell_gap(session, name, gap)
        return result

    def _list_uncollected(self, session: pytest.Session, collection: Collection) -> None:
        option = self._config.option
        if option.keyword or option.markexpr not in ("", "nsys"):
            return  # whether they would have been chosen nobody knows
        from pytest_nsys.storage.baselines.orphans import skipped

        left_out = tuple(option.deselect or ())
        for nodeid, devices in skipped(self._settings.baseline_dir, collection).items():
            if nodeid.startswith(left_out):
                continue
            self._has_uncollected = True
            self._accounted.add(nodeid)
            self._ledger.add_unmeasured(nodeid, "skipped", devices)
            if self._settings.fails_skipped:
                session.testscollected += 1
                why = _skipped_text(collection.why_skipped(nodeid), devices)
                self._fail_absent(nodeid, why)

    def _tell_gap(self, session: pytest.Session, name: str, gap: NsysError) -> None:
        """What recordings lack fails the gate as a test does: nobody knows which tests it is of."""
        nodeid = f"{name}::complete"
        self._ledger.add_unmeasured(nodeid, gap.what)
        if self._settings.mode == "gate":
            session.testscollected += 1
            self._fail_absent(nodeid, str(gap))

    def _fail_absent(self, nodeid: str, why: str) -> None:
        from pytest_nsys.report.longrepr import explain_text

        file, _, name = nodeid.partition("::")
        location = (file, 0, name.replace("::", "."))
        longrepr: Any = explain_text(why, location)
        report = pytest.TestReport(nodeid, location, {}, "failed", longrepr, "call")
        self._config.hook.pytest_runtest_logstart(nodeid=nodeid, location=location)
        self._config.hook.pytest_runtest_logreport(report=report)
        self._config.hook.pytest_runtest_logfinish(nodeid=nodeid, location=location)

    # Ending

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Account for every planned test, and write what was asked for."""
        unfinished = self._unfinished(session)
        if not only_looks(self._config):
            self._account(session)
        elif self._config.option.setuponly or self._config.option.setupplan:
            option = "--setup-plan" if self._config.option.setupplan else "--setup-only"
            self._nothing = [f"no test was measured: with {option} none is run"]
        if self._run is not None:
            self._ledger.add_orphans(self._run.judge.orphans)
        elif not (self._nothing or self._has_uncollected or self._settings.part):
            return
        try:
            self._ledger.write(unfinished)
        except (OSError, NsysError) as error:
            raise pytest.UsageError(fit_to_print(f"nsys: {error}")) from None

    def _unfinished(self, session: pytest.Session) -> str:
        """Why the run did not come to its end, or not all tests were there; "" if neither."""
        stopped = session.shouldfail or session.shouldstop
        if stopped:
            return str(stopped)
        if self._collected.failed:
            return f"{format_count(len(self._collected.failed), 'file')} could not be collected"
        return "" if session.exitstatus in _RAN_TO_ITS_END else "it was interrupted"

    def _account(self, session: pytest.Session) -> None:
        """Fail the run for a planned test that never came to its turn, if nobody stopped that, and
        the gate where no test was measured at all.
        """
        if session.exitstatus not in _RAN_TO_ITS_END or session.shouldfail or session.shouldstop:
            return
        planned_in_vain = not self._ledger.has_verdicts and bool(self._selection.collected)
        if planned_in_vain and self._settings.mode == "gate":
            self._nothing = [*self._selection.unmeasured()]
            if session.exitstatus in _LOOKED_AT_NOTHING and not self._settings.allow_none:
                self._nothing.append(_HOW_TO_ALLOW)
                session.exitstatus = pytest.ExitCode.USAGE_ERROR
        for nodeid in self._batches:
            if nodeid in self._accounted or nodeid in self._selection.deselected:
                continue
            self._ledger.add_unmeasured(nodeid, _TAKEN)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        replay = self._run.replay if self._run is not None else None
        recorded = replay.nodeids if replay is not None else ()
        left = [nodeid for nodeid in recorded if nodeid not in self._accounted]
        deselected = 0
        for nodeid, chose_others in zip(left, others_chosen(self._config, left), strict=True):
            if chose_others or nodeid in self._selection.deselected:
                deselected += 1
            else:
                self._ledger.add_unmeasured(nodeid, "it is in the recording, and was not collected")
        if deselected:
            self._ledger.add_note(
                f"{format_count(deselected, 'test')} of the recording: deselected"
            )

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> Generator[None, Any, Any]:
        """With -v, a measured test's line says its first figure; pytest's short summary, which asks
        for the word once more, does not.
        """
        status = yield
        return word_with_figure(report, status) if report is self._logged else status

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(
        self, report: pytest.TestReport
    ) -> Generator[None, object, object]:
        """Know which report is told of."""
        self._logged = report
        try:
            return (yield)
        finally:
            self._logged = None

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The summary section."""
        listed = self._run is not None or self._has_uncollected
        if not (listed or self._nothing):
            return
        terminalreporter.write_sep("=", "nsys summary")
        for line in self._nothing:
            terminalreporter.write_line(one_line(line), red=True)
        if not listed:
            return
        width = terminalreporter._tw.fullwidth
        verbosity = terminalreporter.config.get_verbosity()
        told = told_in_short(terminalreporter)
        for shown in self._ledger.summary(width, verbosity, told):
            markup = {shown.colour: True} if shown.colour else {}
            terminalreporter.write_line(one_line(shown.text), **markup)

    @pytest.hookimpl
    def pytest_unconfigure(self) -> None:
        """Remove the run's private folder, and end what was started ahead in vain."""
        for launch in (self._launch, self._here):
            if launch is not None:
                launch.end()


def _one_process(tests: int) -> str:
    """That tests which are to be measured by several processes are so by this one."""
    return (
        f"{format_count(tests, 'test')} would be measured by several processes, and CUPTI "
        "measures in this one alone: how processes differ is not known"
    )


def _stop_the_clock(item: pytest.Item) -> None:
    """End pytest-timeout's timer here: it runs in the worker too, for each test its own."""
    cancel = getattr(item.config.hook, "pytest_timeout_cancel_timer", None)
    if cancel is not None:
        cancel(item=item)


def _skipped_text(why: str, devices: Sequence[str]) -> str:
    """Why a test that was skipped fails the gate."""
    return f"{why or 'skipped'}; it has a baseline ({', '.join(devices)}), and nsys_skipped = fail"
