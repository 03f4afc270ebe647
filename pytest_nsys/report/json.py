"""A run's results as JSON, for tools and dashboards.

Schema 3. A later version of this package may add keys; it raises ``schema`` when a key goes or
changes its meaning. Times are in ns and sizes in bytes unless a ``unit`` says otherwise.
``null`` stands for what was not measured, or cannot be compared; NaN and infinity never appear.
Numbers that are no whole ones have six digits, or three decimals from a thousand on. A small test
takes some 7 kB; the file is written test by test, each window and each row of a table on a line.

::

    {"schema": 3,
     "tool": {"name": "pytest-nsys", "version": "..."},
     "mode": "profile" | "gate" | "update" | "update-new",
     "command": text,                                          how the run was started; arguments of
                                                               others than this plugin are "..."
     "notes": [text, ...],                                     what was wrong with its captures
     "counts": {STATUS: tests, ..., "unmeasured": tests},      every status, zeros included
     "seconds": {"worker": 12.5, ...},                         where the time went
     "environment": {"gpu", "driver", "cuda", "nsys", "date", "commit": text,
                     "trace": [option, ...], "versions": {name: version},
                     "gpu_digests": [text, ...],                of the GPUs' UUIDs, if known
                     "server": [text, ...]} | null,             its engine and arguments; "..." for
                                                               what may be a secret
     "figures": [                                              the tables that the terminal shows:
       {"gates": "test" | "server",                            a test's own work, or under load
        "columns": [{"head": text, "keys": [metric, ...],      added up
                     "unit": UNIT}, ...],
        "rows": [{"nodeid", "window": text, "status": STATUS,  with "[DEVICE]" behind it, where
                                                               recordings have it of several
                  "figures": [{"current", "baseline": in unit | null,
                               "scatter": fraction | null},    of rounds within their process
                              ...]}, ...]}, ...],
     "tests": [                                                in the order of the run
       {"nodeid": text, "device": text,
        "recordings": [text, ...],                             those it was measured from; none of a
                                                               test that this run measured
        "status": STATUS,                                      the worst of its parts
        "failed": bool,                                        whether the test fails by it
        "headline": text,                                      the verdict in one line
        "knobs": [text, ...],                                  how a server was started otherwise
                                                               than then, and what that changed
        "improvements": [text, ...],                           what got better, in a line each
        "below_limit": [text, ...],                            kernels that changed within the limit
        "notes": [text, ...],
        "warnings": [text, ...],                               what is to be known though it passed
        "against": text,                                       the revision compared with, or ""
        "family_level": probability,                           that noise alone looks like a change
                                                               in any of its timed metrics, once
        "demands": [{"window", "status", "text"}, ...],        those that do not hold
        "findings": [{"name", "window", "summary",             bottlenecks, and what to try; window
                      "advice": text,                          is "" where it is the test's body
                      "share": fraction,                       of the time of its rounds
                      "evidence": [text, ...]}, ...],
        "counters": [{"kernel", "window": text,                what ncu counted of a kernel, where
                      "sentence": text,                        it was asked to, and what that says
                      "launches", "baseline_launches": count,  of so many the longest; 0: none then
                      "metrics": [{"key", "label": text,       official name; in ns, bytes, %
                                   "baseline", "current": number | null}]}, ...],
        "windows": [
          {"name": text, "units": {name: per round}, "precision": of its work or "",
           "zero": [metric, ...],                              what is 0 in every round, now and
                                                               then: not among the metrics
           "metrics": [
             {"key": text, "unit": "ns" | "B" | "1" | "%" | "B/s" | "1/s" | "Hz" | "°C" | "W",
              "kind": "exact" | "timed", "worse": "up" | "down",
              "status": STATUS,                                "ok" also where it is only shown
              "gated": bool,                                   whether it can fail the test
              "note": text,                                    why it cannot be told, or ""
              "accepted": text,                                why a regression is expected, or ""
              "baseline": median | null, "current": median | null,
              "change": current - baseline | null,
              "tolerance": {"relative": fraction, "absolute": in unit} | null,
              "limit": in unit | null,                         the largest change that passes: the
                                                               tolerance, or noise or resolution
                                                               that is larger
              "noise": in unit | null,                         standard error of the change
              "detectable": in unit | null,                    smallest true change that is found
                                                               with 95 % probability
              "resolution": in unit,                           the change below which a time made of
                                                               kernels says nothing, here or
                                                               against another GPU; else 0
              "samples": [[round, ...] of each process],       with nsys_json_samples = true, and
                                                               in pytest-nsys diff
              "baseline_samples": [[round, ...] of each process] | null,   likewise
              "culprits": [{"label": text,
                            "baseline_label": text,        another, of a kernel that was renamed
                            "baseline_count": number, "current_count": number,
                            "change": in unit,
                            "baseline_launch", "current_launch":   of a kernel: the configuration
                                {"grid", "block": [number, ...],   that took most of its time;
                                 "registers", "shared_bytes",      null: not known
                                 "local_bytes": number,
                                 "occupancy_pct": number | null,   theoretical
                                 "limited_by": text} | null},
                           ...]}],                             regressed metrics only
           "kernels": [{"name", "category": text,              per round; 0 where it does not run
                        "count", "total_ns": number | null,    null: window not measured
                        "baseline_count", "baseline_total_ns": number | null}],
           "copies": [{"name": text,                           by direction and size, as kernels
                       "count", "total_ns", "bytes": number | null,
                       "baseline_count", "baseline_total_ns", "baseline_bytes": number | null}],
           "memsets": [as copies],
           "calls": [{"name": text,                            CUDA API calls; time on the host
                      "count", "total_ns": number | null,
                      "baseline_count", "baseline_total_ns": number | null}],
           "syncs": [as calls]}]}],                            those that wait for the GPU
     "unmeasured": [{"nodeid": text,
                     "reason": "failed" | "skipped" | "xfailed" | text,
                     "baselines": [device, ...]}],             that have one, if it was skipped
     "baselines_written": [{"path": text, "nodeid": text, "new": bool}],
     "orphans": [{"path": text, "nodeid": text,                baselines whose test is gone, of
                  "device": text,                              files that were collected as a whole
                  "looks_like": text,                          a new test of the same kernels, or ""
                  "unmarked": bool}]}                          the test is there, and not measured

UNIT is one of "ns", "B", "1", "%", "B/s", "1/s", "Hz", "°C" and "W".

STATUS is one of "ok", "improved", "expected" (a regression that was accepted, or a test marked
xfail), "regressed",
"inconclusive", "new", "incomparable", "over budget" and "violated". A metric that was not compared,
as in a run without baselines, has ``baseline``, ``change``, ``tolerance`` and ``limit`` null, and
is not ``gated``; one that is compared exactly has ``noise`` and ``detectable`` null, and its
``limit`` counts from the median of the baseline's range. Values are the median of the processes'
medians. The processes in which a suspected regression was measured again stand after the planned
ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from pytest_nsys import __version__
from pytest_nsys.catalogue import Breakdown
from pytest_nsys.measure.measurement import Launched, Part, WindowMeasurement
from pytest_nsys.ncu.counters import Pair
from pytest_nsys.ncu.why import sentence
from pytest_nsys.report.figures import FigureTable, figure_tables
from pytest_nsys.report.run import RunReport, compared, pairs, sides_of, write_report
from pytest_nsys.support.json_lines import json_lines
from pytest_nsys.verdict.changes import below_limit_lines, improvement_lines
from pytest_nsys.verdict.knob import knob_sentences
from pytest_nsys.verdict.verdict import SEVERITY, Comparison, Contribution, Verdict
from pytest_nsys.verdict.why import counted
from pytest_nsys.verdict.wording import headline

SCHEMA = 3
"""3: metrics that are zero are named alone, and samples are there where they are asked for."""

_EXACT = 2.0**53
_DIGITS, _DECIMALS = 6, 3
_LEVELS = 4


def write_json(run: RunReport, path: Path, *, samples: bool = False) -> None:
    """Write the results of a run; a reader sees the old file or the new, never a part.

    Args:
        run: what was found.
        path: the file.
        samples: whether it has those of each round.

    Raises:
        ReportError: the file cannot be written.
    """
    write_report(path, chain(json_lines(_document(run, samples=samples), _LEVELS), ["\n"]))


def report_document(run: RunReport, *, samples: bool = False) -> dict[str, Any]:
    """The results of a run as JSON values, in the schema that this module documents."""
    document = _document(run, samples=samples)
    return {**document, "tests": [*document["tests"]]}


def _document(run: RunReport, *, samples: bool) -> dict[str, Any]:
    """The same, with its tests one at a time: of thousands, each is large, and read once."""
    counts = run.counts()
    first = run.verdicts[0].measurement if run.verdicts else None
    document: dict[str, Any] = clean(
        {
            "schema": SCHEMA,
            "tool": {"name": "pytest-nsys", "version": __version__},
            "mode": run.mode,
            "command": run.command,
            "notes": run.notes,
            "counts": {status: counts[status] for status in (*SEVERITY, "unmeasured")},
            "seconds": run.seconds,
            "environment": vars(first.environment) if first else None,
            "figures": [_table(one) for one in figure_tables(run.verdicts, run.columns)],
            "tests": [],
            "unmeasured": [vars(test) for test in run.unmeasured],
            "baselines_written": [
                {
                    "path": str(change.path),
                    "nodeid": change.after.nodeid,
                    "new": change.before is None,
                }
                for change in run.changes
            ],
            "orphans": [
                {
                    "path": str(orphan.path),
                    "nodeid": orphan.head.nodeid,
                    "device": orphan.head.device,
                    "looks_like": orphan.looks_like,
                    "unmarked": orphan.is_unmarked,
                }
                for orphan in run.orphans
            ],
        }
    )
    tests = (clean(_test(verdict, samples=samples)) for verdict in run.verdicts)
    return {**document, "tests": tests}


def _table(table: FigureTable) -> dict[str, Any]:
    return {
        "gates": table.shown,
        "columns": [
            {"head": column.head, "keys": column.keys, "unit": column.unit}
            for column in table.columns
        ],
        "rows": [
            {
                "nodeid": row.nodeid,
                "window": row.window,
                "status": row.status,
                "figures": [
                    {"current": one.current, "baseline": one.baseline, "scatter": one.scatter}
                    for one in row.figures
                ],
            }
            for row in table.rows
        ],
    }


def _test(verdict: Verdict, *, samples: bool) -> dict[str, Any]:
    return {
        "nodeid": verdict.measurement.nodeid,
        "device": verdict.measurement.device,
        "recordings": verdict.measurement.recordings,
        "status": verdict.status,
        "failed": verdict.failed,
        "headline": headline(verdict),
        "knobs": knob_sentences(verdict),
        "improvements": improvement_lines(verdict),
        "below_limit": below_limit_lines(verdict),
        "notes": verdict.notes,
        "warnings": verdict.warnings,
        "against": verdict.against,
        "family_level": verdict.family_level,
        "demands": [
            {"window": one.window, "status": one.status, "text": one.text} for one in verdict.unmet
        ],
        "counters": [counters_document(pair) for pair in counted(verdict)],
        "findings": [vars(one) for one in verdict.measurement.bottlenecks],
        "windows": [
            _window_document(verdict, name, parts, samples=samples)
            for name, parts in compared(verdict).items()
        ],
    }


def counters_document(pair: Pair) -> dict[str, Any]:
    """The counters of a kernel, then and now, as JSON values."""
    return {
        "kernel": pair.kernel,
        "window": pair.window,
        "sentence": sentence(pair),
        "launches": pair.after.launches if pair.after else 0,
        "baseline_launches": pair.before.launches if pair.before else 0,
        "metrics": [
            {"key": counter.key, "label": counter.label, "baseline": then, "current": now}
            for counter, then, now in pair.rows()
        ],
    }


def _window_document(
    verdict: Verdict, name: str, parts: list[Comparison], *, samples: bool
) -> dict[str, Any]:
    now, then = sides_of(verdict, name)
    zero = [part.metric.key for part in parts if _is_zero(part, now, then)]
    told = [part for part in parts if part.metric.key not in zero]
    return {
        "name": name,
        "units": now.units if now else {},
        "precision": now.precision if now else "",
        "zero": zero,
        "metrics": [
            {**_metric(part), **(_samples(part, now, then) if samples else {})} for part in told
        ],
        **{kind: _breakdown(kind, now, then) for kind in _KINDS},
    }


def _is_zero(
    part: Comparison, now: WindowMeasurement | None, then: WindowMeasurement | None
) -> bool:
    """Whether a metric was measured, was never anything but zero, and nothing is said of it."""
    if part.current != 0 or part.baseline or part.note or part.status not in ("ok", "new"):
        return False
    sides = (side.by_process(part.metric.key) for side in (now, then) if side is not None)
    return not any(any(process) for side in sides for process in side)


def _samples(
    part: Comparison, now: WindowMeasurement | None, then: WindowMeasurement | None
) -> dict[str, Any]:
    key = part.metric.key
    both = part.baseline is not None and part.current is not None
    return {
        "samples": now.by_process(key) if now else [],
        "baseline_samples": then.by_process(key) if then and both else None,
    }


def _metric(part: Comparison) -> dict[str, Any]:
    metric = part.metric
    both = part.baseline is not None and part.current is not None
    return {
        "key": metric.key,
        "unit": metric.unit,
        "kind": metric.kind,
        "worse": metric.worse,
        "status": part.status,
        "gated": part.gated,
        "note": part.note,
        "accepted": part.reason,
        "baseline": part.baseline,
        "current": part.current,
        "change": (part.current or 0.0) - (part.baseline or 0.0) if both else None,
        "tolerance": vars(part.tolerance) if part.tolerance else None,
        "limit": part.limit,
        "noise": part.noise,
        "detectable": part.detectable,
        "resolution": part.resolution.amount,
        "culprits": [_culprit(culprit) for culprit in part.culprits],
    }


def _culprit(culprit: Contribution) -> dict[str, Any]:
    return {
        "label": culprit.label,
        "baseline_label": culprit.before or culprit.label,
        "baseline_count": culprit.baseline.count if culprit.baseline else 0,
        "current_count": culprit.current.count if culprit.current else 0,
        "change": culprit.change,
        "baseline_launch": _launch(culprit.baseline),
        "current_launch": _launch(culprit.current),
    }


def _launch(part: Part | None) -> dict[str, Any] | None:
    """How a kernel was launched, in the configuration that took most of its time."""
    return launch_document(part.launched[0]) if part is not None and part.launched else None


def launch_document(launched: Launched) -> dict[str, Any]:
    """A launch configuration, and what it allows."""
    how, limits = launched.configuration, launched.occupancy
    return {
        **{"grid": list(how.grid), "block": list(how.block), "registers": how.registers},
        **{"shared_bytes": how.shared, "local_bytes": how.local},
        "occupancy_pct": limits.percent if limits else None,
        "limited_by": limits.limiter if limits else "",
    }


_KINDS: tuple[Breakdown, ...] = ("kernels", "copies", "memsets", "calls", "syncs")
_HAVE_BYTES = ("copies", "memsets")


def _breakdown(
    kind: Breakdown, now: WindowMeasurement | None, then: WindowMeasurement | None
) -> list[dict[str, Any]]:
    rows = []
    for label, before, after in pairs(kind, (now, then)):
        row: dict[str, Any] = {"name": label}
        if kind == "kernels":
            row["category"] = next(part.category for part in (after, before) if part)
        for prefix, window, part in (("", now, after), ("baseline_", then, before)):
            row[f"{prefix}count"] = _of(window, part.count if part else None)
            row[f"{prefix}total_ns"] = _of(window, part.ns if part else None)
            if kind in _HAVE_BYTES:
                row[f"{prefix}bytes"] = _of(window, part.bytes if part else None)
        rows.append(row)
    return rows


def _of(window: WindowMeasurement | None, value: float | None) -> float | None:
    """A number of a part of the window: 0 where the part is not in it, None without a window."""
    return None if window is None else value or 0


def clean(value: Any) -> Any:
    """The value with lists, finite numbers and encodable text only."""
    # What most values are comes first: a large suite has millions.
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        if value == int(value) and abs(value) < _EXACT:
            return int(value)
        return round(value, _DECIMALS) if abs(value) >= 1000 else float(f"{value:.{_DIGITS}g}")
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, Mapping):
        return {clean(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    return value
