"""Servers for tests: small ones that are started for real, and what must not be left of them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.process.guard import marked
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.servers.engines.http import Answer, ask
from pytest_nsys.servers.engines.ports import is_free
from pytest_nsys.servers.engines.preset import Endpoint, ProfileEndpoints
from pytest_nsys.servers.engines.spec import ServerSpec, spec_of_command
from pytest_nsys.servers.running.process import ServerDeadlines, ServerProcess, start_server
from tests.support.harness import ROOT, write_program

APPS = Path(__file__).parent / "apps"
SMALL = str(APPS / "small.py")
SHORT = ServerDeadlines(launch=60.0, ready=30.0, stop=10.0, tool=60.0)
NVTX_RANGE = ProfileEndpoints(
    start=Endpoint("/start_profile"),
    stop=Endpoint("/stop_profile"),
    environment={"NSYS_NVTX_PROFILER_REGISTER_ONLY": "0"},
    trigger="nvtx",
)
"""What behaves like the profiler endpoints of an engine, without CUDA."""
NAMED_RANGE = "--nvtx-capture=profile@engine"


def small(*options: str, **changes: Any) -> ServerSpec:
    """A spec of the small server."""
    return spec_of_command([sys.executable, SMALL, "--port", "{port}", *options], **changes)


def post(server: ServerProcess, path: str = "/v1/completions", **body: object) -> Answer:
    """Send one request to a server."""
    return ask(server.url, Endpoint(path, body=body), 20.0)


class Bench:
    """Starts servers, and says what is left of them.

    Attributes:
        run: the folder of the run.
        reports: where reports may go.
    """

    def __init__(self, run: RunFolder, reports: Path) -> None:
        self.run = run
        self.reports = reports
        self._servers: list[ServerProcess] = []
        self._pids: set[int] = set()

    def start(
        self,
        spec: ServerSpec,
        nsys: NsysTool | None = None,
        deadlines: ServerDeadlines = SHORT,
        **how: Any,
    ) -> ServerProcess:
        """Start a server."""
        server = start_server(spec, self.run, nsys=nsys, deadlines=deadlines, **how)
        self._servers.append(server)
        self._pids.update(marked(str(server.folder)))
        return server

    def ready(self, spec: ServerSpec, nsys: NsysTool | None = None, **how: Any) -> ServerProcess:
        """Start a server and wait until it is ready."""
        server = self.start(spec, nsys, **how)
        server.wait_until_ready()
        self._pids.update(marked(str(server.folder)))
        return server

    def stop_all(self) -> None:
        """Stop what a test has left running."""
        for server in self._servers:
            server.stop()

    def left(self) -> list[str]:
        """What is left of the servers: processes, ports, files."""
        found = [f"process {pid}" for pid in marked(str(self.run.path))]
        for server in self._servers:
            if not is_free(server.spec.host, server.spec.port):
                found.append(f"port {server.spec.port}")
        found += [str(path) for path in self.run.path.glob("*")]
        for path in Path("/dev/shm").glob("sem.NSys-process_waiter-*"):
            if int(path.name.split("-")[2]) in self._pids:
                found.append(str(path))
        return found


def ranges(nsys: NsysTool, report: Path, folder: Path) -> list[str]:
    """The texts of the NVTX ranges in a report, in their order."""
    export = folder / f"{report.stem}.sqlite"
    subprocess.run(
        [nsys.path, "export", "--type=sqlite", "--force-overwrite=true", "-o", export, report],
        check=True,
        capture_output=True,
        timeout=60,
    )
    with closing(sqlite3.connect(export)) as database:
        rows = database.execute(
            "SELECT COALESCE(text, value) FROM NVTX_EVENTS LEFT JOIN StringIds ON textId = id "
            "WHERE eventType IN (59, 60) ORDER BY start"
        ).fetchall()
    return [text for (text,) in rows]


def wrapped(nsys: NsysTool, folder: Path, script: str) -> NsysTool:
    """An nsys that is a shell script; ``$NSYS`` in it is the real one."""
    path = write_program(folder / "nsys", f"#!/bin/sh\nNSYS={nsys.path}\n{script}\n")
    return NsysTool(path, nsys.version)


def gone_pid() -> int:
    """The process id of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert not Path(f"/proc/{process.pid}").exists()
    return process.pid


def environment() -> dict[str, str]:
    """The environment, as programs of the tests are given it."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}
