"""Running a measured test in rounds, by hooks that the session has wherever it runs: in the worker,
or in the pytest that the user started."""

from __future__ import annotations

import functools
import inspect
import unittest
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from pytest_nsys.fixture import RECORDER
from pytest_nsys.gpu.monitor import Monitor
from pytest_nsys.worker.adopted import Adopted
from pytest_nsys.worker.coverage import Paused
from pytest_nsys.worker.events import Events
from pytest_nsys.worker.forks import Forks
from pytest_nsys.worker.job import Repeats
from pytest_nsys.worker.leftovers import Leftovers
from pytest_nsys.worker.recorder import Aside, Recorder, Windows
from pytest_nsys.worker.renewal import Renewal

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

    def __init__(self, renewal: Renewal, coverage: Paused | None) -> None:
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


class Rounds:
    """Hooks of a session that runs measured tests; of other tests they change nothing.

    Args:
        events: where progress goes.
        windows: where the tests' windows go.
        folder: that processes of the run are marked with; None for none.
        stop_reason: why to stop before the next round; "" for no reason.
        coverage: what is not to measure the rounds; None for nothing.

    Attributes:
        failing: the tests of which a part has failed that does not raise.
        again: those that are called not for the first time.
    """

    def __init__(
        self,
        events: Events,
        windows: Windows,
        *,
        folder: str | None = None,
        stop_reason: Callable[[], str] = str,
        coverage: Paused | None = None,
    ) -> None:
        self._events = events
        self._windows = windows
        self._stop_reason = stop_reason
        self._coverage = coverage
        self._monitor = Monitor(lambda why: events.write("gpu_unknown", text=why), folder=folder)
        self._forks = Forks()
        self._leftovers = Leftovers(folder)
        self._adopted = Adopted()
        self.failing: set[str] = set()
        self.again: set[str] = set()

    def begin(self, item: pytest.Item, repeats: Repeats) -> None:
        """A test is about to be set up.

        Cached memory is given back before that: where its tensors came to lie in what earlier
        tests left, so would its rounds, and their memory would depend on those.
        """
        self._leftovers.begin()
        self._events.write("start", nodeid=item.nodeid)
        if self._coverage is not None:
            self._coverage.phase(item.nodeid, "setup")
        release = item.config.hook.pytest_nsys_release_memory
        release(stage="setup")
        item.stash[RECORDER] = item.stash[_RECORDER] = Recorder(
            item.nodeid,
            repeats,
            self._windows,
            self._events,
            functools.partial(release, stage="rounds"),
            self._monitor,
            self._leftovers.now,
            self._forks,
        )

    def end(self, item: pytest.Item) -> None:
        """The test is over."""
        self._events.write("finish", nodeid=item.nodeid)
        self._leftovers.end(item.nodeid)
        del item.stash[RECORDER], item.stash[_RECORDER]

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
        recorder = item.stash.get(_RECORDER, None)
        if recorder is None:
            return (yield)
        original = item.runtest

        def stop() -> bool:
            self.again.add(item.nodeid)
            if self._stop_reason():
                self._events.write("cut", nodeid=item.nodeid)
                return True
            # unittest keeps failures on the item, and subtests report them, instead of raising.
            return bool(getattr(item, "_excinfo", None)) or item.nodeid in self.failing

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

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Measure for coverage again what a failed round has left unmeasured, and report what
        skipped the test after its body as what it is: a skip of the tear-down.
        """
        if late := item.stash.get(_LATE_SKIPS, []):
            item._excinfo = late[:1]  # type: ignore[attr-defined]
        if self._coverage is not None:
            self._coverage.phase(item.nodeid, "teardown")


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
