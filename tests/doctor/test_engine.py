"""An engine that is tried: what is said of a good one, and of each thing that can be wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.cli.main import main
from pytest_nsys.doctor.engine import CHECKS, version_in
from pytest_nsys.process.processes import is_running
from pytest_nsys.servers.engines import presets
from tests.simgpu.standin import write_standin
from tests.support.engine_programs import put_engines
from tests.support.harness import ROOT, SIMGPU, until

Doctor = Callable[..., tuple[int, str, str]]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where the command has temporary files: sockets are among them, whose paths must be short."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        yield Path(folder)


@pytest.fixture
def doctor(
    temporary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Doctor:
    """Runs the command on stand-ins, the fault of the engine being given; nothing is left."""
    put_engines(tmp_path, monkeypatch, SIMGPU / "path")
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    nsys = tmp_path / "nsys-bin"
    nsys.mkdir()

    def run(*words: str, fault: str = "", fails: str = "", **of_nsys: Any) -> tuple[int, str, str]:
        monkeypatch.setenv("ENGINE_FAULT", fault)
        monkeypatch.setenv("ENGINE_FAILS", fails)
        executable = write_standin(nsys, **{"version": "2025.3.1", **of_nsys})
        capsys.readouterr()
        code = main(["doctor", "--nsys-executable", str(executable), *words])
        notes = tmp_path / "notes"
        for line in notes.read_text().splitlines() if notes.exists() else []:
            assert not is_running(json.loads(line).get("pid", 0))
        notes.unlink(missing_ok=True)
        assert list(temporary.iterdir()) == []
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tgi", "trtllm", "nim"])
def test_a_good_engine_is_reported_whole(engine: str, doctor: Doctor) -> None:
    words = [] if engine == "nim" else ["--model", "org/secret-model"]
    code, out, err = doctor("--engine", engine, "--format", "json", *words)
    found = json.loads(out)
    assert code == 0, out
    assert found["good"]
    assert found["versions"][engine] == "1.2.3"
    assert found["versions"]["nsys"] == "2025.3.1"
    assert found["compared"]
    assert [one["check"] for one in found["findings"]] == list(CHECKS)
    assert {one["status"] for one in found["findings"]} == {"ok"}
    assert found["stages"][0]["stage"] == "starting"
    assert "loading weights" in [one["stage"] for one in found["stages"]]
    assert found["metrics"]["gpu.kernel_count"] == 4 * 16
    assert found["metrics"]["gpu.kernel_time.per_token"] == 100e3
    assert found["metrics"]["client.output_tokens"] == 4 * 16
    assert "secret" not in out
    assert f"pytest-nsys: {engine}: loading weights" in err or f"{engine}: ready after" in err


def test_the_text_can_be_sent_as_it_is(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = doctor("--engine", "tgi", "--model", "m", "--", "--num-shard", "2")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "pytest-nsys doctor: tgi can be measured here"
    assert "started as     tgi --num-shard 2" in lines
    assert any(line.startswith("compared with  TGI 3.3.7") for line in lines)
    assert any(line.endswith(" s  loading weights") for line in lines)
    assert any(line.split() == ["gpu.kernel_time.per_token", "100", "us"] for line in lines)
    assert max(map(len, lines)) <= 80
    assert "pytest-nsys: tgi: ready after " in err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    code, out, err = doctor("--engine", "tgi", "--model", "m", "--format", "markdown")
    assert code == 0
    assert "\r\x1b[Kpytest-nsys: tgi: starting (" in err
    assert out.startswith("```text\npytest-nsys doctor: tgi can")


FAULTS = [
    ("start", {"fails": "memory"}, "ended before it was ready, while loading weights: exit code 1"),
    ("start", {"fault": "never ready"}, "was not ready within 4 s"),
    ("streaming", {"fault": "no stream"}, "it gives no streamed answer in the dialect"),
    ("token counts", {"fault": "no usage"}, "its streamed answers do not tell how many tokens"),
    ("window", {"fault": "dies"}, "died: "),
    ("window", {"faults": ["no_cuda_events"]}, ""),
    ("nsys", {"version": "2022.4.2"}, "nsys 2022.4.2 cannot start and stop around a server"),
]


@pytest.mark.parametrize("engine", ["sglang", "tgi"])
@pytest.mark.parametrize(("check", "fault", "what"), FAULTS)
def test_what_is_wrong_with_one_is_said_with_what_to_do(
    engine: str, check: str, fault: dict[str, Any], what: str, doctor: Doctor
) -> None:
    words = ("--engine", engine, "--model", "m", "--ready-timeout", "4", "--format=json")
    code, out, _ = doctor(*words, **fault)
    assert code == 1
    found = json.loads(out)
    assert not found["good"]
    by_check = {one["check"]: one for one in found["findings"]}
    assert by_check[check]["status"] == "problem"
    assert what in by_check[check]["what"]
    assert by_check[check]["remedy"]
    later = CHECKS[CHECKS.index(check) + 1 :]
    assert {by_check[one]["status"] for one in later if one != "end"} <= {"skipped"}
    assert by_check["end"]["status"] == ("skipped" if check in ("nsys", "start") else "ok")


def test_a_stream_without_output_is_none(doctor: Doctor) -> None:
    code, out, _ = doctor("--engine", "sglang", "--model", "m", fault="no tokens")
    assert code == 1
    assert "PROBLEM  streaming: it gives no streamed answer in the dialect" in out
    assert "POST /v1/completions: the stream ended without any output" in out


def test_one_that_is_not_installed_is_said(doctor: Doctor) -> None:
    code, out, _ = doctor("--engine", "transformers", "--model", "m")
    assert code == 1
    assert "PROBLEM  start: there is no program 'transformers'" in out
    assert "What to do: install the engine" in out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_nothing(
    number: signal.Signals, code: int, doctor: Doctor, tmp_path: Path, temporary: Path
) -> None:
    executable = write_standin(tmp_path / "nsys-bin", version="2025.3.1")
    words = ("doctor", "--engine", "sglang", "--model", "m", "--nsys-executable", str(executable))
    with subprocess.Popen(
        [sys.executable, "-m", "pytest_nsys", *words],
        cwd=ROOT,
        env={**os.environ, "ENGINE_FAULT": "never ready"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell starts its background jobs deaf to Ctrl-C, and this test may be part of one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        until((tmp_path / "notes").exists, "the engine has been started")
        process.send_signal(number)
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == code, printed
    assert "Traceback" not in printed
    until(lambda: list(temporary.iterdir()) == [], "nothing is left")
    started = json.loads((tmp_path / "notes").read_text().splitlines()[0])
    assert not is_running(started["pid"])


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ('{"version": "0.5.16"}', "0.5.16"),
        ('{"release": "2.1.6", "api": "1"}', "2.1.6"),
        ('{"version": ["a"]}', "unknown"),
        ('["0.5.16"]', "unknown"),
        ("{}", "unknown"),
        ("<html>", "unknown"),
    ],
)
def test_the_version_is_what_its_endpoint_tells(answer: str, version: str) -> None:
    assert version_in(answer) == version


def test_an_endpoint_that_is_elsewhere_is_named(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(presets.preset_named("sglang"), version="/gone")
    monkeypatch.setitem(presets._registered, "sglang", other)
    code, out, _ = doctor("--engine", "sglang", "--model", "m")
    assert code == 1
    assert "PROBLEM  endpoints: it does not answer /gone" in out
    assert "GET /gone: HTTP 404" in out
    assert "GET /health: HTTP 200" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "vlm", "--model", "m"], "there is no preset 'vlm'"),
        (["--engine", "vllm"], "vllm needs a model: name it with --model"),
        (["--model", "m"], "name it with --engine"),
        (["--", "--tp", "2"], "name it with --engine"),
        (["--engine", "vllm", "--model", "m", "--", "--port", "1"], "--port in args"),
    ],
)
def test_what_cannot_be_tried_is_said(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["doctor", *words])
    except SystemExit as error:
        code = int(error.code or 0)
    assert code == 2
    assert said in capsys.readouterr().err
