"""Limits of one window: a collection that reaches one is stopped while its load goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pytest_nsys.process.limits import Limits, bytes_on_disk
from pytest_nsys.servers.running.nsys_session import Collected, Collection
from pytest_nsys.support.own import own

_POLL_S = 0.2


class Limited:
    """Any collection, stopped early where it reaches a limit.

    Args:
        inner: the collection.
        limits: of each time.
        folder: where nsys writes; None where that is not known, and no size is watched.
        reached: told of the limit, from another thread, before the collection is stopped: what
            has not ended by then is not wholly in the capture.
    """

    def __init__(
        self,
        inner: Collection,
        limits: Limits,
        folder: Path | None,
        reached: Callable[[str], None] | None = None,
    ) -> None:
        self._inner = inner
        self._limits = limits
        self._folder = folder
        self._reached = reached
        self._over = own.Event()
        self._watcher: threading.Thread | None = None
        self._cut_short = ""
        self._collected: Collected | None = None
        self._failure: Exception | None = None

    @property
    def collecting(self) -> bool:
        """Whether it has been started and not stopped."""
        return self._inner.collecting

    @property
    def cut_short(self) -> str:
        """The limit that was reached; empty until one is."""
        return self._cut_short

    def start(self, output: Path) -> None:
        """Begin, and watch the limits. Raises what the collection raises."""
        self._cut_short, self._collected, self._failure = "", None, None
        before = self._size()
        self._inner.start(output)
        if not self._limits.any:
            return
        self._over.clear()
        self._watcher = own.Thread(
            target=self._watch, args=(before, own.clock()), daemon=True, name="nsys-limits"
        )
        self._watcher.start()

    def stop(self) -> Collected:
        """End, unless a limit has done so. Raises what the collection raises."""
        if self._watcher is not None:
            self._over.set()
            self._watcher.join()
            self._watcher = None
        if self._failure is not None:
            raise self._failure
        collected = self._collected or self._inner.stop()
        return replace(collected, cut_short=self._cut_short)

    def _watch(self, before: int, began: float) -> None:
        try:
            while not self._over.wait(_POLL_S):
                exceeded = self._limits.exceeded(own.clock() - began, self._size() - before)
                if exceeded:
                    self._cut_short = exceeded
                    if self._reached is not None:
                        self._reached(exceeded)
                    self._collected = self._inner.stop()
                    return
        except Exception as error:
            self._failure = error

    def _size(self) -> int:
        if self._limits.size is None or self._folder is None:
            return 0
        return bytes_on_disk(self._folder)
