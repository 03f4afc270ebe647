"""One process with two devices: work on both at once, copies between them in both directions."""

from __future__ import annotations

import ctypes

import torch
from torch.cuda import nvtx

MIB = 2**20
STEPS = 10


def main() -> None:
    torch.manual_seed(0)
    matrices = [torch.randn(4096, 4096, device=f"cuda:{d}").bfloat16() for d in range(2)]
    blocks = [torch.ones(64 * MIB, dtype=torch.uint8, device=f"cuda:{d}") for d in range(2)]
    print("peer access:", torch.cuda.can_device_access_peer(0, 1))

    def synchronize() -> None:
        for device in range(2):
            torch.cuda.synchronize(device)

    with nvtx.range("warmup"):
        blocks[0].to("cuda:1")
        blocks[1].to("cuda:0")
        for matrix in matrices:
            matrix @ matrix
        synchronize()
    torch.cuda.profiler.start()  # for captures that use a range; others are not changed by it
    with nvtx.range("compute on both"):
        for _ in range(STEPS):
            for matrix in matrices:
                matrix @ matrix
        synchronize()
    for source, target in ((0, 1), (1, 0)):
        with nvtx.range(f"copies {source} to {target}"):
            for _ in range(STEPS):
                blocks[source].to(f"cuda:{target}", non_blocking=True)
            synchronize()
    with nvtx.range("copies beside compute"):
        side = torch.cuda.Stream(0)
        for _ in range(STEPS):
            with torch.cuda.stream(side):
                blocks[1].copy_(blocks[0], non_blocking=True)
            matrices[0] @ matrices[0]
        synchronize()
    runtime = ctypes.CDLL("libcudart.so.13")
    pointer, number = ctypes.c_void_p, ctypes.c_int
    runtime.cudaMemcpyPeer.argtypes = (pointer, number, pointer, number, ctypes.c_size_t)
    with nvtx.range("cudaMemcpyPeer"):
        for _ in range(STEPS):
            error = runtime.cudaMemcpyPeer(
                blocks[1].data_ptr(), 1, blocks[0].data_ptr(), 0, 64 * MIB
            )
            if error:
                raise RuntimeError(f"cudaMemcpyPeer: error {error}")
        synchronize()
    with nvtx.range("device 1 alone"), torch.cuda.device(1):
        for _ in range(STEPS):
            matrices[1] @ matrices[1]
        torch.cuda.synchronize()
    torch.cuda.profiler.stop()


if __name__ == "__main__":
    main()
