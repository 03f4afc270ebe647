"""What it costs to read the state of the GPUs around a round: microseconds of each NVML query.

Runs on a machine with a GPU; it starts no CUDA by itself (``--context`` does, with PyTorch, so
that the process is in the driver's list of processes). Prints a table and writes the results as
JSON.

    python benchmarks/nvml_cost.py --context --out benchmarks/results

The queries are those of `pytest_nsys.gpu.monitor`, and at the end all of it: a look that asks
for processes, one that does not, and the state before a round that begins at once.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml

from pytest_nsys.gpu.devices import list_gpus, visible_gpus
from pytest_nsys.gpu.monitor import Monitor

COUNTERS = [74, 75]


def queries(handle: Any) -> dict[str, Callable[[], object]]:
    """What is asked of one GPU, by the name of the function."""
    reasons = getattr(
        pynvml,
        "nvmlDeviceGetCurrentClocksEventReasons",
        pynvml.nvmlDeviceGetCurrentClocksThrottleReasons,
    )
    return {
        "clock of the SMs": lambda: pynvml.nvmlDeviceGetClockInfo(handle, 1),
        "clock of the memory": lambda: pynvml.nvmlDeviceGetClockInfo(handle, 2),
        "temperature": lambda: pynvml.nvmlDeviceGetTemperature(handle, 0),
        "power": lambda: pynvml.nvmlDeviceGetPowerUsage(handle),
        "clock event reasons": lambda: reasons(handle),
        "counters (field values)": lambda: pynvml.nvmlDeviceGetFieldValues(handle, COUNTERS),
        "violation status": lambda: pynvml.nvmlDeviceGetViolationStatus(handle, 1),
        "ECC errors": lambda: pynvml.nvmlDeviceGetTotalEccErrors(handle, 1, 0),
        "processes": lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle),
    }


def microseconds(call: Callable[[], object], count: int) -> dict[str, float | str]:
    """Median and 95th percentile of a call's duration, or why there is no answer."""
    times = []
    try:
        answer = call()
        for _ in range(count):
            began = time.perf_counter_ns()
            call()
            times.append((time.perf_counter_ns() - began) / 1e3)
    except pynvml.NVMLError as error:
        return {"error": str(error)}
    return {
        "median_us": round(statistics.median(times), 1),
        "p95_us": round(statistics.quantiles(times, n=20)[-1], 1),
        "answer": str(answer)[:200],
    }


def start_cuda() -> None:
    """Make this process a user of the GPU."""
    import torch

    torch.ones(1, device="cuda")
    torch.cuda.synchronize()


def fields(handle: Any) -> dict[str, str]:
    """What the counters say, each by its number."""
    return {
        str(value.fieldId): f"{value.value.ullVal} (return {value.nvmlReturn})"
        for value in pynvml.nvmlDeviceGetFieldValues(handle, COUNTERS)
    }


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for the results")
    parser.add_argument("--count", type=int, default=200, help="calls of each query")
    parser.add_argument("--context", action="store_true", help="start CUDA first, with PyTorch")
    options = parser.parse_args()
    if options.context:
        start_cuda()

    began = time.perf_counter()
    pynvml.nvmlInit()
    init_ms = (time.perf_counter() - began) * 1e3
    gpus = visible_gpus(list_gpus(pynvml), os.environ)
    if not gpus:
        raise SystemExit("there is no GPU to ask")
    gpu = gpus[0].gpu
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "gpu": gpu.name,
        "gpus": len(gpus),
        "driver": pynvml.nvmlSystemGetDriverVersion(),
        "init_ms": round(init_ms, 1),
        "queries": {
            name: microseconds(call, options.count) for name, call in queries(gpu.handle).items()
        },
        "counters": fields(gpu.handle),
        "pid": os.getpid(),
    }

    told: list[str] = []
    often = Monitor(told.append, clock=lambda: 0.0)
    often.after()
    fresh = Monitor(told.append)
    fresh.after()
    result["monitor"] = {
        # Of a clock that stands still each look asks for processes, and the last is just now.
        "a look, with processes": microseconds(often.after, options.count),
        "a look, processes 1 % of the time": microseconds(fresh.after, options.count),
        "before a round that begins at once": microseconds(often.before, options.count),
    }
    result["told"] = told

    for part in ("queries", "monitor"):
        for name, one in result[part].items():
            shown = one.get("error") or f"{one['median_us']:>9} us   95 %: {one['p95_us']:>9} us"
            print(f"{name:<40}{shown}")
    print(json.dumps({name: value for name, value in result.items() if name != "queries"}))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "nvml_cost.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
