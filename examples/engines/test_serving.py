"""One random Llama behind vLLM, SGLang and ``transformers serve``: the same load, three engines.

``python ../servers/make_llama.py model --size large`` makes the model. VLLM_ARGS, SGLANG_ARGS and
TRANSFORMERS_ARGS are further arguments of the engines: a knob to be turned. SERVE_TOKENS=4
SERVE_SECONDS=0.3 make windows of a few thousand kernels, for recordings that are kept in git.
SERVE_OPTIONS are further options of the fixture, as JSON; SERVE_URL is a server that runs already,
in nsys's session "served".
"""

from __future__ import annotations

import json
import os
import shlex

import pytest

from pytest_nsys import NsysServer, Server, synthetic_text

MODEL = os.environ.get("SERVE_MODEL", "model")
OFFLINE = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
PROMPTS = synthetic_text(tokens=64, count=16)
(SYSTEM,) = synthetic_text(tokens=256, count=1, seed=1)  # 1,100 tokens of this model
SHARED = [f"{SYSTEM} {question}" for question in synthetic_text(tokens=16, count=8, seed=2)]
TOKENS = int(os.environ.get("SERVE_TOKENS", "32"))
SECONDS = float(os.environ.get("SERVE_SECONDS", "2"))

ARGS = {
    "vllm": "--max-model-len 2048 --gpu-memory-utilization 0.3",
    # The backends that need no kernels but SGLang's own and Triton's.
    "sglang": "--attention-backend triton --sampling-backend pytorch --context-length 2048 "
    "--mem-fraction-static 0.3",
    "transformers": "--dtype bfloat16 --attn-implementation sdpa",
}


def start(nsys_server: NsysServer, engine: str) -> Server:
    """The engine, ready to be asked."""
    if url := os.environ.get("SERVE_URL"):
        return nsys_server.attach(url, session="served")
    args = [*shlex.split(ARGS[engine]), *shlex.split(os.environ.get(f"{engine.upper()}_ARGS", ""))]
    options = json.loads(os.environ.get("SERVE_OPTIONS", "{}"))
    server: Server = getattr(nsys_server, engine)(MODEL, args=args, env=OFFLINE, **options)
    return server


@pytest.mark.parametrize("engine", ARGS)
def test_serving(nsys_server: NsysServer, engine: str) -> None:
    server = start(nsys_server, engine)
    # All prompts: a length that the server has not seen yet has kernels to load and to choose.
    server.warm_up(len(PROMPTS), PROMPTS, concurrency=8)
    with server.window("concurrency-1", concurrency=1, requests=4, max_tokens=TOKENS) as window:
        window.load(PROMPTS)
    with server.window("concurrency-8", concurrency=8, requests=16, max_tokens=TOKENS) as window:
        window.load(PROMPTS)
    with server.window(
        "sustained", concurrency=4, duration=SECONDS, max_tokens=TOKENS, rounds=2
    ) as window:
        window.load(PROMPTS)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_shared_prefix(nsys_server: NsysServer, engine: str) -> None:
    """Questions below one long system prompt: what a cache of prefixes is for."""
    server = start(nsys_server, engine)
    server.warm_up(2 * len(SHARED), SHARED, concurrency=4)
    for clients in (1, 8):
        with server.window(
            f"shared-prefix-{clients}", concurrency=clients, requests=8, max_tokens=TOKENS
        ) as window:
            window.load(SHARED)
