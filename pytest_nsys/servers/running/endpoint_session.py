"""Collecting while the engine itself says so, through its own endpoints for profiling.

nsys is armed with ``--capture-range`` and ``--capture-range-end=stop``, and the engine calls
cudaProfilerStart and cudaProfilerStop (or opens and closes an NVTX range) when it is asked to. At
the end of a range nsys 2023.4 writes its report at once and goes on in the state Launched, in which
``nsys start`` with the same options arms it for the next. (With ``repeat``, reports are only
written when the server ends.) The first range is armed by ``nsys profile`` itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_nsys.errors import CollectionFailed, EndpointFailed, SessionBusy
from pytest_nsys.servers.engines.http import ask
from pytest_nsys.servers.engines.preset import Endpoint, ProfileEndpoints
from pytest_nsys.servers.running.nsys_session import (
    COLLECTING,
    Collected,
    OpenCollection,
    SessionTool,
    finish_report,
    start_options,
)
from pytest_nsys.support.own import own

_ARMED = "StartRange"
_DONE = "Launched"
_POLL_S = 0.1
_BEGIN_S = 5.0


def range_options(endpoints: ProfileEndpoints) -> tuple[str, ...]:
    """What arms nsys for one range."""
    return (f"--capture-range={endpoints.trigger}", "--capture-range-end=stop")


class EndpointRange(OpenCollection):
    """Collects between two requests to the engine.

    Args:
        tool: the session.
        options: what the program is profiled with.
        endpoints: what the engine is asked.
        url: of the server.
        first: where ``nsys profile`` was told to write; the first range is written there.
        begin_s: how long after the engine was asked to end a range it may not have begun.
    """

    def __init__(
        self,
        tool: SessionTool,
        options: Sequence[str],
        endpoints: ProfileEndpoints,
        url: str,
        first: Path,
        *,
        begin_s: float = _BEGIN_S,
    ) -> None:
        super().__init__()
        self._tool = tool
        self._options = (*start_options(options), *range_options(endpoints))
        self._endpoints = endpoints
        self._url = url
        self._first = first
        self._begin_s = begin_s
        self._written = first

    def start(self, output: Path) -> None:
        """Arm nsys, and ask the engine to begin.

        Args:
            output: where the report shall be; ends in ".nsys-rep".

        Raises:
            SessionMissing, SessionBusy, CollectionFailed: nsys cannot be armed.
            EndpointFailed: the engine refused.
            DeadlineExceeded: nsys did not answer.
        """
        state = self._tool.demand().state
        if state in COLLECTING:
            raise SessionBusy(
                "the server is being profiled already",
                evidence=f"nsys's state: {state}",
                remedy="nothing else may ask the server to start its profiler",
            )
        if state == _ARMED:
            self._written = self._first
        else:
            self._written = output
            self._tool.start(*self._options, "-o", str(output), "--force-overwrite=true")
        self._output = output
        try:
            self._ask(self._endpoints.start)
        except EndpointFailed:
            self._output = None
            raise

    def stop(self) -> Collected:
        """Ask the engine to end, and wait for nsys's report.

        Raises:
            EndpointFailed: the engine refused.
            CollectionFailed: the engine's range was not seen by nsys.
            ImporterFailed, CaptureMissing: nsys could not make a report.
            DeadlineExceeded: it took too long.
        """
        output = self._close()
        self._ask(self._endpoints.stop)
        self._wait_until_done()
        return finish_report(self._tool, output, "", written=self._written)

    def _wait_until_done(self) -> None:
        began = own.clock()
        while True:
            state = self._tool.demand().state
            seconds = own.clock() - began
            if state == _DONE:
                return
            if state == _ARMED and seconds > self._begin_s:
                self._tool.run("stop", f"--session={self._tool.name}")  # else it stays armed
                raise CollectionFailed(
                    "the engine was told to start its profiler, and nsys saw nothing of it",
                    evidence=f"waited for {self._endpoints.trigger}",
                    remedy="see whether the engine's profiler is set up for CUDA (its arguments "
                    "are in the preset), or leave own_endpoints out",
                )
            if seconds > self._tool.deadline_s:
                raise CollectionFailed(
                    f"nsys did not end its collection within {self._tool.deadline_s:g} s of the "
                    "engine's being told to stop its profiler",
                    evidence=f"nsys's state: {state}",
                    remedy="send less load in a window; nsys_tool_timeout sets how long it may "
                    "take",
                )
            own.sleep(_POLL_S)

    def _ask(self, endpoint: Endpoint) -> None:
        answer = ask(self._url, endpoint, self._tool.deadline_s)
        if not answer.ok:
            raise EndpointFailed(
                f"the server refused {endpoint.method} {endpoint.path}",
                evidence=answer.words,
                remedy="this version of the engine may not have it, or needs other arguments for "
                "it; without own_endpoints nsys starts and stops by itself",
            )
