"""Is what CUPTI records within the process what nsys records, at what cost, read in which way?

    python -m benchmarks.cupti_spike --out benchmarks/results

needs a GPU, nsys, PyTorch, nvidia-cuda-cupti and cupti-python; Triton, CuPy and JAX are left out
where they are not installed, which is told. It takes less than five minutes. The README says what
its table decides.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cupti_spike.inside import MODES, metrics_of
from benchmarks.cupti_spike.programs import GROUPS
from benchmarks.judge_cost import surroundings
from pytest_nsys.storage.recordings.stored import load_stored

DEADLINE_S = 100
"""For one process: a contender that has not ended then hangs, which is a result."""

EXACT = (
    *("gpu.kernel_count", "graph.launches", "sync.count", "memset.count", "memset.bytes"),
    *(f"memcpy.{way}.{what}" for way in ("h2d", "d2h", "d2d") for what in ("count", "bytes")),
    *("memcpy.pageable", "mem.peak", "mem.live_end", "mem.alloc_count"),
)
TOLD = ("api.count",)
"""Told apart: which calls nsys leaves out is known for some alone."""

WITHIN = 0.01
AGAIN = "nsys again"
"""Another run of nsys: what is apart there differs from run to run, whoever records."""

NSYS = (
    *("nsys", "profile", "--trace=cuda,nvtx", "--cuda-memory-usage=true"),
    *("--cuda-graph-trace=node", "--sample=none", "--cpuctxsw=none", "--force-overwrite=true"),
    "--nvtx-domain-exclude=TSL",  # of XLA, which hides other ranges
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--modes", default=",".join(MODES), help="separated by commas")
    parser.add_argument("--groups", default=",".join(GROUPS), help="separated by commas")
    given = parser.parse_args()
    began = time.perf_counter()
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        for group in given.groups.split(","):
            for mode in given.modes.split(","):
                # JAX is for equality alone.
                if group == "torch" or mode in ("ctypes", "nsys", AGAIN):
                    runs[group, mode] = one_run(mode, group, Path(folder))
    results = {
        **surroundings("numpy", "pandas"),
        **{name: _versions().get(name, "") for name in _PACKAGES},
        "seconds": round(time.perf_counter() - began, 1),
        "equality": [*equality(runs)],
        "costs": costs(runs),
        "runs": {f"{group}: {mode}": run for (group, mode), run in runs.items()},
    }
    print("\n".join(lines(results)))
    if given.out:
        text = json.dumps(results, indent=1) + "\n"
        (given.out / "cupti_spike.json").write_text(text, encoding="utf-8")
    return int(bool(unlike_nsys(results["equality"])))


def one_run(mode: str, group: str, folder: Path) -> dict[str, Any]:
    """What a process of this mode found; of one that failed, why."""
    out, report = folder / "found.json", folder / "report.nsys-rep"
    out.unlink(missing_ok=True)
    module = ["-m", "benchmarks.cupti_spike.inside", f"--mode={mode}", f"--group={group}"]
    command = [sys.executable, *module, f"--out={out}"]
    if mode.startswith("nsys"):
        command = [*NSYS, f"--output={report}", *command]
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    began = time.perf_counter()
    try:
        code, said = _ended(command, environment)
    except OSError as error:
        return {"failed": str(error)}
    took = time.perf_counter() - began
    if code is None:
        return {"failed": f"it did not end within {DEADLINE_S} s"}
    if code or not out.exists():
        last = said.strip().splitlines()[-1:]
        return {"failed": f"exit code {code}: {' '.join(last)}"[:300]}
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    if mode.startswith("nsys"):
        trace = load_stored(report)
        found["programs"] = metrics_of(trace, found["programs"])
        found["defects"] = [*trace.defects]
    return {**found, "process_s": round(took, 1)}


def _ended(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int | None, str]:
    """Exit code, None where it had to be ended, and what was said last of a program in a session of
    its own: with nsys's, all that it has started ends."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    ) as started:
        try:
            said, _ = started.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.communicate()
            return None, ""
    return started.returncode, said


def equality(runs: Mapping[tuple[str, str], Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Per program and contender, what is not as nsys has it: nsys itself, too, in another run."""
    for (group, mode), run in runs.items():
        if mode in ("bare", "nsys") or (group, "nsys") not in runs:
            continue
        theirs = runs[group, "nsys"].get("programs", {})
        why = run.get("failed") or runs[group, "nsys"].get("failed", "")
        for name in GROUPS[group]:
            ours = run.get("programs", {}).get(name)
            problem = run.get("problems", {}).get(name, "")
            row: dict[str, Any] = {"program": name, "by": mode, "problem": problem or why}
            other = theirs.get(name)
            if ours is None or other is None or "error" in ours or "error" in other:
                errors = [one["error"] for one in (ours, other) if one and "error" in one]
                said = row["problem"] or " ".join(errors) or "not measured by nsys"
                yield {**row, "problem": said, "apart": [] if problem else ["all"], "metrics": {}}
                continue
            pairs = {key: (other.get(key), ours.get(key)) for key in (*EXACT, *TOLD)}
            apart = [key for key in EXACT if pairs[key][0] != pairs[key][1]]
            before, now = (one.get("gpu.kernel_time", 0) for one in (other, ours))
            change = now / before - 1 if before else 0.0
            if abs(change) > WITHIN:
                apart.append("gpu.kernel_time")
            told = {key: pair for key, pair in pairs.items() if any(pair)}
            yield {**row, "kernel_time": change, "apart": apart, "metrics": told}


def unlike_nsys(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Contender, program and metric, where another run of nsys is as the first was."""
    itself = {row["program"]: row for row in rows if row["by"] == AGAIN}
    found = []
    for row in rows:
        other = itself.get(row["program"], {})
        for key in row["apart"]:
            if key == "gpu.kernel_time":
                noise = abs(other.get("kernel_time", 0.0))
                same = abs(row["kernel_time"]) <= 2 * noise
            else:
                same = key in other.get("apart", ())
            if row["by"] != AGAIN and not same:
                found.append((row["by"], row["program"], key))
    return found


def costs(runs: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Per mode, what a launch takes, and reading."""
    found = {}
    for (group, mode), run in runs.items():
        if group != "torch" or "failed" in run:
            continue
        cost = {"launch_us": statistics.median(run["launch_us"]), "process_s": run["process_s"]}
        if records := run.get("records"):
            reading = run["read_s"] + run["reading_in_callbacks_s"]
            cost["records"] = records
            cost["callbacks"] = run["callbacks"]
            cost["stop_s"] = run["stop_s"]
            cost["read_s_per_10k"] = reading / records * 10_000
            # Making objects is not in their callback, but before it: in the flush.
            cost["read_and_stop_s_per_10k"] = (run["read_s"] + run["stop_s"]) / records * 10_000
        found[mode] = cost
    return found


def lines(results: Mapping[str, Any]) -> Iterator[str]:
    """The table."""
    yield "equal to nsys (counts, bytes, memory peak, waits; kernel time within 1%):"
    for row in results["equality"]:
        pairs = row["metrics"]
        kernels = pairs.get("gpu.kernel_count", ("-", "-"))[1]
        time_ = f"{row['kernel_time']:+.2%}" if "kernel_time" in row else "-"
        said = ", ".join(_apart(key, pairs) for key in row["apart"]) or "equal"
        if row["problem"]:
            said = row["problem"][:60]
        yield f"  {row['by']:20} {row['program']:24} {kernels!s:>6} {time_:>8}  {said}"
    for by, program, key in unlike_nsys(results["equality"]):
        yield f"  UNLIKE NSYS, which is like itself: {by}, {program}, {key}"
    yield ""
    yield "costs (us a launch; seconds for 10,000 records):"
    yield f"  {'':20} {'launch':>8} {'reading':>9} {'with flush':>11} {'callbacks':>10}"
    for mode, cost in results["costs"].items():
        yield _cost(mode, cost, "read_and_stop_s_per_10k")
    yield ""
    kinds = results["runs"].get("torch: ctypes", {}).get("kinds", {})
    yield "fewer kinds, by ctypes (the third column: where records begin by CUPTI's iterator):"
    for name, cost in kinds.items():
        yield _cost(name, cost, "iterate_s_per_10k")
    yield ""
    for name, run in results["runs"].items():
        for defect in run.get("defects", ()):
            yield f"note on {name}: {defect[:100]}"
    failed = {name: run["failed"] for name, run in results["runs"].items() if "failed" in run}
    for name, why in failed.items():
        yield f"FAILED {name}: {why}"
    yield f"{results['seconds']} s; {', '.join(f'{n} {results[n]}' for n in _PACKAGES)}"


def _apart(key: str, pairs: Mapping[str, Sequence[float]]) -> str:
    if key not in pairs:
        return key
    before, now = pairs[key]
    return f"{key} {before} -> {now}"


def _cost(name: str, cost: Mapping[str, float], third: str) -> str:
    figures = (
        _figure(cost, "launch_us", "8.3f"),
        _figure(cost, "read_s_per_10k", "9.4f"),
        _figure(cost, third, "11.4f"),
        _figure(cost, "callbacks", "10d"),
    )
    return f"  {name:20} {' '.join(figures)}"


def _figure(cost: Mapping[str, float], key: str, form: str) -> str:
    return (
        format(cost[key], form) if key in cost else "-".rjust(int(form.split(".")[0].rstrip("d")))
    )


_PACKAGES = ("torch", "nvidia-cuda-cupti", "cupti-python", "triton", "cupy-cuda13x", "jax")


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


if __name__ == "__main__":
    sys.exit(main())
