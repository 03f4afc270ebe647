"""The ``nsys`` fixture: what a test says about itself while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, Protocol, TypeVar

import pytest

from pytest_nsys.windows.record import MAIN

P = ParamSpec("P")
T = TypeVar("T")


class Recorder(Protocol):
    """What measures a test while it runs: `pytest_nsys.worker.recorder.Recorder`."""

    def range(self, name: str) -> AbstractContextManager[None]:
        """A named part of the round."""

    def units(self, **units: float) -> None:
        """What this round processes; replaces what was said before."""

    def repeat(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Measure just this call, in warm-ups and rounds; returns what the last one returned."""


RECORDER = pytest.StashKey[Recorder]()
"""Where the worker keeps the recorder of a test that is being measured."""


class Nsys:
    """Names parts of a test, says what a round processes, or measures one call of the test.

    Outside a profiled run it is inert: it calls through and measures nothing, so that a suite
    runs anywhere.
    """

    def __init__(self, recorder: Recorder | None = None) -> None:
        self._recorder = recorder

    @property
    def active(self) -> bool:
        """Whether this test is being measured."""
        return self._recorder is not None

    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Measure just ``function(*args, **kwargs)``, with warm-up and rounds around it.

        The rest of the test's body runs once and is not measured.

        Returns:
            What the last call returned.
        """
        if self._recorder is None:
            return function(*args, **kwargs)
        result: T = self._recorder.repeat(function, args, kwargs)
        return result

    def range(self, name: str) -> AbstractContextManager[None]:
        """A named part of the round, with samples, baseline and verdict of its own.

        Args:
            name: any text but "test", which is the body's; unique within the test. A range that is
                entered several times in a round counts as one part: its samples are sums over the
                round.

        Raises:
            TypeError: the name is no text.
            ValueError: it is the body's.
        """
        if not isinstance(name, str) or not name:
            raise TypeError(f"nsys.range takes a name, not {name!r}")
        if name == MAIN:
            raise ValueError(f"nsys.range({name!r}): the test's body is called so; take another")
        return nullcontext() if self._recorder is None else self._recorder.range(name)

    def units(self, **units: float) -> None:
        """What this round processes: ``nsys.units(tokens=256)`` gives ``X.per_token`` for all X.

        A plural ``s`` is dropped in the metric's name. The last call in a round counts.
        """
        for name, count in units.items():
            is_number = isinstance(count, (int, float)) and not isinstance(count, bool)
            if not is_number or not 0 < count < math.inf:
                raise ValueError(f"nsys.units({name}={count!r}): give a number above zero")
        if self._recorder is not None:
            self._recorder.units(**units)


def nsys_of(item: pytest.Item) -> Nsys:
    """The fixture's value for a test: recording where the test is measured, inert elsewhere."""
    return Nsys(item.stash.get(RECORDER, None))
