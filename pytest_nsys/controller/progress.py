"""Progress while a worker runs: a line that rewrites itself on a terminal, else plain lines."""

from __future__ import annotations

import codecs
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from pytest_nsys.support.own import own
from pytest_nsys.support.text import one_line
from pytest_nsys.worker.node import distributes

if TYPE_CHECKING:
    from pytest_nsys.controller.runner import Step

_BAR = 20
_PLAIN_EVERY_S = 1.0
_ALIVE_EVERY_S = 60.0


class Progress:
    """Shows which test runs, which round, and how many are left."""

    def __init__(self, config: pytest.Config) -> None:
        self._reporter: Any = config.pluginmanager.getplugin("terminalreporter")
        self._silent = config.getoption("verbose") < 0 or self._reporter is None
        self._relay = config.getoption("capture") == "no"
        self._rewrites = not self._silent and not self._relay and bool(self._reporter.isatty)
        self._together = "" if distributes(config) else " in one capture"
        self._rounds: dict[str, int] = {}
        self._begun: dict[str, int] = {}
        self._last_plain = float("-inf")
        self._shown = False
        # Output comes in pieces, which may end inside a character.
        self._stdout, self._stderr = (
            codecs.getincrementaldecoder("utf-8")("replace") for _ in range(2)
        )

    def begin(self, step: Step) -> None:
        """Announce a process."""
        tests = step.batch.tests
        self._rounds = {test.nodeid: test.spec.most_rounds or test.spec.rounds for test in tests}
        self._begun = {}
        count = f"{len(tests)} test{'s' * (len(tests) > 1)}"
        if step.purpose == "confirm":
            line = f"measuring {count} again that may have regressed"
        elif step.purpose == "alone":
            line = f"measuring {tests[0].nodeid} again, alone: earlier tests left something running"
        else:
            line = f"measuring {count}{self._together}"
        if step.arm:
            line += f" at {step.arm}"
        self._line(f"nsys: {line}{_process(step)}")

    def begin_server(self, step: Step) -> None:
        """Announce a process of a server test."""
        again = " again: it may have regressed" if step.purpose == "confirm" else ""
        self._line(f"nsys: measuring {step.batch.tests[0].nodeid}{again}{_process(step)}")

    def waiting(self, line: str) -> None:
        """Say what the run is waiting for."""
        self._line(f"nsys: {line}")

    def event(self, event: dict[str, Any], worker: str = "") -> None:
        """Show what a worker says, of several with its name."""
        if event["event"] == "start":
            self._begun.setdefault(event["nodeid"], len(self._begun) + 1)
            self._show(event["nodeid"], worker)
        elif event["event"] == "round" and self._rewrites:
            number = event["round"]
            total = self._rounds[event["nodeid"]]
            what = f"round {number + 1}/{total}" if number >= 0 else "warm-up"
            self._show(event["nodeid"], worker, what)
        elif event["event"] == "end":
            of = f" of {worker}" if worker else ""
            self._line(f"nsys: writing the report{of} and reading it", keep=not self._rewrites)

    def stdout(self, data: bytes) -> None:
        """Pass the worker's output on, where pytest was told not to capture it."""
        if self._relay:
            sys.stdout.write(self._stdout.decode(data))
            sys.stdout.flush()

    def stderr(self, data: bytes) -> None:
        """As `stdout`."""
        if self._relay:
            sys.stderr.write(self._stderr.decode(data))
            sys.stderr.flush()

    def end(self) -> None:
        """Clear the line."""
        if self._shown:
            self._reporter.rewrite("", erase=True)
            self._reporter.write("\r")  # what pytest writes next may have no line of its own
            self._shown = False

    def _show(self, nodeid: str, *what: str) -> None:
        number, total = self._begun[nodeid], len(self._rounds)
        if self._rewrites:
            filled = _BAR * (number - 1) // total
            bar = "#" * filled + "-" * (_BAR - filled)
            parts = (f"nsys [{bar}] {number}/{total}", *what, nodeid)
            self._line(" ".join(filter(None, parts)), keep=False)
        elif own.clock() - self._last_plain >= _PLAIN_EVERY_S:
            self._last_plain = own.clock()
            self._line(" ".join(filter(None, (f"nsys: {number}/{total}", *what, nodeid))))

    def _line(self, text: str, *, keep: bool = True) -> None:
        if self._silent:
            return
        if keep:
            self.end()
            self._reporter.ensure_newline()
            # Beside pytest-xdist, dots are a line that pytest does not know that it has begun.
            if getattr(self._reporter._tw, "_current_line", "").rpartition("\r")[2]:
                self._reporter.write_line("")
            self._reporter.write_line(one_line(text))
        else:
            self._shown = True
            width = self._reporter._tw.fullwidth
            self._reporter.rewrite(one_line(text)[: width - 1], erase=True)


class Told:
    """Writes lines to the terminal from inside a test, whose output pytest captures.

    Args:
        config: of the run.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._reporter: Any = config.pluginmanager.getplugin("terminalreporter")
        self._capture: Any = config.pluginmanager.getplugin("capturemanager")
        self._silent = config.getoption("verbose") < 0 or self._reporter is None
        self._rewrites = not self._silent and bool(self._reporter.isatty)
        self._shown = ""
        self._last_plain = own.clock()

    def say(self, line: str) -> None:
        """Write a line that stays."""
        if self._silent:
            return
        self.show("", news=False)
        self._last_plain = own.clock()
        with self._uncaptured():
            self._reporter.ensure_newline()
            self._reporter.write_line(one_line(f"nsys: {line}"))

    def show(self, line: str, news: bool) -> None:
        """Write a line in the place of the one that was shown before; "" for none.

        Where lines stay, only news are written, and now and then that it goes on.
        """
        if self._rewrites and line != self._shown:
            with self._uncaptured():
                if line and not self._shown:
                    self._reporter.ensure_newline()
                text = one_line(f"nsys: {line}") if line else ""
                self._reporter.rewrite(text[: self._reporter._tw.fullwidth - 1], erase=True)
                self._reporter._tw.flush()
                if not line:
                    self._reporter.write("\r")
            self._shown = line
        elif line and not self._rewrites and (news or self._quiet_for() >= _ALIVE_EVERY_S):
            self.say(line)

    def _quiet_for(self) -> float:
        return own.clock() - self._last_plain

    def _uncaptured(self) -> AbstractContextManager[object]:
        return self._capture.global_and_fixture_disabled() if self._capture else nullcontext()


def _process(step: Step) -> str:
    """Which process it is, where there are several."""
    if step.of == 1:
        return ""
    return f", process {step.number} of {'at most ' * (step.purpose == 'confirm')}{step.of}"
