"""Tests for trial captures on a simulated GPU."""

from __future__ import annotations

from pathlib import Path

_HEAD = """
import json, os, simgpu, sys
from pathlib import Path

def done(**counts):
    Path(__file__).with_name("done.json").write_text(json.dumps(counts))

"""

WORKS = """
def test_trial():
    for _ in range(3):
        simgpu.launch("nothing", 10)
    simgpu.memset(64)
    simgpu.copy("h2d", 64)
    simgpu.synchronize()
    assert "PYTEST_ADDOPTS" not in os.environ
    done(kernels=3, memsets=1, copies=1)
"""

LACKS_KERNELS = """
def test_trial():
    simgpu.launch("nothing", 10)
    simgpu.synchronize()
    done(kernels=20, memsets=0, copies=0)
"""

NO_GPU = """
def test_trial():
    done(error="cuInit returned 100")
"""

FAILS = """
def test_trial():
    raise RuntimeError("the GPU fell off the bus")
"""

DIES = """
def test_trial():
    os.kill(os.getpid(), 11)
"""

SLEEPS = """
import time

def test_trial():
    time.sleep(100)
"""


def written(folder: Path, body: str) -> Path:
    """The program as a file."""
    path = folder / "program.py"
    path.write_text(_HEAD + body, encoding="utf-8")
    return path
