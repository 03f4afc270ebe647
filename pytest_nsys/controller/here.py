"""Measuring in this process, with CUPTI in the place of nsys: whether that can be, and how."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from pytest_nsys.capture.cupti.session import CuptiSession
from pytest_nsys.capture.cupti.source import Here, Unheard
from pytest_nsys.capture.cupti.windows import TimedWindows
from pytest_nsys.capture.live import installed_versions
from pytest_nsys.capture.result import CUPTI
from pytest_nsys.capture.workers import Command
from pytest_nsys.controller.launch import make_command
from pytest_nsys.controller.progress import Progress
from pytest_nsys.errors import (
    CuptiError,
    CuptiNotFound,
    GpuBusy,
    NsysError,
    NsysMissing,
    SettingsError,
)
from pytest_nsys.plan.batches import Batch
from pytest_nsys.plan.settings import Settings
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.worker.coverage import Paused
from pytest_nsys.worker.node import distributes
from pytest_nsys.worker.release import ReleaseMemory
from pytest_nsys.worker.rounds import Rounds

GpuLock = Callable[[Batch], AbstractContextManager[object]]

_LOST = (
    "child processes, servers and commands, NVTX ranges of the program and GPU metrics are not "
    "recorded"
)


@dataclass(frozen=True)
class HereRun:
    """A run that measures in this process.

    Attributes:
        here: what tests are measured with.
        command: how a worker would be started, for what needs one.
        progress: says what is waited for.
        note: what is lost without nsys, in a line.
        held: what is kept to the end of the run.
    """

    here: Here
    command: Command
    progress: Progress
    note: str
    held: ExitStack

    def end(self) -> None:
        """Record nothing any more, and give back what was taken."""
        self.here.session.end()
        self.held.close()
        if self.here.folder is not None:
            self.here.folder.remove()


def needs_workers(config: pytest.Config, settings: Settings) -> str:
    """Which options ask for what CUPTI in this process does not have; "" for none."""
    asked = {
        "-n (pytest-xdist)": distributes(config),
        "--nsys-against": settings.against is not None,
        "nsys_adopt": bool(settings.adopt),
        "nsys_args": bool(settings.nsys_args),
        "--nsys-keep": settings.keep is not None,
        "nsys_max_duration": settings.max_duration_s is not None,
        "nsys_max_capture_size": settings.max_capture_size is not None,
    }
    return ", ".join(name for name, is_asked in asked.items() if is_asked)


def check_here(config: pytest.Config, settings: Settings) -> None:
    """Refuse what cannot be had where CUPTI is asked for.

    Raises:
        SettingsError: it cannot be had.
    """
    asked = needs_workers(config, settings)
    if settings.capture == "cupti" and asked:
        raise SettingsError(
            f"nsys_capture = cupti measures in pytest's own process, and {asked} "
            f"need{'s' * (',' not in asked)} processes below nsys",
            remedy=f"leave out {asked}, or use nsys_capture = nsys",
        )


def in_place_of(config: pytest.Config, settings: Settings, missing: NsysMissing) -> HereRun:
    """What measures where there is no nsys.

    Args:
        config: of the run.
        settings: of the run.
        missing: that there is none.

    Raises:
        NsysMissing: nor can CUPTI do it.
    """
    asked = needs_workers(config, settings)
    if settings.capture == "nsys":
        raise missing
    try:
        if asked:
            raise SettingsError(f"{asked} cannot be had of it")
        return make_here(config, settings, f"{missing.what}: ")
    except NsysError as error:
        said = ": ".join(filter(None, [error.what, *error.evidence.splitlines()[:1]]))
        other = f"; or {error.remedy}" if isinstance(error, CuptiNotFound) else ""
        raise NsysMissing(
            missing.what,
            evidence=f"{missing.evidence}\nand CUPTI cannot take its place: {said}",
            remedy=f"{missing.remedy}{other}",
        ) from None


def make_here(config: pytest.Config, settings: Settings, why: str = "") -> HereRun:
    """Begin to record memory, and make what tests are measured with.

    Args:
        config: of the run.
        settings: of the run.
        why: there is no nsys, as the beginning of the note.

    Raises:
        CuptiError: there is no CUPTI, or it cannot be used.
        NoRunFolder: there is no place for files.
    """
    files = settings.record is not None or settings.ncu != "off"
    folder = RunFolder() if files else None
    try:
        session = CuptiSession.begin()
    except CuptiError:
        if folder is not None:
            folder.remove()
        raise
    windows = TimedWindows(session.now)
    rounds = Rounds(Unheard(), windows, coverage=_coverage())
    config.pluginmanager.register(ReleaseMemory(), "nsys-release-memory")
    config.pluginmanager.register(rounds, "nsys-rounds")
    here = Here(
        session,
        windows,
        rounds,
        folder,
        keeps=settings.record is not None,
        needs_gpu=settings.device is None,
        versions={**installed_versions(), CUPTI: session.version},
    )
    note = f"{why}CUPTI {session.version} records in this process: {_LOST}"
    return HereRun(here, make_command(config, settings), Progress(config), note, ExitStack())


def kept(lock: GpuLock, held: ExitStack) -> GpuLock:
    """The lock, taken for the first test and kept for all others: each is a batch of its own.

    Args:
        lock: what keeps other runs off the GPUs while one measures.
        held: gives it back.
    """
    taken: list[GpuBusy | None] = []

    @contextmanager
    def locked(batch: Batch) -> Iterator[None]:
        if not taken:
            try:
                held.enter_context(lock(batch))
                taken.append(None)
            except GpuBusy as error:  # nobody is to wait for it once more
                taken.append(error)
        if taken[0] is not None:
            raise taken[0]
        yield

    return locked


def _coverage() -> Paused | None:
    """What measures this process for coverage, pytest-cov's or any other."""
    running: Any = getattr(sys.modules.get("coverage"), "Coverage", None)
    measuring = running.current() if running is not None else None
    return None if measuring is None else Paused(measuring)
