"""Rows into numbered groups, and groups into nsys's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from pytest_nsys.support.arrays.rows import Ints


def by_text(ids: npt.NDArray[np.integer], texts: Mapping[int, str]) -> tuple[Ints, list[str]]:
    """Group rows by the text of their string ids.

    Returns:
        Per row, the number of its group; and the groups' texts, ascending as nsys sorts them
        (by code point, which is the order of their UTF-8 bytes). Several ids may have one text.
    """
    numbers, found = pd.factorize(ids)
    names = [texts.get(key, "") for key in found.tolist()]
    distinct = sorted(set(names))
    places = {text: place for place, text in enumerate(distinct)}
    of_id = np.array([places[name] for name in names], dtype=np.int64)
    return of_id[numbers], distinct


def by_columns(columns: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Group rows by the values of several columns.

    Returns:
        Per row, the number of its group, groups being numbered by their values, ascending, the
        first column weighing most; and per group, one of its rows.
    """
    order = np.lexsort(tuple(reversed(columns)))
    changes = np.zeros(len(order), dtype=bool)
    changes[:1] = True
    for column in columns:
        changes[1:] |= column[order][1:] != column[order][:-1]
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = np.cumsum(changes) - 1
    return numbers, order[changes]


def descending(values: npt.NDArray[np.integer] | npt.NDArray[np.floating]) -> Ints:
    """The groups by falling value; those of one value stay in their order."""
    return np.argsort(-values, kind="stable")
