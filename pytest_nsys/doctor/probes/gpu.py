"""Probes of the GPUs, their driver, and what may be seen of them."""

from __future__ import annotations

import re

from pytest_nsys.capture.installation import find_installation
from pytest_nsys.doctor.context import CheckResult, ProbeContext
from pytest_nsys.doctor.machine import Driver
from pytest_nsys.doctor.probes.nsys import others

_CUPTI = re.compile(r"/libcupti\.so\.(\d+)\.(\d+)$")

# The newest CUDA that a version of nsys knows, from the releases of the CUDA toolkit: for an nsys
# whose libraries cannot be looked at. The nsys that is newer than all of these is newer than us.
_CUDA_OF_NSYS = (
    ((2022, 4), (11, 8)),
    ((2023, 1), (12, 1)),
    ((2023, 2), (12, 2)),
    ((2023, 3), (12, 3)),
    ((2023, 4), (12, 4)),
    ((2024, 2), (12, 5)),
    ((2024, 5), (12, 6)),
    ((2024, 6), (12, 8)),
    ((2025, 1), (12, 9)),
    ((2025, 3), (13, 0)),
)

_SYS_ADMIN, _PERFMON = 21, 38
_PERFMON_DRIVER = 565
"""Bits of the capabilities, and the first driver for which CAP_PERFMON is enough."""


def driver(context: ProbeContext) -> list[CheckResult]:
    """Whether NVML, the NVIDIA driver and a GPU are there."""
    machine, said = context.machine, context.machine.driver()
    module = machine.read("/proc/driver/nvidia/version")
    if said.error:
        return [_no_driver(context, said.error, module)]
    if not said.gpus:
        return [
            CheckResult(
                "GPU",
                "problem",
                "the driver sees no GPU",
                f"driver {said.version}",
                "start the container with a GPU (docker run --gpus all), or ask the scheduler for "
                "one",
            )
        ]
    names = ", ".join(gpu.name for gpu in said.gpus)
    found = [CheckResult("GPU", "ok", names, f"driver {said.version}{_cuda_of(said)}")]
    error = machine.load("libcuda.so.1")
    if error:
        found.append(
            CheckResult(
                "libcuda",
                "problem",
                "the CUDA driver library cannot be loaded, so no program can use the GPU",
                error,
                "in a container, add 'compute' to NVIDIA_DRIVER_CAPABILITIES; else install the "
                "driver's libcuda1 package",
            )
        )
    return found


def _cuda_of(said: Driver) -> str:
    return "" if said.cuda is None else f", CUDA {_text(said.cuda)}"


def _no_driver(context: ProbeContext, error: str, module: str | None) -> CheckResult:
    devices = context.machine.glob("/dev/nvidia[0-9]*")
    evidence = f"NVML: {error}"
    if module is not None and devices:
        return CheckResult(
            "GPU",
            "problem",
            "there is a GPU, but NVML, the driver's library, does not work",
            f"{evidence}\n{module.splitlines()[0]}",
            "after an update of the driver, restart the machine or the container; in a container, "
            "add 'utility' and 'compute' to NVIDIA_DRIVER_CAPABILITIES",
        )
    if module is not None:
        return CheckResult(
            "GPU",
            "problem",
            "the machine has an NVIDIA driver, and this container no GPU",
            f"{evidence}\nthere is no /dev/nvidia0",
            "start the container with a GPU: docker run --gpus all",
        )
    return CheckResult(
        "GPU",
        "problem",
        "there is no NVIDIA GPU, or no driver for it",
        evidence,
        "run profiled tests on a machine with a GPU; judge its recordings anywhere with "
        "--nsys-replay; without the --nsys options the tests run as ordinary tests",
    )


def newest_cuda(context: ProbeContext) -> tuple[int, int] | None:
    """The newest CUDA that the nsys knows: by its own libraries, else by its version."""
    if context.nsys is None:
        return None
    parts = find_installation(context.nsys, context.machine)
    if parts is not None:
        found = [
            (int(match[1]), int(match[2]))
            for path in context.machine.glob(f"{parts.target}/libcupti.so.*")
            if (match := _CUPTI.search(path))
        ]
        if found:
            return max(found)
    if context.nsys.version[:2] > _CUDA_OF_NSYS[-1][0]:
        return None
    known = [cuda for version, cuda in _CUDA_OF_NSYS if version <= context.nsys.version[:2]]
    return known[-1] if known else _CUDA_OF_NSYS[0][1]


def nsys_against_driver(context: ProbeContext) -> list[CheckResult]:
    """Whether nsys is new enough for the driver; an older one loses nearly all CUDA events."""
    said, newest = context.machine.driver(), newest_cuda(context)
    if context.nsys is None or said.cuda is None:
        return []
    used = f"nsys {context.nsys.version_text}"
    if newest is None or newest >= said.cuda:
        known = "" if newest is None else f"{used} knows CUDA {_text(newest)}"
        return [CheckResult("nsys and driver", "ok", f"{used} is new enough for the driver", known)]
    better = [other for other in others(context) if other.version > context.nsys.version]
    remedy = "install an nsys that is at least as new as the driver"
    if better:
        remedy = f"use the newer one that is there: --nsys-executable={better[-1].path}"
    worse = newest[0] < said.cuda[0]
    return [
        CheckResult(
            "nsys and driver",
            "problem" if worse else "warning",
            f"{used} is older than the driver: captures will "
            + ("lack most CUDA events" if worse else "perhaps lack CUDA events"),
            f"{used} knows CUDA up to {_text(newest)}; driver {said.version} has CUDA "
            f"{_text(said.cuda)}",
            remedy,
        )
    ]


def mig(context: ProbeContext) -> list[CheckResult]:
    """Whether GPUs are split (MIG), and whether the parts can be used."""
    found = []
    for number, gpu in enumerate(context.machine.driver().gpus):
        if gpu.mig is None:
            continue
        if not gpu.mig:
            found.append(
                CheckResult(
                    "MIG",
                    "problem",
                    f"MIG is on for GPU {number}, and it has no instance: CUDA cannot use it",
                    gpu.name,
                    "create instances (nvidia-smi mig -cgi ... -C), or turn MIG off "
                    f"(nvidia-smi -i {number} -mig 0)",
                )
            )
            continue
        count = len(gpu.mig)
        found.append(
            CheckResult(
                "MIG",
                "ok",
                f"MIG is on for GPU {number}: {count} instance{'s' if count > 1 else ''}, of which "
                "a process uses one",
                "\n".join(gpu.mig),
                "choose one with CUDA_VISIBLE_DEVICES=MIG-...",
            )
        )
    return found


def visible_devices(context: ProbeContext) -> list[CheckResult]:
    """Whether CUDA_VISIBLE_DEVICES leaves a GPU to be seen."""
    value = context.machine.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = context.machine.driver().gpus
    if value is None or not gpus:
        return []
    entries = [entry.strip() for entry in value.split(",")]
    bad = [number for number, entry in enumerate(entries) if not _exists(entry, context)]
    evidence = f"CUDA_VISIBLE_DEVICES={value!r}, GPUs: {len(gpus)}"
    if not bad:
        return [CheckResult("visible GPUs", "ok", f"programs see {len(entries)} of them", evidence)]
    remedy = "unset CUDA_VISIBLE_DEVICES, or name GPUs that there are"
    # CUDA ignores the first entry that names nothing, and all behind it.
    if bad[0] == 0:
        what = "CUDA_VISIBLE_DEVICES hides every GPU"
        return [CheckResult("visible GPUs", "problem", what, evidence, remedy)]
    what = f"CUDA_VISIBLE_DEVICES names a GPU that there is not: programs see {bad[0]}"
    return [CheckResult("visible GPUs", "warning", what, evidence, remedy)]


def _exists(entry: str, context: ProbeContext) -> bool:
    gpus = context.machine.driver().gpus
    if entry.isdecimal():
        # With MIG on, numbers may count instances.
        return int(entry) < max(len(gpus), sum(len(gpu.mig or ()) for gpu in gpus))
    if not entry.startswith(("GPU-", "MIG-")):
        return False
    if entry.startswith("MIG-GPU-"):  # of drivers before R470
        return True
    return any(name.startswith(entry) for gpu in gpus for name in (gpu.uuid, *(gpu.mig or ())))


def gpu_metrics(context: ProbeContext, *, wanted: bool = False) -> list[CheckResult]:
    """Whether this user may sample GPU metrics.

    Args:
        context: the machine.
        wanted: whether somebody has asked for them; it is a problem only then.
    """
    said = context.machine.driver()
    if not said.gpus:
        return []
    check = "GPU metrics"
    allowed = may_read_counters(context)
    if allowed is None:
        what = "cannot tell whether GPU metrics may be sampled (nothing else needs them)"
        return [CheckResult(check, "skipped", what, "no /proc/driver/nvidia/params")]
    if allowed:
        return [CheckResult(check, "ok", "GPU metrics may be sampled", allowed)]
    return [
        CheckResult(
            check,
            "problem" if wanted else "ok",
            "this user may not sample GPU metrics (ERR_NVGPUCTRPERM)"
            + ("" if wanted else "; nothing else needs the right"),
            FORBIDDEN,
            LET_COUNT,
        )
    ]


FORBIDDEN = "RmProfilingAdminOnly: 1, no CAP_SYS_ADMIN"
LET_COUNT = (
    "run as root, in a container with --cap-add=SYS_ADMIN, or let every user: 'options nvidia "
    "NVreg_RestrictProfilingToAdminUsers=0' in /etc/modprobe.d, and restart"
)


def may_read_counters(context: ProbeContext) -> str | None:
    """Why this user may read the GPU's performance counters; "" if not, None if that is unknown."""
    parameters = context.machine.read("/proc/driver/nvidia/params")
    if parameters is None:
        return None
    if re.search(r"^RmProfilingAdminOnly: *1", parameters, re.MULTILINE) is None:
        return "the driver lets every user"
    return "this user has the right" if _privileged(context, context.machine.driver()) else ""


def _privileged(context: ProbeContext, said: Driver) -> bool:
    match = re.search(
        r"^CapEff:\s*([0-9a-f]+)", context.machine.read("/proc/self/status") or "", re.MULTILINE
    )
    capabilities = int(match[1], 16) if match else 0
    if capabilities >> _SYS_ADMIN & 1:
        return True
    major = said.version.partition(".")[0]
    new = major.isdecimal() and int(major) >= _PERFMON_DRIVER
    return new and bool(capabilities >> _PERFMON & 1)


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
