"""The same tests measured by nsys, and by CUPTI in pytest's own process.

``python -m pytest -s tests/gpu/test_cupti.py`` prints a table: what both record alike has to be
equal, and the time of kernels within a few percent. Frameworks that are not installed are left out.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.verdict.captures import COMPARABLE
from tests.gpu.harness import Project, metric

ROOT = Path(__file__).parents[2]
CAPTURES = ("nsys", "cupti")
WITHIN = 0.05
RACING = ("mem.peak", "mem.live_end", "mem.alloc_count")
"""What of four threads that allocate at once differs from run to run."""

PROGRAMS = """
    import os

    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from benchmarks.cupti_spike.programs import GROUPS

    ALL = {**GROUPS["torch"], **GROUPS["jax"]}
    NAMES = [name for name in ALL if not name.startswith("examples")]  # are measured as they are

    @pytest.mark.nsys(allow_empty=True)  # one only allocates
    @pytest.mark.parametrize("name", NAMES)
    def test_program(name, nsys):
        pytest.importorskip("torch")
        if name in ("triton", "cupy", "jax"):
            pytest.importorskip(name)
        nsys(ALL[name]())
"""
THREADS = "test_program[threads]"


def test_what_both_record_is_equal(project: Project) -> None:
    (project.folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n")
    project.write(PROGRAMS)
    found = {}
    for capture in CAPTURES:
        run = project.measure(f"--nsys-capture={capture}")
        assert run["tests"], run["text"]
        print(run["text"].splitlines()[-1])
        found[capture] = run["tests"]
    assert found["nsys"].keys() == found["cupti"].keys()
    print(
        f"{'':24} {'kernels':>8} {'nsys':>10} {'cupti':>10} {'change':>8}  {'calls':>13}  unequal"
    )
    wrong = []
    for name, theirs in found["nsys"].items():
        ours = found["cupti"][name]
        unequal = [
            key
            for key in sorted(COMPARABLE)
            if not key.endswith((".time", "_time", ".busy"))
            and not (name == THREADS and key in RACING)
            and _middle(theirs, key) != _middle(ours, key)
        ]
        before, now = (_middle(one, "gpu.kernel_time") for one in (theirs, ours))
        change = now / before - 1 if before else 0.0
        calls = f"{_middle(theirs, 'api.count'):.0f} {_middle(ours, 'api.count'):.0f}"
        kernels = _middle(ours, "gpu.kernel_count")
        print(
            f"{name:24} {kernels:8.0f} {before / 1e3:8.1f}us {now / 1e3:8.1f}us {change:+8.2%}  "
            f"{calls:>13}  {', '.join(unequal)}"
        )
        threads = name == THREADS  # what runs at once there differs from run to run
        wrong += [(name, key) for key in unequal]
        wrong += [(name, change)] if abs(change) > WITHIN and not threads else []
    assert not wrong
    names = {
        capture: {kernel for test in tests.values() for kernel in _kernels(test)}
        for capture, tests in found.items()
    }
    apart = names["nsys"] ^ names["cupti"]
    print(
        f"kernels: {len(names['nsys'])}, named otherwise: {len(apart)}", *sorted(apart), sep="\n  "
    )


def _middle(test: dict[str, Any], key: str) -> float:
    try:
        return statistics.median(metric(test, key))
    except (KeyError, StopIteration, statistics.StatisticsError):
        return -1.0


def _kernels(test: dict[str, Any]) -> set[str]:
    window = next(one for one in test["windows"] if one["name"] == "test")
    return {str(kernel["name"]) for kernel in window["kernels"]}


@pytest.mark.parametrize("recorded", CAPTURES)
@pytest.mark.parametrize("judged", CAPTURES)
def test_the_gate_passes_the_examples_and_catches_their_slips(
    tmp_path: Path, recorded: str, judged: str
) -> None:
    folder = tmp_path / "examples"
    folder.mkdir()
    for name in ("test_examples.py", "pytest.ini"):
        shutil.copy(ROOT / "examples" / name, folder)

    def run(capture: str, *options: str, slip: bool = False) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "EXAMPLES_REGRESSION": "1" if slip else "0"}
        command = [sys.executable, "-m", "pytest", "-q", f"--nsys-capture={capture}", *options]
        return subprocess.run(
            [*command, "-p", "no:cacheprovider", "-o", "nsys_processes=1", "test_examples.py"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    update = run(recorded, "--nsys-update")
    assert update.returncode == 0, update.stdout
    same = run(judged, "--nsys-baseline")
    slips = run(judged, "--nsys-baseline", slip=True)
    failed = sorted(line.split("::")[1].split()[0] for line in _failed(slips.stdout))
    print(f"recorded by {recorded}, judged by {judged}: {same.stdout.splitlines()[-1]}; {failed}")
    assert same.returncode == 0, same.stdout
    assert failed == ["test_attention", "test_gelu", "test_training_step", "test_upload"]


def _failed(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("FAILED ")]


PROFILED = """
    import torch

    @pytest.fixture(scope="module")
    def x():
        return torch.ones(1 << 20, device="cuda")

    def test_before(x):
        x.mul_(1.0)

    def test_profiled(x):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]):
            x.mul_(1.0)
            torch.cuda.synchronize()

    def test_after(x):
        x.mul_(1.0)
"""


def test_torch_profiler_in_a_test_is_told_and_spoils_no_other(project: Project) -> None:
    project.write(PROFILED)
    run = project.measure("--nsys-capture=cupti")
    print(run["text"])
    assert "another profiler took CUPTI's records while the test ran" in run["text"]
    for name in ("test_before", "test_after"):
        assert _middle(run["tests"][name], "gpu.kernel_count") == 1
    assert not run["tests"].get("test_profiled", {}).get("windows")


def test_nsys_around_pytest_is_refused(project: Project) -> None:
    project.write(PROFILED)
    pytest_ = [sys.executable, "-m", "pytest", "--nsys", "--nsys-capture=cupti"]
    done = subprocess.run(
        ["nsys", "profile", "--trace=cuda", "--output=around", *pytest_],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "another profiler runs this process" in done.stdout + done.stderr


def test_without_a_gpu_the_test_says_so(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("def test_it():\n    pass\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = project.run("--nsys", "--nsys-capture=cupti")
    print(done.stdout)
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert "shows this process no NVIDIA GPU" in text or "CUPTI finds no NVIDIA driver" in text


def test_a_library_that_cannot_be_loaded_is_named(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("def test_it():\n    pass\n")
    (project.folder / "conftest.py").write_text(
        "from pytest_nsys.capture.cupti import session\n"
        "session.find_library = lambda: '/nowhere/libcupti.so.13'\n"
    )
    done = project.run("--nsys", "--nsys-capture=cupti")
    assert "libcupti cannot be loaded" in done.stdout + done.stderr
