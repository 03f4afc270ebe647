"""Writing what the stand-in captured: an SQLite file with the tables of nsys 2025.3."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from tests.simgpu.options import ProfileOptions
from tests.simgpu.rows import (
    RANGES,
    CudaRows,
    Record,
    Row,
    Tables,
    global_tid,
    nvtx_rows,
    read_log,
)
from tests.support.exports.tables import VM, Strings, enums, insert

_NOBODY = -144115188075855872
_INJECTION, _DAEMON, _ANALYSIS = 1, 2, 3
_INFO, _WARNING, _ERROR = 1, 2, 3
_CUDA_EVENT_TABLES = ("RUNTIME", "KERNEL", "MEMCPY", "MEMSET")
_H200: Row = {
    "isDiscrete": 1,
    "l2CacheSize": 62914560,
    "totalMemory": 150109880320,
    "memoryBandwidth": 4814304000000,
    "clockRate": 1980000000,
    "smCount": 132,
    "pwGpuId": 0,
    "luid": 0,
    "chipName": "GH100",
    "ctxswDevPath": "",
    "ctrlDevPath": "",
    "revision": 161,
    "nodeMask": 0,
    "constantMemory": 65536,
    "maxIPC": 0,
    "maxRegistersPerBlock": 65536,
    "maxShmemPerBlock": 49152,
    "maxShmemPerBlockOptin": 232448,
    "maxShmemPerSm": 233472,
    "maxRegistersPerSm": 65536,
    "threadsPerWarp": 32,
    "asyncEngines": 3,
    "maxWarpsPerSm": 64,
    "maxBlocksPerSm": 32,
    "maxThreadsPerBlock": 1024,
    "maxBlockDimX": 1024,
    "maxBlockDimY": 1024,
    "maxBlockDimZ": 64,
    "maxGridDimX": 2147483647,
    "maxGridDimY": 65535,
    "maxGridDimZ": 65535,
    "computeMajor": 9,
    "computeMinor": 0,
    "smMajor": 9,
    "smMinor": 0,
}


@dataclass(frozen=True)
class Capture:
    """What one collection saw.

    Attributes:
        options: the command line.
        log: the simulated event log, which goes on where the collection does not.
        child: pid of the command.
        started: its start, CLOCK_MONOTONIC and UTC, in ns.
        duration: its length, in ns.
        environment: what nsys was started with.
        child_environment: what the command was started with.
        streams: what the command printed: stdout and stderr.
        gpus: names of the machine's GPUs.
        faults: what goes wrong.
    """

    options: ProfileOptions
    log: Path
    child: int
    started: tuple[int, int]
    duration: int
    environment: Mapping[str, str]
    child_environment: Mapping[str, str]
    streams: tuple[bytes, bytes]
    gpus: Sequence[str]
    faults: frozenset[str]


def write_report(path: Path, capture: Capture) -> None:
    """Write the report of a capture to ``path``, replacing what is there."""
    path.unlink(missing_ok=True)
    tables = _tables(capture)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("BEGIN")
        for name, rows in tables.items():
            if rows:  # else there is no table
                insert(database, name, random.Random(name).sample(rows, len(rows)))
        for name, enum in enums().items():
            insert(database, name, enum)
        database.execute("COMMIT")


def _tables(capture: Capture) -> Tables:
    options, faults = capture.options, capture.faults
    strings = Strings()
    records = list(
        read_log(
            capture.log,
            capture.started[0],
            capture.duration,
            trace_forks=options.trace_forks,
        )
    )
    tables = _cuda_tables(capture, records, strings)
    nvtx = nvtx_rows((r for r in records if r["kind"] == "nvtx"), strings)
    if "nvtx" in options.trace and "no_nvtx" not in faults:
        tables["NVTX_EVENTS"] = _without_some(nvtx, faults)
    tables["PROCESSES"] = _processes(capture, records)
    tables["DIAGNOSTIC_EVENT"] = _diagnostics(capture, tables)
    tables["TARGET_INFO_GPU"] = [] if "no_gpu" in faults else _gpus(capture.gpus)
    tables["TARGET_INFO_SYSTEM_ENV"] = _system(capture)
    tables["TARGET_INFO_SESSION_START_TIME"] = [_start_time(capture.started[1])]
    tables["ANALYSIS_DETAILS"] = [
        {
            "globalVid": VM,
            "duration": capture.duration,
            "startTime": 0,
            "stopTime": capture.duration,
        }
    ]
    tables["META_DATA_CAPTURE"] = _capture_options(capture)
    tables["ProcessStreams"] = _streams(capture, strings)
    for environment in (capture.environment, capture.child_environment):
        strings.id("\0".join(f"{name}={value}" for name, value in environment.items()))
    tables["StringIds"] = strings.rows()
    return tables


def _cuda_tables(capture: Capture, records: Sequence[Record], strings: Strings) -> Tables:
    options, faults = capture.options, capture.faults
    if "cuda" not in options.trace or not faults.isdisjoint(("no_gpu", "no_cuda_events")):
        return {}
    rows = CudaRows(
        strings,
        graphs=options.graph_trace == "graph",
        memory=options.memory_usage,
        documented_sync="documented_sync" in faults,
    )
    for record in records:
        if record["kind"] == "call":
            rows.add(record)
    return rows.finish(len(capture.gpus))


def _without_some(rows: list[Row], faults: frozenset[str]) -> list[Row]:
    """The rows without the first range, or without the last tenth and at least one."""
    ranges = sorted(
        (row for row in rows if row["eventType"] in RANGES),
        key=lambda row: row["start"],
    )
    lost = set()
    if "drop_first_window" in faults:
        lost |= {id(row) for row in ranges[:1]}
    if "drop_last_window" in faults:
        lost |= {id(row) for row in ranges[-max(1, len(ranges) // 10) :]}
    return [row for row in rows if id(row) not in lost]


def _diagnostics(capture: Capture, tables: Tables) -> list[Row]:
    cuda = sum(len(tables.get(f"CUPTI_ACTIVITY_KIND_{kind}", ())) for kind in _CUDA_EVENT_TABLES)
    cuda += "lost_events" in capture.faults
    nvtx = len(tables.get("NVTX_EVENTS", ()))
    end, child = capture.duration, global_tid(capture.child)
    events = [
        (0, _ANALYSIS, _INFO, "Profiling has started.", _NOBODY),
        (0, _DAEMON, _INFO, "Process was launched by the profiler.", child),
        (end, _ANALYSIS, _INFO, "Profiling has stopped.", _NOBODY),
    ]
    for api, name, count in (("nvtx", "NVTX", nvtx), ("cuda", "CUDA", cuda)):
        if api in capture.options.trace and count:
            text = f"Number of {name} events collected: \t{count}."
            events.append((0, _ANALYSIS, _INFO, text, child))
        elif api in capture.options.trace:
            text = f"No {name} events collected. Does the process use {name}?"
            events.append((0, _ANALYSIS, _WARNING, text, child))
    if "diagnostic_error" in capture.faults:
        events.append((end, _ANALYSIS, _ERROR, "Error when processing events", child))
    if "partial" in capture.faults:
        text = "Not all CUDA events might have been collected."
        events.append((end, _ANALYSIS, _WARNING, text, child))
    names = ("timestamp", "source", "severity", "text", "globalPid")
    return [{**dict(zip(names, event, strict=True)), "timestampType": 1} for event in events]


def _processes(capture: Capture, records: Sequence[Record]) -> list[Row]:
    """The traced processes and, as nsys lists every process of the machine, some others."""
    names = {1: "init", 2: "kthreadd", 4194300: "not-ours --token=foreign"}
    names[capture.child] = capture.options.command[0]
    names.update({r["pid"]: r["name"] for r in records if r["kind"] == "process"})
    return [{"globalPid": global_tid(p), "pid": p, "name": name} for p, name in names.items()]


def _gpus(names: Sequence[str]) -> list[Row]:
    return [
        {
            **_H200,
            "vmId": VM,
            "id": number,
            "cuDevice": number,
            "name": name,
            "busLocation": f"0000:{number + 1:02x}:00.0",
            "uuid": f"GPU-00000000-0000-0000-0000-{number:012d}",
        }
        for number, name in enumerate(names)
    ]


def _system(capture: Capture) -> list[Row]:
    no_gpu = "no_gpu" in capture.faults
    environment = ";".join(f"{name}={value}" for name, value in capture.environment.items())
    values = [
        ("CpuCores", 1, "16"),
        ("CpuArchitecture", 3, "x86_64"),
        ("CpuDescription", 13, "Simulated CPU"),
        ("NvDriverVersion", 205, "0" if no_gpu else "580.159.04"),
        ("HardwarePlatform", 600, "x86_64"),
        ("OsDescription", 605, "Ubuntu 24.04.3 LTS"),
        ("DeviceEnvironment", 610, environment),
        ("CudaDriverVersion", 611, "0" if no_gpu else "13000"),
    ]
    return [
        {
            "globalVid": VM,
            "devStateName": "Local (CLI)",
            "name": name,
            "nameEnum": number,
            "value": value,
        }
        for name, number, value in values
    ]


def _start_time(utc_ns: int) -> Row:
    text = datetime.fromtimestamp(utc_ns / 1e9, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return {"utcEpochNs": utc_ns, "utcTime": text, "localTime": text}


def _capture_options(capture: Capture) -> list[Row]:
    options = capture.options
    process = [
        ("COMMAND", options.command[0]),
        *((f"ARGUMENT_{n}", text) for n, text in enumerate(options.command[1:])),
        ("WORKING_DIR", str(Path.cwd())),
        ("COLLECT_NVTX_TRACE", _boolean("nvtx" in options.trace)),
        ("COLLECT_CUDA_TRACE", _boolean("cuda" in options.trace)),
        *(("ENVIRONMENT_VARIABLE", f'{k}="{v}"') for k, v in capture.environment.items()),
        ("COLLECT_GPU_MEMORY_USAGE", _boolean(options.memory_usage)),
        ("CUDA_GRAPH_TRACE_OPTIONS:MODE", options.graph_trace.capitalize()),
    ]
    values = [
        *(("CAPTURE_EVENT_TYPE", name) for name in ("NvtxEvents", "Cuda")),
        ("START_TRIGGER", "Immediate"),
        ("STOP_TRIGGER", "Delayed"),
        *((f"PROCESS_0:{name}", value) for name, value in process),
        ("RUN_DURATION_MS", str(capture.duration // 1_000_000)),
    ]
    return [{"name": name, "value": value} for name, value in values]


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _streams(capture: Capture, strings: Strings) -> list[Row]:
    folder = "/tmp/nvidia/nsight_systems/streams"
    return [
        {
            "globalPid": global_tid(capture.child),
            "filenameId": strings.id(f"{folder}/pid_{capture.child}_{name}.log"),
            "contentId": strings.id(content.decode(errors="replace")),
        }
        for name, content in zip(("stdout", "stderr"), capture.streams, strict=True)
    ]
