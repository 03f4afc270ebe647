"""A run's numbers in the formats of tools that keep benchmarks over time.

``bencher`` is version 0 of Bencher Metric Format (https://bencher.dev/bmf.json): one file,
``{BENCHMARK: {MEASURE: {"value", "lower_value", "upper_value"}}}``. A test, or a named window of
one, is a benchmark, a metric is a measure, and the bounds are the lowest and the highest round.

``github-benchmark`` is what github-action-benchmark takes of tools that it does not know: lists of
``{"name", "unit", "value", "range", "extra"}``. Its ``tool`` says of a whole list whether smaller
or bigger is better, so there are two files, called as that is: ``customSmallerIsBetter.json`` and
``customBiggerIsBetter.json``. It takes an empty list for an error, so there is none. The range is
the median distance of a round from the median of its process.

Both have what gates a test, in ns, bytes, counts or percent. Values are those of the JSON report.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_nsys.errors import ReportError
from pytest_nsys.plan.options import Export
from pytest_nsys.report.json import clean
from pytest_nsys.report.run import RunReport, gates_of, write_report
from pytest_nsys.support.files import writing
from pytest_nsys.support.json_lines import json_lines
from pytest_nsys.support.text import printable
from pytest_nsys.support.units import format_amount, format_change
from pytest_nsys.verdict.noise import median_deviation
from pytest_nsys.verdict.verdict import Comparison, Verdict
from pytest_nsys.windows.record import MAIN

_LONGEST_BENCHMARK = 1024
_LONGEST_MEASURE = 64
"""What Bencher takes, in bytes."""

_DIGEST = 8
_SMALLER, _BIGGER = "customSmallerIsBetter", "customBiggerIsBetter"
"""Two values of the input ``tool`` of github-action-benchmark."""


def write_export(run: RunReport, form: Export, path: Path) -> None:
    """Write the numbers of a run in a format of others.

    Args:
        run: what was found.
        form: the format.
        path: the file; of github-benchmark the folder of its two files. A list that would be empty
            is not written, and one of an earlier run is removed.

    Raises:
        ReportError: a file cannot be written.
    """
    _WRITERS[form](run, path)


def _write_bencher(run: RunReport, path: Path) -> None:
    _write(path, bencher_document(run))


def _write_github(run: RunReport, path: Path) -> None:
    for tool, entries in github_lists(run).items():
        file = path / f"{tool}.json"
        if entries:
            _write(file, entries)
            continue
        with writing(f"the report {file}", ReportError, "remove it, or name another folder"):
            file.unlink(missing_ok=True)


_WRITERS: Mapping[Export, Callable[[RunReport, Path], None]] = {
    "bencher": _write_bencher,
    "github-benchmark": _write_github,
}


def _write(path: Path, document: Any) -> None:
    write_report(path, [*json_lines(document, 2), "\n"])


def bencher_document(run: RunReport) -> dict[str, dict[str, dict[str, float]]]:
    """Bencher Metric Format: by benchmark and measure, the value and the range of the rounds."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for verdict, part in _numbers(run):
        rounds = _rounds(verdict, part)
        measures = found.setdefault(_fitting(_benchmark(verdict, part), _LONGEST_BENCHMARK), {})
        measures[_fitting(part.metric.key, _LONGEST_MEASURE)] = clean(
            {"value": part.current, "lower_value": min(rounds), "upper_value": max(rounds)}
        )
    return found


def github_lists(run: RunReport) -> dict[str, list[dict[str, Any]]]:
    """The entries of each of the two lists, by the ``tool`` that reads them."""
    lists: dict[str, list[dict[str, Any]]] = {_SMALLER: [], _BIGGER: []}
    for verdict, part in _numbers(run):
        metric = part.metric
        entry = {
            "name": printable(f"{_benchmark(verdict, part)} {metric.key}"),
            "unit": {"1": "count"}.get(metric.unit, metric.unit),
            "value": clean(part.current),
        }
        deviation = median_deviation(
            verdict.measurement.windows[part.window].by_process(metric.key)
        )
        if deviation is not None:
            entry["range"] = f"± {clean(deviation)}"
        lists[_SMALLER if metric.worse == "up" else _BIGGER].append(
            {**entry, "extra": "\n".join(_more(verdict, part))}
        )
    return lists


def _numbers(run: RunReport) -> Iterator[tuple[Verdict, Comparison]]:
    """What gates the tests of a run, as far as it is a number that JSON has."""
    for verdict in run.verdicts:
        for part in gates_of(verdict):
            if all(map(math.isfinite, (part.current or 0.0, *_rounds(verdict, part)))):
                yield verdict, part


def _rounds(verdict: Verdict, part: Comparison) -> list[float]:
    samples = verdict.measurement.windows[part.window].by_process(part.metric.key)
    return [value for process in samples for value in process]


def _benchmark(verdict: Verdict, part: Comparison) -> str:
    return verdict.nodeid + ("" if part.window == MAIN else f" [{part.window}]")


def _more(verdict: Verdict, part: Comparison) -> Iterator[str]:
    """What is shown beside the value."""
    if part.gated:
        yield part.status
    if part.baseline is not None and part.current is not None:
        unit = part.metric.unit
        then, now = format_amount(part.baseline, unit), format_amount(part.current, unit)
        yield f"{then} -> {now} ({format_change(part.baseline, part.current, unit)})"
    yield printable(verdict.measurement.device)


def _fitting(name: str, most: int) -> str:
    """The name in at most so many bytes; one that was cut ends with a digest of the whole."""
    text = printable(name)
    if len(text.encode()) <= most:
        return text
    digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:_DIGEST]
    return text.encode()[: most - _DIGEST - 1].decode(errors="ignore") + f"-{digest}"
