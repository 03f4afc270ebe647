"""Expected changes, which somebody has accepted for a while: of what, how far, why, until when.

They stand in ``accepted.toml`` in the folder of the baselines, or in the marker of a test
(``expected=``). An expected regression is an expected failure until the last day that it names;
after it, it is a failure again, and the reason is told.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from pytest_nsys.catalogue import Metric, lookup, metric_names
from pytest_nsys.errors import ExpectedChangeError, NsysError, UnknownMetric
from pytest_nsys.support.files import read_limited
from pytest_nsys.support.patterns import matches
from pytest_nsys.support.text import suggest
from pytest_nsys.support.units import Tolerance, Unit, parse_tolerance

FILE = "accepted.toml"
"""Name of the file in the folder of the baselines."""

_LARGEST = 2**20
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_OF_A_TEST = ("metric", "window", "limit", "reason", "until")
_KEYS = ("test", "device", *_OF_A_TEST)
_EXAMPLE = 'until = 2026-12-31, reason = "new attention kernel, see #123"'

State = Literal["expected", "exceeded", "expired"]
"""expected: it holds; exceeded: it got worse than expected; expired: it held until lately."""


@dataclass(frozen=True)
class ExpectedChange:
    """One expected change. In the patterns ``*`` and ``?`` are wild, and brackets are brackets.

    Attributes:
        reason: why, for whoever reads the verdict.
        until: the last day on which it holds.
        test: pattern of node ids.
        metric: pattern of metric keys.
        window: pattern of windows' names.
        device: pattern of device keys.
        limit: how far the metric may get worse, as a tolerance is written; None: any amount.
    """

    reason: str
    until: date
    test: str = "*"
    metric: str = "*"
    window: str = "*"
    device: str = "*"
    limit: str | float | tuple[str | float, ...] | None = None

    def tolerance(self, unit: Unit) -> Tolerance | None:
        """How far a metric of this unit may get worse; None where any amount is expected.

        Raises:
            QuantityError: the limit does not fit the unit.
        """
        return None if self.limit is None else parse_tolerance(self.limit, unit)


@dataclass(frozen=True)
class Expectation:
    """What is to be said of a regression that an entry names.

    Attributes:
        entry: the entry.
        state: whether it holds, and if not, why not.
    """

    entry: ExpectedChange
    state: State

    @property
    def holds(self) -> bool:
        """Whether the regression is an expected one."""
        return self.state == "expected"

    @property
    def words(self) -> str:
        """``accepted until 2026-12-31: new attention kernel``, for a verdict's notes."""
        entry = self.entry
        if self.state == "expired":
            return f"was accepted until {entry.until}: {entry.reason}"
        if self.state == "exceeded":
            return f"accepted up to {_limit_words(entry.limit)} only: {entry.reason}"
        return f"accepted until {entry.until}: {entry.reason}"


def _limit_words(limit: object) -> str:
    return " or ".join(map(str, limit)) if isinstance(limit, tuple) else str(limit)


def expectation(
    entries: Iterable[ExpectedChange],
    *,
    nodeid: str,
    device: str,
    window: str,
    metric: Metric,
    baseline: float,
    current: float,
    today: date,
) -> Expectation | None:
    """What the entries say of a regression; None if none names it.

    Of several the one that holds counts; else the one that is exceeded; else the one that expired
    last.

    Args:
        entries: from the file and the marker.
        nodeid: the test.
        device: its device key.
        window: name of the window that got worse.
        metric: what got worse.
        baseline: the metric then, in its unit.
        current: the metric now.
        today: the day of the judgement.
    """
    names = {"test": nodeid, "device": device, "window": window, "metric": metric.key}
    worse = (current - baseline) * (1 if metric.worse == "up" else -1)
    found = [
        Expectation(entry, _state(entry, metric.unit, baseline, worse, today))
        for entry in entries
        if all(matches(getattr(entry, key), name) for key, name in names.items())
    ]
    order = ("expired", "exceeded", "expected")
    return max(found, key=lambda one: (order.index(one.state), one.entry.until), default=None)


def _state(entry: ExpectedChange, unit: Unit, baseline: float, worse: float, today: date) -> State:
    if today > entry.until:
        return "expired"
    try:
        tolerance = entry.tolerance(unit)
    except NsysError:  # of a pattern that also names metrics of another unit
        return "exceeded"
    return "expected" if tolerance is None or worse <= tolerance.limit(baseline) else "exceeded"


def read_expected(path: Path) -> tuple[ExpectedChange, ...]:
    """The entries of a file; none if there is no file.

    Raises:
        ExpectedChangeError: it cannot be read, or an entry is wrong; names file and entry.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:  # pragma: no cover
        import tomli as tomllib

    try:
        text = read_limited(path, _LARGEST).decode("utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise ExpectedChangeError(
            f"{path} cannot be read", evidence=str(error), remedy="see to the file"
        ) from None
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of numbers and of depths, too
        evidence = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise ExpectedChangeError(
            f"{path}: this is not TOML", evidence=evidence[:200], remedy="mend the line"
        ) from None
    for key in data:
        if key != "accepted":
            raise ExpectedChangeError(
                f"{path}: there is no {key[:80]!r} in this file",
                remedy="every entry begins with [[accepted]]",
            )
    entries = data.get("accepted", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ExpectedChangeError(
            f"{path}: accepted is no list of tables",
            remedy="begin every entry with [[accepted]], in two pairs of brackets",
        )
    return tuple(
        _entry(entry, _KEYS, f"{path}: entry {number}") for number, entry in enumerate(entries, 1)
    )


def parse_expected(value: object) -> tuple[ExpectedChange, ...]:
    """The entries of a marker's ``expected``: a dictionary, or a list of dictionaries.

    Keys are those of the file, without ``test`` and ``device``; ``until`` may be a text.

    Raises:
        ExpectedChangeError: it is something else, or an entry is wrong.
    """
    entries = list(value) if isinstance(value, (list, tuple)) else [value]
    found = []
    for number, entry in enumerate(entries, 1):
        where = f"entry {number}" if len(entries) > 1 else "the entry"
        if not isinstance(entry, Mapping):
            raise ExpectedChangeError(
                f"{where} is {entry!r:.80}",
                remedy='write a dictionary such as {"metric": "gpu.kernel_time", "limit": "8%", '
                '"reason": "...", "until": "2026-12-31"}',
            )
        found.append(_entry(entry, _OF_A_TEST, where))
    return tuple(found)


def _entry(data: Mapping[Any, Any], keys: tuple[str, ...], where: str) -> ExpectedChange:
    for key in data:
        if key not in keys:
            raise ExpectedChangeError(
                f"{where}: there is no key {str(key)[:80]!r}",
                remedy=suggest(str(key)[:80], keys),
            )
    for key in ("reason", "until"):
        if key not in data:
            raise ExpectedChangeError(f"{where}: {key} is missing", remedy=f"add it: {_EXAMPLE}")
    patterns = {
        key: _pattern(data[key], key, where)
        for key in ("test", "metric", "window", "device")
        if key in data
    }
    limit = data.get("limit")
    if isinstance(limit, list):
        limit = tuple(limit)
    _check_metric(patterns.get("metric", "*"), limit, where)
    return ExpectedChange(
        reason=_line(data["reason"], where),
        until=_day(data["until"], where),
        limit=limit,
        **patterns,
    )


def _pattern(value: object, key: str, where: str) -> str:
    if isinstance(value, str) and value:
        return value
    raise ExpectedChangeError(
        f"{where}: {key} is {value!r:.80}", remedy="give a text in which * stands for anything"
    )


def _line(value: object, where: str) -> str:
    line = value.strip() if isinstance(value, str) else ""
    if line and line.isprintable():
        return line
    raise ExpectedChangeError(
        f"{where}: reason is {value!r:.80}",
        remedy="say in one line why the change is accepted",
    )


def _day(value: object, where: str) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:  # such as the 31st of June
            pass
    raise ExpectedChangeError(
        f"{where}: until is {str(value)[:80]!r}",
        remedy="give the last day on which it holds, such as 2026-12-31",
    )


def _check_metric(pattern: str, limit: object, where: str) -> None:
    """That the pattern names metrics there are, and that the limit fits each of them."""
    known = _named_by(pattern)
    if not known and not any(mark in pattern for mark in "*?"):
        try:
            known = [lookup(pattern)]
        except UnknownMetric as error:
            raise ExpectedChangeError(f"{where}: {error.what}", remedy=error.remedy) from None
    if not known and not any(mark in pattern for mark in ("[", ".per_")):
        raise ExpectedChangeError(
            f"{where}: no metric matches {pattern[:80]!r}", remedy=suggest(pattern, metric_names())
        )
    if limit is None:
        return
    units: dict[Unit, str] = {metric.unit: metric.key for metric in reversed(known)}
    for unit, key in (units or {"ns": ""}).items():
        try:
            parse_tolerance(limit, unit)
        except NsysError as error:
            fits = f" for {key}" if len(units) > 1 else ""
            raise ExpectedChangeError(
                f"{where}: limit: {error.what}{fits}", remedy=error.remedy
            ) from None


def _named_by(pattern: str) -> list[Metric]:
    """The metrics without a parameter that the pattern names."""
    return [lookup(key) for key in metric_names() if "[" not in key and matches(pattern, key)]
