"""The catalogue of metrics for people: as a table, as JSON, and as a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pytest_nsys.catalogue import (
    FAMILIES,
    METRICS,
    RANGE_ABOUT,
    RANGE_KEY,
    SERVER_GATES,
    Metric,
    is_gated,
    lookup,
)
from pytest_nsys.gpu.peaks import MODELS, PRECISIONS, Model
from pytest_nsys.kernels import CATEGORIES
from pytest_nsys.support.text import markdown_row, wrapped
from pytest_nsys.support.units import format_tolerance

_HEADS = ("metric", "unit", "kind", "worse", "tolerance", "default")
_OF_METRIC = "as METRIC"

PER_UNIT_KEY = "METRIC.per_<unit>"
PER_UNIT_ABOUT = (
    "any metric over the units that a round processed: X.per_token where the test said "
    "nsys.units(tokens=256), or where a client of a server counted the tokens"
)

_TITLES = {
    "gpu": "Kernels and the GPU's time",
    "work": "Kernels and the GPU's time",
    "memcpy": "Copies",
    "memset": "Memory sets",
    "um": "Unified memory",
    "sync": "Waiting for the GPU",
    "mem": "Device memory",
    "nccl": "Communication",
    "graph": "CUDA graphs and launches",
    "launch": "CUDA graphs and launches",
    "api": "The host",
    "wall": "The host",
    "process": "Several processes",
    "client": "Clients of a server",
    "step": "Steps of a server",
    "prefill": "Steps of a server",
    "decode": "Steps of a server",
    "sm": "GPU metrics",
    "tensor": "GPU metrics",
    "dram": "GPU metrics",
    "pcie": "GPU metrics",
}
_FAMILIES_TITLE = "With a name, and of others"

_PAGE = """\
# Metrics

<!-- Made by "make docs" from the catalogue in the code: do not edit. -->

What `pytest-nsys metrics` prints. Every number is of one *window*: a round of a test, a part of one
(`nsys.range`), or all instances of one of the program's own NVTX ranges.

- kind: *exact* metrics (counts, bytes) are compared with the range of the baseline's samples,
  *timed* ones by their medians.
- worse: the direction in which a metric gets worse.
- tolerance: how far it may move where it is gated; the larger of the two parts.
- by default: *gated* ones fail a test that got worse; those of *servers* where a client loads one
  (below). The others are *listed*: recorded and shown. They are gated where a marker or
  `nsys_tolerance` gives them a tolerance, or a marker a budget.

Names in capitals are the tables of the nsys export (without `CUPTI_ACTIVITY_KIND_`).
"""
_SERVERS = """
## Servers

A window of a server (`server.window`) has the metrics above for each of its *rounds*: what the
server's processes launched while the client sent the round's requests, and what the client measured
of them (`client.*`). Its units are `token` (output tokens) and `request` (answered requests), which
are counted in each round: `X.per_token` is a quotient for each. With a baseline it can be compared
where their numbers are within 5 % of each other.

A server puts requests together as they come, so that the number of kernels, copies and waits
depends on when each of them arrives. Where a client measured, these are gated by default in the
place of the above:

"""
_SERVERS_REST = """
Any metric that a marker or `nsys_tolerance` names is gated as everywhere; exact ones are compared
with the range of the baseline's samples over rounds and processes. Windows of commands
(`nsys_run`), and of servers that no load was sent to by the window, have the gates of tests.

- `mem.*` is not measured of a running server: what it allocated before the window is not in the
  capture, and nsys gets the events of memory right in the first collection only.
- `process.skew_pct` says how evenly the ranks of a tensor-parallel server work; `gpu.kernel_time`
  is the sum over all processes.
- Prefill and decode are told apart by the program's own NVTX ranges
  (`range[prefill].gpu.kernel_time`), or by their kernels (`kernel[*decode*].time`) where the engine
  names them so. There is no metric for them by itself: engines run both in one batch, with kernels
  of the same names.
"""
_WORK = """
## Work, and shares of the peak

A test that knows how much it computes and moves says so, and has rates of it and shares of what
its GPU is made for:

```python
@pytest.mark.nsys(budget={"gpu.pct_peak_flops": 60})  # at least: more of it is better
def test_gemm(nsys):
    nsys.units(flops=2 * m * n * k, bytes=2 * (m * k + k * n + m * n), precision="bf16")
    a @ b
```

```text
gpu.flops_per_s = flops / gpu.busy        gpu.pct_peak_flops = 100 * gpu.flops_per_s / peak
gpu.bytes_per_s = bytes / gpu.busy        gpu.pct_peak_bw = 100 * gpu.bytes_per_s / bandwidth
```

- The time is `gpu.busy`, of each round: that in which the GPU did anything. Of kernels one after
  another it is `gpu.kernel_time`. Kernels side by side count once, copies on the device (what
  `x.clone()` is) and memory sets count, and time in which the GPU is idle does not. Copies from
  and to the host count, too: keep them out of the body, with `nsys(function, ...)` or a range.
- It is summed over devices, so that a rate is that of one of them.
- `flops`: a multiply-add is two. `bytes` are those that the algorithm has to read from device
  memory and write to it: what kernels really move is not in a capture. Where they find it in a
  cache, the share can be more than 100 %, which is a warning.
- Work that is said within `nsys.range` is that of the range alone, each time that it is entered.
  How much of it one kernel does is not known: to see the rate of a kernel, put a range around its
  call. All other units are of the whole round, wherever they are said.
- The bandwidth is that of the capture: clock and width of the memory, as the driver says them.
- The peak is that of NVIDIA's data sheet for the model and the precision, dense: what kernels are
  compared with in the field. It is multiprocessors x boost clock x operations of a multiprocessor
  per clock. At another clock a GPU can be above it: an H200 that computes in bf16 at 1.98 GHz
  reaches up to 108 % of the data sheet's 989 TFLOP/s, which are for 1.83 GHz.
- Precisions are those below; fp64 and fp32 are of CUDA cores, all others of tensor cores.
  GeForce, RTX and other GPUs that are not in the table have no `gpu.pct_peak_flops`, and a note
  says so: a capture does not say how fast their tensor cores are. Budget `gpu.flops_per_s` there.

These metrics are not gated unless a marker or `nsys_tolerance` names them: as long as the work is
the same they say what `gpu.kernel_time` says, and would fail by the same slow-down. They are
compared by their own change (a share in percentage points: `"3 pp"`), and are not judged again at
another clock. With both flops and bytes the HTML page has a roofline.

What is good? On an H200, PyTorch's product of two bf16 matrices of 8192 x 8192 reached 80.7 % of
the peak, and copies of 4 GiB 88 % of the bandwidth (`tests/gpu/test_work.py`, 2026-12-01).

TFLOP/s, dense:

"""
_CATEGORIES = """
## Categories of kernels

For `category[NAME].time`. What a kernel is follows from its name; the hook
`pytest_nsys_kernel_category` has the first word.
"""
_OWN = """
## Metrics of your own

The hook `pytest_nsys_metrics`, in a `conftest.py` or a plugin, adds metrics that are measured,
gated and shown like these (one that the ini file names must be in the root's `conftest.py`):

```python
import numpy as np
from pytest_nsys import CustomMetric, Metric, Tolerance


def longest_kernel(cut):
    \"\"\"ns, one number per window; NaN where there is none.\"\"\"
    ns = (cut.trace.kernels["end"] - cut.trace.kernels["start"]).to_numpy()
    longest = np.zeros(len(cut))
    np.maximum.at(longest, cut.kernels.window, ns[cut.kernels.row])
    return longest


def pytest_nsys_metrics():
    about = "the longest kernel"
    metric = Metric("ours.longest_kernel", "ns", "timed", about, Tolerance(0.1), combine="max")
    return [CustomMetric(metric, longest_kernel)]
```

`cut.trace` holds the tables (see `help(pytest_nsys.Trace)`); `cut.kernels`, `.copies`,
`.memsets`, `.graphs` and `.calls` say which rows belong to which window. `combine` says how several
windows of one round become one number. `gated=True` gates it by default. The `pytest-nsys` command
knows no hooks, and so none of these.
"""


@dataclass(frozen=True)
class CatalogueEntry:
    """A line of the catalogue, in words."""

    key: str
    unit: str
    kind: str
    worse: str
    tolerance: str
    default: str
    about: str

    @property
    def cells(self) -> tuple[str, ...]:
        """All but the definition."""
        return (self.key, self.unit, self.kind, self.worse, self.tolerance, self.default)


def matching(pattern: str = "") -> list[Metric]:
    """The metrics whose key or definition contains the pattern, in which * and ? are wild."""
    wanted = f"*{pattern}*".lower()
    return [
        metric
        for metric in (*METRICS, *FAMILIES)
        if fnmatchcase(metric.key.lower(), wanted) or fnmatchcase(metric.about.lower(), wanted)
    ]


def catalogue_document(metrics: Sequence[Metric]) -> dict[str, Any]:
    """The catalogue as JSON values.

    Args:
        metrics: those to list.

    Returns:
        - schema: 1.
        - metrics: key, unit, kind, worse, tolerance (relative, absolute in the unit; null if there
          is none), gated, about; NAME in a key stands for any pattern.
        - range, per_unit: key and about of the two ways to make metrics of others.
        - server_gates: key and tolerance of what is gated by default where clients load a server.
        - categories: name and about of the categories of kernels.
    """
    return {
        "schema": 1,
        "metrics": [
            {
                "key": metric.key,
                "unit": metric.unit,
                "kind": metric.kind,
                "worse": metric.worse,
                "tolerance": vars(metric.tolerance) if metric.tolerance else None,
                "gated": metric.gated,
                "about": metric.about,
            }
            for metric in metrics
        ],
        "range": {"key": RANGE_KEY, "about": RANGE_ABOUT},
        "per_unit": {"key": PER_UNIT_KEY, "about": PER_UNIT_ABOUT},
        "server_gates": [
            {"key": key, "tolerance": vars(tolerance)} for key, tolerance in SERVER_GATES.items()
        ],
        "categories": [{"name": name, "about": about} for name, about in CATEGORIES.items()],
    }


def catalogue_lines(metrics: Iterable[Metric], *, whole: bool) -> list[str]:
    """The catalogue as text for an 80-column terminal.

    Args:
        metrics: those to list.
        whole: whether what is made of metrics, gated for servers, and the categories follow.
    """
    entries = [*map(_entry, metrics), *(_of_others() if whole else ())]
    rows = (_HEADS, *(entry.cells for entry in entries))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_row(_HEADS, widths)]
    for entry in entries:
        lines += [_row(entry.cells, widths), *wrapped(entry.about, "    ", "    ")]
    if not whole:
        return lines
    lines += ["", "gated by default where clients load a server, in the place of the above:"]
    longest = max(map(len, SERVER_GATES))
    lines += [f"  {key.ljust(longest)}  {tolerance}" for key, tolerance in _server_gates()]
    lines += ["", "categories of kernels:"]
    longest = max(map(len, CATEGORIES))
    return lines + [f"  {name.ljust(longest)}  {about}" for name, about in CATEGORIES.items()]


def _server_gates() -> list[tuple[str, str]]:
    return [
        (key, format_tolerance(tolerance, lookup(key).unit))
        for key, tolerance in SERVER_GATES.items()
    ]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def catalogue_page() -> str:
    """The catalogue as a page of the documentation (Markdown)."""
    sections: dict[str, list[CatalogueEntry]] = {}
    for metric in METRICS:
        title = _TITLES[metric.key.partition(".")[0]]
        sections.setdefault(title, []).append(_entry(metric))
    sections[_FAMILIES_TITLE] = [*map(_entry, FAMILIES), *_of_others()]
    heads = ("metric", "unit", "kind", "worse", "tolerance", "by default", "definition")
    page = [_PAGE]
    for title, entries in sections.items():
        rows = ((f"`{entry.key}`", *entry.cells[1:], entry.about) for entry in entries)
        page += [f"\n## {title}\n\n", *_markdown(heads, rows)]
    gates = [f"- `{key}`: {tolerance}\n" for key, tolerance in _server_gates()]
    page += [_SERVERS, *gates, _SERVERS_REST]
    page += [_WORK, *_markdown(("GPU", *PRECISIONS), map(_peaks, MODELS))]
    page += [_CATEGORIES, "\n", *_markdown(("category", "what its kernels do"), CATEGORIES.items())]
    return "".join([*page, _OWN])


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    for cells in (heads, ["---"] * len(heads), *rows):
        yield markdown_row(cell.replace("|", "\\|") for cell in cells) + "\n"


def _peaks(model: Model) -> list[str]:
    peaks = (model.teraflops.get(precision) for precision in PRECISIONS)
    return [model.title, *("-" if peak is None else f"{peak:g}" for peak in peaks)]


def _entry(metric: Metric) -> CatalogueEntry:
    return CatalogueEntry(
        key=metric.key,
        unit=metric.unit,
        kind=metric.kind,
        worse=metric.worse,
        tolerance="-"
        if metric.tolerance is None
        else format_tolerance(metric.tolerance, metric.unit),
        default="gated" if metric.gated else "servers" if is_gated(metric) else "listed",
        about=metric.about,
    )


def _of_others() -> list[CatalogueEntry]:
    return [
        CatalogueEntry(key, "", "", "", _OF_METRIC, "listed", about)
        for key, about in ((RANGE_KEY, RANGE_ABOUT), (PER_UNIT_KEY, PER_UNIT_ABOUT))
    ]
