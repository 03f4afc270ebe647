"""Tests of servers: what is measured of them, what is said, and that nothing of them is left."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp  # noqa: F401 - an extension module, which pytester must not import again
import psutil
import pytest

from pytest_nsys.cli.main import main
from tests.support.fake_nvml import FakeGpu, FakeNvml
from tests.support.harness import Project
from tests.support.seen import samples, section, short_summary
from tests.support.server_app import Served


@pytest.fixture
def served(simulated: Project, install: Callable[..., Path], temporary: Path) -> Served:
    """A project with a server on the simulated GPU, and an nsys that can start and stop."""
    install(version="2025.3.1")
    return Served(simulated)


def assert_nothing_left(served: Served, servers: Iterable[tuple[int, int]]) -> None:
    """No process, no listener and no file of these servers, nor of the nsys around them."""
    for pid, port in servers:
        assert not psutil.pid_exists(pid)
        with socket.create_server(("127.0.0.1", port)):
            pass
    assert served.project.left_over() == []
    assert [path.name for path in (served.project.path / "temporary").iterdir()] == []


def kernels_of(test: dict[str, Any]) -> dict[str, list[list[float]]]:
    """Of each window, the numbers of kernels by session and round."""
    return {
        window["name"]: metric["samples"]
        for window in test["windows"]
        for metric in window["metrics"]
        if metric["key"] == "gpu.kernel_count"
    }


TWO_WINDOWS = """
    def test_serving(nsys_server):
        server = start(nsys_server)
        server.warm_up(2)
        for concurrency in (1, 4):
            with server.window(
                f"concurrency-{concurrency}", concurrency=concurrency, rounds=2, requests=4,
                max_tokens=8,
            ) as window:
                server.warm_up(1, ["y" * 500])
                answers = window.load(["x" * 80])
                server.warm_up(1, ["y" * 500])
            assert [result.output_tokens for result in answers] == [32, 32]
            server.warm_up(1, ["y" * 500])
"""
MORE = {
    "gpu.kernel_time.per_token": "5%",
    "gpu.busy.per_request": "1%",
    "memcpy.h2d.count": "0",
}
WORSE = "[[]concurrency-1[]] gpu.kernel_time.per_token +*%, limit 5%: decode_mlp +90 us*"
COPIES = "[[]concurrency-1[]] memcpy.h2d.count +32*: h2d *"


class Nvml(FakeNvml):
    """A GPU that the last server that was started uses."""

    def __init__(self, starts: Path) -> None:
        super().__init__(FakeGpu())
        self.starts = starts

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[Any]:  # noqa: N802
        gpu.pids = [int(line.split()[0]) for line in self.starts.read_text().splitlines()[-1:]]
        return super().nvmlDeviceGetComputeRunningProcesses(gpu)


def test_a_slower_server_fails_with_window_and_kernel_and_fails_again_from_its_recording(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = served.project
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(project.path / "starts.txt"))
    served.tests(TWO_WINDOWS, MORE)
    result = project.run("--nsys-update", "--nsys-record=before")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 recorded"])
    assert list(project.baseline("test_serving")["windows"]) == ["concurrency-1", "concurrency-4"]

    result, tests = project.results("--nsys-baseline", "--nsys-html=page.html", "--nsys-keep=kept")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["nsys: window 'concurrency-1': collecting", "1 ok"])
    test = tests["test_serving"]
    for name in ("concurrency-1", "concurrency-4"):
        # Of each round: 4 requests with a prefill and 8 tokens. What is sent before and after the
        # rounds is in none, whether nsys collects it or not.
        assert samples(test, "gpu.kernel_count", name) == [4 + 2 * 32] * 2
        assert samples(test, "gpu.kernel_time", name) == [4 * 80e3 + 32 * 300e3] * 2
        assert samples(test, "gpu.kernel_time.per_token", name) == [310e3] * 2
        assert samples(test, "gpu.busy.per_request", name) == [2480e3] * 2
        assert samples(test, "client.output_tokens", name) == [32] * 2
        assert samples(test, "client.prompt_tokens", name) == [4 * 80] * 2
        assert samples(test, "client.errors", name) == [0] * 2
        for key in ("client.ttft_p50", "client.tpot_p99", "client.latency_mean"):
            assert all(value > 0 for value in samples(test, key, name))
        assert all(value > 0 for value in samples(test, "client.tokens_per_s", name))
        assert samples(test, "gpu.sm_clock", name) == [1.98e9] * 2
    assert test["notes"] == [], "the server's own process disturbs nobody"
    run = json.loads((project.path / "results.json").read_text())
    (digest,) = run["environment"]["gpu_digests"]
    assert project.baseline("test_serving")["environment"]["gpu_digests"] == [digest]
    assert len(list((project.path / "kept").glob("*.nsys-rep"))) == 2
    page = (project.path / "page.html").read_text()
    assert "concurrency-4" in page
    assert "client.ttft_p50" in page

    served.work(copies=1)
    result = project.run("--nsys-baseline")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["_* test_serving _*", COPIES, "", "window 'concurrency-1':"])

    served.work(mlp_us=290)
    result = project.run("--nsys-baseline", "--nsys-record=after")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["_* test_serving _*", WORSE, "", "window 'concurrency-1':"])
    result.stdout.fnmatch_lines(["to accept it: pytest --nsys-update test_it.py::test_serving"])
    told = "FAILED test_it.py::test_serving - decode_mlp +90 us (32x): [concurrency-1] "
    assert short_summary(result)[0].startswith(told)

    assert_nothing_left(served, served.starts())
    (project.path / "bin/nsys").unlink()
    replayed = project.run("--nsys-baseline", "--nsys-replay=after")
    replayed.assert_outcomes(failed=1)
    said, again = (
        [line for line in section(run.outlines, "test_serving") if not line.startswith("to ")]
        for run in (result, replayed)
    )
    assert again == said  # apart from what to do next
    assert served.starts() == []

    capsys.readouterr()
    assert main(["stats", str(project.path / "after/capture-1.sqlite.xz")]) == 0
    shown = capsys.readouterr().out
    assert "decode_mlp" in shown
    assert main(["diff", str(project.path / "before"), str(project.path / "after")]) == 1
    shown = capsys.readouterr().out
    said = "[concurrency-1] gpu.kernel_time.per_token +29.0%, limit 5%: decode_mlp"
    assert said in " ".join(shown.split()), "on several lines"
    assert main(["compare", str(project.path / "before"), str(project.path / "after")]) == 0
    shown = capsys.readouterr().out
    assert "concurrency-4" in shown


GOES_WRONG = """
    def measured(server, name="w", rounds=1):
        return server.window(name, rounds=rounds, requests=2, max_tokens=2)

    @pytest.mark.nsys(budget={"gpu.kernel_time": "1 ms"})
    def test_over_budget(nsys_server):
        with measured(start(nsys_server)) as w:
            w.load(["x" * 500])

    def look(window):
        assert window.samples["gpu.kernel_count"] == ((10,),), "not ten kernels"
        return window.name != "w"

    @pytest.mark.nsys(check=look)
    def test_check(nsys_server):
        with measured(start(nsys_server)) as w:
            w.load(["x"])

    def test_body_fails(nsys_server):
        with measured(start(nsys_server)) as w:
            w.load(["x"])
            assert w.results[0].output_tokens == 5

    def test_requests_fail(nsys_server):
        with measured(serve(nsys_server, fails_from=2)) as w:
            w.load(["x"])

    def test_server_dies(nsys_server):
        with measured(serve(nsys_server, dies_at=4), rounds=3) as w:
            w.load(["x"])

    def test_cut_short(nsys_server):
        server = start(nsys_server)
        with server.window("w", rounds=1, duration=0.8, max_tokens=2, max_duration=0.2) as w:
            w.load(["x"])

    def test_no_window(nsys_server):
        start(nsys_server).warm_up(1)

    def test_two_servers(nsys_server):
        first = start(nsys_server)
        start(nsys_server)

    def test_windows(nsys_server):
        server = start(nsys_server)
        with measured(server) as w:
            w.load(["x"])
        for wrong in (
            lambda: measured(server).__enter__(),
            lambda: server.window("v", concurency=8).__enter__(),
            lambda: server.window("v", rounds=0).__enter__(),
            lambda: server.window("v", warmup=-1).__enter__(),
            lambda: server.window("v", max_duration="5 s").__enter__(),
            lambda: server.window(8).__enter__(),
            lambda: server.window("test").__enter__(),
            lambda: w.load(["x"]),
        ):
            with pytest.raises(Exception) as caught:
                wrong()
            print("caught", type(caught.value).__name__, caught.value)
        assert False, "so that this is shown"

    def test_good_after_all_that(nsys_server):
        with start(nsys_server) as server:
            with measured(server) as w:
                w.load(["x"])
        with measured(start(nsys_server), "v") as w:
            w.load(["x"])
"""


def test_what_goes_wrong_is_said_and_leaves_nothing(served: Served) -> None:
    project = served.project
    served.tests(GOES_WRONG)
    result = project.run("--nsys-update")
    result.assert_outcomes(failed=9, passed=1)
    result.stdout.fnmatch_lines(
        [
            "[[]w[]] gpu.kernel_time is 2.2 ms, over its budget of 1 ms",
            "[[]w[]] check returned False*",
            "E  *assert 4 == 5",
            "E *LoadFailed: 1 of 2 requests failed; allowed are 0 %",
            "E *1 x HTTP 500: *out of luck*",
            "E *the end of the server's log:",
            "E *cannot answer request 2",
            "E *ServerDied: the server app.py died: exit code 7",
            "E *CUDA error: the simulated GPU has fallen off the bus",
            "window 'w' was cut short: max_duration (200 ms) was reached",
            "_* test_no_window _*",
            "the test passed and opened no window",
            'What to do: measure with "with server.window(NAME) as window: *',
            "> *start(nsys_server)",
            "E *ServerError: this test has started a server already",
            "E *it runs at http://127.0.0.1:*",
            "caught WindowError this test has a window 'w' already",
            "caught WindowError a window has no argument 'concurency'",
            "What to do: did you mean 'concurrency'[?]",
            "caught WindowError rounds of a window is wrong",
            "caught WindowError warmup of a window is wrong",
            "caught WindowError max_duration of a window is wrong",
            "caught WindowError the name of a window is wrong",
            "caught WindowError the name of a window is wrong",
            "  name='test'",
            "caught WindowError window 'w' has a load already",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_nsys/servers/*")  # the traceback ends in the test
    result.stdout.fnmatch_lines(["*1 recorded"])
    files = sorted(path.name for path in (project.path / "baselines").rglob("*.json"))
    assert files == ["test_good_after_all_that.json"]
    servers = served.starts()
    assert len(servers) == 11
    assert_nothing_left(served, servers)

    result = project.run("--nsys", "-x", "-k", "requests_fail or good", "--nsys-json=out.json")
    result.assert_outcomes(failed=1, deselected=8)
    result.stdout.fnmatch_lines(["!* stopping after 1 failures !*"])
    assert json.loads((project.path / "out.json").read_text())["tests"] == []
    servers = served.starts()
    assert len(servers) == 1
    assert_nothing_left(served, servers)


SCOPES = """
    @pytest.fixture(scope="module")
    def server(nsys_server):
        return start(nsys_server, scope="module")

    def measure(server):
        with server.window("w", rounds=1, requests=1, max_tokens=2) as w:
            w.load(["x"])

    def test_fails(server):
        with server.window("w"):
            assert False

    def test_first(server):
        measure(server)

    def test_second(server):
        measure(server)

    @pytest.mark.nsys(processes=1)
    def test_own(nsys_server):
        server = start(nsys_server)
        with server.window("rounds") as window:
            for number in range(2):
                with window.round(token=4):
                    server.warm_up(2, ["x"], max_tokens=2)
        with server.window("calls", requests=3, concurrency=3, rounds=1) as window:
            window.call(lambda prompt: server.warm_up(1, [prompt], max_tokens=2), ["x"])
        with server.window("whole"):
            server.warm_up(1, ["x"], max_tokens=2)

    @pytest.mark.nsys(allow_empty=True)
    def test_later():
        import os, pathlib, socket
        servers = [
            map(int, line.split()) for line in pathlib.Path("starts.txt").read_text().splitlines()
        ]
        (module, _), (pid, port) = servers[2], servers[-1]
        os.kill(module, 0)  # that of the module lives on
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        socket.create_server(("127.0.0.1", port)).close()
"""


def test_a_server_lives_as_long_as_its_scope_and_is_new_in_each_further_session(
    served: Served,
) -> None:
    project = served.project
    served.tests(SCOPES)
    result, tests = project.results("--nsys", "-o", "nsys_processes=2")
    result.assert_outcomes(passed=4, failed=1)
    kernels = {name: kernels_of(test) for name, test in tests.items()}
    for name in ("test_first", "test_second"):
        assert kernels[name] == {"w": [[5], [5]]}
    assert kernels["test_own"] == {"rounds": [[10, 10]], "calls": [[15]], "whole": [[5]]}
    # Another test takes the server as the one before has left it.
    servers = served.starts()
    assert len(servers) == 4
    assert_nothing_left(served, servers)


IDLE = """
    def test_serving(nsys_server):
        server = start(nsys_server)
        server.warm_up(2)
        with server.window("w", concurrency=2, rounds=2, requests=4, max_tokens=8) as window:
            answers = window.load(["x" * 80])
        assert [result.output_tokens for result in answers] == [32]  # once
        environment = open(f"/proc/{server.pid}/environ").read()
        assert "NSYS_PROFILING_SESSION_ID" not in environment
        assert "serving" in server.log()
"""


def test_a_plain_run_sends_the_loads_without_nsys(served: Served) -> None:
    (served.project.path / "bin/nsys").unlink()
    served.tests(IDLE)
    result = served.project.run()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*nsys summary*")
    servers = served.starts()
    assert len(servers) == 1
    assert_nothing_left(served, servers)


def test_a_server_is_not_measured_at_another_revision_and_the_report_says_so(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = served.project
    monkeypatch.delenv("TMPDIR")
    served.tests(
        IDLE
        + """
    def test_kernel():
        import simgpu
        simgpu.launch("gemm", 100)
"""
    )
    for command in ("init", "add .", "-c user.name=x -c user.email=x@y commit -m one"):
        subprocess.run(["git", *command.split()], cwd=project.path, check=True, capture_output=True)
    result = project.run("--nsys-against=HEAD", "--nsys-baseline", "test_it.py")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["not measured: test_it.py::test_serving: server tests are not *"])
    assert len(served.starts()) == 1


WAITS = """
    import os, signal

    def test_waits(nsys_server):
        server = start(nsys_server)
        with server.window("w", requests=100_000, max_tokens=64) as w:
            with open("ready", "w") as ready:
                ready.write("here")
            w.load(["x"])
"""


def test_an_interrupt_in_a_window_leaves_nothing(served: Served) -> None:
    project = served.project
    served.tests(WAITS)
    os.mkfifo(project.path / "ready")
    run = project.start("--nsys-update")
    assert (project.path / "ready").read_text() == "here"  # blocks until the window is open
    os.killpg(run.pid, signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "KeyboardInterrupt" in output
    assert "INTERNALERROR" not in output
    assert_nothing_left(served, served.starts())
    assert not (project.path / "baselines").exists()


KNOB = """
    def test_serving(nsys_server):
        more = ["--api-key", "planted", "--dtype", "{dtype}"]
        with nsys_server([sys.executable, "app.py", "{{port}}", *more], model="m") as server:
            with server.window("load", requests=2, max_tokens=8) as window:
                window.load(["x" * 80])
"""


def test_a_server_that_was_started_otherwise_is_told_of_in_a_sentence(served: Served) -> None:
    project = served.project
    served.tests(KNOB.format(dtype="float16"))
    project.run("--nsys-update", "--nsys-processes=1").assert_outcomes(passed=1)
    baseline = project.baseline("test_serving")["environment"]["server"]
    assert baseline == ["...", "...", "...", "--api-key", "...", "--dtype", "float16"]
    served.tests(KNOB.format(dtype="bfloat16"))
    project.run("--nsys", "--nsys-record=after").assert_outcomes(passed=1)
    result, tests = project.results(
        "--nsys", "--nsys-replay=after", "--nsys-markdown=nsys.md", "-W", "ignore"
    )
    said = "[[]load[]] `--dtype float16` -> `bfloat16`: tokens/s *"
    result.stdout.fnmatch_lines(["started otherwise: test_it.py::test_serving", f"  {said}"])
    (knob,) = tests["test_serving"]["knobs"]
    assert knob.startswith("[load] `--dtype float16` -> `bfloat16`: tokens/s ")
    assert "### Changed settings" in (project.path / "nsys.md").read_text()
    assert "planted" not in (project.path / "after/recording.json").read_text()


OURS = """
    import sys
    import pytest_nsys

    pytest_nsys.register_preset(pytest_nsys.Preset(
        name="ours",
        command=(sys.executable, "app.py", "{port}"),
        ready="/health",
        dialect="openai-completions",
        source="https://example.org",
        stages=(
            pytest_nsys.StartStage("load", "loading weights"),
            pytest_nsys.StartStage("graph", "capturing CUDA graphs"),
        ),
    ))
"""
ONE_WINDOW = """
    def test_ours(nsys_server):
        server = nsys_server.ours("m", ready_timeout=30)
        with server.window("load", requests=1, max_tokens=2, rounds=1) as window:
            window.load(["x"])

    def test_any(nsys_server):
        server = start(nsys_server)
        with server.window("load", requests=1, max_tokens=2, rounds=1) as window:
            window.load(["x"])
"""


def test_what_a_server_is_at_while_it_starts_is_said_and_kept(served: Served) -> None:
    project = served.project
    project.write(OURS, "conftest.py")
    served.work(says=["load", "graph 1", "graph 2"], stage_s=0.4)
    served.tests(ONE_WINDOW)
    result, _ = project.results("--nsys")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "nsys: ours: loading weights (* s)",
            "nsys: ours: capturing CUDA graphs (* s)",
            "nsys: ours: ready after * s (*capturing CUDA graphs * s)",
            "nsys: app.py: starting (* s)",
            "nsys: app.py: ready after * s",
        ]
    )
    seconds = json.loads((project.path / "results.json").read_text())["seconds"]
    assert seconds["ours: loading weights"] > 0
    assert seconds["ours: capturing CUDA graphs"] > 0
    assert seconds["app.py: starting"] > 0

    result = project.run("--nsys", "-q")
    result.stdout.no_fnmatch_line("nsys: ours:*")


def test_on_a_terminal_one_line_says_it_again_and_again(served: Served) -> None:
    project = served.project
    project.write(OURS, "conftest.py")
    served.work(says=["load", "graph 1", "no more is known"], stage_s=0.6)
    served.tests(ONE_WINDOW)
    command = [sys.executable, "-m", "pytest", "--nsys", "-p", "no:cacheprovider"]
    seen = on_a_terminal(command, project.path)
    lines = [line.split("\r")[-1].rstrip() for line in seen.split("\r\n")]
    shown = [piece.rstrip() for piece in seen.replace("\r\n", "\r").split("\r")]
    stages = ("ours: loading weights", "ours: capturing CUDA graphs", "app.py: no more is known")
    for what in stages:
        assert any(re.fullmatch(rf"nsys: {what} \(\d+ s\)", line) for line in shown), what
    assert [line for line in lines if "ours: " in line and "window" not in line] == [
        line for line in lines if line.startswith("nsys: ours: ready after ")
    ]
    assert all(len(line) < 80 for line in shown if "ours: " in line and "ready" not in line)


def test_a_start_that_fails_says_in_which_stage_and_how_long_each_took(served: Served) -> None:
    project = served.project
    project.write(OURS, "conftest.py")
    served.work(says=["load"], stage_s=60)
    served.tests(
        """
    def test_late(nsys_server):
        nsys_server.ours("m", ready_timeout=5)
        """
    )
    result = project.run("--nsys")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *the server ours was not ready within 5 s, while loading weights",
            "E *its start: starting * s, loading weights * s",
        ]
    )


def on_a_terminal(command: list[str], folder: Path) -> str:
    """What a program prints on a terminal of 80 columns."""
    ours, its = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    with subprocess.Popen(
        command, cwd=folder, stdin=its, stdout=its, stderr=its, env=environment
    ) as process:
        os.close(its)
        pieces = []
        with contextlib.suppress(OSError):  # its end
            while piece := os.read(ours, 65536):
                pieces.append(piece)
        assert process.wait(timeout=60) == 0, b"".join(pieces).decode()
    os.close(ours)
    return b"".join(pieces).decode()


ENGINES = """
    import pytest

    @pytest.mark.parametrize("engine", ["one", "other"])
    @pytest.mark.parametrize("tokens", [4, 8])
    def test_engines(nsys_server, engine, tokens):
        with nsys_server([sys.executable, "app.py", "{port}"], model="m") as server:
            with server.window("load", requests=2, max_tokens=tokens) as window:
                window.load(["x" * 80])
"""


def test_engines_of_one_recording_are_compared(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    served.tests(ENGINES)
    project = served.project
    project.run("--nsys", "--nsys-record=rec", "--nsys-processes=1").assert_outcomes(passed=4)
    capsys.readouterr()
    assert main(["compare", str(project.path / "rec"), "--by", "engine", "--format=json"]) == 0
    compared = json.loads(capsys.readouterr().out)["compared"]
    assert [(one["window"], one["parameters"]) for one in compared] == [
        ("load", {"tokens": "4"}),
        ("load", {"tokens": "8"}),
    ]
    for one in compared:
        assert [side["name"] for side in one["sides"]] == ["one", "other"]
        for part in one["throughput"]:
            assert part["reached"] == pytest.approx(100 * part["rate"] * part["kernel_ns"] / 1e9)
            assert part["ttft_ns"] > 0
    assert main(["stats", str(project.path / "rec"), "--format=json"]) == 0
    rows = json.loads(capsys.readouterr().out)["tests"]
    assert [row["nodeid"].rpartition("[")[2] for row in rows] == [
        *("4-one]", "4-other]", "8-one]", "8-other]")
    ]
