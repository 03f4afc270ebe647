"""Collectives of NCCL over two processes: alone, hidden beneath matrix products, and in DDP."""

from __future__ import annotations

import os

# Multicast over NVLink is off on machines whose switch is shared; no network is needed.
os.environ["NCCL_NVLS_ENABLE"] = "0"
os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import nn
from torch.cuda import nvtx

RANKS = 2
STEPS = 6


def work(rank: int) -> None:
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29511")
    torch.cuda.set_device(rank)
    torch.manual_seed(rank)
    dist.init_process_group(
        "nccl", rank=rank, world_size=RANKS, device_id=torch.device("cuda", rank)
    )
    matrix = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    data = torch.randn(2**24, device="cuda")
    parts = torch.empty(RANKS * 2**24, device="cuda")
    with nvtx.range("warmup"):
        matrix @ matrix
        dist.all_reduce(data)
        torch.cuda.synchronize()
    with nvtx.range("exposed"):
        for _ in range(STEPS):
            with nvtx.range("step"):
                matrix @ matrix
                dist.all_reduce(data)
        torch.cuda.synchronize()
    with nvtx.range("hidden"):
        for _ in range(STEPS):
            with nvtx.range("step"):
                pending = dist.all_reduce(data, async_op=True)
                for _ in range(4):
                    matrix @ matrix
                pending.wait()
        torch.cuda.synchronize()
    with nvtx.range("others"):
        dist.all_gather_into_tensor(parts, data)
        dist.reduce_scatter_tensor(data, parts)
        dist.broadcast(data, 0)
        torch.cuda.synchronize()
    with nvtx.range("ddp"):
        train(rank)
    dist.destroy_process_group()


def train(rank: int) -> None:
    net = nn.Sequential(*(nn.Linear(2048, 2048) for _ in range(6))).cuda()
    model = nn.parallel.DistributedDataParallel(net, device_ids=[rank], bucket_cap_mb=20)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    inputs = torch.randn(1024, 2048, device="cuda")
    for _ in range(STEPS):
        with nvtx.range("train"):
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            optimizer.step()
    torch.cuda.synchronize()


if __name__ == "__main__":
    torch.multiprocessing.spawn(work, nprocs=RANKS)
