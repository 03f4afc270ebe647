"""The reports by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pytest_nsys.errors import SettingsError
from pytest_nsys.like_nsys.calls import cuda_api_sum
from pytest_nsys.like_nsys.kernels import cuda_gpu_kern_sum
from pytest_nsys.like_nsys.launches import cuda_kern_exec_sum
from pytest_nsys.like_nsys.projection import nvtx_gpu_proj_sum
from pytest_nsys.like_nsys.table import CsvTable
from pytest_nsys.like_nsys.transfers import cuda_gpu_mem_size_sum, cuda_gpu_mem_time_sum
from pytest_nsys.support.text import suggest
from pytest_nsys.trace.tables import Trace

Report = Callable[[Trace], CsvTable]

REPORTS: Final[Mapping[str, Report]] = {
    report.__name__: report
    for report in (
        cuda_gpu_kern_sum,
        cuda_gpu_mem_time_sum,
        cuda_gpu_mem_size_sum,
        cuda_api_sum,
        nvtx_gpu_proj_sum,
        cuda_kern_exec_sum,
    )
}
"""What each report is made by, under nsys's name for it."""


def like_nsys(trace: Trace, name: str) -> CsvTable:
    """The report of this name on a trace.

    Raises:
        SettingsError: there is no report of this name here; the nearest one is suggested.
    """
    if name not in REPORTS:
        raise SettingsError(
            f"there is no report {name!r} like nsys's", remedy=suggest(name, REPORTS)
        )
    return REPORTS[name](trace)
