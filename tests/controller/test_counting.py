"""Which tests are counted, which of their kernels, and what is noted where none is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_nsys.capture.workers import Command
from pytest_nsys.controller import counting
from pytest_nsys.controller.counting import Counters
from pytest_nsys.errors import NcuFailed, NcuForbidden, NcuNotFound
from pytest_nsys.ncu.counters import DURATION, KernelCounters
from pytest_nsys.ncu.run import Wanted
from pytest_nsys.ncu.tool import NcuTool
from pytest_nsys.plan.batches import PlannedTest
from pytest_nsys.plan.options import Counting
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.verdict.verdict import Verdict
from tests.support.builders import FLASH, GEMM, SPEC, before, kernel, measurement, slower, verdict
from tests.support.builders import window as made_window

COMMAND = Command((), (), ())
OTHER = Command(("other",), (), ())

Make = Callable[..., Counters]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Wanted]:
    """What was counted, by an ncu that finds all kernels."""
    found: list[Wanted] = []

    def count(ncu: object, wanted: Wanted, *rest: object, **options: object) -> Any:
        found.append(wanted)
        return tuple(
            KernelCounters(name, wanted.window, 1, {DURATION: 5.0}) for name in wanted.kernels
        )

    monkeypatch.setattr(counting, "count", count)
    monkeypatch.setattr(counting, "find_ncu", lambda: NcuTool(Path("ncu"), (2025, 3, 1)))
    return found


@pytest.fixture
def make(counted: list[Wanted], said: list[str]) -> Make:
    folder = cast("RunFolder", SimpleNamespace(path=Path("/nowhere"), next_number=lambda: 1))

    def made(when: Counting) -> Counters:
        return Counters(when, folder, str, 60.0, said.append)

    return made


@pytest.fixture
def said() -> list[str]:
    return []


def planned(judged: Verdict) -> PlannedTest:
    return PlannedTest(judged.nodeid, SPEC)


def test_what_made_a_test_slower_is_counted_and_else_what_takes_longest(
    make: Make, counted: list[Wanted]
) -> None:
    worse = slower()
    looked = make("on-regression").look(planned(worse), worse, [COMMAND])
    (wanted,) = counted
    slow = {one.label for part in worse.worse for one in part.culprits if one.change > 0}
    assert {*wanted.kernels} <= slow
    assert [one.kernel for one in looked.measurement.counters] == [*wanted.kernels]
    assert looked.notes == worse.notes

    now = measurement(made_window(kernel(GEMM, 2, 9e6), kernel(FLASH, 3, 9e5), *_small()))
    fine = verdict(now, before(now, *now.windows.values()))
    assert make("on-regression").look(planned(fine), fine, [COMMAND]) is fine
    assert len(counted) == 1
    make("always").look(planned(fine), fine, [COMMAND])
    assert [*counted[1].kernels][:2] == [GEMM, FLASH]
    assert (len(counted[1].kernels), counted[1].launches) == (3, 6)

    empty = verdict(measurement(made_window()))
    assert make("always").look(planned(empty), empty, [COMMAND]) is empty


def _small() -> list[Any]:
    return [kernel(f"small_{name}", 1, 100) for name in "abc"]


def test_of_many_regressions_the_first_are_counted(make: Make, counted: list[Wanted]) -> None:
    counters = make("on-regression")
    looked = [
        counters.look(planned(one), one, [COMMAND])
        for one in (slower(f"test_it.py::test_{n}") for n in range(7))
    ]
    assert len(counted) == 5
    assert [bool(one.measurement.counters) for one in looked] == [True] * 5 + [False] * 2
    assert looked[-1].notes[-1] == (
        "no counters: ncu has looked at 5 tests already; 'pytest-nsys ncu' looks at one"
    )
    assert looked[-1].failed


def test_where_nothing_can_be_counted_a_note_says_why(
    make: Make, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    worse = slower()
    looked = make("always").look(planned(worse), worse, [None])
    assert looked.notes[-1] == "no counters: ncu is not run for servers and commands"

    asked = []

    def missing() -> NcuTool:
        asked.append(1)
        raise NcuNotFound("no ncu", evidence="looked\nthere", remedy="install it")

    monkeypatch.setattr(counting, "find_ncu", missing)
    counters = make("always")
    for _ in range(2):
        looked = counters.look(planned(worse), worse, [COMMAND])
        assert looked.notes[-1] == "no counters: no ncu; install it"
        assert looked == replace(worse, notes=looked.notes)
    assert len(asked) == 1, "it is looked for once"
    assert said[-1] == f"no counters of {worse.nodeid}: no ncu: there"

    tried = []

    def forbidden(*arguments: object, **options: object) -> Any:
        tried.append(1)
        raise NcuForbidden("it may not", remedy="ask")

    monkeypatch.setattr(counting, "find_ncu", lambda: NcuTool(Path("ncu"), (2025, 3, 1)))
    monkeypatch.setattr(counting, "count", forbidden)
    counters = make("always")
    for _ in range(2):
        looked = counters.look(planned(worse), worse, [COMMAND])
        assert looked.notes[-1] == "no counters: it may not; ask"
    assert len(tried) == 1, "no worker is started to be told the same again"


def test_the_other_revision_is_counted_too_and_may_lack_the_kernel(
    make: Make, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    worse = replace(slower(), against="main")
    looked = make("on-regression").look(planned(worse), worse, [OTHER, COMMAND])
    assert looked.baseline is not None
    assert looked.baseline.counters == looked.measurement.counters
    assert said[-1] == f"counting with ncu: {worse.nodeid} at main"

    def count(ncu: object, wanted: Wanted, command: Command, *rest: object, **more: object) -> Any:
        if command is OTHER:
            raise NcuFailed("it did not come up again")
        first = next(iter(wanted.kernels))
        return (KernelCounters(first, wanted.window, 1, {DURATION: 5.0}),)

    monkeypatch.setattr(counting, "count", count)
    looked = make("on-regression").look(planned(worse), worse, [OTHER, COMMAND])
    assert len(looked.measurement.counters) == 1
    assert looked.notes[-1] == "no counters: it did not come up again"
    looked = make("on-regression").look(planned(worse), worse, [COMMAND])
    assert looked.notes[-1].startswith("no counters: under ncu, ")
