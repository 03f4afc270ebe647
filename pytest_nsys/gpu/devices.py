"""Which of the machine's GPUs this process can see, as the NVIDIA driver (NVML) knows them.

NVML always sees all GPUs of the machine or container; CUDA leaves out what
``CUDA_VISIBLE_DEVICES`` leaves out. CUDA itself is not asked: that would start it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable that says which GPUs CUDA shows to a process."""


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        index: NVML's number.
        uuid: its UUID (``GPU-...``).
        handle: NVML's handle of it.
        name: its model.
        instances: its MIG instances, by UUID, with their handles; None where it is not split.
    """

    index: int
    uuid: str
    handle: Any
    name: str = ""
    instances: Mapping[str, Any] | None = None

    @property
    def digest(self) -> str:
        """A digest of the UUID: tells one GPU from another and names none."""
        return hashlib.sha256(self.uuid.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class VisibleGpu:
    """A GPU that CUDA shows to this process, whole or an instance of it.

    Attributes:
        gpu: the physical GPU.
        processes: the handle to ask for processes: the GPU's, or that of its MIG instance; None
            where it is not known which instance is used.
    """

    gpu: Gpu
    processes: Any | None


def list_gpus(nvml: Any) -> list[Gpu]:
    """All GPUs that NVML sees; it must have been initialised.

    Args:
        nvml: the module ``pynvml``.

    Raises:
        pynvml.NVMLError: the driver does not answer.
    """
    gpus = []
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid, name = _text(nvml.nvmlDeviceGetUUID(handle)), _text(nvml.nvmlDeviceGetName(handle))
        gpus.append(Gpu(index, uuid, handle, name, _instances(nvml, handle)))
    return gpus


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _instances(nvml: Any, handle: Any) -> dict[str, Any] | None:
    try:
        if not nvml.nvmlDeviceGetMigMode(handle)[0]:
            return None
        most = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except nvml.NVMLError:  # a GPU that cannot be split
        return None
    found = {}
    for number in range(most):
        try:
            instance = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            found[_text(nvml.nvmlDeviceGetUUID(instance))] = instance
        except nvml.NVMLError:  # there is no instance of this number
            continue
    return found


def visible_gpus(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> list[VisibleGpu]:
    """The GPUs that CUDA shows to a process with this environment, each once.

    Numbers count in CUDA's order, which is NVML's only where all GPUs are of one model or
    ``CUDA_DEVICE_ORDER`` says so, and none is split. Elsewhere numbers stand for every GPU:
    better one too many than the wrong one.

    Args:
        gpus: all there are, in NVML's order.
        environ: the process's environment.
    """
    value = environ.get(VISIBLE)
    if value is None:
        return [_whole(gpu) for gpu in gpus]
    found: dict[int, VisibleGpu] = {}
    for entry in map(str.strip, value.split(",")):
        named = named_gpus(entry, gpus, environ)
        if not named:  # CUDA ignores this one, and all behind it
            break
        for gpu in named:
            found.setdefault(gpu.gpu.index, gpu)
    return list(found.values())


def _whole(gpu: Gpu) -> VisibleGpu:
    if gpu.instances is None:
        return VisibleGpu(gpu, gpu.handle)
    # Of a split GPU, CUDA uses one instance; which one is certain only where there is one.
    instances = [*gpu.instances.values()]
    return VisibleGpu(gpu, instances[0] if len(instances) == 1 else None)


def are_numbers_certain(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> bool:
    """Whether CUDA's numbers of the GPUs are NVML's."""
    by_number = len({gpu.name for gpu in gpus}) < 2 or (
        environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    )
    return by_number and all(gpu.instances is None for gpu in gpus)


def named_gpus(entry: str, gpus: Sequence[Gpu], environ: Mapping[str, str]) -> list[VisibleGpu]:
    """The GPUs that an entry of the list stands for: one, or all it may stand for."""
    if entry.isdecimal():
        if not are_numbers_certain(gpus, environ):
            return [_whole(gpu) for gpu in gpus]
        return [_whole(gpu) for gpu in gpus if gpu.index == int(entry)]
    if entry.startswith("MIG-GPU-"):  # of drivers before R470: MIG-<UUID of the GPU>/<numbers>
        uuid = entry.removeprefix("MIG-").partition("/")[0]
        return [VisibleGpu(gpu, None) for gpu in gpus if gpu.uuid == uuid]
    if entry.startswith("MIG-"):
        return _one(
            [
                VisibleGpu(gpu, instance)
                for gpu in gpus
                for uuid, instance in (gpu.instances or {}).items()
                if uuid.startswith(entry)
            ]
        )
    if entry.startswith("GPU-"):
        return _one([_whole(gpu) for gpu in gpus if gpu.uuid.startswith(entry)])
    return []


def _one(found: list[VisibleGpu]) -> list[VisibleGpu]:
    """The beginning of a UUID names a device if it names only one."""
    return found if len(found) == 1 else []
