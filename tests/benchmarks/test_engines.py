"""The batch of engines: steps with a stand-in for vLLM on simulated GPUs, and what is judged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks.engines.batch import Machine, prepare
from tests.support.harness import ROOT
from tests.support.server_app import APP, WORK

JOBS = """
from benchmarks.engines.jobs import Job

ENVIRONMENT = {"SERVE_TOKENS": "2"}
SLOW = {**ENVIRONMENT, "WORK": '{"mlp_us": 400}'}
JOBS = (
    Job("base", "vllm", kind="base", seconds=1, caches="make", environment=ENVIRONMENT),
    Job("slow", "vllm", base="base", seconds=1, caches="none", environment=SLOW,
        metric="gpu.kernel_time.per_token", culprit="decode_(mlp|none)"),
    Job("same", "vllm", kind="same", base="base", seconds=1, environment=ENVIRONMENT),
    Job("three", "vllm", gpus=3),
    Job("long", "vllm", seconds=10_000),
)
"""

ENGINE = """
import pathlib, runpy, sys, time

def main():
    here = pathlib.Path(__file__).parent
    while (here / "held").exists():
        time.sleep(0.1)
    sys.argv[1:] = [sys.argv[sys.argv.index("--port") + 1]]
    caches = pathlib.Path("~/.cache/kernels").expanduser()
    with open(here / "found", "a") as found:
        print(caches.exists(), file=found)
    caches.mkdir(parents=True, exist_ok=True)
    runpy.run_path(str(here / "app.py"), run_name="__main__")
"""


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """The stand-in for vLLM, packed in several parts."""
    site = tmp_path / "made"
    for name, text in {
        "vllm/__init__.py": ENGINE,
        "vllm/app.py": APP,
        "vllm/work.json": json.dumps(WORK),
        "vllm/held": "",
        "vllm-1.dist-info/entry_points.txt": "[console_scripts]\nvllm = vllm:main\n",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    folder = tmp_path / "parts/vllm"
    folder.mkdir(parents=True)
    code = (
        "import json, runpy, sys; from pathlib import Path; site, to, about = sys.argv[1:]; "
        "pack = runpy.run_path('scripts/pack-engine'); "
        "parts = pack['compress'](Path(site), (), Path(to), 1000); "
        "Path(to, 'engine.json').write_text(json.dumps({**json.loads(about), 'parts': parts}))"
    )
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    about = json.dumps({"engine": "vllm", "version": "1", "python": python, "environment": {}})
    command = [sys.executable, "-c", code, str(site), str(folder), about]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder.parent


@pytest.fixture
def step(
    tmp_path: Path, install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Runs one step of the batch, or the judge, and returns what it printed."""
    install(version="2025.3.1")
    (tmp_path / "home").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    (tmp_path / "jobs.py").write_text(JOBS)
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "TMPDIR": "/tmp"}

    def run(module: str, *arguments: object) -> str:
        command = [sys.executable, "-m", f"benchmarks.engines.{module}", *map(str, arguments)]
        done = subprocess.run(
            [*command, f"--jobs={tmp_path / 'jobs.py'}"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(done.stdout)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def test_steps_go_on_where_the_last_one_stopped_and_what_they_recorded_is_judged(
    tmp_path: Path, parts: Path, step: Callable[..., str]
) -> None:
    root = tmp_path / "r"
    common = (f"--root={root}", f"--model={tmp_path / 'model'}", "--gpus=0,1")

    half = tmp_path / "half"
    shutil.copytree(parts, half)
    (half / "vllm/engine.tar.xz.001").unlink()
    said = step("batch", *common, f"--out={tmp_path / 'out0'}", "--seconds=40", f"--parts={half}")
    assert "vllm waits for engine.tar.xz.001" in said
    assert "not run: base slow same three long" in said

    # The servers are never ready, and the step ends.
    said = step("batch", *common, f"--out={tmp_path / 'out1'}", "--seconds=34", f"--parts={parts}")
    assert "base on 0\nslow on 1\n" in said
    assert said.count("cut off") == 2
    assert [*tmp_path.glob("out1/*")] == []
    assert [p.info for p in psutil.process_iter(["cmdline"]) if str(root) in str(p.info)] == []

    (root / "vllm/site/vllm/held").unlink()
    said = step("batch", *common, f"--out={tmp_path / 'out2'}", "--seconds=180", "--only=same|slow")
    assert said.index("base: 0") < said.index("same on")
    for name in ("base", "slow", "same"):
        assert f"{name}: 0" in said
    assert [path.name for path in tmp_path.glob("out2/*")] == ["results-00.tar"]

    said = step("batch", *common, f"--out={tmp_path / 'out3'}", "--seconds=30")
    assert "2 jobs" in said
    assert "not run: three long" in said

    if "2 GPUs, apart" in said:  # mounts are allowed here
        found = (root / "vllm/site/vllm/found").read_text().splitlines()
        assert sorted(found) == ["False", "False", "True"]

    results = tmp_path / "results.json"
    outs = sorted(tmp_path.glob("out*"))
    said = step("judge", *outs, f"--to={tmp_path / 'judged'}", f"--results={results}")
    rows = [[cell.strip() for cell in line.split(" | ")] for line in said.splitlines()]
    (row,) = [r for r in rows if r[1:3] == ["gpu.kernel_time.per_token", "concurrency-1"]]
    assert row[3:5] == ["0 of 1", "0% to 98%"]
    slow, spent = [r for r in rows if r[0] == "| slow"]
    assert spent[1:3] == ["1", "none"]
    assert "export " in spent[4]
    assert slow[1].startswith("gpu.kernel_time.per_token, /decode")
    assert slow[2].startswith("+")  # with one client; of more, how many meet in a step counts, too
    assert slow[3].startswith("decode_mlp: ")
    assert slow[4] == "regressed"
    assert "gpu.kernel_time.per_token" in slow[5]
    assert json.loads(results.read_text())["environment"]["gpu"]
    assert (tmp_path / "judged/jobs/slow/report.html").exists()

    # Starts and knobs of another day are kept, and counted.
    kept = json.loads(results.read_text())
    kept["same"] = [{**one, "start": "2000-01-01 same"} for one in kept["same"]]
    kept["knobs"] = [{**one, "name": "other"} for one in kept["knobs"]]
    results.write_text(json.dumps(kept))
    said = step("judge", *outs, f"--to={tmp_path / 'again'}", f"--results={results}")
    assert said.count("| 0 of 2 | 0% to 84% |") == 9
    assert "| base | without client.* | 2 | 0 | 0 |" in said
    assert len(json.loads(results.read_text())["knobs"]) == 2


def test_parts_that_come_again_are_left_alone_while_they_may_be_unpacked(
    tmp_path: Path, parts: Path
) -> None:
    machine = Machine(tmp_path / "r", tmp_path / "model", tmp_path, ("0",), apart=False)
    (parts / "vllm/engine.tar.xz.001").unlink()
    for _ in range(2):
        prepare(machine, parts)
        (kept,) = (tmp_path / "r/parts/vllm").glob("*.000")
        (parts / "vllm" / kept.name).write_bytes(b"half of it")
    assert kept.read_bytes() != b"half of it"
