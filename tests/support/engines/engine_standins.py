"""Stand-ins for inference engines: as strict as these, without any model.

Each is started by the command that its documentation names, takes the options that it documents
(and no others), becomes ready after a while at its own path, answers in its own dialect, and fails
with the lines of its own log. What it was started with and asked goes to the file that the variable
ENGINE_NOTES names, a JSON object a line; ENGINE_FAILS names a failure.

The documentation:

- https://huggingface.co/docs/text-generation-inference/reference/launcher and docs/openapi.json
  in https://github.com/huggingface/text-generation-inference
- https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve/trtllm-serve.html
- https://docs.sglang.io/docs/advanced_features/server_arguments and
  https://docs.sglang.io/docs/developer_guide/benchmark_and_profiling
- https://docs.nvidia.com/nim/large-language-models/latest/reference/environment-variables.html
- https://docs.vllm.ai/en/stable/contributing/profiling/
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import nvtx
from start_logs import LOGS

try:
    import simgpu
except ImportError:  # there is a real nsys, and no GPU
    simgpu = None

OPENAI = {"model", "prompt", "max_tokens", "stream", "stream_options", "ignore_eos", "temperature"}
TGI = {"inputs", "parameters"}
TGI_PARAMETERS = {"max_new_tokens", "details", "temperature", "do_sample", "decoder_input_details"}
UNREADY = 2
"""How often an engine answers that it is not ready yet."""


@dataclass(frozen=True)
class Given:
    """What an engine was started with.

    Attributes:
        port: where it is to listen.
        model: what requests must call the model.
        shards: where its parts meet; "" where it has no such option.
        profiler: whether it can profile itself.
        host: address that it is to listen on.
    """

    port: int
    model: str
    shards: str = ""
    profiler: bool = False
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class Engine:
    """One of them.

    Attributes:
        name: the preset's.
        given: reads its command line and environment.
        ready: paths that answer 200 once it can serve, and 503 before.
        log: what it prints then.
        failures: what it prints before it ends, by name, and its exit code.
        alive: paths that answer 200 as soon as it listens.
        version: path that answers its version.
    """

    name: str
    given: Callable[[list[str]], Given]
    ready: tuple[str, ...]
    log: str
    failures: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    alive: tuple[str, ...] = ()
    version: str = "/version"


FAULT = os.environ.get("ENGINE_FAULT", "")
"""What it does otherwise than its engine: "never ready", "no stream", "no tokens", "no usage", or
"dies"."""
DIES_AT = 4
"""The request in which it dies."""


def note(**what: object) -> None:
    """Note something for the test."""
    with Path(os.environ["ENGINE_NOTES"]).open("a") as notes:
        notes.write(json.dumps(what) + "\n")


def end(line: str, code: int) -> NoReturn:
    """End as a program does that fails."""
    print(line, file=sys.stderr, flush=True)
    sys.exit(code)


def options(
    words: list[str], known: set[str], refusal: str, flags: frozenset[str] = frozenset()
) -> tuple[list[str], dict[str, str]]:
    """The words of a command that belong to no option, and the options' values.

    Args:
        words: of the command line.
        known: names of options that take a value.
        refusal: what is printed of another; ``{}`` is its name.
        flags: names of those that take none.
    """
    others, found = [], {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            others.append(word)
        elif name in flags:
            found[name] = "true"
        elif name in known:
            found[name] = value if equals else next(rest)
        else:
            end(refusal.format(name), 2)
    return others, found


def tgi(words: list[str]) -> Given:
    """Reads the command line of text-generation-launcher, which is clap's."""
    known = {"--model-id", "--hostname", "--port", "-p", "--shard-uds-path", "--num-shard"}
    others, found = options(
        words, known | {"--max-total-tokens"}, "error: unexpected argument '{}' found"
    )
    if others:
        end(f"error: unexpected argument '{others[0]}' found", 2)
    shards = found.get("--shard-uds-path", "/tmp/text-generation-server")
    with socket.socket(socket.AF_UNIX) as shard:
        shard.bind(f"{shards}-0")  # as the first of the shards does
    port = int(found.get("--port", found.get("-p", "3000")))
    return Given(port, "tgi", shards, host=found.get("--hostname", "0.0.0.0"))


def trtllm(words: list[str]) -> Given:
    """Reads the command line of trtllm-serve, which is click's."""
    known = {"--host", "--port", "--backend", "--tp_size", "--max_batch_size", "--max_seq_len"}
    others, found = options(
        words,
        known | {"--kv_cache_free_gpu_memory_fraction"},
        "Usage: trtllm-serve [OPTIONS] MODEL\n\nError: No such option: {}",
    )
    if len(others) != 1:
        end("Error: Missing argument 'MODEL'.", 2)
    name = Path(others[0]).name if Path(others[0]).is_dir() else others[0]
    host = found.get("--host", "localhost")
    return Given(int(found.get("--port", "8000")), name, "", True, host)


def sglang(words: list[str]) -> Given:
    """Reads the command line of ``sglang serve``, which is argparse's."""
    if words[:1] != ["serve"]:
        end("usage: sglang [-h] {serve,generate,version,killall} ...", 2)
    known = {"--model-path", "--model", "--host", "--port", "--served-model-name", "--tp"}
    others, found = options(
        words[1:],
        known | {"--mem-fraction-static", "--context-length"},
        "sglang serve: error: unrecognized arguments: {}",
        frozenset({"--disable-cuda-graph", "--trust-remote-code"}),
    )
    if others:
        end(f"sglang serve: error: unrecognized arguments: {others[0]}", 2)
    model = found.get("--model-path") or found.get("--model")
    if model is None:
        end("sglang serve: error: the following arguments are required: --model-path", 2)
    host = found.get("--host", "127.0.0.1")
    name = found.get("--served-model-name", model)
    return Given(int(found.get("--port", "30000")), name, "", True, host)


def nim(words: list[str]) -> Given:
    """Reads the environment of a NIM, whose command takes an action and arguments of vLLM."""
    if words and words[0] != "nim-serve":
        end(f"/opt/nim/start_server.sh has no action {words[0]}", 2)
    port = os.environ.get("NIM_SERVER_PORT") or os.environ["NIM_HTTP_API_PORT"]
    return Given(int(port), os.environ.get("NIM_SERVED_MODEL_NAME", "meta/llama-3.1-8b-instruct"))


def vllm(words: list[str]) -> Given:
    """Reads the command line of vllm, which has its profiler only where it is asked for."""
    known = {"--host", "--port", "--served-model-name", "--max-model-len"}
    others, found = options(
        words,
        known | {"--profiler-config.profiler", "--tensor-parallel-size"},
        "vllm: error: unrecognized arguments: {}",
        frozenset({"--enforce-eager"}),
    )
    if len(others) != 2 or others[0] != "serve":
        end("vllm: error: argument subparser: invalid choice", 2)
    profiler = found.get("--profiler-config.profiler") == "cuda"
    name = found.get("--served-model-name", others[1])
    return Given(int(found["--port"]), name, "", profiler, found["--host"])


_OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 896.00 MiB."

ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "tgi",
            tgi,
            ("/health",),
            "INFO text_generation_router::server: router/src/server.rs:2437: Connected",
            version="/info",
            failures={
                "download": (
                    "ERROR text_generation_launcher: Download ...\nError: DownloadError",
                    1,
                ),
                "memory": (f"{_OUT_OF_MEMORY}\nError: ShardCannotStart", 1),
                "web server": ("Error: WebserverFailed", 1),
            },
        ),
        Engine(
            "trtllm",
            trtllm,
            ("/health",),
            "INFO:     Application startup complete.",
            {
                "port": (
                    "RuntimeError: Failed to bind socket to 127.0.0.1:8000: "
                    "[Errno 98] Address already in use",
                    1,
                ),
                "no GPU": ("ValueError: No GPU devices found on the node", 1),
                "memory": (
                    "RuntimeError: [TensorRT-LLM][ERROR] CUDA runtime error in "
                    "::cudaMallocAsync(ptr, n, mMemPool->getPool(), mCudaStream->get()): "
                    "out of memory (/src/tensorrt_llm/cpp/tensorrt_llm/runtime/tllmBuffers.h:125)",
                    1,
                ),
            },
        ),
        Engine(
            "sglang",
            sglang,
            ("/health_generate", "/health"),
            "The server is fired up and ready to roll!",
            version="/server_info",
            failures={
                "memory": (
                    "RuntimeError: Not enough memory. Please try to increase "
                    "--mem-fraction-static. Current value: mem_fraction_static=0.1",
                    1,
                ),
            },
        ),
        Engine(
            "nim",
            nim,
            ("/v1/health/ready",),
            "INFO:     Application startup complete.",
            {
                "profile": (
                    "nimlib.exceptions.NIMProfileIDNotFound: Could not match a profile in manifest "
                    "at /opt/nim/etc/default/model_manifest.yaml",
                    1,
                ),
                "key": ("Authentication Error: set NGC_API_KEY", 1),
            },
            alive=("/v1/health/live",),
            version="/v1/version",
        ),
        Engine("vllm", vllm, ("/health",), "INFO:     Application startup complete."),
    )
}


LOADING = {"vllm": 2, "nim": 2, "sglang": 2, "tgi": 2, "trtllm": 2}
"""Which of its lines say that it loads its weights."""


class Handler(BaseHTTPRequestHandler):
    """Answers as the engine does."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    engine: Engine
    given: Given
    unready = UNREADY
    lock = threading.Lock()
    profiling: Any = None
    requests = 0

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged of requests."""

    def do_GET(self) -> None:
        """Whether it is ready, and what it serves."""
        if self.path in self.engine.alive:
            self._answer(200, {})
        elif self.path in self.engine.ready:
            self._answer(200 if self._is_ready() else 503, {})
        elif self.path == self.engine.version:
            self._answer(200, {"version": "1.2.3"})
        elif self.path == "/v1/models":
            self._answer(200, {"object": "list", "data": [{"id": self.given.model}]})
        else:
            self._answer(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        """Text, and the engine's own profiler."""
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        body = json.loads(text) if text else None
        note(path=self.path, body=body)
        with Handler.lock:
            Handler.requests += 1
        if FAULT == "dies" and Handler.requests == DIES_AT:
            print("CUDA error: an illegal memory access was encountered", flush=True)
            os._exit(1)
        if self.path in ("/start_profile", "/stop_profile") and self.given.profiler:
            self._profile()
        elif self.path in ("/generate", "/generate_stream") and self.engine.name == "tgi":
            self._tgi(body)
        elif self.path == "/v1/completions" and self.engine.name != "tgi":
            self._completions(body)
        else:
            self._answer(404, {"detail": "Not Found"})

    def _is_ready(self) -> bool:
        with Handler.lock:
            Handler.unready -= FAULT != "never ready"
            if Handler.unready == -1:
                print(self.engine.log, flush=True)
        return Handler.unready < 0

    def _profile(self) -> None:
        if self.path == "/start_profile":
            Handler.profiling = nvtx.start_range("profile", domain="engine")
        else:
            nvtx.end_range(Handler.profiling)
        self._answer(200, None)

    def _completions(self, asked: dict[str, Any]) -> None:
        if asked.keys() - OPENAI:
            return self._answer(400, {"message": f"Extra inputs: {sorted(asked.keys() - OPENAI)}"})
        if asked["model"] != self.given.model:
            return self._answer(404, {"message": f"The model {asked['model']} does not exist."})
        count, prompt = asked["max_tokens"], asked["prompt"]
        usage = {"prompt_tokens": len(prompt), "completion_tokens": count}
        usage["total_tokens"] = sum(usage.values())
        if FAULT == "no usage":
            usage = None
        choice = {"index": 0, "logprobs": None}
        head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": asked["model"]}
        with nvtx.annotate("completion", domain="app"):
            if not asked["stream"] or FAULT == "no stream":
                whole = {**choice, "text": " a" * count, "finish_reason": "length"}
                return self._answer(200, {**head, "choices": [whole], "usage": usage})
            self._begin_stream()
            for number in range(0 if FAULT == "no tokens" else count):
                decode()
                reason = "length" if number == count - 1 else None
                one = {**choice, "text": " a", "finish_reason": reason}
                self._event("data: ", {**head, "choices": [one], "usage": None})
            if usage and (asked.get("stream_options") or {}).get("include_usage"):
                self._event("data: ", {**head, "choices": [], "usage": usage})
            self._chunk(b"data: [DONE]\n\n")
            self._chunk(b"")
        return None

    def _tgi(self, asked: dict[str, Any]) -> None:
        parameters = asked.get("parameters", {})
        unknown = (asked.keys() - TGI) | (parameters.keys() - TGI_PARAMETERS)
        if unknown or not isinstance(asked["inputs"], str):
            return self._answer(
                422, {"error": "Input validation error", "error_type": "validation"}
            )
        count = parameters["max_new_tokens"]
        text = " a" * count
        details = {"finish_reason": "length", "generated_tokens": count, "seed": None}
        with nvtx.annotate("generate", domain="app"):
            if self.path == "/generate" or FAULT == "no stream":
                details |= {"prefill": [], "tokens": []}
                details = None if FAULT == "no usage" else details
                return self._answer(200, {"generated_text": text, "details": details})
            details["input_length"] = len(asked["inputs"].split())
            self._begin_stream()
            for number in range(1, count + 1):
                decode()
                token = {"id": 264, "text": " a", "logprob": -0.5, "special": False}
                last = number == count
                self._event(
                    "data:",  # without a space
                    {
                        **{"index": number, "token": token},
                        "generated_text": text if last else None,
                        "details": details if last and FAULT != "no usage" else None,
                    },
                )
            self._chunk(b"")
        return None

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _event(self, begin: str, value: object) -> None:
        self._chunk(f"{begin}{json.dumps(value)}\n\n".encode())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def decode() -> None:
    """What the GPU does for a token, where there is a simulated one."""
    if simgpu is not None:
        simgpu.launch("decode", 100)


class Server(ThreadingHTTPServer):
    """Ends without waiting for its clients."""

    daemon_threads = True


def main(name: str) -> None:
    """Be one of the engines."""
    engine = ENGINES[name]
    note(argv=sys.argv, environment=dict(os.environ), pid=os.getpid())
    failure = os.environ.get("ENGINE_FAILS")
    # One that fails gets as far as its weights.
    lines = LOGS[name] if not failure else LOGS[name][: 1 + LOADING[name]]
    print(*lines, sep="\n", flush=True)
    if failure:
        end(*engine.failures[failure])
    Handler.engine, Handler.given = engine, engine.given(sys.argv[1:])
    if Handler.given.shards:
        note(shards=Handler.given.shards)
    Server((Handler.given.host, Handler.given.port), Handler).serve_forever()
