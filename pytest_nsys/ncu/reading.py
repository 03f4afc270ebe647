"""What ``ncu --csv --page raw`` writes, read strictly.

A line with the names of columns, one with units, and one for each launch; before and between them
lines of ncu's own, which begin with ``==``. Values are in base units with or without thousands
separators (``1,420,832``), or scaled (``1.42`` in ``msecond``), as versions and options have it.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_nsys.errors import NcuOutputDamaged
from pytest_nsys.kernels.mangled import demangled
from pytest_nsys.ncu.counters import BY_KEY, DURATION, KernelCounters, Kind
from pytest_nsys.support.json_values import shown

LARGEST = 64 * 2**20
"""Bytes of a file; none that is larger is read."""

_BEGIN = '"ID","Process ID",'
_OWN = re.compile(r"==[A-Z]+== |\d+%\.\.\.\.|\s*$")
_NUMBER = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?|-?\d+(\.\d+)?([eE][+-]?\d+)?")
_ABSENT = ("", "n/a", "N/A", "(!) n/a", "nan", "-nan")
_NAME = "Kernel Name"
_LONGEST_FIELD = 1 << 20

_PREFIXES = {"": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_TIME = re.compile(r"([num]?)(?:s|second)")
_SIZE = re.compile(r"([KMGT]?)byte(?:/block)?")


@dataclass(frozen=True)
class Launch:
    """A launch that ncu has counted.

    Attributes:
        name: of the kernel, demangled.
        values: by metric, in ns, bytes and percent.
    """

    name: str
    values: Mapping[str, float]


def read_launches(text: str) -> tuple[Launch, ...]:
    """The launches in a log of ncu, in their order; none where it has no table.

    Raises:
        NcuOutputDamaged: it is not what ncu writes.
    """
    lines = text.splitlines()
    begin = next((n for n, line in enumerate(lines) if line.startswith(_BEGIN)), None)
    if begin is None:
        return ()
    body = [line for line in lines[begin:] if not _OWN.match(line)]
    try:
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
        rows = [*csv.reader(body, strict=True)]
    except csv.Error as error:
        raise _damaged(str(error)) from None
    return tuple(_launches(rows))


def _launches(rows: Sequence[Sequence[str]]) -> Iterator[Launch]:
    head = rows[0]
    if _NAME not in head or len({*head}) < len(head):
        raise _damaged(f"the columns are {', '.join(head)[:200]}")
    units: Sequence[str] | None = None
    for number, row in enumerate(rows[1:], 2):
        if row == head:  # of another process
            units = None
            continue
        if len(row) != len(head):
            raise _damaged(f"row {number} has {len(row)} fields, of {len(head)}")
        if units is None:
            if any(row[: head.index(_NAME) + 1]):
                raise _damaged(f"row {number} has no units")
            units = row
            continue
        cells = dict(zip(head, zip(units, row, strict=True), strict=True))
        values = {}
        for key in BY_KEY.keys() & cells.keys():
            value = _value(key, *cells[key])
            if value is not None:
                values[key] = value
        if not cells[_NAME][1]:
            raise _damaged(f"row {number} names no kernel")
        yield Launch(
            demangled(cells[_NAME][1]), {key: values[key] for key in BY_KEY if key in values}
        )


def _value(key: str, unit: str, text: str) -> float | None:
    text = text.strip()
    if text in _ABSENT:
        return None
    value = float(text.replace(",", "")) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value) or value < 0:
        raise _damaged(f"{key} is {shown(text)}")
    return value * _factor(key, BY_KEY[key].kind, unit)


def _factor(key: str, kind: Kind, unit: str) -> float:
    """What a value in a unit is multiplied by."""
    if kind == "ns":
        found = _TIME.fullmatch(unit)
        factor = 1e9
    elif kind == "B":
        found = _SIZE.fullmatch(unit.replace("bytes", "byte"))
        factor = 1.0
    else:
        return 1.0
    if found is None:
        raise _damaged(f"{key} is in {shown(unit)}")
    return round(factor * _PREFIXES[found[1]], 9)


def _damaged(evidence: str) -> NcuOutputDamaged:
    return NcuOutputDamaged(
        "what ncu has written cannot be understood",
        evidence=evidence,
        remedy="use another version of Nsight Compute, put first on the PATH",
    )


def counted(
    launches: Sequence[Launch], window: str, wanted: Sequence[str], canonical: Callable[[str], str]
) -> tuple[KernelCounters, ...]:
    """Of each kernel the launch that took longest.

    Args:
        launches: what ncu has counted.
        window: in which part of the test.
        wanted: canonical names of the kernels; others are left out.
        canonical: gives them.
    """
    found: dict[str, list[Launch]] = {}
    for launch in launches:
        found.setdefault(canonical(launch.name), []).append(launch)
    return tuple(
        KernelCounters(
            name,
            window,
            len(found[name]),
            max(found[name], key=lambda one: one.values.get(DURATION, 0.0)).values,
        )
        for name in wanted
        if name in found
    )
