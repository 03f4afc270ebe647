"""What engines compile in one start they find in the next: a server has pytest's own folders."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.process.guard import MARK
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.servers.engines.presets import BUILT_IN
from pytest_nsys.servers.engines.spec import spec_of, spec_of_command
from tests.support.harness import until
from tests.support.server_bench import Bench

COMPILES = """
import getpass, json, os, pathlib, sys, tempfile, time

home = pathlib.Path.home()
cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", home / ".cache"))
places = {
    "vllm": os.environ.get("VLLM_CACHE_ROOT", cache / "vllm"),
    "sglang": os.environ.get("SGLANG_CACHE_DIR", home / ".cache/sglang"),
    "deep_gemm": os.environ.get("SGLANG_DG_CACHE_DIR", home / ".cache/deep_gemm"),
    "flashinfer": pathlib.Path(os.environ.get("FLASHINFER_WORKSPACE_BASE", home)) /
        ".cache/flashinfer",
    "triton": os.environ.get("TRITON_CACHE_DIR", home / ".triton/cache"),
    "inductor": os.environ.get("TORCHINDUCTOR_CACHE_DIR") or
        pathlib.Path(tempfile.gettempdir()) / f"torchinductor_{getpass.getuser()}",
    "cuda": os.environ.get("CUDA_CACHE_PATH", home / ".nv/ComputeCache"),
}
compiled = []
for name, place in places.items():
    kernel = pathlib.Path(place) / "kernel.cubin"
    if not kernel.exists():
        compiled.append(name)
        kernel.parent.mkdir(parents=True, exist_ok=True)
        kernel.write_text("compiled")
with open(sys.argv[1], "a") as starts:
    starts.write(json.dumps([compiled, dict(os.environ)]) + "\\n")
time.sleep(60)
"""
ALL = ["vllm", "sglang", "deep_gemm", "flashinfer", "triton", "inductor", "cuda"]
NAMED = {
    "VLLM_CACHE_ROOT": "a",
    "SGLANG_CACHE_DIR": "b",
    "SGLANG_DG_CACHE_DIR": "c",
    "FLASHINFER_WORKSPACE_BASE": "d",
    "TRITON_CACHE_DIR": "e",
    "TORCHINDUCTOR_CACHE_DIR": "f",
    "CUDA_CACHE_PATH": "g",
}


@pytest.mark.parametrize("named", [False, True], ids=["by default", "where variables say"])
def test_only_the_first_of_several_starts_compiles(
    named: bool,
    tmp_path: Path,
    profiler: NsysTool | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in NAMED:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for variable in ("HOME", "TMPDIR"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    for variable, name in NAMED.items() if named else ():
        monkeypatch.setenv(variable, str(tmp_path / name))
    script, notes = tmp_path / "engine.py", tmp_path / "starts"
    script.write_text(COMPILES)
    spec = spec_of_command([sys.executable, str(script), str(notes), "{port}"])

    def starts() -> list[tuple[list[str], dict[str, str]]]:
        lines = notes.read_text().splitlines() if notes.exists() else []
        return [tuple(json.loads(line)) for line in lines]

    for number in range(2):  # two runs of pytest, of two processes each
        with RunFolder() as run:
            bench = Bench(run, tmp_path)
            for process in range(2):
                server = bench.start(spec, profiler)
                wanted = 2 * number + process + 1
                until(lambda wanted=wanted: len(starts()) == wanted, "it has compiled")
                server.stop()
    compiled = [names for names, _ in starts()]
    assert compiled == [ALL, [], [], []]

    # Engines look into other places of their caches for other variables: none is new each time.
    first, *others = [environment for _, environment in starts()]
    for other in others:
        assert set(first) == set(other)
        changed = {name for name in first if first[name] != other[name]}
        assert {name for name in changed if not name.startswith(("NSYS_", "QUADD"))} <= {MARK}


def test_no_preset_names_a_folder_that_is_gone_for_what_an_engine_compiles() -> None:
    for preset in BUILT_IN:
        spec = spec_of(preset, "m")
        held = {name: value for name, value in spec.environment.items() if "{folder}" in value}
        assert held == {}
        assert all("cache" not in word.lower() for word in spec.command)
