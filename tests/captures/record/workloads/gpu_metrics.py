"""Phases that a sampled GPU shows: matrix products, copies on the device, copies to it, nothing."""

from __future__ import annotations

import time

import torch
from torch.cuda import nvtx


def main() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    out = torch.empty_like(matrix)
    source = torch.randn(2**28, device="cuda")
    target = torch.empty_like(source)
    host = torch.ones(2**26, pin_memory=True)
    torch.mm(matrix, matrix, out=out)
    target.copy_(source)
    torch.cuda.synchronize()
    torch.cuda.profiler.start()
    with nvtx.range("compute bound"):
        for _ in range(40):
            torch.mm(matrix, matrix, out=out)
        torch.cuda.synchronize()
    with nvtx.range("memory bound"):
        for _ in range(100):
            torch.mul(source, 2.0, out=target)
        torch.cuda.synchronize()
    with nvtx.range("transfers"):
        for _ in range(10):
            target[: 2**26].copy_(host, non_blocking=True)
        torch.cuda.synchronize()
    with nvtx.range("small"):
        for _ in range(300):
            out[:8, :8].add_(1)
        torch.cuda.synchronize()
    with nvtx.range("idle"):
        time.sleep(0.05)
    torch.cuda.profiler.stop()


if __name__ == "__main__":
    main()
