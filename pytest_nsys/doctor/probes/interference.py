"""Probes of what else is going on: other sessions and profilers, settings that get in the way."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from pytest_nsys.doctor.context import CheckResult, ProbeContext
from pytest_nsys.doctor.machine import Process

_SESSION = re.compile(r"--session-name=(?P<name>.*?(?P<pid>\d+))$")
_SESSIONS_DEADLINE_S = 10.0
_AGENT = "--start-agent"
_LAST_NSYS_DISTURBED = (2023, 4)

_PROFILERS = {
    "ncu": "Nsight Compute",
    "nv-nsight-cu-cli": "Nsight Compute",
    "nvprof": "nvprof",
    "cuda-gdb": "the CUDA debugger",
    "compute-sanitizer": "Compute Sanitizer",
}
"""Programs that use what a GPU has only once, by the name of their executable."""

_INJECTED = ("CUDA_INJECTION64_PATH", "NVTX_INJECTION64_PATH")


def sessions(context: ProbeContext) -> list[CheckResult]:
    """Agents and sessions of nsys on this machine: left over from earlier runs, or running now."""
    processes = context.machine.processes()
    alive = {process.pid for process in processes if process.command}  # a zombie has none
    stale: list[Process] = []
    busy: list[Process] = []
    for process in processes:
        if _AGENT not in process.command:
            continue
        owner = _owner(process)
        (busy if owner is not None and owner in alive else stale).append(process)
    found = []
    if stale:
        pids = " ".join(str(process.pid) for process in stale)
        found.append(
            CheckResult(
                "sessions",
                "warning",
                f"{_agents(len(stale))} left over by an nsys that was killed or hung",
                "\n".join(map(_described, stale)),
                f"end {'it' if len(stale) == 1 else 'them'}: kill {pids}",
            )
        )
    if busy:
        old = context.nsys is not None and context.nsys.version[:2] <= _LAST_NSYS_DISTURBED
        found.append(
            CheckResult(
                "sessions",
                "warning" if old else "ok",
                f"{_agents(len(busy))} at work: somebody is making a capture now"
                + (", and an nsys of 2023 or older may lose NVTX ranges beside it" if old else ""),
                "\n".join(map(_described, busy)),
                "wait for it to end" if old else "",
            )
        )
    return [*found, *_listed(context)] or [
        CheckResult("sessions", "ok", "no session or agent of nsys is left over")
    ]


def _listed(context: ProbeContext) -> list[CheckResult]:
    """Whether nsys itself can speak with its sessions; whose they are, the agents have told."""
    if context.nsys is None:
        return []
    ran = context.machine.run([str(context.nsys.path), "sessions", "list"], _SESSIONS_DEADLINE_S)
    if ran.code is None:
        return [
            CheckResult(
                "sessions",
                "problem",
                "nsys does not answer 'nsys sessions list'",
                ran.output,
                "end what other nsys there are (pgrep -a nsys), and try again",
            )
        ]
    if ran.code != 0:
        what = "this nsys does not list its sessions"
        return [CheckResult("sessions", "skipped", what, ran.output.strip()[:200])]
    return []


def _owner(process: Process) -> int | None:
    """The id of the nsys whose agent this is: its session is named profile-[PROGRAM-]ID."""
    for argument in process.command:
        match = _SESSION.match(argument)
        if match is not None:
            return int(match["pid"])
    return None


def _agents(count: int) -> str:
    return "an agent of nsys is" if count == 1 else f"{count} agents of nsys are"


def _described(process: Process) -> str:
    names = [match["name"] for argument in process.command if (match := _SESSION.match(argument))]
    return f"process {process.pid}: {process.command[0]} {' '.join(names)}".rstrip()


def other_tools(context: ProbeContext) -> list[CheckResult]:
    """Other profilers and debuggers that are running, or into which we were started."""
    found = _inherited(context)
    for process in context.machine.processes():
        name = PurePosixPath(process.command[0]).name if process.command else ""
        if name in _PROFILERS:
            found.append(
                CheckResult(
                    "other tools",
                    "warning",
                    f"{_PROFILERS[name]} is running: on the same GPU, captures may fail or be slow",
                    f"process {process.pid}: {name}",
                    "let it end first",
                )
            )
    return found or [CheckResult("other tools", "ok", "no other profiler is in the way")]


def _inherited(context: ProbeContext) -> list[CheckResult]:
    """What the environment says of tools that this process was started by."""
    environ = context.machine.environ
    if "NSYS_PROFILING_SESSION_ID" in environ:  # it also sets the others
        what = "this runs under nsys already: two may disturb each other"
        evidence = f"NSYS_PROFILING_SESSION_ID={environ['NSYS_PROFILING_SESSION_ID']}"
        remedy = "start pytest without nsys: the plugin starts it by itself"
        return [CheckResult("other tools", "warning", what, evidence, remedy)]
    # nsys uses these two itself, and puts its own library into them.
    found = [
        CheckResult(
            "other tools",
            "warning",
            f"the tool that {name} names will not see the profiled tests: nsys takes its place",
            f"{name}={environ[name]}",
            f"unset {name}",
        )
        for name in _INJECTED
        if environ.get(name)
    ]
    if environ.get("LD_PRELOAD"):
        found.append(
            CheckResult(
                "other tools",
                "warning",
                "libraries are preloaded into every program: they may disturb nsys",
                f"LD_PRELOAD={environ['LD_PRELOAD']}",
                "unset LD_PRELOAD, if captures fail or crash",
            )
        )
    return found


def settings(context: ProbeContext) -> list[CheckResult]:
    """Environment variables that change what is measured."""
    if context.machine.environ.get("CUDA_LAUNCH_BLOCKING", "0") in ("", "0"):
        return []
    return [
        CheckResult(
            "settings",
            "warning",
            "every kernel launch waits for its kernel: times are not those of a usual run",
            f"CUDA_LAUNCH_BLOCKING={context.machine.environ['CUDA_LAUNCH_BLOCKING']}",
            "unset CUDA_LAUNCH_BLOCKING",
        )
    ]
