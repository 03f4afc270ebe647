"""A bench to run workers on: a small project, an nsys, and what the two leave."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from pytest_nsys.capture.ahead import Ahead
from pytest_nsys.capture.live import LiveCapture
from pytest_nsys.capture.nsys import NsysTool, find_nsys
from pytest_nsys.capture.result import CaptureResult
from pytest_nsys.capture.run import Deadlines, Listener, WorkerRun, run_worker
from pytest_nsys.capture.workers import CaptureOptions, Command, Workers
from pytest_nsys.errors import NsysLaunchFailed
from pytest_nsys.plan.batches import Batch, PlannedTest
from pytest_nsys.plan.marker import Spec
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.worker.job import Job, Repeats
from tests.simgpu.standin import write_standin
from tests.support.harness import REAL_NSYS, SIMGPU, real_nsys_path
from tests.support.plugins import without_others

NO_GPU = CaptureOptions(needs_gpu=False)
"""For machines without a GPU."""

NAMES = tuple(sorted(REAL_NSYS))
"""The real nsys, by the name they have in `REAL_NSYS`."""

_SIMULATED = str(SIMGPU / "path")


def real(name: str) -> NsysTool:
    """One of the real nsys; a machine without it fails, it does not skip."""
    return find_nsys(str(real_nsys_path(name)))


def standin(folder: Path, *faults: str, **options: Any) -> NsysTool:
    """A stand-in nsys in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return find_nsys(str(write_standin(folder, faults=faults, **options)))


def old_standin(folder: Path, *faults: str) -> NsysTool:
    """One of before the exports to Parquet: they take longer to make and to read."""
    return standin(folder, *faults, version="2023.3.1")


def processes_naming(text: str) -> list[psutil.Process]:
    """The processes that have not ended and whose command line holds the text."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if text in command_line(process) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def command_line(process: psutil.Process) -> str:
    """The command line of a process from `processes_naming`, which may be gone by now."""
    return " ".join(process.info["cmdline"] or [])


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """After the block, no process has the folder in its command line (all of ours have)."""
    yield
    assert [command_line(process) for process in processes_naming(str(folder))] == []


@dataclass
class Heard:
    """What a listener was told."""

    events: list[dict[str, Any]] = field(default_factory=list)
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)

    @property
    def names(self) -> list[str]:
        """The events' names, in order."""
        return [event["event"] for event in self.events]

    def listener(self, hook: Callable[[dict[str, Any]], None] | None = None) -> Listener:
        """A listener that keeps what it is told, after it was shown to ``hook``."""

        def event(told: dict[str, Any]) -> None:
            self.events.append(told)
            if hook is not None:
                hook(told)

        return Listener(event, self.stdout.extend, self.stderr.extend)


class Bench:
    """A project of one test module, to be run by workers under one nsys."""

    def __init__(self, folder: Path, nsys: NsysTool, *, simulated: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.nsys = nsys
        self.heard = Heard()
        self._path = [entry for entry in sys.path if entry != _SIMULATED]
        if simulated:
            self._path.insert(0, _SIMULATED)
        (folder / "pytest.ini").write_text(f"[pytest]\n{without_others()}\n")

    def write(self, text: str, name: str = "test_it.py") -> None:
        """Write a module of the project."""
        (self.folder / name).write_text(textwrap.dedent(text))

    @property
    def args(self) -> tuple[str, ...]:
        """How the project's pytest is started."""
        ini = str(self.folder / "pytest.ini")
        return (str(self.folder), "-c", ini, "-p", "no:cacheprovider")

    def job(self, tests: Sequence[str], repeats: Repeats, folder: Path, **options: Any) -> Job:
        """A job of tests of ``test_it.py``, given by their names."""
        return Job(
            args=self.args,
            argv=("pytest", *self.args),
            sys_path=tuple(self._path),
            tests={f"test_it.py::{name}": repeats for name in tests},
            events=str(folder / "events.jsonl"),
            **options,
        )

    def run(
        self,
        *tests: str,
        warmup: int = 0,
        rounds: int = 1,
        timeout_s: float = 60.0,
        deadlines: Deadlines = Deadlines(),
        nsys_args: Sequence[str] = (),
        hook: Callable[[dict[str, Any]], None] | None = None,
        attempts: int = 3,
    ) -> WorkerRun:
        """Run a worker; a real nsys that did not start its program is tried again."""
        number = len(list(self.folder.glob("run-*"))) + 1
        folder = self.folder / f"run-{number}"
        folder.mkdir(mode=0o700)
        job = self.job(tests, Repeats(warmup, rounds), folder)
        self.heard = Heard()
        try:
            return run_worker(
                self.nsys,
                job,
                folder,
                self.heard.listener(hook),
                nsys_args=nsys_args,
                timeouts=dict.fromkeys(job.tests, timeout_s),
                deadlines=deadlines,
            )
        except NsysLaunchFailed:
            if attempts == 1:
                raise
        return self.run(
            *tests,
            warmup=warmup,
            rounds=rounds,
            timeout_s=timeout_s,
            deadlines=deadlines,
            nsys_args=nsys_args,
            hook=hook,
            attempts=attempts - 1,
        )

    def capture(
        self,
        *tests: str,
        options: CaptureOptions = NO_GPU,
        folder: RunFolder | None = None,
        maxfail: int = 0,
        **spec: Any,
    ) -> list[CaptureResult]:
        """Capture a batch, as a run does; without a folder to keep, one that is removed."""
        if folder is None:
            with RunFolder() as temporary:
                return self.capture(
                    *tests,
                    options=options,
                    folder=temporary,
                    maxfail=maxfail,
                    **spec,
                )
        self.heard = Heard()
        spec = {"warmup": 0, "rounds": 1, "timeout_s": 60.0, "allow_empty": True, **spec}
        planned = (PlannedTest(f"test_it.py::{name}", Spec(**spec)) for name in tests)
        command = Command(self.args, ("pytest", *self.args), tuple(self._path))
        workers = Workers(self.nsys, options, command, folder, self.heard.listener())
        live = LiveCapture(workers, Ahead(1))
        return list(live.capture(Batch(tuple(planned)), maxfail))


@dataclass(frozen=True)
class Captured:
    """A capture whose files are still there.

    Attributes:
        bench: where it was made.
        result: the capture.
        report: nsys's report, in the run's folder.
        kept: the folder in which reports were to be kept.
    """

    bench: Bench
    result: CaptureResult
    report: Path
    kept: Path


def outcomes(result: CaptureResult) -> Mapping[str, bool]:
    """Whether each test of a capture passed, by name."""
    return {test.nodeid.partition("::")[2]: test.passed for test in result.tests}
