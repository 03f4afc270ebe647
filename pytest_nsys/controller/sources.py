"""Where captures come from, and who judges them, as the run's options and hooks have it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.capture.live import CaptureOptions, Command, LiveCapture
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.capture.run import Deadlines, Listener, Program
from pytest_nsys.controller.against import check_out, command_at, prepare
from pytest_nsys.controller.judges import BaselineJudge, PairJudge
from pytest_nsys.controller.progress import Told
from pytest_nsys.controller.runner import Arm, CaptureSource
from pytest_nsys.errors import NsysError
from pytest_nsys.gpu.lock import gpu_locks
from pytest_nsys.gpu.monitor import Monitor
from pytest_nsys.gpu.names import default_device_key
from pytest_nsys.gpu.nvml import visible_gpu_uuids
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.measure.measurer import Measurer
from pytest_nsys.plan.expected import FILE, read_expected
from pytest_nsys.plan.settings import Settings
from pytest_nsys.process.limits import Limits
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.servers.context import CONTEXT, ServerContext, tell_nobody
from pytest_nsys.storage.baselines import BaselineStore
from pytest_nsys.storage.baselines.orphans import Collection, orphans
from pytest_nsys.verdict.judge import Policy
from pytest_nsys.worker.coverage import CoverageOptions


def make_judge(settings: Settings, collection: Collection) -> BaselineJudge | PairJudge:
    """Who gives the verdicts: against stored baselines, or another revision.

    Args:
        settings: of the run.
        collection: what was collected; what else there are baselines of is gone.

    Raises:
        ExpectedChangeError: the list of expected changes cannot be read.
    """
    policy = Policy(
        mode=settings.mode,
        inconclusive=settings.inconclusive,
        expected=read_expected(settings.baseline_dir / FILE),
        replay=_named(settings.replay),
    )
    if settings.against is not None:
        return PairJudge(policy, settings.against)
    store = BaselineStore(settings.baseline_dir, timelines=settings.timeline)
    return BaselineJudge(
        policy,
        store,
        timelines=settings.html is not None,
        orphans=tuple(orphans(settings.baseline_dir, collection)),
    )


def _named(folder: Path | None) -> str:
    """A recording as a command names it that is shown: by its path from here, or its last part."""
    if folder is None:
        return ""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder.name)


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


def capture_options(settings: Settings, commit: str = "") -> CaptureOptions:
    """How the run makes its captures.

    Args:
        settings: of the run.
        commit: what git has checked out of the project; "" if unknown.
    """
    limit_s = settings.tool_timeout_s
    names = ("nsys_max_duration", "nsys_max_capture_size")
    return CaptureOptions(
        nsys_args=settings.nsys_args,
        args_override="nsys_args" in settings.overriding,
        needs_gpu=settings.device is None,
        confirmations=settings.confirm,
        keep=settings.keep,
        commit=commit,
        limits=Limits(settings.max_duration_s, settings.max_capture_size, names),
        deadlines=Deadlines(start=limit_s, finish=limit_s, export=limit_s),
    )


MakeSource = Callable[[Command, CaptureOptions], CaptureSource]
"""Makes what captures the workers that a command starts."""


def live_source(
    nsys: NsysTool,
    folder: RunFolder,
    listener: Listener,
    command: Command,
    options: CaptureOptions,
) -> CaptureSource:
    """What captures in a worker at a time.

    Args:
        nsys: what makes the captures.
        folder: for their files.
        listener: told of what workers do.
        command: how they are started.
        options: how captures are made.
    """
    return LiveCapture(nsys, options, command, folder, listener, make_explain(nsys))


def make_arms(
    config: pytest.Config,
    settings: Settings,
    options: CaptureOptions,
    folder: RunFolder,
    source: MakeSource,
    say: Callable[[str], None],
) -> Sequence[Arm]:
    """A live nsys for each revision: last the one under test, before it the one that it is compared
    with, if any.

    Args:
        config: of the run.
        settings: of the run; name the other revision.
        options: how captures are made.
        folder: for the other revision.
        source: makes what captures.
        say: told what takes long.

    Raises:
        RevisionError: there is no such revision, or it cannot be prepared.
    """
    command = Command(
        args=tuple(map(str, config.invocation_params.args)),
        argv=tuple(sys.argv),
        sys_path=tuple(sys.path),
        basetemp=_worker_basetemp(config),
        program=Program(directory=str(config.invocation_params.dir)),
        coverage=_coverage(config),
    )

    def arm(of: Command, options: CaptureOptions, name: str = "") -> Arm:
        return Arm(source(of, options), name)

    if settings.against is None:
        return [arm(command, options)]
    checkout = check_out(settings.against, settings.rootdir, folder.path)
    if settings.against_setup:
        say(f"preparing {checkout.name}: {shlex.join(settings.against_setup)}")
        prepare(checkout, settings.against_setup)
    positional = [str(arg) for arg in config.option.file_or_dir]
    there = command_at(command, checkout, positional, settings.against_python)
    other = replace(options, commit=checkout.commit)
    return [arm(there, other, checkout.name), arm(command, options)]


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
    deadline_s: float, say: Callable[[str], None], environ: Mapping[str, str]
) -> Callable[[], AbstractContextManager[object]]:
    """What keeps other runs off the GPUs while one measures.

    Args:
        deadline_s: how long to wait for another run.
        say: told what is waited for.
        environ: by which CUDA shows the GPUs to what measures.
    """

    @contextmanager
    def gpu_lock() -> Iterator[None]:
        with gpu_locks(visible_gpu_uuids(environ), deadline_s=deadline_s, waiting=say) as notes:
            for note in notes:
                say(note)
            yield

    return gpu_lock


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
