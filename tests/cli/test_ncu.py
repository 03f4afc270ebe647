"""``pytest-nsys ncu``: a recorded test counted once more, or why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.cli.main import main
from pytest_nsys.errors import RecordingError
from pytest_nsys.ncu.counters import DURATION, KernelCounters, Pair
from pytest_nsys.offline.counted import counted_before, counted_lines, wanted_of
from tests.simgpu.ncu import write_ncu
from tests.support.builders import kernel, measurement, window
from tests.support.harness import Project, import_all, like_a_new_process

FP64 = "sm__pipe_fp64_cycles_active.avg.pct_of_peak_sustained_active"
TEST = """
    import pytest, simgpu

    @pytest.mark.nsys(rounds=2, warmup=0)
    @pytest.mark.parametrize("kind", ["fp32", "fp64"])
    def test_it(nsys, kind):
        simgpu.launch("gemm_" + kind, {us})
        with nsys.range("tail"):
            simgpu.launch("tail", 10)
"""

Ncu = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def imported() -> None:
    import_all()


@pytest.fixture
def ncu(
    imported: None,
    simulated: Project,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Ncu:
    """Runs the command in a project with a recording and a baseline; returns code and output."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p nsys -W ignore::pytest.PytestConfigWarning")
    simulated.in_process = True
    write_ncu(simulated.path / "bin", counters={"gemm_fp64": {FP64: 1.0}})
    simulated.write(TEST.format(us=100))
    simulated.run("--nsys-update", "--nsys-ncu=always", "-k", "fp64").assert_outcomes(passed=1)
    simulated.write(TEST.format(us=130))
    simulated.run("--nsys", "--nsys-record=rec")
    write_ncu(simulated.path / "bin", counters={"gemm_fp64": {FP64: 61.5}})

    def run(*arguments: Any) -> tuple[int, str, str]:
        capsys.readouterr()
        with like_a_new_process(simulated.path):
            code = main(["ncu", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def test_a_recorded_test_is_counted_beside_its_baseline(ncu: Ncu, simulated: Project) -> None:
    code, out, err = ncu("rec", "fp64", "--kernel", "gemm", "--keep", "kept")
    assert (code, err) == (
        0,
        "pytest-nsys: counting with ncu 2025.3.1: test_it.py::test_it[fp64]\n",
    )
    lines = out.splitlines()
    assert lines[0] == "gemm_fp64: double precision: fp64 pipe 1.0 % -> 61.5 %"
    assert lines[1].split() == ["baseline", "now"]
    assert any(line.split() == ["duration", "100", "us", "130", "us"] for line in lines)
    assert max(map(len, lines)) <= 80
    assert len([*(simulated.path / "kept").glob("*.csv")]) == 1

    code, out, _ = ncu("rec", "test_it.py::test_it[fp32]", "--format=json")
    found = json.loads(out)
    assert [one["kernel"] for one in found] == ["gemm_fp32", "tail"]
    assert {one["window"] for one in found} == {"test"}
    assert found[0]["baseline_launches"] == 0
    assert simulated.left_over() == []


def test_what_cannot_be_counted_says_why(ncu: Ncu, simulated: Project) -> None:
    for arguments, words in (
        (("rec", "test_it"), "several tests 'test_it'|[fp32]|name one test by its id"),
        (("rec", "test_other"), "no measured test 'test_other'|test_it[fp32]"),
        (("rec", "fp32", "--kernel", "softmax"), "no kernel 'softmax'|gemm_fp32|name one"),
        (("nowhere", "fp32"), "nowhere"),
    ):
        code, out, err = ncu(*arguments)
        assert (code, out) == (2, "")
        assert all(word in err for word in words.split("|")), err
    write_ncu(simulated.path / "bin", faults=["forbidden"])
    code, _, err = ncu("rec", "fp32")
    assert code == 2
    assert "ERR_NVGPUCTRPERM" in err
    assert "NVreg_RestrictProfilingToAdminUsers=0" in err
    (simulated.path / "bin/ncu").unlink()
    code, _, err = ncu("rec", "fp32")
    assert "ncu (NVIDIA Nsight Compute) was not found" in err
    assert code == 2


def test_a_server_has_nothing_that_can_be_counted_and_kernels_are_apart() -> None:
    now = measurement(window(kernel("gemm", 2, 900), kernel("relu", 1, 100)))
    wanted = wanted_of(now, "relu", 60.0)
    assert (wanted.window, [*wanted.kernels], wanted.launches) == ("test", ["relu"], 1)
    served = replace(now, environment=replace(now.environment, server=("vllm",)))
    with pytest.raises(RecordingError, match="is a test of a server"):
        wanted_of(served, None, 60.0)
    pairs = [Pair(None, KernelCounters(name, "test", 1, {DURATION: 5.0})) for name in "ab"]
    lines = [*counted_lines(pairs)]
    assert lines.count("") == 1
    assert sum("duration" in line for line in lines) == 2
    assert counted_before(Path("no-such-folder"), now) == ()
