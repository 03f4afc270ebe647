"""Which devices the windows of a cut used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pytest_nsys.support.arrays.grouping import coded, sums
from pytest_nsys.support.arrays.rows import Flags, Ints
from pytest_nsys.windows.cut import Cut


@dataclass(frozen=True)
class DeviceUse:
    """Which devices ran anything that was launched in each window.

    Attributes:
        devices: their numbers, ascending.
        used: shape (windows, devices).
    """

    devices: Ints
    used: Flags


def devices_used(cut: Cut) -> DeviceUse:
    """The devices of kernels, copies, memory sets and whole CUDA graphs, by window."""
    trace = cut.trace
    tables = (
        (cut.kernels, trace.kernels),
        (cut.copies, trace.copies),
        (cut.memsets, trace.memsets),
        (cut.graphs, trace.graphs),
    )
    columns = [(members, table["device"].to_numpy()) for members, table in tables]
    devices = np.unique(np.concatenate([coded(column)[1] for _, column in columns]))
    used = np.zeros((len(cut), len(devices)), dtype=np.bool_)
    for members, column in columns:
        codes, values = coded(column)
        window, code, _ = sums(members, codes, len(values))
        used[window, np.searchsorted(devices, values[code])] = True
    return DeviceUse(devices, used)
