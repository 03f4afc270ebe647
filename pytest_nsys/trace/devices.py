"""Which GPU a process means by a CUDA device: with ``CUDA_VISIBLE_DEVICES`` all begin at 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.trace import schema
from pytest_nsys.trace.schema import process_number
from pytest_nsys.trace.source import ABSENT, Source


@dataclass(frozen=True)
class Devices:
    """Where processes count devices otherwise than nsys counts the machine's GPUs.

    Attributes:
        gpus: nsys's number of a GPU (as in TARGET_INFO_GPU and GPU_METRICS), by process id of
            the operating system and the number that CUDA gives the device there; only where
            the two numbers differ.
    """

    gpus: Mapping[tuple[int, int], int]

    @property
    def ordinals(self) -> dict[tuple[int, int], int]:
        """The way back: what CUDA calls a GPU in a process."""
        return {
            (pid, gpu): device for (pid, device), gpu in sorted(self.gpus.items(), reverse=True)
        }

    def numbers(self, pid: Ints, device: Ints) -> Ints:
        """nsys's numbers of the GPUs, of the serialised processes' CUDA devices."""
        if not self.gpus:
            return device
        found = device.copy()
        real = process_number(pid)
        for (process, cuda), gpu in self.gpus.items():
            found[(real == process) & (device == cuda)] = gpu
        return found


def read_devices(source: Source, defects: list[str]) -> Devices:
    """The devices of an export; exports before 2024 do not say, and number as nsys does."""
    columns = source.integers(schema.CUDA_DEVICE, schema.COLUMNS[schema.CUDA_DEVICE])
    if columns is None:
        return Devices({})
    found: dict[tuple[int, int], set[int]] = {}
    for pid, cuda, gpu in zip(
        columns["pid"].tolist(), columns["cudaId"].tolist(), columns["gpuId"].tolist(), strict=True
    ):
        if gpu != ABSENT:
            found.setdefault((pid, cuda), set()).add(gpu)
    twice = sum(len(gpus) > 1 for gpus in found.values())
    if twice:
        defects.append(
            f"{twice} CUDA devices are several GPUs in {schema.CUDA_DEVICE}: "
            "their numbers are taken as those of GPUs"
        )
    return Devices(
        {place: min(gpus) for place, gpus in found.items() if len(gpus) == 1 and gpus != {place[1]}}
    )
