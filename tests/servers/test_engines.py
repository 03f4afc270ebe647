"""Engines that cannot run on every machine: stand-ins are started, asked, profiled and fail.

A stand-in takes the options that its engine documents and no others, and answers in its dialect;
see engines/engine_standins.py, which names the documentation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.errors import EndpointFailed, ServerFailed
from pytest_nsys.process.guard import marked
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.servers.context import ServerContext
from pytest_nsys.servers.engines import presets
from pytest_nsys.servers.engines.failure_patterns import first_failure
from pytest_nsys.servers.engines.ports import is_free
from pytest_nsys.servers.engines.presets import BUILT_IN, preset_named
from pytest_nsys.servers.factory import NsysServer
from pytest_nsys.servers.load import synthetic, synthetic_text
from pytest_nsys.servers.records import TestCaptures
from pytest_nsys.servers.running.endpoint_session import EndpointRange
from pytest_nsys.servers.server import Server
from tests.support.engine_programs import put_engines
from tests.support.harness import ROOT
from tests.support.server_bench import NAMED_RANGE, ranges

NOT_HERE = ("tgi", "trtllm", "sglang", "nim")


@dataclass(frozen=True)
class Engines:
    """The stand-ins, and how they are started.

    Attributes:
        nsys_server: as the fixture of this name gives it.
        context: what it starts them with.
        folder: where they tell what they were started with and asked.
    """

    nsys_server: NsysServer
    context: ServerContext
    folder: Path

    def start(self, name: str, model: str = "org/model", **how: Any) -> Server:
        """Start one, under a deadline; NIM brings its model."""
        launcher = getattr(self.nsys_server, name)
        return launcher(*(() if name == "nim" else (model,)), ready_timeout=30, **how)

    def notes(self) -> list[dict[str, Any]]:
        """What they noted."""
        lines = (self.folder / "notes").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def asked(self, path: str) -> list[Any]:
        """The bodies that were sent to a path."""
        return [note["body"] for note in self.notes() if note.get("path") == path]


@pytest.fixture
def engines(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engines]:
    """The stand-ins on the PATH; nothing of them is left."""
    put_engines(tmp_path, monkeypatch)
    with RunFolder() as run:
        context = ServerContext(run, deadline_s=60.0)
        yield Engines(NsysServer(request.session, context), context, tmp_path)


COMMANDS = {
    "tgi": "--model-id org/model --hostname 127.0.0.1 --port {port} --shard-uds-path {shards} "
    "--num-shard 2",
    "trtllm": "org/model --host 127.0.0.1 --port {port} --tp_size 2",
    "sglang": "serve --model-path org/model --host 127.0.0.1 --port {port} --tp 2",
    "nim": "nim-serve --max-model-len=4096",
}
"""What each is started with, according to its documentation; the last option is the test's."""


@pytest.mark.parametrize("name", NOT_HERE)
def test_an_engine_is_started_as_documented_and_answers_in_its_dialect(
    name: str, engines: Engines
) -> None:
    args = COMMANDS[name].split()[-2:]
    server = engines.start(name, args=args, env={"OF_THE_TEST": "1"})
    port = int(server.url.rpartition(":")[2])
    started, *later = engines.notes()
    shards = next((note["shards"] for note in later if "shards" in note), "")
    if shards:  # they meet in the server's own folder
        assert Path(shards).is_relative_to(engines.context.folder.path)
    assert started["argv"][1:] == COMMANDS[name].format(port=port, shards=shards).split()
    environment = started["environment"]
    assert environment["OF_THE_TEST"] == "1"
    for variable, value in preset_named(name).environment.items():
        assert environment[variable] == value.format(port=port)
    assert server.log()  # that it is ready
    server.warm_up(2)
    prompts = synthetic_text(16, 4) if name == "tgi" else synthetic(16, 4)
    with server.window("streamed", concurrency=4, requests=8, max_tokens=6) as window:
        (result,) = window.load(prompts)
    assert result.output_tokens == 8 * 6
    assert [one.error for one in result.exchanges] == [""] * 8
    (sent,) = window.rounds
    assert sent.units == {"token": 48.0, "request": 8.0}
    assert sent.values["client.ttft_p50"] > 0
    assert sent.values["client.prompt_tokens"] > 0
    with server.window("whole", requests=2, max_tokens=5, stream=False) as window:
        (result,) = window.load(prompts)
    assert result.output_tokens == 2 * 5

    path = "/generate_stream" if name == "tgi" else "/v1/completions"
    assert len(engines.asked(path)) == (2 + 8 if name == "tgi" else 2 + 8 + 2)
    if name != "tgi":
        model = "meta/llama-3.1-8b-instruct" if name == "nim" else "org/model"
        assert {body["model"] for body in engines.asked(path)} == {model}
    server.stop()
    assert is_free("127.0.0.1", port)
    assert marked(str(engines.context.folder.path)) == []
    assert list(engines.context.folder.path.iterdir()) == []


FAILURES = [
    ("tgi", "download", "the model could not be downloaded"),
    ("tgi", "memory", "the GPU's memory was not enough"),
    ("tgi", "web server", "its web server could not start"),
    ("trtllm", "port", "its port was taken by somebody else"),
    ("trtllm", "no GPU", "it found no GPU"),
    ("trtllm", "memory", "the GPU's memory was not enough"),
    ("sglang", "memory", "the GPU's memory left no room for the KV cache"),
    ("nim", "profile", "none of the container's model profiles fits this GPU"),
    ("nim", "key", "it may not download the model"),
]


@pytest.mark.parametrize(("name", "failure", "meaning"), FAILURES)
def test_what_its_log_says_of_a_failure_is_explained(
    name: str, failure: str, meaning: str, engines: Engines
) -> None:
    with pytest.raises(ServerFailed) as caught:
        engines.start(name, env={"ENGINE_FAILS": failure})
    how = "ended before it was ready, while loading weights: exit code 1"
    assert caught.value.what.endswith(f"{how}: {meaning}")
    assert caught.value.evidence.startswith("its start: starting ")
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["tgi", "trtllm", "sglang"])
def test_an_option_that_it_does_not_have_is_named(name: str, engines: Engines) -> None:
    with pytest.raises(ServerFailed, match="exit code 2: it refused its arguments") as caught:
        engines.start(name, args=["--bogus"])
    assert "--bogus" in caught.value.evidence


def test_a_model_in_a_folder_is_called_as_the_engine_calls_it(engines: Engines) -> None:
    model = engines.folder / "tiny"
    model.mkdir()
    for name, called in (("trtllm", "tiny"), ("sglang", str(model))):
        with engines.start(name, str(model)) as server:
            assert server.model == called
            server.warm_up(1)


class Armed:
    """Stands in for a session of nsys, armed for a range that then has been."""

    name, deadline_s, nsys = "session", 30.0, None

    def __init__(self) -> None:
        self._states = iter(["StartRange", "Launched"])

    def demand(self) -> SimpleNamespace:
        """The session as it is now."""
        return SimpleNamespace(state=next(self._states))


@pytest.mark.parametrize("name", ["vllm", "trtllm"])
def test_its_own_endpoints_are_asked_as_documented(name: str, engines: Engines) -> None:
    server = engines.start(name, own_endpoints=True)
    profile = preset_named(name).profile
    assert profile is not None
    first = engines.folder / "first.nsys-rep"
    first.write_bytes(b"x" * 10_000)  # nsys has written its report
    collection = EndpointRange(Armed(), (), profile, server.url, first)  # type: ignore[arg-type]
    collection.start(engines.folder / "report.nsys-rep")
    server.warm_up(1)
    collection.stop()
    body = {"vllm": None, "trtllm": {"activities": ["CUDA_PROFILER"]}}[name]
    asked = [note["path"] for note in engines.notes() if "path" in note]
    assert asked == ["/start_profile", "/v1/completions", "/stop_profile"]
    assert engines.asked("/start_profile") == [body]
    assert engines.asked("/stop_profile") == [None]


def test_without_what_its_profiler_needs_it_refuses(engines: Engines) -> None:
    server = engines.start("vllm")
    profile = preset_named("vllm").profile
    assert profile is not None
    collection = EndpointRange(
        Armed(),
        (),
        profile,
        server.url,
        engines.folder / "x.nsys-rep",  # type: ignore[arg-type]
    )
    with pytest.raises(EndpointFailed, match="the server refused POST /start_profile"):
        collection.start(engines.folder / "report.nsys-rep")


REAL_LINES = [
    ("vllm", "huggingface_hub.errors.HFValidationError: Repo id must be in the form", "not found"),
    ("transformers", "OSError: Repo id must be in the form 'repo_name' or", "not found"),
    ("vllm", "OSError: [Errno 98] Address already in use", "port was taken"),
    (
        "transformers",
        "ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 8000): "
        "address already in use",
        "port was taken",
    ),
    (
        "vllm",
        "ValueError: Available memory on node 0 (19.2/23.5 GiB) on kv cache allocation is less "
        "than requested memory for kv (100000.0 GiB).\nRuntimeError: Engine core "
        "initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}",
        "the machine's memory has no room for the KV cache",
    ),
    ("vllm", "RuntimeError: Engine core initialization failed. See root cause above.", "has ended"),
    ("vllm", "ERROR [core.py] EngineCore encountered a fatal error.", "has ended"),
    ("vllm", "ERROR Worker proc 0 died unexpectedly (exit code: -9), shutting", "has ended"),
    (
        "vllm",
        "torch.OutOfMemoryError: CUDA out of memory.\nERROR EngineCore encountered a fatal error.",
        "the GPU's memory was not enough",
    ),
    ("vllm", "vllm: error: unrecognized arguments: --bogus", "refused its arguments"),
    (
        "vllm",
        'zmq.error.ZMQError: ipc path "/a/long/one" is longer than 107 characters',
        "the paths of its sockets are too long",
    ),
    ("tgi", "OSError: AF_UNIX path too long", "the paths of its sockets are too long"),
]
"""Lines that the real engines have printed."""


@pytest.mark.parametrize(("name", "log", "meaning"), REAL_LINES)
def test_what_the_real_ones_have_printed_is_explained(name: str, log: str, meaning: str) -> None:
    failure = first_failure(
        f"INFO starting\n{log}\nINFO the end", preset_named(name).failure_patterns
    )
    assert failure is not None
    assert meaning in failure.meaning


def test_the_documentation_says_which_have_run() -> None:
    """Of each preset, whether it has run with its real engine."""
    page = (ROOT / "docs/servers.md").read_text()
    for preset in BUILT_IN:
        (row,) = [line for line in page.splitlines() if f"| `nsys_server.{preset.name}(" in line]
        (tried,) = [line for line in page.splitlines() if line.startswith(f"| `{preset.name}` |")]
        assert ("not yet run with the real engine" in tried) != preset.proven
        assert f"| {preset.checked} |" in tried
        for fact in (preset.dialect, preset.ready):
            assert f"| `{fact}` |" in row


def test_an_engine_under_a_real_nsys(
    engines: Engines, serving_nsys: NsysTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without CUDA, a range of NVTX is what its profiler begins and ends collections with.
    preset = preset_named("sglang")
    assert preset.profile is not None
    profile = replace(
        preset.profile, trigger="nvtx", environment={"NSYS_NVTX_PROFILER_REGISTER_ONLY": "0"}
    )
    monkeypatch.setitem(presets._registered, "sglang", replace(preset, profile=profile))
    engines.context.nsys = serving_nsys
    captures = TestCaptures("test", 0)
    with engines.context.capturing(captures):
        server = engines.start("sglang", own_endpoints=True, nsys_args=[NAMED_RANGE])
        server.warm_up(2)
        for name, requests in (("first", 3), ("second", 5)):
            with server.window(name, requests=requests, max_tokens=4, rounds=1, warmup=0) as window:
                window.load(synthetic(8, 1))
        server.warm_up(1)
        server.stop()
    assert [window.name for window in captures.windows] == ["first", "second"]
    for window, requests in zip(captures.windows, (3, 5), strict=True):
        seen = ranges(serving_nsys, window.report, engines.folder)
        assert seen.count("completion") == requests
    assert engines.asked("/start_profile") == [{"activities": ["CUDA_PROFILER"]}] * 2
    assert engines.asked("/stop_profile") == [None] * 2
