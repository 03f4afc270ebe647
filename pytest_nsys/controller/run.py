"""A run that measures, from the end of collection on: what it works with, made and taken down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytest_nsys.capture.result import CaptureResult
from pytest_nsys.capture.workers import CaptureOptions
from pytest_nsys.controller.judges import BaselineJudge, PairJudge
from pytest_nsys.controller.launch import Launch, capture_options
from pytest_nsys.controller.progress import Progress
from pytest_nsys.controller.recorded import UNDECIDED
from pytest_nsys.controller.runner import Arm, Outcome, Runner, Step
from pytest_nsys.controller.sources import (
    MakeSource,
    live_source,
    make_arms,
    make_explain,
    make_gpu_lock,
    make_judge,
    make_measurer,
    make_replay,
    serve,
)
from pytest_nsys.errors import NsysUsageError
from pytest_nsys.measure.measurer import Measurer
from pytest_nsys.plan.batches import Batch
from pytest_nsys.plan.collection import Collection
from pytest_nsys.plan.settings import Settings
from pytest_nsys.process.environment import given_environment
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.servers.context import ServerContext
from pytest_nsys.servers.source import ServerSource
from pytest_nsys.storage.history.commit import head_commit
from pytest_nsys.storage.recordings.replay import Replay
from pytest_nsys.support.text import fit_to_print
from pytest_nsys.worker.node import distributes

if TYPE_CHECKING:
    from pytest_nsys.controller.counting import Counters
    from pytest_nsys.controller.here import HereRun


@dataclass(frozen=True)
class Run:
    """What measured tests are run with.

    Attributes:
        runner: runs batches of tests that workers run.
        judge: gives the verdicts, and makes what was judged the baseline, if the run is to.
        options: how captures are made.
        replay: the recordings that are judged; None where tests are measured.
        progress: shows what is measured; None where a recording is replayed.
        here: what measures in this process; None where workers do.
        context: what servers are started with; None where none are measured.
        lock_all: keeps other runs off all GPUs meanwhile.
        counters: has kernels counted after the verdicts; None where none are to be.
    """

    runner: Runner
    judge: BaselineJudge | PairJudge
    options: CaptureOptions
    replay: Replay | None = None
    progress: Progress | None = None
    here: HereRun | None = None
    context: ServerContext | None = None
    lock_all: Callable[[Batch], AbstractContextManager[object]] = nullcontext
    counters: Counters | None = None

    @property
    def is_interrupted(self) -> bool:
        """Whether a Ctrl-C came when a batch had been judged."""
        return self.counters is not None and self.counters.interrupted

    def outcomes(self, batch: Batch, maxfail: int) -> Mapping[str, Outcome]:
        """What became of the tests of a batch, by node id, of those that were reached.

        Raises:
            pytest.UsageError: nsys was asked for something that it does not know.
        """
        return self._outcomes(self.runner, batch, maxfail)

    def server_outcomes(
        self, item: pytest.Item, nextitem: pytest.Item | None, batch: Batch, maxfail: int
    ) -> Mapping[str, Outcome]:
        """The same of the batch of a server test, which runs here."""
        assert self.context is not None
        assert self.progress is not None
        explain = make_explain(self.context.nsys)
        arm = Arm(ServerSource(item, nextitem, self.context, self.options, explain))
        step = self.progress.begin_server
        runner = replace(self.runner, arms=(arm,), on_step=step, gpu_lock=self.lock_all)
        return self._outcomes(runner, batch, maxfail)

    def here_outcomes(
        self, item: pytest.Item, nextitem: pytest.Item | None, batch: Batch, refused: str
    ) -> Mapping[str, Outcome]:
        """The same of the batch of a test that runs here, with CUPTI in the place of nsys.

        Args:
            item: the test.
            nextitem: the one after it, for which pytest keeps fixtures.
            batch: the test's.
            refused: why it cannot be measured so; "" if it can.
        """
        from pytest_nsys.capture.cupti.source import CuptiSource

        assert self.here is not None
        source = CuptiSource(item, nextitem, self.here.here, make_explain(None), refused)
        arm = Arm(source, command=None if refused else self.here.command)
        return self._outcomes(replace(self.runner, arms=(arm,)), batch, 0)

    def _outcomes(self, runner: Runner, batch: Batch, maxfail: int) -> Mapping[str, Outcome]:
        try:
            return runner.run(batch, maxfail)
        except NsysUsageError as error:
            raise pytest.UsageError(fit_to_print(error)) from None
        finally:
            if self.progress is not None:
                self.progress.end()


def start_run(
    config: pytest.Config,
    settings: Settings,
    launch: Launch | None,
    measuring_here: HereRun | None,
    on_result: Callable[[CaptureResult, bool], None],
    collection: Collection,
    *,
    tests: int,
    servers: bool,
) -> Run:
    """Make what the run needs, or read the recording, before any test has run.

    Args:
        config: of the run.
        settings: of the run.
        launch: what starts workers; None where none are.
        measuring_here: what measures in this process; None where nothing is to.
        on_result: called with each capture, and whether it is of the revision under test.
        collection: what was collected.
        tests: how many of them are to be measured.
        servers: whether there are server tests to be measured.

    Raises:
        NsysError: something is missing or cannot be read.
    """
    judge = make_judge(settings, collection, tests)
    measurer = make_measurer(config, settings)
    commit = "" if settings.replay else _commit(settings)
    if measuring_here is not None:
        from pytest_nsys.controller.here import kept

        run = replace(measuring_here, here=replace(measuring_here.here, commit=commit))
        lock = make_gpu_lock(settings.lock_timeout_s, run.progress.waiting, _all_gpus)
        counters = _counters(settings, measurer, run.progress, run.here.folder)
        look = counters.look if counters else None
        runner = Runner([], measurer, judge, kept(lock, run.held), _ignore, on_result, look)
        options = replace(capture_options(settings), commit=commit)
        return Run(runner, judge, options, progress=run.progress, here=run, counters=counters)
    if launch is None:
        options = capture_options(settings)
        replay = make_replay(settings, config.stash.get(UNDECIDED, {}))
        replay.check_collected(collection.nodeids)
        runner = Runner([Arm(replay)], measurer, judge, nullcontext, _ignore, on_result)
        return Run(runner, judge, options, replay)
    options = replace(launch.workers.options, commit=commit)
    progress = launch.progress
    source: MakeSource = partial(live_source, launch)
    lock_all = gpu_lock = make_gpu_lock(settings.lock_timeout_s, progress.waiting, _all_gpus)
    if distributes(config):
        from pytest_nsys.controller.distributed import distribute

        source, environ_of = distribute(config, settings, launch)
        gpu_lock = make_gpu_lock(settings.lock_timeout_s, progress.waiting, environ_of)
    arms = make_arms(config, settings, launch, source, commit)
    counters = _counters(settings, measurer, progress, launch.folder)
    look = counters.look if counters else None
    runner = Runner(arms, measurer, judge, gpu_lock, progress.begin, on_result, look)
    if servers and not launch.nsys.runs_beside_others:
        launch.ahead.end()
    context = serve(config, options, launch.nsys, launch.folder) if servers else None
    return Run(
        runner,
        judge,
        options,
        progress=progress,
        context=context,
        lock_all=lock_all,
        counters=counters,
    )


def _commit(settings: Settings) -> str:
    written = [path for path in (settings.baseline_dir, settings.history) if path is not None]
    return head_commit(settings.rootdir, ignoring=written)


def _counters(
    settings: Settings, measurer: Measurer, progress: Progress, folder: RunFolder | None
) -> Counters | None:
    """What counts kernels with ncu, where that is asked for."""
    if settings.ncu == "off" or folder is None:
        return None
    from pytest_nsys.controller.counting import Counters

    return Counters(
        settings.ncu,
        folder,
        measurer.naming.canonical,
        settings.tool_timeout_s,
        progress.waiting,
        settings.keep,
    )


def _all_gpus(batch: Batch) -> Mapping[str, str]:
    """What is started for a batch sees whatever this process was shown."""
    del batch  # one is like another
    return given_environment()


def _ignore(step: Step) -> None:
    """A replay has nothing to announce."""
