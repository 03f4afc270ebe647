"""What a capture by CUPTI cannot tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

UNKNOWN: Final[Mapping[str, str]] = {
    "range*": "CUPTI does not record the program's own NVTX ranges",
    "um.*": "CUPTI is not asked for page faults",
}
"""By pattern of metrics' keys, and why; see `Trace.unknown`."""

MEMORY_METRICS: Final = "mem.*"
"""What another profiler makes unknown, that had CUPTI for a while."""
