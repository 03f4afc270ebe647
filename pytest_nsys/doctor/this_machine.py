"""The machine that this process runs on, as the probes see it."""

from __future__ import annotations

import ctypes
import importlib.metadata
import mmap
import os
import resource
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from pytest_nsys.capture.nsys import Nsys, find_nsys, minimal_environment
from pytest_nsys.capture.processes import run_program
from pytest_nsys.doctor.machine import Device, Driver, Process, Ran, Volume

_TEXT_LIMIT = 1 << 16


class ThisMachine:
    """A `pytest_nsys.doctor.machine.Machine` that really looks. NVML is asked once."""

    @property
    def environ(self) -> Mapping[str, str]:
        return os.environ

    @property
    def python(self) -> tuple[int, int, int]:
        return sys.version_info[:3]

    @property
    def temporary(self) -> str:
        try:
            return tempfile.gettempdir()
        except FileNotFoundError:
            return self.environ.get("TMPDIR", "/tmp")

    def find_nsys(self, executable: str | None) -> Nsys:
        return find_nsys(executable)

    def programs(self, patterns: Sequence[str]) -> list[str]:
        folders = self.environ.get("PATH", os.defpath).split(os.pathsep)
        paths = [str(Path(folder).absolute() / "nsys") for folder in folders if folder]
        for pattern in patterns:
            paths += self.glob(pattern)
        found = dict.fromkeys(path for path in paths if os.access(path, os.X_OK))
        return [path for path in found if Path(path).is_file()]

    def glob(self, pattern: str) -> list[str]:
        try:
            return sorted(map(str, Path("/").glob(pattern.lstrip("/"))))
        except OSError:
            return []

    def resolve(self, path: str) -> str:
        return os.path.realpath(path)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)  # noqa: PTH110 (Path.exists raises where it may not look)

    def read(self, path: str) -> str | None:
        try:
            with Path(path).open("rb") as file:
                return file.read(_TEXT_LIMIT).decode()
        except (OSError, UnicodeDecodeError):
            return None

    def mentioning(self, folder: str, text: bytes) -> list[str]:
        return [
            Path(path).name
            for path in self.glob(f"{folder}/*")
            if (".so" in Path(path).name or os.access(path, os.X_OK)) and _holds(path, text)
        ]

    def load(self, library: str) -> str:
        try:
            ctypes.CDLL(library)
        except OSError as error:
            return str(error)
        return ""

    def run(self, command: Sequence[str], seconds: float) -> Ran:
        try:
            done = run_program(command, environment=minimal_environment(), deadline_s=seconds)
        except OSError as error:
            return Ran(None, str(error))
        if done.code is None:
            return Ran(None, f"did not end within {seconds:g} s\n{done.printed}".strip())
        return Ran(done.code, done.printed)

    def volume(self, folder: str) -> Volume | None:
        try:
            state = os.statvfs(folder)
        except OSError:
            return None
        return Volume(
            kind=_file_system(self.resolve(folder), self.read("/proc/self/mounts") or ""),
            free=state.f_bavail * state.f_frsize,
            total=state.f_blocks * state.f_frsize,
            read_only=bool(state.f_flag & os.ST_RDONLY),
            noexec=bool(state.f_flag & os.ST_NOEXEC),
        )

    def writable(self, folder: str) -> bool:
        return os.access(folder, os.W_OK | os.X_OK)

    def file_size_limit(self) -> int | None:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        return None if limit == resource.RLIM_INFINITY else limit

    def processes(self) -> list[Process]:
        found = psutil.process_iter(["pid", "cmdline"])
        return [Process(p.info["pid"], tuple(p.info["cmdline"] or ())) for p in found]

    def driver(self) -> Driver:
        return self._driver

    @cached_property
    def _driver(self) -> Driver:
        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception as error:  # a missing package, library or driver: all are evidence
            return Driver(error=str(error))
        try:
            cuda = pynvml.nvmlSystemGetCudaDriverVersion_v2()
            count = pynvml.nvmlDeviceGetCount()
            handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(count)]
            return Driver(
                version=pynvml.nvmlSystemGetDriverVersion(),
                cuda=(cuda // 1000, cuda % 1000 // 10),
                gpus=tuple(
                    Device(
                        pynvml.nvmlDeviceGetName(handle),
                        pynvml.nvmlDeviceGetUUID(handle),
                        _mig_instances(pynvml, handle),
                    )
                    for handle in handles
                ),
            )
        except pynvml.NVMLError as error:
            return Driver(error=str(error))
        finally:
            pynvml.nvmlShutdown()

    def package(self, name: str) -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None


def _holds(path: str, text: bytes) -> bool:
    try:
        with (
            Path(path).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return data.find(text) >= 0
    except (OSError, ValueError):  # unreadable, a folder, or empty
        return False


def _file_system(path: str, mounts: str) -> str:
    """The type of the file system with the longest mount point that holds the path."""
    kind, longest = "", -1
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ").rstrip("/")
        # Of two on the same point, the later covers the earlier.
        if (path == point or path.startswith(point + "/")) and len(point) >= longest:
            kind, longest = fields[2], len(point)
    return kind


def _mig_instances(pynvml: Any, handle: Any) -> tuple[str, ...] | None:
    """The uuids of the MIG instances; None where MIG is off, or the GPU does not know it."""
    try:
        if not pynvml.nvmlDeviceGetMigMode(handle)[0]:
            return None
        most = pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except pynvml.NVMLError:
        return None
    found = []
    for number in range(most):
        try:
            instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            found.append(pynvml.nvmlDeviceGetUUID(instance))
        except pynvml.NVMLError:  # there is no instance of this number
            continue
    return tuple(found)
