"""Kernel names as profilers have shown them, each with what is to be made of it.

Those of the family "capture" are all the names in captures made on an H200; the others are from
published profiles and from the sources of the libraries. ``purpose`` says in words what a kernel
computes on which data types: two names of one purpose and family differ only in tuning.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple


class Known(NamedTuple):
    family: str
    category: str
    purpose: str
    raw: str
    canonical: str


def _known() -> tuple[Known, ...]:
    with Path(__file__).with_name("names.tsv").open(encoding="utf-8", newline="") as table:
        rows = csv.reader(table, delimiter="\t", quoting=csv.QUOTE_NONE)
        assert next(rows) == list(Known._fields)
        return tuple(Known(*row) for row in rows)


KNOWN = _known()
RAW = tuple(known.raw for known in KNOWN)
