"""What one knob does: how the arguments of two servers differ, and what became of their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_nsys.catalogue import CLIENT, lookup
from pytest_nsys.measure.measurement import WindowMeasurement
from pytest_nsys.support.units import format_change
from pytest_nsys.verdict.verdict import Verdict
from pytest_nsys.verdict.wording import place

_SHOWN = {
    f"{CLIENT}tokens_per_s": "tokens/s",
    f"{CLIENT}ttft_p50": "TTFT p50",
    f"{CLIENT}latency_p95": "latency p95",
    "gpu.kernel_time.per_token": "kernel time per token",
    "gpu.busy_pct": "GPU busy",
}


def knob_sentences(verdict: Verdict) -> tuple[str, ...]:
    """A sentence for each window of a server that was started otherwise than for its baseline.

    ```--dtype float16` -> `bfloat16`: tokens/s +1.0%, TTFT p50 -3.0%, GPU busy 38% -> 52%``
    """
    if verdict.baseline is None:
        return ()
    then, now = (one.environment.server for one in (verdict.baseline, verdict.measurement))
    knob = differing(then, now) if then and now else ""
    found = []
    for name, window in verdict.measurement.windows.items():
        before = verdict.baseline.windows.get(name)
        if knob and before is not None and (said := consequences(before, window)):
            found.append(f"{place(name)}{knob}: {said}")
    return tuple(found)


def differing(then: Sequence[str], now: Sequence[str]) -> str:
    """How two command lines differ, in words; "" if they do not, as far as they are known.

    Args:
        then: the program, or the engine, and its arguments.
        now: the same.
    """
    return ", ".join(_differences(then, now))


def _differences(then: Sequence[str], now: Sequence[str]) -> Iterator[str]:
    if then[:1] != now[:1]:
        yield f"{_quoted(then[:1])} -> {_quoted(now[:1])}"
    before, after = _options(then[1:]), _options(now[1:])
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if new is None:
            yield f"without {_quoted([name, *before[name]])}"
        elif old is None:
            yield f"with {_quoted([name, *after[name]])}"
        else:
            yield f"{_quoted([name, *old])} -> {_quoted(new or [name])}"


def _quoted(words: Sequence[str]) -> str:
    return f"`{' '.join(filter(None, words))}`"


def _options(words: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """By option its values; words that belong to none are those of ""."""
    found: dict[str, tuple[str, ...]] = {}
    name = ""
    for word in words:
        if word.startswith("-") and not word[1:2].isdigit():
            name, equals, value = word.partition("=")
            found[name] = (value,) if equals else ()
        else:
            found[name] = (*found.get(name, ()), word)
    return found


def consequences(then: WindowMeasurement, now: WindowMeasurement) -> str:
    """What became of the numbers that a server is known by, between two measurements of a window;
    "" where none was measured of both.
    """
    return ", ".join(_consequences(then, now))


def _consequences(then: WindowMeasurement, now: WindowMeasurement) -> Iterator[str]:
    for key, name in _SHOWN.items():
        before, after = then.get(key), now.get(key)
        if before is None or after is None:
            continue
        unit = lookup(key).unit
        if unit == "%":
            yield f"{name} {before:.0f}% -> {after:.0f}%"
        else:
            yield f"{name} {format_change(before, after, unit)}"
