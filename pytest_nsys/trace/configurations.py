"""The launch configurations of a trace's kernels: few different ones, of millions of kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pytest_nsys.kernels.configuration import Configuration, shape
from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.trace.schema import CONFIGURATION
from pytest_nsys.trace.source import ABSENT


def configurations(packed: Mapping[str, Ints]) -> tuple[Ints, tuple[Configuration, ...]]:
    """Per kernel the number of its configuration, `ABSENT` where it is not known; and these.

    Args:
        packed: the columns of `CONFIGURATION`, one number per kernel.
    """
    columns = [packed[name] for name in CONFIGURATION]
    numbers = np.full(len(columns[0]), ABSENT, dtype=np.int64)
    known = np.flatnonzero(np.logical_and.reduce([column != ABSENT for column in columns]))
    if not len(known):
        return numbers, ()
    codes = np.zeros(len(known), dtype=np.int64)
    for column in columns:
        code, values = pd.factorize(column[known])
        codes = pd.factorize(codes * len(values) + code)[0].astype(np.int64)
    first = np.empty(int(codes.max()) + 1, dtype=np.int64)
    first[codes[::-1]] = known[::-1]
    found = []
    keys = [tuple(int(column[row]) for column in columns) for row in first.tolist()]
    for number, place in enumerate(sorted(range(len(keys)), key=keys.__getitem__)):
        found.append(_unpacked(keys[place]))
        first[place] = number  # whatever the order of the rows
    numbers[known] = first[codes]
    return numbers, tuple(found)


def _unpacked(numbers: Sequence[int]) -> Configuration:
    values: dict[str, int] = {}
    for number, packing in zip(numbers, CONFIGURATION.values(), strict=True):
        rest = number
        for column, bits in reversed(packing):
            values[column] = rest & (2**bits - 1)
            rest >>= bits
    return Configuration(
        grid=shape(values["gridX"], values["gridY"], values["gridZ"]),
        block=shape(values["blockX"], values["blockY"], values["blockZ"]),
        registers=values["registersPerThread"],
        shared=values["staticSharedMemory"] + values["dynamicSharedMemory"],
        local=values["localMemoryPerThread"],
    )
