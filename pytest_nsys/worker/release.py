"""Giving cached device memory back between tests, so that memory does not depend on their order."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Literal

import pytest

from pytest_nsys.support.own import own


class ReleaseMemory:
    """Default implementations of ``pytest_nsys_release_memory``.

    Each touches its framework only where the test process has imported and used it already.
    """

    def __init__(self) -> None:
        self._clean = {0}

    @pytest.hookimpl
    def pytest_nsys_release_memory(self, stage: Literal["setup", "rounds"]) -> None:
        """Free what PyTorch, CuPy and JAX keep of memory that is no longer in use.

        PyTorch's workspaces of cuBLAS (32 MiB a stream on an H200) are given back before each
        test's set-up: else the first test that uses cuBLAS has room for them in what its set-up
        has freed, and the next ones have that room for their rounds.

        JAX has nothing to be asked for: where its allocator gives memory back at all, it does so
        as arrays die, and its default one never does. What can be done is to let them die here,
        before the rounds. Its compiled functions stay: without them the first round would compile.
        """
        # Garbage in cycles may hold device memory of earlier tests. A full collection takes
        # 100 ms and more with PyTorch imported, so it is left out where as much memory is in use
        # as after an earlier one.
        if _in_use() not in self._clean:
            own.collect_garbage()
            self._clean.add(_in_use())
        torch, cupy = _torch(), _cupy()
        if torch is not None:
            if stage == "setup":
                # PyTorch's own CUDA graph trees call it too; it has no public name.
                getattr(torch._C, "_cuda_clearCublasWorkspaces", _nothing)()
            torch.cuda.empty_cache()
        if cupy is not None:
            cupy.get_default_memory_pool().free_all_blocks()
            cupy.get_default_pinned_memory_pool().free_all_blocks()


def _nothing() -> None:
    """What an older PyTorch does."""


def _in_use() -> int:
    """Bytes of device memory that live objects hold, on all devices."""
    torch, cupy, jax = _torch(), _cupy(), _jax()
    total = 0
    if torch is not None:
        devices = range(torch.cuda.device_count())
        total += sum(int(torch.cuda.memory_allocated(device)) for device in devices)
    if cupy is not None:
        total += int(cupy.get_default_memory_pool().used_bytes())
    if jax is not None:
        total += sum(int(array.nbytes) for array in jax.live_arrays())
    return total


def _torch() -> Any | None:
    """PyTorch, if it is imported and has begun to use the GPU."""
    torch: Any = _module("torch")
    return torch if hasattr(torch, "cuda") and torch.cuda.is_initialized() else None


def _cupy() -> Any | None:
    """CuPy, if it is imported."""
    cupy: Any = _module("cupy")
    return cupy if hasattr(cupy, "get_default_memory_pool") else None


def _jax() -> Any | None:
    """JAX, if it is imported and has begun to use a device.

    Only its inside can be asked that: every public function starts the GPU to answer.
    """
    jax: Any = _module("jax")
    started: Any = getattr(_module("jax._src.xla_bridge"), "backends_are_initialized", None)
    usable = hasattr(jax, "live_arrays") and started is not None
    return jax if usable and started() else None


def _module(name: str) -> Any | None:
    """A module, if it is imported; tests put mocks in the places of those that they do not have."""
    module = sys.modules.get(name)
    return module if isinstance(module, ModuleType) else None
