"""The ncu program: finding it, its version, and the command line with which it counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.capture.nsys import installed, newest_first, printed_version
from pytest_nsys.errors import NcuNotFound
from pytest_nsys.ncu.counters import COUNTERS
from pytest_nsys.support.own import own
from pytest_nsys.windows.record import COUNTED, DOMAIN

INSTALL_PATTERNS = (
    "/usr/local/cuda/bin/ncu",
    "/opt/nvidia/nsight-compute/*/ncu",
    "/usr/local/cuda-*/bin/ncu",
    "/usr/local/cuda-*/nsight-compute-*/ncu",
)
"""Where NVIDIA's installers leave ncu without putting it on the PATH."""

_VERSION = re.compile(r"^Version (\d+)\.(\d+)\.(\d+)", re.MULTILINE)
_REMEDY = (
    "install Nsight Compute (the CUDA toolkit has it; Debian and conda: nsight-compute), or put "
    "ncu on the PATH"
)


@dataclass(frozen=True)
class NcuTool:
    """An ncu that was found.

    Attributes:
        path: the executable.
        version: such as (2025, 3, 1).
    """

    path: Path
    version: tuple[int, int, int]

    @property
    def version_text(self) -> str:
        """The version as people write it."""
        return ".".join(map(str, self.version))


def find_ncu(
    patterns: Iterable[str] = INSTALL_PATTERNS, *, deadline_s: float = float("inf")
) -> NcuTool:
    """The ncu to use: the one on the PATH, else the newest that is installed.

    Args:
        patterns: where installed ones are.
        deadline_s: how long it may take to say its version; never more than a minute.

    Raises:
        NcuNotFound: there is none, or it does not say its version.
    """
    on_path = own.which("ncu")
    found = [on_path] if on_path else newest_first(installed(patterns))
    if not found:
        raise NcuNotFound(
            "ncu (NVIDIA Nsight Compute) was not found",
            evidence="looked on the PATH and for " + ", ".join(patterns),
            remedy=_REMEDY,
        )
    path = Path(found[0]).absolute()
    printed = printed_version(path, deadline_s)
    version = read_version(printed)
    if version is None:
        raise NcuNotFound(
            f"{path} does not answer 'ncu --version'", evidence=printed[:500], remedy=_REMEDY
        )
    return NcuTool(path, version)


def read_version(printed: str) -> tuple[int, int, int] | None:
    """The version in what ``ncu --version`` printed; None if there is none."""
    match = _VERSION.search(printed)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


def count_command(
    ncu: NcuTool, log: Path, names: str, launches: int, command: Sequence[str]
) -> list[str]:
    """``ncu`` of ``command``: counters of kernels that are launched in the range `COUNTED`.

    Args:
        ncu: the ncu.
        log: where the table goes, and what ncu says besides.
        names: which kernels, for ``--kernel-name``.
        launches: how many of them at most.
        command: the program and its arguments.
    """
    return [
        str(ncu.path),
        *("--target-processes", "all"),
        *("--nvtx", "--nvtx-include", f"{DOMAIN}@{COUNTED}"),
        *("--kernel-name-base", "demangled", "--kernel-name", names),
        *("--print-kernel-base", "mangled"),  # demangled ones have lost their namespaces
        *("--launch-count", str(launches)),
        *("--replay-mode", "kernel"),  # and of CUDA graphs each node, by default
        # As in the rounds that nsys has seen; caches are empty, so that each pass sees the same.
        *("--clock-control", "none", "--cache-control", "all"),
        *("--check-exit-code", "no"),
        *("--metrics", ",".join(counter.key for counter in COUNTERS)),
        *("--csv", "--page", "raw", "--print-units", "base"),
        *("--log-file", str(log)),
        *command,
    ]
