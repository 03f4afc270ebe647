"""A child that is forked before CUDA is used, and uses it; the parent waits and then does too.

With the argument ``exit`` the child ends as those of multiprocessing do, in ``os._exit``.
"""

from __future__ import annotations

import os
import sys
import time

import torch
from torch.cuda import nvtx


def work(name: str) -> None:
    matrix = torch.ones(512, 512, device="cuda")
    for _ in range(5):
        with nvtx.range(f"{name} step"):
            (matrix @ matrix).sum().item()
    torch.cuda.synchronize()


def main() -> None:
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        work("forked")
        print(f"child done after {time.monotonic() - begin:.1f} s", flush=True)
        if sys.argv[1:] == ["exit"]:
            os._exit(0)
        return
    _, status = os.waitpid(child, 0)
    print(f"child: wait status {status} after {time.monotonic() - begin:.1f} s", flush=True)
    work("parent")


if __name__ == "__main__":
    main()
