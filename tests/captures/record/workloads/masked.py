"""Two programs at the same time, each of which sees one of two devices as its only one."""

from __future__ import annotations

import os
import subprocess
import sys

import torch
from torch.cuda import nvtx


def work(name: str) -> None:
    matrix = torch.randn(2048, 2048, device="cuda", dtype=torch.bfloat16)
    host = torch.ones(2**20, pin_memory=True)
    for _ in range(10):
        with nvtx.range(f"program {name}"):
            host.cuda(non_blocking=True)
            matrix @ matrix
    torch.cuda.synchronize()


def main() -> None:
    if sys.argv[1:]:
        work(sys.argv[1])
        return
    programs = [
        subprocess.Popen(
            [sys.executable, __file__, device],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": device},
        )
        for device in ("0", "1")
    ]
    codes = [program.wait(30) for program in programs]
    if any(codes):
        sys.exit(f"exit statuses {codes}")


if __name__ == "__main__":
    main()
