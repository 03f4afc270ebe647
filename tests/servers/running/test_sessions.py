"""Collecting around a server that goes on: by nsys's own start and stop, and by its endpoints."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.errors import (
    CaptureMissing,
    CollectionFailed,
    DeadlineExceeded,
    EndpointFailed,
    ImporterFailed,
    NsysTooOld,
    ServerDied,
    ServerNotReady,
    SessionBusy,
    SessionError,
    SessionMissing,
)
from pytest_nsys.process.environment import minimal_environment
from pytest_nsys.process.guard import MARK, end_marked
from pytest_nsys.process.limits import Limits
from pytest_nsys.process.processes import run_program
from pytest_nsys.servers.engines.http import Answer, ask
from pytest_nsys.servers.engines.ports import free_port
from pytest_nsys.servers.engines.preset import Endpoint, ProfileEndpoints
from pytest_nsys.servers.engines.spec import spec_of
from pytest_nsys.servers.running.attached import attach
from pytest_nsys.servers.running.endpoint_session import EndpointRange
from pytest_nsys.servers.running.limited import Limited
from pytest_nsys.servers.running.nsys_session import (
    Collected,
    Session,
    SessionTool,
    finish_report,
    generated,
    parse_sessions,
    start_options,
)
from pytest_nsys.servers.running.process import ServerProcess
from tests.support.capture_bench import real
from tests.support.harness import until
from tests.support.server_bench import (
    NAMED_RANGE,
    NVTX_RANGE,
    SHORT,
    SMALL,
    Bench,
    post,
    ranges,
    small,
    wrapped,
)

COMPLETIONS = "request /v1/completions"


def collect(
    server: ServerProcess, output: Path, path: str = "/v1/completions", lasts_s: float = 0.0
) -> Collected:
    """One collection with one request in it, which goes on for a while after it."""
    assert server.collection is not None
    server.collection.start(output)
    assert server.collection.collecting
    assert post(server, path).ok
    time.sleep(lasts_s)
    collected = server.collection.stop()
    assert not server.collection.collecting
    return collected


def test_each_collection_has_what_was_sent_in_it(
    bench: Bench, serving_nsys: NsysTool, tmp_path: Path
) -> None:
    server = bench.ready(small(), serving_nsys)
    post(server, "/before")
    for name in ("a", "b"):
        output = tmp_path / f"{name}.nsys-rep"
        collected = collect(server, output, f"/{name}")
        assert collected.report == output
        assert collected.cut_short == ""
        post(server, "/between")
        assert ranges(serving_nsys, output, tmp_path) == [f"request /{name}"]
    assert "--trace=cuda,nvtx" in server.options
    assert server.stop() == ""


@pytest.mark.parametrize("preset", ["vllm", "transformers"])
def test_forked_processes_are_recorded_where_the_preset_asks_for_it(
    bench: Bench, serving_nsys: NsysTool, tmp_path: Path, preset: str
) -> None:
    needs = spec_of(preset, "m").nsys_args
    server = bench.ready(
        small("--children", "1", nsys_args=needs), serving_nsys, nsys_args=["-s", "none"]
    )
    assert server.options[-2:] == ("-s", "none")
    # The child, which marks a range every 50 ms, has its turn then, on a busy machine too.
    collected = collect(server, tmp_path / "a.nsys-rep", lasts_s=1.0)
    found = ranges(serving_nsys, collected.report, tmp_path)
    assert COMPLETIONS in found
    assert ("in a child" in found) == (preset == "vllm")


def test_start_and_stop_out_of_turn(bench: Bench, serving_nsys: NsysTool, tmp_path: Path) -> None:
    server = bench.ready(small(), serving_nsys)
    assert server.collection is not None
    with pytest.raises(CollectionFailed, match="nothing is being collected"):
        server.collection.stop()
    server.collection.start(tmp_path / "a.nsys-rep")
    with pytest.raises(SessionBusy, match="cannot start a collection now") as caught:
        server.collection.start(tmp_path / "b.nsys-rep")
    assert caught.value.evidence == "state: Collection"
    assert server.collection.stop().report.exists()


def test_a_server_that_dies_while_it_is_collected(
    bench: Bench, serving_nsys: NsysTool, tmp_path: Path
) -> None:
    server = bench.ready(small(), serving_nsys)
    assert server.collection is not None
    server.collection.start(tmp_path / "a.nsys-rep")
    assert not post(server, "/die", signal=int(signal.SIGSEGV)).ok
    with pytest.raises(ServerDied, match="died: it was ended by SIGSEGV") as caught:
        server.check_alive(patience_s=20)
    assert "about to die" in caught.value.evidence
    with pytest.raises(CollectionFailed, match="could not stop collecting") as failed:
        server.collection.stop()
    assert "see its log" in failed.value.remedy
    with pytest.raises(SessionMissing, match="nsys has no session"):
        server.collection.start(tmp_path / "b.nsys-rep")


def test_an_option_that_start_refuses(bench: Bench, serving_nsys: NsysTool, tmp_path: Path) -> None:
    script = '[ $1 = start ] && exec "$NSYS" "$@" --bogus; exec "$NSYS" "$@"'
    server = bench.ready(small(), wrapped(serving_nsys, tmp_path, script))
    assert server.collection is not None
    with pytest.raises(CollectionFailed, match="could not start collecting") as caught:
        server.collection.start(tmp_path / "a.nsys-rep")
    assert "unrecognised option '--bogus'" in caught.value.evidence
    assert not server.collection.collecting


def test_a_stop_that_takes_too_long(bench: Bench, serving_nsys: NsysTool, tmp_path: Path) -> None:
    hangs = wrapped(serving_nsys, tmp_path, '[ $1 = stop ] && sleep 60; exec "$NSYS" "$@"')
    deadlines = type(SHORT)(launch=60.0, ready=30.0, stop=10.0, tool=2.0)
    server = bench.ready(small(), hangs, deadlines=deadlines)
    assert server.collection is not None
    server.collection.start(tmp_path / "a.nsys-rep")
    with pytest.raises(DeadlineExceeded, match="nsys stop did not end within 2 s") as caught:
        server.collection.stop()
    assert "max_size=" in caught.value.remedy


@pytest.mark.parametrize("version", [(2022, 4, 2), (2023, 3, 9)])
def test_an_nsys_that_is_too_old(bench: Bench, version: tuple[int, int, int]) -> None:
    old = NsysTool(Path("/opt/old/nsys"), version)
    with pytest.raises(NsysTooOld, match=r"nsys 202\d\.\d\.\d cannot start and stop") as caught:
        bench.start(small(), old)
    assert caught.value.evidence == "/opt/old/nsys"
    assert "2023.4 or newer" in caught.value.remedy


# Limits.


def test_a_collection_is_cut_short_and_the_load_goes_on(
    bench: Bench, serving_nsys: NsysTool, tmp_path: Path
) -> None:
    server = bench.ready(small(), serving_nsys)
    assert server.collection is not None
    told: list[str] = []
    limits = Limits(duration_s=0.3)
    limited = Limited(server.collection, limits, server.recorded, told.append)
    limited.start(tmp_path / "a.nsys-rep")
    assert post(server, "/early").ok
    until((tmp_path / "a.nsys-rep").exists, "it is stopped")
    assert limited.cut_short == "max_duration (300 ms) was reached"
    assert post(server, "/late").ok
    collected = limited.stop()
    assert told == [limited.cut_short] == [collected.cut_short]
    assert ranges(serving_nsys, collected.report, tmp_path) == ["request /early"]

    limited = Limited(server.collection, Limits(duration_s=600.0), server.recorded)
    limited.start(tmp_path / "b.nsys-rep")
    assert post(server, "/b").ok
    collected = limited.stop()
    assert collected.cut_short == ""
    assert ranges(serving_nsys, collected.report, tmp_path) == ["request /b"]


class Fake:
    """A collection that writes a byte a time."""

    def __init__(self, folder: Path, failure: Exception | None = None) -> None:
        self.folder = folder
        self.failure = failure
        self.stops = 0
        self.collecting = False

    def start(self, output: Path) -> None:
        self.collecting = True
        (self.folder / "events").write_bytes(b"x" * 100_000)

    def stop(self) -> Collected:
        self.collecting = False
        self.stops += 1
        if self.failure is not None:
            raise self.failure
        return Collected(self.folder / "report", "")


def test_the_size_is_of_what_nsys_writes_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "before").write_bytes(b"x" * 5_000_000)
    fake = Fake(tmp_path)
    limited = Limited(fake, Limits(size=90_000), tmp_path)
    limited.start(tmp_path / "a")
    until(lambda: fake.stops, "it is stopped")
    assert limited.stop().cut_short.startswith("max_size (")
    assert fake.stops == 1
    assert Limits(size=1_000_000).exceeded(1e9, 999_999) == ""


def test_without_limits_nothing_watches(tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    limited = Limited(fake, Limits(), tmp_path)
    limited.start(tmp_path / "a")
    assert limited.collecting
    assert limited.stop() == Collected(tmp_path / "report", "")


def test_without_a_folder_no_size_is_watched(tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    limited = Limited(fake, Limits(size=1, duration_s=0.3), None)
    limited.start(tmp_path / "a")
    until(lambda: fake.stops, "it is stopped")
    assert limited.stop().cut_short.startswith("max_duration")


def test_a_failure_of_the_watcher_is_raised_where_it_is_stopped(tmp_path: Path) -> None:
    fake = Fake(tmp_path, CollectionFailed("it broke"))
    limited = Limited(fake, Limits(duration_s=0.0), tmp_path)
    limited.start(tmp_path / "a")
    until(lambda: fake.stops, "it is stopped")
    with pytest.raises(CollectionFailed, match="it broke"):
        limited.stop()
    assert fake.stops == 1


# The engine's own endpoints.


def test_ranges_of_the_engine(bench: Bench, serving_nsys: NsysTool, tmp_path: Path) -> None:
    spec = small(profile=NVTX_RANGE, nsys_args=[NAMED_RANGE])
    server = bench.ready(spec, serving_nsys)
    post(server, "/before")
    for name in ("a", "b"):
        output = tmp_path / f"{name}.nsys-rep"
        assert collect(server, output, f"/{name}").report == output
        post(server, "/between")
        found = ranges(serving_nsys, output, tmp_path)
        assert f"request /{name}" in found
        assert not {"request /before", "request /between"} & {*found}
    assert server.stop() == ""


def test_the_command_line_for_the_cuda_profiler(
    bench: Bench, serving_nsys: NsysTool, tmp_path: Path
) -> None:
    script = f'[ $1 = profile ] && echo "$@" > {tmp_path}/said; exec "$NSYS" "$@"'
    profile = ProfileEndpoints(Endpoint("/noop"), Endpoint("/noop"))
    server = bench.ready(small(profile=profile), wrapped(serving_nsys, tmp_path, script))
    said = (tmp_path / "said").read_text().split()
    assert {"--capture-range=cudaProfilerApi", "--capture-range-end=stop"} <= {*said}
    assert not [word for word in said if word.startswith("--start-later")]
    assert server.collection is not None
    assert isinstance(server.collection, EndpointRange)
    server.collection._begin_s = 0.2
    for name in ("a", "b"):  # armed by profile, then by start
        server.collection.start(tmp_path / f"{name}.nsys-rep")
        with pytest.raises(CollectionFailed, match="nsys saw nothing of it") as caught:
            server.collection.stop()
        assert "waited for cudaProfilerApi" in caught.value.evidence


def test_a_death_in_a_range_of_the_engine(
    bench: Bench, serving_nsys: NsysTool, tmp_path: Path
) -> None:
    server = bench.ready(small(profile=NVTX_RANGE, nsys_args=[NAMED_RANGE]), serving_nsys)
    assert server.collection is not None
    with pytest.raises(CollectionFailed, match="nothing is being collected"):
        server.collection.stop()
    server.collection.start(tmp_path / "a.nsys-rep")
    with pytest.raises(SessionBusy, match="is being profiled already") as caught:
        server.collection.start(tmp_path / "b.nsys-rep")
    assert "RangeCollection" in caught.value.evidence
    post(server, "/exit")
    with pytest.raises(ServerDied, match="died: its process is gone"):
        server.check_alive(patience_s=20)
    with pytest.raises(EndpointFailed, match="refused POST /stop_profile") as failed:
        server.collection.stop()
    assert "connection refused" in failed.value.evidence


def test_an_engine_that_refuses(bench: Bench, serving_nsys: NsysTool, tmp_path: Path) -> None:
    profile = ProfileEndpoints(Endpoint("/refuse"), Endpoint("/stop_profile"))
    server = bench.ready(small(profile=profile), serving_nsys)
    assert server.collection is not None
    with pytest.raises(EndpointFailed, match="refused POST /refuse") as caught:
        server.collection.start(tmp_path / "a.nsys-rep")
    assert caught.value.evidence == 'HTTP 409: {"error": "no profiler"}'
    assert not server.collection.collecting


def test_an_engine_that_does_not_end_its_range(
    bench: Bench, serving_nsys: NsysTool, tmp_path: Path
) -> None:
    profile = ProfileEndpoints(
        NVTX_RANGE.start, Endpoint("/noop"), environment=NVTX_RANGE.environment, trigger="nvtx"
    )
    deadlines = type(SHORT)(launch=60.0, ready=30.0, stop=10.0, tool=1.5)
    spec = small(profile=profile, nsys_args=[NAMED_RANGE])
    server = bench.ready(spec, serving_nsys, deadlines=deadlines)
    assert server.collection is not None
    server.collection.start(tmp_path / "a.nsys-rep")
    with pytest.raises(
        CollectionFailed, match=r"did not end its collection within 1\.5 s"
    ) as caught:
        server.collection.stop()
    assert "RangeCollection" in caught.value.evidence


# Servers of others.

Others = Callable[..., "tuple[str, str]"]


@pytest.fixture
def others(
    serving_nsys: NsysTool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Others]:
    """Starts a server as a user would, under ``nsys launch`` or ``profile``; returns its address
    and session."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv(MARK, str(folder))
    started: list[subprocess.Popen[bytes]] = []
    sessions: list[str] = []
    log = tmp_path / "others.log"

    def start(*how: str) -> tuple[str, str]:
        for _ in range(3):  # nsys now and then ends without starting its program
            port, session = free_port("127.0.0.1"), f"theirs-{len(sessions)}"
            sessions.append(session)
            words = [str(serving_nsys.path), *how, f"--session-new={session}", "--trace=nvtx"]
            command = [*words, sys.executable, SMALL, "--port", str(port)]
            with log.open("ab") as file:
                nsys = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
            started.append(nsys)
            url = f"http://127.0.0.1:{port}"
            if _answers(url, nsys):
                return url, session
        pytest.fail(f"nsys did not start their server: {log.read_text()}")

    yield start
    for session in sessions:
        command = [str(serving_nsys.path), "shutdown", f"--session={session}"]
        run_program(command, environment=minimal_environment(), deadline_s=30.0)
    end_marked(str(folder), patience_s=5.0)
    for process in started:
        process.wait(timeout=30)


def _answers(url: str, nsys: subprocess.Popen[bytes]) -> bool:
    """Waits until a server answers, or the nsys around it has ended."""
    health = Endpoint("/health", "GET")
    until(lambda: ask(url, health, 5.0).ok or nsys.poll() is not None, "their server answers")
    return nsys.poll() is None


def send(url: str, path: str) -> Answer:
    return ask(url, Endpoint(path, body={}), 10.0)


@pytest.mark.parametrize("how", [("launch",), ("profile", "--start-later=true", "--sample=none")])
def test_attaching_to_what_somebody_else_started(
    serving_nsys: NsysTool, others: Others, tmp_path: Path, how: tuple[str, ...]
) -> None:
    for attempt in ("1", "2"):
        (tmp_path / attempt).mkdir()
        try:
            check_attaching(serving_nsys, others, tmp_path / attempt, how)
        except CollectionFailed as error:
            # On a busy machine the agent of nsys 2023 crashes now and then: "most likely a bug".
            if "Connection to Agent lost" not in error.evidence:
                raise
        else:
            return
    pytest.fail("the agent of nsys crashed twice")


def check_attaching(
    serving_nsys: NsysTool, others: Others, folder: Path, how: tuple[str, ...]
) -> None:
    url, session = others(*how)
    server = attach(url + "/", session, nsys=serving_nsys)
    server.check_alive()
    assert server.url == url
    assert server.model == "tiny"
    assert server.recorded is None
    assert server.collection is not None
    for name in ("a", "b")[: len(how)]:
        output = folder / f"{name}.nsys-rep"
        server.collection.start(output)
        assert send(url, f"/{name}").ok
        assert server.collection.stop().report == output
        assert ranges(serving_nsys, output, folder) == [f"request /{name}"]
    assert server.stop() == ""
    server.collection.start(folder / "c.nsys-rep")
    with pytest.raises(SessionBusy, match="cannot start a collection now") as caught:
        attach(url, session, nsys=serving_nsys)
    assert "nsys launch" in caught.value.remedy
    assert server.stop() == ""
    assert not server.collection.collecting


def test_what_cannot_be_attached_to(serving_nsys: NsysTool, others: Others, tmp_path: Path) -> None:
    url, session = others("launch")
    with pytest.raises(SessionMissing, match="nsys has no session 'nosuch'") as caught:
        attach(url, "nosuch", nsys=serving_nsys)
    said = f"sessions: {session} (Launched); TMPDIR={tmp_path}/theirs"
    assert caught.value.evidence == said
    assert "nsys launch" in caught.value.remedy
    command = [str(serving_nsys.path), "start", "--session=stray"]
    run_program(command, environment=minimal_environment(), deadline_s=30.0)
    try:
        with pytest.raises(SessionMissing, match="no program runs in nsys's session 'stray'") as s:
            attach(url, "stray", nsys=serving_nsys)
        assert "nsys shutdown --session=stray" in s.value.remedy
    finally:
        command = [str(serving_nsys.path), "shutdown", "--session=stray"]
        run_program(command, environment=minimal_environment(), deadline_s=30.0)
    with pytest.raises(NsysTooOld):
        attach(url, session, nsys=NsysTool(serving_nsys.path, (2023, 3, 0)))

    fails = wrapped(serving_nsys, tmp_path, '[ $1 = stop ] && exit 3; exec "$NSYS" "$@"')
    server = attach(url, session, nsys=fails)
    assert server.collection is not None
    server.collection.start(tmp_path / "a.nsys-rep")
    send(url, "/exit")
    with pytest.raises(ServerDied, match=f"the server at {url} does not answer"):
        server.check_alive()
    assert "may still be collecting: nsys could not stop" in server.stop()
    with pytest.raises(ServerNotReady, match=f"no server answers at {url}") as gone:
        attach(url, session, nsys=serving_nsys)
    assert "connection refused" in gone.value.evidence


def test_attaching_without_nsys(bench: Bench) -> None:
    url = bench.ready(small()).url
    server = attach(url, "any", nsys=None, model="m")
    assert (server.model, server.collection, server.session, server.stop()) == ("m", None, "", "")


# What nsys prints.

LISTED = """              ID         TIME                       STATE LAUNCH NAME
         1029437        00:02           DelayedCollection      1 pytest-nsys-1-1
           10627        01:00                     Started      0 with a space
"""


def test_the_list_of_sessions_is_read() -> None:
    assert parse_sessions(LISTED) == [
        Session("pytest-nsys-1-1", "DelayedCollection", 1),
        Session("with a space", "Started", 0),
    ]
    assert parse_sessions("There are no active sessions.\n") == []


def test_the_report_is_the_one_that_nsys_names() -> None:
    printed = "[1/1] [===100%] out0.nsys-rep\rGenerated:\n    /tmp/a b.nsys-rep\n"
    assert generated(printed) == [Path("/tmp/a b.nsys-rep")]
    both = "Generated:\n\t/x/1.qdstrm\n\t/x/1.nsys-rep"
    assert generated(both) == [Path("/x/1.qdstrm"), Path("/x/1.nsys-rep")]
    assert generated("Generated:\n") == []
    assert generated("Generating '/tmp/x.qdstrm'") == []


def test_start_is_told_again_what_counts_for_each_collection() -> None:
    options = ("--trace=cuda,nvtx", "--sample=none", "-s", "none", "-t", "cuda", "--cpuctxsw=none")
    assert start_options(options) == ("--sample=none", "-s", "none", "--cpuctxsw=none")
    assert start_options(("--gpu-metrics-devices", "all", "--cuda-graph-trace=node")) == (
        "--gpu-metrics-devices",
        "all",
    )


def scripted(folder: Path, importer: str) -> SessionTool:
    """A tool whose nsys has only an importer."""
    target, host = folder / "target-linux-x64", folder / "host-linux-x64"
    for program, text in ((target / "nsys", b"\x7fELF\xff"), (host / "QdstrmImporter", b"")):
        program.parent.mkdir()
        program.write_bytes(text or f"#!/bin/sh\n{importer}\n".encode())
        program.chmod(0o755)
    return SessionTool(NsysTool(target / "nsys", (2023, 4, 4)), "x", {}, 20.0)


FAILED_IMPORT = (
    "Importer error status: Invalid arguments were passed to the importer.\n"
    "Unable to retrieve the importer version: skipping importation of the QDSTRM file.\n"
    "Generating '/tmp/nsys-report-db06.qdstrm'\nGenerated:\n    {raw}\n"
)


@pytest.mark.parametrize("half", [True, False])
def test_a_failed_import_is_done_again(tmp_path: Path, half: bool) -> None:
    """Its report may be there, cut off."""
    raw = tmp_path / "server" / "first.qdstrm"
    raw.parent.mkdir()
    raw.write_text("events")
    printed = FAILED_IMPORT.format(raw=raw)
    if half:
        raw.with_suffix(".nsys-rep").write_text("half")
        printed += f"    {raw.with_suffix('.nsys-rep')}\n"
    output = tmp_path / "out" / "window.nsys-rep"
    output.parent.mkdir()
    tool = scripted(tmp_path, 'echo "Processing [50%]"; echo report > "$4"')
    collected = finish_report(tool, output, printed)
    assert collected == Collected(output, "Processing [50%]")
    assert output.read_text() == "report\n"
    assert [*raw.parent.iterdir()] == []


def test_an_import_that_fails_again_is_said(tmp_path: Path) -> None:
    raw = tmp_path / "window.qdstrm"
    raw.write_text("events")
    with pytest.raises(ImporterFailed) as caught:
        finish_report(
            scripted(tmp_path, "echo no; exit 3"),
            tmp_path / "window.nsys-rep",
            FAILED_IMPORT.format(raw=raw),
        )
    assert "Invalid arguments were passed to the importer" in caught.value.evidence
    assert "exit code 3, no" in caught.value.evidence


def test_a_report_that_is_nowhere_is_said(tmp_path: Path) -> None:
    with pytest.raises(CaptureMissing, match="left no report"):
        finish_report(scripted(tmp_path, ""), tmp_path / "a.nsys-rep", "Generated:\n")


def test_an_nsys_that_is_gone_is_said(tmp_path: Path) -> None:
    tool = SessionTool(NsysTool(tmp_path / "none", (2023, 4, 4)), "x", {}, 20.0)
    with pytest.raises(SessionError, match="nsys cannot be started"):
        tool.sessions()


def test_the_nsys_that_serves_does(alone: None) -> None:
    assert real("2023").version >= (2023, 4, 0)
