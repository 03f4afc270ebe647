"""Why a capture failed: the doctor's probes that fit an error, made when it happens."""

from __future__ import annotations

import re
from typing import TypeVar

from pytest_nsys import errors
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.doctor.context import CheckResult, Probe, ProbeContext
from pytest_nsys.doctor.machine import Machine
from pytest_nsys.doctor.probes import cupti, gpu, interference, python, system
from pytest_nsys.doctor.probes import nsys as nsys_probes
from pytest_nsys.doctor.this_machine import ThisMachine

_Error = TypeVar("_Error", bound=errors.NsysError)

_LONGEST_S = 20.0
"""The user waits for the error, so programs that are asked may not take longer, all together."""

_NAMED = "temporary files"
"""The check of which errors themselves say what is wrong."""


def _gpu_metrics_wanted(context: ProbeContext) -> list[CheckResult]:
    return gpu.gpu_metrics(context, wanted=True)


def _metrics_option(context: ProbeContext) -> list[CheckResult]:
    """What this nsys calls the option that samples GPU metrics; its name has changed."""
    if context.nsys is None or context.nsys.version[0] == _RENAMED:
        return []
    one = context.nsys.version[0] < _RENAMED
    name = "--gpu-metrics-device" if one else "--gpu-metrics-devices"
    return [
        CheckResult(
            "GPU metrics",
            "problem",
            f"nsys {context.nsys.version_text} calls the option {name}",
            remedy=f"write {name}=... in nsys_args",
        )
    ]


_RENAMED = 2024
"""Some time in the versions of this year."""

_FOLDERS: tuple[Probe, ...] = (system.temporary_folder, system.file_size)
_DRIVER: tuple[Probe, ...] = (gpu.driver, gpu.nsys_against_driver, gpu.visible_devices, gpu.mig)
_LIMITS: tuple[Probe, ...] = (system.memory_limit, system.process_limit)
_PARTS: tuple[Probe, ...] = (nsys_probes.importer, nsys_probes.libraries)
_OTHERS: tuple[Probe, ...] = (interference.sessions, interference.other_tools)

_IN_VAIN = (errors.NsysMissing, errors.NvtxRefused)
"""Errors of what is missing before a capture: to install it helps only where there is a GPU."""

_BY_TYPE: tuple[tuple[type[errors.NsysError], tuple[Probe, ...]], ...] = (
    (
        errors.NsysLaunchFailed,
        (*_FOLDERS, system.shared_memory, *_OTHERS, *_LIMITS, nsys_probes.libraries),
    ),
    (errors.ImporterFailed, (*_PARTS, *_FOLDERS, *_LIMITS)),
    (errors.CaptureMissing, (*_PARTS, *_FOLDERS, *_LIMITS)),
    (errors.ExportFailed, (*_FOLDERS, *_LIMITS)),
    (errors.WindowsMissing, (python.nvtx, *_OTHERS, *_FOLDERS)),
    (errors.NoGpu, _DRIVER),
    (errors.NoCudaEvents, (*_DRIVER, interference.other_tools)),
    (errors.DiagnosticError, (gpu.nsys_against_driver,)),
    (errors.EventsMissing, (gpu.nsys_against_driver, interference.other_tools)),
    (errors.DeadlineExceeded, (*_OTHERS, *_FOLDERS, *_LIMITS)),
    (errors.NoRunFolder, _FOLDERS),
    *((kind, (gpu.driver,)) for kind in _IN_VAIN),
    (errors.CuptiUnfit, (gpu.driver, gpu.visible_devices, gpu.mig, cupti.cupti)),
    (errors.CuptiTaken, (interference.other_tools,)),
    (errors.WorkerFailed, (interference.other_tools, *_LIMITS)),
)

# What nsys and the system print, and what it points to, in whatever error it is quoted.
_BY_TEXT: tuple[tuple[str, tuple[Probe, ...]], ...] = (
    (r"permission denied|read-only file system", (*_FOLDERS, system.shared_memory)),
    (r"file too large|no space left|disk quota|ProtobufSerialize", _FOLDERS),
    (r"agent launcher failed|sem_open|interprocess", (system.shared_memory, *_FOLDERS)),
    (r"temp_directory_path", (system.temporary_folder,)),
    (r"importer error|libdw", _PARTS),
    (r"no cuda (events|activit)|not supported by this build", _DRIVER),
    (r"payload extension", (python.nvtx,)),
    (
        r"ERR_NVGPUCTRPERM|permission to access NVIDIA|insufficient privilege",
        (_gpu_metrics_wanted,),
    ),
    (r"(unrecogni[sz]ed option|ambiguous).*gpu-metrics-device", (_metrics_option,)),
    (r"bad_alloc|cannot allocate|temporarily unavailable", _LIMITS),
)


def explain(error: errors.NsysError, context: ProbeContext) -> list[CheckResult]:
    """What on the machine may be the cause: problems first, then warnings.

    Only the probes that fit the error are made; they take a fraction of a second, unless what
    they ask hangs too, and make no capture. Empty for errors that are not about the machine.
    """
    results: list[CheckResult] = []
    for probe in _probes(error):
        try:
            found = probe(context)
        except Exception:  # its own defect, or no time left: others may know more
            continue
        results += [result for result in found if result not in results]
    return [
        result for status in ("problem", "warning") for result in results if result.status == status
    ]


def _probes(error: errors.NsysError) -> list[Probe]:
    found = [probe for kind, probes in _BY_TYPE if isinstance(error, kind) for probe in probes]
    if isinstance(error, errors.NsysNotFound):
        found.append(lambda context: nsys_probes.misplaced(context, error.what))
    text = f"{error.what}\n{error.evidence}"
    for pattern, probes in _BY_TEXT:
        if re.search(pattern, text, re.IGNORECASE):
            found += probes
    return list(dict.fromkeys(found))


def explained(
    error: _Error, nsys: NsysTool | None = None, machine: Machine | None = None
) -> _Error:
    """The error itself, with what `explain` found, and it does not say yet, in its evidence.

    The machine is this one, asked for a short time, unless another is named. The error's remedy,
    which had to be a guess, gives way to those of the problems that were found. It never raises:
    what goes wrong while explaining must not hide the error. Explaining an error twice changes
    nothing.
    """
    results = explain(error, ProbeContext(machine or ThisMachine(_LONGEST_S), nsys))
    lines = [error.evidence] if error.evidence else []
    at = 0 if isinstance(error, _IN_VAIN) else len(lines)
    for result in results:
        if line := _line(result, error):
            lines.insert(at, line)
            at += 1
            error.evidence = "\n".join(lines)
    remedies = [result.remedy for result in results if result.status == "problem"]
    if any(remedies):
        error.remedy = "; ".join(dict.fromkeys(filter(None, remedies)))
    return error


def _line(result: CheckResult, error: errors.NsysError) -> str:
    """What the result adds to what the error says; empty if that is nothing."""
    said = f"{error.what}\n{error.evidence}"
    seen = "; ".join(line for line in result.evidence.splitlines() if line not in said)
    if result.what in said or (result.evidence and not seen):
        return ""
    if result.check == _NAMED and _NAMED in error.what and result.status == "problem":
        return f"{result.check}: {seen}"
    return f"{result.check}: {result.what}" + (f" ({seen})" if seen else "")
