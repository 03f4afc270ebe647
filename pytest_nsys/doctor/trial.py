"""A trial capture: a test of a second with known work, through all that a real run goes through."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_nsys.capture.export import export_report
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.capture.proof import prove_report, prove_trace
from pytest_nsys.capture.run import Deadlines, Listener, WorkerRun, run_worker
from pytest_nsys.capture.starting import launch_repeatedly
from pytest_nsys.doctor import program
from pytest_nsys.doctor.context import CheckResult
from pytest_nsys.errors import NoWindows, NsysError, NsysLaunchFailed
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.trace import Trace, load_trace
from pytest_nsys.windows.cut import cut_records
from pytest_nsys.worker.job import Job, Repeats

CHECK = "trial capture"

_AGAIN = (NsysLaunchFailed, NoWindows)
"""As in a real run: an old nsys now and then does nothing, and then does."""

_TEST = "test_trial.py::test_trial"
_LINES = 8

# The user's own pytest settings are not on trial, nor are other plugins.
_PYTEST_SETTINGS = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
_NO_OTHER_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@dataclass(frozen=True)
class TrialStep:
    """One step of the trial and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Trial:
    """How the trial went.

    Attributes:
        result: the outcome; a failure names the step, and has nsys's own lines as evidence.
        steps: the steps that were made, the one that failed included.
    """

    result: CheckResult
    steps: tuple[TrialStep, ...]


class _Clock:
    """Times the steps as they are made."""

    def __init__(self) -> None:
        self.steps: list[TrialStep] = []
        self.current = "preparing"

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.current, began = name, time.monotonic()
        try:
            yield
        finally:
            self.steps.append(TrialStep(name, time.monotonic() - began))

    def split(self, name: str, seconds: float) -> None:
        """Make the last part of the last step a step of its own."""
        last = self.steps.pop()
        self.steps += [replace(last, seconds=last.seconds - seconds), TrialStep(name, seconds)]


def run_trial(
    nsys: NsysTool,
    *,
    needs_gpu: bool,
    deadline_s: float = 60.0,
    source: Path = Path(program.__file__),
    sys_path: Sequence[str] | None = None,
) -> Trial:
    """Make a capture and check what is in it. Its files are gone afterwards.

    Args:
        nsys: the nsys to try.
        needs_gpu: whether the capture must show a GPU.
        deadline_s: the longest time for each step.
        source: the test to run; it writes ``done.json`` beside itself.
        sys_path: of the test's Python; this one's if None.
    """
    clock = _Clock()
    path = tuple(sys.path if sys_path is None else sys_path)
    failures: list[NsysError] = []

    def once() -> CheckResult:
        clock.steps.clear()
        try:
            with RunFolder() as folder:
                return _capture(nsys, folder.path, clock, deadline_s, source, path, needs_gpu)
        except _AGAIN as error:
            failures.append(error)
            raise

    try:
        result = launch_repeatedly(once, _AGAIN)
    except NsysError as error:
        result = _failure(clock.current, error.what, error.evidence, error.remedy)
    except OSError as error:
        remedy = "see what else was found; the system's message is above"
        result = _failure(clock.current, "the system refused", str(error), remedy)
    else:
        if failures:
            result = replace(
                result,
                status="warning",
                what=f"{result.what}, at attempt {len(failures) + 1}",
                evidence=f"{result.evidence}\n{failures[-1].what}: {_end(failures[-1].evidence)}",
                remedy="a newer nsys starts reliably; runs try again by themselves",
            )
    return Trial(result, tuple(clock.steps))


def _failure(step: str, what: str, evidence: str, remedy: str) -> CheckResult:
    return CheckResult(CHECK, "problem", f"failed while {step}: {what}", _end(evidence), remedy)


def _end(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_LINES:])


def _capture(
    nsys: NsysTool,
    folder: Path,
    clock: _Clock,
    deadline_s: float,
    source: Path,
    sys_path: tuple[str, ...],
    needs_gpu: bool,
) -> CheckResult:
    tests = folder / "tests"
    tests.mkdir()
    shutil.copyfile(source, tests / "test_trial.py")
    (tests / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    with clock.step("running a test under nsys"):
        run = _run(nsys, folder, tests, deadline_s, sys_path)
        _check_ended(run)
    clock.split("making the report", run.wall_s["nsys"])
    clock.current = "making the report"
    prove_report(run.report, run.nsys_output)
    with clock.step("exporting the report"):
        export = export_report(nsys, run.report, folder, deadline_s=deadline_s)
    with clock.step("reading the export"):
        trace = load_trace(export)
    with clock.step("checking the events"):
        done: Mapping[str, int | str] = json.loads((tests / "done.json").read_text("utf-8"))
        return _check(run, trace, done, needs_gpu)


def _run(
    nsys: NsysTool, folder: Path, tests: Path, deadline_s: float, sys_path: tuple[str, ...]
) -> WorkerRun:
    args = (
        *(str(tests), "-c", str(tests / "pytest.ini"), f"--rootdir={tests}"),
        *("-p", "pytest_nsys.plugin", "-p", "no:cacheprovider"),
    )
    job = Job(
        args=args,
        argv=("pytest", *args),
        sys_path=sys_path,
        tests={_TEST: Repeats(warmup=0, rounds=1)},
        events=str(folder / "events.jsonl"),
        stop_file=str(folder / "stop"),
    )
    silent = Listener(_nothing, _nothing, _nothing)
    deadlines = Deadlines(start=deadline_s, finish=deadline_s, export=deadline_s)
    with _environment():
        return run_worker(
            nsys, job, folder, silent, timeouts={_TEST: deadline_s}, deadlines=deadlines
        )


def _nothing(_: object) -> None:
    """Hear nothing."""


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """The environment in which the worker is started, for as long as it is."""
    before = dict(os.environ)
    try:
        for name in _PYTEST_SETTINGS:
            os.environ.pop(name, None)
        os.environ.update(_NO_OTHER_PLUGINS)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _check_ended(run: WorkerRun) -> None:
    """The test was run and passed, and the worker reached its end."""
    failed = [
        event["data"]
        for event in run.events
        if event["event"] == "report" and event["data"]["outcome"] != "passed"
    ]
    if run.ended and not failed:
        return
    longrepr = str(failed[0].get("longrepr", "")) if failed else ""
    raise NsysError(
        "the test did not pass" if failed else f"the test did not end: {run.reason or 'it died'}",
        evidence="\n".join(filter(None, [longrepr, run.stderr, _end(run.nsys_output)])),
        remedy="the same test passes without nsys: look for what differs below it",
    )


def _check(
    run: WorkerRun, trace: Trace, done: Mapping[str, int | str], needs_gpu: bool
) -> CheckResult:
    error = str(done.get("error", ""))
    if needs_gpu and error:
        raise NsysError(
            "the test could not use the GPU",
            evidence=error,
            remedy="see what was found of the GPU and its driver; nvidia-smi must show it",
        )
    prove_trace(trace, run.records, needs_gpu=needs_gpu, needs_cuda=not error)
    if error:
        what = "nsys recorded and exported our NVTX ranges; without a GPU, no CUDA work"
        return CheckResult(CHECK, "ok", what, f"windows: {len(run.records)}\n{error}")
    cut = cut_records(trace, [record for record in run.records if record.kind == "round"])
    tables = {"kernels": cut.kernels, "memsets": cut.memsets, "copies": cut.copies}
    seen = {kind: len(members.row) for kind, members in tables.items()}
    counts = "\n".join(f"{kind}: {done[kind]} made, {seen[kind]} in the capture" for kind in seen)
    if any(seen[kind] < int(done[kind]) for kind in seen):
        raise NsysError(
            "the capture lacks GPU operations that the test made",
            evidence=counts,
            remedy="an nsys older than the driver is the usual cause: use a newer nsys",
        )
    return CheckResult(CHECK, "ok", "nsys recorded and exported all that the test did", counts)
