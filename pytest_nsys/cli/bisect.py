"""``pytest-nsys bisect``: which commit made a test worse."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_nsys.cli.common import (
    SAME_OR_BETTER,
    WORSE,
    add_format,
    complain,
    ended_in_order,
    show_as,
)
from pytest_nsys.cli.parser import Parser
from pytest_nsys.errors import BisectError, NsysError, SettingsError

if TYPE_CHECKING:
    from pytest_nsys.bisection.record import Store
    from pytest_nsys.bisection.text import Commit

_FOUND, _NOT_WORSE, _CANNOT, _SEVERAL = 0, 1, 2, 3
_SKIP, _STOP = 125, 128
"""What git bisect takes for a commit that cannot be tested, and for the end of the search."""

_LOCK_S, _SETUP_S = 2.0, 3600.0
_STATE = "pytest-nsys-bisect"
_INI = ("nsys_against_setup", "nsys_against_python")
_ENDS = "name two commits as GOOD..BAD, such as v1.2..main"


def add_bisect(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        "Finds the first commit between GOOD and BAD that made a test worse. Each commit is "
        "measured beside GOOD in one run, in a checkout of its own; git bisect says which is next. "
        "Your checkout is left alone. Interrupted, the same command goes on.",
        examples=[
            "pytest-nsys bisect v1.2..main tests/test_gemm.py::test_step",
            "pytest-nsys bisect v1.2..main tests --metric gpu.kernel_time=2% -- -k decode",
            "pytest-nsys bisect --step v1.2 tests --metric gpu.kernel_time=2%",
        ],
        codes={
            _FOUND: "the commit was found; with --step: as good as GOOD",
            _NOT_WORSE: "BAD is not worse than GOOD; with --step: worse",
            _CANNOT: "it could not be done; the last lines say why",
            _SEVERAL: "several commits are left, or the one that was found is not certain",
            _SKIP: "with --step: it could not be told",
            _STOP: "with --step: it could not be done; git bisect run ends",
            130: "it was interrupted; the same command goes on",
        },
    )
    parser.usage = "%(prog)s [options] GOOD..BAD TEST [TEST ...] [-- ARGUMENT ...]"
    checkouts, search = parser.section("checkouts"), parser.section("search")
    parser.add_argument("span", metavar="GOOD..BAD", help="two commits; BAD is HEAD if left out")
    parser.add_argument(
        "tests",
        nargs="+",
        metavar="TEST",
        help="files, folders and node ids; arguments for pytest come after --",
    )
    parser.add_argument(
        "--metric",
        metavar="METRIC[=TOLERANCE]",
        help="the only metric that counts (default: all that gate a test)",
    )
    checkouts.add_argument(
        "--setup",
        metavar="COMMAND",
        help="makes a checkout ready, run in it, such as 'make venv' (default: the ini value "
        "nsys_against_setup); a commit in which it fails is skipped",
    )
    checkouts.add_argument(
        "--python",
        metavar="FILE",
        help="Python that measures, seen from the checkout, such as .venv/bin/python (default: the "
        "ini value nsys_against_python, or this one)",
    )
    checkouts.add_argument(
        "--with",
        dest="files",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a file of this folder that every checkout gets, in the place of its own; again for "
        "more. Test files that GOOD does not have are brought along anyway",
    )
    search.add_argument(
        "--first-parent", action="store_true", help="take merges as a whole, as git bisect does"
    )
    search.add_argument(
        "--restart", action="store_true", help="begin anew, where an interrupted search is known"
    )
    search.add_argument(
        "--step",
        action="store_true",
        help="measure the checkout in this folder against GOOD, once, and say by the exit code "
        "what 'git bisect run' is to know",
    )
    add_format(parser)
    parser.parts_at_dashes = True
    parser.usage_codes = {"--step": _STOP}
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    with ended_in_order():
        if not arguments.step:
            return _search(arguments)
        try:
            return _step(arguments)
        except NsysError as error:
            complain(error)
        except Exception:  # Python's own exit code would be 1, and every commit "bad"
            traceback.print_exc()
        return _STOP


def _search(arguments: argparse.Namespace) -> int:
    from pytest_nsys.bisection.bench import Bench, Project, brought_along
    from pytest_nsys.bisection.engine import Engine
    from pytest_nsys.bisection.record import Store
    from pytest_nsys.bisection.search import Range, Search
    from pytest_nsys.bisection.text import Report, report_document, report_lines
    from pytest_nsys.controller.against import top_of
    from pytest_nsys.process.run_folder import RunFolder
    from pytest_nsys.support.files import locked_folder

    here = Path.cwd().resolve()
    top = top_of(here)
    inside = here.relative_to(top)
    metric, tolerance = _metric(arguments.metric)
    repository = _Repository(top)
    good, bad = repository.ends(arguments.span)
    span = Range(good, bad, metric, tolerance)
    setup, python = _ready(arguments)
    brought = brought_along(top, inside, arguments.tests, [*map(str, arguments.files)], good)
    project = Project(
        top, inside, (*arguments.tests,), (*arguments.after_dashes,), setup, python, brought
    )
    store = Store(repository.states, project, span, arguments.first_parent)
    with locked_folder(store.folder, _LOCK_S, BisectError), _kept(store), RunFolder() as folder:
        if arguments.restart:
            store.forget()
        store.load()
        for file in brought:
            complain(f"{file} of this folder is brought along to every commit")

        def engine() -> Engine:
            private = folder.path / "bisect"
            return Engine(private, top, good, bad, first_parent=arguments.first_parent)

        bench = Bench(project, folder.path)
        search = Search(bench, store, span, engine, repository.parent, complain)
        outcome = search.run()
        command = ["pytest", *arguments.tests, *arguments.after_dashes]
        report = Report(span, outcome, store.record, repository.describe, command)
        show_as(arguments.format, lambda: report_lines(report), lambda: report_document(report))
    if outcome.why_not:
        return _NOT_WORSE
    return _FOUND if outcome.is_found else _SEVERAL


@contextlib.contextmanager
def _kept(store: Store) -> Iterator[None]:
    """What a search has found stays while it has not come to its end, and only then."""
    ended = False
    try:
        yield
        ended = True
    finally:
        if ended or store.record.total is None:
            shutil.rmtree(store.folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # another search is kept there
                store.folder.parent.rmdir()


def _step(arguments: argparse.Namespace) -> int:
    """Measure the checkout in this folder against GOOD, and say what git bisect is to know."""
    from pytest_nsys.bisection.bench import Broken, run_pytest
    from pytest_nsys.bisection.results import compared
    from pytest_nsys.controller.against import (
        names_folder,
        plain_environment,
        python_of,
        stand_beside,
        top_of,
    )
    from pytest_nsys.process.processes import run_program
    from pytest_nsys.process.run_folder import RunFolder

    for_search = {
        "--with": arguments.files,
        "--first-parent": arguments.first_parent,
        "--restart": arguments.restart,
        "--format": arguments.format != "table",
    }
    if given := [option for option, value in for_search.items() if value]:
        raise SettingsError(
            f"--step takes no {given[0]}", remedy="leave it out: git bisect makes the search"
        )
    here = Path.cwd().resolve()
    top = top_of(here)
    metric, tolerance = _metric(arguments.metric)
    setup, python = _ready(arguments)
    good = arguments.span.removesuffix("..")
    # Or each commit would be skipped, one after the other.
    if names_folder(good):
        stand_beside(good, here, top)
    else:
        _Repository(top).commit(good)
    command = [python_of(top, python), "-m", "pytest", *arguments.tests, *arguments.after_dashes]
    command += [f"--nsys-against={good}", "-o", "nsys_job_summary=false"]
    command += ["-o", f"nsys_against_setup={shlex.join(setup)}"] * bool(setup)
    command += ["-o", f"nsys_against_python={python}"] * bool(python)
    command += [f"--nsys-tolerance={metric}={tolerance}"] * bool(tolerance)
    if setup:
        environment = plain_environment()
        try:
            done = run_program(setup, environment=environment, deadline_s=_SETUP_S, directory=top)
        except OSError as error:
            complain(f"the set-up failed: {error}")
            return _SKIP
        if done.code != 0:
            complain(f"the set-up failed:\n{done.printed}")
            return _SKIP
    with RunFolder() as folder:
        ran = run_pytest(command, here, folder.path)
    if isinstance(ran, Broken) or ran.document is None:
        complain(f"{ran.reason}\n{ran.printed if not isinstance(ran, Broken) else ran.evidence}")
        return _SKIP
    found = [*compared(ran.document, metric)]
    for one in found:
        complain(f"{one.target.nodeid}: {one.target.key}: {one.status} {one.culprit}".rstrip())
    statuses = {one.status for one in found}
    if "regressed" in statuses:
        return WORSE
    unknown = statuses & {"inconclusive", "incomparable", "new"} or not statuses
    return _SKIP if unknown or ran.document["unmeasured"] else SAME_OR_BETTER


class _Repository:
    """What is asked of the user's repository, which is only read."""

    def __init__(self, top: Path) -> None:
        self._top = top

    def _git(self, *arguments: str, what: str = "", remedy: str = _ENDS) -> str:
        from pytest_nsys.controller.against import git

        return git(arguments, self._top, remedy, what)

    @property
    def states(self) -> Path:
        """Where searches are kept that were interrupted: beside git's own."""
        common = self._git("rev-parse", "--git-common-dir")
        return (self._top / common).resolve() / _STATE

    def ends(self, span: str) -> tuple[str, str]:
        """The two commits, as full hashes.

        Raises:
            BisectError: they are no two.
        """
        good, dots, bad = span.partition("..")
        if not good or not dots or bad.startswith("."):
            raise BisectError(f"{span!r} is no range of commits", remedy=_ENDS)
        found = self.commit(good), self.commit(bad or "HEAD")
        if found[0] == found[1]:
            raise BisectError(f"GOOD and BAD are the same commit: {found[0]}", remedy=_ENDS)
        return found

    def commit(self, name: str) -> str:
        """The full hash of a commit.

        Raises:
            BisectError: there is none of this name.
        """
        what = f"there is no revision {name!r}"
        if (self._top / ".git/shallow").exists():
            what += " in this shallow clone"
        verify = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        return self._git(*verify, what=what)

    def parent(self, commit: str) -> str:
        """The first parent of a commit; "" of one that has none."""
        return self._git("rev-list", "--parents", "-n", "1", commit).partition(" ")[2].split(" ")[0]

    def describe(self, commit: str) -> Commit:
        """What git says of it."""
        from pytest_nsys.bisection.text import Commit

        form = "--format=%H%x00%an <%ae>%x00%ci%x00%s%x00"
        options = ("--stat=70", "--no-color", "--no-ext-diff", "-m", "--first-parent")
        text = self._git("show", *options, form, "--end-of-options", commit)
        full, author, date, subject, files = text.split("\0", 4)
        lines = tuple(line.strip() for line in files.strip().splitlines())
        return Commit(full, author, date, subject, lines)


def _metric(text: str | None) -> tuple[str | None, str]:
    """The metric that is named, and its tolerance.

    Raises:
        SettingsError: there is no such metric, or it is no tolerance.
    """
    from pytest_nsys.plan.settings import read_tolerances

    if text is None:
        return None, ""
    metric, equals, tolerance = text.partition("=")
    read_tolerances([f"{metric}={tolerance if equals else '1%'}"])
    return metric, tolerance


def _ready(arguments: argparse.Namespace) -> tuple[tuple[str, ...], str | None]:
    """How a checkout is made ready, and which Python measures it; by default as the ini file of the
    project says for ``--nsys-against``."""
    ini = _ini_values() if arguments.setup is None or arguments.python is None else {}
    setup = arguments.setup if arguments.setup is not None else ini.get("nsys_against_setup")
    python = arguments.python if arguments.python is not None else ini.get("nsys_against_python")
    try:
        return tuple(shlex.split(setup or "")), python or None
    except ValueError as error:
        raise SettingsError(
            f"--setup is {setup!r}: {error}", remedy="quote it as for a shell"
        ) from None


def _ini_values() -> dict[str, str]:
    """What the ini file of this folder says; its conftest files are not imported."""
    import pytest

    from pytest_nsys.plan.options import ini_value

    config = pytest.Config.fromdictargs({}, ["--noconftest", "-p", "nsys"])
    try:
        return {name: value for name in _INI if (value := ini_value(config, name))}
    finally:
        config._ensure_unconfigure()
