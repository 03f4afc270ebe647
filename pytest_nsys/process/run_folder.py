"""A folder for what a run needs for a while, removed also where the run cannot do it itself."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_nsys.errors import NoRunFolder
from pytest_nsys.process import guard
from pytest_nsys.support.own import own

_GUARD_S = 60.0


class RunFolder:
    """A private folder (0700) for one run's files, removed at the end.

    A guard of its own process removes it, and ends what the run started, where the run cannot.

    Raises:
        NoRunFolder: it cannot be made.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._owner = own.getpid()
        try:
            self.path = Path(own.make_folder(prefix="pytest-nsys-")).resolve()
            self._guard = own.Popen(
                [sys.executable, "-S", "-E", guard.__file__, str(self.path), str(self._owner)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise NoRunFolder(
                "there is no place for this run's temporary files",
                evidence=str(error),
                remedy="free some space, or name a folder that can be written to in TMPDIR",
            ) from None

    def next_number(self) -> int:
        """A number that nothing in the folder has yet."""
        return next(self._numbers)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the folder and all it holds; a second time does nothing.

        Nor does it in a fork that comes here by itself: it is the folder of the run.
        """
        if own.getpid() != self._owner:
            return
        own.remove_tree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError, subprocess.TimeoutExpired, ValueError):
            assert self._guard.stdin is not None
            # It is told: a fork that a test has left running holds the pipe open.
            self._guard.stdin.write(b"end")
            self._guard.stdin.close()
            self._guard.wait(timeout=_GUARD_S)


@contextlib.contextmanager
def undone(folder: Path, name: str, command: Sequence[str]) -> Iterator[None]:
    """While the block runs, have the guard run a command if this process comes to a sudden end.

    Args:
        folder: the run's.
        name: of the command; they are run in the order of their names.
        command: what undoes what is done in the block.
    """
    file = folder / f"{guard.UNDO}{name}"
    file.write_bytes(b"\0".join(map(os.fsencode, command)))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
