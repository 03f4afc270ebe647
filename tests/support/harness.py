"""Projects that the tests run pytest in, and where the tests find what they need."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

import pytest_nsys

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
SIMGPU = TESTS / "simgpu"

REAL_NSYS = {
    "2022": os.environ.get("NSYS_2022", "/opt/nsys/2022.4.2/target-linux-x64/nsys"),
    "2023": os.environ.get("NSYS_2023", "/opt/nsys/2023.4.4/target-linux-x64/nsys"),
}


def real_nsys_path(name: str) -> Path:
    """One of the real nsys; a machine without it fails, it does not skip."""
    path = Path(REAL_NSYS[name])
    if not path.exists():
        pytest.fail(f"nsys {name} is not at {path}: run .ci/install-nsys")
    return path


def write_program(path: Path, text: str) -> Path:
    """Write a script, in a folder that is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip())
    path.chmod(0o755)
    return path


def until(
    condition: Callable[[], object], what: str = "what is waited for", seconds: float = 30.0
) -> None:
    """Wait for a condition; a test fails that waits for too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:g} s")
        time.sleep(0.03)


def git(folder: Path, *arguments: str) -> str:
    """What git says, in a folder, as somebody without settings of their own."""
    own = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *own, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def import_all() -> None:
    """Import whatever a run of pytest may import.

    pytester makes this process forget what is imported while it is in use, and extension modules
    cannot be imported twice.
    """
    for module in pkgutil.walk_packages(pytest_nsys.__path__, "pytest_nsys."):
        importlib.import_module(module.name)
    for name in ("pandas", "pyarrow.parquet", "pynvml"):
        importlib.import_module(name)


@contextmanager
def like_a_new_process(folder: Path) -> Iterator[None]:
    """In this block, a run of pytest finds what it would find in a process of its own."""
    first = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    shadowed = {path.stem for entry in first for path in Path(entry).iterdir()}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("ignore", ResourceWarning)  # Python's default
        patch.setattr(sys, "path", [str(folder), *first, *sys.path])
        patch.setattr(sys, "argv", ["pytest"])
        patch.setattr(tempfile, "tempdir", None)  # else it is where it was before TMPDIR was set
        for name in [*sys.modules]:
            if name.partition(".")[0] in shadowed:
                patch.delitem(sys.modules, name)
        yield


class Project:
    """A user's project in a folder of its own, with an nsys on the PATH.

    Attributes:
        path: the folder.
        in_process: whether pytest runs in this process, which is much faster: whoever says so
            has called `import_all`. Otherwise it has a process of its own, as users' runs do.
    """

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.in_process = False
        self.ini()

    def ini(self, *lines: str) -> None:
        """Write the project's ini file."""
        base = [
            "[pytest]",
            "asyncio_default_fixture_loop_scope = function",
            "nsys_processes = 1",
            "nsys_confirm = 0",
        ]
        (self.path / "pytest.ini").write_text("\n".join([*base, *lines]) + "\n")

    def write(self, text: str, name: str = "test_it.py") -> Path:
        """Write a test module (or another file); indentation common to all lines is removed."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def run(self, *args: str, timeout: float = 120) -> pytest.RunResult:
        """Run pytest; ``timeout`` is that of a process of its own."""
        if self.in_process:
            with like_a_new_process(self.path):
                return self.pytester.runpytest_inprocess(*args)
        return self.pytester.runpytest_subprocess(*args, timeout=timeout)

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start pytest as a shell does: in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *options],
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A shell starts its background jobs deaf to Ctrl-C, and this test may be part of one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def left_over(self) -> list[list[str]]:
        """Command lines of processes that have to do with the project."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            command = process.info["cmdline"] or []
            if process.info["status"] != psutil.STATUS_ZOMBIE and str(self.path) in str(command):
                found.append(command)
        return found

    def results(self, *args: str) -> tuple[pytest.RunResult, dict[str, Any]]:
        """Run pytest and return what ``--nsys-json`` wrote, tests by the part after the file."""
        path = self.path / "results.json"
        path.unlink(missing_ok=True)
        result = self.run(*args, "--nsys-json", str(path), "-o", "nsys_json_samples=true")
        document = json.loads(path.read_text()) if path.exists() else {"tests": []}
        tests = {test["nodeid"].partition("::")[2]: test for test in document["tests"]}
        return result, tests

    def baseline(self, nodeid_part: str, device: str = "nvidia-h200") -> dict[str, Any]:
        """The baseline file of a test of ``test_it.py``, by its readable name."""
        path = self.path / "baselines" / device / "test_it.py" / f"{nodeid_part}.json"
        data: dict[str, Any] = json.loads(path.read_text())
        return data


def assemble_nsys(name: str, folder: Path, importer: str | None) -> Path:
    """Put a real nsys together anew: it looks for its parts beside itself. Returns its program.

    Args:
        name: of it in `REAL_NSYS`.
        folder: where it is to be.
        importer: a shell script in the place of its importer, which is ``$REAL`` there; None for
            no importer.
    """
    real = real_nsys_path(name)
    target, host = folder / real.parent.name, folder / "host-linux-x64"
    for part_of in (target, host):
        part_of.mkdir(parents=True)
    for part in real.parent.iterdir():
        if part != real:
            (target / part.name).symlink_to(part)
    shutil.copy2(real, target / real.name)
    if importer is not None:
        program = real.parents[1] / "host-linux-x64/QdstrmImporter"
        write_program(
            host / program.name, f"#!/bin/sh\nREAL={program}\n{textwrap.dedent(importer)}\n"
        )
    return target / real.name
