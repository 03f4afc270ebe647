"""Names of GPUs as names of files."""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 120
_NO_GPU = "no-gpu"


def device_slug(name: str) -> str:
    """A folder name for a device: ``NVIDIA H200`` is ``nvidia-h200``."""
    return _UNSAFE.sub("-", name.lower()).strip("-.")[:_LONGEST].strip("-.") or "unknown"


def default_device_key(gpus: tuple[str, ...]) -> str:
    """The model's name as a slug, and ``-xN`` where a test used several GPUs."""
    if not gpus:
        return _NO_GPU
    name = device_slug(" ".join(dict.fromkeys(gpus)))
    return f"{name}-x{len(gpus)}" if len(gpus) > 1 else name
