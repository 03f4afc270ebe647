"""Metrics that a project or a plugin adds, through the hook ``pytest_nsys_metrics``, as
``docs/metrics.md`` shows: what they are, whether they can be added, and their values.

Imported wherever such a hook is defined, in runs that measure nothing too, so it stays free of
pandas and numpy until a metric is computed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from pytest_nsys.catalogue import Metric, add_metric, added_metrics, remove_metric
from pytest_nsys.errors import CustomMetricFailed, NsysError, SettingsError
from pytest_nsys.support.units import Tolerance, Unit

if TYPE_CHECKING:
    from pytest_nsys.support.arrays.rows import Floats
    from pytest_nsys.windows.cut import Cut

_KEY = re.compile(r"[A-Za-z_]\w*(\.(?!per_)[A-Za-z_]\w*)+", re.ASCII)
_HOOK = "pytest_nsys_metrics"


@dataclass(frozen=True)
class CustomMetric:
    """A metric that is not of this package.

    Attributes:
        metric: what it is. Its key has at least two parts (``ours.longest_kernel``).
        compute: a pure function from a trace and windows of it to one value per window, in the
            metric's unit, NaN where a window has none. Its argument is a
            `pytest_nsys.Cut`: the tables are ``cut.trace.kernels``, ``.copies``,
            ``.calls`` and so on, and ``cut.kernels.window`` and ``cut.kernels.row`` are the pairs
            of a window and a row that was launched in it. It also gets the program's own NVTX
            ranges as windows.
    """

    metric: Metric
    compute: Callable[[Cut], Floats]


def register(answers: Iterable[Iterable[CustomMetric]]) -> Callable[[], None]:
    """Add the metrics of the hook's answers.

    Returns:
        A function that takes them back.

    Raises:
        SettingsError: one is no such metric, or its key cannot be used; nothing was added.
    """
    added: list[str] = []

    def forget() -> None:
        while added:
            remove_metric(added.pop())

    try:
        for answer in answers:
            for custom in _listed(answer):
                _check(custom)
                try:
                    add_metric(custom.metric, custom.compute)
                except ValueError as error:
                    raise SettingsError(
                        f"{_HOOK}: {error}", remedy="give the metric another key"
                    ) from None
                added.append(custom.metric.key)
    except NsysError:
        forget()
        raise
    return forget


def _listed(answer: object) -> list[CustomMetric]:
    if not isinstance(answer, Iterable) or isinstance(answer, str):
        raise _no_metric(answer)
    return list(answer)


def _no_metric(value: object) -> SettingsError:
    return SettingsError(
        f"{_HOOK} returned {value!r}",
        remedy="return a list of pytest_nsys.CustomMetric",
    )


def _check(custom: object) -> None:
    if not isinstance(custom, CustomMetric) or not isinstance(custom.metric, Metric):
        raise _no_metric(custom)
    metric: Any = custom.metric
    problem = ""
    if not isinstance(metric.key, str) or not _KEY.fullmatch(metric.key):
        problem = "keys are words joined by dots, at least two, and none begins with per_"
    elif metric.unit not in get_args(Unit):
        problem = f"units are {', '.join(get_args(Unit))}"
    elif metric.kind not in ("exact", "timed") or metric.worse not in ("up", "down"):
        problem = 'kind is "exact" or "timed", worse is "up" or "down"'
    elif metric.tolerance is not None and not isinstance(metric.tolerance, Tolerance):
        problem = "tolerance is a pytest_nsys.Tolerance, or None"
    elif metric.ratio is not None or not callable(custom.compute):
        problem = "compute is a function of a Cut; form quotients in it"
    if problem:
        raise SettingsError(f"{_HOOK}: the metric {metric.key!r} cannot be added", remedy=problem)


def custom_values(cut: Cut) -> dict[str, Floats]:
    """Per added metric, its value in every window of the cut; NaN where it has none.

    Raises:
        CustomMetricFailed: a function failed or returned something else.
    """
    return {key: _values(key, compute, cut) for key, compute in added_metrics().items()}


def _values(key: str, compute: Callable[[Cut], Floats], cut: Cut) -> Floats:
    import numpy as np

    try:
        values = np.array(compute(cut), dtype=np.float64)
    except (Exception, SystemExit) as error:
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
