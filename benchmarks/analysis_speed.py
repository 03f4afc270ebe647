"""How long the analysis of a capture of 1,000,000 kernels takes, beside nsys's own.

    python benchmarks/analysis_speed.py --make /tmp/speed/million.nsys-rep
    python benchmarks/analysis_speed.py --make-large /tmp/speed/large.nsys-rep
    python benchmarks/analysis_speed.py --report /tmp/speed/million.nsys-rep \
        --large /tmp/speed/large.nsys-rep --out benchmarks/results

The first two need a GPU, PyTorch and nsys; the third needs nsys alone; one command may do it all.
``--make`` records 1,000 windows (200 tests of 5 rounds, by the worker's own recorder) in which
1,000,000 kernels of 20 names are launched one by one; ``--make-large`` 10,000,000. The window
records lie beside the report.

Measured, alternated, in this order in each repetition:

- export: ``nsys export`` of the tables we read, in the format the plugin chooses.
- after: all that follows, in a fresh process: the trace is loaded and every metric and breakdown
  of every window computed. Without the imports of pandas and pyarrow, which in a pytest run
  happen while nsys exports; ``process`` is the whole process with them and with Python's start.
- nsys: ``nsys export --type sqlite`` of everything, then ``nsys stats`` with five reports.
- sqlite: export and analysis by way of SQLite, where pyarrow is missing.

Every file is in the page cache, as it is when it has just been written. Memory is the peak resident
set of the analysing process (VmHWM). Figures are medians.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

KERNELS, LARGE_KERNELS, WINDOWS, ROUNDS = 1_000_000, 10_000_000, 1_000, 5
FIRST_KERNELS = 1_000
COPIES = 10  # per window, and as many memory sets
REPORTS = (
    *("cuda_gpu_kern_sum", "cuda_gpu_mem_time_sum", "cuda_gpu_mem_size_sum"),
    *("cuda_api_sum", "nvtx_gpu_proj_sum"),
)
DEADLINE_S = 900
LIMITS = {"after_over_export": 0.15, "ours_over_nsys": 0.60, "peak_gib": 1.0}


@dataclass(frozen=True)
class Analysis:
    """What one analysing process reports of itself.

    Attributes:
        imports: seconds to import what it needs.
        load: seconds from the export to the trace.
        measure: seconds from the trace to the measurements.
        process: seconds of the whole process, seen from outside.
        peak: highest resident set, bytes.
        imported: resident set after the imports, bytes.
        kernels: in the capture.
        calls: in the capture.
        measured: kernels in the windows, by the metric.
        windows: that were measured.
    """

    imports: float
    load: float
    measure: float
    process: float
    peak: int
    imported: int
    kernels: int
    calls: int
    measured: int
    windows: int

    @property
    def after(self) -> float:
        """Seconds from the end of the export to the measurements."""
        return self.load + self.measure


# ------------------------------------------------------------------ the captured program


def launch(events: Path, kernels: int, windows: int) -> None:
    """The program under nsys: tests of 5 rounds as the worker runs them."""
    import torch

    from pytest_nsys.worker.events import EventLog
    from pytest_nsys.worker.job import Repeats
    from pytest_nsys.worker.recorder import Recorder
    from pytest_nsys.worker.window_log import WindowLog

    step = _step(torch)
    step(FIRST_KERNELS)
    torch.cuda.synchronize()
    event_log = EventLog(str(events))
    log = WindowLog(event_log)
    began = time.perf_counter()
    for test in range(windows // ROUNDS):
        nodeid = f"tests/test_models.py::test_step[{test}]"
        repeats = Repeats(warmup=0, rounds=ROUNDS)
        recorder = Recorder(nodeid, repeats, log, event_log, torch.cuda.empty_cache)

        def body(recorder: Recorder = recorder) -> None:
            with recorder.window():
                step(kernels // windows)

        recorder.measure(body, stop=lambda: False)
    log.close()
    print(f"{kernels} kernels in {time.perf_counter() - began:.1f} s", flush=True)


def _operations(torch: Any) -> tuple[Callable[[], object], list[Callable[[], object]]]:
    """Copies and memory sets of a window, and 20 operations that are a kernel each."""
    x = torch.rand(4096, device="cuda")
    y = torch.empty(4096, device="cuda")
    host = torch.rand(4096).pin_memory()
    names = (
        *("abs_", "neg_", "sin_", "cos_", "exp_", "tanh_", "sigmoid_", "ceil_", "floor_", "round_"),
        *("sqrt_", "rsqrt_", "log_", "log1p_", "expm1_", "atan_", "erf_", "sign_", "trunc_"),
        "reciprocal_",
    )

    # PyTorch fills by a kernel, and has no name for this.
    memset = ctypes.CDLL("libcuda.so.1").cuMemsetD8Async
    size, stream = y.numel() * y.element_size(), torch.cuda.current_stream().cuda_stream
    arguments = (
        *(ctypes.c_uint64(y.data_ptr()), ctypes.c_ubyte(0)),
        *(ctypes.c_size_t(size), ctypes.c_void_p(stream)),
    )

    def transfer() -> None:
        for _ in range(COPIES):
            y.copy_(host, non_blocking=True)
            if memset(*arguments):
                raise SystemExit("cuMemsetD8Async failed")

    return transfer, [getattr(x, name) for name in names]


def _step(torch: Any) -> Callable[[int], None]:
    transfer, operations = _operations(torch)

    def step(kernels: int) -> None:
        transfer()
        for number in range(kernels):
            operations[number % len(operations)]()

    return step


def records_path(report: Path) -> Path:
    """Where the window records of a report lie."""
    return report.with_suffix(".events.jsonl")


def make(report: Path, kernels: int, windows: int) -> None:
    """Record the capture with the plugin's own flags; its records beside it."""
    from pytest_nsys.capture.nsys import find_nsys, profile_command

    report.parent.mkdir(parents=True, exist_ok=True)
    events = records_path(report)
    events.unlink(missing_ok=True)
    program = [sys.executable, __file__, "--launch", str(events)]
    program += ["--kernels", str(kernels), "--windows", str(windows)]
    output = report.absolute().with_suffix("")
    seconds = run(profile_command(find_nsys(), output, program))
    print(f"{report}: {report.stat().st_size / 1e6:.0f} MB, made in {seconds:.1f} s", flush=True)


# ------------------------------------------------------------------ what is measured


def run(command: Sequence[str]) -> float:
    """Seconds that a command takes; its output is shown if it fails."""
    began = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, timeout=DEADLINE_S
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr}")
    return seconds


def analyse(export: Path, events: Path) -> None:
    """In a process of its own: load and measure; print an `Analysis` as JSON."""
    began = time.perf_counter()
    if export.is_dir():
        from pyarrow import parquet as _parquet  # noqa: F401

    from pytest_nsys.measure.windows import measure
    from pytest_nsys.trace import load_trace
    from pytest_nsys.windows.record import WindowRecord

    imports = time.perf_counter() - began
    imported = _memory("VmRSS")
    with events.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    records = [WindowRecord.from_json(line) for line in lines if line["event"] == "window"]
    began = time.perf_counter()
    trace = load_trace(export)
    loaded = time.perf_counter()
    tests = measure(trace, records)
    ended = time.perf_counter()
    counts = [
        window.by_process("gpu.kernel_count")[0]
        for test in tests.values()
        for window in test.windows.values()
    ]
    found = Analysis(
        imports=imports,
        load=loaded - began,
        measure=ended - loaded,
        process=0.0,
        peak=_memory("VmHWM"),
        imported=imported,
        kernels=len(trace.kernels),
        calls=len(trace.calls),
        measured=int(sum(map(sum, counts))),
        windows=sum(map(len, counts)),
    )
    print(json.dumps(asdict(found)))


def _memory(name: str) -> int:
    """A size of this process from the kernel's accounts, bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def analysis(export: Path, events: Path) -> Analysis:
    """Analyse in a fresh process."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--analyse", str(export), str(events)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    values = json.loads(done.stdout)
    if not values["kernels"]:
        raise SystemExit(f"{export} holds no kernels")
    return Analysis(**values | {"process": time.perf_counter() - began})


@contextmanager
def scratch(beside: Path) -> Iterator[Path]:
    """A folder on the disk of the report, removed afterwards: exports are large."""
    with tempfile.TemporaryDirectory(dir=beside.parent) as folder:
        yield Path(folder)


def size_of(export: Path) -> int:
    """Bytes of an export."""
    files = export.iterdir() if export.is_dir() else [export]
    return sum(file.stat().st_size for file in files)


def our_way(report: Path) -> tuple[float, int, Analysis]:
    """Seconds and bytes of the plugin's own export, and its analysis."""
    from pytest_nsys.capture.export import export_report
    from pytest_nsys.capture.nsys import find_nsys

    nsys = find_nsys()
    with scratch(report) as folder:
        began = time.perf_counter()
        export = export_report(nsys, report, folder)
        seconds = time.perf_counter() - began
        return seconds, size_of(export), analysis(export, records_path(report))


def sqlite_way(report: Path) -> tuple[float, int, Analysis]:
    """The same by way of SQLite."""
    from pytest_nsys.capture.nsys import export_command, find_nsys
    from pytest_nsys.trace.schema import TABLES

    with scratch(report) as folder:
        export = folder / "export.sqlite"
        seconds = run(export_command(find_nsys(), report, export, "sqlite", TABLES))
        return seconds, size_of(export), analysis(export, records_path(report))


def nsys_way(report: Path) -> tuple[float, float]:
    """Seconds of nsys's own export of everything, and of its five reports."""
    from pytest_nsys.capture.nsys import find_nsys

    nsys = str(find_nsys().path)
    with scratch(report) as folder:
        export = folder / "export.sqlite"
        exporting = run([nsys, "export", "--type", "sqlite", "-o", str(export), str(report)])
        command = [nsys, "stats", "--force-export=false", "--format", "csv"]
        command += ["--output", str(folder / "stats")]
        for name in REPORTS:
            command += ["--report", name]
        stats = run([*command, str(export)])
        missing = [n for n in REPORTS if not (folder / f"stats_{n}.csv").is_file()]
        if missing:
            raise SystemExit(f"nsys stats wrote no {', '.join(missing)}")
        return exporting, stats


# ------------------------------------------------------------------ results


Runs = dict[str, list[float]]


def note(runs: Runs, **values: float) -> None:
    """Keep the values and show them: a run that is cut off has said what it had."""
    for name, value in values.items():
        runs.setdefault(name, []).append(value)
    print("  " + "  ".join(f"{name} {value:.3f}" for name, value in values.items()), flush=True)


def note_ours(runs: Runs, prefix: str, way: tuple[float, int, Analysis]) -> Analysis:
    seconds, size, found = way
    values = {
        "export_s": seconds,
        "load_s": found.load,
        "measure_s": found.measure,
        "after_s": found.after,
        "imports_s": found.imports,
        "process_s": found.process,
        "peak_mib": found.peak / 2**20,
        "imported_mib": found.imported / 2**20,
        "export_mb": size / 1e6,
    }
    note(runs, **{prefix + name: value for name, value in values.items()})
    return found


def note_nsys(runs: Runs, report: Path) -> None:
    exporting, stats = nsys_way(report)
    note(runs, nsys_export_s=exporting, nsys_stats_s=stats, nsys_s=exporting + stats)


def measure_million(report: Path, repeats: int) -> dict[str, Any]:
    """The figures of the first capture."""
    runs: Runs = {}
    print(f"{report}", flush=True)
    for _ in range(repeats):
        found = note_ours(runs, "", our_way(report))
        note_nsys(runs, report)
        note_ours(runs, "sqlite_", sqlite_way(report))
    median = {name: statistics.median(values) for name, values in runs.items()}
    ours = median["export_s"] + median["after_s"]
    ratios = {
        "after_over_export": median["after_s"] / median["export_s"],
        "process_over_export": median["process_s"] / median["export_s"],
        "ours_over_nsys": ours / median["nsys_s"],
        "ours_with_imports_over_nsys": (median["export_s"] + median["process_s"])
        / median["nsys_s"],
        "export_over_ours": median["export_s"] / ours,
        "sqlite_after_over_export": median["sqlite_after_s"] / median["sqlite_export_s"],
        "sqlite_over_nsys": (median["sqlite_export_s"] + median["sqlite_after_s"])
        / median["nsys_s"],
        "peak_gib": max(runs["peak_mib"]) / 1024,
        "sqlite_peak_gib": max(runs["sqlite_peak_mib"]) / 1024,
    }
    return {
        "machine": machine(),
        "capture": _counts(found),
        "median": median,
        "ratios": ratios,
        "runs": runs,
    }


def measure_large(report: Path, repeats: int) -> dict[str, Any]:
    """The figures of the large capture."""
    runs: Runs = {}
    print(f"{report}", flush=True)
    for _ in range(repeats):
        found = note_ours(runs, "", our_way(report))
        note_nsys(runs, report)
    median = {name: statistics.median(values) for name, values in runs.items()}
    used = (median["peak_mib"] - median["imported_mib"]) * 2**20
    ratios = {
        "after_over_export": median["after_s"] / median["export_s"],
        "ours_over_nsys": (median["export_s"] + median["after_s"]) / median["nsys_s"],
        "peak_gib": max(runs["peak_mib"]) / 1024,
        "bytes_per_kernel": used / found.kernels,
    }
    return {
        "machine": machine(),
        "capture": _counts(found),
        "median": median,
        "ratios": ratios,
        "runs": runs,
    }


def _counts(found: Analysis) -> dict[str, int]:
    names = ("kernels", "calls", "measured", "windows")
    return {name: getattr(found, name) for name in names}


def write(path: Path, name: str, found: Mapping[str, Any]) -> None:
    """Put one capture's figures into the results; those of the other stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    results[name] = found
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def show(name: str, found: Mapping[str, Any]) -> None:
    """The tables of one capture."""
    counts, median, ratios = found["capture"], found["median"], found["ratios"]
    print(
        f"\n{found['machine']['cpu']}, {found['machine']['cpus']} CPUs, "
        f"nsys {found['machine']['nsys']}: {counts['kernels']:,} kernels, {counts['calls']:,} API "
        f"calls, {counts['windows']:,} windows with {counts['measured']:,} kernels\n"
    )
    print("| | export s | after s | load s | measure s | process s | peak MiB | export MB |")
    print("|---|---|---|---|---|---|---|---|")
    columns = ("export_s", "after_s", "load_s", "measure_s", "process_s")
    for label, prefix in (("as the plugin does", ""), ("by way of SQLite", "sqlite_")):
        if f"{prefix}after_s" in median:
            seconds = " | ".join(f"{median[prefix + column]:.2f}" for column in columns)
            peak, size = median[f"{prefix}peak_mib"], median[f"{prefix}export_mb"]
            print(f"| {label} | {seconds} | {peak:.0f} | {size:.0f} |")
    if "nsys_s" in median:
        exporting, stats, total = (median[f"nsys_{n}s"] for n in ("export_", "stats_", ""))
        print(f"| nsys: all tables, five reports | {exporting:.2f} | {stats:.2f} ", end="")
        print(f"| | | {total:.2f} | | |")
    print("\n| ratio | | limit |\n|---|---|---|")
    for ratio, value in ratios.items():
        limit = LIMITS.get(ratio) if name == "million" else None
        said = "" if limit is None else f"{limit:g}{' exceeded' if value > limit else ''}"
        print(f"| {ratio} | {value:.3f} | {said} |")
    print(flush=True)


def machine() -> dict[str, Any]:
    """What the figures were measured with."""
    from pytest_nsys.capture.nsys import find_nsys

    packages = ("pandas", "numpy", "pyarrow")
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": _cpu(),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "nsys": find_nsys().version_text,
        **{name: version(name) for name in packages},
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--make", type=Path, metavar="REPORT", help="record the capture")
    parser.add_argument("--make-large", type=Path, metavar="REPORT", help="record the large one")
    parser.add_argument("--report", type=Path, help="the capture to measure with")
    parser.add_argument("--large", type=Path, metavar="REPORT", help="the large one")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large-repeats", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--kernels", type=int, help="another size of the captures")
    parser.add_argument("--windows", type=int, default=WINDOWS)
    parser.add_argument("--launch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--analyse", type=Path, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.launch:
        launch(given.launch, given.kernels, given.windows)
        return
    if given.analyse:
        analyse(*given.analyse)
        return
    parts: tuple[tuple[str, Path | None, Path | None, int, bool], ...] = (
        ("million", given.make, given.report, given.repeats, False),
        ("large", given.make_large, given.large, given.large_repeats, True),
    )
    for name, new, report, repeats, large in parts:
        if new:
            size = given.kernels or (LARGE_KERNELS if large else KERNELS)
            make(new, size, given.windows)
        if report:
            found = (measure_large if large else measure_million)(report, repeats)
            show(name, found)
            if given.out:
                write(given.out / "analysis_speed.json", name, found)


if __name__ == "__main__":
    main()
