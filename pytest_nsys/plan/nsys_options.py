"""The options of ``nsys profile``: which an argument means, and which have values to be shown."""

from __future__ import annotations

from typing import Final

_SHOWN: Final = frozenset(
    """
    --backtrace --capture-range --capture-range-end --cpu-core-events --cpu-core-metrics
    --cpu-socket-events --cpuctxsw --cuda-event-trace --cuda-flush-interval --cuda-graph-trace
    --cuda-memory-usage --cuda-trace-all-apis --cuda-trace-scope --cuda-um-cpu-page-faults
    --cuda-um-gpu-page-faults --cudabacktrace --delay --duration --duration-frames --event-sample
    --event-sampling-frequency --event-sampling-interval --export --flush-on-cudaprofilerstop
    --force-overwrite --ftrace-keep-user-config --gpu-metrics-device --gpu-metrics-devices
    --gpu-metrics-frequency --gpu-metrics-set --gpu-video-device --gpuctxsw --hotkey-capture
    --inherit-environment --isr --kill --mpi-impl --nic-metrics
    --opengl-gpu-workload --os-events
    --osrt-backtrace-depth --osrt-backtrace-stack-size --osrt-backtrace-threshold --osrt-threshold
    --process-scope --python-backtrace --python-nvtx-annotations --python-sampling
    --python-sampling-frequency --pytorch --resolve-symbols --sample --samples-per-backtrace
    --sampling-frequency --sampling-period --sampling-trigger --show-output --start-frame-index
    --start-later --stats --stop-on-exit --trace --trace-fork-before-exec --vulkan-gpu-workload
    --wait
    """.split()
)
"""Options whose values say how is measured. Those of others may be anything: variables with
passwords, users, folders, arguments of plugins."""

_KNOWN: Final = _SHOWN | {
    "--command-file",
    "--debug-symbols",
    "--enable",
    "--env-var",
    "--ftrace",
    "--nvtx-capture",
    "--nvtx-domain-exclude",
    "--nvtx-domain-include",
    "--output",
    "--python-functions-trace",
    "--run-as",
    "--session-new",
}

_SHORT: Final = {
    "-b": "--backtrace",
    "-c": "--capture-range",
    "-d": "--duration",
    "-e": "--env-var",
    "-f": "--force-overwrite",
    "-n": "--inherit-environment",
    "-o": "--output",
    "-p": "--nvtx-capture",
    "-s": "--sample",
    "-t": "--trace",
    "-w": "--show-output",
    "-x": "--stop-on-exit",
    "-y": "--delay",
}


def full_name(argument: str) -> str:
    """The long name of the option that an argument begins with, which nsys takes abbreviated, too.

    One that is not known, or of which two would be meant, stays as it is.
    """
    if not argument.startswith("--"):
        return _SHORT.get(argument[:2], argument[:2])
    name = argument.partition("=")[0]
    meant = [known for known in _KNOWN if known.startswith(name)]
    return meant[0] if len(meant) == 1 and name not in _KNOWN else name


def is_shown(name: str) -> bool:
    """Whether the values of an option of this full name may be handed on."""
    return name in _SHOWN
