"""Measurements made by hand and by hypothesis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

from pytest_nsys.catalogue import METRICS, Breakdown
from pytest_nsys.cuda.names import cuda_version
from pytest_nsys.measure.measurement import (
    Environment,
    Measurement,
    Part,
    Parts,
    WindowMeasurement,
    largest_first,
)
from pytest_nsys.windows.record import MAIN

ENVIRONMENT = Environment("NVIDIA H200", "580.1", "13.0", "2025.3.2", ("--trace=cuda,nvtx",))


def window(
    samples: Mapping[str, Sequence[float]],
    *parts: Part,
    kind: Breakdown = "kernels",
    name: str = MAIN,
    units: Mapping[str, float] | None = None,
) -> WindowMeasurement:
    """A window of one process with one breakdown."""
    return WindowMeasurement(
        name,
        {key: (tuple(map(float, values)),) for key, values in samples.items()},
        units or {},
        {kind: Parts(tuple(sorted(parts, key=largest_first)))} if parts else {},
    )


def kernels(*parts: Part, name: str = MAIN, rounds: int = 5, **units: float) -> WindowMeasurement:
    """A window of kernels alone; its totals are those of the kernels."""
    samples = {
        "gpu.kernel_time": [sum(part.ns for part in parts)] * rounds,
        "gpu.kernel_count": [sum(part.count for part in parts)] * rounds,
    }
    return window(samples, *parts, name=name, units=units)


def measurement(
    *windows: WindowMeasurement,
    nodeid: str = "t.py::test",
    device: str = "nvidia-h200",
    warmup: int = 1,
    environment: Environment = ENVIRONMENT,
) -> Measurement:
    """A measurement of windows."""
    by_name = {part.name: part for part in windows}
    return Measurement(nodeid, device, warmup, 5, by_name, environment)


# Numbers that three decimals hold exactly.
numbers = st.one_of(st.integers(0, 2**53).map(float), st.integers(0, 2**40).map(lambda n: n / 8))
texts = st.text(max_size=12)
parts = st.builds(
    Part,
    label=texts,
    count=numbers,
    ns=numbers,
    bytes=numbers,
    category=st.sampled_from(["", "gemm", "other"]),
)


def _in_order(found: Sequence[Part]) -> Parts:
    return Parts(tuple(sorted(found, key=largest_first)))


breakdowns = st.dictionaries(
    st.sampled_from(["kernels", "copies", "syncs", "calls", "memsets", "allocations"]),
    st.lists(parts, min_size=1, max_size=4, unique_by=lambda part: part.label).map(_in_order),
)
processes = st.lists(
    st.lists(numbers, min_size=1, max_size=40).map(tuple), min_size=1, max_size=3
).map(tuple)
windows = st.builds(
    WindowMeasurement,
    name=st.just(""),
    samples=st.dictionaries(
        st.one_of(st.sampled_from([metric.key for metric in METRICS]), texts), processes, max_size=4
    ),
    units=st.dictionaries(texts, st.integers(1, 2**30).map(float), max_size=2),
    breakdown=breakdowns,
    precision=st.sampled_from(["", "bf16"]),
)


def _named(found: Mapping[str, WindowMeasurement]) -> dict[str, WindowMeasurement]:
    return {
        name: WindowMeasurement(name, part.samples, part.units, part.breakdown)
        for name, part in found.items()
    }


measurements = st.builds(
    Measurement,
    nodeid=st.text(),
    device=texts,
    warmup=st.integers(0, 10),
    rounds=st.integers(1, 100),
    windows=st.dictionaries(texts, windows, max_size=3).map(_named),
    environment=st.builds(
        Environment,
        gpu=texts,
        driver=texts,
        cuda=texts.map(cuda_version),
        nsys=texts,
        trace=st.lists(texts, max_size=3).map(tuple),
        versions=st.dictionaries(texts, texts, max_size=3),
        date=texts,
        gpu_digests=st.lists(texts, max_size=2).map(tuple),
    ),
)
