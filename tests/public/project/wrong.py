"""What a type checker is to find, with the code that it has for it."""

from __future__ import annotations

import pytest_nsys
from pytest_nsys import Metric, Nsys, NsysRun, Preset, Verdict


def test_wrong(nsys: Nsys, nsys_run: NsysRun) -> int:
    pytest_nsys.wrong()  # attr-defined
    nsys.range(3)  # arg-type
    nsys.units(tokens="many")  # arg-type
    nsys.rnage("x")  # attr-defined
    return nsys_run(["true"]).printed  # return-value


def pytest_nsys_verdict(nodeid: str, verdict: Verdict) -> str:
    verdict.failed = False  # misc
    Preset(name="ours")  # call-arg
    Metric("ours.x", "K", "timed", nodeid)  # arg-type
    return verdict.measurement.windows["test"]["gpu.busy"]  # return-value
