"""Starting the workers of a run: as its pytest was started, each in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.capture.nsys import NsysTool, override
from pytest_nsys.capture.run import THIS_PYTHON, Deadlines, Listener, Program, Worker
from pytest_nsys.errors import CaptureError
from pytest_nsys.plan.batches import PlannedTest
from pytest_nsys.process.limits import NO_LIMITS, Limits
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.worker.coverage import CoverageOptions
from pytest_nsys.worker.job import Job, Repeats

_PIPE = "told"


@dataclass(frozen=True)
class Command:
    """How the worker's pytest is started: as the controller's was.

    Attributes:
        args: pytest's arguments.
        argv: ``sys.argv``.
        sys_path: ``sys.path``.
        basetemp: base folder of ``tmp_path``; None for pytest's own choice.
        program: what runs it, and where.
        away_from: folders whose modules it must not import.
        coverage: how its tests are measured for coverage; None if they are not.
        adopt: what else measures by this plugin's rounds (`pytest_nsys.plan.adoption`).
    """

    args: tuple[str, ...]
    argv: tuple[str, ...]
    sys_path: tuple[str, ...]
    basetemp: str | None = None
    program: Program = THIS_PYTHON
    away_from: tuple[str, ...] = ()
    coverage: CoverageOptions | None = None
    adopt: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaptureOptions:
    """How a run makes its captures.

    Attributes:
        nsys_args: further arguments of ``nsys profile``.
        args_override: whether they come before what tests ask for, and not after.
        needs_gpu: whether a capture in which nsys saw no GPU is no good.
        confirmations: how often what is suspected can be measured again.
        keep: the folder for the raw reports; None where they are not kept.
        commit: what git has checked out of the project; "" if unknown.
        limits: what a worker may use before it is told to stop.
        deadlines: longest times for what is not a test.
    """

    nsys_args: tuple[str, ...] = ()
    args_override: bool = False
    needs_gpu: bool = True
    confirmations: int = 0
    keep: Path | None = None
    commit: str = ""
    limits: Limits = NO_LIMITS
    deadlines: Deadlines = Deadlines()


def nsys_arguments(options: CaptureOptions, tests: Sequence[PlannedTest]) -> tuple[str, ...]:
    """The further arguments of ``nsys profile`` for tests that share a capture."""
    layers = [options.nsys_args, tests[0].spec.nsys_args]
    return override(*(reversed(layers) if options.args_override else layers))


def repeats(tests: Sequence[PlannedTest]) -> Mapping[str, Repeats]:
    """How often a worker calls each of these tests."""
    return {
        test.nodeid: Repeats(
            test.spec.warmup,
            test.spec.rounds,
            most=test.spec.most_rounds,
            precision=test.spec.precision,
            cold_l2=test.spec.cold_l2,
        )
        for test in tests
    }


def make_job(
    command: Command, tests: Sequence[PlannedTest], folder: Path, maxfail: int, pipe: str = ""
) -> Job:
    """The job of a worker.

    Args:
        command: how it is started.
        tests: the tests that it is to have.
        folder: for its files.
        maxfail: failures after which it stops; 0 for no limit.
        pipe: name of the pipe, in the folder, by which it is told its tests later; "" where these
            are all.
    """
    return Job(
        args=command.args,
        argv=command.argv,
        sys_path=command.sys_path,
        basetemp=command.basetemp,
        tests=repeats(tests),
        events=str(folder / "events.jsonl"),
        stop_file=str(folder / "stop"),
        maxfail=maxfail,
        away_from=command.away_from,
        coverage=command.coverage,
        adopt=command.adopt,
        pipe=str(folder / pipe) if pipe else "",
    )


@dataclass(frozen=True, eq=False)
class Workers:
    """Starts workers of one command under one nsys.

    Attributes:
        nsys: the nsys.
        options: how captures are made.
        command: how the worker's pytest is started.
        folder: for the captures' files.
        listener: told of what workers do.
    """

    nsys: NsysTool
    options: CaptureOptions
    command: Command
    folder: RunFolder
    listener: Listener

    def start(self, nsys_args: tuple[str, ...]) -> Worker:
        """Start one that collects and then waits for its task.

        Args:
            nsys_args: further arguments of ``nsys profile``.

        Raises:
            CaptureError: its files cannot be written.
            NoRunFolder, NsysLaunchFailed: as of `Worker`.
        """
        folder = worker_folder(self.folder)
        with writing_temporary_files():
            folder.mkdir(mode=0o700)
            return Worker(
                self.nsys,
                make_job(self.command, (), folder, 0, _PIPE),
                folder,
                self.listener,
                nsys_args,
                deadlines=self.options.deadlines,
                limits=self.options.limits,
                program=self.command.program,
            )


_FOLDER = "worker-"


def worker_folder(folder: RunFolder) -> Path:
    """Where a further worker of a run has its files."""
    return folder.path / f"{_FOLDER}{folder.next_number()}"


def number_of(folder: Path) -> int:
    """What tells a worker from others of its run, by its folder."""
    return int(folder.name.removeprefix(_FOLDER))


@contextmanager
def writing_temporary_files() -> Iterator[None]:
    """Say what it means that files of the run cannot be written.

    Raises:
        CaptureError: in the place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise CaptureError(
            "this run's temporary files cannot be written",
            evidence=str(error),
            remedy="free some space, or name a folder that can be written to in TMPDIR",
        ) from None
