"""A project whose test asks a small server of its own: OpenAI's completions, on a simulated GPU."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.support.harness import Project

APP = """
import http.server, json, os, pathlib, sys, time
import nvtx, simgpu

work = json.loads(pathlib.Path(__file__).with_name("work.json").read_text())
work.update(json.loads(os.environ.get("WORK", "{}")))
requests = 0

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.answer(200, {})

    def do_POST(self):
        global requests
        requests += 1
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if requests == work["dies_at"]:
            print("CUDA error: the simulated GPU has fallen off the bus", flush=True)
            os._exit(7)
        if requests >= work["fails_from"]:
            print("cannot answer request", requests, flush=True)
            return self.answer(500, {"error": "out of luck"})
        tokens = asked["max_tokens"]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with nvtx.annotate("prefill", domain="app"):
            simgpu.launch("prefill", len(asked["prompt"]))
        for number in range(tokens):
            time.sleep(0.001)
            for _ in range(work["copies"]):
                simgpu.copy("h2d", 1000)
            simgpu.launch("decode_attention", 100)
            simgpu.launch("decode_mlp", work["mlp_us"])
            end = "length" if number == tokens - 1 else None
            self.event({"choices": [{"text": "a", "index": 0, "finish_reason": end}]})
        usage = {"prompt_tokens": len(asked["prompt"]), "completion_tokens": tokens}
        self.event({"choices": [], "usage": usage})
        self.chunk(b"data: [DONE]\\n\\n")
        self.chunk(b"")

    def event(self, value):
        self.chunk(b"data: " + json.dumps(value).encode() + b"\\n\\n")

    def chunk(self, data):
        self.wfile.write(b"%x\\r\\n" % len(data) + data + b"\\r\\n")

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

with open(pathlib.Path(__file__).with_name("starts.txt"), "a") as starts:
    starts.write(f"{os.getpid()} {sys.argv[1]}\\n")
for line in work["says"]:
    print(line, flush=True)
    time.sleep(work["stage_s"])
print("serving", flush=True)
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""Kernels of a request: "prefill", as many us as its prompt has characters; for each token
"decode_attention" and "decode_mlp"."""

BEGIN = """
    import json, sys
    import pytest

    pytestmark = pytest.mark.nsys(tolerance={{"*": "1000%"{tolerance}}})

    def start(nsys_server, **options):
        return nsys_server([sys.executable, "app.py", "{{port}}"], model="m", **options)

    def serve(nsys_server, **work):
        return start(nsys_server, env={{"WORK": json.dumps(work)}})
"""
"""The client's times are of no interest here, on machines that do other things meanwhile."""

WORK = {
    "mlp_us": 200,
    "copies": 0,
    "fails_from": 10**9,
    "dies_at": 0,
    "says": [],
    "stage_s": 0.3,
}


class Served:
    """A project with the server.

    Attributes:
        project: in which pytest is run.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        project.write(APP, "app.py")
        self.work()

    def work(self, **changes: Any) -> None:
        """Change what the server does for a request."""
        self.project.write(json.dumps({**WORK, **changes}), "work.json")

    def tests(self, text: str, tolerance: Mapping[str, str] | None = None) -> None:
        """Write the test module; ``start(nsys_server)`` in it starts the server.

        Args:
            text: of the tests, indented as this is.
            tolerance: what they have of metrics besides.
        """
        more = "".join(f', "{key}": "{value}"' for key, value in (tolerance or {}).items())
        self.project.write(BEGIN.format(tolerance=more) + text)

    def starts(self) -> list[tuple[int, int]]:
        """The servers that were started since the last time: process id and port."""
        path = self.project.path / "starts.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [(int(pid), int(port)) for pid, port in map(str.split, lines)]
