"""Theoretical occupancy: how many of the warps that an SM can hold a launch configuration allows.

The limits are those of the CUDA C++ Programming Guide, "Technical Specifications per Compute
Capability"; how registers and shared memory are allocated is that of the occupancy calculator of
the CUDA toolkit (``cuda_occupancy.h`` of CUDA 13.0), whose
``cudaOccMaxActiveBlocksPerMultiprocessor`` this agrees with, with as much shared memory per SM as
there can be. Clusters and named barriers, of which a capture does not know, can only lower it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_nsys.kernels.configuration import Configuration
from pytest_nsys.support.json_values import Maybe

WARP = 32
_REGISTERS = 65536  # of an SM, since 5.0, and in steps of so many of a warp:
_REGISTER_STEP = 256
_RESERVED = 1024  # shared memory that the system takes of each block, from 8.0 on
_KIB = 1024
_ANY = 2**16  # blocks, where nothing is needed of what limits them


@dataclass(frozen=True)
class _Limits:
    """What an SM has.

    Attributes:
        warps: that it can hold.
        blocks: that it can hold.
        shared: shared memory, KiB.
        partitions: among which its registers are shared out.
    """

    warps: int
    blocks: int
    shared: int
    partitions: int = 4


_LIMITS: Mapping[tuple[int, int], _Limits] = {
    (5, 0): _Limits(64, 32, 64),
    (5, 2): _Limits(64, 32, 96),
    (6, 0): _Limits(64, 32, 64, partitions=2),
    (6, 1): _Limits(64, 32, 96),
    (7, 0): _Limits(64, 32, 96),
    (7, 5): _Limits(32, 16, 64),
    (8, 0): _Limits(64, 32, 164),
    (8, 6): _Limits(48, 16, 100),
    (8, 7): _Limits(48, 16, 164),
    (8, 9): _Limits(48, 24, 100),
    (9, 0): _Limits(64, 32, 228),
    (10, 0): _Limits(64, 32, 228),
    (10, 3): _Limits(64, 32, 228),
    (11, 0): _Limits(48, 24, 228),
    (12, 0): _Limits(48, 24, 100),
    (12, 1): _Limits(48, 24, 100),
}
"""By compute capability."""


@dataclass(frozen=True)
class Occupancy:
    """A theoretical occupancy.

    Attributes:
        percent: of the warps that an SM can hold.
        limiter: what keeps it from being more: "registers", "shared memory", "block size" (warps
            are allocated by the block), "blocks per SM", or several of them; "" at 100 %.
    """

    percent: float
    limiter: Maybe[str] = ""


def occupancy(found: Configuration, capability: tuple[int, int] | None) -> Occupancy | None:
    """The theoretical occupancy of a launch configuration.

    Args:
        found: the configuration.
        capability: the GPU's compute capability, major and minor.

    Returns:
        None where the compute capability is not known, or no such launch is possible.
    """
    limits = _LIMITS.get(capability) if capability else None
    if limits is None or capability is None or found.threads < 1:
        return None
    warps = -(-found.threads // WARP)
    by = {
        "registers": _by_registers(found.registers, warps, limits),
        "shared memory": _by_shared(found.shared, capability[0], limits),
        "block size": limits.warps // warps,
        "blocks per SM": limits.blocks,
    }
    fewest = min(by.values())
    if not fewest:
        return None
    full = fewest * warps == limits.warps
    limiter = "" if full else " and ".join(name for name, blocks in by.items() if blocks == fewest)
    return Occupancy(100 * fewest * warps / limits.warps, limiter)


def _by_registers(registers: int, warps: int, limits: _Limits) -> int:
    """Blocks for which there are registers: each partition of an SM has some for whole warps."""
    of_warp = _up(registers * WARP, _REGISTER_STEP)
    if not of_warp:
        return _ANY
    if of_warp * _up(warps, limits.partitions) > _REGISTERS:
        return 0  # so the hardware checks a block
    return _REGISTERS // limits.partitions // of_warp * limits.partitions // warps


def _by_shared(shared: int, major: int, limits: _Limits) -> int:
    of_block = _up(shared + _RESERVED, 128) if major >= 8 else _up(shared, 256)
    return limits.shared * _KIB // of_block if of_block else _ANY


def _up(number: int, step: int) -> int:
    return -(-number // step) * step
