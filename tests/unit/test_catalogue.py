"""What metrics there are, and how they are looked up."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.catalogue import (
    FAMILIES,
    METRICS,
    FamilyKey,
    lookup,
    metric_names,
    parse_family,
    split_per_unit,
    suggest,
)
from pytest_nsys.errors import UnknownMetric
from pytest_nsys.metrics import SPAN_METRICS, WINDOW_METRICS
from pytest_nsys.quantities import Tolerance

keys = st.sampled_from([metric.key for metric in METRICS])


def test_every_metric_is_computed_and_everything_computed_is_a_metric() -> None:
    assert sorted([*WINDOW_METRICS, *SPAN_METRICS]) == sorted(metric.key for metric in METRICS)


def test_no_key_is_there_twice() -> None:
    assert len(set(metric_names())) == len(METRICS) + len(FAMILIES)


def test_the_metrics_gated_by_default_are_those_the_design_names() -> None:
    assert {metric.key for metric in METRICS if metric.gated} == {
        "gpu.kernel_time",
        "gpu.kernel_count",
        "memcpy.h2d.bytes",
        "memcpy.h2d.count",
        "memcpy.d2h.bytes",
        "memcpy.d2h.count",
        "sync.count",
        "mem.peak",
    }


def test_what_is_gated_by_default_has_a_tolerance_and_a_place_to_look_for_culprits() -> None:
    for metric in METRICS:
        if metric.gated:
            assert metric.tolerance is not None
            assert metric.breakdown is not None


def test_kinds_and_units_agree() -> None:
    for metric in (*METRICS, *FAMILIES):
        assert metric.about
        assert (metric.unit == "ns") is (metric.kind == "timed")


@given(keys)
def test_a_plain_key_is_its_own_metric(key: str) -> None:
    assert lookup(key).key == key
    assert lookup(key) in METRICS


@pytest.mark.parametrize(
    ("key", "unit", "breakdown"),
    [
        ("kernel[gemm*].time", "ns", "kernels"),
        ("kernel[a].b[c]].count", "1", "kernels"),
        ("kernel[void f<int>(T1)].time", "ns", "kernels"),
        ("category[gemm].time", "ns", "kernels"),
        ("api[cudaMalloc*].count", "1", "calls"),
        ("api[cudaMalloc].time", "ns", "calls"),
    ],
)
def test_a_family_is_looked_up_with_any_name_in_its_brackets(
    key: str, unit: str, breakdown: str
) -> None:
    metric = lookup(key)
    assert (metric.key, metric.unit, metric.breakdown) == (key, unit, breakdown)


@given(st.text(min_size=1), st.sampled_from(FAMILIES))
def test_a_family_key_is_taken_apart_as_it_was_put_together(name: str, family: object) -> None:
    shape = getattr(family, "key", "")
    kind, measure = shape.split("[NAME].")
    assert parse_family(f"{kind}[{name}].{measure}") == FamilyKey(kind, name, measure)


@pytest.mark.parametrize(
    "key", ["kernel[].time", "kernel[x].bytes", "category[x].count", "kernel[x]", "gpu.kernel_time"]
)
def test_what_only_resembles_a_family_is_none(key: str) -> None:
    assert parse_family(key) is None


def test_a_metric_per_unit_keeps_what_holds_for_a_quotient() -> None:
    metric = lookup("gpu.kernel_time.per_token")
    assert metric.key == "gpu.kernel_time.per_token"
    assert metric.tolerance == Tolerance(relative=0.03)
    assert (metric.kind, metric.worse, metric.gated) == ("timed", "up", False)


def test_a_family_and_a_metric_without_tolerance_can_be_per_unit() -> None:
    assert lookup("kernel[gemm*].time.per_token").tolerance == Tolerance(relative=0.10)
    assert lookup("wall.time.per_request").tolerance is None


def test_units_nest() -> None:
    assert split_per_unit("gpu.kernel_time.per_token.per_head") == (
        "gpu.kernel_time.per_token",
        "head",
    )
    assert lookup("gpu.kernel_time.per_token.per_head").unit == "ns"


@given(keys, st.from_regex(r"[A-Za-z_]\w*", fullmatch=True))
def test_any_metric_can_be_per_any_unit(key: str, unit: str) -> None:
    assert split_per_unit(f"{key}.per_{unit}") == (key, unit)
    assert lookup(f"{key}.per_{unit}").unit == lookup(key).unit


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("gpu.kernel_tme", "gpu.kernel_time"),
        ("kernel_time", "gpu.kernel_time"),
        ("memcpy.h2d.byte", "memcpy.h2d.bytes"),
        ("mem.peek", "mem.peak"),
        ("gpu.kernel_tme.per_token", "gpu.kernel_time"),
        ("kernel[NAME].tme", "kernel[NAME].time"),
    ],
)
def test_an_unknown_key_suggests_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(UnknownMetric) as caught:
        lookup(key)
    assert f"did you mean {nearest!r}?" in caught.value.remedy


def test_a_key_like_no_other_lists_all() -> None:
    assert suggest("zzzzzzzzzz", ["a", "b"]) == "valid names: a, b"
    with pytest.raises(UnknownMetric) as caught:
        lookup("qqqqqqqqqqqqqqqqqqq")
    assert all(name in caught.value.remedy for name in metric_names())


@given(st.text())
def test_looking_anything_up_gives_a_metric_or_the_error(key: str) -> None:
    with contextlib.suppress(UnknownMetric):
        assert lookup(key).key == key


def test_the_catalogue_needs_no_pandas() -> None:
    code = "import sys, pytest_nsys.catalogue; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
