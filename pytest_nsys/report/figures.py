"""The figures that people look for first: a row per test and window, a column per metric.

The terminal, Markdown, JSON and the page show the same table; this is it, as numbers.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pytest_nsys.catalogue import CLIENT, SAID_BY_TESTS, Gates, lookup
from pytest_nsys.measure.measurement import Samples, WindowMeasurement
from pytest_nsys.report.run import sides_of
from pytest_nsys.support.units import Unit
from pytest_nsys.verdict.noise import median_deviation
from pytest_nsys.verdict.verdict import SEVERITY, Status, Verdict


@dataclass(frozen=True)
class Column:
    """What a column shows.

    Attributes:
        head: its title.
        keys: the metrics that it adds up; mostly one.
    """

    head: str
    keys: tuple[str, ...]

    @property
    def unit(self) -> Unit:
        """The unit of its figures."""
        return lookup(self.keys[0]).unit


_COPIES = tuple(f"memcpy.{direction}.count" for direction in ("h2d", "d2h", "d2d", "p2p"))

COLUMNS: dict[Gates, tuple[Column, ...]] = {
    "test": (
        Column("kernel time", ("gpu.kernel_time",)),
        Column("kernels", ("gpu.kernel_count",)),
        Column("copies", _COPIES),
        Column("syncs", ("sync.count",)),
        Column("peak", ("mem.peak",)),
    ),
    "server": (
        Column("kernel/token", ("gpu.kernel_time.per_token",)),
        Column("tokens/s", (f"{CLIENT}tokens_per_s",)),
        Column("TTFT p50", (f"{CLIENT}ttft_p50",)),
        Column("p95", (f"{CLIENT}latency_p95",)),
        Column("busy", ("gpu.busy_pct",)),
    ),
}
"""What is shown where nobody chose, of a test's own work and of a server's under load; the change
and the scatter of the first are shown beside it."""


STEP_COLUMNS = (
    Column("steps", ("step.count",)),
    Column("tokens", ("step.tokens",)),
    Column("in flight", (f"{CLIENT}in_flight",)),
    Column("step", ("step.time",)),
    Column("gap", ("step.gap",)),
    Column("idle", ("step.idle",)),
    Column("decode/step", ("decode.step_kernel_time",)),
    Column("prefill/request", ("prefill.kernel_time.per_request",)),
)
"""What is shown beside them of the steps of a server's engine: kernel time of decoding per step and
of prompts per request, and where the time of a step goes."""


WORK_COLUMNS = (
    Column("FLOP/s", ("gpu.flops_per_s",)),
    Column("of peak", ("gpu.pct_peak_flops",)),
    Column("bytes/s", ("gpu.bytes_per_s",)),
    Column("of peak", ("gpu.pct_peak_bw",)),
)
"""What is shown, in a table of their own, of windows of which the test said how much work they do;
as far as any of them has it."""

Shown = Literal["test", "server", "work"]
"""What a table is of: tests' own work, servers under load, or rates of work that tests said."""


@dataclass(frozen=True)
class Figure:
    """A number of a window.

    Attributes:
        unit: of the amounts.
        current: what was measured; None if it was not.
        baseline: what it is compared with; None without one.
        scatter: how far a typical round is from the others of its process; see `scatter`.
    """

    unit: Unit
    current: float | None
    baseline: float | None = None
    scatter: float | None = None


@dataclass(frozen=True)
class FigureRow:
    """A window of a test.

    Attributes:
        nodeid: the test.
        window: name of the window.
        status: the worst of the window's gated comparisons; that of the test for its only window.
        figures: one per column.
        worse: what got worse, by metric.
    """

    nodeid: str
    window: str
    status: Status
    figures: tuple[Figure, ...]
    worse: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class FigureTable:
    """Rows that have their columns in common."""

    shown: Shown
    columns: tuple[Column, ...]
    rows: tuple[FigureRow, ...]


def figure_tables(verdicts: Iterable[Verdict], keys: Sequence[str] = ()) -> tuple[FigureTable, ...]:
    """The tables of a run: of what tests do themselves, of servers under load, and of rates of work
    that tests said; empty ones are left out.

    Args:
        verdicts: in the order of the rows.
        keys: the metrics to show in the place of the usual columns.
    """
    chosen = tuple(Column(key, (key,)) for key in keys)
    windows = [
        (verdict, name, window)
        for verdict in verdicts
        for name, window in verdict.measurement.windows.items()
    ]
    tables = [
        FigureTable(
            gates,
            columns := chosen or COLUMNS[gates],
            tuple(_row(*one, columns) for one in windows if one[2].gates == gates),
        )
        for gates in COLUMNS
    ]
    working = [one for one in windows if any(map(one[2].values, SAID_BY_TESTS))]
    rates = tuple(one for one in WORK_COLUMNS if any(w.values(one.keys[0]) for *_, w in working))
    if rates and not chosen:
        rows = (_row(*one, rates) for one in working)
        tables.append(FigureTable("work", rates, tuple(map(_of_work, rows))))
    return tuple(table for table in tables if table.rows)


def _row(
    verdict: Verdict, name: str, window: WindowMeasurement, columns: Sequence[Column]
) -> FigureRow:
    then = sides_of(verdict, name)[1]
    worse = {
        part.metric.key: figure_of(Column(part.metric.key, (part.metric.key,)), window, then)
        for part in verdict.worse
        if part.window == name
    }
    figures = tuple(figure_of(column, window, then) for column in columns)
    return FigureRow(verdict.nodeid, name, _status(verdict, name), figures, worse)


def _of_work(row: FigureRow) -> FigureRow:
    """The row without what another table says to have got worse."""
    return replace(row, worse={key: row.worse[key] for key in row.worse if key in SAID_BY_TESTS})


def _status(verdict: Verdict, window: str) -> Status:
    if len(verdict.measurement.windows) == 1:
        return verdict.status
    found = [part.status for part in verdict.comparisons if part.gated and part.window == window]
    found += [one.status for one in verdict.unmet if one.window == window]
    return max(found, key=SEVERITY.__getitem__, default=verdict.status)


def figure_of(
    column: Column, now: WindowMeasurement, then: WindowMeasurement | None = None
) -> Figure:
    """The number of a window in a column."""
    return Figure(
        unit=column.unit,
        current=_sum(column, now),
        baseline=None if then is None else _sum(column, then),
        scatter=scatter(now.by_process(column.keys[0])) if len(column.keys) == 1 else None,
    )


def _sum(column: Column, window: WindowMeasurement) -> float | None:
    known = [value for key in column.keys if (value := window.get(key)) is not None]
    return sum(known) if known else None


def scatter(samples: Samples) -> float | None:
    """How far a typical round is from its process's median, as a fraction of the median of all;
    None where no process has two rounds, or that median is zero.
    """
    deviation = median_deviation(samples)
    middle = statistics.median([value for process in samples for value in process] or [0.0])
    return deviation / abs(middle) if middle and deviation is not None else None
