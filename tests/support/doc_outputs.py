"""What the documentation shows of elsewhere; ``python -m tests.support.doc_outputs`` writes it.

A block of a page begins with ``<!-- output: COMMAND -->``, where the command is ``pytest-nsys`` or
``pytest`` as one types it in ``examples/``, or in a folder of it after ``cd FOLDER &&``; it may end
in ``| head -N`` or ``| tail -N``. The block of code that follows is what it prints, but for what
differs from run to run. The commands of a page are run one after another in a copy of its own, so
that they may change baselines. After ``<!-- file: PATH -->`` a block of code is written to a file
of that copy first: what the reader is told to write. After ``<!-- shown: PATH -->`` a block is that
file of the repository: what the reader is told to copy.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.harness import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "docs").glob("*/*.md"))

EXAMPLES = ROOT / "examples"
CHECKOUT = "/home/me/pytest-nsys"  # what pages call the folder of the copy

_BLOCK = re.compile(
    r"(?P<marker><!-- (?P<kind>output|file|shown): (?P<subject>[^\n]*?) -->\n)"
    r"(?P<code>```(?P<language>[a-z]*)\n(?P<text>.*?\n)```\n)",
    re.DOTALL,
)
_PART = re.compile(r" \| (head|tail) -(\d+)$")
_TOOK = r" in [0-9.]+s(?: \([0-9:]+\))?"
_TIME = re.compile(rf"^=+ (.*){_TOOK} =+$", re.MULTILINE)
_QUIET_TIME = re.compile(rf"^(\d+ \w+.*){_TOOK}$", re.MULTILINE)


def shown_of(page: Path) -> list[str]:
    """The commands whose output a page has, and the files that it shows."""
    blocks = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [found["subject"] for found in blocks if found["kind"] != "file"]


def made_anew(page: Path) -> str:
    """The page with what its commands print now, and with what is in its files."""
    with tempfile.TemporaryDirectory() as private:
        folder = Path(private).resolve()
        for name in ("examples", "baselines"):
            shutil.copytree(ROOT / name, folder / name)
        examples = folder / "examples"

        def followed(found: re.Match[str]) -> str:
            if found["kind"] == "output":
                text = output(found["subject"], examples).replace(str(folder), CHECKOUT)
                return f"{found['marker']}```\n{text}```\n"
            if found["kind"] == "shown":
                text = (ROOT / found["subject"]).read_text(encoding="utf-8")
                return f"{found['marker']}```{found['language']}\n{text}```\n"
            (examples / found["subject"]).write_text(found["text"], encoding="utf-8")
            return found[0]

        return _BLOCK.sub(followed, page.read_text(encoding="utf-8"))


def output(command: str, examples: Path = EXAMPLES) -> str:
    """What a command prints in a terminal of 80 columns, and the line that it is."""
    part = _PART.search(command)
    shown = _PART.sub("", command)
    folder, _, words = shown.rpartition(" && ")
    place = examples / folder.removeprefix("cd ")
    lines = printed(shlex.split(words), place).splitlines()
    if part and len(lines) > (most := int(part[2])):
        lines = [*lines[:most], "..."] if part[1] == "head" else ["...", *lines[-most:]]
    return "\n".join([f"$ {shown}", *lines]) + "\n"


def printed(words: Sequence[str], folder: Path = EXAMPLES, columns: int = 80) -> str:
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
    text = _QUIET_TIME.sub(r"\1", done.stdout.rstrip())
    return _TIME.sub(lambda found: f" {found[1]} ".center(columns, "="), text)


if __name__ == "__main__":
    for one in PAGES:
        one.write_text(made_anew(one), encoding="utf-8")
