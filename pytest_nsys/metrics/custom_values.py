"""Metrics that projects and plugins add: calling their functions, and checking what they return."""

from __future__ import annotations

import numpy as np

from pytest_nsys.errors import CustomMetricFailed
from pytest_nsys.metrics.custom import CustomMetric, registered
from pytest_nsys.support.arrays.rows import Floats
from pytest_nsys.windows.cut import Cut


def custom_values(cut: Cut) -> dict[str, Floats]:
    """Per added metric, its value in every window of the cut; NaN where it has none.

    Raises:
        CustomMetricFailed: a function failed or returned something else.
    """
    return {custom.metric.key: _values(custom, cut) for custom in registered()}


def _values(custom: CustomMetric, cut: Cut) -> Floats:
    key = custom.metric.key
    try:
        values = np.array(custom.compute(cut), dtype=np.float64)
    except Exception as error:
        raise CustomMetricFailed(
            f"the metric {key} could not be computed",
            evidence=f"{type(error).__name__}: {error}",
            remedy="mend the function that a pytest_nsys_metrics hook gave for it",
        ) from error
    if values.shape != (len(cut),) or np.isinf(values).any():
        raise CustomMetricFailed(
            f"the metric {key} was computed as something else than one number per window",
            evidence=f"shape {values.shape} for {len(cut)} windows, "
            f"{np.count_nonzero(np.isinf(values))} infinite",
            remedy="return one number per window, NaN where there is none",
        )
    return values
