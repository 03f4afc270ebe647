"""The probe of Nsight Compute, which only ``--nsys-ncu`` needs."""

from __future__ import annotations

from pytest_nsys.doctor.context import CheckResult, ProbeContext
from pytest_nsys.doctor.probes.gpu import FORBIDDEN, LET_COUNT, may_read_counters
from pytest_nsys.errors import NcuNotFound

_NEEDED = "only --nsys-ncu needs"


def ncu(context: ProbeContext) -> list[CheckResult]:
    """Whether there is an ncu, and whether this user may read what it counts."""
    if not context.machine.driver().gpus:
        return []
    try:
        found = context.machine.find_ncu()
    except NcuNotFound as error:
        what = f"{error.what}; {_NEEDED} it"
        return [CheckResult("ncu", "ok", what, error.evidence, error.remedy)]
    name, path = f"ncu {found.version_text} is there", str(found.path)
    allowed = may_read_counters(context)
    if allowed is None:
        what = f"{name}; whether this user may read counters cannot be told"
        return [CheckResult("ncu", "ok", what, f"{path}\nno /proc/driver/nvidia/params")]
    if allowed:
        what = f"{name}, and this user may read counters"
        return [CheckResult("ncu", "ok", what, f"{path}\n{allowed}")]
    what = f"{name}, but this user may not read counters (ERR_NVGPUCTRPERM); {_NEEDED} the right"
    return [CheckResult("ncu", "ok", what, f"{path}\n{FORBIDDEN}", LET_COUNT)]
