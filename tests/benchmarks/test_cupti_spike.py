"""The spike of CUPTI: whole processes of it, of which a stand-in takes libcupti's part."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cupti_spike import __main__ as spike
from benchmarks.cupti_spike import contenders, inside
from benchmarks.cupti_spike.contenders import ATTRIBUTES, ByCtypes
from benchmarks.cupti_spike.inside import RANGE, metrics_of
from benchmarks.cupti_spike.records import KINDS, trace_of
from pytest_nsys.capture.cupti.records import FIELDS, KERNEL
from tests.simgpu.cupti import StandIn
from tests.support.cupti_work import CALLS, DRIVER_CALLS, work


class Worked(StandIn):
    """Between two looks, the device always does the same."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self._numbers = {2: {name: number for number, name in CALLS.items()}}
        self._numbers[1] = {name: number for number, name in DRIVER_CALLS.items()}
        self._times = itertools.cycle([1000, 9000])

    def _gather(self) -> None:
        """See `StandIn`."""

    def cuptiActivityFlushAll(self, flag: int) -> int:  # noqa: N802
        self._pending = work()
        return super().cuptiActivityFlushAll(flag)

    def cuptiGetCallbackName(self, domain: int, number: int, text: Any) -> int:  # noqa: N802
        known = super().cuptiGetCallbackName(domain, number, text) == 0
        text._obj.value = text._obj.value if known else b"cudaGetLastError_v3020"
        return 0 if number < 320 else 1

    def cuptiGetTimestamp(self, time_ns: Any) -> int:  # noqa: N802
        time_ns._obj.value = next(self._times)
        return 0


@pytest.fixture
def cupti(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandIn:
    standin = Worked(tmp_path / "log")
    monkeypatch.setattr(contenders, "load", lambda _: standin)
    monkeypatch.setattr(contenders, "find_library", lambda: "libcupti.so")
    return standin


def test_records_become_what_stats_says(cupti: StandIn) -> None:
    tool = ByCtypes()
    tool.start(KINDS["all"])
    assert cupti.enabled | {4, 5} == {*KINDS["all"]}
    assert cupti.calls == {1: {307, 5}, 2: {211, 41, 165}}
    with tool.range(f"{RANGE}all"):
        pass
    tool.stop(KINDS["all"])
    assert not cupti.enabled
    assert not any(cupti.calls.values())
    found = metrics_of(trace_of(tool.session()), ["all", "none"])
    metrics = found["all"]
    assert (metrics["gpu.kernel_count"], metrics["gpu.kernel_time"]) == (2, 500)
    assert "no NVTX range" in str(found["none"]["error"])
    assert not tool.read()


def test_a_process_of_the_spike(cupti: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> Any:
        raise ModuleNotFoundError("No module named 'cupy'")

    programs = {"torch": {"gemm": lambda: lambda: None, "cupy": absent}}
    monkeypatch.setattr(inside, "GROUPS", programs)
    monkeypatch.setattr(inside, "_import", lambda _: lambda: None)
    monkeypatch.setattr(inside, "_tiny", lambda: (lambda: None, lambda: None))
    monkeypatch.setattr(inside, "LAUNCHES", 3)
    found = inside.run("ctypes", "torch")
    assert found["programs"]["gemm"]["gpu.kernel_count"] == 2
    assert "No module named 'cupy'" in found["problems"]["cupy"]
    assert (found["records"], len(found["launch_us"])) == (len(work()), inside.REPEATS)
    assert found["kinds"].keys() == {"none", *KINDS}
    assert {cost["records"] for name, cost in found["kinds"].items() if name != "none"} == {
        len(work())
    }
    assert inside.run("bare", "torch")["programs"] == {"gemm": {}}


def test_each_field_has_an_attribute_of_cupti_python() -> None:
    for kind, fields in FIELDS.items():
        read = {*ATTRIBUTES[kind].values()}
        assert read == fields.keys() - ({"name"} if kind == KERNEL else set())


def test_the_table_says_what_is_not_equal() -> None:
    same = {"gpu.kernel_count": 2, "gpu.kernel_time": 1000, "sync.count": 1}
    other = {**same, "gpu.kernel_time": 1020, "sync.count": 2}
    sides = {"programs": {"gemm": same, "graph": same}, "launch_us": [2.0], "process_s": 9}
    ours = {"programs": {"gemm": same, "graph": other}, "problems": {"cupy": "No module"}}
    ours |= {"launch_us": [3.0], "process_s": 8, "records": 10_000, "callbacks": 3}
    ours |= {"stop_s": 0.1, "read_s": 0.02, "reading_in_callbacks_s": 0.0}
    runs = {("torch", "ctypes"): ours, ("torch", "nsys"): sides}
    rows = {row["program"]: row for row in spike.equality(runs)}
    assert rows["gemm"]["apart"] == []
    assert rows["graph"]["apart"] == ["sync.count", "gpu.kernel_time"]
    assert (rows["cupy"]["problem"], rows["cupy"]["apart"]) == ("No module", [])
    assert rows["attention"]["apart"] == ["all"]
    results = {"equality": [*rows.values()], "costs": spike.costs(runs), "seconds": 1.0}
    named = {f"{group}: {mode}": run for (group, mode), run in runs.items()}
    versions = dict.fromkeys(spike._PACKAGES, "1")
    text = "\n".join(spike.lines({**results, "runs": named, **versions}))
    assert "sync.count 1 -> 2, gpu.kernel_time" in text
    assert "0.0200" in text
