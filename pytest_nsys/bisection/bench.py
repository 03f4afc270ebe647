"""Measuring a commit beside another: each in a checkout of its own, both in one run of pytest."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_nsys.bisection.results import Document
from pytest_nsys.bisection.sides import PROCESSES
from pytest_nsys.controller.against import (
    Checkout,
    check_out,
    git,
    plain_environment,
    prepare,
    python_of,
)
from pytest_nsys.errors import BisectError, RevisionError
from pytest_nsys.process.environment import marked_environment
from pytest_nsys.process.processes import run_program

_RUN_DEADLINE_S = 4 * 3600.0
_LINES = 20
_REASON = re.compile(r"^(?:E  +|ERROR:? |nsys: )(.+)", re.MULTILINE)
_MOST = 160


@dataclass(frozen=True)
class Project:
    """What is measured, and how.

    Attributes:
        top: the top of the user's repository.
        inside: the folder that pytest is started in, seen from there.
        tests: what pytest is to collect, as the user named it.
        options: further arguments of pytest.
        setup: the command that makes a checkout ready; empty for none.
        python: the Python that measures, seen from the checkout; None for the one that runs this.
        brought: files of the user's folder that every checkout gets, in the place of its own;
            seen from the top.
    """

    top: Path
    inside: Path
    tests: tuple[str, ...]
    options: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    python: str | None = None
    brought: tuple[str, ...] = ()

    @property
    def processes(self) -> int:
        """How many processes of each commit the user asks for; as many as of any two revisions, if
        for none."""
        words = " ".join(self.options)
        asked = re.findall(r"(?<!\S)--nsys-processes[= ](\d{1,3})(?!\S)", words)
        return max(1, int(asked[-1])) if asked else PROCESSES[0]


@dataclass(frozen=True)
class Ran:
    """How a run of pytest ended.

    Attributes:
        document: its results; None where it wrote none.
        reason: what it printed of why it failed, in a line.
        printed: the last that it printed.
    """

    document: Document | None
    reason: str
    printed: str


@dataclass(frozen=True)
class Broken:
    """A commit that cannot be measured.

    Attributes:
        reason: why, in a line.
        evidence: what was printed.
    """

    reason: str
    evidence: str = ""


@dataclass
class Bench:
    """Measures commits; checkouts that are measured against several are made once.

    Attributes:
        project: what is measured.
        folder: a private one, for checkouts and files.
    """

    project: Project
    folder: Path
    _kept: dict[str, Checkout | Broken] = field(default_factory=dict)

    def keep(self, commit: str) -> Checkout | Broken:
        """A checkout that stays; made and prepared when it is asked for the first time."""
        if commit not in self._kept:
            self._kept[commit] = self._make(commit, f"beside-{len(self._kept)}")
        return self._kept[commit]

    def measure(
        self, commit: str, beside: str, tests: Sequence[str], *options: str
    ) -> Ran | Broken:
        """Measure a commit in a fresh checkout, which goes afterwards.

        Args:
            commit: its full hash.
            beside: the commit that it is measured against, likewise.
            tests: what pytest is to collect.
            options: further ones of pytest.

        Raises:
            RevisionError: git cannot check it out.
        """
        other = self.keep(beside)
        if isinstance(other, Broken):
            return other
        try:
            here = self._make(commit, "here")
            return here if isinstance(here, Broken) else self._run(here, other, tests, options)
        finally:
            shutil.rmtree(self.folder / "here", ignore_errors=True)

    def place(self, nodeid: str) -> str:
        """A test as an argument of pytest: its file seen from the folder that pytest is started in.

        Node ids are seen from pytest's rootdir, which is that folder or one above it.
        """
        file, colons, test = nodeid.partition("::")
        kept = next((one for one in self._kept.values() if isinstance(one, Checkout)), None)
        start = (kept.tree if kept else self.project.top) / self.project.inside
        for folder in (start, *start.parents):
            if (folder / file).exists():
                return os.path.relpath(folder / file, start) + colons + test
        return nodeid

    def _make(self, commit: str, name: str) -> Checkout | Broken:
        folder = self.folder / name
        folder.mkdir()
        checkout = check_out(commit, self.project.top, folder)
        for file in self.project.brought:
            target = checkout.tree / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.project.top / file, target)
        if self.project.setup:
            try:
                prepare(checkout, self.project.setup)
            except RevisionError as error:
                last = (error.evidence.splitlines() or [""])[-1]
                return Broken(f"the set-up failed: {last}"[:_MOST], error.evidence)
        if not (checkout.tree / self.project.inside).is_dir():
            return Broken(f"it has no folder {self.project.inside}")
        return checkout

    def _run(
        self, here: Checkout, beside: Checkout, tests: Sequence[str], options: Sequence[str]
    ) -> Ran | Broken:
        python = self.project.python
        command = [
            *(python_of(here.tree, python), "-m", "pytest", *tests, *self.project.options),
            f"--nsys-against={beside.tree}",
            *("-o", "nsys_json_samples=true", "-o", "nsys_job_summary=false", "-o", "nsys_ncu=off"),
            *(("-o", f"nsys_against_python={python}") if python else ()),
            *options,
        ]
        directory = here.tree / self.project.inside
        return run_pytest(command, directory, self.folder)


def run_pytest(command: Sequence[str], directory: Path, folder: Path) -> Ran | Broken:
    """Run pytest, and read the results that it writes.

    Args:
        command: how; where the results go is added.
        directory: where.
        folder: a private one; what is still running there when this process dies is ended by the
            folder's guard.
    """
    results, temporary = folder / "results.json", folder / "tmp"
    results.unlink(missing_ok=True)
    temporary.mkdir(exist_ok=True)
    environment = marked_environment(folder, plain_environment())
    try:
        done = run_program(
            [*command, f"--nsys-json={results}"],
            environment={**environment, "TMPDIR": str(temporary)},
            deadline_s=_RUN_DEADLINE_S,
            directory=directory,
        )
    except OSError as error:
        return Broken(f"pytest cannot be started: {error}"[:_MOST])
    evidence = "\n".join(done.printed.splitlines()[-_LINES:])
    if done.code is None:
        return Broken(f"it did not end within {_RUN_DEADLINE_S / 3600:g} hours", evidence)
    found = _REASON.search(done.printed)
    reason = found[1].strip() if found else evidence.rpartition("\n")[2].strip(" =")
    document: Any = json.loads(results.read_bytes()) if results.exists() else None
    return Ran(document, reason[:_MOST], evidence)


def brought_along(
    top: Path, inside: Path, tests: Sequence[str], files: Sequence[str], good: str
) -> tuple[str, ...]:
    """The files of the user's folder that every checkout gets, seen from the top.

    They are those that the user names, and test files that the good commit does not have: a test is
    often written for what has got worse already.

    Args:
        top: of the user's repository.
        inside: the folder that paths are relative to, seen from there.
        tests: the arguments that name tests.
        files: the files that the user names.
        good: the good commit.

    Raises:
        BisectError: a file is missing, or lies outside the repository.
    """
    found = [_inside(top, inside, file) for file in files]
    for test in tests:
        file = test.partition("::")[0]
        path = _inside(top, inside, file)
        listed = git(["ls-tree", "--name-only", good, "--", path or "."], top, "try git fsck")
        if not listed:
            if not (top / path).is_file():
                raise BisectError(
                    f"there is no test file {file}, neither at {good[:10]} nor here",
                    remedy="correct its path, or check out a commit that has it",
                )
            found.append(path)
    return tuple(dict.fromkeys(found))


def _inside(top: Path, inside: Path, file: str) -> str:
    path = Path(os.path.normpath(top / inside / file))
    if not path.is_relative_to(top):
        raise BisectError(
            f"{file} lies outside the repository {top}", remedy="copy it into the repository"
        )
    return str(path.relative_to(top))
