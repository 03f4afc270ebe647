"""From a capture to measurements: what it says of each of its tests."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_nsys.capture.result import CaptureResult
from pytest_nsys.catalogue import parse_family, parse_range, undivided
from pytest_nsys.errors import NsysError, WindowsMissing
from pytest_nsys.gpu.names import default_device_key
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.measure.measurement import Environment, Measurement, WindowMeasurement
from pytest_nsys.measure.windows import measure
from pytest_nsys.metrics.records import disturbances, gpu_digests
from pytest_nsys.metrics.unified import records_unified_memory
from pytest_nsys.plan.marker import Spec
from pytest_nsys.support.precision import half_width
from pytest_nsys.trace import Trace
from pytest_nsys.windows.record import MAIN, WindowRecord

if TYPE_CHECKING:
    from pytest_nsys.insights.bottlenecks import Bottleneck

DeviceKey = Callable[[tuple[str, ...]], str]


@dataclass(frozen=True)
class Measurer:
    """Measures the tests of captures, as a project names its kernels and devices.

    Attributes:
        naming: how kernels are named.
        device_key: the folder of baselines for the GPUs that a test used.
        device: the folder instead, where the user named one.
        timelines: whether timelines are made.
        bottlenecks: whether they are looked for.
    """

    naming: Naming = Naming()
    device_key: DeviceKey = default_device_key
    device: str | None = None
    timelines: bool = False
    bottlenecks: bool = False

    def measure(
        self, result: CaptureResult, specs: Mapping[str, Spec]
    ) -> dict[str, Measurement | NsysError]:
        """What was measured, or why nothing was, of each test that ran and passed."""
        found: dict[str, Measurement | NsysError] = {
            test.nodeid: test.problem for test in result.tests if test.problem is not None
        }
        ran = [test for test in result.tests if test.passed and test.problem is None]
        if result.trace is None or not ran:
            return found
        wanted = {test.nodeid for test in ran}
        try:
            windows = measure(
                result.trace,
                [record for record in result.records if record.nodeid in wanted],
                extra=_parametrised(specs[nodeid] for nodeid in wanted),
                naming=self.naming,
                unified=records_unified_memory(result.options),
                timelines=self.timelines,
            )
        except NsysError as error:
            return found | dict.fromkeys(wanted, error)
        bottlenecks = self._bottlenecks(result.trace, result.records, windows.keys())
        for test in ran:
            if test.nodeid not in windows:
                found[test.nodeid] = _unmeasured()
                continue
            measured = windows[test.nodeid]
            records = [record for record in result.records if record.nodeid == test.nodeid]
            gpus = _gpu_names(result.trace, measured.gpus)
            found[test.nodeid] = Measurement(
                nodeid=test.nodeid,
                device=self.device or self.device_key(gpus),
                warmup=test.warmup,
                rounds=test.rounds,
                windows=measured.windows,
                environment=_environment(result, result.trace, gpus, records),
                remarks=(
                    *disturbances(records),
                    *automatic_remarks(specs[test.nodeid], measured.windows),
                ),
                timeline=measured.timeline,
                bottlenecks=bottlenecks.get(test.nodeid, ()),
            )
        return found

    def _bottlenecks(
        self, trace: Trace, records: Iterable[WindowRecord], nodeids: Collection[str]
    ) -> Mapping[str, tuple[Bottleneck, ...]]:
        if not self.bottlenecks:
            return {}
        from pytest_nsys.insights.bottlenecks import diagnose_rounds

        return diagnose_rounds(trace, records, nodeids, self.naming)


def automatic_remarks(spec: Spec, windows: Mapping[str, WindowMeasurement]) -> Iterator[str]:
    """Where the number of rounds was automatic: how many there were, and what they are good for."""
    body = windows.get(MAIN)
    if spec.precision is None or body is None:
        return
    for process in body.by_process("gpu.kernel_time"):
        half, middle = half_width(process), statistics.median(process)
        if half is None or not middle:
            continue
        known = half / middle
        reached = known <= spec.precision
        yield (
            f"{len(process)} rounds: gpu.kernel_time is known to {known:.2%}, "
            + ("" if reached else "not ")
            + f"within a third of the tolerance ({spec.precision:.2%})"
        )


def _unmeasured() -> NsysError:
    return WindowsMissing(
        "the test passed, and its body was never seen to run",
        remedy="a plugin runs this test in a way of its own: measure its calls with "
        "nsys(function, ...)",
    )


def _parametrised(specs: Iterable[Spec]) -> set[str]:
    keys = {undivided(key) for spec in specs for key in (*spec.tolerance, *spec.budget)}
    return {key for key in keys if parse_family(key) or parse_range(key)}


def _gpu_names(trace: Trace, used: Iterable[int]) -> tuple[str, ...]:
    """The names of the GPUs used; of a test that used none, that of the machine's first."""
    names = {gpu.id: gpu.name for gpu in trace.gpus}
    fallback = trace.gpus[0].name if trace.gpus else ""
    found = tuple(names.get(number, fallback) for number in sorted(used))
    return found or ((fallback,) if fallback else ())


def _environment(
    result: CaptureResult, trace: Trace, gpus: tuple[str, ...], records: Iterable[WindowRecord]
) -> Environment:
    return Environment(
        gpu=", ".join(dict.fromkeys(gpus)),
        driver=trace.driver,
        cuda=trace.cuda,
        nsys=result.nsys or trace.nsys,
        trace=result.options,
        versions=result.versions,
        date=result.date,
        gpu_digests=gpu_digests(records),
    )
