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

_OF_STEPS = {
    "step.graphs": "CUDA graphs a step",
    "step.tokens": "tokens a step",
    "sync.count": "waits for the GPU a step",
    "memcpy.d2h.count": "copies to the host a step",
}
"""What a step of a server's engine is like, and how that is called. It is the same from start to
start, so that a change has a cause."""

_FASTER = ("step.graphs", "step.tokens")
"""Those of which more makes a server faster; more of the others makes it slower."""

_OF_STEP = 0.1
"""The part by which one of them is to change to be named."""

_OF_RATE = 0.05
"""The part by which tokens per second are to change for them to explain it."""

_DECODE = "decode.step_kernel_time"
_OF_DECODE = 0.03
"""... and by which the kernel time of a decode step is: it varies by 0.5 % from start to start."""


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
    """What became of the numbers that a server is known by, between two measurements of a window,
    and what explains it in its steps; "" where none was measured of both.
    """
    return "; ".join(filter(None, (", ".join(_consequences(then, now)), explanation(then, now))))


def explanation(then: WindowMeasurement, now: WindowMeasurement) -> str:
    """What changed most in the steps of a server's engine; "" where nothing much did, or they are
    not known: ``CUDA graphs a step 1 -> none``. What should have made a slower server faster, or a
    faster one slower, explains nothing, nor is there anything to explain in one as fast as before.
    """
    was, rate = (side.get(f"{CLIENT}tokens_per_s") for side in (then, now))
    faster = None
    if was and rate:
        faster = (rate > was) - (rate < was) if _distance(was, rate) >= _OF_RATE else 0
    changes = {}
    for key in _OF_STEPS:
        before, after = _of_step(then, key), _of_step(now, key)
        if before is None or after is None:
            continue
        more = 1 if key in _FASTER else -1
        if faster is None or faster * (after - before) * more > 0:
            changes[key] = _distance(before, after), before, after
    key, (distance, before, after) = max(
        changes.items(), key=lambda one: one[1][0], default=("", (0.0, 0.0, 0.0))
    )
    if distance >= _OF_STEP:
        return f"{_OF_STEPS[key]} {_number(before)} -> {_number(after)}"
    decode = then.get(_DECODE), now.get(_DECODE)
    if decode[0] and decode[1] and _distance(decode[0], decode[1]) >= _OF_DECODE:
        return f"kernel time of a decode step {format_change(decode[0], decode[1], 'ns')}"
    return ""


def _of_step(window: WindowMeasurement, key: str) -> float | None:
    """How much of a metric a step has, in each process."""
    value, steps = window.get(key), window.get("step.count")
    if key.startswith("step.") or value is None or not steps:
        return value if steps else None
    return value / steps / (window.get("process.count") or 1)


def _distance(before: float, after: float) -> float:
    """How far two amounts are from each other, as a part of the smaller; none is half of any."""
    low, high = sorted((before, after))
    return high / (low or high / 2) - 1 if high else 0.0


def _number(value: float) -> str:
    return f"{value:.3g}" if value else "none"


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
