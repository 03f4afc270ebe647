"""Tables of an export that were made of something else, for `build_trace`."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.trace.schema import Packing
from pytest_nsys.trace.source import complete, joined

_MOST = 2**62  # more than any time; what is larger is refused as one where the tables are read


class Rows:
    """The rows of one table, one after another.

    Attributes:
        columns: by name; an array of integers each, or a list of texts.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.columns = {name: array("q") for name in names}
        self._add = [column.append for column in self.columns.values()]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def add(self, *values: int) -> None:
        """One row more: a value of each column, in their order."""
        for add, value in zip(self._add, values, strict=True):
            add(max(-_MOST, min(value, _MOST)))

    def integers(self) -> dict[str, Ints]:
        """The columns as arrays."""
        return {name: np.array(column, np.int64) for name, column in self.columns.items()}


class Names:
    """Texts by number, as an export keeps them."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """The number of a text, the same for the same."""
        return self._numbers.setdefault(text, len(self._numbers))

    def table(self) -> dict[str, Any]:
        """The columns of `schema.STRINGS`."""
        return {"id": [*self._numbers.values()], "value": [*self._numbers]}


class MadeSource:
    """See `Source`.

    Args:
        tables: columns by table; tables without rows may be there.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        self._tables = tables

    def extents(self) -> dict[str, tuple[int, int]]:
        """See `Source.extents`."""
        return {
            name: (len(next(iter(columns.values()))), len(columns))
            for name, columns in self._tables.items()
        }

    def table(self, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
        """See `Source.table`."""
        found = self._tables.get(name)
        if found is None:
            return None
        return pd.DataFrame({one: found[one] for one in columns if one in found})

    def integers(
        self,
        name: str,
        columns: tuple[str, ...],
        packed: Mapping[str, Packing] = MappingProxyType({}),
    ) -> Mapping[str, Ints] | None:
        """See `Source.integers`."""
        found = self._tables.get(name)
        if found is None:
            return None

        def column(one: str) -> Ints:
            return np.asarray(found[one], np.int64)

        together = complete(packed, found.keys())
        return {one: column(one) for one in columns if one in found} | {
            one: joined(packing, column) for one, packing in together.items()
        }
