"""What servers are started with in this run of pytest, and which test is measured at the moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.servers.records import TestCaptures
from pytest_nsys.servers.tracebacks import short_tracebacks

if TYPE_CHECKING:
    from pytest_nsys.gpu.monitor import Monitor


def tell_nobody(line: str) -> None:
    """What is said is of no use to anybody."""
    del line


def show_nobody(line: str, news: bool) -> None:
    """What is shown, likewise."""
    del line, news


@dataclass
class ServerContext:
    """What servers are started with.

    Attributes:
        folder: for private files; what is started is ended with it.
        nsys: what profiles them; None where nothing is measured.
        nsys_args: further arguments of nsys that the run's options name.
        deadline_s: longest time for nsys to begin, to write a report, to end.
        say: told what takes long.
        show: told again and again what goes on, in a line in the place of the one before, and
            whether it is another thing than before; "" when it is over.
        current: the process of the test that is measured; None outside of one.
        gpus: reads the state of the GPUs around rounds; None for no state.
    """

    folder: RunFolder
    nsys: NsysTool | None = None
    nsys_args: tuple[str, ...] = ()
    deadline_s: float = 900.0
    say: Callable[[str], object] = tell_nobody
    show: Callable[[str, bool], object] = show_nobody
    current: TestCaptures | None = None
    gpus: Monitor | None = None

    @contextmanager
    def capturing(self, captures: TestCaptures) -> Iterator[None]:
        """In this block, windows belong to this process of a test."""
        self.current = captures
        try:
            yield
        finally:
            self.current = None


CONTEXT = pytest.StashKey[ServerContext]()
"""Where the configuration of a run that measures keeps it."""


@contextmanager
def context_of(session: pytest.Session) -> Iterator[ServerContext]:
    """That of the run, or one without nsys where nothing is measured."""
    found = session.config.stash.get(CONTEXT, None)
    with short_tracebacks(session.config):
        if found is not None:
            yield found
            return
        with RunFolder() as folder:
            yield ServerContext(folder)
