"""What workers are started with, as soon as pytest begins to collect: the first one then does, too.

It imports little: all that is imported here comes before the worker is started.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.capture.ahead import Ahead, Turn
from pytest_nsys.capture.nsys import NsysTool, check_nvtx, find_nsys
from pytest_nsys.capture.run import Deadlines, Listener, Program
from pytest_nsys.capture.workers import CaptureOptions, Command, Workers
from pytest_nsys.controller.nodes import Nodes
from pytest_nsys.controller.progress import Progress
from pytest_nsys.controller.reports import pass_on_warning
from pytest_nsys.errors import NsysError
from pytest_nsys.plan.settings import Settings
from pytest_nsys.process.limits import Limits
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.worker.coverage import CoverageOptions


@dataclass(frozen=True)
class Launch:
    """What workers are started with.

    Attributes:
        folder: for the run's private files, which are removed with it.
        nsys: the nsys.
        progress: shows what is measured.
        workers: starts workers of the revision under test.
        ahead: those that wait for their turns.
    """

    folder: RunFolder
    nsys: NsysTool
    progress: Progress
    workers: Workers
    ahead: Ahead

    def start(self, processes: int) -> None:
        """Have workers collect while this process does: the first that will measure, most likely.

        Whatever prevents that is told when they are needed.

        Args:
            processes: how many a test has that does not say it itself.
        """
        self.ahead.start(Turn(self.workers, self.workers.options.nsys_args), processes)

    def end(self) -> None:
        """End what waits, and remove the folder."""
        self.ahead.end()
        self.folder.remove()


def make_launch(config: pytest.Config, settings: Settings) -> Launch:
    """Find nsys, and make what workers are started with.

    Raises:
        NsysError: something is missing or cannot be read.
    """
    folder = RunFolder()
    try:
        nsys = find_nsys(settings.executable)
        check_nvtx(nsys)
    except NsysError:
        folder.remove()
        raise
    progress, nodes = Progress(config), Nodes(config)

    def on_event(event: dict[str, Any]) -> None:
        progress.event(event)
        if event["event"] == "warning":
            pass_on_warning(config, event)

    listener = Listener(on_event, progress.stdout, progress.stderr, nodes.begin)
    command = make_command(config, settings)
    workers = Workers(nsys, capture_options(settings), command, folder, listener)
    ahead = Ahead() if settings.ahead and nsys.runs_beside_others else Ahead(1)
    return Launch(folder, nsys, progress, workers, ahead)


def make_command(config: pytest.Config, settings: Settings) -> Command:
    """How a worker's pytest is started."""
    return Command(
        args=tuple(map(str, config.invocation_params.args)),
        argv=tuple(sys.argv),
        sys_path=tuple(sys.path),
        basetemp=_worker_basetemp(config),
        program=Program(directory=str(config.invocation_params.dir)),
        coverage=_coverage(config),
        adopt=settings.adopt,
    )


def capture_options(settings: Settings) -> CaptureOptions:
    """How the run makes its captures."""
    limit_s = settings.tool_timeout_s
    names = ("nsys_max_duration", "nsys_max_capture_size")
    return CaptureOptions(
        nsys_args=settings.nsys_args,
        args_override="nsys_args" in settings.overriding,
        needs_gpu=settings.device is None,
        confirmations=settings.confirm,
        keep=settings.keep,
        limits=Limits(settings.max_duration_s, settings.max_capture_size, names),
        deadlines=Deadlines(start=limit_s, finish=limit_s, export=limit_s),
    )


def _coverage(config: pytest.Config) -> CoverageOptions | None:
    """How pytest-cov measures in this process; None where it does not."""
    plugin: Any = config.pluginmanager.get_plugin("_cov")
    controller: Any = getattr(plugin, "cov_controller", None)
    measuring: Any = getattr(controller, "cov", None)
    if measuring is None:
        return None
    source = controller.cov_source
    return CoverageOptions(
        data_file=str(Path(controller.topdir, measuring.config.data_file)),
        source=None if source is None else tuple(map(str, source)),
        branch=controller.cov_branch or None,
        config_file=str(controller.cov_config),
        contexts=config.getoption("cov_context", None) == "test",
    )


def _worker_basetemp(config: pytest.Config) -> str | None:
    """A folder inside ``--basetemp``, which the worker would otherwise empty."""
    if not config.getoption("basetemp", None):
        return None
    factory: Any = getattr(config, "_tmp_path_factory", None)
    return None if factory is None else str(factory.getbasetemp() / "nsys-worker")
