"""A stand-in for the ``ncu`` program, for tests on machines without a GPU.

It runs a command as ``ncu`` does, takes what its calls of ``simgpu`` and of the simulated ``nvtx``
wrote to the event log, and counts the kernels that the filters let through: names by a regular
expression, launches in start/end ranges of NVTX, and so many at most. It refuses arguments, prints
and exits as ncu 2024.1 does; its table is like that of real reports. What is counted can be said
beforehand in ``counters.json`` beside it: by kernel, values by metric.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

FAULTS = {
    "forbidden": "the user may not read performance counters",
    "library": "the driver cannot be reached",
    "no_driver": "there is no driver",
    "hang": "it does not return, and ignores signals",
    "killed": "it is killed when the command has ended",
    "old": "it does not know one of the options",
    "damaged": "the table ends in the middle",
    "absent": "the GPU has none of the metrics of the memory",
    "none": "no kernel is let through",
}

_CHOICES: Mapping[str, tuple[str, ...] | None] = {
    "target-processes": ("all", "application-only"),
    "nvtx": (),
    "nvtx-include": None,
    "kernel-name-base": ("function", "demangled", "mangled"),
    "print-kernel-base": ("function", "demangled", "mangled"),
    "kernel-name": None,
    "launch-count": None,
    "replay-mode": ("kernel", "application", "range", "app-range"),
    "graph-profiling": ("node", "graph"),
    "clock-control": ("base", "none", "reset"),
    "cache-control": ("all", "none"),
    "check-exit-code": ("yes", "no", "on", "off"),
    "metrics": None,
    "csv": (),
    "page": ("details", "raw", "source", "session"),
    "print-units": ("auto", "base"),
    "log-file": None,
}
"""The options that are understood: what their values can be; () for no value, None for any."""

_IDENTITY = (
    *("ID", "Process ID", "Process Name", "Host Name"),
    "thread Domain:Push/Pop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg",
    "Id:Domain:Start/Stop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg",
    *("Kernel Name", "Context", "Stream", "Block Size", "Grid Size", "Device", "CC"),
)
_UNITS = (
    ("gpu__time_duration", "ns"),
    ("dram__bytes", "byte"),
    ("launch__shared_mem", "byte/block"),
    ("launch__registers", "register/thread"),
    ("sm__cycles", "cycle"),
    ("sm__inst_executed.sum", "inst"),
    ("sm__inst_executed.avg", "inst/cycle"),
)
_FORBIDDEN = (
    "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU "
    "Performance Counters on the target device 0. For instructions on enabling permissions and to "
    "get more information see https://developer.nvidia.com/ERR_NVGPUCTRPERM"
)
_NO_DRIVER = (
    "==ERROR== Nsight Compute failed to connect to the CUDA driver (stub libcuda.so[.1] on path?)."
)


def write_ncu(
    directory: Path,
    *,
    faults: Iterable[str] = (),
    counters: Mapping[str, Mapping[str, float]] | None = None,
    version: str = "2025.3.1",
) -> Path:
    """Write an executable ``ncu`` into a folder, and what it will count; returns its path."""
    unknown = set(faults) - set(FAULTS)
    if unknown:
        raise ValueError(f"no such fault: {', '.join(sorted(unknown))}")
    program = directory / "ncu"
    said = (
        "NVIDIA (R) Nsight Compute Command Line Profiler\n"
        "Copyright (c) 2018-2025 NVIDIA Corporation\n"
        f"Version {version}.0 (build 36398880) (public-release)"
    )
    program.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        f"if sys.argv[1:] == ['--version']:\n    sys.exit(print({said!r}))\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from tests.simgpu import ncu\n"
        f"sys.exit(ncu.main(sys.argv[1:], {sorted(faults)!r}, {str(directory)!r}))\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    (directory / "counters.json").write_text(json.dumps(counters or {}), encoding="utf-8")
    return program


class _UsageError(Exception):
    """What ncu refuses; the text is what it prints."""


def _parse(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    found: dict[str, str] = {}
    rest = [*arguments]
    while rest and rest[0].startswith("--"):
        name, equals, value = rest.pop(0)[2:].partition("=")
        if name not in _CHOICES:
            raise _UsageError(f"unrecognised option '--{name}'")
        choices = _CHOICES[name]
        if choices != () and not equals:
            value = rest.pop(0)
        if choices and value not in choices:
            raise _UsageError(f"the argument for option '--{name}' is invalid")
        found[name] = value
    if not found.get("launch-count", "1").isdigit():
        value = found["launch-count"]
        raise _UsageError(f"the argument ('{value}') for option '--launch-count' is invalid")
    return found, rest


def main(arguments: Sequence[str], faults: Iterable[str], directory: str) -> int:
    """Run one ``ncu`` command line; returns the exit code."""
    try:
        options, command = _parse(arguments)
        if "old" in faults:
            raise _UsageError("unrecognised option '--print-units'")
    except _UsageError as error:
        print(f"==ERROR== {error}. Use --help for further details.")
        return 1
    program = shutil.which(command[0])
    if program is None:
        print(f"==ERROR== '{command[0]}' does not exist or is not an executable.")
        return 1
    if "no_driver" in faults:
        print(_NO_DRIVER, file=sys.stderr)
        return 1
    if "hang" in faults:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(600)
    # As the real one: its own files, where no home keeps them out of the user's.
    Path(os.environ["HOME"], "Documents/NVIDIA Nsight Compute").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "events.jsonl")
        log.touch()
        environment = {**os.environ, "SIMGPU_LOG": str(log), "NV_NSIGHT_INJECTION_PORT": "49152"}
        done = subprocess.run(command, env=environment, check=False)
        events = [json.loads(line) for line in log.read_text().splitlines()]
    if "killed" in faults:
        os.kill(os.getpid(), signal.SIGKILL)
    lines = _lines(events, options, faults, directory)
    Path(options["log-file"]).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return done.returncode if options["check-exit-code"] in ("yes", "on") else 0


def _lines(
    events: Sequence[dict[str, Any]], options: dict[str, str], faults: Iterable[str], directory: str
) -> list[str]:
    pids = [event["pid"] for event in events if event["kind"] == "process"]
    lines = [f"==PROF== Connected to process {pid} (/usr/bin/python3.11)" for pid in pids]
    if "forbidden" in faults:
        return [*lines, _FORBIDDEN, "==WARNING== No kernels were profiled."]
    if "library" in faults:
        return [*lines, "==ERROR== LibraryNotLoaded", "==WARNING== No kernels were profiled."]
    launches = [] if "none" in faults else _let_through(events, options)
    lines += [
        f'==PROF== Profiling "{name[:20]}" - {number}: 0%....50%....100% - 21 passes'
        for number, (_, name, _) in enumerate(launches)
    ]
    lines += [f"==PROF== Disconnected from process {pid}" for pid in pids]
    if not launches:
        return [*lines, "==WARNING== No kernels were profiled."]
    table = Path(directory, "counters.json").read_text(encoding="utf-8")
    rows = _table(launches, options["metrics"].split(","), json.loads(table), faults)
    lines += rows
    if "damaged" in faults:
        lines[-1] = lines[-1][: len(lines[-1]) // 2]
    return lines


def _let_through(
    events: Sequence[dict[str, Any]], options: dict[str, str]
) -> list[tuple[int, str, float]]:
    """Process, name and nanoseconds of the launches that pass the filters."""
    domain, at, wanted = options["nvtx-include"].partition("@")
    if not at:
        domain, wanted = "", domain
    operator, _, expression = options["kernel-name"].partition(":")
    assert operator == "regex"
    names = re.compile(expression)
    open_ranges: set[tuple[int, int]] = set()
    found = []
    for event in sorted(events, key=lambda one: one.get("time", one.get("start", 0))):
        if event["kind"] == "nvtx" and "range" in event:
            key = (event["pid"], event["range"])
            if event["event"] == "end":
                open_ranges.discard(key)
            elif event["domain"] == domain and event["text"] == wanted:
                open_ranges.add(key)
        is_inside = any(pid == event["pid"] for pid, _ in open_ranges)
        for op in event.get("ops", ()) if event["kind"] == "call" else ():
            if is_inside and op["op"] == "kernel" and names.search(op["name"]):
                found.append((event["pid"], op["name"], float(op["end"] - op["start"])))
    if options.get("print-kernel-base") != "mangled":
        # The real ncu filters by whole names, and prints them without their namespaces.
        found = [(pid, re.sub(r"\b\w+::", "", name), ns) for pid, name, ns in found]
    return found[: int(options["launch-count"])]


def _table(
    launches: Sequence[tuple[int, str, float]],
    metrics: Sequence[str],
    said: Mapping[str, Mapping[str, float]],
    faults: Iterable[str],
) -> list[str]:
    units = [next((unit for begin, unit in _UNITS if key.startswith(begin)), "") for key in metrics]
    rows: list[Sequence[str]] = [[*_IDENTITY, *metrics], [""] * len(_IDENTITY) + units]
    for number, (pid, name, ns) in enumerate(launches):
        values = {**_default(ns), **said.get(name, {})}
        absent = ("dram__", "l1tex__") if "absent" in faults else ()
        cells = ["n/a" if key.startswith(absent) else _cell(values, key) for key in metrics]
        identity = [str(number), str(pid), "python3.11", "127.0.0.1", "", "", name]
        rows.append([*identity, "1", "7", "(256, 1, 1)", "(1024, 1, 1)", "0", "9.0", *cells])
    with tempfile.TemporaryFile("w+", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
        file.seek(0)
        return file.read().splitlines()


def _default(ns: float) -> dict[str, float]:
    return {
        "gpu__time_duration.sum": ns,
        "sm__cycles_elapsed.max": round(ns * 1.7),
        "dram__bytes_read.sum": 1 << 24,
        "dram__bytes_write.sum": 1 << 22,
        "launch__block_size": 256,
        "launch__grid_size": 1024,
        "launch__registers_per_thread": 32,
        "sm__maximum_warps_per_active_cycle_pct": 100,
        "sm__warps_active.avg.pct_of_peak_sustained_active": 75.5,
        "sm__inst_executed.sum": 1_000_000,
    }


def _cell(values: Mapping[str, float], key: str) -> str:
    value = values.get(key, 0.0)
    return f"{int(value):,}" if value == int(value) else f"{value:,.6f}"
