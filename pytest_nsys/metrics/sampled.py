"""GPU metrics that the capture sampled: how busy units and buses were, in percent."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from pytest_nsys.metrics.devices import devices_used
from pytest_nsys.support.arrays.grouping import are_among, chosen, coded
from pytest_nsys.support.arrays.rows import Floats, Members
from pytest_nsys.windows.cut import Cut

SAMPLED: Mapping[str, re.Pattern[str]] = {
    "sm.active": re.compile(r"SMs? Active\b.*"),
    "tensor.active": re.compile(r"Tensor (Active|Pipe)\b.*"),
    "dram.read": re.compile(r"DRAM Read\b.*"),
    "dram.write": re.compile(r"DRAM Write\b.*"),
    "pcie.rx": re.compile(r"PCIe RX\b.*"),
    "pcie.tx": re.compile(r"PCIe TX\b.*"),
}
"""Per key, what nsys's names of the metric look like (they differ between GPUs)."""


def sampled_values(cut: Cut) -> dict[str, Floats]:
    """Per key that the capture sampled, the mean of the samples in each window.

    Samples of devices that the window did not use do not count, where any of those it used was
    sampled. A window without a sample has no value: NaN.
    """
    samples = cut.trace.samples
    found: dict[str, Floats] = {}
    if not len(samples):
        return found
    inside = _of_used_devices(cut)
    metrics, values = samples["metric"].to_numpy(), samples["value"].to_numpy()
    for key, pattern in SAMPLED.items():
        wanted = _metrics(cut.trace.sampled, pattern)
        if wanted:
            members = chosen(inside, are_among(metrics, wanted))
            with np.errstate(invalid="ignore"):
                found[key] = cut.total(members, values) / cut.total(members)
    return found


def _metrics(sampled: Mapping[int, str], pattern: re.Pattern[str]) -> list[int]:
    """The metrics of that name, and of several units only the percentage."""
    found = [number for number, name in sampled.items() if pattern.fullmatch(name)]
    shares = [number for number in found if "%" in sampled[number]]
    return shares or found


def _of_used_devices(cut: Cut) -> Members:
    """The samples in each window of the devices that it used, or all if none of these was."""
    samples = cut.trace.samples
    members = cut.members(samples["time"])
    codes, sampled = coded(samples["device"].to_numpy())
    use = devices_used(cut)
    wanted = np.zeros((len(cut), len(sampled)), dtype=np.bool_)
    for column, device in enumerate(sampled.tolist()):
        wanted[:, column] = use.used[:, use.devices == device].any(axis=1)
    wanted[~wanted.any(axis=1)] = True
    keep = wanted[members.window, codes[members.row]]
    return Members(members.window[keep], members.row[keep])
