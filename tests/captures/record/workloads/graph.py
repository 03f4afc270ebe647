"""A CUDA graph of kernels, a copy and memsets, captured in PyTorch and replayed; eager work."""

from __future__ import annotations

import torch
from torch import nn
from torch.cuda import nvtx

REPLAYS = 10


def main() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(512, 1024), nn.GELU(), nn.LayerNorm(1024), nn.Linear(1024, 512)
    ).cuda()
    source = torch.randn(256, 512, device="cuda")
    kept = torch.empty(256, 512, device="cuda")
    counts = torch.ones(2**16, dtype=torch.uint8, device="cuda")

    def step() -> torch.Tensor:
        counts.zero_()
        result = model(source).softmax(dim=-1)
        kept.copy_(result)
        return result.sum()

    with torch.no_grad():
        with nvtx.range("warmup"):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    step()
            torch.cuda.current_stream().wait_stream(side)
            torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with nvtx.range("capture"), torch.cuda.graph(graph):
            step()
        with nvtx.range("eager"):
            for _ in range(REPLAYS):
                step()
            torch.cuda.synchronize()
        with nvtx.range("replays"):
            for number in range(REPLAYS):
                with nvtx.range(f"replay {number}"):
                    graph.replay()
            torch.cuda.synchronize()
        with nvtx.range("mixed"):
            for _ in range(REPLAYS):
                source.mul_(1.01)
                graph.replay()
            torch.cuda.synchronize()


if __name__ == "__main__":
    main()
