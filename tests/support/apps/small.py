"""A small server of text: real sockets, NVTX ranges, and whatever fault is asked for.

It is run as a program; it needs nothing but nvtx.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import nvtx

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--says", default="", help="a line of its log")
parser.add_argument("--exit", type=int, help="exit code, at once")
parser.add_argument("--status", type=int, default=200, help="what /health answers")
parser.add_argument("--starts", type=float, default=0.0, help="seconds without an answer")
parser.add_argument("--deaf", action="store_true", help="ignores SIGTERM")
parser.add_argument("--children", type=int, default=0, help="forked, in sessions of their own")
options = parser.parse_args()
profile: list[Any] = []


class Handler(BaseHTTPRequestHandler):
    """Answers."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged of requests."""

    def do_GET(self) -> None:
        """Health and models."""
        if self.path == "/v1/models":
            self._answer({"data": [{"id": "tiny"}]})
        else:
            self._answer({}, options.status)

    def do_POST(self) -> None:
        """Text, the engine's profiler, and ends."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/start_profile":
            profile.append(nvtx.start_range("profile", domain="engine"))
        elif self.path == "/stop_profile":
            nvtx.end_range(profile.pop())
        elif self.path == "/refuse":
            return self._answer({"error": "no profiler"}, 409)
        elif self.path == "/noop":
            pass
        elif self.path == "/die":
            print("about to die", flush=True)
            os.kill(os.getpid(), json.loads(body)["signal"])
            time.sleep(60)  # the main thread has it, and this one could still answer
        elif self.path == "/exit":
            os._exit(7)
        with nvtx.annotate(f"request {self.path}", domain="app"):
            time.sleep(0.001)
        return self._answer({"choices": [{"text": "word"}]})

    def _answer(self, data: object, status: int = 200) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if options.says:
    print(options.says, file=sys.stderr, flush=True)
if options.exit is not None:
    sys.exit(options.exit)
if options.deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(options.children):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            with nvtx.annotate("in a child", domain="app"):
                time.sleep(0.05)
time.sleep(options.starts)
print("serving", flush=True)
ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
