"""The machine that this process runs on, as the probes see it."""

from __future__ import annotations

import ctypes
import importlib.metadata
import mmap
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import psutil

from pytest_nsys.capture.cupti.library import Library, find_library, load
from pytest_nsys.capture.installation import FilesHere
from pytest_nsys.capture.nsys import NsysTool, find_nsys
from pytest_nsys.doctor.machine import Device, Driver, Process, Ran, Volume
from pytest_nsys.errors import NoRunFolder
from pytest_nsys.gpu.devices import list_gpus
from pytest_nsys.gpu.nvml import DEADLINE_S, answer_within, nvml_session
from pytest_nsys.ncu.tool import NcuTool, find_ncu
from pytest_nsys.process.environment import minimal_environment
from pytest_nsys.process.processes import run_program
from pytest_nsys.process.run_folder import RunFolder


class ThisMachine(FilesHere):
    """A `pytest_nsys.doctor.machine.Machine` that really looks. NVML is asked once.

    Args:
        seconds: how long programs and NVML may take, all together. After that, what would wait
            for them raises TimeoutError: that they are slow then says nothing of them.
    """

    def __init__(self, seconds: float = float("inf")) -> None:
        self._until = time.monotonic() + seconds

    def _left(self, seconds: float) -> float:
        """So many seconds, or fewer if there are no more."""
        left = min(seconds, self._until - time.monotonic())
        if left <= 0:
            raise TimeoutError("there is no time left to look")
        return left

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

    def find_nsys(self, executable: str | None) -> NsysTool:
        return find_nsys(executable, deadline_s=self._left(float("inf")))

    def find_ncu(self) -> NcuTool:
        return find_ncu(deadline_s=self._left(60.0))

    def find_cupti(self) -> tuple[str, int]:
        path = find_library()
        return path, Library(load(path)).version

    def programs(self, patterns: Sequence[str]) -> list[str]:
        folders = self.environ.get("PATH", os.defpath).split(os.pathsep)
        paths = [str(Path(folder).absolute() / "nsys") for folder in folders if folder]
        for pattern in patterns:
            paths += self.glob(pattern)
        found = dict.fromkeys(path for path in paths if os.access(path, os.X_OK))
        return [path for path in found if Path(path).is_file()]

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
        limit = self._left(seconds)
        try:
            with _environment() as environment:
                done = run_program(command, environment=environment, deadline_s=limit)
        except OSError as error:
            return Ran(None, str(error))
        if done.code is None and limit < seconds:
            raise TimeoutError(f"there was no time left for {command[0]}")
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
        limit = self._left(DEADLINE_S)
        said = answer_within(limit, _ask_nvml)
        if said is None and limit < DEADLINE_S:
            raise TimeoutError("there was no time left for NVML")
        return said or Driver(error=f"no answer within {limit:g} s: the driver hangs")

    def package(self, name: str) -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None


@contextmanager
def _environment() -> Iterator[dict[str, str]]:
    """What programs are started with: nsys leaves files in TMPDIR that nobody needs."""
    environment = minimal_environment()
    try:
        folder = RunFolder()
    except NoRunFolder:  # it is full, or cannot be written
        yield environment
        return
    with folder:
        yield {**environment, "TMPDIR": str(folder.path)}


def _ask_nvml() -> Driver:
    try:
        with nvml_session() as nvml:
            cuda = nvml.nvmlSystemGetCudaDriverVersion_v2()
            return Driver(
                version=nvml.nvmlSystemGetDriverVersion(),
                cuda=(cuda // 1000, cuda % 1000 // 10),
                gpus=tuple(
                    Device(
                        gpu.name,
                        gpu.uuid,
                        None if gpu.instances is None else tuple(gpu.instances),
                    )
                    for gpu in list_gpus(nvml)
                ),
            )
    except Exception as error:  # whatever is wrong is evidence
        return Driver(error=str(error))


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
