"""A stand-in for the module ``pynvml``: GPUs whose state the tests set."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

NOT_SUPPORTED, NO_PERMISSION, UNKNOWN = 3, 4, 999


class NVMLError(Exception):
    """As pynvml's."""

    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


@dataclass
class FakeGpu:
    """One GPU, or an instance of one; in the units of NVML.

    Attributes:
        fields: what there is of NVML's numbered fields.
        errors: by function, the error that it ends with.
        instances: its MIG instances; None where it cannot be split.
    """

    uuid: str = "GPU-0a"
    name: str = "NVIDIA H200"
    sm_mhz: int = 1980
    max_sm_mhz: int | None = None
    memory_mhz: int = 3201
    temperature: int = 40
    power_mw: int = 120_000
    reasons: int = 0
    fields: dict[int, int] = field(default_factory=lambda: {74: 0, 75: 0})
    violation_ns: int = 0
    ecc_errors: int = 0
    pids: list[int] = field(default_factory=lambda: [os.getpid()])
    errors: dict[str, int] = field(default_factory=dict)
    instances: list[FakeGpu] | None = None


class FakeNvml(ModuleType):
    """What of the module is used; counts the calls of each function."""

    NVMLError = NVMLError
    NVML_ERROR_NOT_SUPPORTED = NOT_SUPPORTED
    NVML_ERROR_NO_PERMISSION = NO_PERMISSION

    def __init__(self, *gpus: FakeGpu) -> None:
        super().__init__("pynvml")
        self.gpus = list(gpus)
        self.calls: Counter[str] = Counter()
        self.init_error: Exception | None = None

    def _called(self, name: str, gpu: FakeGpu | None = None) -> None:
        self.calls[name] += 1
        if gpu is not None and name in gpu.errors:
            raise NVMLError(gpu.errors[name])

    def nvmlInit(self) -> None:  # noqa: N802
        self._called("nvmlInit")
        if self.init_error is not None:
            raise self.init_error

    def nvmlShutdown(self) -> None:  # noqa: N802
        self._called("nvmlShutdown")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:  # noqa: N802
        gpu = self.gpus[index]
        self._called("nvmlDeviceGetHandleByIndex", gpu)
        return gpu

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:  # noqa: N802
        return gpu.uuid

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> bytes:  # noqa: N802
        return gpu.name.encode()

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:  # noqa: N802
        if gpu.instances is None:
            raise NVMLError(NOT_SUPPORTED)
        return [int(bool(gpu.instances)), 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: FakeGpu) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, number: int) -> FakeGpu:  # noqa: N802
        if number >= len(gpu.instances or ()):
            raise NVMLError(6)
        return (gpu.instances or [])[number]

    def nvmlDeviceGetClockInfo(self, gpu: FakeGpu, kind: int) -> int:  # noqa: N802
        self._called("nvmlDeviceGetClockInfo", gpu)
        return {1: gpu.sm_mhz, 2: gpu.memory_mhz}[kind]

    def nvmlDeviceGetMaxClockInfo(self, gpu: FakeGpu, kind: int) -> int:  # noqa: N802
        self._called("nvmlDeviceGetMaxClockInfo", gpu)
        assert kind == 1
        if gpu.max_sm_mhz is None:
            raise NVMLError(NOT_SUPPORTED)
        return gpu.max_sm_mhz

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, sensor: int) -> int:  # noqa: N802
        self._called("nvmlDeviceGetTemperature", gpu)
        assert sensor == 0
        return gpu.temperature

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:  # noqa: N802
        self._called("nvmlDeviceGetPowerUsage", gpu)
        return gpu.power_mw

    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu: FakeGpu) -> int:  # noqa: N802
        self._called("nvmlDeviceGetCurrentClocksEventReasons", gpu)
        return gpu.reasons

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu: FakeGpu) -> int:  # noqa: N802
        self._called("nvmlDeviceGetCurrentClocksThrottleReasons", gpu)
        return gpu.reasons

    def nvmlDeviceGetFieldValues(self, gpu: FakeGpu, numbers: list[int]) -> list[Any]:  # noqa: N802
        self._called("nvmlDeviceGetFieldValues", gpu)
        return [
            SimpleNamespace(
                nvmlReturn=0 if number in gpu.fields else NOT_SUPPORTED,
                valueType=3,
                value=SimpleNamespace(ullVal=gpu.fields.get(number, 0)),
            )
            for number in numbers
        ]

    def nvmlDeviceGetViolationStatus(self, gpu: FakeGpu, policy: int) -> Any:  # noqa: N802
        self._called("nvmlDeviceGetViolationStatus", gpu)
        assert policy == 1
        return SimpleNamespace(violationTime=gpu.violation_ns)

    def nvmlDeviceGetTotalEccErrors(self, gpu: FakeGpu, kind: int, since: int) -> int:  # noqa: N802
        self._called("nvmlDeviceGetTotalEccErrors", gpu)
        assert (kind, since) == (1, 0)
        return gpu.ecc_errors

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[Any]:  # noqa: N802
        self._called("nvmlDeviceGetComputeRunningProcesses", gpu)
        return [SimpleNamespace(pid=pid) for pid in gpu.pids]


def as_module(library: SimpleNamespace) -> ModuleType:
    """Functions as what ``import pynvml`` gives."""
    module = ModuleType("pynvml")
    vars(module).update(vars(library))
    return module
