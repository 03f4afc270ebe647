"""The command lines of ``nsys`` that the stand-in understands, refused the way nsys refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROFILE_USAGE = (
    "usage: nsys profile [<args>] [application] [<application args>]\n"
    "Try 'nsys profile --help' for more information."
)
EXPORT_USAGE = (
    "usage: nsys export [<args>] [nsys-rep-file]\nTry 'nsys export --help' for more information."
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PROFILE_SHORT = {
    "-b": "backtrace",
    "-c": "capture-range",
    "-d": "duration",
    "-e": "env-var",
    "-f": "force-overwrite",
    "-n": "inherit-environment",
    "-o": "output",
    "-p": "nvtx-capture",
    "-s": "sample",
    "-t": "trace",
    "-w": "show-output",
    "-x": "stop-on-exit",
    "-Y": "start-later",
    "-y": "delay",
}
_PROFILE_NAMES = _words(
    """
    backtrace capture-range capture-range-end command-file cpu-core-events cpu-core-metrics
    cpuctxsw cuda-event-trace cuda-flush-interval cuda-graph-trace cuda-memory-usage
    cuda-trace-all-apis cuda-trace-scope cuda-um-cpu-page-faults cuda-um-gpu-page-faults
    cudabacktrace debug-symbols delay duration duration-frames enable env-var event-sample
    event-sampling-interval export flush-on-cudaprofilerstop force-overwrite ftrace
    ftrace-keep-user-config gpu-metrics-devices gpu-metrics-frequency gpu-metrics-set
    gpu-video-device gpuctxsw hotkey-capture inherit-environment kill mpi-impl nic-metrics
    nvtx-capture nvtx-domain-exclude nvtx-domain-include opengl-gpu-workload os-events
    osrt-backtrace-depth osrt-backtrace-stack-size osrt-backtrace-threshold osrt-file-access
    osrt-threshold output python-backtrace python-functions-trace python-sampling
    python-sampling-frequency pytorch resolve-symbols run-as sample samples-per-backtrace
    sampling-frequency sampling-period sampling-trigger session-new show-output soc-metrics
    start-frame-index start-later stats stop-on-exit storage-metrics syscall trace
    trace-fork-before-exec vulkan-gpu-workload wait
    """
)
_START_NAMES = _words(
    """
    backtrace capture-range capture-range-end cpu-core-events cpuctxsw event-sample
    event-sampling-interval export flush-on-cudaprofilerstop force-overwrite ftrace
    ftrace-keep-user-config gpu-metrics-device gpu-metrics-devices gpu-metrics-frequency
    gpu-metrics-set gpu-video-device gpuctxsw nic-metrics os-events output sample
    samples-per-backtrace sampling-period session session-new stats stop-on-exit
    """
)
_START_SHORT = {
    "-b": "backtrace",
    "-c": "capture-range",
    "-f": "force-overwrite",
    "-o": "output",
    "-s": "sample",
    "-x": "stop-on-exit",
}
_EXPORT_SHORT = {
    "-f": "force-overwrite",
    "-l": "lazy",
    "-o": "output",
    "-q": "quiet",
    "-t": "type",
}
_EXPORT_NAMES = _words(
    """
    force-overwrite include-blobs lazy output quiet separate-strings tables times ts-normalize
    ts-shift type
    """
)
_APIS = _words(
    """
    cuda cuda-hw nvtx cublas cublas-verbose cusolver cusparse cusparse-verbose mpi oshmem ucx
    nvvideo osrt cudnn opengl opengl-annotations openacc openmp vulkan vulkan-annotations
    python-gil syscall none
    """
)
_CHOICES = {
    "wait": ("primary", "all"),
    "sample": ("process-tree", "system-wide", "none"),
    "cpuctxsw": ("process-tree", "system-wide", "none"),
    "force-overwrite": ("true", "false"),
    "quiet": ("true", "false"),
    "lazy": ("true", "false"),
    "include-blobs": ("true", "false"),
    "cuda-memory-usage": ("true", "false"),
    "inherit-environment": ("true", "false"),
    "trace-fork-before-exec": ("true", "false"),
    "start-later": ("true", "false"),
}


class UsageError(Exception):
    """A command line that nsys refuses; the text is what it prints."""


@dataclass(frozen=True)
class ProfileOptions:
    """What ``nsys profile`` was asked to do."""

    command: tuple[str, ...]
    output: str = "report1"
    trace: frozenset[str] = frozenset({"cuda", "nvtx", "osrt", "opengl"})
    graph_trace: str = "graph"
    environment: dict[str, str] = field(default_factory=dict)
    force: bool = False
    wait_for_all: bool = True
    memory_usage: bool = False
    trace_forks: bool = False
    inherit_environment: bool = True
    start_later: bool = False
    session: str = ""


@dataclass(frozen=True)
class StartOptions:
    """What ``nsys start`` was asked to do."""

    session: str = ""
    output: str = "report1"
    force: bool = False


@dataclass(frozen=True)
class ExportOptions:
    """What ``nsys export`` was asked to do."""

    report: str
    output: str
    type: str = "sqlite"
    force: bool = False
    tables: tuple[str, ...] = ()


def parse_profile(arguments: Sequence[str]) -> ProfileOptions:
    """Read the arguments of ``nsys profile``.

    Raises:
        UsageError: nsys would refuse them.
    """
    try:
        given, command = _parse(arguments, _PROFILE_NAMES, _PROFILE_SHORT)
        values = dict(given)
        trace = frozenset(values.get("trace", "cuda,nvtx,osrt,opengl").split(","))
        if not trace <= _APIS:
            raise UsageError(f"Illegal --trace argument '{min(trace - _APIS)}'")
        graph_trace = values.get("cuda-graph-trace", "graph").partition(":")[0]
        if graph_trace not in ("graph", "node"):
            raise UsageError(f"Illegal --cuda-graph-trace argument: {graph_trace}")
        if not command:
            raise UsageError(
                "Error: --trace option requires a target application but no target application "
                "was specified."
            )
    except UsageError as error:
        raise UsageError(f"{error}\n\n{PROFILE_USAGE}") from None
    return ProfileOptions(
        command=tuple(command),
        output=values.get("output", "report1"),
        trace=trace,
        graph_trace=graph_trace,
        environment=dict(
            pair.split("=", 1)
            for name, value in given
            if name == "env-var"
            for pair in value.split(",")
        ),
        force=values.get("force-overwrite") == "true",
        wait_for_all=values.get("wait") != "primary",
        memory_usage=values.get("cuda-memory-usage") == "true",
        trace_forks=values.get("trace-fork-before-exec") == "true",
        inherit_environment=values.get("inherit-environment") != "false",
        start_later=values.get("start-later") == "true",
        session=values.get("session-new", ""),
    )


def parse_start(arguments: Sequence[str]) -> StartOptions:
    """Read the arguments of ``nsys start``.

    Raises:
        UsageError: nsys would refuse them.
    """
    values = _only_options("start", arguments, _START_NAMES, _START_SHORT)
    return StartOptions(
        session=values.get("session") or values.get("session-new", ""),
        output=str(Path(values.get("output", "report1")).absolute()),
        force=values.get("force-overwrite") == "true",
    )


def session_named(command: str, arguments: Sequence[str]) -> str:
    """The session in the arguments of ``nsys stop`` or ``nsys shutdown``; "" for none.

    Raises:
        UsageError: nsys would refuse them.
    """
    names = frozenset({"session", "kill"} if command == "shutdown" else {"session"})
    return _only_options(command, arguments, names, {}).get("session", "")


def _only_options(
    command: str, arguments: Sequence[str], names: frozenset[str], short: dict[str, str]
) -> dict[str, str]:
    try:
        given, rest = _parse(arguments, names, short)
        if rest:
            raise UsageError("too many positional options have been specified on the command line")
    except UsageError as error:
        usage = f"usage: nsys {command} [<args>]\nTry 'nsys {command} --help' for more information."
        raise UsageError(f"{error}\n\n{usage}") from None
    return dict(given)


def parse_export(arguments: Sequence[str]) -> ExportOptions:
    """Read the arguments of ``nsys export``.

    Raises:
        UsageError: nsys would refuse them.
    """
    try:
        given, positional = _parse(arguments, _EXPORT_NAMES, _EXPORT_SHORT, mixed=True)
        values = dict(given)
        kind = values.get("type", "sqlite")
        if kind not in ("sqlite", "parquetdir"):
            raise UsageError(f"Unsupported export type option: '{kind}'.")
        if not positional:
            raise UsageError("Missing required positional argument 'nsys-rep-file'.")
        if len(positional) > 1:
            raise UsageError("too many positional options have been specified on the command line")
    except UsageError as error:
        raise UsageError(f"{error}\n\n{EXPORT_USAGE}") from None
    report = positional[0]
    suffix = ".sqlite" if kind == "sqlite" else "_pqtdir"
    return ExportOptions(
        report=report,
        output=values.get("output", report.removesuffix(".nsys-rep") + suffix),
        type=kind,
        force=values.get("force-overwrite") == "true",
        tables=tuple(
            name for option, value in given if option == "tables" for name in value.split(",")
        ),
    )


def _parse(
    arguments: Sequence[str],
    names: frozenset[str],
    short: dict[str, str],
    *,
    mixed: bool = False,
) -> tuple[list[tuple[str, str]], list[str]]:
    """Options with their values, and the rest; with ``mixed``, options may follow the rest."""
    given: list[tuple[str, str]] = []
    rest: list[str] = []
    queue = list(arguments)
    while queue:
        argument = queue.pop(0)
        if argument == "--":
            return given, rest + queue
        if not argument.startswith("-"):
            rest.append(argument)
            if mixed:
                continue
            return given, rest + queue
        if argument.startswith("--"):
            name, has_value, value = argument[2:].partition("=")
        else:
            name, value = short.get(argument[:2], ""), argument[2:].removeprefix("=")
            has_value = value
        if name not in names:
            raise UsageError(f"unrecognised option '{argument}'")
        if not has_value:
            if not queue or queue[0].startswith("-"):
                raise UsageError(f"the required argument for option '--{name}' is missing")
            value = queue.pop(0)
        if value not in _CHOICES.get(name, (value,)):
            raise UsageError(f"Illegal --{name} argument '{value}'.")
        given.append((name, value))
    return given, rest
