"""What the records of windows say, apart from the capture: the GPUs' clocks, temperature and power,
what clients measured, and in words what disturbed the rounds."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from pytest_nsys.catalogue import CLIENT, CLIENT_METRICS
from pytest_nsys.gpu.state import Quantity
from pytest_nsys.support.arrays.rows import Floats
from pytest_nsys.windows.record import MAIN, WindowRecord

STATE_METRICS: Mapping[str, Quantity] = {
    "gpu.sm_clock": "sm_clock_hz",
    "gpu.memory_clock": "memory_clock_hz",
    "gpu.temperature": "temperature_c",
    "gpu.power": "power_w",
}
"""The metrics that come from the state of the GPUs, and not from the capture."""

_LATENCY, _RATE = f"{CLIENT}latency_mean", f"{CLIENT}requests_per_s"


def state_samples(records: Iterable[WindowRecord]) -> dict[str, tuple[float, ...]]:
    """Per metric, one sample per round, in the order of the rounds.

    Args:
        records: the rounds of one window.

    Returns:
        The samples; rounds without a value are left out, and so are metrics without any.
    """
    rounds = _rounds(records)
    values = {
        key: [
            statistics.fmean(known)
            for of_round in rounds.values()
            if (known := _known(of_round, quantity))
        ]
        for key, quantity in STATE_METRICS.items()
    }
    return {key: tuple(found) for key, found in values.items() if found}


def _rounds(records: Iterable[WindowRecord]) -> dict[int, list[WindowRecord]]:
    rounds = defaultdict(list)
    for record in sorted(records, key=lambda record: (record.round, record.index)):
        if record.kind == "round" and record.state is not None:
            rounds[record.round].append(record)
    return rounds


def _known(records: Sequence[WindowRecord], quantity: Quantity) -> list[float]:
    values = [record.state.mean(quantity) for record in records if record.state is not None]
    return [value for value in values if value is not None]


def client_values(records: Sequence[WindowRecord]) -> dict[str, Floats]:
    """Per metric that any of the windows has, one value per window; NaN where it has none.

    What is no metric of this version is left out. How many requests were in flight follows from
    their latency and rate (Little's law).
    """
    keys = dict.fromkeys(key for record in records for key in record.values)
    found = {
        key: np.array([record.values.get(key, np.nan) for record in records], dtype=np.float64)
        for key in keys
        if key in CLIENT_METRICS
    }
    if _LATENCY in found and _RATE in found:
        found.setdefault(f"{CLIENT}in_flight", found[_LATENCY] * found[_RATE] / 1e9)
    return found


def disturbances(records: Iterable[WindowRecord]) -> tuple[str, ...]:
    """What was wrong with the GPUs while one test was measured, a sentence each.

    Args:
        records: the windows of one test.

    Returns:
        How many rounds were repeated and why, then the rounds that are disturbed and were kept,
        those of the same reasons together, counted from 1; window by window.
    """
    by_window: dict[str, list[WindowRecord]] = defaultdict(list)
    for record in records:
        by_window[record.name].append(record)
    return tuple(
        ("" if name == MAIN else f"[{name}] ") + sentence
        for name, of_window in by_window.items()
        for sentence in _disturbances(of_window)
    )


def gpu_digests(records: Iterable[WindowRecord]) -> tuple[str, ...]:
    """Which GPUs the rounds used, or could see where that is not known; empty if unknown."""
    states = [record.state for record in records if record.state is not None]
    sure = [state for state in states if state.used]
    return tuple(sorted({digest for state in sure or states for digest in state.digests}))


def _disturbances(records: Iterable[WindowRecord]) -> Iterator[str]:
    discarded: Counter[str] = Counter()
    kept: dict[str, list[int]] = defaultdict(list)
    for number, of_round in _rounds(records).items():
        states = [record.state for record in of_round if record.state is not None]
        discarded.update(reason for state in states for reason in state.discarded)
        reasons = ", ".join(dict.fromkeys(text for s in states for text in s.disturbances))
        if reasons:
            kept[reasons].append(number + 1)
    if discarded:
        total = sum(discarded.values())
        why = [
            reason if len(discarded) == 1 else f"{reason} ({count})"
            for reason, count in discarded.items()
        ]
        yield f"{_plural(total)} repeated: {'; '.join(why)}"
    for reasons, numbers in kept.items():
        which = "round" if len(numbers) == 1 else "rounds"
        listed = ", ".join(map(str, numbers))
        yield f"{which} {listed} {_are(len(numbers))} disturbed: {reasons}"


def _plural(count: int) -> str:
    return f"{count} round{'' if count == 1 else 's'}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
