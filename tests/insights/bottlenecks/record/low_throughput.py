"""Phases in which kernels run all the time and do not get out of the GPU what is in it.

Recorded on an H200 with nsys 2025.3 and, beside the flags of the project,
``--gpu-metrics-devices=0 --gpu-metrics-frequency=10000 --capture-range=cudaProfilerApi
--capture-range-end=stop``; scrubbed with ``pytest_nsys.storage.recordings.recording.scrub``.
"""

from __future__ import annotations

import torch
from torch.cuda import nvtx


def few_blocks() -> None:
    """Softmax over few, long rows: a block each."""
    rows = torch.randn(8, 2**22, device="cuda")
    for _ in range(20):
        rows.softmax(dim=-1)


def fp32_products() -> None:
    """Products in fp32, which do not run on tensor cores."""
    matrix = torch.randn(4096, 4096, device="cuda")
    for _ in range(15):
        matrix @ matrix


def thin_products() -> None:
    """Products with one row, as in decoding: limited by memory, as they should be."""
    weights = torch.randn(16384, 16384, device="cuda", dtype=torch.bfloat16)
    row = torch.randn(1, 16384, device="cuda", dtype=torch.bfloat16)
    for _ in range(200):
        row @ weights


def main() -> None:
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = False
    phases = (few_blocks, fp32_products, thin_products)
    for phase in phases:
        phase()
    torch.cuda.synchronize()
    torch.cuda.profiler.start()
    for phase in phases:
        with nvtx.range(phase.__name__):
            phase()
            torch.cuda.synchronize()
    torch.cuda.profiler.stop()


if __name__ == "__main__":
    main()
