"""What ``pytest-nsys stats`` shows: a capture's metrics, kernels and ranges."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pytest_nsys.catalogue import lookup
from pytest_nsys.cut import Cut, cut_named, cut_ranges, user_ranges, whole
from pytest_nsys.measure import measure_cut
from pytest_nsys.measurement import WindowMeasurement
from pytest_nsys.metrics.naming import Naming
from pytest_nsys.metrics.window import durations
from pytest_nsys.quantities import format_amount
from pytest_nsys.report.text import table
from pytest_nsys.trace import Trace

SCHEMA = 1
_SHOWN_KERNELS = 30
_NAME = 78


def stats_document(
    trace: Trace, range_name: str | None = None, naming: Naming = Naming()
) -> dict[str, Any]:
    """Everything there is to say of a capture, or of all instances of one NVTX range together.

    Returns:
        schema, environment, metrics (by key; ns, bytes and counts), kernels (largest total
        first; ns), ranges (the program's own, by text).

    Raises:
        NotACapture: there is no range of that name.
    """
    ranges = user_ranges(trace)
    cut = whole(trace) if range_name is None else cut_named(trace, range_name)
    return {
        "schema": SCHEMA,
        "environment": {
            "gpu": ", ".join(gpu.name for gpu in trace.gpus),
            "driver": trace.driver,
            "cuda": trace.cuda,
            "nsys": trace.nsys,
            "schema": trace.schema,
        },
        "metrics": _metrics(measure_cut(cut, range_name or "capture", naming)),
        "kernels": kernel_rows(cut, naming),
        "ranges": [
            {
                "name": str(name),
                "count": len(rows),
                "metrics": _metrics(measure_cut(cut_ranges(trace, rows), str(name), naming)),
            }
            for name, rows in ranges.groupby("text", sort=True)
            if range_name is None or name == range_name
        ],
    }


def _metrics(window: WindowMeasurement) -> dict[str, float]:
    return {key: _plain(window[key]) for key in sorted(window.samples)}


def _plain(value: float) -> float:
    return int(value) if value == int(value) else value


def kernel_rows(cut: Cut, naming: Naming) -> list[dict[str, Any]]:
    """Per raw kernel name: count, and total, shortest, longest and median duration."""
    kernels = cut.trace.kernels
    # A kernel may lie in nested ranges of one name; it ran once.
    rows = pd.unique(cut.kernels.row)
    frame = pd.DataFrame({"name": kernels["name"].to_numpy()[rows], "ns": durations(kernels)[rows]})
    grouped = frame.groupby("name")["ns"].agg(["count", "sum", "min", "max", "median"])
    names = [cut.trace.strings[int(key)] for key in grouped.index]
    found = [
        {
            "name": name,
            "canonical": naming.canonical(name),
            "category": naming.category(name),
            "count": int(row["count"]),
            "total_ns": int(row["sum"]),
            "min_ns": int(row["min"]),
            "max_ns": int(row["max"]),
            "median_ns": _plain(float(row["median"])),
        }
        for name, (_, row) in zip(names, grouped.iterrows(), strict=True)
    ]
    return sorted(found, key=lambda row: (-row["total_ns"], row["name"]))


def stats_lines(document: dict[str, Any]) -> list[str]:
    """The document as text for an 80-column terminal; kernels by their canonical names."""
    environment = ", ".join(
        f"{name} {value}" for name, value in document["environment"].items() if value
    )
    lines = [environment, "", "metrics that are not zero:"]
    shown = {key: value for key, value in document["metrics"].items() if value}
    metrics = [(key, format_amount(value, lookup(key).unit), "") for key, value in shown.items()]
    lines += table([("metric", "value", ""), *metrics])
    kernels = document["kernels"]
    if kernels:
        lines += ["", "kernels:"]
        for kernel in kernels[:_SHOWN_KERNELS]:
            total, median = (
                format_amount(kernel[name], "ns") for name in ("total_ns", "median_ns")
            )
            name = kernel["canonical"]
            lines.append(f"  {total:>9} = {kernel['count']:>6} x {median:>9}  {kernel['category']}")
            lines.append(f"      {name if len(name) <= _NAME - 6 else name[: _NAME - 9] + '...'}")
        if len(kernels) > _SHOWN_KERNELS:
            lines.append(f"  and {len(kernels) - _SHOWN_KERNELS} more (--format json has all)")
    if document["ranges"]:
        lines += ["", "NVTX ranges:"]
        rows = [("range", "count", "kernels", "kernel time", "")]
        for part in document["ranges"]:
            metrics = part["metrics"]
            rows.append(
                (
                    part["name"][:40],
                    str(part["count"]),
                    str(metrics["gpu.kernel_count"]),
                    format_amount(metrics["gpu.kernel_time"], "ns"),
                    "",
                )
            )
        lines += table(rows)
    return lines
