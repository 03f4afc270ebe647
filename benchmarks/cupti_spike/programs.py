"""What is captured: programs by name, each a function that prepares and returns what one round is.

They do the same in every process, so that counts and bytes have to be equal whoever records them.
"""

from __future__ import annotations

import importlib.util
import inspect
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

Work = Callable[[], object]
Program = Callable[[], Work]


def gemm() -> Work:
    import torch

    a, b = (torch.randn(4096, 4096, device="cuda", dtype=torch.float16) for _ in range(2))
    return lambda: a @ b


def attention() -> Work:
    import torch

    q, k, v = (torch.randn(4, 16, 2048, 64, device="cuda", dtype=torch.float16) for _ in range(3))
    return lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def training() -> Work:
    import torch

    model = torch.nn.Sequential(
        torch.nn.Linear(1024, 4096), torch.nn.GELU(), torch.nn.Linear(4096, 1024)
    ).cuda()
    optimizer = torch.optim.Adam(model.parameters())
    host = torch.randn(256, 1024)

    def step() -> None:
        loss = model(host.cuda()).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()

    return step


def graph() -> Work:
    import torch

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
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded):
            token()
    return recorded.replay


def threads() -> Work:
    """Four threads that launch on streams of their own, and wait there."""
    import torch

    matrices = [torch.randn(512, 512, device="cuda") for _ in range(4)]

    def one(matrix: Any) -> None:
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(10):
                matrix @ matrix
        stream.synchronize()

    def all_of_them() -> None:
        started = [threading.Thread(target=one, args=(matrix,)) for matrix in matrices]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()

    return all_of_them


def memory() -> Work:
    """Allocations of the driver, of which the caching allocator otherwise keeps all."""
    import torch

    def grow() -> None:
        kept = [torch.empty(64 * 2**20, dtype=torch.uint8, device="cuda") for _ in range(4)]
        torch.cuda.synchronize()
        del kept
        torch.cuda.empty_cache()

    return grow


def triton() -> Work:
    import torch
    import triton as package
    import triton.language as tl

    @package.jit
    def add(x, y, out, n, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        mask = at < n
        tl.store(out + at, tl.load(x + at, mask=mask) + tl.load(y + at, mask=mask), mask=mask)

    x, y = (torch.randn(2**20, device="cuda") for _ in range(2))
    out = torch.empty_like(x)
    globals()["tl"] = tl  # Triton looks its names up in the module of the function
    return lambda: add[(1024,)](x, y, out, x.numel(), BLOCK=1024)


def cupy() -> Work:
    import cupy as package

    a = package.ones((1024, 1024), dtype=package.float32)

    def one() -> None:
        b = a @ a + 1
        package.asnumpy(b[:16])

    return one


def jax() -> Work:
    import jax as package
    import jax.numpy as jnp

    @package.jit
    def forward(x: Any) -> Any:
        return jnp.tanh(x @ x).sum()

    x = jnp.ones((2048, 2048), jnp.float16)
    return lambda: forward(x).block_until_ready()


def example(name: str) -> Program:
    """The body of a test of ``examples/``."""

    def prepare() -> Work:
        import torch

        path = Path(__file__).parents[2] / "examples" / "test_examples.py"
        spec = importlib.util.spec_from_file_location("test_examples", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        test = getattr(module, name)
        nsys = _Nsys()
        hidden = torch.randn(8192, 4096, device="cuda", dtype=torch.float16)
        known = {"torch": torch, "hidden": hidden, "nsys": nsys}
        wanted = {one: known[one] for one in inspect.signature(test).parameters}
        if "nsys" not in wanted:
            return lambda: test(**wanted)
        test(**wanted)
        assert nsys.step is not None
        return nsys.step

    return prepare


class _Nsys:
    """The fixture ``nsys`` as the examples use it: it keeps what a round is."""

    step: Work | None = None

    def __call__(self, step: Work, *_: object, **__: object) -> None:
        self.step = step
        step()

    def range(self, _: str) -> Any:
        return nullcontext()

    def units(self, **_: float) -> None:
        pass


GROUPS: Mapping[str, Mapping[str, Program]] = {
    "torch": {
        "gemm": gemm,
        "attention": attention,
        "training": training,
        "graph": graph,
        "threads": threads,
        "memory": memory,
        "triton": triton,
        "cupy": cupy,
        **{
            f"examples: {name}": example(f"test_{name}")
            for name in ("gemm", "gelu", "training_step", "decode")
        },
    },
    "jax": {"jax": jax},
}
"""Programs by the process in which they run, one after another."""
