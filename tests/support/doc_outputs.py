"""What commands print, in the documentation; ``python -m tests.support.doc_outputs`` writes it.

A block of a page begins with ``<!-- output: COMMAND -->``, where the command is ``pytest-nsys`` or
``pytest`` as one types it in ``examples/``, and may end in ``| head -N``. The block of code that
follows is what it prints.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.support.harness import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(r"(<!-- output: (?P<command>[^\n]*?) -->\n)```[a-z]*\n.*?\n```\n", re.DOTALL)
_HEAD = re.compile(r" \| head -(\d+)$")


def commands_of(page: Path) -> list[str]:
    """The commands whose output a page has."""
    return [found["command"] for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))]


def made_anew(page: Path) -> str:
    """The page with what its commands print now."""
    return _BLOCK.sub(
        lambda found: f"{found[1]}```\n{output(found['command'])}```\n",
        page.read_text(encoding="utf-8"),
    )


def output(command: str) -> str:
    """What a command prints in a terminal of 80 columns, and the line that it is."""
    head = _HEAD.search(command)
    words = shlex.split(_HEAD.sub("", command))
    module = {"pytest-nsys": "pytest_nsys", "pytest": "pytest"}[words[0]]
    done = subprocess.run(
        [sys.executable, "-m", module, *words[1:]],
        cwd=ROOT / "examples",
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stderr:
        raise RuntimeError(f"{command} fails: {done.stderr}")
    lines = done.stdout.rstrip().splitlines()
    if head and len(lines) > int(head[1]):
        lines = [*lines[: int(head[1])], "..."]
    return "\n".join([f"$ {_HEAD.sub('', command)}", *lines]) + "\n"


if __name__ == "__main__":
    for one in PAGES:
        one.write_text(made_anew(one), encoding="utf-8")
