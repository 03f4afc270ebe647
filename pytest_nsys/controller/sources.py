"""Where captures come from, and who judges them, as the run's options and hooks have it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_nsys.config.settings import Settings
from pytest_nsys.plan import Batch

if TYPE_CHECKING:
    from pytest_nsys.capture.result import CaptureResult
    from pytest_nsys.capture.run import Listener, RunFolder
    from pytest_nsys.judging import Judge


class CaptureSource(Protocol):
    """Where captures come from: a live nsys, or a recording."""

    def capture(self, batch: Batch, maxfail: int) -> Iterator[CaptureResult]:
        """The batch's results, one per worker."""


def open_source(
    config: pytest.Config, settings: Settings, folder: RunFolder, listener: Listener
) -> CaptureSource:
    """The recording to replay, or a live nsys whose files go to ``folder``.

    Raises:
        NsysError: the recording cannot be read, or there is no nsys.
    """
    if settings.replay is not None:
        from pytest_nsys.replay import Replay

        return Replay(settings.replay)
    from pytest_nsys.capture.live import Command, LiveCapture
    from pytest_nsys.capture.nsys import find_nsys
    from pytest_nsys.capture.run import Deadlines

    command = Command(
        args=_worker_args(config),
        argv=tuple(sys.argv),
        sys_path=tuple(sys.path),
        basetemp=_worker_basetemp(config),
    )
    limit = settings.tool_timeout_s
    deadlines = Deadlines(start=limit, finish=limit, export=limit)
    nsys = find_nsys(settings.executable)
    return LiveCapture(nsys, settings, command, folder, listener, deadlines)


def make_judge(config: pytest.Config, settings: Settings) -> Judge:
    """The judge, with the project's hooks before the built-in rules."""
    from pytest_nsys.baselines import BaselineStore
    from pytest_nsys.judging import Judge, default_device_key
    from pytest_nsys.metrics.naming import Naming

    hook = config.hook
    plain = Naming()

    def canonical(name: str) -> str:
        return hook.pytest_nsys_kernel_name(name=name) or plain.canonical(name)

    def category(name: str) -> str:
        return hook.pytest_nsys_kernel_category(name=name) or plain.category(name)

    def device_key(gpus: tuple[str, ...]) -> str:
        return hook.pytest_nsys_device_key(gpus=gpus) or default_device_key(gpus)

    return Judge(
        settings,
        BaselineStore(settings.baseline_dir),
        naming=Naming(canonical, category),
        device_key=device_key,
    )


def _worker_args(config: pytest.Config) -> tuple[str, ...]:
    """The controller's own arguments: the worker parses them again, plugins and all.

    Coverage is switched off in it: tracing every line would distort what is measured.
    """
    args = [str(arg) for arg in config.invocation_params.args]
    if config.pluginmanager.hasplugin("pytest_cov"):
        args.append("--no-cov")
    return tuple(args)


def _worker_basetemp(config: pytest.Config) -> str | None:
    """A folder inside ``--basetemp``, which the worker would otherwise empty."""
    if not config.getoption("basetemp", None):
        return None
    factory: Any = getattr(config, "_tmp_path_factory", None)
    return None if factory is None else str(factory.getbasetemp() / "nsys-worker")
