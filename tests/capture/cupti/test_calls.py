"""Which calls are recorded: those that captures of nsys have."""

from __future__ import annotations

import csv

import pytest

from pytest_nsys.capture.cupti.calls import is_recorded
from tests.support.harness import TESTS


def test_every_call_that_nsys_has_recorded_is_recorded() -> None:
    seen = set()
    for path in (TESTS / "captures").glob("*.cuda_api_sum.csv"):
        with path.open(newline="") as file:
            seen |= {row["Name"] for row in csv.DictReader(file)}
    assert len(seen) > 80
    assert [name for name in sorted(seen) if not is_recorded(name)] == []


@pytest.mark.parametrize(
    "name",
    [
        *("cudaGetDevice_v3020", "cudaSetDevice_v3020", "cudaGetLastError_v3020"),
        *("cudaPeekAtLastError_v3020", "cudaDeviceGetAttribute_v5000", "cuCtxGetCurrent"),
        *("cudaFuncGetAttributes_v3020", "cudaGetDeviceCount_v3020", "cuPointerGetAttributes"),
        *("__cudaPushCallConfiguration_v9020", "cudaPointerGetAttributes_v4000"),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags_v7000",
    ],
)
def test_what_does_nothing_on_a_device_is_left_out_as_by_nsys(name: str) -> None:
    assert not is_recorded(name)
