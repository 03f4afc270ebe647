"""A search without runs of pytest: what a commit measures is drawn."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from pytest_nsys.bisection.bench import Bench, Broken, Project, Ran
from pytest_nsys.bisection.engine import Engine
from pytest_nsys.bisection.record import Store
from pytest_nsys.bisection.search import Range, Search
from tests.support.quick_python import options_of, results


class DrawnBench(Bench):
    """Measures as `tests.support.quick_python` does, without a process or a checkout."""

    def measure(
        self, commit: str, beside: str, tests: Sequence[str], *options: str
    ) -> Ran | Broken:
        """What pytest would have said of the commit."""
        found = results(self._of(commit), self._of(beside), options_of([*options]))
        return Broken(found) if isinstance(found, str) else Ran(found, "", "")

    def _of(self, commit: str) -> str:
        return _git(self.project.top, "show", f"{commit}:kernels.json")


def drawn_search(
    repository: Path, folder: Path, good: str, bad: str, *, first_parent: bool = False
) -> tuple[Search, Store]:
    """A search between two commits, and what it keeps.

    Args:
        repository: made by `tests.support.commits.make_history`.
        folder: for what is kept.
        good: full hash of a commit.
        bad: likewise.
        first_parent: as of git bisect.
    """

    def engine() -> Engine:
        number = len([*folder.glob("bisect-*")])
        private = folder / f"bisect-{number}"
        return Engine(private, repository, good, bad, first_parent=first_parent)

    def parent_of(commit: str) -> str:
        return _git(repository, "show", "--no-patch", "--format=%P", commit).partition(" ")[0]

    store = Store(folder / "kept", good, bad)
    bench = DrawnBench(Project(repository, Path(), ("test_it.py",)), folder)
    span = Range(good, bad)
    return Search(bench, store, span, engine, parent_of, lambda line: None), store


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
