"""A real vLLM, on the CPU: its process tree, its log, its answers and its deaths.

Each start of it takes half a minute. Its model has no tokenizer: prompts are token ids, and what
it streams are tokens without a text.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.process.processes import is_running
from pytest_nsys.servers.engines.ports import is_free
from tests.support.harness import Project
from tests.support.seen import samples

SLOW_S = 400

BEGIN = """
    import json, os, pathlib, threading, time
    import psutil
    import pytest
    from pytest_nsys import synthetic

    # There is no GPU, and what the clients see of a small machine is of no interest.
    pytestmark = pytest.mark.nsys(allow_empty=True, tolerance={{"*": "1000000%"}})
    PROMPTS = synthetic(tokens=32, count=8, vocabulary=1024)

    def serve(nsys_server, model={model!r}, **variables):
        args = "--load-format dummy --skip-tokenizer-init --max-model-len 256 --enforce-eager"
        environment = {{
            "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
            **variables,
        }}
        server = nsys_server.vllm(
            model, args=[*args.split(), "--dtype", "float32"], env=environment, ready_timeout=180
        )
        root = psutil.Process(server.pid)
        tree = [root, *root.children(recursive=True)]
        note = {{"url": server.url, "tree": {{one.pid: one.name() for one in tree}}}}
        pathlib.Path("started.json").write_text(json.dumps(note))
        return server
"""


@pytest.fixture
def model(vllm: Path) -> str:
    """The model that it serves."""
    return str(vllm / "tiny")


def started(project: Project) -> dict[str, Any]:
    """The address and the processes of the server that a test has started."""
    path = project.path / "started.json"
    note: dict[str, Any] = json.loads(path.read_text())
    path.unlink()
    return note


def assert_nothing_left(project: Project, server: dict[str, Any] | None = None) -> None:
    """No process, no listener, no folder of the run, nor of the server."""
    if server is not None:
        assert len(server["tree"]) >= 3  # else this would prove little
        assert [pid for pid in server["tree"] if is_running(int(pid))] == []
        assert is_free("127.0.0.1", int(server["url"].rpartition(":")[2]))
    assert project.left_over() == []
    assert list(Path(os.environ["TMPDIR"]).glob("pytest-nsys-*")) == []


def events_of(nsys: str, report: Path) -> dict[int, int]:
    """How many calls of the operating system a report has of each process."""
    export = report.with_suffix(".sqlite")
    command = [nsys, "export", "--type=sqlite", "-o", str(export), str(report)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with closing(sqlite3.connect(export)) as database:
        return dict(
            database.execute(
                "SELECT globalTid >> 24 & 0xffffff AS process, count(*) FROM OSRT_API "
                "GROUP BY process"
            )
        )


SERVING = """
    # What the processes of the engine do without CUDA: calls of the operating system. Of a
    # millisecond and more, or there are millions.
    @pytest.mark.nsys(nsys_args=["--trace=cuda,nvtx,osrt", "--osrt-threshold=1000000"])
    def test_serving(nsys_server):
        server = serve(nsys_server)
        server.warm_up(2)
        for clients in (1, 8):
            name = f"concurrency-{clients}"
            with server.window(name, concurrency=clients, requests=8, max_tokens=16) as window:
                window.load(PROMPTS)
        with server.window(
            "sustained", concurrency=4, duration=2, rounds=1, max_tokens=16
        ) as window:
            (result,) = window.load(PROMPTS)
        pathlib.Path("sustained.txt").write_text(str(len(result.exchanges)))
"""


def test_it_is_measured_and_judged(serving: Project, model: str) -> None:
    serving.write(BEGIN.format(model=model) + SERVING)
    result = serving.run("--nsys-update", timeout=SLOW_S)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 recorded"])
    assert_nothing_left(serving, started(serving))
    windows = serving.baseline("test_serving", "cpu")["windows"]
    assert list(windows) == ["concurrency-1", "concurrency-8", "sustained"]
    for window in windows.values():
        ((*times,),) = window["samples"]["client.ttft_p50"]
        assert all(time > 0 for time in times)

    measured = ("--nsys-baseline", "--nsys-keep=kept", "--nsys-json=results.json")
    result = serving.run(*measured, timeout=SLOW_S)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 ok"])
    server = started(serving)
    assert_nothing_left(serving, server)
    (test,) = json.loads((serving.path / "results.json").read_text())["tests"]
    for name in ("concurrency-1", "concurrency-8"):
        assert samples(test, "client.requests", name) == [8] * 3
        assert samples(test, "client.errors", name) == [0] * 3
        assert samples(test, "client.prompt_tokens", name) == [8 * 32] * 3
        assert samples(test, "client.output_tokens", name) == [8 * 16] * 3
        for key in ("client.ttft_p50", "client.tpot_p50", "client.latency_p99"):
            assert all(value > 0 for value in samples(test, key, name))
    sent = int((serving.path / "sustained.txt").read_text())
    assert sent > 4
    assert samples(test, "client.requests", "sustained") == [sent]
    assert samples(test, "client.output_tokens", "sustained") == [sent * 16]
    assert samples(test, "wall.time", "sustained")[0] > 2e9

    reports = sorted((serving.path / "kept").glob("*.nsys-rep"))
    assert len(reports) == 3
    names = set(server["tree"].values())
    assert {"vllm", "VLLM::EngineCore"} < names
    busy = {int(pid) for pid, name in server["tree"].items() if not name.startswith("python")}
    for report in reports:  # every window sees all of the engine, in whatever process
        assert busy <= set(events_of("nsys", report))


KILLED = """
    def end(name):
        started = json.loads(pathlib.Path("started.json").read_text())
        (pid,) = [int(pid) for pid, called in started["tree"].items() if called == name]
        time.sleep(1)
        os.kill(pid, 9)

    def test_dies(nsys_server):
        server = serve(nsys_server)
        server.warm_up(1)
        threading.Thread(target=end, args=["VLLM::EngineCore"]).start()
        with server.window("w", concurrency=4, duration=20, rounds=1, max_tokens=64) as window:
            window.load(PROMPTS)
"""


def test_an_engine_that_dies_in_a_window_is_said_with_its_log(serving: Project, model: str) -> None:
    serving.write(BEGIN.format(model=model) + KILLED)
    result = serving.run("--nsys-update", timeout=SLOW_S)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *ServerDied: the server vllm died: *: a process of the engine has ended, *",
            # The cause, though many failed requests were logged after it.
            "E *EngineDeadError*",
            "E *INFO: *Finished server process *",
            "E *What to do: *",
        ]
    )
    assert_nothing_left(serving, started(serving))
    assert not (serving.path / "baselines").exists()


REFUSED = """
    def test_no_such_model(nsys_server):
        serve(nsys_server, "/nowhere/model")

    def test_too_large(nsys_server):
        serve(nsys_server, VLLM_CPU_KVCACHE_SPACE="100000")
"""


def test_why_it_does_not_start_is_said(serving: Project, model: str) -> None:
    serving.write(BEGIN.format(model=model) + REFUSED)
    result = serving.run("--nsys-update", timeout=SLOW_S)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E *ServerFailed: *ended before it was ready: exit code 1: the model was not found",
            "E *HFValidationError: Repo id must be *",
            "E *ServerFailed: *: exit code 1: the machine's memory has no room for the KV cache",
            "E *Engine core initialization failed.*",
        ]
    )
    assert not (serving.path / "started.json").exists()
    assert_nothing_left(serving)
