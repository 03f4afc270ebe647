"""Another revision of the project, checked out beside it, to be measured in the same run."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_nsys.capture.run import Program
from pytest_nsys.capture.workers import Command
from pytest_nsys.errors import RevisionError
from pytest_nsys.process.environment import given_environment, marked_environment
from pytest_nsys.process.processes import run_program

_GIT_DEADLINE_S = 600.0
_SETUP_DEADLINE_S = 3600.0
_LINES = 20


@dataclass(frozen=True)
class Checkout:
    """A revision in a folder of its own.

    Attributes:
        tree: the folder, as the top of the project's repository.
        top: the repository that it is a copy of.
        commit: its full hash.
        ref: what the user called it.
    """

    tree: Path
    top: Path
    commit: str
    ref: str

    @property
    def name(self) -> str:
        """What reports call it: the name that was given, and the commit if that is another."""
        short = self.commit[:10]
        return self.ref if self.commit.startswith(self.ref) else f"{self.ref} ({short})"

    def mapped(self, text: str) -> str:
        """The text with the path of the repository in it replaced by that of the checkout.

        A path may lead there through links. One into the checkout stays: that may lie inside the
        repository (TMPDIR).
        """
        name, equals, value = text.partition("=")
        if equals and name.startswith("-"):
            return f"{name}={self.mapped(value)}"
        path = Path(text)
        if not path.is_absolute():
            return text
        for one in (path, _resolved(path)):
            if one.is_relative_to(self.tree):
                return text
            if one.is_relative_to(self.top):
                return str(self.tree / one.relative_to(self.top))
        return text


def _resolved(path: Path) -> Path:
    """The path without links; as it is, where it cannot be told (a circle of links, a NUL)."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path


def names_folder(against: str) -> bool:
    """Whether a revision is given as a folder: such a path can be no name that git allows."""
    return against.startswith(("/", "./", "../", "~/")) or against in (".", "..")


def check_out(ref: str, project: Path, folder: Path) -> Checkout:
    """Check a revision out below ``folder``, with the project's repository left as it is.

    It is a clone that shares the repository's objects, and no worktree of it: that would leave
    traces in the repository if this run were killed.

    Args:
        ref: a branch, tag or commit.
        project: a folder of the repository.
        folder: where to put it.

    Raises:
        RevisionError: it is no repository, or has no such revision.
    """
    remedy = "name a branch, tag or commit of the project's git repository"
    top = top_of(project)
    verify = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"]
    commit = git(verify, top, remedy, what=f"there is no revision {ref!r}")
    tree = (folder / "against").resolve()
    git(["clone", "--quiet", "--shared", "--no-checkout", str(top), str(tree)], top, remedy)
    git(["checkout", "--quiet", "--detach", commit], tree, remedy)
    return Checkout(tree, top, commit, ref)


def stand_beside(path: str, here: Path, project: Path) -> Checkout:
    """A checkout that is there already, and ready, such as a worktree.

    Args:
        path: a folder of it.
        here: where that path is relative to.
        project: a folder of the repository.

    Raises:
        RevisionError: one of them is no repository, or both are the same.
    """
    top = top_of(project)
    folder = here / Path(path).expanduser()
    what = f"{path} is no checkout to compare with"
    remedy = "name another worktree or clone of the project"
    if not folder.is_dir():
        raise RevisionError(what, evidence="there is no such folder", remedy=remedy)
    tree = Path(git(["rev-parse", "--show-toplevel"], folder, remedy, what=what)).resolve()
    if tree == top:
        raise RevisionError(what, evidence=f"it is the project itself: {top}", remedy=remedy)
    commit = git(["rev-parse", "--verify", "--quiet", "HEAD"], tree, remedy, what=what)
    return Checkout(tree, top, commit, path)


def apart_from(tree: Path, *others: Path) -> tuple[str, ...]:
    """The folders whose code the tests of a checkout are not to import.

    They are other checkouts, and a repository on this machine that one of them was cloned from;
    not one that the checkout lies in.
    """
    folders = dict.fromkeys((*others, *filter(None, map(_origin, (tree, *others)))))
    return tuple(str(one) for one in folders if not tree.is_relative_to(one))


def _origin(tree: Path) -> Path | None:
    """The folder that a clone was made of, where it is one of this machine."""
    command = ["git", "-C", str(tree), "config", "--get", "remote.origin.url"]
    done = run_program(command, environment=plain_environment(), deadline_s=_GIT_DEADLINE_S)
    path = Path(done.printed.strip())
    return _resolved(path) if not done.code and path.is_absolute() and path.is_dir() else None


def top_of(project: Path) -> Path:
    """The top of the repository that a folder is of.

    Raises:
        RevisionError: it is of none.
    """
    remedy = "name a branch, tag or commit of the project's git repository"
    return Path(git(["rev-parse", "--show-toplevel"], project, remedy)).resolve()


def prepare(checkout: Checkout, command: Sequence[str]) -> None:
    """Run the user's command that makes the revision ready: builds it, makes its environment.

    Raises:
        RevisionError: it fails.
    """
    what = f"the set-up of {checkout.name} failed"
    remedy = "try the command of nsys_against_setup in a fresh checkout of that revision"
    # What it leaves running is ended with the run, however that ends.
    environment = marked_environment(checkout.tree.parent, plain_environment())
    _run(command, checkout.tree, _SETUP_DEADLINE_S, what, remedy, environment)


def command_at(
    command: Command, checkout: Checkout, positional: Sequence[str], python: str | None
) -> Command:
    """The worker's command line for the revision: every path into the project leads there.

    Args:
        command: that of the project.
        checkout: the revision.
        positional: the arguments that name what to collect; of each the file or folder is left, if
            the revision has it, and the worker chooses among the tests there.
        python: the interpreter, from the revision's folder; None for this one.
    """
    directory = checkout.mapped(command.program.directory)
    args = []
    for arg in command.args:
        if arg in positional:
            arg = arg.partition("::")[0]
            path = Path(directory, checkout.mapped(arg))
            arg = str(path) if path.exists() else ""
        args.append(checkout.mapped(arg))
    environment = {}
    if "PYTHONPATH" in given_environment():
        folders = given_environment()["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(map(checkout.mapped, folders))
    own = tuple(map(checkout.mapped, command.sys_path))
    return replace(
        command,
        args=tuple(filter(None, args)),
        argv=tuple(map(checkout.mapped, command.argv)),
        sys_path=own if python is None else (),
        program=Program(python_of(checkout.tree, python), directory, environment),
        away_from=apart_from(checkout.tree, checkout.top),
        coverage=None,
    )


def python_of(tree: Path, python: str | None) -> str:
    """The interpreter that measures a checkout.

    Args:
        tree: its top.
        python: a path from there, or the name of a program; None for the Python that runs this.
    """
    if python is None:
        return sys.executable
    # Not resolved: a virtual environment's Python is a link that must be called by its name.
    path = os.path.join(tree, python) if os.sep in python else python  # noqa: PTH118
    return shutil.which(path) or path


def git(arguments: Sequence[str], folder: Path, remedy: str, what: str = "") -> str:
    """What git prints, without the blanks around it.

    Args:
        arguments: of git.
        folder: of the repository.
        remedy: what to do if it fails.
        what: what it means that it failed.

    Raises:
        RevisionError: it failed.
    """
    command = ["git", "-C", str(folder), *arguments]
    what = what or f"git {arguments[0]} failed"
    return _run(command, folder, _GIT_DEADLINE_S, what, remedy)


def _run(
    command: Sequence[str],
    folder: Path,
    deadline_s: float,
    what: str,
    remedy: str,
    environment: Mapping[str, str] | None = None,
) -> str:
    given = environment or plain_environment()
    try:
        done = run_program(command, environment=given, deadline_s=deadline_s, directory=folder)
    except OSError as error:
        raise RevisionError(what, evidence=str(error), remedy=remedy) from None
    if done.code is None:
        evidence = f"it did not end within {deadline_s:g} s"
        raise RevisionError(what, evidence=evidence, remedy=remedy)
    if done.code:
        evidence = "\n".join(done.printed.splitlines()[-_LINES:]) or f"exit code {done.code}"
        raise RevisionError(what, evidence=evidence, remedy=remedy)
    return done.printed.strip()


def plain_environment() -> dict[str, str]:
    """That of this process, without what git sets in hooks: it would lead to another repository."""
    return {k: v for k, v in given_environment().items() if not k.startswith("GIT_")}
