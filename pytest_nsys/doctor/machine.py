"""What the probes may ask of a machine, so that each can be tried on a machine made up for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_nsys.capture.installation import Files
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.ncu.tool import NcuTool


@dataclass(frozen=True)
class Ran:
    """How a command ended.

    Attributes:
        code: its exit code; None if it could not be started or did not end in time.
        output: what it printed to both streams, or why it has no exit code.
    """

    code: int | None
    output: str


@dataclass(frozen=True)
class Volume:
    """The file system that a folder is on.

    Attributes:
        kind: its type, such as "ext4"; "" if unknown.
        free: bytes that this user may still write.
        total: bytes.
        read_only: whether it is mounted so.
        noexec: whether programs and libraries on it cannot be run.
    """

    kind: str
    free: int
    total: int
    read_only: bool = False
    noexec: bool = False


@dataclass(frozen=True)
class Process:
    """A running process: its id and its command line."""

    pid: int
    command: tuple[str, ...]


@dataclass(frozen=True)
class Device:
    """A GPU as NVML sees it.

    Attributes:
        name: the model.
        uuid: "GPU-...".
        mig: the uuids of its MIG instances; None where MIG is off or unknown to the GPU.
    """

    name: str
    uuid: str = ""
    mig: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Driver:
    """What NVML says of the machine.

    Attributes:
        error: why NVML says nothing; "" if it does.
        version: of the driver, such as "580.95.05".
        cuda: the newest CUDA version that the driver supports.
        gpus: the GPUs, in NVML's order.
    """

    error: str = ""
    version: str = ""
    cuda: tuple[int, int] | None = None
    gpus: tuple[Device, ...] = ()


class Machine(Files, Protocol):
    """A machine to examine. No method raises, but for `find_nsys`, `find_ncu` and `find_cupti`, and
    none changes anything."""

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment variables."""

    @property
    def python(self) -> tuple[int, int, int]:
        """Python's version."""

    @property
    def temporary(self) -> str:
        """The folder for temporary files that this process uses."""

    def find_nsys(self, executable: str | None) -> NsysTool:
        """As `pytest_nsys.capture.nsys.find_nsys`, with what it raises."""

    def find_ncu(self) -> NcuTool:
        """As `pytest_nsys.ncu.tool.find_ncu`, with what it raises."""

    def find_cupti(self) -> tuple[str, int]:
        """Path and version of the libcupti, as `pytest_nsys.capture.cupti.library` finds it, with
        what that raises."""

    def programs(self, patterns: Sequence[str]) -> list[str]:
        """Executable files by absolute glob patterns, and all of the name nsys on the PATH."""

    def mentioning(self, folder: str, text: bytes) -> list[str]:
        """The names of the libraries and programs in the folder that hold the text."""

    def load(self, library: str) -> str:
        """Why the shared library cannot be loaded; "" if it can."""

    def run(self, command: Sequence[str], seconds: float) -> Ran:
        """Run a command in nsys's minimal environment, with a deadline."""

    def volume(self, folder: str) -> Volume | None:
        """The file system of a folder; None if there is no such folder."""

    def writable(self, folder: str) -> bool:
        """Whether this user may create files in the folder."""

    def file_size_limit(self) -> int | None:
        """The largest file in bytes that this process may write; None if there is no limit."""

    def processes(self) -> list[Process]:
        """The processes that this one may see."""

    def driver(self) -> Driver:
        """What NVML says."""

    def package(self, name: str) -> str | None:
        """The version of an installed Python package; None if it is not installed."""
