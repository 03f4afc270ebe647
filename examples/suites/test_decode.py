"""PyTorch: decoding through a CUDA graph, one launch for all kernels of a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_nsys import Nsys

pytestmark = pytest.mark.nsys

TOKENS, LAYERS, WIDTH = 16, 8, 2048


def captured(torch: Any, function: Callable[[], None]) -> Callable[[], None]:
    """The function as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        function()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    replay: Callable[[], None] = graph.replay
    return replay


@pytest.mark.nsys(require=["cudaGraphLaunch"], forbid=["cudaLaunchKernel*", "h2d *"])
def test_decode(torch: Any, nsys: Nsys, slip: bool) -> None:
    """Kernels in a graph are measured as all others are.

    The slip: no graph was captured of a batch so large, and each kernel is launched by itself.
    """
    layers = [
        torch.nn.Linear(WIDTH, WIDTH, device="cuda", dtype=torch.bfloat16) for _ in range(LAYERS)
    ]
    state = torch.randn(8, WIDTH, device="cuda", dtype=torch.bfloat16)

    def token() -> None:
        x = state
        for layer in layers:
            x = torch.nn.functional.silu(layer(x))
        state.copy_(x)

    with torch.no_grad():
        step = token if slip else captured(torch, token)

        def decode() -> None:
            for _ in range(TOKENS):
                step()
            nsys.units(tokens=TOKENS)

        nsys(decode)
