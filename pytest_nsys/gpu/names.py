"""Names of GPUs as names of files."""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 120


def device_slug(name: str) -> str:
    """A folder name for a device: ``NVIDIA H200`` is ``nvidia-h200``."""
    return _UNSAFE.sub("-", name.lower()).strip("-.")[:_LONGEST].strip("-.") or "unknown"
