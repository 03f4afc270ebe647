"""What commands print, in the documentation; ``python -m tests.support.doc_outputs`` writes it.

A block of a page begins with ``<!-- output: COMMAND -->``, where the command is ``pytest-nsys`` or
``pytest`` as one types it in ``examples/``, or in a folder of it after ``cd FOLDER &&``; it may end
in ``| head -N`` or ``| tail -N``. The block of code that follows is what it prints, but for what
differs from run to run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.harness import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(r"(<!-- output: (?P<command>[^\n]*?) -->\n)```[a-z]*\n.*?\n```\n", re.DOTALL)
_PART = re.compile(r" \| (head|tail) -(\d+)$")
_TIME = re.compile(r"^=+ (.*) in [0-9.]+s(?: \([0-9:]+\))? =+$", re.MULTILINE)


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
    part = _PART.search(command)
    shown = _PART.sub("", command)
    folder, _, words = shown.rpartition(" && ")
    place = ROOT / "examples" / folder.removeprefix("cd ")
    lines = printed(shlex.split(words), place).splitlines()
    if part and len(lines) > (most := int(part[2])):
        lines = [*lines[:most], "..."] if part[1] == "head" else ["...", *lines[-most:]]
    return "\n".join([f"$ {shown}", *lines]) + "\n"


def printed(words: Sequence[str], folder: Path = ROOT / "examples", columns: int = 80) -> str:
    """What a command prints in a terminal, but for what differs from run to run.

    Args:
        words: of it, the first "pytest" or "pytest-nsys".
        folder: where it is run.
        columns: of the terminal.
    """
    program = {
        "pytest-nsys": ["pytest_nsys"],
        "pytest": ["pytest", "-p", "nsys", "-p", "no:cacheprovider", "--no-header"],
    }[words[0]]
    environment = {
        **os.environ,
        "COLUMNS": str(columns),
        "NO_COLOR": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    for name in ("CI", "BUILD_NUMBER", "PYTEST_ADDOPTS", "GITHUB_STEP_SUMMARY"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-m", *program, *words[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stderr:
        raise RuntimeError(f"{shlex.join(words)} fails: {done.stderr}")
    text = done.stdout.rstrip()
    return _TIME.sub(lambda found: f" {found[1]} ".center(columns, "="), text)


if __name__ == "__main__":
    for one in PAGES:
        one.write_text(made_anew(one), encoding="utf-8")
