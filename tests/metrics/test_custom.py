"""Metrics that a project adds: registered, refused, computed, forgotten."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pytest_nsys.catalogue import (
    METRICS,
    Metric,
    Ratio,
    add_metric,
    added_metrics,
    lookup,
    metric_names,
)
from pytest_nsys.errors import CustomMetricFailed, SettingsError, UnknownMetric
from pytest_nsys.measure.windows import measure, measure_cut
from pytest_nsys.metrics.custom import CustomMetric, custom_values, register
from pytest_nsys.metrics.unified import records_unified_memory
from pytest_nsys.support.units import Tolerance
from pytest_nsys.windows.cut import whole
from tests.support.exports.traces import TraceBuilder

ONE = Metric("ours.one", "1", "exact", "ones", Tolerance())


def _ones(cut: Any) -> Any:
    return np.ones(len(cut))


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    assert added_metrics() == {}
    yield
    assert added_metrics() == {}
    assert metric_names()[-1].startswith("range[")


def test_an_added_metric_is_known_until_it_is_forgotten() -> None:
    forget = register([[CustomMetric(ONE, _ones)], []])
    assert lookup("ours.one") == ONE
    assert lookup("ours.one.per_token").key == "ours.one.per_token"
    assert lookup("range[fwd].ours.one").about == "ones"
    assert metric_names()[-1] == "ours.one"
    with pytest.raises(UnknownMetric) as caught:
        lookup("ours.onne")
    assert caught.value.remedy == "did you mean 'ours.one'?"
    forget()
    forget()
    with pytest.raises(UnknownMetric):
        lookup("ours.one")


@pytest.mark.parametrize(
    "key",
    [
        *("one", "", "ours.", ".one", "ours.per_token", "ours.one.per_token", "ours one.x"),
        *("kernel[x].time", "range[x].gpu.busy", "gpu.busy.per_token", 3, "ours.\u00fc"),
    ],
)
def test_keys_that_could_be_read_as_something_else_are_refused(key: Any) -> None:
    with pytest.raises(SettingsError, match="cannot be added"):
        register([[CustomMetric(replace(ONE, key=key), _ones)]])


@pytest.mark.parametrize(
    "change",
    [
        *({"unit": "K"}, {"kind": "rough"}, {"worse": "left"}, {"tolerance": "5%"}),
        {"ratio": Ratio(("gpu.busy",), ("gpu.idle",))},
    ],
)
def test_what_a_metric_cannot_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"ours\.one' cannot be added"):
        register([[CustomMetric(replace(ONE, **change), _ones)]])


@pytest.mark.parametrize("answer", [3, "ours", [ONE], [None], [CustomMetric("ours.one", _ones)]])  # type: ignore[arg-type]
def test_what_is_no_custom_metric_is_refused(answer: Any) -> None:
    with pytest.raises(SettingsError, match="pytest_nsys_metrics returned"):
        register([answer])
    with pytest.raises(SettingsError, match="cannot be added"):
        register([[CustomMetric(ONE, "no function")]])  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [METRICS[0].key, "ours.one"])
def test_a_key_is_given_once_and_nothing_is_added_then(key: str) -> None:
    with pytest.raises(SettingsError, match=f"there is a metric '{key}' already"):
        register([[CustomMetric(ONE, _ones)], [CustomMetric(replace(ONE, key=key), _ones)]])
    with pytest.raises(ValueError, match="already"):
        add_metric(METRICS[0], _ones)


def test_added_metrics_are_measured_in_windows_ranges_and_whole_captures() -> None:
    builder = TraceBuilder()
    for round_ in range(2):
        start = 1000 * (round_ + 1)
        builder.window(start, start + 500, round=round_)
        for instance in range(3):
            begin = start + 10 + 100 * instance
            builder.range("step", begin, begin + 50)
    trace = builder.build()
    forget = register([[CustomMetric(ONE, _ones)]])
    try:
        (test,) = measure(trace, builder.windows, extra=["range[st*].ours.one"]).values()
        assert test.windows["test"].samples["ours.one"] == ((1.0, 1.0),)
        assert test.windows["test"].samples["range[st*].ours.one"] == ((3.0, 3.0),)
        assert measure_cut(whole(trace), "x")["ours.one"] == 1
    finally:
        forget()
    assert "ours.one" not in measure_cut(whole(trace), "x").samples


@pytest.mark.parametrize(
    ("compute", "what"),
    [
        (lambda _: 1 / 0, "could not be computed"),
        (lambda _: None, "something else"),
        (lambda _: [1, 2], "something else"),
        (lambda _: [[1]], "something else"),
        (lambda _: [float("-inf")], "something else"),
        (lambda _: {"a": 1}, "could not be computed"),
    ],
)
def test_a_function_that_fails_is_named_with_its_metric(
    compute: Callable[[Any], Any], what: str
) -> None:
    forget = register([[CustomMetric(ONE, compute)]])
    try:
        with pytest.raises(CustomMetricFailed, match=what) as caught:
            custom_values(whole(TraceBuilder().build()))
    finally:
        forget()
    assert "ours.one" in caught.value.what
    assert caught.value.evidence


def test_a_function_cannot_change_what_it_returned() -> None:
    values = np.zeros(1)
    forget = register([[CustomMetric(ONE, lambda _: values)]])
    try:
        found = custom_values(whole(TraceBuilder().build()))["ours.one"]
    finally:
        forget()
    values[0] = 7
    assert found.tolist() == [0.0]


def test_defining_a_metric_needs_neither_pandas_nor_numpy() -> None:
    loaded = "bool({'pandas', 'numpy'} & set(sys.modules))"
    code = f"import sys; from pytest_nsys import CustomMetric, Metric; sys.exit({loaded})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--trace=cuda", "--cuda-um-gpu-page-faults=true"], True),
        (["--cuda-um-cpu-page-faults", "true"], True),
        (["--cuda-um-gpu-page-faults=false", "--cuda-memory-usage=true"], False),
        ([], False),
    ],
)
def test_the_options_say_whether_unified_memory_was_recorded(
    options: list[str], asked: bool
) -> None:
    assert records_unified_memory(options) is asked
