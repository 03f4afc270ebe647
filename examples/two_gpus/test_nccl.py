"""NCCL: gradients that are summed over two GPUs while both compute.

There is no recording of it, as there is of the other suites. Where there are two GPUs,
``record.py --suites two_gpus --out DIR`` makes one, with its baseline, and tries the slip.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from pytest_nsys import Nsys

SLIP = os.environ.get("EXAMPLES_REGRESSION") == "1"
GPUS, LAYERS, SIZE = range(2), 4, 4096


@pytest.fixture(scope="module")
def torch() -> Any:
    module = pytest.importorskip("torch")
    if module.cuda.device_count() < len(GPUS):
        pytest.skip("needs two GPUs")
    return module


@pytest.mark.nsys(
    gpus=2, require=["nccl*AllReduce*"], tolerance={"nccl.exposed": ("20%", "200 us")}
)
def test_gradients(torch: Any, nsys: Nsys) -> None:
    """The gradients of one layer are summed beside the products of the next.

    The slip: on the stream that computes, so that all waits for communication.
    """
    gradients = [torch.ones(16 << 20, device=f"cuda:{gpu}") for gpu in GPUS]
    matrices = [torch.ones(SIZE, SIZE, device=f"cuda:{gpu}", dtype=torch.bfloat16) for gpu in GPUS]
    compute = [torch.cuda.current_stream(gpu) for gpu in GPUS]
    beside = compute if SLIP else [torch.cuda.Stream(gpu) for gpu in GPUS]

    def backward() -> None:
        for _ in range(LAYERS):
            for own, other in zip(compute, beside, strict=True):
                other.wait_stream(own)  # the gradients are there
            torch.cuda.nccl.all_reduce(gradients, streams=beside)
            for matrix in matrices:
                matrix @ matrix
        for own, other in zip(compute, beside, strict=True):
            own.wait_stream(other)

    nsys(backward)
