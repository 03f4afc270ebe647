"""The document of ``pytest-nsys stats`` as text for an 80-column terminal."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from pytest_nsys.catalogue import METRICS, lookup
from pytest_nsys.insights.bottlenecks import Bottleneck
from pytest_nsys.insights.bottlenecks.bottleneck import bottleneck_lines
from pytest_nsys.offline.stats_tests_text import name_of, window_lines
from pytest_nsys.support.text import WIDTH, cut, table, wrapped
from pytest_nsys.support.units import Unit, format_amount, format_count

_SHOWN = 30
_SHOWN_KERNELS = 20
_SHOWN_PARTS = 12
_MOST, _NEARLY_ALL = 0.5, 0.9
"""Shares of a kernel's time of a launch configuration that stands for it, and needs no word."""

_ORDER = {metric.key: number for number, metric in enumerate(METRICS)}

_AMOUNTS: tuple[tuple[str, str, Unit], ...] = (("bytes", "bytes", "B"), ("total_ns", "time", "ns"))
_TIMES = (
    ("wall time", "wall.time"),
    ("kernels", "gpu.kernel_count"),
    ("kernel time", "gpu.kernel_time"),
    ("syncs", "sync.count"),
)
_ON_DEVICE = (
    ("kernels", "gpu.kernel_count"),
    ("kernel time", "gpu.kernel_time"),
    ("busy", "gpu.busy"),
    ("peak memory", "mem.peak_total"),
)
_IN_PROCESS = (
    ("kernels", "gpu.kernel_count"),
    ("kernel time", "gpu.kernel_time"),
    ("calls", "api.count"),
    ("peak memory", "mem.peak_total"),
)
_OF_INSTANCE = (("wall", "wall.time"), ("kernels", "gpu.kernel_time"))
_SPREAD = ("min", "median", "max", "sd")
_IN_TESTS = "bottlenecks in the tests' rounds:"

_Json = Mapping[str, Any]


def stats_lines(document: _Json) -> list[str]:
    """Everything in the document but long tails; kernels by their canonical names.

    Of a capture of tests, these come first: what else is in it ran around them.
    """
    tests = document["tests"]
    return [
        *_environment(document["environment"]),
        *_section("notes on this capture:", map(_bullet, document["defects"])),
        *window_lines(tests),
        *_outside(document["outside"]["tests"], "round of a test"),
        *(_section(_IN_TESTS, [_bottlenecks(document["findings"])]) if tests else ()),
        *(("", "the whole capture, with what ran around the tests:") if tests else ()),
        *_section("metrics that are not zero:", [_metrics(document["metrics"])]),
        *_section("kernels by category:", [_parts("category", document["categories"])]),
        *_kernels(document["kernels"]),
        *_section("copies:", [_parts("copy", document["copies"])]),
        *_section("memory sets:", [_parts("memory set", document["memsets"])]),
        *_section("CUDA API calls:", [_parts("call", document["calls"])]),
        *_section(
            "allocations live at the memory peak:",
            [_parts("size", document["allocations"])],
        ),
        *_section("streams:", [_streams(document["streams"])]),
        *_section("devices:", [_devices(document["devices"])]),
        *_section("processes:", [_processes(document["processes"])]),
        *_section("NVTX ranges:", [_ranges(document["ranges"])]),
        *_outside(document["outside"]["ranges"], "NVTX range"),
        *_section("instances of NVTX ranges:", [_instances(document["ranges"])]),
        *(() if tests else _section("bottlenecks:", [_bottlenecks(document["findings"])])),
    ]


def recording_lines(path: Path, document: _Json) -> list[str]:
    """The tests of a recording of several captures; see `recording_document`."""
    captures: Sequence[str] = document["captures"]
    command = f"  pytest-nsys stats {shlex.quote(str(path / captures[0]))}"
    lines = [*_environment(document["environment"]), *window_lines(document["tests"])]
    by_place = groupby(document["findings"], key=lambda row: (row["nodeid"], row["window"]))
    for (nodeid, window), rows in by_place:
        where = name_of({"nodeid": nodeid, "window": window})
        found = [{key: row[key] for key in row if key != "nodeid"} for row in rows]
        lines += _section(f"bottlenecks in {where}:", [_bottlenecks(found)])
    return [*lines, "", "each capture as a whole, with what ran around the tests:", command]


def _section(title: str, blocks: Iterable[Sequence[str]]) -> list[str]:
    lines = [line for block in blocks for line in block]
    return ["", title, *lines] if lines else []


def _environment(environment: _Json) -> list[str]:
    gpus = Counter(filter(None, str(environment["gpu"]).split(", ")))
    shown = {
        **environment,
        "gpu": ", ".join(f"{n}x {name}" if n > 1 else name for name, n in gpus.items()),
        "cuda": _cuda_version(environment["cuda"]),
    }
    text = ", ".join(f"{name} {value}" for name, value in shown.items() if value)
    return wrapped(_plain(text), "", "  ")


def _cuda_version(number: str) -> str:
    """``13.0`` for CUDA's own ``13000``."""
    return f"{int(number) // 1000}.{int(number) % 1000 // 10}" if number.isdecimal() else number


def _bullet(text: str) -> list[str]:
    return wrapped(_plain(text), "  - ", "    ")


def _metrics(metrics: Mapping[str, float]) -> list[str]:
    keys = sorted(metrics, key=lambda key: (_ORDER.get(key, len(_ORDER)), key))
    rows = [(key, _amount(key, metrics), "") for key in keys if metrics[key]]
    return table([("metric", "value", ""), *rows]) if rows else []


def _amount(key: str, metrics: Mapping[str, float]) -> str:
    return format_amount(metrics[key], lookup(key).unit) if key in metrics else "-"


def _kernels(kernels: Sequence[_Json]) -> list[str]:
    lines = []
    for kernel in kernels[:_SHOWN_KERNELS]:
        total, median = (format_amount(kernel[name], "ns") for name in ("total_ns", "median_ns"))
        lines.append(f"  {total:>9} = {kernel['count']:>6} x {median:>9}  {kernel['category']}")
        # What tells kernels of one template apart stands far behind in their names: two lines.
        room = WIDTH - 6
        name = _short(kernel["canonical"], 2 * room, head=1.0)
        lines += ["      " + name[at : at + room].rstrip() for at in range(0, len(name), room)]
        lines += wrapped(launch_words(kernel), "        ", "        ")
    title = "kernels (total, count, median):"
    if any(kernel["launches"] for kernel in kernels):
        title = "kernels (total, count, median; occupancy is the theoretical one):"
    return _section(title, [lines, _more(kernels, _SHOWN_KERNELS)])


def launch_words(kernel: _Json) -> str:
    """How it was launched: in the configuration that took the most of its time, if one does."""
    if not kernel["launches"]:
        return ""
    first = kernel["launches"][0]
    share = first["total_ns"] / (kernel["total_ns"] or 1)
    if share < _MOST and kernel["configurations"] > 1:
        return f"in {kernel['configurations']} launch configurations"
    grid, block = ("x".join(map(str, first[name])) for name in ("grid", "block"))
    words = [f"grid {grid}", f"block {block}", f"{first['registers']} registers"]
    for memory in ("shared", "local"):
        if amount := first[f"{memory}_bytes"]:
            words.append(f"{format_amount(amount, 'B')} {memory}")
    if (percent := first["occupancy_pct"]) is not None:
        by = f" ({first['limited_by']})" if first["limited_by"] else ""
        words.append(f"occupancy {percent:.0f}%{by}")
    return ("" if share >= _NEARLY_ALL else "mostly ") + ", ".join(words)


def _parts(what: str, parts: Sequence[_Json]) -> list[str]:
    """A breakdown: name, count, and the amounts it has."""
    if not parts:
        return []
    amounts = [amount for amount in _AMOUNTS if amount[0] in parts[0]]
    rows = [(what, "count", *(head for _, head, _ in amounts), "")]
    for part in parts[:_SHOWN_PARTS]:
        figures = [format_amount(part[key], unit) for key, _, unit in amounts]
        rows.append((_short(part["name"], 44), str(part["count"]), *figures, ""))
    return [*table(rows), *_more(parts, _SHOWN_PARTS)]


def _streams(streams: Sequence[_Json]) -> list[str]:
    if len(streams) < 2:
        return []
    largest = sorted(streams, key=lambda row: -row["total_ns"])
    rows: list[tuple[str, ...]] = [("device", "process", "stream", "operations", "time", "")]
    rows += [
        (
            *(str(row[name]) for name in ("device", "process", "stream", "count")),
            format_amount(row["total_ns"], "ns"),
            "",
        )
        for row in largest[:_SHOWN_PARTS]
    ]
    return [*table(rows), *_more(streams, _SHOWN_PARTS)]


def _devices(devices: Sequence[_Json]) -> list[str]:
    names = [f"{row['device']} {row['name']}" for row in devices]
    return _overview("device", names, devices, _ON_DEVICE)


def _processes(processes: Sequence[_Json]) -> list[str]:
    return _overview("process", [str(row["process"]) for row in processes], processes, _IN_PROCESS)


def _instances(ranges: Sequence[_Json]) -> list[str]:
    """How far the instances of a range differ, of those with several."""
    several = [row for row in _largest_ranges(ranges) if row["count"] > 1]
    if not several:
        return []
    names = ["range"]
    figures: list[tuple[str, ...]] = [("count", "", *_SPREAD)]
    for row in several[:_SHOWN_PARTS]:
        name, count = row["name"], str(row["count"])
        for what, key in _OF_INSTANCE:
            found = row["instances"].get(key)
            if found and found["max"]:
                amounts = [format_amount(found[one], "ns") for one in _SPREAD]
                names.append(name)
                figures.append((count, what, *amounts))
                name = count = ""
    room = _room(figures)
    lines = [(_short(name, room), *line, "") for name, line in zip(names, figures, strict=True)]
    return [*table(lines), *_more(several, _SHOWN_PARTS)]


def _room(figures: Sequence[Sequence[str]]) -> int:
    """Characters that are left for names beside columns of figures."""
    widths = [max(map(len, column)) for column in zip(*figures, strict=True)]
    return WIDTH - 2 - sum(2 + width for width in widths)


def _largest_ranges(ranges: Sequence[_Json]) -> list[_Json]:
    return sorted(ranges, key=lambda row: (-row["metrics"]["gpu.kernel_time"], row["name"]))


def _ranges(ranges: Sequence[_Json]) -> list[str]:
    largest = _largest_ranges(ranges)
    counts = [str(row["count"]) for row in largest]
    names = [row["name"] for row in largest]
    return _overview("range", names, largest, _TIMES, ("count", counts))


def _overview(
    what: str,
    names: Sequence[str],
    rows: Sequence[_Json],
    columns: Sequence[tuple[str, str]],
    counts: tuple[str, Sequence[str]] | None = None,
    *,
    head: float = 0.5,
) -> list[str]:
    """A line per row of the document: its name, how often, and a few of its metrics.

    Of a name that is too long, its beginning gets the part ``head`` of the room.
    """
    if not rows:
        return []
    figures = [[_amount(key, row["metrics"]) for _, key in columns] for row in rows[:_SHOWN]]
    heads = [head for head, _ in columns]
    if counts is not None:
        heads = [counts[0], *heads]
        figures = [[count, *line] for count, line in zip(counts[1], figures, strict=False)]
    room = _room([heads, *figures])
    lines = [
        (_short(name, room, head), *line, "") for name, line in zip(names, figures, strict=False)
    ]
    return [*table([(what, *heads, ""), *lines]), *_more(rows, _SHOWN)]


def _outside(outside: _Json | None, what: str) -> list[str]:
    if outside is None or not outside["count"]:
        return []
    time = format_amount(outside["total_ns"], "ns")
    return [f"  in no {what}: {format_count(outside['count'], 'GPU operation')}, {time}"]


def _bottlenecks(rows: Sequence[_Json]) -> list[str]:
    found = (Bottleneck(**{**row, "evidence": tuple(row["evidence"])}) for row in rows)
    return bottleneck_lines(found)


def _more(rows: Sequence[object], shown: int) -> list[str]:
    return [f"  and {len(rows) - shown} more (--format json has all)"] if len(rows) > shown else []


def _short(text: str, width: int, head: float = 0.5) -> str:
    """The text on one line; if it is too long, without its middle: names differ at both ends."""
    return cut(_plain(text), width, int((width - 3) * head))


def _plain(text: str) -> str:
    """The text without what a terminal would act on."""
    return "".join(char if char.isprintable() else " " for char in text)
