"""The life of a server, under a real nsys and without one: each case ends with nothing left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.errors import (
    CommandMissing,
    DeadlineExceeded,
    NsysLaunchFailed,
    NsysUsageError,
    PortTaken,
    ServerDied,
    ServerFailed,
    ServerNotReady,
    SessionTaken,
)
from pytest_nsys.process.guard import MARK, mark_of, marked
from pytest_nsys.process.processes import is_running
from pytest_nsys.servers.engines.preset import FailurePattern
from pytest_nsys.servers.engines.spec import spec_of_command
from pytest_nsys.servers.running import orphans
from pytest_nsys.servers.running import process as server_process
from pytest_nsys.servers.running.orphans import end_orphans
from pytest_nsys.servers.running.process import ServerDeadlines
from tests.support.harness import ROOT, until
from tests.support.server_bench import (
    APPS,
    SHORT,
    Bench,
    environment,
    gone_pid,
    post,
    small,
    wrapped,
)


def test_it_serves_and_ends(bench: Bench, profiler: NsysTool | None) -> None:
    server = bench.ready(small(), profiler)
    assert post(server).ok
    server.check_alive(patience_s=0.1)
    assert (server.collection is None) == (profiler is None)
    assert server.model == "tiny"
    pid = server.pid
    assert pid is not None
    assert pid in marked(str(server.folder))
    assert server.log() == "serving"
    assert server.stop() == ""
    assert not is_running(pid)
    assert bench.left() == []
    assert server.stop() == ""
    with pytest.raises(ServerDied, match="it was stopped"):
        server.check_alive()


def test_uvicorn_with_workers(bench: Bench, profiler: NsysTool | None) -> None:
    words = [sys.executable, "asgi.py", "--host", "{host}", "--port", "{port}", "--workers", "2"]
    spec = spec_of_command(words, directory=str(APPS), model="m")
    server = bench.ready(spec, profiler)
    assert '"model":"m"' in post(server, model="m").text
    assert server.stop() == ""
    assert bench.left() == []


def test_the_environment_is_the_users_and_the_launchs(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_USER", "a")
    seen = tmp_path / "seen"
    words = ["sh", "-c", f"echo $OF_THE_USER $OF_IT $PWD $TMPDIR > {seen}; sleep 60"]
    variables = {"OF_IT": "{port}-{folder}", "TMPDIR": "/tmp"}
    spec = spec_of_command(words, port=1, environment=variables, directory=str(tmp_path))
    server = bench.start(spec)
    until(lambda: seen.exists() and seen.read_text().endswith("\n"), "it has started")
    assert seen.read_text().split() == ["a", f"1-{server.folder}", str(tmp_path), "/tmp"]


def test_one_that_is_slow_is_waited_for(bench: Bench) -> None:
    assert post(bench.ready(small("--starts", "0.5"))).ok


def test_a_missing_model_is_said_at_once(bench: Bench, profiler: NsysTool | None) -> None:
    line = "OSError: /no/such is not a local folder and is not a valid model identifier"
    server = bench.start(small("--says", line, "--exit", "1"), profiler)
    with pytest.raises(ServerFailed) as caught:
        server.wait_until_ready()
    assert str(caught.value.what).endswith(
        "ended before it was ready: exit code 1: the model was not found"
    )
    assert line in caught.value.evidence
    assert "correct the model's name" in caught.value.remedy


def test_the_presets_own_signs_come_first(bench: Bench) -> None:
    failure = FailurePattern(r"is not a local", "no such thing", "make one")
    spec = small("--says", "it is not a local folder and is not a valid ...", "--exit", "2")
    server = bench.start(replace(spec, failure_patterns=(failure,)))
    with pytest.raises(ServerFailed, match=r"(?m)exit code 2: no such thing$") as caught:
        server.wait_until_ready()
    assert caught.value.remedy == "make one"


def test_an_end_without_a_sign_shows_the_last_lines(bench: Bench) -> None:
    lines = "\n".join(f"line {number}" for number in range(100))
    server = bench.start(small("--says", lines, "--exit", "3"))
    with pytest.raises(ServerFailed, match=r"(?m)exit code 3$") as caught:
        server.wait_until_ready()
    assert caught.value.evidence.splitlines() == [f"line {number}" for number in range(70, 100)]
    assert "by hand" in caught.value.remedy


def test_an_end_without_a_word(bench: Bench) -> None:
    server = bench.start(small("--exit", "0"))
    with pytest.raises(ServerFailed, match=r"(?m)exit code 0$") as caught:
        server.wait_until_ready()
    assert caught.value.evidence == "(its log is empty)"


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--status", "503"], "HTTP 503"), (["--starts", "60"], "connection refused")],
)
def test_one_that_is_never_ready(
    bench: Bench, profiler: NsysTool | None, options: list[str], said: str
) -> None:
    server = bench.start(small(*options, "--says", "loading"), profiler)
    with pytest.raises(ServerNotReady, match=r"(?m)was not ready within 0\.5 s$") as caught:
        server.wait_until_ready(0.5)
    assert f"{server.url}/health: {said}" in caught.value.evidence
    assert "loading" in caught.value.evidence
    assert "ready_timeout=" in caught.value.remedy
    assert server.stop() == ""


@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "SIGSEGV")]
)
def test_one_that_dies_in_a_request(
    bench: Bench, profiler: NsysTool | None, number: int, how: str
) -> None:
    server = bench.ready(small(), profiler)
    assert not post(server, "/die", signal=int(number)).ok
    until(lambda: not is_running(server.pid or 0), "it has died")
    with pytest.raises(ServerDied) as caught:
        server.check_alive()
    assert caught.value.what.endswith(f"died: it was ended by {how}")
    assert "about to die" in caught.value.evidence
    server.stop()
    assert bench.left() == []


@pytest.mark.parametrize(("code", "how"), [(3, "exit code 3"), (255, "exit code 255")])
def test_the_cause_is_shown_though_much_came_after_it(bench: Bench, code: int, how: str) -> None:
    script = (
        "import sys; print('x EngineDeadError: the cause'); "
        f"[print('more', n) for n in range(50)]; sys.exit({code})"
    )
    server = bench.start(spec_of_command([sys.executable, "-c", script, "{port}"]))
    with pytest.raises(ServerFailed) as caught:
        server.wait_until_ready()
    assert f": {how}: a process of the engine has ended" in caught.value.what
    lines = caught.value.evidence.splitlines()
    assert lines[0] == "x EngineDeadError: the cause"
    assert lines[-1] == "more 49"


def test_a_process_that_names_itself_keeps_what_it_is_found_by(bench: Bench) -> None:
    """setproctitle writes over the environment, unless this is set: vLLM's workers use it."""
    server = bench.ready(small())
    environment = Path(f"/proc/{server.pid}/environ").read_bytes().split(b"\0")
    assert b"SPT_NOENV=1" in environment
    assert any(variable.startswith(b"PYTEST_NSYS_WORKER=") for variable in environment)


def test_one_that_is_ended_for_its_memory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    server = bench.ready(small())
    assert not post(server, "/die", signal=int(signal.SIGKILL)).ok
    monkeypatch.setattr(server_process, "_killed_for_memory", lambda: 1 << 40)
    with pytest.raises(ServerDied, match=r"SIGKILL: the kernel has ended a process .* of memory"):
        server.check_alive(patience_s=20)


def test_how_often_the_kernel_did_so_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert server_process._killed_for_memory() >= 0
    monkeypatch.setattr(Path, "read_text", lambda *args, **kwargs: "pgfault 3\noom_kill 5\n")
    assert server_process._killed_for_memory() == 5
    monkeypatch.setattr(Path, "read_text", lambda *args, **kwargs: "pgfault 3\n")
    assert server_process._killed_for_memory() == 0


def test_an_nsys_that_is_killed_is_noticed(bench: Bench, serving_nsys: NsysTool) -> None:
    server = bench.ready(small(), serving_nsys)
    assert server._process is not None
    os.kill(server._process.pid, signal.SIGKILL)
    until(lambda: server._process is not None and server._process.poll() is not None, "its end")
    with pytest.raises(ServerDied, match="died: the nsys around it ended, and it runs on"):
        server.check_alive()
    assert server.stop() == ""
    assert bench.left() == []


def test_an_nsys_that_is_killed_with_its_server(bench: Bench, serving_nsys: NsysTool) -> None:
    server = bench.ready(small(), serving_nsys)
    assert server._process is not None
    os.kill(server._process.pid, signal.SIGKILL)
    os.kill(server.pid or 0, signal.SIGKILL)
    until(lambda: not is_running(server.pid or 0), "its end")
    with pytest.raises(ServerDied, match="the nsys around it was ended by SIGKILL"):
        server.check_alive()


def test_an_nsys_that_hangs_after_its_server(
    bench: Bench, serving_nsys: NsysTool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_process, "_DEATH_S", 0.2)
    monkeypatch.setattr(server_process, "_NSYS_ENDS_S", 0.2)
    # After its server alone: one that did not start it has to end, to be started anew.
    hangs = wrapped(
        serving_nsys, tmp_path, '"$NSYS" "$@"; code=$?; [ $code = 143 ] && sleep 60; exit $code'
    )
    server = bench.ready(small(), hangs)
    os.kill(server.pid or 0, signal.SIGTERM)
    until(lambda: not is_running(server.pid or 0), "its end")
    with pytest.raises(ServerDied, match="its process is gone, and nsys has not ended after it"):
        server.check_alive()
    assert server.stop() == ""


def test_one_that_ignores_sigterm_is_killed(bench: Bench, profiler: NsysTool | None) -> None:
    deadlines = ServerDeadlines(launch=60.0, ready=30.0, stop=0.3, tool=60.0)
    server = bench.ready(small("--deaf"), profiler, deadlines=deadlines)
    note = server.stop()
    assert note.endswith("did not end within 0.3 s of SIGTERM and was killed")
    assert bench.left() == []


def test_children_in_sessions_of_their_own_go_too(bench: Bench, profiler: NsysTool | None) -> None:
    server = bench.ready(small("--children", "2"), profiler)
    children = [child.pid for child in psutil.Process(server.pid).children()]
    assert len(children) == 2
    assert server.stop() == ""
    assert not any(is_running(pid) for pid in children)
    assert bench.left() == []


def test_one_that_cannot_be_ended_is_told_of(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    server = bench.ready(small())
    monkeypatch.setattr(server_process, "end_marked", lambda *args, **kwargs: [17])
    monkeypatch.setattr(server_process, "wait_until_free", lambda *args: False)
    assert server.stop() == (
        "processes [17] of it cannot be ended: they wait inside a driver; "
        f"its port {server.spec.port} is still taken"
    )


def test_stopping_while_it_collects_waits_for_no_report(
    bench: Bench, serving_nsys: NsysTool
) -> None:
    server = bench.ready(small(), serving_nsys)
    assert server.collection is not None
    server.collection.start(bench.reports / "a.nsys-rep")
    assert server.stop() == ""
    assert bench.left() == []


def test_a_taken_port_is_said_with_its_holder(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} of 127.0.0.1 is taken") as caught:
            bench.start(small(port=port))
    assert f"process {os.getpid()} listens there" in caught.value.evidence
    assert "no port=" in caught.value.remedy


def test_two_servers_at_once(bench: Bench, serving_nsys: NsysTool) -> None:
    one, other = bench.ready(small(), serving_nsys), bench.ready(small(), serving_nsys)
    assert one.session != other.session
    one.stop()
    other.check_alive()
    assert post(other).ok


@pytest.mark.parametrize("word", ["no-such-engine", "./no-such-engine"])
def test_a_missing_program(bench: Bench, word: str) -> None:
    with pytest.raises(CommandMissing, match=f"there is no program '{word}'") as caught:
        bench.start(spec_of_command([word, "{port}"]))
    assert "install the engine" in caught.value.remedy


def test_arguments_that_nsys_refuses(bench: Bench, serving_nsys: NsysTool) -> None:
    with pytest.raises(NsysUsageError, match="nsys refused its arguments") as caught:
        bench.start(small(), serving_nsys, nsys_args=["--bogus=1"])
    assert "unrecognised option '--bogus=1'" in caught.value.evidence


def test_an_nsys_that_ends_at_once_is_tried_again(
    bench: Bench, serving_nsys: NsysTool, tmp_path: Path
) -> None:
    flaky = wrapped(
        serving_nsys,
        tmp_path,
        f'[ -e {tmp_path}/ran ] || {{ touch {tmp_path}/ran; exit 1; }}\nexec "$NSYS" "$@"',
    )
    assert post(bench.ready(small(), flaky)).ok


@pytest.mark.parametrize(
    ("script", "kind", "evidence"),
    [
        ("exit 9", NsysLaunchFailed, "exit code 9, nothing printed"),
        ("echo It broke; exit 1", NsysLaunchFailed, "It broke"),
        ("echo \"Session name 'x' is already in use.\"; exit 1", SessionTaken, "already in use"),
        ("#!/no/such/interpreter", NsysLaunchFailed, "exit code 0"),
    ],
)
def test_an_nsys_that_never_starts_anything(
    bench: Bench,
    serving_nsys: NsysTool,
    tmp_path: Path,
    script: str,
    kind: type[Exception],
    evidence: str,
) -> None:
    with pytest.raises(kind) as caught:
        bench.start(small(), wrapped(serving_nsys, tmp_path, script))
    assert evidence in str(caught.value)
    assert bench.left() == []


def test_an_nsys_that_is_no_program(bench: Bench, serving_nsys: NsysTool, tmp_path: Path) -> None:
    with pytest.raises(NsysLaunchFailed, match="nsys cannot be started"):
        bench.start(small(), NsysTool(tmp_path, serving_nsys.version))


def test_an_nsys_that_hangs_before_it_starts_anything(
    bench: Bench, serving_nsys: NsysTool, tmp_path: Path
) -> None:
    hangs = wrapped(serving_nsys, tmp_path, "sleep 60")
    deadlines = ServerDeadlines(launch=0.3)
    with pytest.raises(DeadlineExceeded, match=r"did not start the server within 0\.3 s") as caught:
        bench.start(small(), hangs, deadlines=deadlines)
    assert "nsys printed nothing" in caught.value.evidence
    assert bench.left() == []


PROGRAM = """
    import sys
    from pathlib import Path
    sys.path.insert(0, {root!r})
    from tests.support.capture_bench import real
    from tests.support.server_bench import small
    from pytest_nsys.capture.nsys import NsysTool
    from pytest_nsys.process.run_folder import RunFolder
    from pytest_nsys.servers.running.process import start_server

    with RunFolder() as run:
        print(run.path, flush=True)
        nsys = NsysTool(Path({nsys!r}), (2023, 4, 4)) if {nsys!r} else real("2023")
        server = start_server(small("--starts", "60"), run, nsys=nsys)
        try:
            print("started", server.spec.port, flush=True)
            server.wait_until_ready()
        finally:
            server.stop()
"""


@pytest.fixture
def program(tmp_path: Path, alone: None) -> Callable[[str], subprocess.Popen[str]]:
    """Starts a program of its own that starts a server which is never ready."""

    def start(nsys: str = "") -> subprocess.Popen[str]:
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(PROGRAM.format(root=str(ROOT), nsys=nsys)))
        return subprocess.Popen(
            [sys.executable, str(path)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


def first_word(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_ctrl_c_while_it_is_waited_for(program: Callable[..., subprocess.Popen[str]]) -> None:
    with program() as process:
        folder = Path(first_word(process))
        assert first_word(process).startswith("started")
        until(lambda: len(marked(str(folder))) > 2, "it runs")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert errors.strip().endswith("KeyboardInterrupt")
    assert marked(str(folder)) == []
    assert not folder.exists()


def test_ctrl_c_before_nsys_has_started_it(
    program: Callable[..., subprocess.Popen[str]], serving_nsys: NsysTool, tmp_path: Path
) -> None:
    with program(str(wrapped(serving_nsys, tmp_path, "sleep 60").path)) as process:
        folder = Path(first_word(process))
        until(lambda: len(marked(str(folder))) > 0, "nsys runs")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert errors.strip().endswith("KeyboardInterrupt")
    assert marked(str(folder)) == []
    assert not folder.exists()


def test_a_parent_that_is_killed(program: Callable[..., subprocess.Popen[str]]) -> None:
    with program() as process:
        folder = Path(first_word(process))
        assert first_word(process).startswith("started")
        pids = marked(str(folder))
        process.kill()
        process.communicate(timeout=60)
    until(lambda: not folder.exists(), "the guard has ended it")
    assert marked(str(folder)) == []
    left = [path.name for path in Path("/dev/shm").glob("sem.NSys-process_waiter-*")]
    assert not [name for name in left if int(name.split("-")[2]) in pids]


def test_orphans_of_a_run_that_was_killed_with_its_guard(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "pytest-nsys-abc"
    folder = run / f"pytest-nsys-{gone_pid()}-1"
    mine = tmp_path / "pytest-nsys-def" / f"pytest-nsys-{os.getpid()}-9"
    for place in (folder, mine):
        place.mkdir(parents=True)
    with (
        subprocess.Popen(["sleep", "60"], env={MARK: str(folder)}) as orphan,
        subprocess.Popen(["sleep", "60"], env={MARK: str(mine)}) as living,
    ):
        try:
            bench.start(small())
            assert orphan.wait(timeout=20) == -signal.SIGTERM
            assert not run.exists()
            assert living.poll() is None
            assert mine.exists()
            assert end_orphans() == []
        finally:
            orphan.kill()
            living.kill()


@pytest.fixture
def private_mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """A mark for orphans that no other test finds: each start of a server ends orphans."""
    mark = "A_MARK_OF_ORPHANS"
    monkeypatch.setattr("pytest_nsys.process.guard.MARK", mark)
    return mark


def test_orphans_outside_of_a_run_folder_lose_only_their_own(
    tmp_path: Path, private_mark: str
) -> None:
    folder = tmp_path / f"pytest-nsys-{gone_pid()}-1"
    folder.mkdir()
    with subprocess.Popen(["sleep", "60"], env={private_mark: str(folder)}) as orphan:
        assert end_orphans() == [folder]
        assert orphan.wait(timeout=20) == -signal.SIGTERM
    assert tmp_path.exists()
    assert not folder.exists()


def test_processes_that_cannot_be_looked_at_are_no_orphans() -> None:
    assert mark_of(gone_pid()) == ""
    assert orphans._namespace(gone_pid()) == ""


def test_processes_of_another_container_are_no_orphans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private_mark: str
) -> None:
    folder = tmp_path / f"pytest-nsys-{gone_pid()}-1"
    monkeypatch.setattr(
        "pytest_nsys.servers.running.orphans._namespace",
        lambda pid: "ours" if pid == os.getpid() else "",
    )
    with subprocess.Popen(["sleep", "60"], env={private_mark: str(folder)}) as other:
        try:
            assert end_orphans() == []
            assert other.poll() is None
        finally:
            other.kill()


def test_the_deadlines_of_the_bench_are_used(bench: Bench) -> None:
    server = bench.start(small("--status", "500"), deadlines=ServerDeadlines(ready=0.2))
    with pytest.raises(ServerNotReady, match=r"within 0\.2 s"):
        server.wait_until_ready()
    assert SHORT.ready == 30.0
