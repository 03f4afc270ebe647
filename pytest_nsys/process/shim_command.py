"""Writing what the exec shim needs to know: see `pytest_nsys.process.exec_shim`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_nsys.process import exec_shim
from pytest_nsys.process.environment import marked_environment, private_environment
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
    path = folder / "launch.json"
    fd = own.open_fd(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with own.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(own.to_json(told))
    return [sys.executable, "-S", "-E", exec_shim.__file__, str(path)]
