"""Our tables in the columns of nsys's own reports: where both are equal, loading is right.

``like_nsys(trace, "cuda_gpu_kern_sum")`` is what ``nsys stats --report cuda_gpu_kern_sum`` of nsys
2025.3 says of the same capture, by nsys's definitions, also where ours differ: its NVTX
projection, for example, knows only what a range's own thread launched.
"""

from tests.parity.like_nsys.reports import REPORTS, like_nsys
from tests.parity.like_nsys.table import CsvTable, csv_text

__all__ = ["REPORTS", "CsvTable", "csv_text", "like_nsys"]
