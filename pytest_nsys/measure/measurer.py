"""From a capture to measurements: what it says of each of its tests."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_nsys.capture.cupti.unknown import MEMORY_METRICS
from pytest_nsys.capture.result import CaptureResult, RanTest
from pytest_nsys.catalogue import parse_family, parse_range, undivided
from pytest_nsys.errors import CaptureError, NsysError, RoundsMissing, WindowsMissing
from pytest_nsys.gpu.names import default_device_key
from pytest_nsys.gpu.state import RoundState, unlocked
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.measure.leftovers import foreign_launches
from pytest_nsys.measure.measurement import Environment, Measurement, WindowMeasurement
from pytest_nsys.measure.windows import measure
from pytest_nsys.metrics.records import disturbances, gpu_digests
from pytest_nsys.metrics.unified import records_unified_memory
from pytest_nsys.plan.marker import Spec
from pytest_nsys.support.precision import half_width
from pytest_nsys.trace import Trace
from pytest_nsys.trace.tables import unknown_lines
from pytest_nsys.windows.record import MAIN, WindowRecord

if TYPE_CHECKING:
    from pytest_nsys.insights.bottlenecks import Bottleneck

_TRACES_FORKS = "--trace-fork-before-exec"

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
        shown: metrics that reports show; of the parametrised ones each is measured, too.
    """

    naming: Naming = Naming()
    device_key: DeviceKey = default_device_key
    device: str | None = None
    timelines: bool = False
    bottlenecks: bool = False
    shown: tuple[str, ...] = ()

    def measure(
        self, result: CaptureResult, specs: Mapping[str, Spec]
    ) -> dict[str, Measurement | NsysError]:
        """What was measured, or why nothing was, of each test that ran and passed."""
        found: dict[str, Measurement | NsysError] = {
            test.nodeid: test.problem for test in result.tests if test.problem is not None
        }
        wanted = {test.nodeid: specs[test.nodeid] for test in _to_measure(result)}
        try:
            measured = self.measure_windows(result, _parametrised(wanted.values(), self.shown))
        except NsysError as error:
            return found | dict.fromkeys(wanted, error)
        by_test = _by_test(result.records)
        for nodeid, spec in wanted.items():
            one = measured.get(nodeid)
            records = by_test[nodeid]
            # Of what the worker called: a server's windows have as many as they are given.
            in_process = result.is_in_process
            of_worker = [r for r in records if r.kind == "round" and (in_process or not r.times)]
            rounds = [*Counter(record.name for record in of_worker).values()]
            if one is None:
                found[nodeid] = _unmeasured(kept=result.trace is not None)
            elif rounds and min(rounds) < one.rounds:
                found[nodeid] = _too_few(min(rounds), one.rounds)
            else:
                remarks = (
                    *one.remarks,
                    *automatic_remarks(spec, one.windows),
                    *_not_cold(spec, records),
                )
                in_some = _in_some(records, max(rounds, default=0))
                warnings = (*one.warnings, *in_some)
                found[nodeid] = replace(one, remarks=remarks, warnings=warnings)
        return found

    def measure_windows(
        self, result: CaptureResult, extra: Collection[str] = ()
    ) -> dict[str, Measurement]:
        """What was measured of each test that ran, passed and has windows in the capture.

        Args:
            result: the capture and its tests.
            extra: parametrised metrics to measure besides the plain ones.

        Raises:
            NsysError: the windows cannot be found in the capture.
        """
        ran = {test.nodeid: test for test in _to_measure(result)}
        if result.trace is None or not ran:
            return {}
        windows = measure(
            result.trace,
            [record for record in result.records if record.nodeid in ran],
            extra=extra,
            naming=self.naming,
            unified=records_unified_memory(result.options),
            timelines=self.timelines,
            warmups={nodeid: one.warmup for nodeid, one in ran.items()},
        )
        left = foreign_launches(result.trace, result.records, windows.keys())
        bottlenecks = self._bottlenecks(result.trace, result.records, windows.keys())
        by_test = _by_test(result.records)
        found = {}
        for nodeid, measured in windows.items():
            records = by_test[nodeid]
            gpus = _gpu_names(result.trace, measured.gpus)
            found[nodeid] = Measurement(
                nodeid=nodeid,
                device=self.device or self.device_key(gpus),
                warmup=ran[nodeid].warmup,
                rounds=ran[nodeid].rounds,
                cold_l2=_cold(records) == 1.0,
                unlocked=_unlocked(records),
                windows=measured.windows,
                environment=environment_of(result, result.trace, gpus, records),
                remarks=(
                    *measured.remarks,
                    *disturbances(records),
                    *_forked(records, result.options),
                ),
                leftovers=left.get(nodeid, ""),
                warnings=(*measured.warnings, *_without_memory(result.trace)),
                timeline=measured.timeline,
                bottlenecks=bottlenecks.get(nodeid, ()),
                recordings=(result.recording,) if result.recording else (),
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


def _to_measure(result: CaptureResult) -> list[RanTest]:
    return [test for test in result.tests if test.passed and test.problem is None]


def _forked(records: Iterable[WindowRecord], options: Iterable[str]) -> Iterator[str]:
    """That nsys has seen nothing of children that were forked, where there were some."""
    count = sum(record.forks for record in records)
    if count and not any(option.startswith(_TRACES_FORKS) for option in options):
        children = f"{count} child{'ren' * (count > 1)}"
        yield (
            f"its rounds forked {children}: nsys records none that does not exec; use spawn, or "
            f"nsys_args = {_TRACES_FORKS}=true"
        )


def _without_memory(trace: Trace) -> Iterator[str]:
    """That and why nothing is known of memory, where another capture of the run knows it."""
    if MEMORY_METRICS in trace.unknown:
        yield from unknown_lines({MEMORY_METRICS: trace.unknown[MEMORY_METRICS]})


def _by_test(records: Iterable[WindowRecord]) -> Mapping[str, list[WindowRecord]]:
    found: dict[str, list[WindowRecord]] = defaultdict(list)
    for record in records:
        found[record.nodeid].append(record)
    return found


def _unlocked(records: Iterable[WindowRecord]) -> str:
    rounds = [record.state or RoundState() for record in records if record.kind == "round"]
    return unlocked(rounds)


def _cold(records: Iterable[WindowRecord]) -> float:
    """The share of the rounds before which the L2 cache was emptied."""
    found = [record.cold_l2 for record in records if record.kind == "round"]
    return sum(found) / len(found) if found else 0.0


def _not_cold(spec: Spec, records: Iterable[WindowRecord]) -> Iterator[str]:
    """That the cache was to be emptied, and was not before each round."""
    if spec.cold_l2 and _cold(records) < 1.0:
        yield (
            "its rounds are no cold ones: the L2 cache could not be emptied before each, as where "
            "CUDA is first used in a round, or memory is short"
        )


def _in_some(records: Iterable[WindowRecord], rounds: int) -> Iterator[str]:
    """The parts of a test that some rounds went without: their numbers are those of the others."""
    entered: dict[str, set[int]] = {}
    for record in records:
        if record.kind == "range":
            entered.setdefault(record.name, set()).add(record.round)
    for name, numbers in entered.items():
        if len(numbers) < rounds:
            in_some = f"{len(numbers)} of {rounds} rounds"
            yield f"range {name!r} was entered in {in_some}, and is judged by those"


def _too_few(rounds: int, wanted: int) -> NsysError:
    return RoundsMissing(
        f"the test passed, and only {rounds} of its {wanted} rounds ended",
        remedy="let it fail where a round fails: what it handed to nsys(function, ...) raised an "
        "exception, and the test caught it",
    )


def _unmeasured(*, kept: bool) -> NsysError:
    if not kept:
        return CaptureError(
            "the test passed, and there is no capture of it",
            remedy="record it again: a test that was not measured says nothing",
        )
    return WindowsMissing(
        "the test passed, and its body was never seen to run",
        remedy="a plugin runs this test in a way of its own: measure its calls with "
        "nsys(function, ...)",
    )


def _parametrised(specs: Iterable[Spec], shown: Iterable[str]) -> set[str]:
    named = (key for spec in specs for key in (*spec.tolerance, *spec.budget))
    keys = {undivided(key) for key in (*named, *shown)}
    return {key for key in keys if parse_family(key) or parse_range(key)}


def _gpu_names(trace: Trace, used: Iterable[int]) -> tuple[str, ...]:
    """The names of the GPUs used; of a test that used none, that of the machine's first."""
    names = {gpu.id: gpu.name for gpu in trace.gpus}
    fallback = trace.gpus[0].name if trace.gpus else ""
    found = tuple(names.get(number, fallback) for number in sorted(used))
    return found or ((fallback,) if fallback else ())


def environment_of(
    result: CaptureResult, trace: Trace, gpus: Iterable[str], records: Iterable[WindowRecord]
) -> Environment:
    """Where a capture was made, and with what.

    Args:
        result: the capture.
        trace: what it says.
        gpus: names of the GPUs that were used.
        records: the windows that say which GPUs these were.
    """
    return Environment(
        gpu=", ".join(dict.fromkeys(gpus)),
        driver=trace.driver,
        cuda=trace.cuda,
        nsys=result.nsys or trace.nsys,
        trace=result.options,
        versions=result.versions,
        date=result.date,
        gpu_digests=gpu_digests(records),
        server=result.server,
        commit=result.commit,
    )
