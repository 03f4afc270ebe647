"""Tables of text as nsys writes them with ``--format csv``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

_MEGABYTE = 1e6
_TENTH = Decimal("0.1")
_EXACT = Context(prec=400, rounding=ROUND_HALF_UP)
"""As many digits as the largest float has in full."""
_HALF, _LITTLE = 0.05, 3e-16  # as floats, which are not quite these numbers

Column = tuple[str, "Sequence[Any] | npt.NDArray[Any]", Callable[[Any], str]]
"""Heading, values, and how a value is written."""


@dataclass(frozen=True)
class CsvTable:
    """A report.

    Attributes:
        columns: the headings, with their units in parentheses.
        rows: the cells as text, in nsys's order; "" is what SQL calls NULL.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def csv_text(table: CsvTable) -> str:
    """What ``nsys stats --quiet --report NAME --format csv`` prints: nothing if there are no rows.

    nsys puts a cell with a comma between quotation marks, and leaves those within as they are.
    """
    if not table.rows:
        return ""
    lines = (",".join(map(_cell, cells)) for cells in (table.columns, *table.rows))
    return "\n".join(lines) + "\n\n"


def _cell(text: str) -> str:
    return f'"{text}"' if "," in text else text


def csv_table(columns: Sequence[Column]) -> CsvTable:
    """A table of columns of one length."""
    written = [
        [write(value) for value in (values.tolist() if isinstance(values, np.ndarray) else values)]
        for _, values, write in columns
    ]
    return CsvTable(tuple(heading for heading, _, _ in columns), tuple(zip(*written, strict=True)))


def whole(value: float) -> str:
    """An integer that may be held as a float; "" for nan."""
    return "" if math.isnan(value) else str(int(value))


def rounded(value: float) -> str:
    """A number to one decimal as the SQLite within nsys rounds it; "" for nan; see `rounding`."""
    if math.isnan(value):
        return ""
    return str(_ROUND.get()(Decimal(value)))


def _since_3_43(value: Decimal) -> Decimal:
    """Halves away from zero, of the number as it is held.

    1.15 is a little less than that, and becomes 1.1.
    """
    return value.quantize(_TENTH, context=_EXACT)


def _before_3_43(value: Decimal) -> Decimal:
    """Cut off, after a half and a little more has been added: 1.15 becomes 1.2.

    The little is there for such numbers; those of 2^42 and more have none (printf.c of SQLite).
    """
    little = value * Decimal(_LITTLE) if abs(value) < 2**42 else 0
    return _EXACT.add(_EXACT.add(value, Decimal(_HALF)), little).quantize(
        _TENTH, ROUND_DOWN, _EXACT
    )


_ROUND: ContextVar[Callable[[Decimal], Decimal]] = ContextVar("round", default=_since_3_43)


@contextmanager
def rounding(nsys: Literal["2022", "2023", "2025"]) -> Iterator[None]:
    """Within this, numbers are rounded as that nsys does: 2022 and 2023 have an older SQLite."""
    token = _ROUND.set(_since_3_43 if nsys == "2025" else _before_3_43)
    try:
        yield
    finally:
        _ROUND.reset(token)


def megabytes(value: float) -> str:
    """Bytes as millions of bytes to three decimals."""
    return f"{value / _MEGABYTE:.3f}"


def percentages(parts: npt.NDArray[np.int64]) -> list[float]:
    """Per part, its share of the sum in percent; nan where the sum is 0."""
    total = int(parts.sum())
    return [part * 100.0 / total if total else math.nan for part in parts.tolist()]
