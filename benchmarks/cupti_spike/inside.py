"""One process of the spike: all programs of a group, recorded in one way or not at all.

    python -m benchmarks.cupti_spike.inside --mode=ctypes --group=torch --out=FILE

It is started by ``python -m benchmarks.cupti_spike``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy.typing as npt

from benchmarks.cupti_spike.contenders import ByCtypes, ByCuptiPython
from benchmarks.cupti_spike.programs import GROUPS, Work
from benchmarks.cupti_spike.records import KINDS, trace_of
from pytest_nsys.capture.cupti.records import read_records
from pytest_nsys.errors import NsysError
from pytest_nsys.offline.stats import stats_document
from pytest_nsys.trace import Trace
from pytest_nsys.windows.ranges import Selection

MODES = ("bare", "ctypes", "cupti-python", "cupti-python arrays", "nsys", "nsys again")
WARMUP, ROUNDS = 20, 50
LAUNCHES, REPEATS = 5_000, 5
RANGE = "spike "
"""What the ranges of programs begin with."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mode", choices=MODES, required=True)
    parser.add_argument("--group", choices=GROUPS, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    found = run(given.mode, given.group)
    given.out.write_text(json.dumps(found), encoding="utf-8")


def run(mode: str, group: str) -> dict[str, Any]:
    """What the process found: metrics by program, costs, and what went wrong."""
    found: dict[str, Any] = {"mode": mode, "group": group, "programs": {}, "problems": {}}
    wait = _import(group)
    tool = _tool(mode)
    if tool is not None:
        tool.start(KINDS["all"])
    for name, prepare in GROUPS[group].items():
        try:
            work = prepare()
            for _ in range(WARMUP):
                work()
            wait()
            with _range(mode, tool, name):
                for _ in range(ROUNDS):
                    work()
                wait()
            found["programs"][name] = {}
            del work
        except Exception as error:  # the others are to run: what failed is told
            last = traceback.extract_tb(error.__traceback__)[-1]
            found["problems"][name] = f"{type(error).__name__}: {error} ({last.name})"[:300]
    if group == "torch":
        found["launch_us"] = launch_us(*_tiny())
    if tool is not None:
        began = time.perf_counter()
        tool.stop(KINDS["all"])
        stopped = time.perf_counter()
        session = tool.session()
        read = time.perf_counter()
        trace = trace_of(session)
        found["stop_s"], found["read_s"] = stopped - began, read - stopped
        found["tables_s"] = time.perf_counter() - read
        found["records"] = sum(map(len, session.records.values()))
        found["callbacks"] = tool.callbacks
        found["reading_in_callbacks_s"] = getattr(tool, "reading_s", 0.0)
        found["programs"] = metrics_of(trace, found["programs"])
        found["defects"] = [*trace.defects]
    if group == "torch" and isinstance(tool, ByCtypes):
        found["kinds"] = costs_of_kinds(tool, *_tiny())
    return found


def metrics_of(trace: Trace, names: Iterable[str]) -> dict[str, dict[str, float]]:
    """Per program, its metrics as ``pytest-nsys stats --range`` has them."""
    found = {}
    for name in names:
        try:
            document = stats_document(trace, Selection(range=RANGE + name))
        except NsysError as error:
            found[name] = {"error": str(error)[:300]}
        else:
            found[name] = document["metrics"]
    return found


def launch_us(launch: Work, wait: Work) -> list[float]:
    """µs that the host takes for a launch, once for each repetition; the device is ahead."""
    found = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        for _ in range(LAUNCHES):
            launch()
        found.append((time.perf_counter() - began) / LAUNCHES * 1e6)
        wait()
    return found[1:]


def costs_of_kinds(tool: ByCtypes, launch: Work, wait: Work) -> dict[str, Any]:
    """For each set of kinds, what a launch takes, and what its records take to be read."""
    costs: dict[str, Any] = {"none": {"launch_us": statistics.median(launch_us(launch, wait))}}
    for name, kinds in KINDS.items():
        before = tool.callbacks
        tool.start(kinds)
        took = statistics.median(launch_us(launch, wait))
        tool.stop(kinds)
        buffers = tool.take()
        began = time.perf_counter()
        theirs = read_records(buffers, tool.iterated)
        iterated = time.perf_counter()
        ours = read_records(buffers, tool.walked)
        read = time.perf_counter()
        assert _bytes(theirs) == _bytes(ours), "the walk is not CUPTI's iterator"
        records = sum(map(len, ours.values()))
        per = 10_000 / max(records, 1)
        costs[name] = {
            "launch_us": took,
            "records": records,
            "callbacks": tool.callbacks - before,
            "read_s_per_10k": (read - iterated) * per,
            "iterate_s_per_10k": (iterated - began) * per,
        }
    return costs


def _bytes(records: Mapping[int, npt.NDArray[Any]]) -> dict[int, bytes]:
    return {kind: rows.tobytes() for kind, rows in records.items()}


def _import(group: str) -> Callable[[], object]:
    """Import the framework, without using a device; returns what waits for it."""
    if group == "jax":
        import jax

        return lambda: (jax.device_put(0) + 0).block_until_ready()
    import torch

    return torch.cuda.synchronize


def _tiny() -> tuple[Work, Work]:
    import torch

    x = torch.zeros(8, device="cuda")
    return lambda: x.add_(1), torch.cuda.synchronize


def _tool(mode: str) -> ByCtypes | ByCuptiPython | None:
    if mode == "ctypes":
        return ByCtypes()
    if mode.startswith("cupti-python"):
        return ByCuptiPython(as_arrays=mode.endswith("arrays"))
    return None


def _range(
    mode: str, tool: ByCtypes | ByCuptiPython | None, name: str
) -> AbstractContextManager[object]:
    if tool is not None:
        return tool.range(RANGE + name)
    if mode.startswith("nsys"):
        import nvtx

        return nvtx.annotate(RANGE + name)  # type: ignore[no-any-return]
    return nullcontext()


if __name__ == "__main__":
    main()
