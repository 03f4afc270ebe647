"""``pytest-nsys doctor``: whether captures can be made on this machine, and what to do if not."""

from __future__ import annotations

import argparse
import shutil
import sys

from pytest_nsys.cli.common import (
    add_format,
    add_nsys,
    complain,
    ended_in_order,
    show_as,
    whole_number,
)
from pytest_nsys.cli.parser import Parser
from pytest_nsys.support.text import fit_to_print

HEALTHY, ILL = 0, 1


def add_doctor(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        "Looks at nsys, GPUs, driver, rights, limits and folders, then makes a capture of a few "
        "seconds and checks it. With --engine it tries an inference engine instead: starts it "
        "under nsys, asks it, measures one small window, ends it, and prints what to report.",
        examples=[
            "pytest-nsys doctor",
            "pytest-nsys doctor --format=json > doctor.json",
            "pytest-nsys doctor --engine tgi --model MODEL -- --num-shard 2",
        ],
        codes={
            0: "captures can be made",
            1: "they will fail or be wrong",
            2: "it could not be tried; the last lines say why",
        },
    )
    parser.usage = "%(prog)s [options] [--engine NAME] [-- ARGUMENT ...]"
    add_format(parser)
    add_nsys(parser, "the nsys to examine")
    engine = parser.section("engine")
    engine.add_argument(
        "--engine",
        metavar="NAME",
        help="the engine to try, as nsys_server names it: vllm, sglang, tgi, trtllm, nim, "
        "transformers; arguments for it come after --",
    )
    engine.add_argument("--model", default="", metavar="MODEL", help="its model, by name or path")
    engine.add_argument(
        "--ready-timeout",
        type=whole_number(1),
        default=1800,
        metavar="SECONDS",
        help="longest time until the engine is ready (default: 1800)",
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=_run, fail=parser.error)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.engine is not None:
        return _try_engine(arguments)
    if arguments.arguments or arguments.model:
        arguments.fail("a model and arguments are for an engine: name it with --engine")
    from pytest_nsys.doctor.run import checkup_document, checkup_lines, examine_here

    checkup = examine_here(arguments.nsys_executable)
    show_as(arguments.format, lambda: checkup_lines(checkup), lambda: checkup_document(checkup))
    return HEALTHY if checkup.healthy else ILL


def _try_engine(arguments: argparse.Namespace) -> int:
    from pytest_nsys.capture.command.here import words_of
    from pytest_nsys.doctor.engine import check_engine
    from pytest_nsys.doctor.engine_report import engine_document, engine_lines
    from pytest_nsys.servers.engines.presets import preset_named

    if not arguments.model and preset_named(arguments.engine).needs_model:
        arguments.fail(f"{arguments.engine} needs a model: name it with --model")
    told = _Told()
    with ended_in_order():
        found = check_engine(
            arguments.engine,
            arguments.model,
            words_of(arguments.arguments),
            executable=arguments.nsys_executable,
            ready_timeout=arguments.ready_timeout,
            say=told.say,
            show=told.show,
        )
    show_as(arguments.format, lambda: engine_lines(found), lambda: engine_document(found))
    return HEALTHY if found.good else ILL


class _Told:
    """What goes on, on stderr: on a terminal in a line that is written over."""

    def __init__(self) -> None:
        self._rewrites = sys.stderr.isatty()

    def say(self, line: str) -> None:
        self.show("", news=False)
        complain(line)

    def show(self, line: str, news: bool) -> None:
        if self._rewrites:
            width = shutil.get_terminal_size().columns
            text = fit_to_print(f"pytest-nsys: {line}" if line else "")[: width - 1]
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif news:
            complain(line)
