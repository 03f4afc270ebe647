"""The worker's pytest plugin: runs the chosen tests in rounds and reports what happens."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import unittest
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.fixture import RECORDER
from pytest_nsys.gpu.monitor import Monitor
from pytest_nsys.plan.adoption import DO_BENCH
from pytest_nsys.process.guard import MARK
from pytest_nsys.support.own import own
from pytest_nsys.support.simple_values import to_json
from pytest_nsys.worker.adopted import Adopted
from pytest_nsys.worker.coverage import Coverage
from pytest_nsys.worker.device import synchronize
from pytest_nsys.worker.events import EventLog
from pytest_nsys.worker.forks import Forks
from pytest_nsys.worker.job import Job
from pytest_nsys.worker.leftovers import Leftovers
from pytest_nsys.worker.node import (
    RETRYING,
    distributes_nothing,
    plugin_module,
)
from pytest_nsys.worker.recorder import Aside, Recorder, WindowLog
from pytest_nsys.worker.release import ReleaseMemory
from pytest_nsys.worker.renewal import Renewal
from pytest_nsys.worker.sent_report import sent_report

# pytest-harvest would write to a folder that it has made only where "-n" is given.
_HARVESTER = "DefaultXDistHarvester"

_ONCE = (
    "Warm-ups and rounds call it again and again, with the same fixtures. If only a part of it\n"
    "can be repeated, measure that alone with nsys(function, ...): the rest then runs once."
)

_SKIPPED = (pytest.skip.Exception, unittest.SkipTest)

_LATE_SKIPS = pytest.StashKey[list[Any]]()
"""What unittest's ``tearDown`` said when it skipped a test whose body had ended well."""

_RECORDER = pytest.StashKey[Recorder]()
"""The same as `RECORDER`, with what only the worker asks of it."""


class _Beside(Aside):
    """Renews the state of single calls, and has coverage leave out the rounds."""

    def __init__(self, renewal: Renewal, coverage: Coverage | None) -> None:
        self._renewal = renewal
        self._coverage = coverage
        self.plain_call = coverage is not None

    def again(self, *, whole: bool) -> None:
        """The body is called once more, or a function of it."""
        if whole:
            self._renewal.before_call()
        else:
            self._renewal.before_part()

    def begin_rounds(self) -> None:
        """Stop what would distort them."""
        if self._coverage is not None:
            self._coverage.stop()

    def end_rounds(self) -> None:
        """Go on with it."""
        if self._coverage is not None:
            self._coverage.start()


class WorkerSession:
    """Hooks of the worker; the user's own plugins and conftest files run beside it as always."""

    def __init__(self, job: Job, events: EventLog) -> None:
        self._job = job
        self._events = events
        self._log = WindowLog(events, job.counted)
        folder = os.environ.get(MARK)
        self._folder = Path(folder) if folder else None
        self._monitor = Monitor(
            lambda why: events.write("gpu_unknown", text=why), folder=folder or None
        )
        self._forks = Forks()
        self._leftovers = Leftovers(folder or None)
        self._coverage = Coverage(job.coverage) if job.coverage is not None else None
        self._adopted = Adopted()
        self._only_benchmarks = False
        self._failing: set[str] = set()
        self._again: set[str] = set()
        self._warned: set[tuple[Any, ...]] = set()
        self._found: dict[str, pytest.Item] = {}

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
        """Announce the test, and say when it is over.

        Cached memory is given back before it is set up: where its tensors came to lie in what
        earlier tests left, so would its rounds, and their memory would depend on those.
        """
        self._leftovers.begin()
        self._events.write("start", nodeid=item.nodeid)
        if self._coverage is not None:
            self._coverage.phase(item.nodeid, "setup")
        release = item.config.hook.pytest_nsys_release_memory
        release(stage="setup")
        item.stash[RECORDER] = item.stash[_RECORDER] = Recorder(
            item.nodeid,
            self._job.tests[item.nodeid],
            self._log,
            self._events,
            functools.partial(release, stage="rounds"),
            self._monitor,
            self._leftovers.now,
            self._forks,
        )
        result = yield
        self._events.write("finish", nodeid=item.nodeid)
        self._leftovers.end(item.nodeid)
        reason = self._job.stop_reason()
        if reason:
            item.session.shouldstop = reason
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        """What a fixture of a wider scope starts is not left behind by the test that came first."""
        if fixturedef.scope == "function":
            return (yield)
        with self._leftovers.expected():
            return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Make ``item.runtest`` run the rounds."""
        recorder = item.stash[_RECORDER]
        original = item.runtest

        def stop() -> bool:
            self._again.add(item.nodeid)
            if self._job.stop_reason():
                self._events.write("cut", nodeid=item.nodeid)
                return True
            # unittest keeps failures on the item, and subtests report them, instead of raising.
            return bool(getattr(item, "_excinfo", None)) or item.nodeid in self._failing

        if isinstance(item, pytest.Function):
            body = _Body(item.obj, recorder)
            item.obj = body.function
            call: Callable[[], object] = _repeatable(item, original, body)
        else:
            call = _within(recorder.window, original)
        aside = _Beside(Renewal(item), self._coverage)
        if self._coverage is not None:
            self._coverage.phase(item.nodeid, "run")
        item.runtest = functools.partial(recorder.measure, call, stop, aside)  # type: ignore[method-assign]
        try:
            with self._adopted.body(item, recorder):
                return (yield)
        finally:
            del item.runtest

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Say in which call of the body a test ended, if calls before it went well."""
        report = yield
        which = item.stash[_RECORDER].which_call() if _RECORDER in item.stash else ""
        if call.when != "call" or report.passed or not which or hasattr(report, "wasxfail"):
            return report
        if report.skipped and isinstance(report.longrepr, tuple):
            path, line, reason = report.longrepr
            report.longrepr = (path, line, f"{reason} (in {which}: earlier ones did not skip)")
        else:
            report.sections.append(
                ("nsys", f"This was {which}; the calls before it passed.\n{_ONCE}")
            )
        return report

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send the report; subtests report in every round, and are passed on from the first."""
        if report.failed and report.when == "call":
            self._failing.add(report.nodeid)
        elif hasattr(report, "context") and report.nodeid in self._again:
            return
        data = sent_report(self._config, report)
        self._events.write("report", nodeid=report.nodeid, data=data)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Measure for coverage again what a failed round has left unmeasured, and report what
        skipped the test after its body as what it is: a skip of the tear-down.
        """
        if late := item.stash.get(_LATE_SKIPS, []):
            item._excinfo = late[:1]  # type: ignore[attr-defined]
        if self._coverage is not None:
            self._coverage.phase(item.nodeid, "teardown")

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
        if self._coverage is not None:
            self._coverage.save()
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


class _Body:
    """The body of a test, in the round's window, which knows whether its last call ended well.

    Attributes:
        function: the body.
        has_ended: whether it came to its end when it was called last.
    """

    def __init__(self, function: Callable[..., Any], recorder: Recorder) -> None:
        self.function = _within(self._call, function)
        self.has_ended = False
        self._recorder = recorder

    @contextmanager
    def _call(self) -> Iterator[None]:
        with self._recorder.window():
            yield
        self.has_ended = True


def _repeatable(
    item: pytest.Function, run: Callable[[], object], body: _Body
) -> Callable[[], object]:
    """``run`` as often as one likes, with the item's own ``obj``.

    unittest's asyncio tests keep their closed runner, and pytest leaves it to them to find their
    method. A ``tearDown`` that skips comes after a body that was measured: it is kept for later.
    """

    def call() -> object:
        body.has_ended = False
        result = run_once()
        raised = getattr(item, "_excinfo", None)
        if raised and body.has_ended and all(e.errisinstance(_SKIPPED) for e in raised):
            item.stash.setdefault(_LATE_SKIPS, []).extend(raised)
            raised.clear()
        return result

    def run_once() -> object:
        if isinstance(item.instance, unittest.IsolatedAsyncioTestCase):
            if getattr(item.instance, "_asyncioRunner", None) is not None:
                item.instance._asyncioRunner = None  # type: ignore[attr-defined]
            setattr(item.instance, item.name, item.obj)
        return run()

    return call


def _within(
    around: Callable[[], AbstractContextManager[object]], function: Callable[..., Any]
) -> Callable[..., Any]:
    """``function`` inside what is made for each call of it; a coroutine function stays one."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            with around():
                return await function(*args, **kwargs)

        return coroutine

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with around():
            return function(*args, **kwargs)

    return plain
