"""Importing much at once."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def imported_for_good(module: str) -> Iterator[None]:
    """What is imported in the block stays, and the garbage collector need not look at it.

    It would do so while pandas is imported, and again for each full collection, such as those that
    pytest makes at its end; they take long. What is garbage by now is collected before.

    Args:
        module: that the block imports; where it is there already, nothing is done.
    """
    if module in sys.modules:
        yield
        return
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
