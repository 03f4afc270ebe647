"""PyTorch: batches that are copied to the GPU while it computes with the one before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from pytest_nsys import Nsys

pytestmark = pytest.mark.nsys

BATCHES, SIZE = 6, 4096


def prefetched(torch: Any, batches: Sequence[Any], copies: Any) -> Iterator[Any]:
    """Each batch in device memory, while the next is copied there on a stream of its own."""
    compute = torch.cuda.current_stream()
    buffers = [torch.empty_like(batches[0], device="cuda") for _ in range(2)]

    def upload(number: int) -> None:
        with torch.cuda.stream(copies):
            buffers[number % 2].copy_(batches[number], non_blocking=True)

    copies.wait_stream(compute)  # who had the buffers' memory before
    upload(0)
    for number in range(len(batches)):
        compute.wait_stream(copies)  # this batch has come
        copies.wait_stream(compute)  # and the one before has been used: its buffer is free
        if number + 1 < len(batches):
            upload(number + 1)
        yield buffers[number % 2]


@pytest.mark.nsys(
    tolerance={"gpu.busy": "10%"}, budget={"memcpy.pageable": 0, "memcpy.d2h.count": 0}
)
def test_input(torch: Any, nsys: Nsys, slip: bool) -> None:
    """Copies are hidden behind compute: the GPU is busy for as long as the longer of the two.

    The slip: memory that is not pinned. Copies go by way of a buffer, and the host waits for them.
    """
    batches = [
        torch.ones(SIZE, SIZE, dtype=torch.bfloat16, pin_memory=not slip) for _ in range(BATCHES)
    ]
    weight = torch.ones(SIZE, SIZE, device="cuda", dtype=torch.bfloat16)
    copies = torch.cuda.Stream()

    def epoch() -> None:
        for batch in prefetched(torch, batches, copies):
            for _ in range(3):
                batch @ weight
        nsys.units(batches=BATCHES)

    nsys(epoch)
