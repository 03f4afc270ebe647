"""The work that tests say they do, and the share of the GPU's peak at which it is done."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pytest_nsys.catalogue import (
    BYTES_PER_S,
    FLOPS_PER_S,
    PCT_PEAK_BW,
    PCT_PEAK_FLOPS,
    WORK_BYTES,
    WORK_FLOPS,
)
from pytest_nsys.gpu.peaks import PRECISIONS, peak_flops
from pytest_nsys.support.arrays.rows import Floats
from pytest_nsys.support.units import format_amount
from pytest_nsys.trace.tables import TraceGpu
from pytest_nsys.windows.record import WindowRecord, Work

_MOST = {PCT_PEAK_FLOPS: 116.0, PCT_PEAK_BW: 100.5}
"""Percent that are not too much yet. Clocks go up to 1.155 times (H100 NVL) those that the peaks of
data sheets are for; the bandwidth of a capture is that of the memory's only clock."""

_TOO_MUCH = {
    PCT_PEAK_FLOPS: "more than the GPU can do: it computes less than nsys.units says, or in "
    "another precision",
    PCT_PEAK_BW: "more than the memory can do: less is moved than nsys.units says, or it is in a "
    "cache",
}

Samples = Mapping[str, Sequence[float]]


def work_values(records: Sequence[WindowRecord]) -> dict[str, Floats]:
    """Per metric of work that any of the windows has, one value per window; NaN where it has none.

    A part that is entered several times in a round has one there if it says so each time.
    """
    if all(record.work is None for record in records):
        return {}
    said = [record.work or Work() for record in records]
    amounts = {
        WORK_FLOPS: np.array([work.flops for work in said]),
        WORK_BYTES: np.array([work.bytes for work in said]),
    }
    places: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        places[record.nodeid, record.name, record.round].append(number)
    found = {}
    for key, amount in amounts.items():
        if amount.any():
            values = np.where(amount > 0, amount, np.nan)
            for numbers in places.values():
                values[numbers] = values[numbers] if amount[numbers].all() else np.nan
            found[key] = values
    return found


@dataclass(frozen=True)
class Shares:
    """What is known of a window's work beside its rates.

    Attributes:
        samples: shares of the peaks, by metric, a sample per round.
        precision: of its floating-point operations; "" where they are none, or of several.
        notes: why there is no rate or no share, in sentences.
        warnings: which share there cannot be, in sentences.
    """

    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    precision: str = ""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def shares_of_peak(
    records: Sequence[WindowRecord], samples: Samples, gpus: Sequence[TraceGpu]
) -> Shares:
    """The shares of a window's rates in the peaks of the GPUs that it used.

    A rate is work over the time that GPUs were busy, summed over them, and so is that of one of
    them: several have a peak if that of all is the same.

    Args:
        records: the window in all rounds.
        samples: what was measured of it, by metric.
        gpus: those that it used.
    """
    said = {record.work.precision for record in records if record.work and record.work.flops}
    peaks: dict[str, tuple[str, float | str]] = {}
    if FLOPS_PER_S in samples and said != {""}:
        peaks[PCT_PEAK_FLOPS] = FLOPS_PER_S, _peak_flops(said, gpus)
    if BYTES_PER_S in samples:
        peaks[PCT_PEAK_BW] = BYTES_PER_S, _bandwidth(gpus)
    found = {
        key: tuple(100 * rate / peak for rate in samples[of])
        for key, (of, peak) in peaks.items()
        if not isinstance(peak, str)
    }
    notes = [*_without_rate(records, samples)]
    notes += [f"no {key}: {why}" for key, (_, why) in peaks.items() if isinstance(why, str)]
    precision = next(iter(said)) if len(said) == 1 else ""
    return Shares(found, precision, tuple(notes), tuple(_too_much(found)))


def _without_rate(records: Sequence[WindowRecord], samples: Samples) -> Iterator[str]:
    """That the test says work, and there is no rate of it in any round."""
    said = [record.work or Work() for record in records]
    for key, amounts in (
        (FLOPS_PER_S, [work.flops for work in said]),
        (BYTES_PER_S, [work.bytes for work in said]),
    ):
        if any(amounts) and key not in samples:
            why = "the GPU did nothing" if all(amounts) else "it is not said each time"
            yield f"no {key} of {records[0].name!r}: {why}"


def _peak_flops(said: set[str], gpus: Sequence[TraceGpu]) -> float | str:
    if len(said) > 1:
        named = sorted(precision or "none" for precision in said)
        return f"its operations are said to be of several precisions ({', '.join(named)})"
    (precision,) = said
    if precision not in PRECISIONS:
        return f"the precision {precision!r} is not known"
    return _one_of(peak_flops(gpu.name, gpu.multiprocessors, precision) for gpu in gpus)


def _bandwidth(gpus: Sequence[TraceGpu]) -> float | str:
    return _one_of(
        gpu.bandwidth or f"the capture does not say the bandwidth of {gpu.name}" for gpu in gpus
    )


def _one_of(peaks: Iterator[float | str]) -> float | str:
    """The peak that all GPUs have, or why there is none."""
    found = [*dict.fromkeys(peaks)]
    if len(found) == 1:
        return found[0]
    unknown = (peak for peak in found if isinstance(peak, str))
    return next(unknown, "it used GPUs with different peaks" if found else "its GPU is not known")


def _too_much(shares: Samples) -> Iterator[str]:
    for key, samples in shares.items():
        share = statistics.median(samples)
        if share > _MOST[key]:
            yield f"{key} is {format_amount(share, '%')}, {_TOO_MUCH[key]}"
