"""What one server is started with, its port, and asking it."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import LaunchError, PortTaken
from pytest_nsys.process.logs import last_lines, read_end
from pytest_nsys.servers.engines import ports
from pytest_nsys.servers.engines.http import Answer, ask, first_model, get
from pytest_nsys.servers.engines.ports import (
    demand_free,
    free_port,
    holder,
    is_free,
    wait_until_free,
)
from pytest_nsys.servers.engines.preset import Endpoint, FailurePattern, Preset, ProfileEndpoints
from pytest_nsys.servers.engines.spec import spec_of, spec_of_command
from tests.support.harness import until


def test_a_port_is_chosen_and_said_everywhere() -> None:
    spec = spec_of("vllm", "m")
    assert spec.command[-1] == str(spec.port)
    assert spec.url == f"http://127.0.0.1:{spec.port}"
    assert is_free("127.0.0.1", spec.port)
    assert (spec.ready, spec.health) == ("/health", "/health")


def test_what_is_given_comes_on_top(tmp_path: Path) -> None:
    spec = spec_of(
        "vllm",
        "m",
        ["--enforce-eager"],
        port=8000,
        host="::1",
        environment={"VLLM_WORKER_MULTIPROC_METHOD": "fork", "A": "{port}"},
        directory=str(tmp_path),
        nsys_args=["--sample=process-tree"],
    )
    assert spec.url == "http://[::1]:8000"
    assert spec.command[-1] == "--enforce-eager"
    assert spec.environment == {"VLLM_WORKER_MULTIPROC_METHOD": "fork", "A": "{port}"}
    assert spec.nsys_args == ("--trace-fork-before-exec=true", "--sample=process-tree")
    assert spec.directory == str(tmp_path)


def test_the_folder_is_filled_in_when_it_is_there(tmp_path: Path) -> None:
    spec = spec_of("tgi", "m").in_folder(tmp_path)
    assert spec.command[-1] == f"{tmp_path}/shard"


@pytest.mark.parametrize(
    ("preset", "model", "args", "name"),
    [
        ("vllm", "org/m", [], "org/m"),
        ("vllm", "org/m", ["--served-model-name", "short"], "short"),
        ("vllm", "org/m", ["--served-model-name=short", "--x"], "short"),
        ("vllm", "org/m", ["--other", "short"], "org/m"),
        ("trtllm", "org/m", [], "org/m"),
        ("trtllm", "{folder}", [], "tiny"),
        ("vllm", "{folder}", [], "{folder}"),
        ("nim", "", [], ""),
    ],
)
def test_what_requests_call_the_model(
    tmp_path: Path, preset: str, model: str, args: list[str], name: str
) -> None:
    (tmp_path / "tiny").mkdir()
    model = model.replace("{folder}", f"{tmp_path}/tiny")
    spec = spec_of(preset, model, args)
    assert spec.model == name.replace("{folder}", f"{tmp_path}/tiny")


@pytest.mark.parametrize(
    ("how", "what", "remedy"),
    [
        ({"preset": "vllm"}, "vllm needs a model", "nsys_server.vllm('NAME or PATH', ...)"),
        ({"preset": "vllm", "model": "m", "args": ["--port", "1"]}, "--port in args", "say port="),
        ({"preset": "vllm", "model": "m", "args": ["--host=x"]}, "--host in args", "say host="),
        ({"preset": "sglang", "model": "m", "args": ["--model-path=x"]}, "--model-path", "model="),
        ({"preset": "tgi", "model": "m", "own_endpoints": True}, "has no endpoints", "leave own"),
        ({"preset": "vllm", "model": "m", "args": "--x 1"}, "no list of texts", "args=["),
        ({"preset": "vllm", "model": "m", "args": ["--x", 1]}, "no list of texts", "args=["),
    ],
)
def test_what_cannot_be_started(how: dict[str, Any], what: str, remedy: str) -> None:
    with pytest.raises(LaunchError) as caught:
        spec_of(**how)
    assert what in caught.value.what
    assert remedy in caught.value.remedy


def test_any_command() -> None:
    spec = spec_of_command(
        ["serve", "{model}", "--at={host}:{port}", '{"x": {}}'],
        ready="/ok",
        model="m",
        dialect="tgi",
        environment={"PORT": "{port}"},
        nsys_args=["--trace=nvtx"],
        failure_patterns=[FailurePattern("x", "y", "z")],
    )
    port = spec.port
    assert spec.command == ("serve", "m", f"--at=127.0.0.1:{port}", '{"x": {}}')
    assert spec.environment == {"PORT": str(port)}
    assert (spec.name, spec.ready, spec.health) == ("serve", "/ok", "/ok")
    assert (spec.dialect, spec.model, len(spec.failure_patterns)) == ("tgi", "m", 1)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/bin/engine --port {port}", "engine"),
        ("python app.py {port}", "app.py"),
        ("{python} -m package.server {port}", "package.server"),
        ("python3 -u", "python3"),
    ],
)
def test_a_line_is_split_as_by_a_shell_and_named(command: str, name: str) -> None:
    spec = spec_of_command(command, port=5)
    assert spec.name == name
    assert spec.command[1] == command.split()[1]
    assert spec.port == 5


def test_the_arguments_of_its_endpoints_are_added() -> None:
    profile = ProfileEndpoints(Endpoint("/a"), Endpoint("/b"), ("--x",), {"P": "{port}"})
    spec = spec_of_command(["serve"], profile=profile)
    assert spec.command == ("serve", "--x")
    assert spec.environment == {"P": str(spec.port)}


def test_those_of_a_presets_endpoints_too() -> None:
    profile = ProfileEndpoints(Endpoint("/a"), Endpoint("/b"), ("--x",), {"P": "{port}"})
    preset = Preset(
        *("mine", ("serve", "{port}"), "/r", "tgi", "https://example.org"), profile=profile
    )
    spec = spec_of(preset, args=["--y"], own_endpoints=True)
    assert spec.command == ("serve", str(spec.port), "--x", "--y")
    assert spec.environment == {"P": str(spec.port)}
    assert spec_of(preset).profile is None


@pytest.mark.parametrize(
    ("command", "what"),
    [([], "no command"), (["serve"], "nothing tells the server its port"), (3 * [1], "no list")],
)
def test_what_is_no_command(command: list[str], what: str) -> None:
    with pytest.raises(LaunchError, match=what):
        spec_of_command(command)


@given(st.text(alphabet='{}"abcport: ', max_size=30), st.integers(1, 65535))
def test_other_braces_stay(text: str, port: int) -> None:
    (_, word) = spec_of_command(["x", text], port=port).command
    assert word == text.replace("{port}", str(port))


# Ports.


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_free_ports_are_free(taken: int) -> None:
    assert free_port("127.0.0.1") != taken
    assert not is_free("127.0.0.1", taken)
    demand_free("127.0.0.1", free_port("127.0.0.1"))


@pytest.mark.parametrize(
    ("said", "low", "high"),
    [("20000\t64000\n", 64001, 19999), ("nonsense", 61000, 32767), (None, 61000, 32767)],
)
def test_a_free_port_is_none_that_the_kernel_gives_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str | None, low: int, high: int
) -> None:
    """A connection might have it before the server listens, even the one that asks for it."""
    monkeypatch.setattr(ports, "_RANGE", tmp_path / "range")
    if said is not None:
        (tmp_path / "range").write_text(said)
    found = {free_port("127.0.0.1") for _ in range(50)}
    assert len(found) > 10
    assert all(port >= low or port <= high for port in found)


def test_where_the_kernel_chooses_from_all_it_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "range").write_text("1 65535")
    monkeypatch.setattr(ports, "_RANGE", tmp_path / "range")
    assert is_free("127.0.0.1", free_port("127.0.0.1"))
    monkeypatch.setattr(ports, "is_free", lambda host, port: False)
    (tmp_path / "range").write_text("2 3")
    assert free_port("127.0.0.1") > 0


def test_a_taken_one_is_said_with_who_has_it(taken: int) -> None:
    with pytest.raises(PortTaken) as caught:
        demand_free("127.0.0.1", taken)
    assert caught.value.evidence.startswith(f"process {os.getpid()} listens there: ")


def test_who_has_it_cannot_always_be_seen(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    unseen = "it cannot be seen who listens there"
    assert holder(free_port("127.0.0.1")).startswith(unseen)
    connection = next(
        one
        for one in psutil.net_connections(kind="tcp")
        if one.laddr and one.laddr.port == taken and one.status == psutil.CONN_LISTEN
    )
    with monkeypatch.context() as patch:
        others = [connection._replace(pid=None)]
        patch.setattr(psutil, "net_connections", lambda kind: others)
        assert holder(taken).startswith(unseen)
        patch.setattr(psutil, "net_connections", lambda kind: [connection._replace(pid=1 << 30)])
        assert holder(taken).endswith("(it has ended meanwhile)")

        def refuse(kind: str) -> list[object]:
            raise psutil.AccessDenied

        patch.setattr(psutil, "net_connections", refuse)
        assert holder(taken).startswith(unseen)


def test_waiting_until_it_is_free(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not wait_until_free("127.0.0.1", taken, 0.0)
    answers = iter([False, False, True])
    monkeypatch.setattr(ports, "is_free", lambda host, port: next(answers))
    assert wait_until_free("127.0.0.1", taken, 60.0)


# Asking.


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what it is asked for, and says what it was told."""

    said: str = ""

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        """Answers."""
        if self.path == "/v1/nonsense/v1/models":
            return self._answer(200, b'{"data": []}')
        return self._answer(200 if self.path.endswith("/ok") else 503, b"a\n  b" * 100)

    def do_POST(self) -> None:
        """Repeats."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.headers.get("Content-Type", "none").encode()
        return self._answer(201, kind + b" " + body)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server; the environment names a proxy that is not there."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_answers(url: str) -> None:
    assert get(url, "/ok", 5.0).status == 200
    assert get(f"{url}/base/", "/ok", 5.0).ok
    refused = get(url, "/no", 5.0)
    assert not refused.ok
    assert refused.words.startswith("HTTP 503: a ba b")
    assert len(refused.words) < 320
    assert ask(url, Endpoint("/x"), 5.0) == Answer(201, "none ")
    assert ask(url, Endpoint("/x", body={"a": 1}), 5.0).text == 'application/json {"a": 1}'


def test_no_answers(taken: int) -> None:
    silent = f"http://127.0.0.1:{taken}"
    assert get(silent, "/", 0.1) == Answer(0, "no answer within 0.1 s")
    nobody = f"http://127.0.0.1:{free_port('127.0.0.1')}"
    assert get(nobody, "/", 5.0).words == "connection refused"
    assert get("http://host.invalid:1", "/", 5.0).text.startswith("gaierror: ")
    assert get(nobody.replace("http", "https"), "/", 5.0).words == "connection refused"
    assert Answer(204, "").words == "HTTP 204"


DRIPS = (
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
    (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
)


@pytest.mark.parametrize(("first", "drop"), DRIPS, ids=["body", "header", "continue"])
def test_one_that_drips_has_not_answered(first: bytes, drop: bytes) -> None:
    def drip() -> None:
        peer, _ = listener.accept()
        with peer, contextlib.suppress(OSError):
            peer.sendall(first)
            while True:
                peer.sendall(drop)
                time.sleep(0.01)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=drip)
        server.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert get(url, "/ready", 0.2) == Answer(0, "no answer within 0.2 s")
        server.join()  # it is left: nothing asks for more
    until(lambda: not [one for one in threading.enumerate() if "/ready" in one.name])


def test_a_name_that_is_looked_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    found = threading.Event()
    tried = []

    def look_up(*args: object, **options: object) -> socket.socket:
        found.wait()
        tried.append(args)
        return socket.socket()

    monkeypatch.setattr("socket.create_connection", look_up)
    assert get("http://host.invalid:1", "/ready", 0.1).words == "no answer within 0.1 s"
    found.set()
    until(lambda: not [one for one in threading.enumerate() if "/ready" in one.name])
    assert tried


def test_a_server_that_names_no_model(url: str) -> None:
    assert first_model(url, 5.0) == ""
    assert first_model(f"{url}/v1/nonsense", 5.0) == ""


# Logs.


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert read_end(log) == ""
    log.write_bytes(b"x" * 300_000 + b"\none\n\nloading 1%\rloading 99%\r\n\xff\n")
    assert last_lines(read_end(log), 3) == "one\nloading 99%\n\ufffd"
    assert len(read_end(log)) < 270_000
