"""What ncu counts of a kernel: which metrics, what each is, and their values.

The names are those of Nsight Compute, and of its section files (SpeedOfLight, Occupancy,
MemoryWorkloadAnalysis, MemoryWorkloadAnalysis_Tables, LaunchStatistics, ComputeWorkloadAnalysis,
WarpStateStatistics, SourceCounters; NVIDIA, Kernel Profiling Guide, "Metrics Reference"). All are
known to ``ncu --query-metrics`` for Turing (tu102), Ampere (ga100) and Hopper (gh100); one that a
GPU does not have is left out of what is shown. Few, because each further unit of the hardware takes
another pass, in which the kernel runs once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pytest_nsys.support.json_values import Amount, Positive
from pytest_nsys.support.units import format_amount

Kind = Literal["ns", "B", "1", "%", "x"]
"""Of a counter: time, bytes, a number of something, a percentage, a ratio."""


@dataclass(frozen=True)
class Counter:
    """A metric of Nsight Compute.

    Attributes:
        key: its official name.
        label: what it is, in a few words.
        kind: what its values are.
    """

    key: str
    label: str
    kind: Kind

    def shown(self, value: float | None) -> str:
        """A value as people read it; "-" for none."""
        if value is None:
            return "-"
        if self.kind == "%":
            return f"{value:.1f} %"
        if self.kind == "x":
            return f"{value:.2f}"
        return format_amount(value, self.kind)


DURATION = "gpu__time_duration.sum"
CYCLES = "sm__cycles_elapsed.max"
SM = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
MEMORY = "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed"
DRAM_READ = "dram__bytes_read.sum"
DRAM_WRITTEN = "dram__bytes_write.sum"
L1_HITS = "l1tex__t_sector_hit_rate.pct"
L2_HITS = "lts__t_sector_hit_rate.pct"
LOAD_SECTORS = "l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_ld.ratio"
STORE_SECTORS = "l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_st.ratio"
LOAD_CONFLICTS = "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_ld.sum"
STORE_CONFLICTS = "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_st.sum"
LOCAL_LOADS = "smsp__inst_executed_op_local_ld.sum"
LOCAL_STORES = "smsp__inst_executed_op_local_st.sum"
OCCUPANCY = "sm__warps_active.avg.pct_of_peak_sustained_active"
THEORETICAL = "sm__maximum_warps_per_active_cycle_pct"
REGISTERS = "launch__registers_per_thread"
SHARED_MEMORY = "launch__shared_mem_per_block"
BLOCK = "launch__block_size"
GRID = "launch__grid_size"
WAVES = "launch__waves_per_multiprocessor"
INSTRUCTIONS = "sm__inst_executed.sum"
IPC = "sm__inst_executed.avg.per_cycle_active"
TENSOR = "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active"
FP64 = "sm__pipe_fp64_cycles_active.avg.pct_of_peak_sustained_active"
UNIFORM = "smsp__sass_average_branch_targets_threads_uniform.pct"
THREADS = "smsp__thread_inst_executed_per_inst_executed.ratio"

_STALL = "smsp__average_warps_issue_stalled_{}_per_issue_active.ratio"
STALLS: Mapping[str, str] = {
    _STALL.format(reason): text
    for reason, text in {
        "long_scoreboard": "for global or local memory (long scoreboard)",
        "short_scoreboard": "for shared memory (short scoreboard)",
        "lg_throttle": "for the queue to global and local memory (LG throttle)",
        "mio_throttle": "for the queue to shared memory (MIO throttle)",
        "math_pipe_throttle": "for a busy pipe (math pipe throttle)",
        "barrier": "at a barrier",
        "membar": "at a memory barrier",
        "wait": "for an instruction of fixed latency (wait)",
        "no_instruction": "for instructions to be fetched (no instruction)",
    }.items()
}
"""What warps wait for: by metric, in words. Values are warps per instruction that is issued."""

COUNTERS: tuple[Counter, ...] = (
    Counter(DURATION, "duration", "ns"),
    Counter(CYCLES, "SM cycles", "1"),
    Counter(SM, "SM throughput, of peak", "%"),
    Counter(MEMORY, "memory throughput, of peak", "%"),
    Counter(DRAM_READ, "DRAM bytes read", "B"),
    Counter(DRAM_WRITTEN, "DRAM bytes written", "B"),
    Counter(L1_HITS, "L1 hit rate", "%"),
    Counter(L2_HITS, "L2 hit rate", "%"),
    Counter(LOAD_SECTORS, "sectors per request, global loads", "x"),
    Counter(STORE_SECTORS, "sectors per request, global stores", "x"),
    Counter(LOAD_CONFLICTS, "bank conflicts, shared loads", "1"),
    Counter(STORE_CONFLICTS, "bank conflicts, shared stores", "1"),
    Counter(LOCAL_LOADS, "local loads (spills)", "1"),
    Counter(LOCAL_STORES, "local stores (spills)", "1"),
    Counter(OCCUPANCY, "achieved occupancy", "%"),
    Counter(THEORETICAL, "theoretical occupancy", "%"),
    Counter(REGISTERS, "registers per thread", "1"),
    Counter(SHARED_MEMORY, "shared memory per block", "B"),
    Counter(BLOCK, "threads per block", "1"),
    Counter(GRID, "blocks", "1"),
    Counter(WAVES, "waves per SM", "x"),
    Counter(INSTRUCTIONS, "instructions", "1"),
    Counter(IPC, "instructions per cycle", "x"),
    Counter(TENSOR, "tensor pipe active", "%"),
    Counter(FP64, "fp64 pipe active", "%"),
    Counter(UNIFORM, "branches whose threads agree", "%"),
    Counter(THREADS, "active threads per instruction, of 32", "x"),
    *(Counter(key, f"stalled {text}", "x") for key, text in STALLS.items()),
)

BY_KEY: Mapping[str, Counter] = {counter.key: counter for counter in COUNTERS}


@dataclass(frozen=True)
class KernelCounters:
    """What ncu counted of a kernel in one round: of its launches the one that took longest.

    Attributes:
        kernel: canonical name.
        window: in which part of the test; "test" for its body.
        launches: of how many launches it is the longest.
        values: by official name, in ns, bytes and percent; without what the GPU does not have.
    """

    kernel: str
    window: str
    launches: Positive
    values: Mapping[str, Amount]

    def get(self, key: str) -> float | None:
        """The value of a metric; None if it was not counted."""
        return self.values.get(key)

    def sum(self, *keys: str) -> float | None:
        """Of those of the metrics that were counted; None if none was."""
        found = [self.values[key] for key in keys if key in self.values]
        return sum(found) if found else None


@dataclass(frozen=True)
class Pair:
    """A kernel then and now; at least one of the two is there."""

    before: KernelCounters | None
    after: KernelCounters | None

    @property
    def kernel(self) -> str:
        """Its canonical name."""
        return next(one.kernel for one in (self.after, self.before) if one is not None)

    @property
    def window(self) -> str:
        """In which part of the test it was counted."""
        return next(one.window for one in (self.after, self.before) if one is not None)

    def rows(self) -> Iterator[tuple[Counter, float | None, float | None]]:
        """Each metric that either has, then and now."""
        for counter in COUNTERS:
            then = self.before.get(counter.key) if self.before else None
            now = self.after.get(counter.key) if self.after else None
            if then is not None or now is not None:
                yield counter, then, now


def paired(
    before: tuple[KernelCounters, ...], after: tuple[KernelCounters, ...]
) -> tuple[Pair, ...]:
    """The kernels that were counted now, each with what it was; a kernel is known by its name and
    the window."""
    then = {(one.window, one.kernel): one for one in before}
    return tuple(Pair(then.get((one.window, one.kernel)), one) for one in after)
