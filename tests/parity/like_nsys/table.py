"""Tables of text as nsys writes them with ``--format csv``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

_MEGABYTE = 1e6
_TENTH = Decimal("0.1")
_EXACT = Context(prec=400, rounding=ROUND_HALF_UP)
"""As many digits as the largest float has in full."""

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
    """A number to one decimal as SQLite from 3.43 on rounds: halves away from zero; "" for nan.

    What counts is the number as it is held: 1.15 is a little less than that, and becomes 1.1.
    The SQLite within older versions of nsys makes it 1.2.
    """
    if math.isnan(value):
        return ""
    return str(Decimal(value).quantize(_TENTH, context=_EXACT))


def megabytes(value: float) -> str:
    """Bytes as millions of bytes to three decimals."""
    return f"{value / _MEGABYTE:.3f}"


def percentages(parts: npt.NDArray[np.int64]) -> list[float]:
    """Per part, its share of the sum in percent; nan where the sum is 0."""
    total = int(parts.sum())
    return [part * 100.0 / total if total else math.nan for part in parts.tolist()]
