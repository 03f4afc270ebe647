"""Starting nsys around a program, why it did not start the program, and ending both."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pytest_nsys.errors import NsysError, NsysLaunchFailed, NsysUsageError
from pytest_nsys.process.environment import private_environment
from pytest_nsys.process.guard import end_marked
from pytest_nsys.process.limits import shortage
from pytest_nsys.process.logs import read_end
from pytest_nsys.process.processes import reap
from pytest_nsys.support.own import own

_T = TypeVar("_T")

PRINTED = 4000
"""Characters that are kept of what nsys prints."""

_LOG = "nsys.log"
_LAUNCHES = 3
_AGENT_S = 1.0
_INTERRUPTED_S = 3.0
_TERMINATED_S = 3.0
_REFUSALS = ("unrecognised option", "unrecognized option", "is ambiguous", "usage:", "Illegal")


def launch_repeatedly(
    once: Callable[[], _T], again: tuple[type[NsysError], ...] = (NsysLaunchFailed,)
) -> _T:
    """What ``once`` returns, which is called up to three times.

    Now and then nsys fails to start its program at all, on a busy machine.

    Args:
        once: launches nsys.
        again: the errors after which it is called again.
    """
    for _ in range(_LAUNCHES - 1):
        with contextlib.suppress(*again):
            return once()
    return once()


def start_nsys(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start nsys with nothing to read, in a session of its own; what it prints goes to a log.

    Args:
        command: its command line.
        folder: private, of what it starts; the log is in it.

    Raises:
        NsysLaunchFailed: it cannot be started.
    """
    with (folder / _LOG).open("wb") as log:
        try:
            return own.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=private_environment(folder),
                start_new_session=True,
            )
        except OSError as error:
            raise NsysLaunchFailed(
                "nsys cannot be started", evidence=str(error), remedy="see to the nsys program"
            ) from None


def end_nsys(process: subprocess.Popen[bytes], folder: Path, *, well: bool) -> None:
    """End nsys, its agent, the program, and all that this has left running.

    Args:
        process: nsys.
        folder: that it was started with.
        well: whether nsys and its program have ended by themselves: then its agent is about to.
    """
    terminate = (signal.SIGTERM, _TERMINATED_S)
    signals = (terminate,) if well else ((signal.SIGINT, _INTERRUPTED_S), terminate)
    end_marked(str(folder), patience_s=_AGENT_S if well else 0.0, signals=signals)
    reap(process)


def printed_by_nsys(folder: Path) -> str:
    """The end of what the nsys of a folder has printed, without empty lines."""
    return read_end(folder / _LOG)[-PRINTED:]


def refused(printed: str, remedy: str) -> NsysUsageError | None:
    """The error for an nsys that did not know one of its arguments; None if it knew all."""
    if not any(text in printed for text in _REFUSALS):
        return None
    return NsysUsageError("nsys refused its arguments", evidence=printed, remedy=remedy)


def not_started(what: str, printed: str, code: int | None, folder: Path) -> NsysLaunchFailed:
    """The error for an nsys that ended without having started what it was to ("the worker")."""
    return NsysLaunchFailed(
        f"nsys ended without starting {what}{shortage(folder)}",
        evidence=printed or f"exit code {code}, nothing printed",
        remedy="run 'nsys profile true' by hand: it should fail in the same way",
    )


def read_pid(file: Path) -> int | None:
    """The process id that an exec shim has written; None as long as it has not."""
    try:
        return int(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
