"""One range per bottleneck, and ranges without one."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

import torch
from torch.cuda import nvtx

Body = Callable[[], None]

MIB = 2**20
H2D, D2H = 1, 2


def runtime() -> ctypes.CDLL:
    """The CUDA runtime that PyTorch has loaded, for what PyTorch does not call."""
    library = ctypes.CDLL("libcudart.so.13")
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    library.cudaMalloc.argtypes = (pointer, size)
    library.cudaFree.argtypes = (pointer,)
    library.cudaMemcpy.argtypes = (pointer, pointer, size, ctypes.c_int)
    library.cudaMemset.argtypes = (pointer, ctypes.c_int, size)
    return library


CUDART = runtime()


def check(error: int) -> None:
    if error:
        raise RuntimeError(f"CUDA error {error}")


def matrix(size: int) -> torch.Tensor:
    return torch.randn(size, size, device="cuda", dtype=torch.bfloat16)


def pinned(size: int) -> torch.Tensor:
    return torch.ones(size, dtype=torch.uint8, pin_memory=True)


def host_bound() -> Body:
    small = matrix(1024)

    def body() -> None:
        for _ in range(30):
            small @ small
            time.sleep(0.001)

    return body


def sync_bound() -> Body:
    small = matrix(1024)

    def body() -> None:
        for _ in range(60):
            (small @ small).sum().item()

    return body


def launch_bound() -> Body:
    tiny = torch.zeros(64, device="cuda")

    def body() -> None:
        for _ in range(500):
            tiny.add_(1)

    return body


def transfer_bound() -> Body:
    host = pinned(64 * MIB)
    device = torch.empty(64 * MIB, dtype=torch.uint8, device="cuda")

    def body() -> None:
        for _ in range(10):
            device.copy_(host, non_blocking=True)
            device.add_(1)
            host.copy_(device, non_blocking=True)

    return body


def pageable() -> Body:
    host = torch.ones(16 * MIB, dtype=torch.uint8)
    device = torch.empty(16 * MIB, dtype=torch.uint8, device="cuda")

    def body() -> None:
        for _ in range(10):
            device.copy_(host, non_blocking=True)
            device.add_(1)
            host.copy_(device, non_blocking=True)

    return body


def synchronous() -> Body:
    host = pinned(4 * MIB)
    device = torch.empty(4 * MIB, dtype=torch.uint8, device="cuda")

    def body() -> None:
        for _ in range(30):
            check(CUDART.cudaMemset(device.data_ptr(), 0, 4 * MIB))
            check(CUDART.cudaMemcpy(device.data_ptr(), host.data_ptr(), 4 * MIB, H2D))
            check(CUDART.cudaMemcpy(host.data_ptr(), device.data_ptr(), 4 * MIB, D2H))

    return body


def one_kernel() -> Body:
    large, small = matrix(8192), matrix(1024)

    def body() -> None:
        for _ in range(5):
            large @ large
            (small * 2).relu_().sum()
            small.softmax(dim=-1)

    return body


def allocation() -> Body:
    small = matrix(1024)

    def body() -> None:
        address = ctypes.c_void_p()
        for _ in range(60):
            check(CUDART.cudaMalloc(ctypes.byref(address), 8 * MIB))
            small @ small
            check(CUDART.cudaFree(address))

    return body


def no_overlap() -> Body:
    """Copies and products of about the same length, one after the other."""
    host, work = pinned(32 * MIB), matrix(6144)
    device = torch.empty(32 * MIB, dtype=torch.uint8, device="cuda")

    def body() -> None:
        for _ in range(16):
            device.copy_(host, non_blocking=True)
            work @ work

    return body


def overlap() -> Body:
    """The same on two streams."""
    host, work = pinned(32 * MIB), matrix(6144)
    device = torch.empty(32 * MIB, dtype=torch.uint8, device="cuda")
    copies = torch.cuda.Stream()

    def body() -> None:
        copies.wait_stream(torch.cuda.current_stream())
        for _ in range(16):
            with torch.cuda.stream(copies):
                device.copy_(host, non_blocking=True)
            work @ work
        torch.cuda.current_stream().wait_stream(copies)

    return body


def healthy() -> Body:
    """Large kernels of several kinds in a queue that never runs dry, copies hidden beneath."""
    work, other = matrix(5120), matrix(4096)
    images = torch.randn(256, 64, 56, 56, device="cuda", dtype=torch.bfloat16)
    weights = torch.randn(64, 64, 3, 3, device="cuda", dtype=torch.bfloat16)
    wide = torch.randn(8192, 16384, device="cuda", dtype=torch.bfloat16)
    host = pinned(8 * MIB)
    device = torch.empty(8 * MIB, dtype=torch.uint8, device="cuda")
    copies = torch.cuda.Stream()

    def body() -> None:
        copies.wait_stream(torch.cuda.current_stream())
        for _ in range(20):
            with torch.cuda.stream(copies):
                device.copy_(host, non_blocking=True)
            work @ work
            torch.conv2d(images, weights, padding=1)
            wide.softmax(dim=-1)
            torch.nn.functional.layer_norm(wide, (16384,))
            torch.nn.functional.gelu(other @ other)
        torch.cuda.current_stream().wait_stream(copies)

    return body


PHASES: tuple[Callable[[], Body], ...] = (
    host_bound,
    sync_bound,
    launch_bound,
    transfer_bound,
    pageable,
    synchronous,
    one_kernel,
    allocation,
    no_overlap,
    overlap,
    healthy,
)


def main() -> None:
    torch.manual_seed(0)
    for phase in PHASES:
        with nvtx.range("warmup"):
            body = phase()
            body()
            torch.cuda.synchronize()
        with nvtx.range(phase.__name__):
            body()
            torch.cuda.synchronize()


if __name__ == "__main__":
    main()
