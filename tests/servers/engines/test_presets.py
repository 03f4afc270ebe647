"""What is known of the engines, and making others known."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nsys.errors import PresetError, UnknownPreset
from pytest_nsys.servers.engines import presets
from pytest_nsys.servers.engines.failure_patterns import COMMON, first_failure
from pytest_nsys.servers.engines.preset import FailurePattern, Preset
from pytest_nsys.servers.engines.presets import (
    BUILT_IN,
    preset_named,
    preset_names,
    register_preset,
)
from pytest_nsys.servers.engines.spec import spec_of
from pytest_nsys.servers.load.dialects import dialect_names

NAMES = ("vllm", "sglang", "tgi", "trtllm", "nim", "transformers")


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten."""
    monkeypatch.setattr(presets, "_registered", dict(presets._registered))


def made(**changes: Any) -> Preset:
    given = {
        "name": "mine",
        "command": ("mine", "--port", "{port}"),
        "ready": "/ready",
        "dialect": "openai-chat",
        "source": "https://example.org",
    }
    return Preset(**{**given, **changes})


def test_these_are_known() -> None:
    assert preset_names() == NAMES == tuple(preset.name for preset in BUILT_IN)
    assert all(preset_named(preset.name) is preset for preset in BUILT_IN)


@pytest.mark.parametrize("preset", BUILT_IN, ids=NAMES)
def test_each_says_where_its_engine_says_so(preset: Preset) -> None:
    assert preset.source.startswith("https://")
    assert preset.dialect in dialect_names()


@pytest.mark.parametrize(
    ("name", "command", "environment"),
    [
        ("vllm", "vllm serve a/b --host 127.0.0.1 --port 99", "VLLM_WORKER_MULTIPROC_METHOD=spawn"),
        (
            "sglang",
            "sglang serve --model-path a/b --host 127.0.0.1 --port 99",
            "",
        ),
        (
            "tgi",
            "text-generation-launcher --model-id a/b --hostname 127.0.0.1 --port 99 "
            "--shard-uds-path {folder}/shard",
            "",
        ),
        ("trtllm", "trtllm-serve a/b --host 127.0.0.1 --port 99", ""),
        (
            "nim",
            "/opt/nim/start_server.sh",
            "NIM_SERVER_PORT=99 NIM_HTTP_API_PORT=99 VLLM_WORKER_MULTIPROC_METHOD=spawn",
        ),
        (
            "transformers",
            "transformers serve a/b --host 127.0.0.1 --port 99",
            "",
        ),
    ],
)
def test_how_each_is_started(name: str, command: str, environment: str) -> None:
    spec = spec_of(name, "a/b", port=99)
    assert " ".join(spec.command) == command
    assert " ".join(f"{key}={value}" for key, value in spec.environment.items()) == environment


@pytest.mark.parametrize(
    ("name", "start", "body", "arguments"),
    [
        ("vllm", "/start_profile", None, ("--profiler-config.profiler", "cuda")),
        ("sglang", "/start_profile", {"activities": ["CUDA_PROFILER"]}, ()),
        ("trtllm", "/start_profile", {"activities": ["CUDA_PROFILER"]}, ()),
    ],
)
def test_the_engines_own_endpoints(
    name: str, start: str, body: object, arguments: tuple[str, ...]
) -> None:
    spec = spec_of(name, "m", own_endpoints=True)
    profile = spec.profile
    assert profile is not None
    assert (profile.start.method, profile.start.path, profile.start.body) == ("POST", start, body)
    assert (profile.stop.method, profile.stop.path) == ("POST", "/stop_profile")
    assert profile.trigger == "cudaProfilerApi"
    assert spec.command[len(spec.command) - len(arguments) :] == arguments


@pytest.mark.parametrize(
    ("name", "line", "meaning"),
    [
        ("vllm", "ValueError: No available memory for the cache blocks. Try", "the KV cache"),
        (
            "vllm",
            "ValueError: Free memory on device cuda:0 (3.25/23.43 GiB) on startup is less than "
            "desired GPU memory utilization (0.96, 22.49 GiB).",
            "other processes use the memory",
        ),
        (
            "sglang",
            "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
            "the KV cache",
        ),
        ("tgi", "Error: DownloadError", "could not be downloaded"),
        ("tgi", "Error: WebserverFailed", "web server"),
        (
            "tgi",
            "torch.cuda.OutOfMemoryError: CUDA out of memory.\nError: ShardCannotStart",
            "GPU's memory",
        ),
        ("nim", "Authentication Error: set NGC_API_KEY", "may not download"),
        ("nim", "No compatible profiles found", "none of the container's model profiles"),
        ("trtllm", "[Errno 98] Address already in use", "its port was taken"),
        ("vllm", "OSError: You are trying to access a gated repo.\nMake sure", "gated"),
        (
            "vllm",
            "OSError: x is not a local folder and is not a valid model identifier",
            "not found",
        ),
        ("transformers", "huggingface_hub.errors.LocalEntryNotFoundError: outgoing", "local cache"),
        ("sglang", "CUDA error: no kernel image is available for execution", "not supported"),
        ("sglang", "The NVIDIA driver on your system is too old (found version 1)", "too old"),
        ("vllm", "RuntimeError: Failed to infer device type", "no GPU"),
        ("vllm", "OSError: [Errno 28] No space left on device", "a disk was full"),
        ("transformers", "ModuleNotFoundError: No module named 'fastapi'", "package is missing"),
        ("vllm", "vllm: error: unrecognized arguments: --bogus", "refused its arguments"),
    ],
)
def test_what_their_logs_mean(name: str, line: str, meaning: str) -> None:
    failure = first_failure(
        f"INFO starting\n{line}\nINFO the end", preset_named(name).failure_patterns
    )
    assert failure is not None
    assert meaning in failure.meaning
    assert failure.remedy


def test_a_log_without_a_sign() -> None:
    assert first_failure("INFO all is well\nINFO Avoid using `is not` with memory", ()) is None
    assert first_failure("x", (FailurePattern("x", "a", "b"),)) is not None
    assert len({failure.meaning for failure in COMMON}) == len(COMMON)


def test_another_is_made_known_in_five_lines() -> None:
    preset = register_preset(
        Preset(
            name="mine",
            command=("my-engine", "{model}", "--listen={host}:{port}", '--json={"a": 1}'),
            ready="/ready", dialect="openai-chat", source="https://example.org",
        )
    )  # fmt: skip
    assert preset_named("mine") is preset
    spec = spec_of("mine", "m", ["--fast"], port=7)
    assert spec.command == ("my-engine", "m", "--listen=127.0.0.1:7", '--json={"a": 1}', "--fast")
    assert register_preset(made(ready="/other")).ready == preset_named("mine").ready
    assert register_preset(BUILT_IN[0]) is BUILT_IN[0]


def test_an_unknown_one_is_said_with_the_nearest() -> None:
    with pytest.raises(UnknownPreset, match="there is no preset 'vlm'") as caught:
        preset_named("vlm")
    assert caught.value.evidence == "presets: " + ", ".join(NAMES)
    assert caught.value.remedy.startswith("did you mean 'vllm'?")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "my engine"}, "has a name that is no identifier"),
        ({"name": "_hidden"}, "has a name that is no identifier"),
        ({"command": ()}, "has no command"),
        ({"command": ("x",)}, "has {port} neither in its command nor"),
        ({"ready": "ready"}, "a path that does not begin with a slash: 'ready'"),
        ({"health": "h"}, "a path that does not begin with a slash: 'h'"),
        ({"failure_patterns": (FailurePattern("(", "", ""),)}, "no regular expression: missing )"),
    ],
)
def test_one_that_cannot_work(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(PresetError) as caught:
        made(**changes)
    assert fault in caught.value.what
    assert caught.value.remedy


def test_one_that_cannot_be_registered() -> None:
    with pytest.raises(PresetError, match="'vllm' is one of pytest-nsys itself"):
        register_preset(made(name="vllm"))
    with pytest.raises(PresetError, match="has the dialect 'openai', which there is not") as caught:
        register_preset(made(dialect="openai"))
    assert "did you mean 'openai-chat'?" in caught.value.remedy
