"""What the client's numbers are, and when they do not count."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import LoadError, LoadFailed
from pytest_nsys.servers.load import (
    Exchange,
    LoadResult,
    check,
    client_values,
    percentile,
)

TIMES = st.floats(0, 1e13)


def result_of(*exchanges: Exchange) -> LoadResult:
    return LoadResult(exchanges, 0, 0, 0, 0)


def failure(error: str) -> Exchange:
    return Exchange(0, None, None, 10, None, 0, error, "nothing")


GOOD = Exchange(0, 10, 110, 120, 5, 11)


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    start, first, last, end = sorted(draw(st.lists(st.integers(0, 10**13), min_size=4, max_size=4)))
    tokens = draw(st.integers(0, 5000))
    prompt = draw(st.none() | st.integers(0, 5000))
    if draw(st.booleans()):
        return Exchange(start, first, last, end, prompt, tokens)
    return Exchange(start, None, None, end, prompt, tokens, draw(st.sampled_from(["", "broken"])))


@given(st.lists(exchanges(), max_size=20))
def test_what_holds_for_all_results(each: list[Exchange]) -> None:
    values = client_values(result_of(*each))
    good = [exchange for exchange in each if exchange.ok]
    assert values["client.requests"] == len(each)
    assert values["client.errors"] == len(each) - len(good)
    for name in ("ttft", "tpot", "latency"):
        keys = [f"client.{name}_{which}" for which in ("p50", "p95", "p99", "mean")]
        assert len({key in values for key in keys}) == 1
        if keys[0] in values:
            p50, p95, p99, _ = (values[key] for key in keys)
            assert 0 <= p50 <= p95 <= p99
    assert ("client.latency_mean" in values) == bool(good)
    if good:
        latencies = [exchange.end_ns - exchange.start_ns for exchange in good]
        for which in ("mean", "p50", "p95", "p99"):
            assert min(latencies) <= values[f"client.latency_{which}"] <= max(latencies)
        assert values["client.output_tokens"] == sum(exchange.output_tokens for exchange in good)


@given(st.lists(TIMES, min_size=1, max_size=50), st.floats(0, 100))
def test_percentiles(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert min(values) <= found <= max(values)
    assert found == pytest.approx(np.percentile(values, percent), rel=1e-9, abs=1e-3)


@given(st.lists(TIMES, min_size=2, max_size=50))
def test_percentiles_are_those_of_the_standard_library(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    for percent in (50, 95, 99):
        assert percentile(values, percent) == pytest.approx(cuts[percent - 1], rel=1e-9, abs=1e-3)


def test_of_one_value_every_percentile_is_it() -> None:
    assert [percentile([7], percent) for percent in (0, 50, 99, 100)] == [7, 7, 7, 7]


def test_values_by_hand() -> None:
    values = client_values(
        result_of(
            Exchange(0, 100, 1000, 1100, 5, 10),  # ttft 100, tpot 900 / 9, latency 1100
            Exchange(500, 900, 2900, 3000, 7, 11),  # ttft 400, tpot 2000 / 10, latency 2500
            failure("HTTP 500: no"),
        )
    )
    assert values == {
        "client.ttft_mean": 250,
        "client.ttft_p50": 250,
        "client.ttft_p95": pytest.approx(385),
        "client.ttft_p99": pytest.approx(397),
        "client.tpot_mean": 150,
        "client.tpot_p50": 150,
        "client.tpot_p95": pytest.approx(195),
        "client.tpot_p99": pytest.approx(199),
        "client.latency_mean": 1800,
        "client.latency_p50": 1800,
        "client.latency_p95": pytest.approx(2430),
        "client.latency_p99": pytest.approx(2486),
        "client.requests": 3,
        "client.errors": 1,
        "client.requests_per_s": pytest.approx(2 / 3e-6),
        "client.output_tokens": 21,
        "client.tokens_per_s": pytest.approx(21 / 3e-6),
        "client.prompt_tokens": 12,
    }


def test_without_streaming_there_are_no_times_of_tokens() -> None:
    values = client_values(result_of(Exchange(0, None, None, 100, None, 10)))
    assert not [key for key in values if "ttft" in key or "tpot" in key]
    assert "client.prompt_tokens" not in values
    assert values["client.latency_p99"] == 100


@pytest.mark.parametrize("exchange", [Exchange(0, 5, 9, 10, 1, 1), Exchange(0, 5, 5, 10, 1, 64)])
def test_one_token_or_chunk_has_no_time_between_tokens(exchange: Exchange) -> None:
    values = client_values(result_of(exchange))
    assert values["client.ttft_p50"] == 5
    assert "client.tpot_p50" not in values


def test_what_nobody_has_counted_is_no_number() -> None:
    values = client_values(result_of(GOOD, Exchange(0, None, None, 100, None, 0, "", "nothing")))
    assert "client.output_tokens" not in values
    assert "client.tokens_per_s" not in values
    assert values["client.requests_per_s"] > 0


def test_no_time_has_no_rates() -> None:
    assert "client.tokens_per_s" not in client_values(result_of(Exchange(3, 3, 3, 3, 1, 1)))
    assert client_values(result_of()) == {"client.requests": 0, "client.errors": 0}


# Whether it may count.


def test_a_load_without_errors_counts() -> None:
    check(result_of(GOOD))


def test_errors_that_are_allowed() -> None:
    result = result_of(*[GOOD] * 71, *[failure("HTTP 500: no")] * 29)
    check(result, 0.29)
    check(result, 1)
    with pytest.raises(LoadFailed, match="29 of 100 requests failed; allowed are 28 %"):
        check(result, 0.28)


def test_the_most_frequent_errors_are_named() -> None:
    causes = [f"HTTP 50{number}: no" for number in range(7) for _ in range(8 - number)]
    with pytest.raises(LoadFailed, match="35 of 36 requests failed; allowed are 0 %") as caught:
        check(result_of(GOOD, *map(failure, causes)))
    assert caught.value.evidence.splitlines() == [
        "8 x HTTP 500: no",
        "7 x HTTP 501: no",
        "6 x HTTP 502: no",
        "5 x HTTP 503: no",
        "4 x HTTP 504: no",
        "and 2 other errors",
    ]
    assert "log" in caught.value.remedy


def test_a_load_of_errors_only_never_counts() -> None:
    with pytest.raises(LoadFailed, match=r"^all of 2 requests failed\n"):
        check(result_of(*[failure("connection refused")] * 2), 1)
    with pytest.raises(LoadFailed, match="sent no request"):
        check(result_of(), 1)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("HTTP 422: Unexpected keys in the request: ignore_eos", "ignore_eos=False"),
        ("HTTP 401: no key", "Authorization"),
        ("HTTP 404: no such model", "this model"),
        ("HTTP 503: busy", "lower the concurrency"),
        ("connection refused", "whether the server has ended"),
        ("timed out: no output after 3 s", "timeout="),
        ("the stream ended without [DONE]", "speaks this dialect"),
        ("ValueError: mine", "allow_errors=0.01"),
    ],
)
def test_what_to_do_about_it(error: str, remedy: str) -> None:
    with pytest.raises(LoadFailed) as caught:
        check(result_of(failure(error)))
    assert remedy.split("|")[-1] in caught.value.remedy


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), True, "1%", None])
def test_shares_that_are_none(share: Any) -> None:
    with pytest.raises(LoadError, match="share of errors"):
        check(result_of(GOOD), share)
