"""Sums of millions of rows by window and by name, without sorting them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pytest_nsys.support.arrays.rows import Flags, Ints, Members, NameSums

_SPARSE = 8
"""How many times more ids than rows there may be for a table of all ids to be worth it. nsys
counts its string ids up, so that the table is faster than sorting."""

_CELLS = 2**20

_EMPTY = 32
"""How many times more pairs of window and code than rows there may be for a table of all pairs to
be worth it."""


def are_among(ids: Ints, wanted: Iterable[int]) -> Flags:
    """Per id, whether it is among the wanted ones."""
    keys = np.array([*wanted], dtype=np.int64)
    top = int(ids.max(initial=-1))
    if not _is_dense(ids, top) or int(ids.min(initial=0)) < -1:
        return np.isin(ids, keys)
    table = np.zeros(top + 2, dtype=np.bool_)  # its last cell is that of -1
    table[keys[(keys >= -1) & (keys <= top)]] = True
    return table[ids]


def _is_dense(ids: Ints, top: int) -> bool:
    return top < _SPARSE * len(ids) + 2**16


def chosen(members: Members, flags: Flags) -> Members:
    """The members whose row is flagged; one flag per row of the table."""
    keep = flags[members.row]
    return Members(members.window[keep], members.row[keep])


def coded(ids: Ints) -> tuple[Ints, Ints]:
    """Dense codes of ids: ``ids == values[codes]``, values ascending."""
    top = int(ids.max(initial=-1))
    if not _is_dense(ids, top) or int(ids.min(initial=0)) < 0:
        values, codes = np.unique(ids, return_inverse=True)
        return codes.reshape(-1).astype(np.int64), values.astype(np.int64)
    present = np.zeros(top + 1, dtype=np.bool_)
    present[ids] = True
    return (np.cumsum(present) - 1)[ids], np.flatnonzero(present)


def sums(members: Members, codes: Ints, groups: int, *weights: Ints) -> list[Ints]:
    """Rows and sums for every pair of a window and a code that occurs.

    Counts in a table of windows by codes, some windows at a time so that it stays small; where
    nearly all pairs would be empty, the pairs are sorted instead. Sums of integers as floats are
    exact below 2**53 (104 days in ns, 9 PB).

    Args:
        members: rows of a table by window, ascending.
        codes: one per row of the table, from 0.
        groups: the number of codes.
        weights: what is summed, one per row of the table.

    Returns:
        window, code, number of rows, and one sum per weight; by window and code.
    """
    parts = []
    groups = max(groups, 1)
    last = int(members.window[-1]) + 1 if len(members.window) else 0
    is_sparse = last * groups > _EMPTY * len(members.row) + _CELLS
    step = max(last, 1) if is_sparse else max(1, _CELLS // groups)
    for first in range(0, last, step):
        low, high = np.searchsorted(members.window, [first, first + step])
        rows = members.row[low:high]
        cell = (members.window[low:high] - first) * groups + codes[rows]
        if is_sparse:
            filled, cell = np.unique(cell, return_inverse=True)
            cell = cell.reshape(-1)
            counts = np.bincount(cell, minlength=len(filled))
            present = np.arange(len(filled))
        else:
            counts = np.bincount(cell)
            filled = present = np.flatnonzero(counts)
        totals = [
            np.bincount(cell, weights=weight[rows])[present].astype(np.int64) for weight in weights
        ]
        parts.append([filled // groups + first, filled % groups, counts[present], *totals])
    if not parts:
        return [np.empty(0, dtype=np.int64) for _ in range(3 + len(weights))]
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


def name_sums(members: Members, names: Ints, ns: Ints) -> NameSums:
    """Rows and durations by window and name; names and durations one per row of the table."""
    codes, ids = coded(names)
    window, code, count, total = sums(members, codes, len(ids), ns)
    return NameSums(window, ids[code], count, total)
