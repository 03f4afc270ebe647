"""From captures to verdicts: measure each test, find its baseline, judge, and record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pytest_nsys.baselines import BaselineStore, Change
from pytest_nsys.baselines.location import device_slug
from pytest_nsys.capture.result import CaptureResult
from pytest_nsys.catalogue import parse_family, parse_range, undivided
from pytest_nsys.config.marker import Spec
from pytest_nsys.config.settings import Settings
from pytest_nsys.errors import NsysError, WindowsMissing
from pytest_nsys.gate.judge import judge
from pytest_nsys.gate.verdict import Verdict
from pytest_nsys.measure import measure
from pytest_nsys.measurement import Environment, Measurement
from pytest_nsys.metrics.naming import Naming
from pytest_nsys.metrics.unified import records_unified_memory
from pytest_nsys.trace import Trace

DeviceKey = Callable[[tuple[str, ...]], str]
NO_GPU = "no-gpu"


def default_device_key(gpus: tuple[str, ...]) -> str:
    """The model's name as a slug, and ``-xN`` where a test used several GPUs."""
    if not gpus:
        return NO_GPU
    name = device_slug(" ".join(dict.fromkeys(gpus)))
    return f"{name}-x{len(gpus)}" if len(gpus) > 1 else name


@dataclass(frozen=True)
class Judged:
    """A test's verdict, or why there is none."""

    verdict: Verdict | None = None
    problem: NsysError | None = None


class Judge:
    """Judges the tests of captures, and records baselines where the run is to."""

    def __init__(
        self,
        settings: Settings,
        store: BaselineStore,
        *,
        naming: Naming = Naming(),
        device_key: DeviceKey = default_device_key,
    ) -> None:
        self._settings = settings
        self._store = store
        self._naming = naming
        self._device_key = device_key

    def judge(self, result: CaptureResult, specs: Mapping[str, Spec]) -> dict[str, Judged]:
        """The verdicts of a capture's tests that ran and passed, by node id."""
        judged = {
            test.nodeid: Judged(problem=test.problem)
            for test in result.tests
            if test.problem is not None
        }
        measured = [test for test in result.tests if test.passed and test.problem is None]
        if result.trace is None or not measured:
            return judged
        wanted = {test.nodeid for test in measured}
        try:
            windows = measure(
                result.trace,
                [record for record in result.records if record.nodeid in wanted],
                extra=_parametrised(specs[nodeid] for nodeid in wanted),
                naming=self._naming,
                unified=records_unified_memory(result.options),
            )
        except NsysError as error:
            return judged | {nodeid: Judged(problem=error) for nodeid in wanted}
        for test in measured:
            if test.nodeid not in windows:
                judged[test.nodeid] = Judged(problem=_unmeasured())
                continue
            found = windows[test.nodeid]
            gpus = _gpu_names(result.trace, found.gpus)
            measurement = Measurement(
                nodeid=test.nodeid,
                device=self._settings.device or self._device_key(gpus),
                warmup=test.warmup,
                rounds=test.rounds,
                windows=found.windows,
                environment=_environment(result, gpus),
            )
            judged[test.nodeid] = self._judge_one(specs[test.nodeid], measurement)
        return judged

    def _judge_one(self, spec: Spec, measurement: Measurement) -> Judged:
        try:
            baseline = self._store.read(measurement.device, measurement.nodeid)
            others = () if baseline else self._store.devices(measurement.nodeid)
        except NsysError as error:
            return Judged(problem=error)
        return Judged(judge(spec, measurement, baseline, self._settings.mode, other_devices=others))

    def record(self, verdict: Verdict) -> Change | None:
        """Make the measurement the baseline, if this run is to and the test did not fail.

        Raises:
            BaselineError: it cannot be written.
        """
        mode = self._settings.mode
        due = mode == "update" or (mode == "update-new" and verdict.baseline is None)
        if not due or verdict.failed:
            return None
        return self._store.write(verdict.measurement)


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


def _environment(result: CaptureResult, gpus: tuple[str, ...]) -> Environment:
    trace = result.trace
    assert trace is not None
    return Environment(
        gpu=", ".join(dict.fromkeys(gpus)),
        driver=trace.driver,
        cuda=trace.cuda,
        nsys=result.nsys or trace.nsys,
        trace=result.options,
        versions=result.versions,
        date=result.date,
    )
