"""What the page about histories shows: the workflow that keeps one, and the command's text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Answer
from tests.support.harness import ROOT, Project, git
from tests.support.histories import Suite
from tests.support.pipelines import CI, GITHUB_SHELL, load

PAGE = (ROOT / "docs/history.md").read_text(encoding="utf-8")
BRANCH = "nsys-history"

TEST = """
    import pytest, simgpu

    @pytest.mark.nsys(rounds=2)
    def test_one():
        simgpu.launch("gemm", {us})
"""


def test_the_example_is_what_the_command_prints(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    shown = PAGE.partition("pytest-nsys history history\n\n")[2].partition("\n...\n")[0]
    lines = shown.rstrip().splitlines()
    out = command("history", Suite(tests=12, runs=60).write(tmp_path))[1].splitlines()
    assert lines == out[: len(lines)]
    assert len(lines) > 20


class Runner:
    """Runs the steps of the workflow's job as GitHub does, each in a shell of its own."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        job = load(CI / "github/history.yml")["jobs"]["measure"]
        self.steps: dict[str, dict[str, Any]] = {
            step["name"]: step for step in job["steps"] if "name" in step
        }
        assert list(self.steps) == [
            *("Install", "Restore the history", "Measure", "Keep the history", "Make the page")
        ]

    def run(self, name: str, code: int = 0) -> str:
        step = self.steps[name]
        done = subprocess.run(
            [*GITHUB_SHELL, step["run"]],
            cwd=self.checkout / step.get("working-directory", "."),
            env={
                **os.environ,
                "GITHUB_SHA": git(self.checkout, "rev-parse", "HEAD"),
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout
        return done.stdout


@pytest.fixture
def origin(simulated: Project, tmp_path: Path) -> Path:
    """A repository with a test and its baseline, whose checkout is the simulated project's."""
    simulated.write(TEST.format(us=100))
    simulated.run("--nsys-update")
    origin = tmp_path / "origin.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", origin], check=True)
    git(simulated.path, "init", "-q", "-b", "main")
    git(simulated.path, "add", "pytest.ini", "test_it.py", "baselines")
    git(simulated.path, "commit", "-qm", "one")
    git(simulated.path, "remote", "add", "origin", str(origin))
    git(simulated.path, "push", "-q", "origin", "main")
    return origin


def measured(origin: Path) -> list[str]:
    """The lines of the branch."""
    names = git(origin, "ls-tree", "-r", "--name-only", BRANCH).split()
    assert set(names) == {
        *(".gitattributes", ".gitignore", "nvidia-h200/test_it.py/test_one.jsonl")
    }
    return git(origin, "show", f"{BRANCH}:nvidia-h200/test_it.py/test_one.jsonl").splitlines()


def test_its_steps_keep_the_history_and_make_the_page(simulated: Project, origin: Path) -> None:
    runner = Runner(simulated.path)
    runner.run("Restore the history")
    runner.run("Measure")
    runner.run("Keep the history")
    runner.run("Make the page")
    assert len(measured(origin)) == 1
    assert "1 test on nvidia-h200, 1 run" in (simulated.path / "site/index.html").read_text()

    # The next run has a checkout of its own, and fails the gate: its history is kept all the same.
    git(simulated.path, "worktree", "remove", "--force", "history")
    git(simulated.path, "branch", "-D", BRANCH)
    simulated.write(TEST.format(us=200))
    git(simulated.path, "commit", "-qam", "two")
    runner.run("Restore the history")
    assert "regressed" in runner.run("Measure", code=1)
    runner.run("Keep the history")
    runner.run("Make the page")
    first, second = measured(origin)
    assert '"status":"ok"' in first
    assert '"status":"regressed"' in second
    commit = git(simulated.path, "rev-parse", "HEAD")
    assert f'"commit":"{commit}"' in second, "the history's folder does not make it dirty"
    assert f"{commit[:7]}" in (simulated.path / "site/index.html").read_text()


def test_of_two_that_push_at_once_both_are_kept(
    simulated: Project, origin: Path, tmp_path: Path
) -> None:
    runner = Runner(simulated.path)
    runner.run("Restore the history")
    runner.run("Measure")
    runner.run("Keep the history")
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", "-b", BRANCH, str(origin), str(other))
    path = other / "nvidia-h200/test_it.py/test_one.jsonl"
    path.write_text(path.read_text() + path.read_text().replace('"status":"ok"', '"status":"new"'))
    git(other, "commit", "-qam", "another job's")
    runner.run("Measure")
    git(other, "push", "-q", "origin", BRANCH)
    runner.run("Keep the history")
    statuses = [re.findall(r'"status":"(\w+)"', line)[0] for line in measured(origin)]
    assert sorted(statuses) == ["new", "ok", "ok"]
