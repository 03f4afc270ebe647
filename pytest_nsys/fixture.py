"""The ``nsys`` fixture: what a test says about itself while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, Protocol, TypeVar

import pytest

from pytest_nsys.gpu.peaks import PRECISIONS, Precision
from pytest_nsys.support.json_values import LARGEST
from pytest_nsys.windows.record import MAIN

P = ParamSpec("P")
T = TypeVar("T")


class Recorder(Protocol):
    """What measures a test while it runs: `pytest_nsys.worker.recorder.Recorder`."""

    def range(self, name: str) -> AbstractContextManager[None]:
        """A named part of the round."""

    def units(self, units: Mapping[str, float], precision: str) -> None:
        """What this round processes; replaces what was said before."""

    def repeat(self, function: Callable[..., Any], prepare: Callable[[], Any]) -> Any:
        """Measure just this call, in warm-ups and rounds; returns what the last one returned.

        ``prepare`` returns its arguments, and is called before each call, unmeasured.
        """


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
        result: T = self._recorder.repeat(function, lambda: (args, kwargs))
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

    def units(
        self,
        *,
        flops: float | None = None,
        bytes: float | None = None,
        precision: Precision | None = None,
        **units: float,
    ) -> None:
        """What this round processes: ``nsys.units(tokens=256)`` gives ``X.per_token`` for all X.

        A plural ``s`` is dropped in the metric's name. The last call in a round counts.

        ``flops`` and ``bytes`` are work, which has rates and shares of what the GPU is made for:
        ``gpu.flops_per_s``, ``gpu.pct_peak_flops``, ``gpu.bytes_per_s``, ``gpu.pct_peak_bw``. Said
        within `range`, it is the work of that part alone, each time it is entered.

        Args:
            flops: floating-point operations; a multiply-add is two.
            bytes: that are read from device memory and written to it.
            precision: of the operations; without it they have no peak.
            units: how many of anything else.

        Raises:
            ValueError: a number is not above zero, or no number; the precision is unknown, or
                there are no flops that it is of.
        """
        work = {"flops": flops, "bytes": bytes}
        said = {name: count for name, count in work.items() if count is not None} | units
        for name, count in said.items():
            is_number = isinstance(count, (int, float)) and not isinstance(count, bool)
            if not is_number or not 0 < count < LARGEST:
                raise ValueError(f"nsys.units({name}={count!r}): give a number above zero")
        if precision is not None and precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise ValueError(f"nsys.units(precision={precision!r}): the precisions are {known}")
        if precision is not None and flops is None:
            raise ValueError(f"nsys.units(precision={precision!r}): it is that of flops=...")
        if self._recorder is not None:
            counts = {name: float(count) for name, count in said.items()}
            self._recorder.units(counts, precision or "")


def nsys_of(item: pytest.Item) -> Nsys:
    """The fixture's value for a test: recording where the test is measured, inert elsewhere."""
    return Nsys(item.stash.get(RECORDER, None))
