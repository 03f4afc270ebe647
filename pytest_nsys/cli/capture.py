"""``pytest-nsys capture``: a command under nsys, here or somewhere else, as a recording."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pytest_nsys.cli.common import OUTPUT, add_nsys, complain, ended_in_order, show, show_lines
from pytest_nsys.cli.parser import Parser
from pytest_nsys.errors import RecordingError, SettingsError

if TYPE_CHECKING:
    from pytest_nsys.capture.command.here import CommandPlan, Taken
    from pytest_nsys.trace import Trace

FILE = "capture-1.sqlite.xz"

_LONGEST_S = 10**6
_SHOWN = 12

_ABOUT = (
    "Runs a command under nsys, and keeps its capture as a scrubbed recording, which stats, diff, "
    "compare and export read. Ctrl-C ends the collection and the command, and keeps the capture."
)


def add_capture(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        _ABOUT,
        examples=[
            "pytest-nsys capture -o train -- python train.py",
            "pytest-nsys capture --launcher 'docker exec llama' -- python serve.py",
        ],
        codes={
            "N": "that of the command; 0 if --duration ended it",
            "2": "there is no capture",
        },
    )
    parser.usage = "%(prog)s [options] -- COMMAND [ARGUMENT ...]"
    output, collection = parser.section(OUTPUT), parser.section("collection")
    somewhere, nsys = parser.section("somewhere else"), parser.section("nsys")
    output.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("capture"),
        metavar="NAME",
        help="the folder of the recording (default: capture)",
    )
    output.add_argument("--force", action="store_true", help="replace the recording NAME")
    collection.add_argument(
        "--warmup",
        type=_seconds,
        default=0,
        metavar="SECONDS",
        help="begin to collect so long after the command was started (default: 0)",
    )
    collection.add_argument(
        "--duration",
        type=_some_seconds,
        metavar="SECONDS",
        help="collect for so long, then end the command (default: until it ends)",
    )
    somewhere.add_argument(
        "--launcher",
        metavar="PREFIX",
        help="run nsys and the command somewhere else: the words before a command that lead "
        "there, such as 'kubectl exec POD --', 'docker exec CONTAINER' or 'ssh HOST'",
    )
    somewhere.add_argument(
        "--fetch",
        metavar="TEMPLATE",
        help="the command that copies a file from there, with {remote} and {local} for the "
        "paths (default: it is printed by cat, so PREFIX must not ask for a terminal, as -t does)",
    )
    add_nsys(parser, "the nsys to use, where the command runs")
    nsys.add_argument(
        "--nsys-args", default="", metavar="ARGS", help="further arguments of 'nsys profile'"
    )
    nsys.add_argument(
        "--tool-timeout",
        type=_some_seconds,
        default=900,
        metavar="SECONDS",
        help="longest time that nsys may take to write its report, and to export it (default: 900)",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=_run, fail=parser.error)


def _seconds(text: str) -> int:
    # nsys 2022 takes whole seconds only.
    if not (text.isascii() and text.isdigit()) or int(text[:9]) > _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no whole number of seconds")
    return int(text)


def _some_seconds(text: str) -> int:
    seconds = _seconds(text)
    if not seconds:
        raise argparse.ArgumentTypeError("it is to be more than 0 seconds")
    return seconds


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.capture.command.here import words_of
    from pytest_nsys.process.run_folder import RunFolder
    from pytest_nsys.trace import load_trace

    command = words_of(arguments.command)
    if not command:
        arguments.fail("there is no command: name it after --")
    target: Path = arguments.output
    _check_target(target, force=arguments.force)
    plan = _plan(arguments, command)
    with ended_in_order(), RunFolder() as folder:
        taken = _taken(arguments, plan, folder.path)
        trace = load_trace(taken.export)
        _prove(trace)
        _record(target, plan, taken)
    _say_what_it_is(target, trace)
    return taken.code


def _plan(arguments: argparse.Namespace, command: tuple[str, ...]) -> CommandPlan:
    from pytest_nsys.capture.command.here import CommandPlan

    try:
        nsys_args = tuple(shlex.split(arguments.nsys_args))
    except ValueError as error:
        raise SettingsError(
            f"--nsys-args cannot be read: {error}",
            evidence=arguments.nsys_args,
            remedy="correct its quotes",
        ) from None
    return CommandPlan(command, arguments.warmup, arguments.duration, nsys_args)


def _check_target(target: Path, *, force: bool) -> None:
    """The recording can be written, and nothing is lost; seen before the command is run.

    Raises:
        RecordingError: there is something at its place, or no folder for it.
    """
    from pytest_nsys.storage.recordings.stored import is_recording

    if target.is_dir() and not any(target.iterdir()):
        return
    if is_recording(target):
        if not force:
            raise RecordingError(
                f"{target} is a recording and is left alone",
                remedy="name another folder with -o, or replace it with --force",
            )
    elif target.exists() or target.is_symlink():
        raise RecordingError(
            f"{target} exists and is no recording", remedy="name another folder with -o"
        )


def _taken(arguments: argparse.Namespace, plan: CommandPlan, folder: Path) -> Taken:
    from pytest_nsys.capture.command.elsewhere import capture_elsewhere
    from pytest_nsys.capture.command.here import Watcher, capture_here
    from pytest_nsys.capture.command.launcher import read_launcher
    from pytest_nsys.capture.command.place import Elsewhere
    from pytest_nsys.capture.nsys import find_nsys

    watcher = Watcher(
        stdout=_writer(sys.stdout.buffer), stderr=_writer(sys.stderr.buffer), say=_say
    )
    deadline_s = float(arguments.tool_timeout)
    if arguments.launcher is None:
        if arguments.fetch is not None:
            raise SettingsError(
                "--fetch is for what a --launcher leads to", remedy="leave it out, or name both"
            )
        nsys = find_nsys(arguments.nsys_executable)
        return capture_here(nsys, plan, folder, watcher, deadline_s=deadline_s)
    launcher = read_launcher(arguments.launcher, arguments.fetch)
    return capture_elsewhere(
        Elsewhere(launcher, folder, deadline_s),
        plan,
        folder,
        watcher,
        executable=arguments.nsys_executable,
        deadline_s=deadline_s,
    )


def _writer(stream: BinaryIO) -> Callable[[bytes], None]:
    """What passes a command's output on; a reader that has seen enough does not end the capture."""

    def write(piece: bytes) -> None:
        try:
            stream.write(piece)
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

    return write


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        complain(text)


def _prove(trace: Trace) -> None:
    """nsys finds no fault with its capture, and all that it says it collected is there.

    Raises:
        CaptureError: it is not so.
    """
    from pytest_nsys.capture.proof import prove_contents

    prove_contents(trace, needs_gpu=False, needs_cuda=False)
    if not trace.has_cuda_activity:
        _say("the capture holds no CUDA activity; it is kept all the same")


def _record(target: Path, plan: CommandPlan, taken: Taken) -> None:
    from pytest_nsys.capture.nsys import trace_options
    from pytest_nsys.plan.privacy import published_options
    from pytest_nsys.storage.recordings.recording import RecordedCapture, Recording, write_recording
    from pytest_nsys.support.files import writing

    options = published_options(trace_options(plan.arguments))
    recording = Recording(
        captures=(RecordedCapture(FILE, options, ()),),
        tests=(),
        versions={},
        nsys=taken.nsys.version_text,
        date=datetime.date.today().isoformat(),
    )
    remedy = "name another folder with -o, and check that the disk is not full"
    with writing(str(target), RecordingError, remedy):
        write_recording(target, recording, [taken.export])


def _say_what_it_is(target: Path, trace: Trace) -> None:
    from pytest_nsys.offline.stats import stats_document
    from pytest_nsys.offline.stats_text import stats_lines
    from pytest_nsys.support.units import format_amount

    lines = stats_lines(stats_document(trace))
    size = format_amount((target / FILE).stat().st_size, "B")
    show_lines([f"{target}: {size}", *lines[:_SHOWN]])
    if len(lines) > _SHOWN:
        show(f"... ({shlex.join(['pytest-nsys', 'stats', str(target)])} shows all)")
