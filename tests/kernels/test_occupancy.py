"""Theoretical occupancy, held against NVIDIA's own calculator.

The rows of ``occupancy.tsv`` are what ``cudaOccMaxActiveBlocksPerMultiprocessor`` of CUDA 13.0's
``cuda_occupancy.h`` says (compiled for the host, largest shared memory carve-out): compute
capability, registers, threads, shared memory, then blocks of an SM, and what limits them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.kernels.configuration import Configuration, shape
from pytest_nsys.kernels.occupancy import _LIMITS, occupancy

ROWS = [
    line.split("\t")
    for line in Path(__file__).with_name("occupancy.tsv").read_text(encoding="utf-8").splitlines()
]


def configuration(threads: int, registers: int, shared: int = 0) -> Configuration:
    return Configuration((132,), (threads,), registers, shared)


@pytest.mark.parametrize(("capability", "registers", "threads", "shared", "blocks", "limits"), ROWS)
def test_it_is_that_of_the_calculator(
    capability: str, registers: str, threads: str, shared: str, blocks: str, limits: str
) -> None:
    major, _, minor = capability.partition(".")
    key = int(major), int(minor)
    found = occupancy(configuration(int(threads), int(registers), int(shared)), key)
    if blocks == "0":
        assert found is None
        return
    assert found is not None
    warps = -(-int(threads) // 32)
    assert found.percent == pytest.approx(100 * int(blocks) * warps / _LIMITS[key].warps)
    if found.percent < 100:
        assert sorted(found.limiter.split(" and ")) == sorted(limits.split("+"))
    else:
        assert not found.limiter


def test_what_a_kernel_of_cublas_has_on_an_h200() -> None:
    """nvjet_sm90_hsh_256x128: 384 threads of 168 registers, 213,188 bytes: one block of an SM."""
    found = occupancy(configuration(384, 168, 213_188), (9, 0))
    assert found is not None
    assert (found.percent, found.limiter) == (18.75, "registers and shared memory")


@pytest.mark.parametrize("capability", [None, (3, 5), (99, 0)])
def test_of_a_capability_that_is_not_known_there_is_none(
    capability: tuple[int, int] | None,
) -> None:
    assert occupancy(configuration(256, 32), capability) is None


def test_what_cannot_be_launched_has_none() -> None:
    assert occupancy(configuration(0, 32), (9, 0)) is None
    assert occupancy(configuration(256, 32, 300_000), (9, 0)) is None


@given(
    st.sampled_from(sorted(_LIMITS)),
    st.integers(1, 1024),
    st.integers(0, 255),
    st.integers(0, 240_000),
)
def test_more_of_anything_never_raises_the_blocks(
    capability: tuple[int, int], threads: int, registers: int, shared: int
) -> None:
    one = occupancy(configuration(threads, registers, shared), capability)
    more = occupancy(configuration(threads, registers + 8, shared + 1024), capability)
    if more is not None:
        assert one is not None
        assert 0 < more.percent <= one.percent <= 100


def test_shapes_end_at_the_last_extent_above_one() -> None:
    assert shape(1024, 1, 1) == (1024,)
    assert shape(32, 4, 1) == (32, 4)
    assert shape(1, 1, 8) == (1, 1, 8)
    assert shape(1, 1, 1) == (1,)
