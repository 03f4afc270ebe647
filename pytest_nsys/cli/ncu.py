"""``pytest-nsys ncu``: why a kernel is slow, of a test that a recording has."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_nsys.cli.common import (
    SAME_OR_BETTER,
    SELECTION,
    add_baseline_dir,
    add_format,
    complain,
    show_as,
    whole_number,
)
from pytest_nsys.cli.parser import Parser


def add_ncu(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        "Runs a test of a recording once more, here, below NVIDIA Nsight Compute (ncu), and shows "
        "counters of its kernels beside those that its baseline keeps, with a sentence that reads "
        "them. It is to be started in the project's folder, as pytest is.",
        examples=[
            "pytest-nsys ncu recording test_decode",
            "pytest-nsys ncu recording 'test_it.py::test_gemm[fp16]' --kernel 'gemm*'",
        ],
        codes={0: "it was counted", 2: "it could not be; the last lines say why"},
    )
    parser.add_argument(
        "recording", type=Path, metavar="RECORDING", help="a folder that --nsys-record wrote"
    )
    parser.add_argument(
        "test", metavar="TEST", help="a test's node id, a part of it, or a shell pattern"
    )
    parser.section(SELECTION).add_argument(
        "--kernel",
        metavar="NAME",
        help="a kernel's name, a part of it, or a shell pattern (default: the three that take the "
        "most time)",
    )
    add_baseline_dir(parser)
    parser.add_argument(
        "--timeout",
        type=whole_number(1),
        default=900,
        metavar="SECONDS",
        help="longest time for all of it (default: 900)",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep ncu's own table in DIR (it names the host)"
    )
    add_format(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.capture.run import Program
    from pytest_nsys.capture.workers import Command, worker_folder
    from pytest_nsys.gpu.lock import gpu_locks
    from pytest_nsys.gpu.nvml import visible_gpu_uuids
    from pytest_nsys.kernels.naming import Naming
    from pytest_nsys.ncu.counters import paired
    from pytest_nsys.ncu.run import count
    from pytest_nsys.ncu.tool import find_ncu
    from pytest_nsys.offline.counted import (
        counted_before,
        counted_lines,
        recorded_test,
        wanted_of,
    )
    from pytest_nsys.process.environment import given_environment
    from pytest_nsys.process.run_folder import RunFolder
    from pytest_nsys.report.json import counters_document

    measured = recorded_test(arguments.recording, arguments.test)
    wanted = wanted_of(measured, arguments.kernel, arguments.timeout)
    before = counted_before(arguments.baseline_dir, measured)
    ncu = find_ncu()
    words = (measured.nodeid,)
    # As "python -m pytest" would: from this folder on.
    path = (str(Path.cwd()), *sys.path[1:])
    command = Command(words, ("pytest", *words), path, program=Program(directory=str(Path.cwd())))
    uuids = visible_gpu_uuids(given_environment())
    with (
        gpu_locks(uuids, deadline_s=arguments.timeout, waiting=complain),
        RunFolder() as folder,
    ):
        complain(f"counting with ncu {ncu.version_text}: {measured.nodeid}")
        after = count(
            ncu,
            wanted,
            command,
            worker_folder(folder),
            Naming().canonical,
            deadline_s=arguments.timeout,
            keep=arguments.keep,
        )
    pairs = paired(before, after)
    for name in wanted.kernels:
        if name not in {pair.kernel for pair in pairs}:
            complain(f"{name} did not come up again")
    show_as(
        arguments.format,
        lambda: counted_lines(pairs),
        lambda: [counters_document(pair) for pair in pairs],
    )
    return SAME_OR_BETTER
