"""What other tools measure calls with, measured by this one while a test's body runs.

The fixtures of pytest-benchmark and pytest-codspeed, and Triton's ``do_bench``, do here what
``nsys(function)`` does. Their classes and functions stay what other code takes them for, and those
tools need not be installed.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from pytest_nsys.worker.recorder import Recorder

_FIXTURES = {"pytest_benchmark.fixture": False, "pytest_codspeed.plugin": True}
"""Modules with a class ``BenchmarkFixture``, and whether ``setup`` gets the arguments there."""

_TRITON = "triton.testing"
_DO_BENCH = "do_bench"
_TIMERS = (_DO_BENCH, "do_bench_cudagraph")

_TUNERS = frozenset({"triton", "torch"})
"""Packages that time what they choose from: what they time is not what a test is about."""

_SHORT_MS = {"warmup": 1, "rep": 10}
"""At most so long a time that a test is given is measured for: it is in the capture, too."""

_TOLD = frozenset({"bool", "int", "float", "str", "dtype"})
"""Types of arguments that name a window; PyTorch has one that is called ``dtype``."""


class Adopted:
    """Stands in for other tools in the bodies of measured tests, and nowhere else."""

    def __init__(self) -> None:
        self._recorder: Recorder | None = None
        self._names: Counter[str] = Counter()
        self._extra_info: dict[str, object] = {}

    @contextlib.contextmanager
    def body(self, item: pytest.Item, recorder: Recorder) -> Iterator[None]:
        """The body of a test runs in this block; what it says in ``extra_info`` is kept."""
        self._recorder, self._names, self._extra_info = recorder, Counter(), {}
        try:
            yield
        finally:
            self._recorder = None
            item.user_properties += [(f"extra_info.{k}", v) for k, v in self._extra_info.items()]

    def adopt_fixtures(self) -> None:
        """Have the fixtures ``benchmark`` of what is loaded measure by a recorder."""
        for module, with_arguments in _FIXTURES.items():
            kind = getattr(sys.modules.get(module), "BenchmarkFixture", None)
            if kind is not None:
                kind.__call__ = self._call_like(kind.__call__)
                kind.pedantic = self._pedantic_like(kind.pedantic, with_arguments)

    def _call_like(self, theirs: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(theirs)
        def call(fixture: Any, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            if self._recorder is not None:
                function = self._measuring(fixture, function)
            return theirs(fixture, function, *args, **kwargs)

        return call

    def _pedantic_like(
        self, theirs: Callable[..., Any], with_arguments: bool
    ) -> Callable[..., Any]:
        signature = inspect.signature(theirs)

        @functools.wraps(theirs)
        def pedantic(*args: Any, **kwargs: Any) -> Any:
            if self._recorder is None:
                return theirs(*args, **kwargs)
            given = signature.bind(*args, **kwargs)
            fixture, function = given.args[:2]
            said = given.arguments
            setup, teardown = said.pop("setup", None), said.pop("teardown", None)
            own, named = said.pop("args", ()), said.pop("kwargs", None) or {}
            if setup is not None:
                said["setup"] = _nothing  # it may not be given beside some others
                setup = functools.partial(setup, *own, **named) if with_arguments else setup
            prepare = _preparing(setup, own, named)
            said["target"] = self._measuring(fixture, function, prepare, teardown)
            return theirs(**said)

        return pedantic

    def _measuring(
        self,
        fixture: Any,
        function: Callable[..., Any],
        prepare: Callable[[], Any] | None = None,
        teardown: Callable[..., object] | None = None,
    ) -> Callable[..., Any]:
        """What a fixture calls once, which is disabled in the worker: the function in rounds."""

        def measure(*args: Any, **kwargs: Any) -> Any:
            recorder = self._recorder
            assert recorder is not None
            self._extra_info = fixture.extra_info
            result = recorder.repeat(
                function, prepare or (lambda: (args, kwargs)), teardown, by="benchmark"
            )
            _give_stats(fixture, recorder.times_s)
            return result

        return measure

    def adopt_do_bench(self) -> None:
        """Have ``triton.testing.do_bench`` measure by a recorder, wherever it is imported next."""
        try:
            testing = importlib.import_module(_TRITON)
        except Exception:  # it may fail in any way: what needs it says so
            return
        for name in _TIMERS:
            theirs = getattr(testing, name, None)
            if theirs is not None:
                setattr(testing, name, self._do_bench_like(theirs, cold_l2=name == _DO_BENCH))

    def _do_bench_like(self, theirs: Callable[..., Any], *, cold_l2: bool) -> Callable[..., Any]:
        signature = inspect.signature(theirs)

        @functools.wraps(theirs)
        def do_bench(*args: Any, **kwargs: Any) -> Any:
            recorder, caller = self._recorder, sys._getframe(1)
            if recorder is None or recorder.is_in_call or _package(caller) in _TUNERS:
                return theirs(*args, **kwargs)
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            said = given.arguments

            def prepare() -> tuple[tuple[()], dict[str, Any]]:
                for tensor in said.get("grad_to_none") or ():
                    tensor.grad = None
                return (), {}

            name = self._name(caller)
            recorder.repeat(given.args[0], prepare, name=name, by=_DO_BENCH, cold_l2=cold_l2)
            said.update(
                {name: min(ms, said[name]) for name, ms in _SHORT_MS.items() if name in said}
            )
            self._recorder = None  # the function may call it, too
            try:
                return theirs(*given.args, **given.kwargs)
            finally:
                self._recorder = recorder

        return do_bench

    def _name(self, caller: FrameType) -> str:
        """What a call is called: by the arguments that ``perf_report`` has called the caller with,
        and by its number in the test.
        """
        name = _DO_BENCH
        if caller.f_back is not None and caller.f_back.f_globals.get("__name__") == _TRITON:
            code = caller.f_code
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            values = {name: caller.f_locals.get(name) for name in names}
            told = (f"{n}={v}" for n, v in values.items() if type(v).__name__ in _TOLD)
            name = ", ".join(told) or name
        self._names[name] += 1
        number = self._names[name]
        return name if number == 1 else f"{name} {number}"


def _nothing() -> None:
    pass


def _preparing(setup: Callable[[], Any] | None, args: Any, kwargs: Any) -> Callable[[], Any]:
    """The arguments of each call, which pedantic's ``setup`` may make."""

    def prepare() -> Any:
        made = setup() if setup is not None else None
        if made and (args or kwargs):
            raise TypeError("pedantic has args or kwargs, and its setup returned others")
        return made or (args, kwargs)

    return prepare


def _give_stats(fixture: Any, times_s: tuple[float, ...]) -> None:
    """pytest-benchmark's ``benchmark.stats``, for tests that read it; no report has them."""
    if hasattr(fixture, "_make_stats"):
        fixture._add_stats = [].append
        stats = fixture._make_stats(1)
        for time_s in times_s:
            stats.update(time_s)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
