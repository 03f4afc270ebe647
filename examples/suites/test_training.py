"""PyTorch: training steps that never wait for the GPU, each of their parts measured apart."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nsys import Nsys

pytestmark = pytest.mark.nsys

STEPS, BATCH, WIDTH = 4, 512, 1024


@pytest.mark.nsys(budget={"sync.count": 0})
def test_training(torch: Any, nsys: Nsys, slip: bool) -> None:
    """The slip: the loss is read in each step, for a log, and the host waits each time."""
    model = torch.nn.Sequential(
        torch.nn.Linear(WIDTH, 4 * WIDTH), torch.nn.GELU(), torch.nn.Linear(4 * WIDTH, WIDTH)
    ).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    batch = torch.randn(BATCH, WIDTH, device="cuda")
    log = []

    def train() -> None:
        for _ in range(STEPS):
            with nsys.range("forward"), torch.autocast("cuda", dtype=torch.bfloat16):
                loss = (model(batch) - batch).square().mean()
            with nsys.range("backward"):
                loss.backward()
            with nsys.range("optimizer"):
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            log.append(loss.item() if slip else loss.detach())
        nsys.units(samples=STEPS * BATCH)
        log.clear()

    nsys(train)
