"""Kernels in Triton: elementwise, a softmax, and a matrix product that is autotuned."""

from __future__ import annotations

from typing import Any

import nvtx
import torch
import triton
import triton.language as tl


def briefly(call: Any, quantiles: Any) -> Any:
    return triton.testing.do_bench(call, warmup=1, rep=2, quantiles=quantiles)


@triton.jit
def add_kernel(left, right, out, size, BLOCK: tl.constexpr):  # noqa: N803
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = place < size
    tl.store(out + place, tl.load(left + place, mask) + tl.load(right + place, mask), mask)


@triton.jit
def softmax_kernel(source, out, width, BLOCK: tl.constexpr):  # noqa: N803
    row = tl.program_id(0)
    place = tl.arange(0, BLOCK)
    values = tl.load(source + row * width + place, place < width, other=-float("inf"))
    powers = tl.exp(values - tl.max(values, 0))
    tl.store(out + row * width + place, powers / tl.sum(powers, 0), place < width)


@triton.autotune(
    configs=[
        triton.Config({"BLOCK": block, "DEPTH": depth}, num_warps=warps)
        for block, depth, warps in ((64, 32, 4), (128, 32, 8), (128, 64, 8))
    ],
    key=["size"],
    do_bench=briefly,
)
@triton.jit
def matmul_kernel(left, right, out, size, BLOCK: tl.constexpr, DEPTH: tl.constexpr):  # noqa: N803
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    depth = tl.arange(0, DEPTH)
    total = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for start in range(0, size, DEPTH):
        a = tl.load(left + rows[:, None] * size + (start + depth)[None, :])
        b = tl.load(right + (start + depth)[:, None] * size + columns[None, :])
        total += tl.dot(a, b)
    tl.store(out + rows[:, None] * size + columns[None, :], total.to(tl.float16))


def main() -> None:
    torch.manual_seed(0)
    left = torch.randn(1024, 1024, device="cuda", dtype=torch.float16)
    right, out = torch.randn_like(left), torch.empty_like(left)

    def matmul() -> None:
        matmul_kernel[lambda meta: (1024 // meta["BLOCK"], 1024 // meta["BLOCK"])](
            left, right, out, 1024
        )

    with nvtx.annotate("autotune"):
        matmul()
        torch.cuda.synchronize()
    for _ in range(10):
        with nvtx.annotate("step"):
            with nvtx.annotate("add"):
                add_kernel[(left.numel() // 1024,)](left, right, out, left.numel(), BLOCK=1024)
            with nvtx.annotate("softmax"):
                softmax_kernel[(1024,)](left, out, 1024, BLOCK=1024)
            with nvtx.annotate("matmul"):
                matmul()
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
