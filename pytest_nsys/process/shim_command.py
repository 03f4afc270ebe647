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
    given_streams: bool = False,
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
        given_streams: whether the command takes stdin and stdout from another process: that which
            `stream_giver_command` of this folder starts.

    Returns:
        The command line to be run, below nsys or not, in `private_environment` of the folder.
    """
    told = {
        "command": [*command],
        "directory": directory,
        "environment": marked_environment(folder, environment),
        "minimal": private_environment(folder),
        "pid_file": str(folder / pid_file),
        "stdout": str(folder / stdout),
        "stderr": str(folder / stderr),
    }
    if given_streams:
        os.mkfifo(folder / TAKEN, 0o600)
        told["streams"] = str(folder)
    path = folder / "launch.json"
    fd = own.open_fd(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with own.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(own.to_json(told))
    return [sys.executable, "-S", "-E", exec_shim.__file__, str(path)]


def stream_giver_command(folder: Path) -> list[str]:
    """What is started in the place of a command with ``given_streams``, and gives it its own.

    Whatever comes behind it on the command line means nothing. It, too, belongs to the folder.
    """
    python = [sys.executable, "-S", "-E", stream_giver.__file__, str(folder)]
    return ["/usr/bin/env", f"{MARK}={folder}", *python]
