"""Projects that the GPU tests run, and how to look at their results."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any
from xml.etree import ElementTree


class Project:
    """A small project in a folder: tests are written to it and run by pytest with nsys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pytest.ini").write_text("[pytest]\n")

    def write(self, body: str, name: str = "test_it.py") -> None:
        text = "import pytest\npytestmark = pytest.mark.nsys\n" + textwrap.dedent(body)
        (self.folder / name).write_text(text)

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *args],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def measure(self, *args: str, mode: str = "--nsys") -> dict[str, Any]:
        """Run, and return the results' JSON by the test's name.

        What tests have recorded of themselves ("properties") is in no file but JUnit's.
        """
        reports = ["--nsys-json=out.json", "-o", "nsys_json_samples=true", "--junitxml=out.xml"]
        done = self.run(mode, *reports, *args)
        path = self.folder / "out.json"
        assert path.exists(), done.stdout + done.stderr
        document = json.loads(path.read_text())
        path.unlink()
        tests = {test["nodeid"].partition("::")[2]: test for test in document["tests"]}
        for case in ElementTree.parse(self.folder / "out.xml").iter("testcase"):
            properties = {one.get("name"): one.get("value") for one in case.iter("property")}
            tests.get(case.get("name", ""), {})["properties"] = properties
        return {"tests": tests, "code": done.returncode, "text": done.stdout + done.stderr}


def metric(test: dict[str, Any], key: str, window: str = "test") -> list[float]:
    """The current samples of one metric."""
    part = next(w for w in test["windows"] if w["name"] == window)
    found = {
        metric["key"]: [sample for process in metric["samples"] for sample in process]
        for metric in part["metrics"]
    }
    zeros = [0.0] * max(map(len, found.values()), default=0)
    return {**dict.fromkeys(part["zero"], zeros), **found}[key]
