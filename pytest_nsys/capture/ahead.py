"""Workers that are started ahead of their turn: they collect, then wait until they are told tests.

Most of what a process takes before its first test is the import of what the tests import. So the
processes of a run are started together and collect side by side. None measures while another
imports: tests are told only when all that were started wait, and those do nothing then.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_nsys.capture.run import Worker
from pytest_nsys.capture.workers import Workers
from pytest_nsys.errors import NsysError
from pytest_nsys.plan.nsys_options import full_name

_AT_ONCE = 4
"""So many PyTorch's in memory a machine with a GPU has room for."""

_LONGEST_START_S = 10.0

_AT_ITS_TURN = (
    *("--delay", "--duration"),  # nsys counts these from its own start
    # What samples the whole machine would do so while its worker waits, and often only one can.
    *("--gpu-metrics", "--gpuctxsw", "--nic-metrics", "--event-sample", "--ftrace"),
    *("--cpu-core-", "--cpu-socket-"),
)
"""How options begin of an nsys that is not to wait."""

_NEVER_TOLD = "it was not needed: there were no tests for it"


@dataclass(frozen=True)
class Turn:
    """A process that is to run, or will be.

    Attributes:
        workers: what starts it.
        nsys_args: further arguments of its ``nsys profile``.
    """

    workers: Workers
    nsys_args: tuple[str, ...]

    @property
    def can_wait(self) -> bool:
        """Whether it may be started early."""
        return not any(full_name(one).startswith(_AT_ITS_TURN) for one in self.nsys_args)

    def start(self) -> Worker:
        """Start it; for what it raises see `Workers.start`."""
        return self.workers.start(self.nsys_args)


class Ahead:
    """The workers that wait for their turns.

    Args:
        at_once: how many there may be at a time, with the one whose turn it is.
    """

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self._at_once = at_once
        self._expected: Counter[Turn] = Counter()
        self._waiting: list[tuple[Turn, Worker]] = []

    def expect(self, turn: Turn, count: int) -> None:
        """So many such turns come next of those workers, and nothing else: what waits for something
        else is ended, and what is missing is started.
        """
        for other in [*self._expected]:
            if other.workers is turn.workers:
                del self._expected[other]
        self._expected[turn] = count
        left = Counter({turn: count})
        superfluous = []
        for one in [*self._waiting]:
            if one[0].workers is turn.workers:
                left[one[0]] -= 1
                if left[one[0]] < 0:
                    superfluous.append(one)
        self._end(superfluous)
        self._fill()

    def start(self, turn: Turn, count: int) -> None:
        """Start workers before it is known that there are tests for them.

        It returns when nsys has started them: code of the project that runs here from now on finds
        no file with their environment. An nsys that takes long is left for later.
        """
        self.expect(turn, count)
        if not all(worker.starts(_LONGEST_START_S) for _, worker in self._waiting):
            self.end()

    def take(self, turn: Turn) -> Worker:
        """The worker whose turn it is: now it can be told its tests. No other does anything then.

        Raises:
            NsysError: it cannot be started.
        """
        found = next((one for one in self._waiting if one[0] == turn), None)
        if found is None:
            found = (turn, turn.start())
            self._waiting.insert(0, found)
            self._fill()
        for _, worker in self._waiting:
            worker.wait()
        others = [one for one in self._waiting if one is not found]
        if any(worker.uses_gpu for _, worker in self._waiting):
            # Modules that use it when they are imported would take memory from what is measured.
            self._at_once = 1
            self._end(others)
        self._waiting.remove(found)
        self._expected[turn] -= 1
        return found[1]

    def end(self) -> None:
        """Nothing more comes."""
        self._expected.clear()
        self._end([*self._waiting])

    def _fill(self) -> None:
        """Start what is expected, as far as there may be more."""
        started = Counter(turn for turn, _ in self._waiting)
        for turn, count in self._expected.items():
            if not turn.can_wait:
                continue
            for _ in range(count - started[turn]):
                if len(self._waiting) >= self._at_once:
                    return
                # What prevents it now is told when it is its turn.
                with contextlib.suppress(NsysError):
                    self._waiting.append((turn, turn.start()))

    def _end(self, some: Sequence[tuple[Turn, Worker]]) -> None:
        self._waiting = [one for one in self._waiting if one not in some]
        for _, worker in some:
            worker.dismiss()
        for _, worker in some:
            worker.end(_NEVER_TOLD)
