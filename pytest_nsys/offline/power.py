"""What the samples of a baseline say of the changes that a comparison with it can find."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_nsys.catalogue import Metric, default_gates, default_tolerance, lookup
from pytest_nsys.measure.measurement import Measurement, Samples, WindowMeasurement, centre
from pytest_nsys.support.text import table, wrapped
from pytest_nsys.support.units import Tolerance, format_amount, format_change, format_tolerance
from pytest_nsys.verdict.noise import Noise, estimate, prior_spread
from pytest_nsys.verdict.power import PROCESSES, ROUNDS, Plan, cheapest, plan
from pytest_nsys.verdict.resolution import resolution
from pytest_nsys.verdict.rule import FAMILY_LEVEL, is_out_of_reach
from pytest_nsys.verdict.wording import place


@dataclass(frozen=True)
class Power:
    """One timed metric of one window of a baseline; amounts are in its unit.

    Attributes:
        nodeid: the test.
        device: where it was recorded.
        window: its window.
        metric: what was measured.
        value: its median.
        processes: processes of the baseline.
        rounds: rounds of each, on average.
        noise: how it scatters.
        tolerance: what is to be resolved.
        plans: what comparisons with this baseline would find, by processes and rounds.
        enough: the least that resolves the tolerance; None if nothing tried does.
        resolution: the change below which the metric says nothing.
    """

    nodeid: str
    device: str
    window: str
    metric: Metric
    value: float
    processes: int
    rounds: float
    noise: Noise
    tolerance: Tolerance
    plans: tuple[Plan, ...]
    enough: Plan | None
    resolution: float


def powers(
    measurement: Measurement,
    tolerances: Mapping[str, Tolerance],
    keys: Collection[str] | None = None,
) -> Iterator[Power]:
    """The timed metrics of a baseline, window by window.

    The probability of a false alarm is shared by those that gate by default and those asked for.

    Args:
        measurement: the baseline.
        tolerances: by metric key, ``*`` for all; else the metric's default.
        keys: the metrics; None for those that gate by default.

    Raises:
        UnknownMetric: there is no such metric.
    """
    asked = [lookup(key) for key in keys or ()]
    gating = {
        window.name: _timed(window, [*default_gates(window.gates), *asked])
        for window in measurement.windows.values()
    }
    level = FAMILY_LEVEL / max(1, sum(map(len, gating.values())))
    for window in measurement.windows.values():
        for metric in _timed(window, asked) if asked else gating[window.name]:
            processes = window.by_process(metric.key)
            tolerance = tolerances.get(metric.key) or tolerances.get("*")
            tolerance = tolerance or default_tolerance(metric, window.gates) or metric.tolerance
            if tolerance is None:
                tolerance = Tolerance(relative=0.03)
            value, noise, count = centre(processes), _noise(metric, processes), len(processes)
            allowed, least = tolerance.limit(value), resolution(metric, window).amount
            yield Power(
                nodeid=measurement.nodeid,
                device=measurement.device,
                window=window.name,
                metric=metric,
                value=value,
                processes=count,
                rounds=noise.rounds,
                noise=noise,
                tolerance=tolerance,
                plans=tuple(
                    plan(
                        noise,
                        allowed,
                        baseline=count,
                        processes=number,
                        rounds=rounds,
                        level=level,
                        resolution=least,
                    )
                    for number in PROCESSES
                    for rounds in ROUNDS
                ),
                enough=cheapest(
                    noise,
                    allowed,
                    baseline=count,
                    rounds=ROUNDS[0],
                    level=level,
                    resolution=least,
                ),
                resolution=least,
            )


def _timed(window: WindowMeasurement, metrics: Iterable[Metric]) -> list[Metric]:
    """Those of the metrics that are timed, and above zero in the window; each once."""
    return [
        metric
        for metric in dict.fromkeys(metrics)
        if metric.kind == "timed"
        and any(processes := window.by_process(metric.key))
        and centre(processes)
    ]


def _noise(metric: Metric, processes: Samples) -> Noise:
    return estimate(processes, spread=prior_spread(metric))


def power_lines(power: Power) -> list[str]:
    """A table of processes and rounds for an 80-column terminal, and what is enough."""
    unit = power.metric.unit

    def change(amount: float) -> str:
        return format_change(power.value, power.value + amount, unit).lstrip("+")

    def cell(one: Plan) -> str:
        found = "none" if _finds_nothing(power, one) else change(one.detectable)
        return found + (" *" if _is_enough(power, one) else "  ") * is_marked

    is_marked = any(_is_enough(power, one) for one in power.plans)
    rows = [("processes", *(f"{rounds} rounds" for rounds in ROUNDS), "")]
    for number in PROCESSES:
        cells = [one for one in power.plans if one.processes == number]
        rows.append((str(number), *map(cell, cells), ""))
    within, between = (
        change(noise) if noise else "none" for noise in (power.noise.within, power.noise.between)
    )
    scatter = f"{within} between rounds, {between} between processes"
    return [
        f"{power.nodeid} on {power.device}",
        *wrapped(
            f"{place(power.window)}{power.metric.key} {format_amount(power.value, unit)}, "
            f"baseline of {_processes(power.processes)} of {power.rounds:g} rounds",
            "  ",
            "    ",
        ),
        f"  noise: {scatter}",
        f"  Against this baseline of {_processes(power.processes)}, a run of so many processes and",
        "  rounds finds, in 95 % of cases, changes from:",
        *(f"  {line}" for line in table(rows)),
        *_legend(power),
        *wrapped(_advice(power), "  ", "  "),
    ]


def _is_enough(power: Power, one: Plan) -> bool:
    """Whether noise takes nothing from what the tolerance lets it find."""
    return one.limit <= power.tolerance.limit(power.value)


def _finds_nothing(power: Power, one: Plan) -> bool:
    return is_out_of_reach(power.metric, power.value, one.detectable)


def _legend(power: Power) -> Iterator[str]:
    """What the marks mean that are in the table."""
    allowed = format_tolerance(power.tolerance, power.metric.unit)
    if any(_is_enough(power, one) for one in power.plans):
        yield f"  * limited by the tolerance of {allowed}, not by noise"
    if any(_finds_nothing(power, one) for one in power.plans):
        yield "  none: no fall would be found, however deep"


def _advice(power: Power) -> str:
    allowed = format_tolerance(power.tolerance, power.metric.unit)
    enough = power.enough
    if enough is None and power.resolution > power.tolerance.limit(power.value):
        return f"Nothing resolves {allowed}: two ticks of the GPU's clock for each kernel are more."
    if enough is None:
        return f"Nothing tried here resolves {allowed}: it is below the noise of this test."
    text = f"{_processes(enough.processes)} of {enough.rounds} rounds"
    if enough.baseline > power.processes:
        text += f", against a baseline of {enough.baseline} processes"
    options = f"--nsys-processes={enough.processes} --nsys-rounds={enough.rounds}"
    return f"To resolve {allowed}: {text} ({options})."


def _processes(number: int) -> str:
    return f"{number} process{'es' * (number != 1)}"


def power_document(power: Power) -> dict[str, Any]:
    """The same as JSON values, amounts in the metric's unit."""
    return {
        "nodeid": power.nodeid,
        "device": power.device,
        "window": power.window,
        "metric": power.metric.key,
        "unit": power.metric.unit,
        "value": power.value,
        "processes": power.processes,
        "rounds": power.rounds,
        "noise": {"within": power.noise.within, "between": power.noise.between},
        "tolerance": {
            "relative": power.tolerance.relative,
            "absolute": power.tolerance.absolute,
        },
        "resolution": power.resolution,
        "plans": [_plan_document(one) for one in power.plans],
        "enough": None if power.enough is None else _plan_document(power.enough),
    }


def _plan_document(found: Plan) -> dict[str, Any]:
    return {
        "baseline_processes": found.baseline,
        "processes": found.processes,
        "rounds": found.rounds,
        "limit": found.limit,
        "detectable": found.detectable,
    }
