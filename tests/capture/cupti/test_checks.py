"""Whether CUPTI has recorded what it was to."""

from __future__ import annotations

import pytest

from pytest_nsys.capture.cupti.checks import has_wait, unrecorded_launches
from pytest_nsys.capture.cupti.records import (
    DRIVER,
    KERNEL,
    RUNTIME,
    Records,
    offsets_by_kind,
    read_records,
    sizes_of,
)
from tests.simgpu.cupti import VERSION, record
from tests.support.cupti_work import as_bytes

NAMES = {1: "cudaLaunchKernel_v7000", 2: "cudaStreamBeginCapture_v10000", 4: "cudaMemcpy_v3020"}
NAMES |= {3: "cudaStreamEndCapture_v10000", 5: "cudaLaunchHostFunc_v10000"}
DRIVER_NAMES = {1: "cuLaunchKernelEx", 2: "cuCtxSynchronize_v2", 3: "cuCtxGetCurrent"}


def call_name(runtime: bool, number: int) -> str:
    return (NAMES if runtime else DRIVER_NAMES)[number]


def found(*records: bytes) -> Records:
    data = as_bytes(*records)
    return read_records([data], lambda one: offsets_by_kind(one, sizes_of(VERSION)))


def call(number: int, at: int, kind: int = RUNTIME, **more: int) -> bytes:
    return record(kind, cbid=number, start=at, end=at + 5, correlation=at, **more)


@pytest.mark.parametrize(
    ("records", "lost"),
    [
        ([], 0),
        ([call(1, 10), record(KERNEL, correlation=10)], 0),
        ([call(1, 10), call(1, 20), record(KERNEL, correlation=10)], 1),
        ([call(1, 10, DRIVER)], 1),
        ([call(1, 10), call(1, 10, DRIVER), record(KERNEL, correlation=10)], 0),
        ([call(1, 10, result=719)], 0),
        ([call(4, 10), call(5, 20)], 0),
        ([call(2, 10), call(1, 20), call(3, 30), call(1, 40)], 1),
        ([call(2, 10), call(1, 20), call(3, 30), call(2, 50), call(1, 60), call(3, 70)], 0),
        ([call(2, 10), call(1, 20)], 0),
    ],
)
def test_a_launch_has_a_kernel_unless_it_is_captured_or_fails(
    records: list[bytes], lost: int
) -> None:
    assert unrecorded_launches(found(*records), call_name) == lost


def test_a_wait_is_one_that_began_then_or_later() -> None:
    records = found(call(2, 10, DRIVER), call(3, 20, DRIVER), call(1, 30))
    assert has_wait(records, 10, call_name)
    assert not has_wait(records, 11, call_name)
    assert not has_wait({}, 0, call_name)
