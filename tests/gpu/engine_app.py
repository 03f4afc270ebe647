"""A server of text that decodes on real GPUs, one process for each: ranks of tensor parallelism.

It is run as a program. A token is `LAYERS` kernels that last as long as they are told to on each
rank, each followed by an all-reduce where there are several ranks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
import torch.distributed

LAYERS = 4
CYCLES = 200_000  # 0.1 ms at 2 GHz


class Rank:
    """The work of one GPU.

    Args:
        rank: which one.
        ranks: how many there are.
        store: file in which they meet.
        slow: how many times as long the last one computes.
    """

    def __init__(self, rank: int, ranks: int, store: str, slow: float) -> None:
        torch.cuda.set_device(rank)
        self.cycles = int(CYCLES * (slow if rank == ranks - 1 else 1.0))
        self.ranks = ranks
        self.hidden = torch.ones(4096, device="cuda")
        if ranks > 1:
            torch.distributed.init_process_group(
                "nccl", init_method=f"file://{store}", rank=rank, world_size=ranks
            )
        self.step()

    def step(self) -> None:
        """Decode one token."""
        for _ in range(LAYERS):
            torch.cuda._sleep(self.cycles)
            if self.ranks > 1:
                torch.distributed.all_reduce(self.hidden)
        torch.cuda.synchronize()

    def profile(self, on: bool) -> None:
        """What engines do at /start_profile and /stop_profile."""
        torch.cuda.synchronize()
        (torch.cuda.profiler.start if on else torch.cuda.profiler.stop)()


class Engine:
    """All ranks: the first in this process, which tells the others what to do."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.lock = threading.Lock()
        store = str(Path(tempfile.mkdtemp()) / "store")
        self.others = [
            subprocess.Popen(
                [
                    *(sys.executable, __file__, "--rank", str(rank), "--store", store),
                    *("--ranks", str(options.ranks), "--slow", str(options.slow)),
                ],
                stdin=subprocess.PIPE,
                text=True,
            )
            for rank in range(1, options.ranks)
        ]
        self.first = Rank(0, options.ranks, store, options.slow)

    def do(self, what: str) -> None:
        """Have all ranks do something."""
        with self.lock:
            for other in self.others:
                assert other.stdin is not None
                other.stdin.write(what + "\n")
                other.stdin.flush()
            obey(self.first, what)


def obey(rank: Rank, what: str) -> None:
    """Do as all ranks are told."""
    if what == "step":
        rank.step()
    else:
        rank.profile(what == "start")


class Handler(BaseHTTPRequestHandler):
    """Answers."""

    engine: Engine

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged of requests."""

    def do_GET(self) -> None:
        """Health and models."""
        self._begin("application/json")
        self.wfile.write(json.dumps({"data": [{"id": "tiny"}]}).encode())

    def do_POST(self) -> None:
        """Text, and the engine's profiler."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        if self.path in ("/start_profile", "/stop_profile"):
            self.engine.do(self.path[1:].partition("_")[0])
            self._begin("application/json")
            return
        self._begin("text/event-stream")
        for number in range(body["max_tokens"]):
            self.engine.do("step")
            self._send({"choices": [{"index": 0, "text": f" w{number}", "finish_reason": None}]})
        usage = {"prompt_tokens": 1, "completion_tokens": body["max_tokens"]}
        self._send({"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def _begin(self, content: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content)
        self.end_headers()

    def _send(self, data: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()


def main() -> None:
    """Serve, or be one of the other ranks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--slow", type=float, default=1.0)
    parser.add_argument("--store", default="")
    options = parser.parse_args()
    if options.rank:
        rank = Rank(options.rank, options.ranks, options.store, options.slow)
        for line in sys.stdin:
            obey(rank, line.strip())
        return
    Handler.engine = Engine(options)
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
