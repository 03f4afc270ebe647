"""The reports by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pytest_nsys.trace.tables import Trace
from tests.parity.like_nsys.calls import cuda_api_sum
from tests.parity.like_nsys.kernels import cuda_gpu_kern_sum
from tests.parity.like_nsys.launches import cuda_kern_exec_sum
from tests.parity.like_nsys.projection import nvtx_gpu_proj_sum
from tests.parity.like_nsys.table import CsvTable
from tests.parity.like_nsys.transfers import cuda_gpu_mem_size_sum, cuda_gpu_mem_time_sum

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
    """The report of this name on a trace."""
    return REPORTS[name](trace)
