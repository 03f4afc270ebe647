"""The nsys program: finding it, its version, and the command lines we use."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.errors import NsysMissing, NsysNotFound, NvtxRefused
from pytest_nsys.plan.nsys_options import full_name
from pytest_nsys.process.environment import minimal_environment
from pytest_nsys.process.processes import run_program
from pytest_nsys.support.own import own
from pytest_nsys.windows.record import DOMAIN

# Folders in which NVIDIA's installers leave nsys without putting it on the PATH; newest wins.
INSTALL_PATTERNS = (
    "/opt/nvidia/nsight-systems/*/bin/nsys",
    "/opt/nvidia/nsight-systems-cli/*/bin/nsys",
    "/usr/local/cuda/bin/nsys",
    "/usr/local/cuda-*/bin/nsys",
    "/opt/nvidia/nsight-compute/*/host/target-linux-x64/nsys",
)

_VERSION = re.compile(r"version\s+(\d+)\.(\d+)\.(\d+)")
_VERSION_DEADLINE_S = 60.0

DEFAULT_FLAGS = (
    "--trace=cuda,nvtx",
    "--sample=none",
    "--cpuctxsw=none",
    "--cuda-memory-usage=true",
    "--cuda-graph-trace=node",
)
"""What every capture is made with unless the user says otherwise; part of a baseline."""

_OWN_FLAGS = ("--force-overwrite=true", "--wait=primary")

_LOSSY_DOMAIN = "TSL"
"""XLA's (JAX's) NVTX domain."""


@dataclass(frozen=True)
class NsysTool:
    """An nsys that was found.

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

    @property
    def can_select_tables(self) -> bool:
        """Whether ``nsys export`` knows ``--tables`` and ``--type=parquetdir``."""
        return self.version >= (2023, 4, 0)

    @property
    def runs_beside_others(self) -> bool:
        """Whether several of them record at once without harm.

        Old ones (2022.4, 2023.4) then lose ranges, or start or export nothing, on small machines;
        four of 2025.3 do not.
        """
        return self.version >= (2025, 1, 0)


# From this nvtx on, ranges carry a payload that nsys up to 2023.4 refuses, and the range with it.
_NVTX_WITH_PAYLOADS = (0, 2, 12)
_LAST_NSYS_WITHOUT = (2023, 4)


def records_ranges(nsys: tuple[int, int, int], nvtx: str) -> bool:
    """Whether this nsys is not known to lose the ranges of this version of the nvtx package."""
    numbers = re.match(r"\d+(\.\d+)*", nvtx)
    version = tuple(map(int, numbers[0].split("."))) if numbers else ()
    return version < _NVTX_WITH_PAYLOADS or nsys[:2] > _LAST_NSYS_WITHOUT


def _nvtx_version() -> str | None:
    """The version of the nvtx package; None where another module would be imported in its place,
    or none: of that the worker tells."""
    try:
        found = importlib.metadata.distribution("nvtx")
        spec = importlib.util.find_spec("nvtx")
    except (importlib.metadata.PackageNotFoundError, ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    folder = Path(str(found.locate_file("nvtx"))).resolve()
    return found.version if Path(spec.origin).resolve().parent == folder else None


def check_nvtx(nsys: NsysTool) -> None:
    """Refuse an nsys that would record none of the ranges by which captures are cut.

    Raises:
        NvtxRefused: it and the installed nvtx package are known not to understand each other.
    """
    version = _nvtx_version()
    if version is not None and not records_ranges(nsys.version, version):
        raise NvtxRefused(
            f"nsys {nsys.version_text} records no range of nvtx {version}: nothing can be measured",
            evidence=str(nsys.path),
            remedy="use nsys 2025 or newer, or: pip install 'nvtx<0.2.12'",
        )


def find_nsys(
    executable: str | None = None,
    patterns: Iterable[str] = INSTALL_PATTERNS,
    *,
    deadline_s: float = float("inf"),
) -> NsysTool:
    """The nsys to use: the one asked for, else the one on the PATH, else an installed one.

    Args:
        executable: the one asked for.
        patterns: where installed ones are.
        deadline_s: how long it may take to say its version; never more than a minute.

    Raises:
        NsysMissing: there is none.
        NsysNotFound: there is none of that name, or it does not say its version.
    """
    if executable is not None:
        found = own.which(executable)
        if found is None:
            raise NsysNotFound(
                f"there is no program {executable!r}",
                remedy="correct --nsys-executable (or the ini value nsys_executable)",
            )
        return _identify(Path(found).absolute(), deadline_s)
    on_path = own.which("nsys")
    candidates = [on_path] if on_path else installed(patterns)
    if not candidates:
        raise NsysMissing(
            "nsys (NVIDIA Nsight Systems) was not found",
            evidence="looked on the PATH and for " + ", ".join(patterns),
            remedy="install Nsight Systems, put nsys on the PATH, or name it with "
            "--nsys-executable; tests run unprofiled without the --nsys options",
        )
    return _identify(Path(candidates[0]).absolute(), deadline_s)


def installed(patterns: Iterable[str]) -> list[str]:
    """The programs that patterns of absolute paths find, pattern by pattern, the newest first."""
    found = []
    for pattern in patterns:
        found += newest_first(str(path) for path in Path("/").glob(pattern.lstrip("/")))
    return [path for path in found if os.access(path, os.X_OK)]


def newest_first(paths: Iterable[str]) -> list[str]:
    """Paths of programs, by the versions in them."""
    return sorted(paths, key=_numbers, reverse=True)


def _numbers(path: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path)]


def printed_version(path: Path, deadline_s: float) -> str:
    """What a program prints when it is asked for its version, or why there is nothing.

    Args:
        path: the program.
        deadline_s: how long it may take; never more than a minute.
    """
    deadline_s = min(deadline_s, _VERSION_DEADLINE_S)
    command = [str(path), "--version"]
    try:
        done = run_program(command, environment=minimal_environment(), deadline_s=deadline_s)
    except OSError as error:
        return str(error)
    if done.code is None:
        return f"{done.printed}\nit timed out after {deadline_s:g} s"
    return done.printed or f"it printed nothing, and its exit code was {done.code}"


def _identify(path: Path, deadline_s: float) -> NsysTool:
    evidence = printed_version(path, deadline_s)
    version = read_version(evidence)
    if version is None:
        raise NsysNotFound(
            f"{path} does not answer 'nsys --version'",
            evidence=evidence[:500],
            remedy="run it by hand, reinstall Nsight Systems, or name another nsys with "
            "--nsys-executable",
        )
    return NsysTool(path, version)


def read_version(printed: str) -> tuple[int, int, int] | None:
    """The version in what ``nsys --version`` printed; None if there is none."""
    match = _VERSION.search(printed)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


def trace_options(nsys_args: Sequence[str]) -> tuple[str, ...]:
    """The options that decide what a capture holds: our defaults, the user's put over them."""
    return override(DEFAULT_FLAGS, nsys_args)


def override(arguments: Sequence[str], by: Sequence[str]) -> tuple[str, ...]:
    """Arguments put over others. nsys takes each option once, so what is replaced is left out."""
    given = {full_name(argument) for argument in by}
    kept, replaced = [], False
    for argument in arguments:
        if argument.startswith("-"):
            replaced = full_name(argument) in given
        if not replaced:  # a value that stands apart goes with its option
            kept.append(argument)
    return (*kept, *by)


def profile_command(
    nsys: NsysTool, output: Path, command: Sequence[str], nsys_args: Sequence[str] = ()
) -> list[str]:
    """``nsys profile`` of ``command`` into ``output`` (absolute, without suffix)."""
    options = [*_with_our_domain(trace_options(nsys_args)), *_OWN_FLAGS]
    return [str(nsys.path), "profile", *options, "-o", str(output), *command]


def _with_our_domain(options: Sequence[str]) -> list[str]:
    """The options with NVTX domains chosen such that our windows are recorded.

    XLA's domain is left out: around its ranges, nsys 2025.3 loses the ranges of others.
    """
    found = []
    added = {"--nvtx-domain-include": DOMAIN, "--nvtx-domain-exclude": _LOSSY_DOMAIN}
    chosen = False
    for option in options:
        _, equals, value = option.partition("=")
        name = full_name(option)
        if name in added and equals:
            chosen = True
            if added[name] not in value.split(","):
                option = f"{option},{added[name]}"
        found.append(option)
    return found if chosen else [*found, f"--nvtx-domain-exclude={_LOSSY_DOMAIN}"]


def export_command(
    nsys: NsysTool, report: Path, output: Path, kind: str, tables: Sequence[str]
) -> list[str]:
    """``nsys export`` of the named tables, where this nsys can select."""
    command = [str(nsys.path), "export", "--type", kind, "--force-overwrite", "true"]
    if nsys.can_select_tables:
        command += ["--tables", ",".join(tables)]
    return [*command, "-o", str(output), str(report)]
