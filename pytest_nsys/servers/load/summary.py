"""What a load says about the server: latencies, rates, and whether it may count at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from pytest_nsys.errors import LoadError, LoadFailed
from pytest_nsys.servers.load.model import Exchange, LoadResult, shortened

PERCENTILES = (50, 95, 99)

_SHOWN = 5  # of different errors


def client_values(result: LoadResult) -> dict[str, float]:
    """What the client measured, by metric key. Times in nanoseconds.

    Of the requests that succeeded, each with mean, p50, p95 and p99:

    - ``client.ttft_*``: time to first token, from sending the request to the first output;
    - ``client.tpot_*``: time per output token after the first: (last - first) / (tokens - 1), of
      requests with at least two tokens that did not all arrive at once;
    - ``client.latency_*``: from sending the request to the end of the answer.

    And of all of them together: ``client.tokens_per_s`` (output tokens) and
    ``client.requests_per_s`` (successes), over the time from the first request to the end of the
    last; ``client.requests``, ``client.errors``, ``client.output_tokens``,
    ``client.prompt_tokens``. What was not measured has no key: without streaming, there is no
    time to first token; without the server's counts, no number of prompt tokens.

    The definitions are those of vLLM's benchmark (https://docs.vllm.ai/en/latest/benchmarking/cli/)
    and of NVIDIA's for NIM (https://docs.nvidia.com/nim/benchmarking/llm/metrics, where the time
    per output token is the "inter-token latency").
    """
    good = result.succeeded
    values: dict[str, float] = {}
    for name, times in (
        ("ttft", [time for each in good if (time := _first_token_ns(each)) is not None]),
        ("tpot", [time for each in good if (time := _per_token_ns(each)) is not None]),
        ("latency", [float(each.end_ns - each.start_ns) for each in good]),
    ):
        values.update(_statistics(f"client.{name}", times))
    seconds = _seconds(result.exchanges)
    values["client.requests"] = float(len(result.exchanges))
    values["client.errors"] = float(len(result.failed))
    if seconds:
        values["client.requests_per_s"] = len(good) / seconds
    if good and result.counted != "nothing":
        values["client.output_tokens"] = float(result.output_tokens)
        if seconds:
            values["client.tokens_per_s"] = result.output_tokens / seconds
    prompts = [each.prompt_tokens for each in good if each.prompt_tokens is not None]
    if prompts:
        values["client.prompt_tokens"] = float(sum(prompts))
    return values


def percentile(values: Sequence[float], percent: float) -> float:
    """The percentile of values, interpolated linearly between the two nearest.

    Definition 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American
    Statistician 50 (1996), which is numpy's default ("linear") and the "inclusive" method of
    `statistics.quantiles`. Of one value, every percentile is that value.

    Args:
        values: at least one.
        percent: from 0 to 100.
    """
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def check(result: LoadResult, allowed_errors: float = 0.0) -> None:
    """Raise where too many requests of a load have failed for its numbers to mean anything.

    Args:
        result: what came of the load.
        allowed_errors: the share of requests that may fail, from 0 to 1. If all have failed, that
            is an error in any case.

    Raises:
        LoadFailed: more have failed. Says how many, and why.
        LoadError: the share is none.
    """
    known = isinstance(allowed_errors, int | float) and not isinstance(allowed_errors, bool)
    if not known or not 0 <= allowed_errors <= 1:
        raise LoadError(
            "the share of errors that a load may have is wrong",
            evidence=f"allowed_errors={shortened(allowed_errors)}",
            remedy="it is a number from 0 (none) to 1 (all but one); 0.01 is one request in 100",
        )
    sent, failed = len(result.exchanges), len(result.failed)
    if sent > failed and failed / sent <= allowed_errors:
        return
    if not sent:
        raise LoadFailed("the load sent no request", remedy="send at least one")
    causes = Counter(exchange.error for exchange in result.failed)
    lines = [f"{count} x {error}" for error, count in causes.most_common(_SHOWN)]
    if len(causes) > _SHOWN:
        lines.append(f"and {len(causes) - _SHOWN} other errors")
    raise LoadFailed(
        f"all of {sent} requests failed"
        if sent == failed
        else f"{failed} of {sent} requests failed; allowed are {100 * allowed_errors:.4g} %",
        evidence="\n".join(lines),
        remedy=_remedy(causes.most_common(1)[0][0]),
    )


_REMEDIES = (
    (
        ("HTTP 400", "HTTP 422"),
        "the server refuses a field of the request or its length: fields that not every server "
        'knows are left out by ignore_eos=False and extra={"stream_options": None}; prompt and '
        "max_tokens together must fit the model",
    ),
    (
        ("HTTP 401", "HTTP 403"),
        'the server wants an authorization: headers={"Authorization": "Bearer ..."}',
    ),
    (
        ("HTTP 404",),
        "see whether the server has this model, under this name, and speaks this dialect",
    ),
    (
        ("HTTP 429", "HTTP 503"),
        "the server is asked for more than it takes: lower the concurrency or the rate",
    ),
    (
        ("connection", "no connection", "the connection", "the server closed"),
        "see whether the server has ended: its log says why",
    ),
    (
        ("timed out", "cut off"),
        "see whether the server is stuck: its log may say so; if it is only slow, raise timeout=, "
        "or send less",
    ),
    (
        ("malformed", "answered JSON", "the stream ended"),
        "see whether the server speaks this dialect; its log may say why it broke off",
    ),
)


def _remedy(error: str) -> str:
    """What to do about the most frequent error."""
    for beginnings, remedy in _REMEDIES:
        if error.startswith(beginnings):
            return remedy
    return "look into the server's log; if some may fail, say allow_errors=0.01"


def _first_token_ns(exchange: Exchange) -> float | None:
    if exchange.first_token_ns is None:
        return None
    return float(exchange.first_token_ns - exchange.start_ns)


def _per_token_ns(exchange: Exchange) -> float | None:
    """Time per output token after the first; None where there is no time between tokens."""
    first, last = exchange.first_token_ns, exchange.last_token_ns
    if first is None or last is None or last == first or exchange.output_tokens < 2:
        return None
    return (last - first) / (exchange.output_tokens - 1)


def _seconds(exchanges: Sequence[Exchange]) -> float:
    """From the first request to the end of the last; 0 for none."""
    if not exchanges:
        return 0.0
    first = min(exchange.start_ns for exchange in exchanges)
    return (max(exchange.end_ns for exchange in exchanges) - first) / 1e9


def _statistics(key: str, values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    points = {f"{key}_p{percent}": percentile(values, percent) for percent in PERCENTILES}
    return {f"{key}_mean": fmean(values), **points}
