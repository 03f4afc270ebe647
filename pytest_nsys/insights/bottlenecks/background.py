"""What rules need to know of a whole trace, computed once however many windows are diagnosed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from pytest_nsys.kernels.category import COMMUNICATION
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.metrics.window import is_pageable
from pytest_nsys.support.arrays.intervals import Intervals, merged
from pytest_nsys.support.arrays.rows import Flags, Ints
from pytest_nsys.trace.calls import CallClass, call_class
from pytest_nsys.trace.tables import Trace

OPERATION_TABLES = ("kernels", "copies", "memsets", "graphs")
"""Tables of GPU work, in the order of `Operations.table`."""


@dataclass(frozen=True)
class Names:
    """The names in a column of string ids.

    Attributes:
        codes: per row of the table, the number of its name.
        raw: the names by number.
    """

    codes: Ints
    raw: tuple[str, ...]


@dataclass(frozen=True)
class Background:
    """A trace and how its kernels are named."""

    trace: Trace
    naming: Naming

    def column(self, table: str, name: str) -> Ints:
        """A column of one of the trace's tables; getting at one in pandas takes much longer."""
        if (table, name) not in self._columns:
            self._columns[table, name] = getattr(self.trace, table)[name].to_numpy()
        return self._columns[table, name]

    @cached_property
    def _columns(self) -> dict[tuple[str, str], Ints]:
        return {}

    @cached_property
    def kernels(self) -> Names:
        """The raw names of the kernels."""
        return self._names("kernels")

    @cached_property
    def calls(self) -> Names:
        """The raw names of the API calls."""
        return self._names("calls")

    @cached_property
    def call_durations(self) -> Ints:
        """Per row of the calls, how long it took, ns."""
        return self.column("calls", "end") - self.column("calls", "start")

    @cached_property
    def call_classes(self) -> Ints:
        """Per row of the calls, its `CallClass`."""
        classes = np.array([call_class(name) for name in self.calls.raw], dtype=np.int64)
        return classes[self.calls.codes]

    @cached_property
    def class_rows(self) -> Mapping[CallClass, Ints]:
        """Per `CallClass`, the rows of its calls, ascending; `CallClass.OTHER` is left out."""
        named = np.flatnonzero(self.call_classes != CallClass.OTHER)
        classes = self.call_classes[named]
        return {kind: named[classes == kind] for kind in CallClass if kind != CallClass.OTHER}

    @cached_property
    def communicates(self) -> Flags:
        """Per row of the kernels, whether it communicates between GPUs."""
        return self.in_categories(frozenset({COMMUNICATION}))

    def in_categories(self, categories: frozenset[str]) -> Flags:
        """Per row of the kernels, whether it is in one of the categories."""
        if categories not in self._in_categories:
            found = [self.naming.category(raw) in categories for raw in self.kernels.raw]
            flags = np.array(found, dtype=np.bool_)[self.kernels.codes]
            self._in_categories[categories] = flags
        return self._in_categories[categories]

    @cached_property
    def _in_categories(self) -> dict[frozenset[str], Flags]:
        return {}

    @cached_property
    def copy_classes(self) -> Ints:
        """Per row of the copies, the `CallClass` of the function that launched it."""
        return self._launching_class("copies")

    @cached_property
    def memset_classes(self) -> Ints:
        """Per row of the memory sets, the `CallClass` of the function that launched it."""
        return self._launching_class("memsets")

    def _launching_class(self, table: str) -> Ints:
        rows = self.column(table, "call")
        known = rows >= 0
        classes = np.full(len(rows), CallClass.OTHER, dtype=np.int64)
        classes[known] = self.call_classes[rows[known]]
        return classes

    @cached_property
    def pageable(self) -> Flags:
        """Per row of the copies, whether it is asynchronous, from or to pageable host memory."""
        asynchronous = self.copy_classes == CallClass.ASYNC_COPY
        pageable: Flags = is_pageable(self.trace.copies) & asynchronous
        return pageable

    @cached_property
    def busy(self) -> Mapping[int, Intervals]:
        """Per device, the union of everything it did; the intervals' group is 0."""
        return self._unions(OPERATION_TABLES)

    @cached_property
    def computing(self) -> Mapping[int, Intervals]:
        """Per device, the union of kernels that do not communicate, and of whole CUDA graphs."""
        kept = ~self.communicates if self.communicates.any() else None
        return self._unions(("kernels", "graphs"), kept)

    def _unions(
        self, tables: Sequence[str], kernels: Flags | None = None
    ) -> Mapping[int, Intervals]:
        """Per device, the union of what is in the tables; of kernels, of those that are flagged."""

        def column(name: str) -> Ints:
            parts = {table: self.column(table, name) for table in tables}
            if kernels is not None:
                parts["kernels"] = parts["kernels"][kernels]
            return np.concatenate([*parts.values()])

        device, start, end = column("device"), column("start"), column("end")
        unions = {}
        for number in pd.unique(device):
            mine = device == number
            rows: slice | Flags = slice(None) if mine.all() else mine
            group = np.zeros(np.count_nonzero(mine), dtype=np.int64)
            unions[int(number)] = merged(Intervals(group, start[rows], end[rows]))
        return unions

    def _names(self, table: str) -> Names:
        codes, ids = pd.factorize(self.column(table, "name"))
        strings = self.trace.strings
        return Names(codes.astype(np.int64), tuple(strings.get(int(key), "") for key in ids))
