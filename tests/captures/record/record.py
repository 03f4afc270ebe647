"""Records the captures of this folder's parent: real programs, real nsys, and its own reports.

Each workload runs under ``nsys profile`` with the flags of this project, under a deadline. Of its
report come a scrubbed ``NAME.sqlite.xz`` and ``NAME.REPORT.csv``, what ``nsys stats`` says of the
whole export. It needs a GPU, nsys, pytest-nsys, and the packages that the workloads import.

    python3 tests/captures/record/record.py --out FOLDER [NAME ...]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pytest_nsys.capture.nsys import NsysTool, find_nsys, profile_command
from pytest_nsys.process.guard import MARK, end_marked
from pytest_nsys.storage.recordings.recording import scrub

HERE = Path(__file__).resolve().parent

REPORTS = (
    "cuda_gpu_kern_sum",
    "cuda_gpu_mem_time_sum",
    "cuda_gpu_mem_size_sum",
    "cuda_api_sum",
    "nvtx_gpu_proj_sum",
    "cuda_kern_exec_sum",
    "nvtx_kern_sum",
)

# After nsys's deadline for the program come its own report and the export of it.
EXPORT_DEADLINE_S = 120.0
LARGEST_FULL = 64 * 2**20

KERNELS = "SELECT count(*) FROM CUPTI_ACTIVITY_KIND_KERNEL"
COPIES = "SELECT count(*) FROM CUPTI_ACTIVITY_KIND_MEMCPY"
CALLS = "SELECT count(*) FROM CUPTI_ACTIVITY_KIND_RUNTIME"
PROCESSES = "SELECT count(DISTINCT globalPid) FROM CUPTI_ACTIVITY_KIND_KERNEL"
DEVICES = "SELECT count(DISTINCT deviceId) FROM CUPTI_ACTIVITY_KIND_KERNEL"
OVERLAPS = (
    "SELECT count(*) FROM CUPTI_ACTIVITY_KIND_KERNEL a JOIN {other} b"
    " ON a.streamId != b.streamId AND a.start < b.end AND b.start < a.end"
)


@dataclass(frozen=True)
class Workload:
    """A program to record.

    Attributes:
        program: its file in ``workloads``, without suffix.
        flags: of ``nsys profile``, put over those of the project.
        arguments: of the program.
        gpus: how many it uses.
        alone: whether others running at the same time would change what it is to show.
        needs: queries of the export that must not count less than the number, by what they show.
    """

    program: str
    flags: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    gpus: int = 1
    alone: bool = False
    needs: Mapping[str, tuple[str, int]] = field(default_factory=dict)


WORKLOADS: Mapping[str, Workload] = {
    "train_threads": Workload(
        "train_threads",
        needs={
            "launching threads": (
                "SELECT count(DISTINCT r.globalTid) FROM CUPTI_ACTIVITY_KIND_KERNEL k"
                " JOIN CUPTI_ACTIVITY_KIND_RUNTIME r USING (correlationId)",
                3,
            )
        },
    ),
    "loader": Workload(
        "loader",
        needs={
            "pinned copies": ("SELECT count(*) FROM CUPTI_ACTIVITY_KIND_MEMCPY WHERE srcKind=1", 1)
        },
    ),
    "graph_node": Workload(
        "graph",
        needs={
            "kernels in graphs": (f"{KERNELS} WHERE graphNodeId IS NOT NULL", 20),
        },
    ),
    "graph_graph": Workload(
        "graph",
        flags=("--cuda-graph-trace=graph",),
        needs={"graphs": ("SELECT count(*) FROM CUPTI_ACTIVITY_KIND_GRAPH_TRACE", 20)},
    ),
    "processes": Workload("processes", needs={"processes": (PROCESSES, 3)}),
    "forked": Workload(
        "forked",
        flags=("--trace-fork-before-exec=true",),
        needs={"processes": (PROCESSES, 2)},
    ),
    "forked_exit": Workload(
        "forked", flags=("--trace-fork-before-exec=true",), arguments=("exit",)
    ),
    "triton": Workload(
        "triton_kernels",
        needs={
            "Triton's kernels": (
                f"{KERNELS} k JOIN StringIds s ON s.id = k.demangledName"
                " WHERE s.value LIKE '%matmul_kernel%'",
                10,
            )
        },
    ),
    "cupy": Workload(
        "cupy_pools",
        needs={
            "events of a pool": (
                "SELECT count(*) FROM CUDA_GPU_MEMORY_USAGE_EVENTS"
                " WHERE localMemoryPoolAddress IS NOT NULL AND localMemoryPoolAddress != 0",
                1,
            )
        },
    ),
    # nsys 2025.3 loses the ranges around which XLA has some of its own.
    "jax": Workload(
        "jax_step",
        flags=("--nvtx-domain-exclude=TSL",),
        needs={
            "ranges": (
                "SELECT count(*) FROM NVTX_EVENTS e JOIN StringIds s ON s.id = e.textId"
                " WHERE s.value LIKE 'step%'",
                10,
            )
        },
    ),
    "jax_lost": Workload("jax_step", needs={"kernels": (KERNELS, 10)}),
    "driver_api": Workload(
        "driver_api",
        needs={
            "contexts": ("SELECT count(DISTINCT contextId) FROM CUPTI_ACTIVITY_KIND_KERNEL", 2),
            "kinds of copies": (
                "SELECT count(DISTINCT copyKind) FROM CUPTI_ACTIVITY_KIND_MEMCPY",
                8,
            ),
        },
    ),
    "decode": Workload("decode", needs={"kernels": (KERNELS, 300)}),
    "zoo": Workload("zoo", needs={"kernels": (KERNELS, 150)}),
    "streams": Workload(
        "streams",
        alone=True,
        needs={
            "kernels beside kernels": (OVERLAPS.format(other="CUPTI_ACTIVITY_KIND_KERNEL"), 20),
            "copies beside kernels": (OVERLAPS.format(other="CUPTI_ACTIVITY_KIND_MEMCPY"), 20),
        },
    ),
    "unified": Workload(
        "unified",
        flags=("--cuda-um-cpu-page-faults=true", "--cuda-um-gpu-page-faults=true"),
        alone=True,
        needs={
            "faults of the host": ("SELECT count(*) FROM CUDA_UM_CPU_PAGE_FAULT_EVENTS", 1),
            "faults of the device": ("SELECT count(*) FROM CUDA_UM_GPU_PAGE_FAULT_EVENTS", 1),
        },
    ),
    "gpu_metrics": Workload(
        "gpu_metrics",
        flags=(
            "--gpu-metrics-devices=0",
            "--gpu-metrics-frequency=2000",
            "--capture-range=cudaProfilerApi",
            "--capture-range-end=stop",
        ),
        alone=True,
        needs={"samples": ("SELECT count(*) FROM GPU_METRICS", 1000)},
    ),
    "bottlenecks": Workload(
        "bottlenecks", alone=True, needs={"ranges": ("SELECT count(*) FROM NVTX_EVENTS", 22)}
    ),
    "nccl": Workload(
        "nccl",
        gpus=2,
        alone=True,
        needs={
            "processes": (PROCESSES, 2),
            "kernels of NCCL": (
                f"{KERNELS} k JOIN StringIds s ON s.id = k.shortName WHERE s.value LIKE 'nccl%'",
                24,
            ),
        },
    ),
    "peer": Workload(
        "peer",
        gpus=2,
        alone=True,
        needs={
            "devices": (DEVICES, 2),
            "copies between devices": (f"{COPIES} WHERE srcDeviceId != dstDeviceId", 20),
        },
    ),
    "peer_metrics": Workload(
        "peer",
        flags=(
            "--gpu-metrics-devices=all",
            "--gpu-metrics-frequency=1000",
            "--capture-range=cudaProfilerApi",
            "--capture-range-end=stop",
        ),
        gpus=2,
        alone=True,
        needs={"sampled devices": ("SELECT count(DISTINCT typeId) FROM GPU_METRICS", 2)},
    ),
    "masked": Workload("masked", gpus=2, alone=True, needs={"processes": (PROCESSES, 2)}),
}


@dataclass
class Row:
    """What came of a workload."""

    name: str
    problems: list[str]
    counts: Mapping[str, int | None]
    seconds: dict[str, float]
    size: int | None


def main() -> int:
    arguments = parse()
    nsys = find_nsys()
    print(f"nsys {nsys.version_text}", flush=True)
    for folder in ("", "logs", "full"):
        (arguments.out / folder).mkdir(parents=True, exist_ok=True)
    chosen = {name: WORKLOADS[name] for name in arguments.names or WORKLOADS}
    with (
        tempfile.TemporaryDirectory(prefix="record-") as temporary,
        ThreadPoolExecutor(arguments.jobs) as runners,
        ThreadPoolExecutor(4) as writers,
    ):
        recorder = Recorder(nsys, arguments, Path(temporary), writers)
        together = [
            runners.submit(recorder.record, name)
            for name, workload in chosen.items()
            if not workload.alone
        ]
        written = [future.result() for future in together]
        written += [recorder.record(name) for name, workload in chosen.items() if workload.alone]
        rows = [future.result() for future in written]
    show(rows)
    return int(any(row.problems for row in rows))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Record real captures.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--jobs", type=int, default=3, help="programs at the same time")
    parser.add_argument("--deadline", type=float, default=40.0, help="seconds for each program")
    parser.add_argument("--keep-full", action="store_true", help="keep unscrubbed exports, too")
    parser.add_argument("--parquet", action="store_true", help="export to parquetdir, too")
    parser.add_argument("names", nargs="*", metavar="NAME", help="workloads; by default all")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(WORKLOADS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(WORKLOADS)}")
    arguments.out = arguments.out.absolute()
    return arguments


class Recorder:
    """Runs programs under nsys and makes the files; the files in other threads."""

    def __init__(
        self,
        nsys: NsysTool,
        arguments: argparse.Namespace,
        folder: Path,
        writers: ThreadPoolExecutor,
    ) -> None:
        self.nsys = nsys
        self.arguments = arguments
        self.out: Path = arguments.out
        self.folder = folder
        self.writers = writers

    def record(self, name: str) -> Future[Row]:
        """Run one workload; its files follow."""
        workload = WORKLOADS[name]
        program = str(HERE / "workloads" / f"{workload.program}.py")
        report = self.folder / f"{name}.nsys-rep"
        command = profile_command(
            self.nsys,
            report.with_suffix(""),
            [sys.executable, program, *workload.arguments],
            workload.flags,
        )
        seconds: dict[str, float] = {}
        problem = self._run(name, command, self.arguments.deadline, seconds, "run")
        print(f"{name}: {problem or 'ran'}, {seconds['run']:.1f} s", flush=True)
        return self.writers.submit(self._write, name, report, [problem] * bool(problem), seconds)

    def _write(
        self, name: str, report: Path, problems: list[str], seconds: dict[str, float]
    ) -> Row:
        row = Row(name, problems, {}, seconds, None)
        try:
            self._make_files(row, report)
        except Exception as error:  # one that fails must not take the others along
            problems.append(f"{type(error).__name__}: {error}")
        return row

    def _make_files(self, row: Row, report: Path) -> None:
        if not report.exists():
            row.problems.append("no report")
            return
        export = report.with_suffix(".sqlite")
        problem = self._export(row, report, export, "sqlite")
        if problem:
            row.problems.append(problem)
            return
        tables = report.with_suffix(".parquet")
        if self.arguments.parquet:
            self._export(row, report, tables, "parquetdir")
        if self.arguments.keep_full and export.stat().st_size <= LARGEST_FULL:
            shutil.copyfile(export, self.out / "full" / export.name)
            if tables.is_dir():
                shutil.copytree(tables, self.out / "full" / tables.name, dirs_exist_ok=True)
        with closing(sqlite3.connect(export)) as connection:
            row.counts = {
                name: count(connection, query)
                for name, query in (("kernels", KERNELS), ("copies", COPIES), ("calls", CALLS))
            }
            for what, (query, least) in WORKLOADS[row.name].needs.items():
                found = count(connection, query)
                if (found or 0) < least:
                    row.problems.append(f"{what}: {found}, not {least}")
        self._stats(row, export)
        packed = self.out / f"{row.name}.sqlite.xz"
        scrub(export, packed)
        row.size = packed.stat().st_size

    def _export(self, row: Row, report: Path, target: Path, kind: str) -> str:
        command = [str(self.nsys.path), "export", "--type", kind, "--force-overwrite", "true"]
        command += ["-o", str(target), str(report)]
        return self._run(row.name, command, EXPORT_DEADLINE_S, row.seconds, kind)

    def _stats(self, row: Row, export: Path) -> None:
        base = self.folder / row.name
        command = [str(self.nsys.path), "stats", "--report", ",".join(REPORTS)]
        command += ["--format", "csv", "--output", str(base), str(export)]
        problem = self._run(row.name, command, EXPORT_DEADLINE_S, row.seconds, "stats")
        if problem:
            row.problems.append(problem)
        for name in REPORTS:
            made = self.folder / f"{row.name}_{name}.csv"
            if made.exists() and made.stat().st_size > 1:  # one without data is left empty
                shutil.copyfile(made, self.out / f"{row.name}.{name}.csv")

    def _run(
        self,
        name: str,
        command: Sequence[str],
        deadline: float,
        seconds: dict[str, float],
        what: str,
    ) -> str:
        """What went wrong; "" if nothing did."""
        log = self.out / "logs" / f"{name}.txt"
        begin = time.monotonic()
        problem = ""
        with log.open("ab") as output:
            output.write(f"\n$ {' '.join(command)}\n".encode())
            output.flush()
            # nsys stats takes scripts from the current folder before its own.
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, MARK: str(self.folder)},
            ) as process:
                try:
                    code = process.wait(deadline)
                    problem = f"{what}: exit status {code}" if code else ""
                except subprocess.TimeoutExpired:
                    problem = f"{what}: not done in {deadline:.0f} s"
                    end_marked(str(self.folder))
        seconds[what] = time.monotonic() - begin
        if problem:
            end = log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
            print("\n".join(f"    {line[:200]}" for line in end), flush=True)
        return problem


def count(connection: sqlite3.Connection, query: str) -> int | None:
    """What the query counts; None where its table or column is not in the export."""
    try:
        return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return None


def show(rows: Sequence[Row]) -> None:
    """The table of what came out."""
    print(f"{'name':15}{'kernels':>9}{'copies':>8}{'calls':>8}{'xz kB':>7}  seconds; problems")
    for row in rows:
        numbers = [row.counts.get(name) for name in ("kernels", "copies", "calls")]
        cells = "".join(
            f"{'-' if number is None else number:>{width}}"
            for number, width in zip(numbers, (9, 8, 8), strict=True)
        )
        size = "-" if row.size is None else f"{row.size / 1000:.0f}"
        times = " ".join(f"{what} {seconds:.1f}" for what, seconds in row.seconds.items())
        print(f"{row.name:15}{cells}{size:>7}  {times}; {'; '.join(row.problems) or 'ok'}")


if __name__ == "__main__":
    sys.exit(main())
