"""How a kernel is launched: in what grid of which blocks, with how much of what an SM has."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from pytest_nsys.support.json_values import Maybe

Shape = tuple[int, ...]
"""Extents in x, y and z."""


@dataclass(frozen=True, order=True)
class Configuration:
    """The launch configuration of a kernel.

    Attributes:
        grid: blocks in x, y and z, up to the last extent above 1.
        block: threads of a block likewise.
        registers: of a thread.
        shared: shared memory of a block, static and dynamic, bytes.
        local: local memory of a thread, bytes: registers that were spilled, and arrays.
    """

    grid: Shape
    block: Shape
    registers: int
    shared: Maybe[int] = 0
    local: Maybe[int] = 0

    @property
    def threads(self) -> int:
        """Of a block."""
        return prod(self.block)


def shape(*extents: int) -> Shape:
    """Extents, up to the last above 1."""
    while len(extents) > 1 and extents[-1] == 1:
        extents = extents[:-1]
    return extents
