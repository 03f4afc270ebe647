"""Rows of tables and the windows they belong to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Members:
    """The rows of one table in each window; a row may be in several (nested) windows.

    Attributes:
        window: number of the window, ascending.
        row: number of the row.
    """

    window: Ints
    row: Ints


@dataclass(frozen=True)
class NameSums:
    """The rows of a table by window and name: one line for each pair that occurs.

    Attributes:
        window: number of the window, ascending.
        name: string id.
        count: rows.
        ns: sum of their durations.
    """

    window: Ints
    name: Ints
    count: Ints
    ns: Ints

    def only(self, lines: Flags) -> NameSums:
        """The lines that are flagged."""
        return NameSums(self.window[lines], self.name[lines], self.count[lines], self.ns[lines])
