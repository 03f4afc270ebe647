"""The tutorial for a machine with a GPU, and somebody who follows it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.harness import ROOT, git

PAGE = (ROOT / "docs/tutorials/gpu.md").read_text(encoding="utf-8")
TEST, RIGHT, SLOW = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [
    line.strip()
    for block in re.findall(r"^ *```sh\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
    if line.strip()
]


class Reader:
    """Somebody who types what the page says, from its top to its end, in a folder."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.left = [*COMMANDS]
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # the module changes within a second
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "t")
            patch.setenv(f"GIT_{role}_EMAIL", "t@example.org")
        git(folder, "init", "--quiet")
        self.writes(TEST)

    def writes(self, text: str) -> None:
        """The page's test file."""
        (self.folder / "test_gelu.py").write_text(text)

    def types(self, command: str) -> tuple[int, str]:
        """The next command of the page, which has to be this one: its exit code and output."""
        assert self.left.pop(0) == command
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", command],
            cwd=self.folder,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
            check=False,
        )
        print(f"{time.monotonic() - began:6.1f} s  exit code {done.returncode}  $ {command}")
        return done.returncode, done.stdout

    def makes_it_slow(self) -> None:
        """As the page says, written out."""
        self.writes(TEST[: TEST.index("@pytest.mark.nsys")] + SLOW)
