"""What is to be counted of a recorded test, and what was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_nsys.errors import RecordingError
from pytest_nsys.measure.counting import MOST_KERNELS, wanted_parts
from pytest_nsys.measure.measurement import Measurement, Part
from pytest_nsys.ncu.counters import KernelCounters, Pair
from pytest_nsys.ncu.run import Wanted
from pytest_nsys.ncu.why import sentence
from pytest_nsys.offline.measured import measured_tests
from pytest_nsys.plan.batches import PlannedTest
from pytest_nsys.plan.marker import Spec
from pytest_nsys.storage.baselines import BaselineStore
from pytest_nsys.support.patterns import matches, nearest
from pytest_nsys.support.text import WIDTH, table, wrapped
from pytest_nsys.verdict.wording import short_names

_LISTED = 10


def recorded_test(folder: Path, pattern: str) -> Measurement:
    """The one measured test of a recording whose id is, contains or matches a pattern.

    Raises:
        RecordingError: it has none, or several.
    """
    tests = measured_tests(folder)
    found = [one for one in tests if one == pattern] or [
        one for one in tests if pattern in one or matches(pattern, one)
    ]
    if len(found) == 1:
        return tests[found[0]]
    shown = found or nearest(pattern, tests, _LISTED) or [*tests]
    raise RecordingError(
        f"{folder} has {'several tests' if found else 'no measured test'} {pattern!r:.100}",
        evidence="\n".join(shown[:_LISTED]),
        remedy="name one test by its id",
    )


def wanted_of(measured: Measurement, kernel: str | None, deadline_s: float) -> Wanted:
    """What is counted of a test: the kernels that match a pattern, in the first window that has
    any, or those of its body that take longest.

    Raises:
        RecordingError: there are none, or no worker runs the test.
    """
    names = [*measured.bodies[:1], *(one for one in measured.windows if one != measured.bodies[0])]
    if measured.environment.server:
        raise RecordingError(
            f"{measured.nodeid} is a test of a server or a command",
            remedy="run ncu by hand around what it starts",
        )
    for name in names:
        parts = [
            part
            for part in measured.windows[name].kernels
            if kernel is None or kernel in part.label or part.matches(kernel)
        ]
        if parts:
            spec = Spec(measured.warmup, measured.rounds, timeout_s=deadline_s)
            return wanted_parts(PlannedTest(measured.nodeid, spec), name, parts[:MOST_KERNELS])
    parts = [part for name in names for part in measured.windows[name].kernels]
    raise RecordingError(
        f"{measured.nodeid} has no kernel" + ("" if kernel is None else f" {kernel!r:.100}"),
        evidence="\n".join(_labels(parts)[:_LISTED]),
        remedy="name one that it has" if parts else "count a test that launches one",
    )


def _labels(parts: Sequence[Part]) -> list[str]:
    return [*dict.fromkeys(part.label for part in parts)]


def counted_before(folder: Path, measured: Measurement) -> tuple[KernelCounters, ...]:
    """The counters of the test's baseline for the same model of GPU; none where there are none.

    Raises:
        BaselineError: it cannot be read.
    """
    store = BaselineStore(folder)
    for device in store.devices(measured.nodeid):
        baseline = store.read(device, measured.nodeid)
        if baseline is not None and baseline.environment.gpu == measured.environment.gpu:
            return baseline.counters
    return ()


def counted_lines(pairs: Sequence[Pair]) -> Iterator[str]:
    """The counters as a table for each kernel, below a sentence."""
    names = short_names(pair.kernel for pair in pairs)
    for number, pair in enumerate(pairs):
        if number:
            yield ""
        yield from wrapped(f"{names[pair.kernel]}: {sentence(pair)}", "", "  ", WIDTH)
        rows = [
            (f"  {counter.label}", counter.shown(then), counter.shown(now))
            for counter, then, now in pair.rows()
            if then or now
        ]
        yield from table([("  ", "baseline", "now"), *rows])
