"""Writing what the exec shim needs to know: see `pytest_nsys.process.exec_shim`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_nsys.process import exec_shim, stream_giver
from pytest_nsys.process.environment import marked_environment, private_environment
from pytest_nsys.process.guard import MARK
from pytest_nsys.process.stream_giver import TAKEN
from pytest_nsys.support.own import own


def write_shim_command(
    folder: Path,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: str = "",
    pid_file: str,
    stdout: str = "stdout",
    stderr: str = "stderr",
    streams: str = "",
    around: Mapping[str, str] | None = None,
) -> list[str]:
    """Write the exec shim's private file.

    Args:
        folder: private; what is started is marked with it and can be found by it.
        command: what the shim becomes, with the path of its program.
        environment: of the command.
        directory: where it is started; "" for the current one.
        pid_file: name of the file, in the folder, that tells its process id.
        stdout: name of the file, in the folder, that its output is appended to.
        stderr: the same; it may be the same file.
        streams: the folder of `offer_streams`, where the command is to take its stdin and stdout
            from another process; "" where stdin is nsys's, and stdout a file.
        around: what the returned command line will be run in; None for `private_environment` of
            the folder.

    Returns:
        The command line to be run, below a profiler or not.
    """
    told = {
        "command": [*command],
        "directory": directory,
        "environment": marked_environment(folder, environment),
        "minimal": dict(private_environment(folder) if around is None else around),
        "pid_file": str(folder / pid_file),
        "stdout": str(folder / stdout),
        "stderr": str(folder / stderr),
        "streams": streams,
    }
    path = folder / "launch.json"
    fd = own.open_fd(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with own.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(own.to_json(told))
    return [sys.executable, "-S", "-E", exec_shim.__file__, str(path)]


def offer_streams(folder: Path) -> list[str]:
    """Have a process give its stdin and stdout to a command that is started by another.

    Args:
        folder: private and empty, for the two to find each other.

    Returns:
        The command line of the process that gives: whatever comes behind it means nothing. It
        belongs to the folder, and ends when its streams are taken (`stream_giver`).
    """
    own.make_pipe(folder / TAKEN, 0o600)
    python = [sys.executable, "-S", "-E", stream_giver.__file__, str(folder)]
    return ["/usr/bin/env", f"{MARK}={folder}", *python]


def withdraw_streams(folder: Path) -> None:
    """Nobody will take the streams: have their giver end, whether it waits or has yet to begin."""
    pipe = folder / TAKEN
    try:
        both = own.open_fd(pipe, os.O_RDWR)
    except FileNotFoundError:
        return
    own.unlink(pipe)
    own.close(both)
