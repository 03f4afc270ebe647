"""What runs print, whole: replays of the recordings in ``examples/``, in terminals of two widths.

``UPDATE_GOLDEN=1`` writes what is printed now.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.doc_outputs import printed
from tests.support.harness import ROOT

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES, SERVERS = ROOT / "examples", ROOT / "examples/servers"
RUNS = {
    "profile": (EXAMPLES, ["--nsys", "--nsys-replay=recordings/h200"]),
    "gate": (EXAMPLES, ["--nsys-baseline", "-v", "--nsys-replay=recordings/h200"]),
    "regression": (EXAMPLES, ["--nsys-baseline", "--nsys-replay=recordings/h200-slips"]),
    "update": (EXAMPLES, ["--nsys-update", "--nsys-replay=recordings/h200-slips"]),
    "server": (SERVERS, ["--nsys", "-v", "--nsys-replay=recordings/h200"]),
    "server-slip": (SERVERS, ["--nsys-baseline", "-v", "--nsys-replay=recordings/h200-slip"]),
}


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", RUNS)
def test_what_a_run_prints(name: str, columns: int, tmp_path: Path) -> None:
    folder, options = RUNS[name]
    if name == "update":
        options = [*options, f"--nsys-baseline-dir={tmp_path}"]
    text = printed(["pytest", *options], folder, columns) + "\n"
    golden = GOLDEN / f"{name}-{columns}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
    wide = [line for line in text.splitlines() if len(line) > columns]
    assert all(line.startswith("  pytest ") for line in wide), "but for commands, to be copied"


def test_the_markdown_has_the_lines_that_the_documentation_shows(tmp_path: Path) -> None:
    page = (ROOT / "docs/reports.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^> ?(.*)$", page, re.MULTILINE)
    folder, options = RUNS["regression"]
    printed(["pytest", *options, f"--nsys-markdown={tmp_path / 'nsys.md'}"], folder)
    written = (tmp_path / "nsys.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in quoted if line not in written] == []
    assert len(quoted) > 15
