"""A random Llama behind ``transformers serve``: two levels of concurrency, and sustained load.

``make_llama.py model --size small`` makes the model. SERVE_ARGS are further arguments of the
server; SERVE_SLIP=1 starts it with a slip (see ``slip.py``). SERVE_SHORT=1 makes windows of a few
thousand kernels, for recordings that are kept in git.
"""

from __future__ import annotations

import os
import shlex
import sys

import pytest

from pytest_nsys import NsysServer, synthetic_text

MODEL = os.environ.get("SERVE_MODEL", "model")
ARGS = shlex.split(os.environ.get("SERVE_ARGS", "--dtype bfloat16 --attn-implementation sdpa"))
OFFLINE = {"HF_HUB_OFFLINE": "1"}
PROMPTS = synthetic_text(tokens=64, count=16)
TOKENS, SECONDS = (4, 0.3) if os.environ.get("SERVE_SHORT") else (16, 2.0)


@pytest.mark.nsys(tolerance={"memcpy.d2h.bytes.per_token": "10%"})
def test_serving(nsys_server: NsysServer) -> None:
    if os.environ.get("SERVE_SLIP"):
        command = [sys.executable, "slip.py", "serve", MODEL, "--port", "{port}", *ARGS]
        server = nsys_server(command, model=MODEL, dialect="transformers", env=OFFLINE)
    else:
        server = nsys_server.transformers(MODEL, args=ARGS, env=OFFLINE)
    # All prompts: a length that the server has not seen yet has kernels to load and to choose.
    server.warm_up(len(PROMPTS), PROMPTS, concurrency=8)
    with server.window("concurrency-1", concurrency=1, requests=2, max_tokens=TOKENS) as window:
        window.load(PROMPTS)
    with server.window(
        "concurrency-8", concurrency=8, requests=8, max_tokens=TOKENS // 2
    ) as window:
        window.load(PROMPTS)
    with server.window(
        "sustained", concurrency=4, duration=SECONDS, max_tokens=TOKENS // 2, rounds=2
    ) as window:
        window.load(PROMPTS)
