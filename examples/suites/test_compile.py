"""torch.compile: what was fused into one kernel stays one kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_nsys import Nsys

pytestmark = pytest.mark.nsys


@pytest.fixture(scope="module")
def gated_norm(torch: Any, slip: bool) -> Callable[..., Any]:
    def gated_norm(x: Any, gate: Any, weight: Any) -> Any:
        y = x * torch.nn.functional.silu(gate)
        if slip and not torch.isfinite(y).all():
            raise FloatingPointError("gated_norm")
        return weight * y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-6)

    compiled: Callable[..., Any] = torch.compile(gated_norm)
    return compiled


@pytest.mark.nsys(budget={"gpu.kernel_count": 1})
def test_gated_norm(torch: Any, nsys: Nsys, gated_norm: Callable[..., Any]) -> None:
    """Two elementwise functions and a norm in a single pass.

    The slip: a check that looks at a value. The graph breaks there, and the host waits.
    """
    x, gate = (torch.randn(8192, 4096, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    weight = torch.ones(4096, device="cuda", dtype=torch.bfloat16)
    nsys(gated_norm, x, gate, weight)
