"""A machine with a simulated GPU: a folder with the stand-in nsys, and what it makes there."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.simgpu import standin

FLAGS = [
    "--trace=cuda,nvtx",
    "--sample=none",
    "--cpuctxsw=none",
    "--force-overwrite=true",
    "--wait=primary",
    "--cuda-memory-usage=true",
    "--cuda-graph-trace=node",
]
"""How the plugin calls ``nsys profile``."""


def environment(**variables: str) -> Mapping[str, str]:
    """An environment in which ``import simgpu`` and ``import nvtx`` give the simulated ones."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent / "path"), **variables}


class Machine:
    """A folder with a stand-in nsys and what it makes."""

    def __init__(self, folder: Path, faults: Sequence[str] = (), **arguments: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.faults = faults
        self.nsys = standin.write_standin(folder, faults=faults, **arguments)
        self.report = folder / "report.nsys-rep"

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start nsys with these arguments."""
        return subprocess.Popen(
            [str(self.nsys), *arguments],
            env=environment(**{"TMPDIR": str(self.folder), **variables}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run nsys with these arguments to its end."""
        with self.start(*arguments, **variables) as process:
            output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def profile(
        self, app: str, flags: Sequence[str] = FLAGS, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Profile a Python program."""
        command = [sys.executable, "-c", app]
        return self.run("profile", *flags, "-o", str(self.folder / "report"), *command, **variables)

    def export(self, *arguments: str) -> int:
        """Run ``nsys export`` in this process, to SQLite unless the arguments say otherwise."""
        output = ["-o", str(self.folder / "report.sqlite")]
        return standin.main(
            ["export", "--type", "sqlite", "-f", "true", *output, *arguments], self.faults
        )

    def exported(self, app: str, flags: Sequence[str] = FLAGS, **variables: str) -> Export:
        """Profile a program and export the report."""
        done = self.profile(app, flags, **variables)
        assert done.returncode == 0, done.stderr
        assert self.export(str(self.report)) == 0
        return Export(self.folder / "report.sqlite")


class Export:
    """An exported report to ask questions of."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with closing(sqlite3.connect(self.path)) as database:
            return database.execute(query, values).fetchall()

    def tables(self) -> dict[str, str]:
        """Each table's name and the statement that made it."""
        return dict(self.rows("SELECT name, sql FROM sqlite_master"))

    def kernels(self) -> list[tuple[str, int]]:
        """Names and durations, in the order of their start."""
        return self.rows(
            "SELECT value, end - start FROM CUPTI_ACTIVITY_KIND_KERNEL "
            "JOIN StringIds ON id = demangledName ORDER BY start"
        )
