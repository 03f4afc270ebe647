"""A run that measures, from the end of collection on: what it works with, made and taken down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from pytest_nsys.capture.live import CaptureOptions
from pytest_nsys.capture.nsys import check_nvtx, find_nsys
from pytest_nsys.capture.result import CaptureResult
from pytest_nsys.capture.run import Listener
from pytest_nsys.controller.judges import BaselineJudge, PairJudge
from pytest_nsys.controller.nodes import Nodes
from pytest_nsys.controller.progress import Progress
from pytest_nsys.controller.recorded import UNDECIDED
from pytest_nsys.controller.reports import pass_on_warning
from pytest_nsys.controller.runner import Arm, Outcome, Runner, Step
from pytest_nsys.controller.sources import (
    MakeSource,
    capture_options,
    live_source,
    make_arms,
    make_explain,
    make_gpu_lock,
    make_judge,
    make_measurer,
    serve,
)
from pytest_nsys.errors import NsysError, NsysUsageError
from pytest_nsys.plan.batches import Batch
from pytest_nsys.plan.settings import Settings
from pytest_nsys.process.environment import given_environment
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.servers.context import ServerContext
from pytest_nsys.servers.source import ServerSource
from pytest_nsys.storage.baselines.orphans import Collection
from pytest_nsys.storage.history.commit import head_commit
from pytest_nsys.storage.recordings.replay import Replay
from pytest_nsys.support.text import fit_to_print
from pytest_nsys.worker.node import distributes


@dataclass(frozen=True)
class Run:
    """What measured tests are run with.

    Attributes:
        folder: for the run's private files, which are removed with it.
        runner: runs batches of tests that workers run.
        judge: gives the verdicts, and makes what was judged the baseline, if the run is to.
        options: how captures are made.
        recorded: node ids of the tests in the recording that is replayed.
        progress: shows what is measured; None where a recording is replayed.
        context: what servers are started with; None where none are measured.
    """

    folder: RunFolder
    runner: Runner
    judge: BaselineJudge | PairJudge
    options: CaptureOptions
    recorded: tuple[str, ...] = ()
    progress: Progress | None = None
    context: ServerContext | None = None

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
        runner = replace(self.runner, arms=(arm,), on_step=self.progress.begin_server)
        return self._outcomes(runner, batch, maxfail)

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
    on_result: Callable[[CaptureResult, bool], None],
    collection: Collection,
    *,
    servers: bool,
) -> Run:
    """Make what the run needs: find nsys, or read the recording, before any test has run.

    Args:
        config: of the run.
        settings: of the run.
        on_result: called with each capture, and whether it is of the revision under test.
        collection: what was collected.
        servers: whether there are server tests to be measured.

    Raises:
        pytest.UsageError: something is missing or cannot be read.
    """
    try:
        folder = RunFolder()
    except NsysError as error:
        raise _usage_error(error) from None
    try:
        judge = make_judge(settings, collection)
        measurer = make_measurer(config, settings)
        if settings.replay is not None:
            options = capture_options(settings)
            replay = Replay(settings.replay, config.stash.get(UNDECIDED, {}))
            runner = Runner([Arm(replay)], measurer, judge, nullcontext, _ignore, on_result)
            return Run(folder, runner, judge, options, replay.nodeids)
        nsys = find_nsys(settings.executable)
        check_nvtx(nsys)
        written = [path for path in (settings.baseline_dir, settings.history) if path is not None]
        options = capture_options(settings, head_commit(settings.rootdir, ignoring=written))
        progress = Progress(config)
        nodes = Nodes(config)

        def on_event(event: dict[str, Any]) -> None:
            progress.event(event)
            nodes.event(event)
            if event["event"] == "warning":
                pass_on_warning(config, event)

        listener = Listener(on_event, progress.stdout, progress.stderr, nodes.begin, nodes.end)
        say = progress.waiting
        source: MakeSource = partial(live_source, nsys, folder, listener)
        environ = given_environment()
        if distributes(config):
            from pytest_nsys.controller.distributed import distribute

            source, environ = distribute(config, settings, nsys, folder, progress)
        arms = make_arms(config, settings, options, folder, source, say)
        gpu_lock = make_gpu_lock(settings.lock_timeout_s, say, environ)
        runner = Runner(arms, measurer, judge, gpu_lock, progress.begin, on_result)
        context = serve(config, options, nsys, folder) if servers else None
    except NsysError as error:
        folder.remove()
        raise _usage_error(error) from None
    return Run(folder, runner, judge, options, progress=progress, context=context)


def _ignore(step: Step) -> None:
    """A replay has nothing to announce."""


def _usage_error(error: NsysError) -> pytest.UsageError:
    """The error, with what on this machine may be its cause."""
    return pytest.UsageError(fit_to_print(make_explain(None)(error)))
