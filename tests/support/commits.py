"""Repositories with a history: commits of a project whose kernels one of them made slower."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.harness import git

TEST = """
import pytest
from mine import work

@pytest.mark.nsys(rounds=5, warmup=1)
def test_step():
    work()
"""
WORK = """
import random
import simgpu

NOISE = {noise!r}
offset = random.SystemRandom().gauss(0, NOISE)  # of this process

def work():
    for name, us in {kernels!r}:
        simgpu.launch(name, us * (1 + offset + random.SystemRandom().gauss(0, NOISE / 2)))
"""
"""The noise is that of a process, as a share of the time; a round has half of it on top."""

INI = """
[pytest]
asyncio_default_fixture_loop_scope = function
pythonpath = src
"""


def work(*kernels: tuple[str, float], noise: float = 0.0) -> str:
    """The module under test: it launches kernels, each of so many microseconds."""
    return WORK.format(kernels=list(kernels), noise=noise)


def make_history(folder: Path, commits: Sequence[Mapping[str, str | bytes]]) -> list[str]:
    """A repository with one commit after another, made at once; returns their hashes.

    Args:
        folder: where; its files are those of the last commit.
        commits: of each the files that it changes, by path. The first one also has a test of
            ``work`` in ``src/mine.py``, and pytest's settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    stream = b""
    start: Mapping[str, str | bytes] = {"test_it.py": TEST, "pytest.ini": INI}
    for number, files in enumerate(commits):
        if number == 0:
            files = {**start, **files}
        message = f"change {number}".encode()
        stream += b"commit refs/heads/main\n"
        stream += b"committer t <t@example.org> %d +0000\n" % (1_700_000_000 + 60 * number)
        stream += b"data %d\n%s\n" % (len(message), message)
        for path, text in files.items():
            data = text if isinstance(text, bytes) else text.encode()
            stream += b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)
    command = ["git", "-C", str(folder), "fast-import", "--quiet"]
    subprocess.run(command, input=stream, check=True)
    git(folder, "reset", "--quiet", "--hard", "main")
    return git(folder, "rev-list", "--reverse", "main").split()
