"""What metrics there are, and how they are looked up."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.catalogue import (
    CLIENT_METRICS,
    COUNTED_UNITS,
    FAMILIES,
    METRICS,
    SAID_BY_TESTS,
    SERVER_GATES,
    FamilyKey,
    Metric,
    default_gates,
    default_tolerance,
    is_gated,
    lookup,
    metric_names,
    parse_family,
    parse_range,
    split_per_unit,
)
from pytest_nsys.errors import UnknownMetric
from pytest_nsys.measure.rounds import RATIOS
from pytest_nsys.metrics.busy import BUSY_METRICS
from pytest_nsys.metrics.memory import SPAN_METRICS
from pytest_nsys.metrics.processes import PROCESS_METRICS
from pytest_nsys.metrics.records import STATE_METRICS
from pytest_nsys.metrics.sampled import SAMPLED
from pytest_nsys.metrics.steps import STEP_METRICS
from pytest_nsys.metrics.unified import UNIFIED_METRICS
from pytest_nsys.metrics.window import WINDOW_METRICS
from pytest_nsys.support.text import suggest
from pytest_nsys.support.units import Tolerance

keys = st.sampled_from([metric.key for metric in METRICS])


def test_every_metric_is_computed_and_everything_computed_is_a_metric() -> None:
    computed = [
        *(*WINDOW_METRICS, *BUSY_METRICS, *UNIFIED_METRICS, *SAMPLED),
        *(*SPAN_METRICS, *STATE_METRICS, *RATIOS, *PROCESS_METRICS, *CLIENT_METRICS),
        *STEP_METRICS,
    ]
    computed += [key for key in SAID_BY_TESTS if key not in RATIOS]
    assert sorted(computed) == sorted(metric.key for metric in METRICS)


def test_no_key_is_there_twice() -> None:
    assert len(set(metric_names())) == len(METRICS) + len(FAMILIES) + 1


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


def test_where_clients_load_a_server_other_metrics_are_gated_by_default() -> None:
    assert {
        metric.key: default_tolerance(metric, "server") for metric in map(lookup, SERVER_GATES)
    } == {
        "gpu.kernel_time.per_token": Tolerance(0.05),
        "client.ttft_p50": Tolerance(0.20),
        "client.tokens_per_s": Tolerance(0.20),
    }
    assert {metric.key for metric in default_gates("server")} == set(SERVER_GATES)
    assert {metric for metric in METRICS if metric.gated} == set(default_gates("test"))
    assert all(map(is_gated, (*default_gates("server"), *default_gates("test"))))
    assert not is_gated(lookup("api.count"))


@pytest.mark.parametrize("gated", [True, False])
def test_a_metric_of_the_projects_own_is_gated_in_both_or_in_neither(gated: bool) -> None:
    metric = Metric("ours.longest", "ns", "timed", "the longest", Tolerance(0.2), gated)
    expected = Tolerance(0.2) if gated else None
    assert default_tolerance(metric) == default_tolerance(metric, "server") == expected


def test_what_is_counted_is_a_metric_of_the_client() -> None:
    assert set(COUNTED_UNITS.values()) < CLIENT_METRICS
    assert {metric.key for metric in METRICS if metric.key.startswith("client.")} == CLIENT_METRICS


def test_what_is_gated_by_default_has_a_tolerance_and_a_place_to_look_for_culprits() -> None:
    for metric in METRICS:
        if metric.gated:
            assert metric.tolerance is not None
            assert metric.breakdown is not None


def test_kinds_and_units_agree() -> None:
    for metric in (*METRICS, *FAMILIES):
        assert metric.about
        is_mean = metric.key in ("client.in_flight", "step.tokens")
        assert (metric.unit not in ("1", "B", "FLOP") or is_mean) is (metric.kind == "timed")


def test_what_is_more_of_good_gets_worse_downwards() -> None:
    down = {metric.key for metric in METRICS if metric.worse == "down"}
    assert down == {
        *("gpu.busy_pct", "sm.active", "tensor.active", "gpu.sm_clock", "gpu.memory_clock"),
        *(f"memcpy.{kind}.throughput" for kind in ("h2d", "d2h", "d2d", "p2p")),
        *(f"client.{key}" for key in ("tokens_per_s", "requests_per_s", "requests")),
        *("client.output_tokens", "client.prompt_tokens", "step.tokens"),
        *(f"gpu.{key}" for key in ("flops_per_s", "bytes_per_s", "pct_peak_flops", "pct_peak_bw")),
    }


def test_a_quotient_is_of_metrics_that_there_are() -> None:
    for metric in METRICS:
        for key in (*metric.ratio.above, *metric.ratio.below) if metric.ratio else ():
            assert lookup(key).ratio is None


@pytest.mark.parametrize(
    ("key", "text", "inner"),
    [
        ("range[fwd].gpu.busy", "fwd", "gpu.busy"),
        ("range[step *].kernel[gemm*].time", "step *", "kernel[gemm*].time"),
        ("range[a].memcpy.h2d.bytes.per_token", "a", "memcpy.h2d.bytes.per_token"),
    ],
)
def test_any_metric_can_be_of_a_range(key: str, text: str, inner: str) -> None:
    assert parse_range(key) == (text, inner)
    metric, within = lookup(key), lookup(inner)
    assert (metric.key, metric.gated, metric.breakdown) == (key, False, None)
    assert (metric.unit, metric.kind, metric.tolerance) == (
        *(within.unit, within.kind, within.tolerance),
    )


@pytest.mark.parametrize("key", ["range[fwd]", "range[].gpu.busy", "range[fwd].gpu.bussy"])
def test_what_is_no_metric_of_a_range_is_unknown(key: str) -> None:
    with pytest.raises(UnknownMetric):
        lookup(key)


@pytest.mark.parametrize(
    "key", ["mem.peak", "gpu.sm_clock", "gpu.power.per_token", "client.ttft_p50"]
)
def test_what_is_measured_of_whole_rounds_is_not_of_a_range(key: str) -> None:
    assert lookup(key)
    with pytest.raises(UnknownMetric, match="rounds") as caught:
        lookup(f"range[fwd].{key}")
    assert key in caught.value.remedy


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


def test_a_key_like_no_other_lists_what_there_is() -> None:
    assert suggest("zzzzzzzzzz", ["a", "b"]) == "valid names: a, b"
    assert suggest("zz", map(str, range(17))).endswith(", 13, 14, and 2 more")
    with pytest.raises(UnknownMetric) as caught:
        lookup("qqqqqqqqqqqqqqqqqqq")
    assert all(name in caught.value.remedy for name in metric_names()[:10])


@given(st.text())
def test_looking_anything_up_gives_a_metric_or_the_error(key: str) -> None:
    with contextlib.suppress(UnknownMetric):
        assert lookup(key).key == key


def test_the_catalogue_needs_no_pandas() -> None:
    code = "import sys, pytest_nsys.catalogue; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
