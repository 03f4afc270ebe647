"""What a project's GPU performance tests look like.

    pytest examples --nsys-update      record baselines (on a machine with a GPU and nsys)
    pytest examples --nsys-baseline    the gate
    pytest examples                    the same tests as ordinary tests; skipped without PyTorch

EXAMPLES_REGRESSION=1 makes the slips that the demonstration shows being caught.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from pytest_nsys import Nsys

pytestmark = pytest.mark.nsys(warmup=2, rounds=7)

SLIP = os.environ.get("EXAMPLES_REGRESSION") == "1"


@pytest.fixture(scope="module")
def torch() -> Any:
    module = pytest.importorskip("torch")
    if not module.cuda.is_available():
        pytest.skip("needs a GPU")
    return module


@pytest.fixture
def hidden(torch: Any) -> Any:
    torch.manual_seed(0)
    return torch.randn(8192, 4096, device="cuda", dtype=torch.float16)


@pytest.mark.nsys(budget={"memcpy.h2d.count": 0, "memcpy.d2h.count": 0})
def test_gemm(torch: Any, hidden: Any) -> None:
    """Nothing but a matrix product: its kernel time is steady to a few tenths of a percent."""
    weight = torch.randn(4096, 4096, device="cuda", dtype=torch.float16)
    for _ in range(4):
        hidden @ weight


def test_gelu(torch: Any, hidden: Any) -> None:
    """An elementwise function. The slip: written out in parts, each a pass over memory."""
    if SLIP:
        0.5 * hidden * (1.0 + torch.erf(hidden * 0.7071067811865476))
    else:
        torch.nn.functional.gelu(hidden)


def test_training_step(torch: Any, nsys: Nsys) -> None:
    """Forward, backward and optimizer apart. The slip: a loss that is read in every step."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(1024, 4096), torch.nn.GELU(), torch.nn.Linear(4096, 1024)
    ).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    data = torch.randn(256, 1024, device="cuda")

    def step() -> None:
        with nsys.range("forward"):
            loss = model(data).square().mean()
        with nsys.range("backward"):
            loss.backward()
        with nsys.range("optimizer"):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if SLIP:
            loss.item()
        nsys.units(samples=256)

    nsys(step)


@pytest.mark.nsys(forbid=["*memcpy*HtoD*", "cudaStreamSynchronize"])
def test_decode(torch: Any, nsys: Nsys) -> None:
    """Token by token through a CUDA graph: its kernels are seen, one launch a token."""
    layers = [torch.nn.Linear(2048, 2048, device="cuda", dtype=torch.float16) for _ in range(8)]
    state = torch.randn(1, 2048, device="cuda", dtype=torch.float16)

    def token() -> None:
        x = state
        for layer in layers:
            x = torch.nn.functional.silu(layer(x))
        state.copy_(x)

    with torch.no_grad():
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            token()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            token()

    def decode() -> None:
        for _ in range(16):
            graph.replay()
        nsys.units(tokens=16)

    nsys(decode)


def test_attention(torch: Any) -> None:
    """Attention. The slip: the fused kernel is lost to one that materialises the scores."""
    torch.manual_seed(0)
    shape = (4, 16, 1024, 64)
    query, key, value = (torch.randn(shape, device="cuda", dtype=torch.float16) for _ in range(3))
    if SLIP:
        scores = (query @ key.transpose(-1, -2)) * 0.125
        torch.softmax(scores, dim=-1) @ value
    else:
        torch.nn.functional.scaled_dot_product_attention(query, key, value)


@pytest.mark.nsys(tolerance={"memcpy.h2d.time": "15%"})
def test_upload(torch: Any) -> None:
    """Pinned memory to the device. The slip: one more copy."""
    batch = torch.empty(16 << 20, dtype=torch.uint8, pin_memory=True)
    batch.to("cuda", non_blocking=True)
    if SLIP:
        batch[: 4 << 20].to("cuda", non_blocking=True)
