"""A parent, a spawned child and a child program that share one GPU at the same time."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys

import nvtx
import torch

STEPS = 10


def work(name: str, size: int) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(size, size, device="cuda")
    host = torch.empty(size, size, pin_memory=True)
    for step in range(STEPS):
        with nvtx.annotate(f"{name} step"):
            with nvtx.annotate("compute"):
                product = (matrix @ matrix).relu()
            with nvtx.annotate("copy"):
                host.copy_(product, non_blocking=True)
            torch.cuda.synchronize()
        if step == STEPS // 2:
            torch.cuda.empty_cache()


def main() -> None:
    if sys.argv[1:] == ["child"]:
        work("program", 1024)
        return
    spawned = multiprocessing.get_context("spawn").Process(target=work, args=("spawned", 768))
    spawned.start()
    with subprocess.Popen([sys.executable, __file__, "child"]) as program:
        with nvtx.annotate("parent"):
            work("parent", 512)
        spawned.join(20)
        program.wait(20)


if __name__ == "__main__":
    main()
