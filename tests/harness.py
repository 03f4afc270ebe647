"""Projects that the tests run pytest in, and where the tests find what they need."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
SIMGPU = TESTS / "simgpu"
sys.path.insert(0, str(SIMGPU))

REAL_NSYS = {
    "2022": os.environ.get("NSYS_2022", "/opt/nsys/2022.4.2/target-linux-x64/nsys"),
    "2023": os.environ.get("NSYS_2023", "/opt/nsys/2023.4.4/target-linux-x64/nsys"),
}


class Project:
    """A user's project in a folder of its own, with an nsys on the PATH."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.ini()

    def ini(self, *lines: str) -> None:
        """Write the project's ini file."""
        base = ["[pytest]", "asyncio_default_fixture_loop_scope = function"]
        (self.path / "pytest.ini").write_text("\n".join([*base, *lines]) + "\n")

    def write(self, text: str, name: str = "test_it.py") -> Path:
        """Write a test module (or another file); indentation common to all lines is removed."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def run(self, *args: str, timeout: float = 120) -> pytest.RunResult:
        """Run pytest as a user does, in a process of its own."""
        return self.pytester.runpytest_subprocess(*args, timeout=timeout)

    def results(self, *args: str) -> tuple[pytest.RunResult, dict[str, Any]]:
        """Run pytest and return what ``--nsys-json`` wrote, tests by the part after the file."""
        path = self.path / "results.json"
        path.unlink(missing_ok=True)
        result = self.run(*args, "--nsys-json", str(path))
        document = json.loads(path.read_text()) if path.exists() else {"tests": []}
        tests = {test["nodeid"].partition("::")[2]: test for test in document["tests"]}
        return result, tests

    def baseline(self, nodeid_part: str, device: str = "nvidia-h200") -> dict[str, Any]:
        """The baseline file of a test of ``test_it.py``, by its readable name."""
        path = self.path / "baselines" / device / "test_it.py" / f"{nodeid_part}.json"
        data: dict[str, Any] = json.loads(path.read_text())
        return data
