"""Machines made up for the probes: a healthy one, to be made ill in one respect."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.doctor.context import CheckResult, ProbeContext
from pytest_nsys.doctor.machine import Device, Driver, Process, Ran, Volume
from pytest_nsys.errors import CuptiNotFound, NcuNotFound, NsysNotFound
from pytest_nsys.ncu.tool import NcuTool

GIB = 1 << 30
TARGET = "/opt/nvidia/nsight-systems/2025.3.1/target-linux-x64"
HOST = "/opt/nvidia/nsight-systems/2025.3.1/host-linux-x64"
NSYS = NsysTool(Path(f"{TARGET}/nsys"), (2025, 3, 1))

NCU = NcuTool(Path("/usr/local/cuda/bin/ncu"), (2025, 3, 1))

H200 = Device("NVIDIA H200", "GPU-5e1f")
DRIVER = Driver(version="580.95.05", cuda=(13, 0), gpus=(H200,))
DISK = Volume("ext4", 100 * GIB, 500 * GIB)
ROOT = "CapEff:\t000001ffffffffff\nSeccomp:\t0\n"
USER = "CapEff:\t0000000000000000\nSeccomp:\t0\n"


@dataclass(frozen=True)
class FakeMachine:
    """A `pytest_nsys.doctor.machine.Machine` that answers what it was told to.

    ``files`` maps paths to text, or to None for what is no text; they can be globbed.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: {"HOME": "/home/me"})
    python: tuple[int, int, int] = (3, 11, 7)
    temporary: str = "/tmp"
    nsys: Mapping[str, NsysTool] = field(default_factory=lambda: {str(NSYS.path): NSYS})
    used: str | None = str(NSYS.path)
    ncu: NcuTool | None = NCU
    cupti: tuple[str, int] | None = ("/venv/libcupti.so.13", 130001)
    files: Mapping[str, str | None] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    mentions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, Volume] = field(default_factory=lambda: {"/tmp": DISK, "/dev/shm": DISK})
    unwritable: frozenset[str] = frozenset()
    size_limit: int | None = None
    running: Sequence[Process] = (Process(1, ("/sbin/init",)),)
    said: Driver = DRIVER
    packages: Mapping[str, str] = field(
        default_factory=lambda: {"nvtx": "0.2.13", "pyarrow": "20.0.0"}
    )
    printed: Mapping[str, Ran] = field(default_factory=dict)
    ran: list[Sequence[str]] = field(default_factory=list)

    def find_nsys(self, executable: str | None) -> NsysTool:
        path = executable or self.used
        if path is None or path not in self.nsys:
            raise NsysNotFound("nsys was not found", evidence="looked", remedy="install it")
        return self.nsys[path]

    def find_ncu(self) -> NcuTool:
        if self.ncu is None:
            raise NcuNotFound("ncu was not found", evidence="looked", remedy="install it")
        return self.ncu

    def find_cupti(self) -> tuple[str, int]:
        if self.cupti is None:
            raise CuptiNotFound("libcupti was not found", evidence="looked", remedy="install it")
        return self.cupti

    def programs(self, patterns: Sequence[str]) -> list[str]:
        assert any(fnmatch.fnmatch(str(NSYS.path), pattern) for pattern in patterns)
        return list(self.nsys)

    def glob(self, pattern: str) -> list[str]:
        return sorted(path for path in self.files if fnmatch.fnmatch(path, pattern))

    def resolve(self, path: str) -> str:
        return self.links.get(path, path)

    def exists(self, path: str) -> bool:
        return path in self.files

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def mentioning(self, folder: str, text: bytes) -> list[str]:
        return list(self.mentions.get(f"{folder} {text.decode()}", ()))

    def load(self, library: str) -> str:
        return self.missing.get(library, "")

    def run(self, command: Sequence[str], seconds: float) -> Ran:
        assert 0 < seconds < 60
        self.ran.append(command)
        return self.printed.get(command[-1], Ran(0, ""))

    def volume(self, folder: str) -> Volume | None:
        return self.volumes.get(folder)

    def writable(self, folder: str) -> bool:
        return folder not in self.unwritable

    def file_size_limit(self) -> int | None:
        return self.size_limit

    def processes(self) -> list[Process]:
        return list(self.running)

    def driver(self) -> Driver:
        return self.said

    def package(self, name: str) -> str | None:
        return self.packages.get(name)


HEALTHY = FakeMachine(
    files={
        f"{TARGET}/nsys": None,
        f"{TARGET}/libcupti.so.12.9": None,
        f"{TARGET}/libcupti.so.13.0": None,
        f"{TARGET}/libcupti.so.9": None,
        f"{HOST}/QdstrmImporter": None,
        "/proc/self/status": ROOT,
        "/proc/1/cgroup": "0::/init.scope\n",
        "/proc/self/cgroup": "0::/user.slice\n",
        "/proc/sys/kernel/perf_event_paranoid": "4\n",
        "/proc/driver/nvidia/version": "NVRM version: 580.95.05\nGCC version\n",
        "/proc/driver/nvidia/params": "Mobile: 1\nRmProfilingAdminOnly: 1\n",
        "/dev/nvidia0": None,
    }
)


def made(machine: FakeMachine = HEALTHY, **changes: Any) -> FakeMachine:
    """The machine with other values; ``files`` and ``environ`` are added to its own."""
    for name in ("files", "environ", "packages", "volumes"):
        if name in changes:
            changes[name] = {**getattr(machine, name), **changes[name]}
    return replace(machine, **changes)


def without(machine: FakeMachine, *paths: str) -> FakeMachine:
    """The machine without these files."""
    kept = {path: text for path, text in machine.files.items() if path not in paths}
    return replace(machine, files=kept)


def probed(machine: FakeMachine, version: tuple[int, int, int] | None = None) -> ProbeContext:
    """The machine with its nsys, of another version if one is given."""
    nsys = machine.nsys.get(machine.used or "")
    if nsys is not None and version is not None:
        nsys = replace(nsys, version=version)
    return ProbeContext(machine, nsys)


def statuses(results: Sequence[CheckResult]) -> list[str]:
    """The status of each result."""
    return [result.status for result in results]
