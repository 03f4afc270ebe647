"""What counters say: the changes are those of NVIDIA's own pairs of examples, where it has some."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.ncu.counters import (
    BLOCK,
    COUNTERS,
    CYCLES,
    DRAM_READ,
    DRAM_WRITTEN,
    DURATION,
    FP64,
    GRID,
    INSTRUCTIONS,
    L1_HITS,
    L2_HITS,
    LOAD_CONFLICTS,
    LOAD_SECTORS,
    LOCAL_LOADS,
    LOCAL_STORES,
    MEMORY,
    OCCUPANCY,
    REGISTERS,
    SHARED_MEMORY,
    SM,
    STALLS,
    STORE_CONFLICTS,
    STORE_SECTORS,
    TENSOR,
    THEORETICAL,
    THREADS,
    UNIFORM,
    KernelCounters,
    Pair,
)
from pytest_nsys.ncu.why import sentence

LONG = next(key for key in STALLS if "long_scoreboard" in key)
BASE = {
    DURATION: 100_000.0,
    CYCLES: 170_000.0,
    INSTRUCTIONS: 1e6,
    BLOCK: 256.0,
    GRID: 1024.0,
    OCCUPANCY: 75.0,
    THEORETICAL: 100.0,
    REGISTERS: 32.0,
}
SLOWER = {DURATION: 150_000.0, CYCLES: 255_000.0}


def said(then: dict[str, float], now: dict[str, float]) -> str:
    """The sentence for a kernel that got slower, and changed so besides."""
    before = KernelCounters("k", "test", 1, BASE | then)
    return sentence(Pair(before, KernelCounters("k", "test", 1, BASE | SLOWER | now)))


@pytest.mark.parametrize(
    ("then", "now", "text"),
    [
        (
            {LOAD_SECTORS: 4, DRAM_READ: 2**24, DRAM_WRITTEN: 0},
            {LOAD_SECTORS: 32, DRAM_READ: 2**26, DRAM_WRITTEN: 0},
            "loads are uncoalesced: sectors per request 4 -> 32, DRAM bytes 16 MiB -> 64 MiB (x4)",
        ),
        (
            {LOAD_SECTORS: 4, STORE_SECTORS: 8},
            {LOAD_SECTORS: 4, STORE_SECTORS: 24},
            "stores are uncoalesced: sectors per request 8 -> 24",
        ),
        (
            {LOAD_CONFLICTS: 0, STORE_CONFLICTS: 0},
            {LOAD_CONFLICTS: 65_011_712, STORE_CONFLICTS: 0},
            "bank conflicts in shared memory 0 -> 65,011,712",
        ),
        ({FP64: 0}, {FP64: 86.44}, "double precision: fp64 pipe 0.0 % -> 86.4 %"),
        (
            {TENSOR: 61},
            {TENSOR: 0},
            "tensor cores are used less: tensor pipe 61.0 % -> 0.0 %",
        ),
        (
            {LOCAL_LOADS: 0, LOCAL_STORES: 0},
            {LOCAL_LOADS: 3e5, LOCAL_STORES: 1e5},
            "register spills: local loads and stores 0 -> 400000",
        ),
        (
            {THREADS: 32},
            {THREADS: 17.4},
            "threads diverge: of a warp's 32 are active 32.00 -> 17.40",
        ),
        # A quarter of a block's last warp has nothing to do.
        ({THREADS: 32}, {THREADS: 31.2}, "100 us -> 150 us, and no*"),
        ({UNIFORM: 99.5}, {UNIFORM: 62}, "threads diverge: branches on which they agree 99.5 %*"),
        (
            {},
            {OCCUPANCY: 48, THEORETICAL: 62.5, REGISTERS: 64},
            "achieved occupancy 75.0 % -> 48.0 %, at most 100.0 % -> 62.5 %, registers per thread "
            "32 -> 64",
        ),
        (
            {SHARED_MEMORY: 1024},
            {OCCUPANCY: 30, THEORETICAL: 50, SHARED_MEMORY: 65536, BLOCK: 64, GRID: 4096},
            "block of 256 -> 64 threads, 1024 -> 4096 blocks; achieved occupancy 75.0 % -> 30.0 %, "
            "at most 100.0 % -> 50.0 %, shared memory per block 1 KiB -> 64 KiB, threads per block "
            "256 -> 64",
        ),
        ({}, {OCCUPANCY: 48}, "achieved occupancy 75.0 % -> 48.0 %"),
        ({}, {GRID: 4096}, "more is computed: 1024 -> 4096 blocks of 256 threads"),
        ({}, {INSTRUCTIONS: 2e6}, "instructions 1,000,000 -> 2,000,000 (x2)"),
        (
            {DRAM_READ: 2**20, DRAM_WRITTEN: 2**20, L2_HITS: 80},
            {DRAM_READ: 2**22, DRAM_WRITTEN: 2**20, L2_HITS: 40},
            "DRAM bytes 2 MiB -> 5 MiB (x2.5) at the same count of instructions; L2 hit rate "
            "80.0 % -> 40.0 %",
        ),
        ({L1_HITS: 80}, {L1_HITS: 40}, "L1 hit rate 80.0 % -> 40.0 %"),
        (
            {LONG: 2},
            {LONG: 9.5},
            "warps wait longer for global or local memory (long scoreboard): 2 -> 9.5 per "
            "instruction",
        ),
        ({}, {}, "100 us -> 150 us, and no other counter has changed much"),
        ({}, {CYCLES: 170_500}, "100 us -> 150 us in the same 170500 cycles: a lower clock"),
        (
            {},
            {DURATION: 101_000},
            "alone, with empty caches, it takes 100 us -> 101 us: what slows*",
        ),
        # In a kernel without such branches the metric is 0.
        ({UNIFORM: 99}, {UNIFORM: 0}, "100 us -> 150 us, and no*"),
        # A handful of conflicts beside a million instructions.
        ({LOAD_CONFLICTS: 0}, {LOAD_CONFLICTS: 12}, "100 us -> 150 us, and no*"),
    ],
)
def test_the_counters_that_changed_say_why(
    then: dict[str, float], now: dict[str, float], text: str
) -> None:
    found = said(then, now)
    assert found == text if not text.endswith("*") else found.startswith(text[:-1])


def test_causes_come_before_effects_and_few_are_told() -> None:
    found = said(
        {FP64: 0, LOCAL_LOADS: 0, LOAD_SECTORS: 4, L2_HITS: 90},
        {FP64: 50, LOCAL_LOADS: 10, LOAD_SECTORS: 9, L2_HITS: 9, OCCUPANCY: 20},
    )
    assert found.count(";") == 2
    assert found.startswith("register spills")
    assert "L2" not in found


def test_one_side_alone_says_what_the_kernel_is_like() -> None:
    now = KernelCounters("k", "test", 1, {SM: 23.0, MEMORY: 90.0, OCCUPANCY: 94.0, LONG: 3.0})
    assert sentence(Pair(None, now)) == (
        "SM throughput 23 % of peak, memory throughput 90 % of peak, achieved occupancy 94 %, "
        "warps wait most for global or local memory (long scoreboard); nothing was counted before: "
        "nsys_ncu = always keeps counters with a baseline"
    )
    assert sentence(Pair(now, None)) == "nothing was counted now"
    bare = KernelCounters("k", "test", 1, {})
    assert sentence(Pair(bare, bare)) == "the counters do not say why"
    assert sentence(Pair(None, bare)).startswith("it was counted; ")


_SIDE = st.dictionaries(
    st.sampled_from([one.key for one in COUNTERS]), st.floats(0, 1e18, allow_subnormal=False)
).map(lambda values: KernelCounters("k", "test", 1, values))


@given(st.none() | _SIDE, st.none() | _SIDE)
def test_there_is_a_sentence_for_any_counters(
    then: KernelCounters | None, now: KernelCounters | None
) -> None:
    text = sentence(Pair(then, now))
    assert text
    assert text[-1] != "."
    assert text.count("; ") <= 3
