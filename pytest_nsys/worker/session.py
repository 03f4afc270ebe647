"""The worker's pytest plugin: runs the chosen tests in rounds and reports what happens."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.plan.adoption import DO_BENCH
from pytest_nsys.process.guard import MARK
from pytest_nsys.support.own import own
from pytest_nsys.support.simple_values import to_json
from pytest_nsys.worker.coverage import Coverage
from pytest_nsys.worker.device import synchronize
from pytest_nsys.worker.events import EventLog
from pytest_nsys.worker.job import Job
from pytest_nsys.worker.node import (
    RETRYING,
    distributes_nothing,
    plugin_module,
)
from pytest_nsys.worker.release import ReleaseMemory
from pytest_nsys.worker.rounds import Rounds
from pytest_nsys.worker.sent_report import sent_report
from pytest_nsys.worker.window_log import WindowLog

# pytest-harvest would write to a folder that it has made only where "-n" is given.
_HARVESTER = "DefaultXDistHarvester"


class WorkerSession(Rounds):
    """Hooks of the worker; the user's own plugins and conftest files run beside it as always."""

    def __init__(self, job: Job, events: EventLog) -> None:
        folder = os.environ.get(MARK) or None
        coverage = Coverage(job.coverage) if job.coverage is not None else None
        log = WindowLog(events, job.counted)
        self._job = job
        super().__init__(
            events,
            log,
            folder=folder,
            stop_reason=self._why_stop,
            coverage=coverage,
        )
        self._log = log
        self._measured = coverage
        self._folder = Path(folder) if folder else None
        self._only_benchmarks = False
        self._warned: set[tuple[Any, ...]] = set()
        self._found: dict[str, pytest.Item] = {}

    def _why_stop(self) -> str:
        return self._job.stop_reason()  # of the job as it is then

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(
        self, early_config: pytest.Config
    ) -> Generator[None, object, object]:
        """Switch pytest-cov off, which starts here and would erase what is measured.

        The options are set, and no argument is added: one more may be taken for something else.
        What is adopted of libraries is so before conftest files import it.
        """
        early_config.known_args_namespace.no_cov = True
        if DO_BENCH in self._job.adopt:
            self._adopted.adopt_do_bench()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> Generator[None, object, object]:
        """Put off what would disturb measuring, before any plugin is configured."""
        self._config = config
        distributes_nothing(config)
        # A second attempt would open a second set of windows for the same test.
        for name in RETRYING:
            plugin = plugin_module(config, name)
            if plugin is not None:
                config.pluginmanager.unregister(plugin)
                config.addinivalue_line("markers", "flaky(...): of a plugin that is not used here")
        timeout = plugin_module(config, "pytest_timeout")
        if hasattr(timeout, "timeout_timer"):
            timeout.timeout_timer = self._telling(timeout.timeout_timer)
        option = config.option
        option.continue_on_collection_errors = True
        option.maxfail = self._job.maxfail
        option.usepdb = option.trace = False
        option.basetemp = self._job.basetemp
        # What depends on tests that do not run here is decided in the controller.
        option.ignore_unknown_dependency = True
        # What a fixture of theirs would time, it hands over or calls once. They cannot be both
        # disabled and the only ones: `pytest_sessionstart` has that.
        self._only_benchmarks = bool(getattr(option, "benchmark_only", False))
        option.benchmark_disable, option.benchmark_only = True, False
        option.benchmark_enable = False
        option.benchmark_compare = option.benchmark_compare_fail = None
        option.codspeed = False
        os.environ.pop("CODSPEED_ENV", None)
        option.no_cov = True
        # What its other values ask for, it refuses in a worker of pytest-xdist.
        option.inline_snapshot = "disable"
        if getattr(option, "allure_report_dir", None):
            option.allure_report_dir = str(Path(self._job.events).parent / "allure")
        if getattr(option, "log_file", None):
            option.log_file += ".nsys-worker"
        return (yield)

    def _telling(self, end: Callable[..., object]) -> Callable[..., object]:
        """What pytest-timeout ends this process with, by its method "thread": said before that.

        It prints where the threads are: to stderr here, which pytest captures no more by then.
        """

        def told(item: pytest.Item, settings: Any) -> object:
            self._events.write("timeout", nodeid=item.nodeid, limit_s=float(settings.timeout))
            item.config.get_terminal_writer()._file = sys.__stderr__
            return end(item, settings)

        return told

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Silence the worker's terminal reporter, which is kept because plugins ask for it."""
        config.get_terminal_writer()._file = own.fdopen(own.open_fd(os.devnull, os.O_WRONLY), "w")
        config.pluginmanager.register(ReleaseMemory(), "nsys-release-memory")
        self._adopted.adopt_fixtures()

    @pytest.hookimpl
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Have pytest-benchmark skip other tests, where ``--benchmark-only`` asks for that."""
        benchmarks = getattr(session.config, "_benchmarksession", None)
        if benchmarks is not None:
            benchmarks.only = self._only_benchmarks

    @pytest.hookimpl
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Remember it: other plugins may choose among the tests, as they have done already."""
        self._found.setdefault(item.nodeid, item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keep the job's tests, in the job's order, whatever others have made of them.

        They chose in the controller; to choose from that choice again would lose tests.
        """
        found = self._found | {item.nodeid: item for item in reversed(session.items)}
        if self._job.pipe:
            self._events.write("ready", uses_gpu=bool(synchronize()))
            self._job = self._job.told()
            session.config.option.maxfail = self._job.maxfail
        session.items[:] = [found[nodeid] for nodeid in self._job.tests if nodeid in found]
        self._events.write("collected", nodeids=[item.nodeid for item in session.items])

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Measure the test, and go on to the next one only if there is no reason to stop."""
        self.begin(item, self._job.tests[item.nodeid])
        result = yield
        self.end(item)
        reason = self._job.stop_reason()
        if reason:
            item.session.shouldstop = reason
        return result

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send the report; subtests report in every round, and are passed on from the first."""
        if report.failed and report.when == "call":
            self.failing.add(report.nodeid)
        elif hasattr(report, "context") and report.nodeid in self.again:
            return
        data = sent_report(self._config, report)
        self._events.write("report", nodeid=report.nodeid, data=data)

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Send what could not be collected here: it may explain a test that is missing."""
        if report.failed:
            self._events.write("collect_error", nodeid=report.nodeid, text=report.longreprtext)
        elif report.skipped:
            said = report.longrepr
            text = str(said[2] if isinstance(said, tuple) else said)
            self._events.write("collect_skip", nodeid=report.nodeid, text=text)

    @pytest.hookimpl
    def pytest_warning_recorded(
        self, warning_message: Any, when: str, nodeid: str, location: Any
    ) -> None:
        """Send warnings, for the controller's summary; each once, and not in every round."""
        warned = (
            nodeid,
            str(warning_message.message),
            warning_message.filename,
            warning_message.lineno,
        )
        if warned in self._warned:
            return
        self._warned.add(warned)
        self._events.write(
            "warning",
            when=when,
            nodeid=nodeid,
            location=location,
            text=str(warning_message.message),
            category=warning_message.category.__name__,
            filename=warning_message.filename,
            lineno=warning_message.lineno,
        )

    @pytest.hookimpl
    def pytest_internalerror(self, excrepr: Any) -> None:
        """Send the traceback of an error in pytest or a plugin."""
        self._events.write("internal_error", text=str(excrepr))

    @pytest.hookimpl
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Send why the session was left (``pytest.exit`` or an interrupt in a test)."""
        self._events.write("exit", reason=str(excinfo.value) or excinfo.typename)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> Generator[None, object, object]:
        """Close the capture with the sentinel, and send what plugins have for the controller."""
        output: dict[str, Any] = session.config.workeroutput  # type: ignore[attr-defined]
        for plugin in session.config.pluginmanager.get_plugins():
            if type(plugin).__name__ == _HARVESTER:
                session.config.pluginmanager.unregister(plugin)
        output["exitstatus"] = int(exitstatus)
        output["shouldfail"], output["shouldstop"] = session.shouldfail, session.shouldstop
        result = yield
        if self._measured is not None:
            self._measured.save()
        synchronize()
        self._log.close()
        if self._job.away_from:
            files = strays(map(Path, self._job.away_from), self._folder)
            self._events.write("strays", files=files)
        self._events.write(
            "end",
            exitstatus=int(exitstatus),
            stop=str(session.shouldfail or session.shouldstop or ""),
            workeroutput=self._sent(output),
        )
        return result

    def _sent(self, output: dict[str, Any]) -> dict[str, Any]:
        """What plugins leave for the controller; what cannot be sent is named in a warning."""
        sent = {}
        for name, value in output.items():
            try:
                sent[str(name)] = to_json(value)
            except TypeError as error:
                self._events.write(
                    "warning",
                    when="config",
                    nodeid="",
                    location=None,
                    text=f"workeroutput[{name!r}] was not sent to the controller: {error}",
                    category="PytestWarning",
                    filename=__file__,
                    lineno=0,
                )
        return sent


def strays(away_from: Iterable[Path], run_folder: Path | None = None) -> list[str]:
    """The modules of this process that lie in some folders, and are not installed in them.

    Wherever they were imported from: a link may lead there.

    Args:
        away_from: the folders.
        run_folder: the run's own, with the checkout of the revision; it may lie in one of them.
    """
    package = Path(__file__).resolve().parent.parent
    apart = [package, *([run_folder.resolve()] if run_folder else [])]
    folders = [folder.resolve() for folder in away_from]
    files = {getattr(module, "__file__", None) for module in [*sys.modules.values()]}
    paths = {file: Path(os.path.realpath(file)) for file in files if isinstance(file, str)}
    return sorted(
        file
        for file, path in paths.items()
        if any(map(path.is_relative_to, folders))
        and not any(map(path.is_relative_to, apart))
        and not {"site-packages", "dist-packages"}.intersection(path.parts)
    )
