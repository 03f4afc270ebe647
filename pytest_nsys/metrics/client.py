"""What clients measured in the rounds that they sent to a server, as metrics of their windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_nsys.catalogue import CLIENT_METRICS
from pytest_nsys.support.arrays.rows import Floats
from pytest_nsys.windows.record import WindowRecord


def client_values(records: Sequence[WindowRecord]) -> dict[str, Floats]:
    """Per metric that any of the windows has, one value per window; NaN where it has none.

    What is no metric of this version is left out.
    """
    keys = dict.fromkeys(key for record in records for key in record.values)
    return {
        key: np.array([record.values.get(key, np.nan) for record in records], dtype=np.float64)
        for key in keys
        if key in CLIENT_METRICS
    }
