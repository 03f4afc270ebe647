"""What tests leave running: processes and threads that may launch work in later tests' rounds.

What a fixture of a wider scope than a test starts is none of it: it belongs to all its tests.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pytest_nsys.process.guard import ancestors, belongs
from pytest_nsys.support.own import own
from pytest_nsys.windows.record import Leftover

_Being = tuple[int, int]
"""Process and thread; 0 as the thread stands for a process as a whole."""

_DUMMY = threading._DummyThread


class Leftovers:
    """Looks for what is there at the beginning and the end of each test.

    Threads are those that Python started: frameworks keep threads of their own from whatever test
    comes first, and have them launch what later ones ask for.

    Args:
        folder: that the processes of the run are marked with; None for none.
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._pid = own.getpid()
        self._ours: dict[int, bool] = {}
        self._since: dict[_Being, str] = {}
        self._expected = self._look()

    def begin(self) -> None:
        """A test begins: what has started since the last one ended belongs to nobody."""
        self._expected |= self._look() - self._since.keys()

    def end(self, nodeid: str) -> None:
        """A test has ended: what it started and is still there is what it left."""
        for being in self._look() - self._expected - self._since.keys():
            self._since[being] = self._parent(being) or nodeid

    @contextmanager
    def expected(self) -> Iterator[None]:
        """What is started in this block belongs to a fixture that outlives the test."""
        before = self._look()
        yield
        self._expected |= self._look() - before

    def now(self) -> tuple[Leftover, ...]:
        """What earlier tests have left and still runs, with what that has started."""
        there = self._look()
        for being in there - self._expected - self._since.keys():
            parent = self._parent(being)
            if parent:
                self._since[being] = parent
        return tuple(
            Leftover(*being, since=since)
            for being, since in sorted(self._since.items())
            if being in there
        )

    def _parent(self, being: _Being) -> str:
        """The test that the nearest ancestor is left from; "" where none is."""
        above = ((pid, 0) for pid in ancestors(being[0]))
        return next((self._since[one] for one in above if one in self._since), "")

    def _look(self) -> set[_Being]:
        pids = {int(name) for name in own.listdir("/proc") if name.isdigit()}
        # A number is another process's once its own has ended.
        known = {pid: self._ours[pid] for pid in self._ours.keys() & pids}
        self._ours = {pid: known[pid] if pid in known else self._is_ours(pid) for pid in pids}
        processes = {(pid, 0) for pid, ours in self._ours.items() if ours}
        threads = {
            (self._pid, thread.native_id or 0)
            for thread in own.threads()
            if not isinstance(thread, _DUMMY)
        }
        return (processes | threads) - {(self._pid, 0)}

    def _is_ours(self, pid: int) -> bool:
        if self._folder is not None and belongs(pid, self._folder):
            return True
        return self._pid in ancestors(pid)
