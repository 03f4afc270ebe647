"""git bisect, in a repository of its own that shares the objects of the user's.

There it has its refs, its log and its HEAD, so that the user's repository is only read. It decides
which commit is next, goes around those that cannot be tested, and knows what merges mean.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from pytest_nsys.controller.against import git, plain_environment
from pytest_nsys.errors import BisectError
from pytest_nsys.process.processes import run_program

Mark = Literal["good", "bad", "skip"]

_REMEDY = "name two commits, the second of which has the first in its history"
_DEADLINE_S = 600.0
_ONLY_SKIPPED, _MERGE_BASE = 2, 3
"""Exit codes of git bisect: none but skipped commits are left; a merge base is bad."""


class Engine:
    """Which commit is to be tested next.

    Attributes:
        candidate: that commit; None where the search has come to its end.
    """

    def __init__(
        self, folder: Path, project: Path, good: str, bad: str, *, first_parent: bool = False
    ) -> None:
        """Args:
            folder: for the repository.
            project: a folder of the user's.
            good: full hash of a commit.
            bad: likewise.
            first_parent: whether merges are steps as a whole.

        Raises:
            BisectError: nothing can be searched between the two.
            RevisionError: git fails.
        """
        self._folder, self._good, self._bad = folder, good, bad
        self._first_parent = ["--first-parent"] * first_parent
        self._skipped: set[str] = set()
        self.candidate: str | None = None
        self._share(project)
        self._bisect("start", "--no-checkout", *self._first_parent, bad, good)

    def _share(self, project: Path) -> None:
        def path(name: str) -> Path:
            return project / git(["rev-parse", "--git-path", name], project, _REMEDY)

        form = git(["rev-parse", "--show-object-format"], project, _REMEDY)
        new = ["init", "--bare", "--quiet", "--template=", f"--object-format={form}"]
        git([*new, str(self._folder)], project, _REMEDY)
        (self._folder / "objects/info").mkdir(parents=True, exist_ok=True)
        (self._folder / "objects/info/alternates").write_text(f"{path('objects').resolve()}\n")
        self._is_shallow = path("shallow").exists()
        if self._is_shallow:
            shutil.copy(path("shallow"), self._folder / "shallow")
        git(["update-ref", "--no-deref", "HEAD", self._bad], self._folder, _REMEDY)

    def mark(self, commit: str, mark: Mark) -> None:
        """Say what a commit is.

        Raises:
            BisectError: GOOD got better on a way that BAD is not on.
        """
        if mark == "skip":
            self._skipped.add(commit)
        self._bisect(mark, commit)

    def suspects(self) -> tuple[str, ...]:
        """The commits one of which is the first bad one, the newest first."""
        pattern = ["for-each-ref", "--format=^%(refname)", "refs/bisect/good-*"]
        good = git(pattern, self._folder, _REMEDY).split()
        arguments = ["rev-list", *self._first_parent, "refs/bisect/bad", *good]
        found = git(arguments, self._folder, _REMEDY).split()
        if self.candidate is None:
            bad = git(["rev-parse", "refs/bisect/bad"], self._folder, _REMEDY)
            return tuple(one for one in found if one == bad or one in self._skipped)
        return tuple(found)

    def _bisect(self, *arguments: str) -> None:
        command = ["git", "-C", str(self._folder), "bisect", *arguments]
        environment = {**plain_environment(), "LC_ALL": "C"}
        done = run_program(command, environment=environment, deadline_s=_DEADLINE_S)
        if done.code == 0 and " is the first bad commit" not in done.printed:
            self.candidate = git(["rev-parse", "BISECT_HEAD"], self._folder, _REMEDY)
        elif done.code in (0, _ONLY_SKIPPED):
            self.candidate = None
        elif done.code == _MERGE_BASE:
            raise BisectError(
                "GOOD is not in the history of BAD, and where they parted it was as bad as BAD",
                evidence=done.printed,
                remedy="it got better on the way to GOOD: name a commit in the history of BAD",
            )
        else:
            remedy = _REMEDY
            if self._is_shallow:
                remedy = "the clone is shallow: git fetch --unshallow, then once more"
            raise BisectError(
                "git finds no commits to search between GOOD and BAD",
                evidence=done.printed,
                remedy=remedy,
            )
