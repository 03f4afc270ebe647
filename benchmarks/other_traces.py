"""Whether public traces of torch.profiler and Proton come out as a plain sum over their events.

    python -m benchmarks.other_traces FILE ... --out benchmarks/results

Nothing of the files is kept but their names, sizes, and sums. Ours are what ``pytest-nsys stats``
says; the others are made with `json`, `decimal` and a loop, without anything of this package. Those
that were looked at are in two repositories, under the licences of those:

- facebookresearch/HolisticTraceAnalysis, tests/data
- triton-lang/triton, third_party/proton/test/examples
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.judge_cost import surroundings

NAMES = {"Kernel": "kernel", "Memcpy": "gpu_memcpy", "Memset": "gpu_memset"}
NAMES |= {"Runtime": "cuda_runtime", "cuda_driver": "cuda_runtime"}
DIRECTIONS = {"HtoD": "h2d", "DtoH": "d2h", "DtoD": "d2d", "PtoP": "p2p"}
WAITS = ("cudaDeviceSynchronize", "cudaStreamSynchronize", "cudaEventSynchronize")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = [row for path in given.files if (row := compared(path)) is not None]
    for row in rows:
        apart = ", ".join(row["apart"]) or "equal"
        figures = f"{row['kernels']:>7} kernels  {row['compared']:>2} sums"
        print(f"{figures}  {apart:12}  {row['file'][-60:]}")
    equal = sum(not row["apart"] for row in rows)
    print(
        f"{equal} of {len(rows)} files equal; {len(given.files) - len(rows)} have nothing of a GPU"
    )
    if given.out:
        results = {**surroundings("pandas"), "files": rows}
        text = json.dumps(results, indent=1) + "\n"
        (given.out / "other_traces.json").write_text(text, encoding="utf-8")


def compared(path: Path) -> dict[str, Any] | None:
    """The sums that are not equal; None where neither side has anything of a GPU."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8")
    expected = plain_sums(json.loads(text, parse_float=Decimal))
    command = [sys.executable, "-m", "pytest_nsys", "stats", str(path), "--format=json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not expected["gpu.kernel_count"]:
        assert done.returncode == 2, path
        return None
    metrics = json.loads(done.stdout)["metrics"]
    found = {key: metrics[key] for key in expected.keys() & metrics.keys()}
    apart = [key for key, value in found.items() if value != expected[key]]
    kernels, size = expected["gpu.kernel_count"], len(text)
    return {
        **{"file": path.name, "characters": size, "kernels": kernels, "compared": len(found)},
        **{"absent": sorted(expected.keys() - metrics.keys()), "apart": sorted(apart)},
        **{"kernel_ns": expected["gpu.kernel_time"]},
    }


def plain_sums(document: Any) -> Counter[str]:
    """Counts, bytes and ns by key of our metrics."""
    sums: Counter[str] = Counter({"gpu.kernel_count": 0, "gpu.kernel_time": 0})
    if isinstance(document, list) and "frame" in document[0]:
        waiting = [document[0]]
        while waiting:
            node = waiting.pop()
            waiting += node["children"]
            sums["gpu.kernel_count"] += node["metrics"].get("count", 0)
            sums["gpu.kernel_time"] += node["metrics"].get("time (ns)", 0)
        return sums
    sums |= Counter({"memset.bytes": 0, "memset.count": 0})
    for event in document.get("traceEvents", []) if isinstance(document, dict) else document:
        if event.get("ph") != "X":
            continue
        kind = NAMES.get(event["cat"], event["cat"])
        args = event.get("args", {})
        ns = int(Decimal(event["dur"]) * 1000)
        if kind == "kernel":
            sums["gpu.kernel_count"] += 1
            sums["gpu.kernel_time"] += ns
        elif kind == "gpu_memcpy" and event["name"].split()[1] in DIRECTIONS:
            direction = DIRECTIONS[event["name"].split()[1]]
            sums[f"memcpy.{direction}.count"] += 1
            sums[f"memcpy.{direction}.time"] += ns
            sums[f"memcpy.{direction}.bytes"] += args.get("bytes", 0)
        elif kind == "gpu_memset":
            sums["memset.count"] += 1
            sums["memset.bytes"] += args["bytes"]
        elif kind == "cuda_runtime" and event["name"].split("_v")[0] in WAITS:
            sums["sync.count"] += 1
            sums["sync.time"] += ns
    return sums


if __name__ == "__main__":
    main()
