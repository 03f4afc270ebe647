"""CUPTI through a run of pytest: memory from its start on, all else around one test at a time.

Whoever else uses CUPTI in the process (torch.profiler, Proton, JAX's profiler) has its records sent
to buffers of its own, and CUPTI says nothing of it. So each time it is tried: after a wait for the
device the record of that very wait has to be there.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pytest_nsys.capture.cupti import machine
from pytest_nsys.capture.cupti.activity import OPERATIONS, Activity, text_at
from pytest_nsys.capture.cupti.checks import has_wait, unrecorded_launches
from pytest_nsys.capture.cupti.library import Library, driver_version, find_library, load
from pytest_nsys.capture.cupti.records import MEMORY, Records, joined
from pytest_nsys.capture.cupti.tables import Around, Table, tables_of
from pytest_nsys.capture.cupti.unknown import MEMORY_METRICS, UNKNOWN
from pytest_nsys.errors import CuptiError, CuptiTaken
from pytest_nsys.kernels.mangled import demangled
from pytest_nsys.support.own import own
from pytest_nsys.trace import Trace
from pytest_nsys.trace.load import build_trace
from pytest_nsys.trace.made import MadeSource
from pytest_nsys.worker.device import synchronize

_AROUND_US = ("NSYS_PROFILING_SESSION_ID", "CUDA_INJECTION64_PATH")
_INJECTED = "injection"

_kept: list[CuptiSession] = []
"""Whatever was begun: CUPTI may call its functions as long as the process lives."""

_MEMORY_GAP = "another profiler had CUPTI's records for a while (torch.profiler, Proton)"


def check_surroundings(environ: Mapping[str, str] = os.environ) -> None:
    """Refuse what is known to have CUPTI already.

    Raises:
        CuptiTaken: nsys, ncu or another tool runs this process.
    """
    found = [f"{name}={environ[name]}" for name in _AROUND_US if environ.get(name)]
    if _INJECTED in environ.get("LD_PRELOAD", "").lower():
        found.append(f"LD_PRELOAD={environ['LD_PRELOAD']}")
    if found:
        raise CuptiTaken(
            "another profiler runs this process, and CUPTI has one user at a time",
            evidence="\n".join(found),
            remedy="start pytest without nsys or ncu around it; with nsys_capture = nsys it starts "
            "nsys itself",
        )


@dataclass(frozen=True)
class Captured:
    """What was recorded around one test.

    Attributes:
        tables: those of an export.
        unknown: what cannot be known of it (see `Trace.unknown`).
    """

    tables: Mapping[str, Table]
    unknown: Mapping[str, str] = field(default_factory=dict)

    def trace(self) -> Trace:
        """The trace that loading the tables gives."""
        return build_trace(MadeSource(self.tables))


class CuptiSession:
    """CUPTI as one run of pytest uses it.

    Args:
        activity: what it records.
        wait: waits for the device, and returns how many contexts it waited for; 0 where CUDA is
            not in use.
    """

    def __init__(self, activity: Activity, wait: Callable[[], int]) -> None:
        self._activity = activity
        self._library = activity.library
        self._wait = wait
        self._memory: list[Records] = []
        self._around: list[Records] = []
        self._memory_gap = False
        self._ended = False
        self._driver = ""
        self._process = own.getpid()
        activity.register()
        self._library.use_system_threads()
        activity.start([MEMORY])
        self._origin = self._library.now()

    @classmethod
    def begin(cls) -> CuptiSession:
        """Find libcupti, and record memory from now on.

        Raises:
            CuptiError: there is none, or it cannot be used.
        """
        check_surroundings()
        session = cls(Activity(Library(load(find_library()))), synchronize)
        _kept.append(session)
        atexit.register(session.end)  # else CUPTI would call a Python that is gone
        return session

    def end(self) -> None:
        """Record nothing any more."""
        atexit.unregister(self.end)
        if not self._ended and own.getpid() == self._process:
            self._ended = True
            with contextlib.suppress(CuptiError):
                self._activity.record_calls(False)
                self._activity.stop([MEMORY, *OPERATIONS])
                self._activity.read()

    @property
    def version(self) -> str:
        """CUPTI's version, as people write it."""
        return self._library.version_text

    def now(self) -> int:
        """The time in the tables, ns."""
        return self._library.now() - self._origin

    def begin_test(self) -> None:
        """Record all from now on, whoever had CUPTI meanwhile.

        Raises:
            CuptiError: CUPTI refuses.
        """
        self._record()
        if not self._is_ours():
            self._memory_gap = True
            self._activity.register()
            self._record()
        self._around = []

    def _record(self) -> None:
        # Operations first: whatever call is recorded has its kernel.
        self._activity.start([MEMORY, *OPERATIONS])
        self._activity.record_calls(True)

    def end_test(self) -> Captured:
        """Record memory alone again; returns what was recorded since `begin_test`.

        Raises:
            CuptiTaken: the records went to somebody else.
            CuptiError: they cannot be read.
        """
        try:
            ours = self._is_ours()
        finally:
            self._activity.record_calls(False)
            self._activity.stop(OPERATIONS)
        around, self._around = self._around, []
        records = joined(around)
        if not ours:
            self._memory_gap = True
            raise _taken("the record of a wait for the device did not arrive")
        if lost := unrecorded_launches(records, self._activity.call_name):
            raise _taken(f"{lost:,} launches have no record of their kernel")
        activity = self._activity
        found = Around(
            process=self._process,
            kernel_name=lambda address: demangled(text_at(address)),
            call_name=activity.call_name,
            origin=self._origin,
            gpus=machine.gpus(),
            driver=self._driver_text(),
            cuda=driver_version(),
        )
        if self._memory_gap:  # neither here nor in a recording
            return Captured(tables_of(records, found), {**UNKNOWN, MEMORY_METRICS: _MEMORY_GAP})
        return Captured(tables_of({**records, **joined(self._memory)}, found), UNKNOWN)

    def _driver_text(self) -> str:
        self._driver = self._driver or machine.driver_text()
        return self._driver

    def _is_ours(self) -> bool:
        """Wait for the device and take what was recorded; whether the wait was, too."""
        began = self._library.now()
        waited = self._wait()
        records = self._activity.read()
        if MEMORY in records:
            self._memory.append({MEMORY: records[MEMORY]})
        self._around.append({kind: rows for kind, rows in records.items() if kind != MEMORY})
        return not waited or has_wait(records, began, self._activity.call_name)


def _taken(seen: str) -> CuptiTaken:
    return CuptiTaken(
        "another profiler took CUPTI's records while the test ran",
        evidence=seen,
        remedy="measure without torch.profiler, Proton or the like in the test, or use "
        "nsys_capture = nsys",
    )
