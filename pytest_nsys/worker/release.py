"""Giving cached device memory back between tests, so that memory does not depend on their order."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest


class ReleaseMemory:
    """Default implementations of ``pytest_nsys_release_memory``.

    Each touches its framework only where the test process has imported and used it already.
    """

    @pytest.hookimpl
    def pytest_nsys_release_memory(self) -> None:
        """Free the caches of PyTorch and CuPy."""
        gc.collect()
        torch: Any = sys.modules.get("torch")
        if torch is not None and hasattr(torch, "cuda") and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        cupy: Any = sys.modules.get("cupy")
        if cupy is not None and hasattr(cupy, "get_default_memory_pool"):
            cupy.get_default_memory_pool().free_all_blocks()
            cupy.get_default_pinned_memory_pool().free_all_blocks()
