"""A row of the table of faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pytest_nsys.errors import NsysError
from tests.faults.scene import STAND_IN, Scene

REAL = ("2022", "2023")
"""A fault is driven by one of them, and by both only where they differ in what it does."""


def nothing(scene: Scene) -> None:
    """Do nothing to a scene."""


HEALTHY = """
    import pytest
    from work import work

    pytestmark = pytest.mark.nsys(rounds=2, warmup=0, allow_empty={empty})

    def test_one():
        work()

    def test_two():
        work()
"""


def around(body: str, *, before: str = "") -> str:
    """A test module with a test before and a test after one with this body."""
    lines = "\n".join(f"        {line}" for line in body.strip().splitlines())
    return f"""
    import ctypes, os, pathlib, signal, subprocess, sys, time
    import pytest
    from work import ready, wait, work

    pytestmark = pytest.mark.nsys(rounds=2, warmup=0, allow_empty=True)
    {before}

    def test_before():
        work()

    def test_at_fault(request):
{lines}

    def test_after():
        work()
"""


@dataclass(frozen=True)
class Fault:
    """One fault: how it is made, what the user sees of it, and what is left behind (nothing).

    Attributes:
        name: what is wrong.
        made: how, in words; empty where the name says it all.
        sees: the line that says so, with ``*`` for what differs from run to run; empty where a
            run with this fault is a good one.
        error: the class of the error; None where a test fails without one.
        code: pytest's exit code, as a shell shows it.
        drives: the names of the nsys it is driven against.
        faults: those of the stand-in.
        tests: the test module.
        conftest: what is added to the project's conftest.py.
        ini: lines added to its ini file.
        environment: variables for pytest.
        options: those of pytest.
        prepare: called before pytest is started.
        during: called while it runs.
        recorded: the baselines that are written.
        late: whether what is left is cleaned up after pytest's end, by the guard.
        traceback: whether a traceback is shown, since the fault is in the user's own code.
    """

    name: str
    sees: str
    error: type[NsysError] | None
    code: int = 1
    made: str = ""
    drives: tuple[str, ...] = (STAND_IN,)
    faults: tuple[str, ...] = ()
    tests: str = HEALTHY.format(empty=True)
    conftest: str = ""
    ini: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ("--nsys-update",)
    prepare: Callable[[Scene], None] = nothing
    during: Callable[[Scene], None] = nothing
    recorded: tuple[str, ...] = ()
    late: bool = False
    traceback: bool = False

    @property
    def id(self) -> str:
        """The name as the id of a test."""
        return self.name.lower().replace(" ", "-").replace(",", "").replace("'", "")
