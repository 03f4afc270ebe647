"""Counting: one test in a worker below ncu, and why there are no counters where there are none."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_nsys.capture.follow import Event, EventTail
from pytest_nsys.capture.run import shim_command
from pytest_nsys.capture.workers import Command, make_job, writing_temporary_files
from pytest_nsys.errors import (
    NcuError,
    NcuFailed,
    NcuForbidden,
    NcuOutputDamaged,
    NcuUnfit,
    NsysError,
)
from pytest_nsys.ncu.counters import KernelCounters
from pytest_nsys.ncu.filter import name_filter
from pytest_nsys.ncu.reading import LARGEST, counted, read_launches
from pytest_nsys.ncu.tool import NcuTool, count_command
from pytest_nsys.plan.batches import PlannedTest
from pytest_nsys.process.environment import private_environment
from pytest_nsys.process.guard import end_marked
from pytest_nsys.process.logs import last_lines, readable
from pytest_nsys.process.processes import run_program, signal_name
from pytest_nsys.support.files import copy_private, read_limited

_MOST_LAUNCHES = 40
_LINES = 8
_PERMISSION = (
    "have an administrator allow it for all users (the driver's option "
    "NVreg_RestrictProfilingToAdminUsers=0), run as root, or give the container "
    "--cap-add=SYS_ADMIN; see https://developer.nvidia.com/ERR_NVGPUCTRPERM"
)
_GRAPHS = (
    "a kernel that is launched in some rounds alone, by a program with a cleared environment, or "
    "under another name does not come up; of a CUDA graph ncu counts each node, as far as it may "
    "take it apart"
)


@dataclass(frozen=True)
class Wanted:
    """What is to be counted of a test.

    Attributes:
        test: the test.
        window: in which part of it; "test" for its body.
        kernels: by canonical name, the names that nsys has seen, or else the canonical one.
        launches: of all of them in a round.
    """

    test: PlannedTest
    window: str
    kernels: Mapping[str, tuple[str, ...]]
    launches: int


def count(
    ncu: NcuTool,
    wanted: Wanted,
    command: Command,
    folder: Path,
    canonical: Callable[[str], str],
    *,
    deadline_s: float,
    keep: Path | None = None,
) -> tuple[KernelCounters, ...]:
    """Run the test once more, one round of it after its warm-ups, and count the kernels in that.

    Args:
        ncu: the ncu.
        wanted: the test and its kernels.
        command: how the worker's pytest is started.
        folder: a new folder for this worker's files.
        canonical: gives the canonical name of a kernel.
        deadline_s: how long all of it may take; then it is ended.
        keep: where a copy of ncu's table goes; None for nowhere.

    Raises:
        NcuError: there are no counters, and why.
        NoRunFolder, CaptureError: temporary files cannot be written.
    """
    log = folder / "counters.csv"
    with writing_temporary_files():
        folder.mkdir(mode=0o700)
        home = folder / "home"
        home.mkdir()
        test = wanted.test
        once = replace(test, spec=replace(test.spec, rounds=1, most_rounds=None))
        job = make_job(replace(command, coverage=None), [once], folder, 0)
        job = replace(job, counted=wanted.window)
        # ncu copies its section files to where the user's documents are.
        environment = {**private_environment(folder), "HOME": str(home)}
        shim = shim_command(folder, job, command.program, environment)
        names = name_filter(name for raw in wanted.kernels.values() for name in raw)
        launches = max(1, min(wanted.launches, _MOST_LAUNCHES))
        words = count_command(ncu, log, names, launches, shim)
        try:
            done = run_program(
                words, environment=environment, deadline_s=deadline_s, directory=folder
            )
        except OSError as error:
            raise NcuFailed(
                "ncu cannot be started", evidence=str(error), remedy="see to the ncu program"
            ) from None
        finally:
            end_marked(str(folder))
    said = _read(log)
    if keep is not None and said:
        _keep(log, keep, f"{folder.name}.csv")
    launched = read_launches(said)
    found = counted(launched, wanted.window, [*wanted.kernels], canonical)
    if found:
        return found
    others = sorted({canonical(launch.name) for launch in launched})
    raise _why_nothing(
        f"{done.printed}\n{said}", done.code, _events(Path(job.events)), others, deadline_s
    )


def _keep(log: Path, keep: Path, name: str) -> None:
    try:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy_private(log, keep / name)
    except OSError as error:
        raise NcuFailed(
            "ncu's table cannot be kept",
            evidence=str(error),
            remedy="name a folder that can be written to with --nsys-keep",
        ) from None


def _read(log: Path) -> str:
    try:
        return read_limited(log, LARGEST).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise NcuOutputDamaged(
            "what ncu has written cannot be read", evidence=str(error), remedy="run it again"
        ) from None


def _events(file: Path) -> Sequence[Event]:
    tail = EventTail(file)
    try:
        return [*tail.read()]
    except NsysError:  # what can be said without is said
        return []
    finally:
        tail.close()


def _why_nothing(
    printed: str,
    code: int | None,
    events: Sequence[Event],
    others: Sequence[str],
    deadline_s: float,
) -> NcuError:
    """The error for an ncu that has counted none of the kernels.

    Args:
        printed: what it said, here and in its log.
        code: its exit code; None where it was ended at the deadline.
        events: what the worker said.
        others: canonical names of other kernels that it has counted.
        deadline_s: how long it had.
    """
    lines = [line for line in readable(printed).splitlines() if line.startswith("==")]
    errors = [line for line in lines if line.startswith("==ERROR==")]
    evidence = last_lines("\n".join(errors or lines or [readable(printed)]), _LINES)
    if "ERR_NVGPUCTRPERM" in printed:
        return NcuForbidden(
            "this user may not read the GPU's performance counters (ERR_NVGPUCTRPERM)",
            evidence=evidence,
            remedy=_PERMISSION,
        )
    if re.search(r"LibraryNotLoaded|connect to the CUDA driver|driver is not compatible", printed):
        return NcuUnfit(
            "ncu cannot reach the driver from here",
            evidence=evidence,
            remedy="a sandboxed container (gVisor) does not let it, nor does an ncu that is newer "
            "or older than the driver: run where 'ncu --query-metrics' works",
        )
    if code is None:
        return NcuFailed(
            f"ncu did not end within {deadline_s:g} s",
            evidence=evidence,
            remedy="each kernel runs some twenty times under ncu, with its memory saved and "
            "restored before each: give it longer with nsys_tool_timeout, or let the test use less "
            "memory",
        )
    if re.search(r"unrecogni[sz]ed option|argument .* for option|option .* is invalid", printed):
        return NcuFailed(
            "ncu refused its arguments", evidence=evidence, remedy="use a newer Nsight Compute"
        )
    failure = _failure(events)
    if failure:
        return NcuFailed(
            f"under ncu, {failure}", evidence=evidence, remedy="see what the test asks of its time"
        )
    if code and (code < 0 or code > 128):
        number = -code if code < 0 else code - 128
        return NcuFailed(
            f"the worker or its ncu was ended by {signal_name(number)}",
            evidence=evidence,
            remedy="run 'pytest-nsys doctor', and the test once more",
        )
    if others:
        return NcuFailed(
            "under ncu, the kernel did not come up again",
            evidence="counted were " + ", ".join(others[:_LINES]),
            remedy=_GRAPHS,
        )
    if errors:
        return NcuFailed("ncu failed", evidence=evidence, remedy="see ncu's own lines above")
    return NcuFailed(
        "under ncu, the kernel did not come up again", evidence=evidence, remedy=_GRAPHS
    )


def _failure(events: Sequence[Event]) -> str:
    """Why the test was not run, or failed; "" if neither."""
    kinds = {event["event"]: event for event in events}
    if "unfit" in kinds:
        return f"the worker cannot measure: {kinds['unfit']['text']}"
    if "start" not in kinds:
        return "the test was not run" if "end" in kinds else "the worker ended before the test"
    for event in events:
        if event["event"] == "report" and event["data"]["outcome"] != "passed":
            return f"the test {event['data']['outcome']} ({event['data']['when']})"
    return "" if "finish" in kinds else "the worker ended in the test"
