"""``pytest-nsys baselines``: what a folder of baselines holds, and keeping it in order."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_nsys.cli.common import (
    add_baseline_dir,
    add_format,
    add_pattern,
    complain,
    show_as,
    show_lines,
    whole_number,
)
from pytest_nsys.cli.parser import Parser
from pytest_nsys.errors import BaselineError

if TYPE_CHECKING:
    from pytest_nsys.storage.baselines.heads import Head

DONE, LEFT, FAILED = 0, 1, 2


def add_baselines(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        "Says what a folder of baselines holds, and keeps it in order.",
        examples=[
            "pytest-nsys baselines list",
            "pytest-nsys baselines rename tests/test_a.py tests/test_b.py",
        ],
        codes={0: "done", 1: "something is left to be done", 2: "an error"},
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    one = actions.add_parser("list", help="which tests have a baseline, for which device, how old")
    one.describe(
        "Lists the tests that have a baseline, by device, and when they were recorded.",
        examples=["pytest-nsys baselines list 'test_gemm*' --older-than 90"],
        codes={0: "done", 2: "a baseline cannot be read"},
    )
    add_pattern(one)
    _which(one)
    one.add_argument(
        "--older-than", type=whole_number(1), metavar="DAYS", help="only those recorded before"
    )
    add_format(one)
    one.set_defaults(run=_list)

    one = actions.add_parser("show", help="what a baseline holds, to be read")
    one.describe(
        "Shows what the baselines of a test hold, or one in a file: as git can compare them.",
        examples=["pytest-nsys baselines show 'tests/test_ops.py::test_gemm[fp16]'"],
        codes={0: "done", 2: "there is none, or it cannot be read"},
    )
    one.add_argument(
        "test", metavar="TEST", help="a test's node id, a part of it, a pattern, or a .json file"
    )
    _which(one)
    one.set_defaults(run=_show)

    one = actions.add_parser(
        "rename",
        help="give the baselines of a test, or of all tests of a file or folder, to others",
    )
    one.describe(
        "Gives the baselines of a test, or of all tests of a file or folder, to others.",
        examples=["pytest-nsys baselines rename test_ops.py::test_a test_ops.py::test_b"],
        codes={0: "done", 2: "there is none, or the other has one already"},
    )
    one.add_argument("old", metavar="OLD", help="a node id, a test file or a folder")
    one.add_argument("new", metavar="NEW", help="what it is called now")
    _which(one)
    one.set_defaults(run=_rename)

    one = actions.add_parser(
        "prune",
        help="remove baselines whose tests are gone",
    )
    one.describe(
        "Collects tests, as 'pytest --collect-only' does, and names the baselines of tests that "
        "are not there in the files that were collected; removes them with --yes. What was "
        "deselected or skipped is there, and what could not be collected is left alone.",
        examples=["pytest-nsys baselines prune", "pytest-nsys baselines prune --yes -- tests/gpu"],
        codes={0: "done", 1: "some are left", 2: "an error"},
    )
    one.add_argument("--yes", action="store_true", help="remove them")
    _which(one)
    one.add_argument(
        "args", nargs="*", metavar="ARG", help="files, folders and options of pytest, after --"
    )
    one.set_defaults(run=_prune)

    one = actions.add_parser(
        "merge",
        help="take in the baselines of another folder, or resolve git's conflicts",
    )
    one.describe(
        "With OTHER: its baselines that the folder lacks are copied, and where both have one of "
        "the same work, its processes are added. Without: baselines in which git left a conflict "
        "get the processes of both sides. What cannot be put together (other kernels, windows or "
        "options) is left and named, unless --take says which one counts.",
        examples=["pytest-nsys baselines merge ../other/baselines --take=newer"],
        codes={0: "done", 1: "some are left", 2: "an error"},
    )
    one.add_argument("other", nargs="?", type=Path, metavar="OTHER", help="a folder of baselines")
    one.add_argument("--take", choices=("ours", "theirs", "newer"), help="where both differ")
    add_baseline_dir(one)
    one.set_defaults(run=_merge)


def _which(parser: Parser) -> None:
    add_baseline_dir(parser)
    parser.add_argument("--device", metavar="NAME", help="only those of this device")


def _heads(arguments: argparse.Namespace, pattern: str = "*") -> tuple[list[Head], int]:
    """The heads that are asked for, and how many could not be read, which are told of."""
    from pytest_nsys.storage.baselines.heads import heads
    from pytest_nsys.support.patterns import matches

    found, failed = [], 0
    for head in heads(arguments.baseline_dir):
        if isinstance(head, BaselineError):
            failed += 1
            complain(head)
        elif arguments.device in (None, head.device) and (
            pattern in head.nodeid or matches(pattern, head.nodeid)
        ):
            found.append(head)
    return found, failed


def _list(arguments: argparse.Namespace) -> int:
    found, failed = _heads(arguments, arguments.pattern)
    if arguments.older_than:
        day = datetime.date.today() - datetime.timedelta(days=arguments.older_than)
        found = [head for head in found if head.date < day.isoformat()]
    show_as(
        arguments.format,
        lambda: _rows(found),
        lambda: [{**vars(head), "path": str(head.path)} for head in found],
    )
    return FAILED if failed else DONE


def _rows(found: Sequence[Head]) -> Iterator[str]:
    from pytest_nsys.support.text import visible

    device = None
    for head in found:
        if head.device != device:
            device = head.device
            yield f"{visible(device)}:"
        yield f"  {head.date or '-':10}  {visible(head.nodeid)}"
    yield f"{len(found)} baselines" if len(found) != 1 else "1 baseline"


def _show(arguments: argparse.Namespace) -> int:
    from pytest_nsys.offline.baseline_text import baseline_lines
    from pytest_nsys.storage.baselines import BaselineStore, read_baseline

    file = Path(arguments.test)
    if file.suffix == ".json" and (measurement := read_baseline(file)) is not None:
        show_lines(baseline_lines(measurement))
        return DONE
    store = BaselineStore(arguments.baseline_dir)
    wanted = (arguments.device,) if arguments.device else store.devices(arguments.test)
    paths = [path for device in wanted if (path := store.path(device, arguments.test)).is_file()]
    failed = 0
    if not paths:
        found, failed = _heads(arguments, arguments.test) if arguments.test else ([], 0)
        paths = [head.path for head in found]
    for path in paths:
        measurement = store.read_file(path)
        if measurement is not None:
            show_lines([*baseline_lines(measurement, path), ""])
    if not paths and not failed:
        raise _nobody(arguments, arguments.test)
    return FAILED if failed else DONE


def _nobody(arguments: argparse.Namespace, test: str) -> BaselineError:
    """That no baseline is of a test."""
    from pytest_nsys.support.patterns import nearest

    there = {head.nodeid for head in _heads(arguments)[0]}
    return BaselineError(
        f"there is no baseline of {test!r} in {arguments.baseline_dir}",
        evidence="\n".join(nearest(test, there, 3) if test else []),
        remedy="name the test as 'pytest-nsys baselines list' does",
    )


def _rename(arguments: argparse.Namespace) -> int:
    from pytest_nsys.storage.baselines import BaselineStore
    from pytest_nsys.storage.baselines.upkeep import rename, renames

    heads, _ = _heads(arguments)
    store = BaselineStore(arguments.baseline_dir)
    todo = renames(heads, arguments.old, arguments.new)
    if not todo:
        raise _nobody(arguments, arguments.old)
    taken = [store.path(head.device, nodeid) for head, nodeid in todo]
    if any(path.exists() for path in taken):
        raise BaselineError(
            f"{arguments.new} has a baseline already",
            evidence="\n".join(str(path) for path in taken if path.exists()),
            remedy="remove the one that is not wanted",
        )
    for head, nodeid in todo:
        show_lines([f"{head.path} -> {rename(store, head, nodeid)}"])
    return DONE


def _prune(arguments: argparse.Namespace) -> int:
    from pytest_nsys.controller.collected import collect
    from pytest_nsys.storage.baselines.heads import baseline_files
    from pytest_nsys.storage.baselines.orphans import elsewhere, orphans
    from pytest_nsys.storage.baselines.upkeep import remove

    baseline_files(arguments.baseline_dir)  # that there are any
    collection = collect(arguments.args)
    root = arguments.baseline_dir.resolve()
    found, unsure = [], []
    for orphan in orphans(root, collection):
        if orphan.is_unmarked or arguments.device not in (None, orphan.head.device):
            continue
        other = elsewhere(orphan.head, root, collection)
        if other:
            unsure.append(f"left: {orphan.path} ({orphan.head.nodeid}) may be of {other}")
        else:
            found.append(orphan)
    if unsure:
        todo = "run it where node ids start as they did, or see 'pytest-nsys baselines rename'"
        show_lines([*unsure, todo])
    for orphan in found:
        if arguments.yes:
            remove(orphan.head.path)
        what = "removed" if arguments.yes else "has no test:"
        show_lines([f"{what} {orphan.path} ({orphan.head.nodeid})"])
    files = len(collection.files)
    whole = f"collected as a whole: {files} test file{'s' * (files != 1)}"
    if not found:
        show_lines([f"nothing to remove; {whole}"])
    elif not arguments.yes:
        show_lines([f"{whole}; remove these {len(found)} with --yes"])
    return LEFT if unsure or (found and not arguments.yes) else DONE


def _merge(arguments: argparse.Namespace) -> int:
    from pytest_nsys.storage.baselines import BaselineStore
    from pytest_nsys.storage.baselines.upkeep import merge_conflicts, merge_folder

    store = BaselineStore(arguments.baseline_dir)
    if arguments.other is not None:
        merged = merge_folder(store, BaselineStore(arguments.other), arguments.take)
    else:
        merged = merge_conflicts(store, arguments.take)
    for one in merged:
        show_lines([f"{one.path}: {one.how}"])
    if not merged:
        where = f"baseline in {arguments.other}" if arguments.other else "conflict"
        show_lines([f"there is no {where}: nothing to merge"])
    left = sum(one.is_open for one in merged)
    if left:
        show_lines([f"{left} left: say --take=ours, theirs or newer, or record them anew"])
    return LEFT if left else DONE
