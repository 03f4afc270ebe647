"""The probe of CUPTI, which measures within the process where there is no nsys, or by choice."""

from __future__ import annotations

from pytest_nsys.capture.cupti.library import cuda_of
from pytest_nsys.capture.cupti.records import sizes_of
from pytest_nsys.doctor.context import CheckResult, ProbeContext
from pytest_nsys.errors import CuptiError

_NEEDED = "only nsys_capture = cupti needs it"


def cupti(context: ProbeContext) -> list[CheckResult]:
    """Whether there is a libcupti, and one that fits the driver."""
    driver = context.machine.driver()
    if not driver.gpus:
        return []
    try:
        path, version = context.machine.find_cupti()
    except CuptiError as error:
        what = f"{error.what}; {_NEEDED}"
        return [CheckResult("cupti", "ok", what, error.evidence, error.remedy)]
    cuda = cuda_of(version)
    name = f"libcupti of CUDA {cuda}" if cuda else f"libcupti {version}"
    if driver.cuda is not None and version // 10000 > driver.cuda[0]:
        newest = ".".join(map(str, driver.cuda))
        return [
            CheckResult(
                "cupti",
                "warning",
                f"{name} is newer than the driver, which has CUDA {newest}; {_NEEDED}",
                path,
                "update the driver, or install a libcupti of its version "
                f"(pip install nvidia-cuda-cupti-cu{driver.cuda[0]})",
            )
        ]
    use = "nsys_capture = cupti measures in pytest's own process"
    if context.nsys is None:
        use = "without nsys, tests are measured with it in pytest's own process"
    known = "" if sizes_of(version) else "\nits records are not known: CUPTI says where they begin"
    return [CheckResult("cupti", "ok", f"{name} is there: {use}", f"{path}{known}")]
