"""Where captures come from, and who judges them, as the run's options and hooks have it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_nsys.capture.live import LiveCapture
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.capture.workers import CaptureOptions, Command
from pytest_nsys.controller.against import (
    Checkout,
    apart_from,
    check_out,
    command_at,
    names_folder,
    prepare,
    stand_beside,
)
from pytest_nsys.controller.judges import BaselineJudge, PairJudge, Timelines
from pytest_nsys.controller.launch import Launch
from pytest_nsys.controller.progress import Told
from pytest_nsys.controller.runner import Arm, CaptureSource
from pytest_nsys.errors import NsysError
from pytest_nsys.gpu.lock import gpu_locks
from pytest_nsys.gpu.monitor import Monitor
from pytest_nsys.gpu.names import default_device_key
from pytest_nsys.gpu.nvml import visible_gpu_uuids
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.measure.measurer import Measurer
from pytest_nsys.plan.batches import Batch
from pytest_nsys.plan.collection import Collection
from pytest_nsys.plan.expected import FILE, read_expected
from pytest_nsys.plan.settings import Settings
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.servers.context import CONTEXT, ServerContext, tell_nobody
from pytest_nsys.storage.baselines import BaselineStore
from pytest_nsys.storage.baselines.orphans import orphans
from pytest_nsys.storage.recordings.replay import Replay
from pytest_nsys.storage.recordings.together import recordings_in
from pytest_nsys.verdict.judge import Policy


def make_judge(settings: Settings, collection: Collection, tests: int) -> BaselineJudge | PairJudge:
    """Who gives the verdicts: against stored baselines, or another revision.

    Args:
        settings: of the run.
        collection: what was collected; what else there are baselines of is gone.
        tests: how many are to be measured.

    Raises:
        ExpectedChangeError: the list of expected changes cannot be read.
    """
    policy = Policy(
        mode=settings.mode,
        inconclusive=settings.inconclusive,
        clock=settings.clock,
        expected=read_expected(settings.baseline_dir / FILE),
    )
    if settings.against is not None:
        return PairJudge(policy, settings.against)
    store = BaselineStore(settings.baseline_dir, timelines=settings.timeline)
    return BaselineJudge(
        policy,
        store,
        timelines=_timelines(settings, tests),
        orphans=tuple(orphans(settings.baseline_dir, collection)),
    )


def _timelines(settings: Settings, tests: int) -> Timelines:
    if settings.html is None:
        return "none"
    from pytest_nsys.report.html.page import FULL

    return "all" if tests <= FULL else "failed"


def make_replay(settings: Settings, undecided: Mapping[str, NsysError]) -> Replay:
    """The recordings that the run judges.

    Args:
        settings: of the run.
        undecided: by node id, why a test that passed cannot be judged.

    Raises:
        RecordingError: one cannot be read, or they do not belong together.
    """
    return Replay(named(recordings_in(settings.replay)), undecided)


def named(folders: Sequence[Path]) -> dict[str, Path]:
    """Recordings by what is shown: the path from here, or what tells it from the others."""
    here = Path.cwd()
    above = Path(os.path.commonpath([folder.parent for folder in folders]))
    return {
        str(folder.relative_to(here if folder.is_relative_to(here) else above)): folder
        for folder in folders
    }


def make_measurer(config: pytest.Config, settings: Settings) -> Measurer:
    """What measures captures, with the project's hooks before the built-in rules."""
    hook = config.hook
    plain = Naming()

    def canonical(name: str) -> str:
        return hook.pytest_nsys_kernel_name(name=name) or plain.canonical(name)

    def category(name: str) -> str:
        return hook.pytest_nsys_kernel_category(name=name) or plain.category(name)

    def device_key(gpus: tuple[str, ...]) -> str:
        return hook.pytest_nsys_device_key(gpus=gpus) or default_device_key(gpus)

    return Measurer(
        Naming(canonical, category),
        device_key,
        settings.device,
        timelines=settings.html is not None or (settings.records and settings.timeline),
        bottlenecks=settings.html is not None or settings.json is not None,
        shown=settings.columns,
    )


MakeSource = Callable[[Command, str], CaptureSource]
"""Makes what captures the workers that a command starts, of what git has checked out of them."""


def live_source(launch: Launch, command: Command, commit: str) -> CaptureSource:
    """What captures in a worker at a time.

    Args:
        launch: what starts workers.
        command: how they are started.
        commit: what git has checked out of what they run; "" if unknown.
    """
    workers = launch.workers
    if command is not workers.command:
        workers = replace(workers, command=command)
    return LiveCapture(workers, launch.ahead, make_explain(launch.nsys), commit)


def make_arms(
    config: pytest.Config, settings: Settings, launch: Launch, source: MakeSource, commit: str
) -> Sequence[Arm]:
    """A live nsys for each revision: last the one under test, before it the one that it is compared
    with, if any.

    Args:
        config: of the run.
        settings: of the run; name the other revision.
        launch: what starts workers of the one under test.
        source: makes what captures.
        commit: what git has checked out of that one; "" if unknown.

    Raises:
        RevisionError: there is no such revision, or it cannot be prepared.
    """
    command = launch.workers.command
    if settings.against is None:
        return [Arm(source(command, commit), command=command)]
    if names_folder(settings.against):
        checkout = stand_beside(settings.against, config.invocation_params.dir, settings.rootdir)
        command = replace(command, away_from=apart_from(checkout.top, checkout.tree))
    else:
        checkout = check_out(settings.against, settings.rootdir, launch.folder.path)
        _set_up(checkout, settings, launch)
    positional = [str(arg) for arg in config.option.file_or_dir]
    there = command_at(command, checkout, positional, settings.against_python)
    other = Arm(source(there, checkout.commit), checkout.name, there)
    return [other, Arm(source(command, commit), command=command)]


def _set_up(checkout: Checkout, settings: Settings, launch: Launch) -> None:
    if settings.against_setup:
        setup = shlex.join(settings.against_setup)
        launch.progress.waiting(f"preparing {checkout.name}: {setup}")
        prepare(checkout, settings.against_setup)


def make_explain(nsys: NsysTool | None) -> Callable[[NsysError], NsysError]:
    """What adds to an error what on this machine may be its cause."""

    def explain(error: NsysError) -> NsysError:
        from pytest_nsys.doctor.explain import explained

        return explained(error, nsys)

    return explain


def serve(
    config: pytest.Config, options: CaptureOptions, nsys: NsysTool, folder: RunFolder
) -> ServerContext:
    """What the fixture ``nsys_server`` starts servers with, from now on."""
    told = Told(config)
    context = ServerContext(
        folder,
        nsys,
        options.nsys_args,
        options.deadlines.finish,
        told.say,
        told.show,
        gpus=Monitor(tell_nobody, folder=str(folder.path)),
    )
    config.stash[CONTEXT] = context
    return context


def make_gpu_lock(
    deadline_s: float,
    say: Callable[[str], None],
    environ_of: Callable[[Batch], Mapping[str, str]],
) -> Callable[[Batch], AbstractContextManager[object]]:
    """What keeps other runs off the GPUs while one measures.

    Args:
        deadline_s: how long to wait for another run.
        say: told what is waited for.
        environ_of: by which environment CUDA shows the GPUs to what measures a batch.
    """

    @contextmanager
    def gpu_lock(batch: Batch) -> Iterator[None]:
        uuids = visible_gpu_uuids(environ_of(batch))
        with gpu_locks(uuids, deadline_s=deadline_s, waiting=say) as notes:
            for note in notes:
                say(note)
            yield

    return gpu_lock
