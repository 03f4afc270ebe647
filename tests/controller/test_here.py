"""Measuring in this process: the lock of the GPUs, which is taken once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from pytest_nsys.controller.here import kept
from pytest_nsys.errors import GpuBusy
from pytest_nsys.plan.batches import Batch


def test_the_lock_is_taken_for_the_first_test_and_kept_to_the_end() -> None:
    told: list[str] = []

    @contextmanager
    def lock(batch: Batch) -> Iterator[None]:
        told.append("taken")
        yield
        told.append("given back")

    with ExitStack() as held:
        locked = kept(lock, held)
        for _ in range(2):
            with locked(Batch(())):
                assert told == ["taken"]
    assert told == ["taken", "given back"]


def test_nobody_waits_twice_for_a_gpu_that_is_busy() -> None:
    waits = []

    def busy(batch: Batch) -> ExitStack:
        waits.append(batch)
        raise GpuBusy("a GPU stayed in use")

    with ExitStack() as held:
        locked = kept(busy, held)
        for _ in range(2):
            with pytest.raises(GpuBusy), locked(Batch(())):
                pass
    assert len(waits) == 1
