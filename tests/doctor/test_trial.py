"""Trial captures with the stand-in nsys and a simulated GPU."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.capture.nsys import find_nsys
from pytest_nsys.doctor import program, trial
from pytest_nsys.doctor.trial import Trial, run_trial
from tests.simgpu.standin import write_standin
from tests.support import trial_programs
from tests.support.harness import SIMGPU

_PYTESTS_OWN = "PYTEST_CURRENT_TEST"
PATH = (str(SIMGPU / "path"), *sys.path)


def tried(
    folder: Path,
    *faults: str,
    body: str = trial_programs.WORKS,
    needs_gpu: bool = True,
    **options: Any,
) -> Trial:
    """A trial with a stand-in nsys that has these faults."""
    # One of before the exports to Parquet: they take longer to make and to read.
    nsys = find_nsys(str(write_standin(folder, faults=faults, version="2023.3.1")))
    source = trial_programs.written(folder, body)
    return run_trial(nsys, needs_gpu=needs_gpu, source=source, sys_path=PATH, **options)


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """No temporary folder of a trial is left, and the environment is as it was."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--nonsense")
    before = {name: value for name, value in os.environ.items() if name != _PYTESTS_OWN}
    yield
    after = {name: value for name, value in os.environ.items() if name != _PYTESTS_OWN}
    assert after == before
    assert list(folder.glob("pytest-nsys-*")) == []


def test_a_good_trial_counts_what_the_test_did(tmp_path: Path) -> None:
    done = tried(tmp_path)
    assert done.result.status == "ok", done.result
    assert done.result.evidence.splitlines() == [
        "kernels: 3 made, 3 in the capture",
        "memsets: 1 made, 1 in the capture",
        "copies: 1 made, 1 in the capture",
    ]
    assert [step.name for step in done.steps] == [
        "running a test under nsys",
        "making the report",
        "exporting the report",
        "reading the export",
        "checking the events",
    ]
    assert all(0 <= step.seconds < 60 for step in done.steps)


@pytest.mark.parametrize(
    ("fault", "step", "evidence"),
    [
        ("child_not_started", "running a test under nsys", "Executable not found"),
        ("usage_error", "running a test under nsys", "unrecognised option"),
        ("no_report", "making the report", "Collecting data"),
        ("importer_error", "making the report", "Importer error status"),
        ("qdstrm_only", "making the report", ".qdstrm"),
        ("export_fails", "exporting the report", ""),
        ("export_truncated", "reading the export", ""),
        ("no_nvtx", "checking the events", "NVTX ranges in the capture: 0"),
        ("no_gpu", "checking the events", "NVML"),
        ("no_cuda_events", "checking the events", ""),
        ("diagnostic_error", "checking the events", ""),
    ],
)
def test_a_failure_names_the_step_and_quotes_nsys(
    tmp_path: Path, fault: str, step: str, evidence: str
) -> None:
    done = tried(tmp_path, fault)
    assert done.result.status == "problem"
    assert done.result.what.startswith(f"failed while {step}: "), done.result
    assert evidence in done.result.evidence
    assert done.result.remedy
    assert len(done.result.evidence.splitlines()) <= 8


@pytest.mark.parametrize(
    ("body", "what", "evidence"),
    [
        (
            trial_programs.LACKS_KERNELS,
            "the capture lacks GPU operations",
            "kernels: 20 made, 1 in the capture",
        ),
        (trial_programs.NO_GPU, "the test could not use the GPU", "cuInit returned 100"),
        (trial_programs.FAILS, "the test did not pass", "the GPU fell off the bus"),
        (trial_programs.DIES, "the test did not end", "Collecting data"),
    ],
    ids=["lacks kernels", "no GPU", "fails", "dies"],
)
def test_a_test_that_goes_wrong_is_told(
    tmp_path: Path, body: str, what: str, evidence: str
) -> None:
    result = tried(tmp_path, body=body).result
    assert result.status == "problem"
    assert what in result.what
    assert evidence in result.evidence


def test_without_a_gpu_the_ranges_are_enough(tmp_path: Path) -> None:
    done = tried(tmp_path, "no_gpu", body=trial_programs.NO_GPU, needs_gpu=False)
    assert done.result.status == "ok", done.result
    assert "without a GPU" in done.result.what
    assert done.result.evidence == "windows: 3\ncuInit returned 100"


def test_a_trial_has_a_deadline(tmp_path: Path) -> None:
    result = tried(tmp_path, body=trial_programs.SLEEPS, deadline_s=3.0).result
    assert result.status == "problem"
    assert "took longer than 3 s" in result.what


def test_what_the_system_refuses_is_told(tmp_path: Path) -> None:
    nsys = find_nsys(str(write_standin(tmp_path)))
    result = run_trial(nsys, needs_gpu=False, source=tmp_path / "gone.py").result
    assert result.status == "problem"
    assert result.what == "failed while preparing: the system refused"
    assert "gone.py" in result.evidence


def test_an_nsys_that_starts_only_at_the_second_attempt_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, attempts = trial.run_worker, []

    def once(nsys: Any, *args: Any, **options: Any) -> Any:
        attempts.append(nsys)
        (tmp_path / "bad").mkdir(exist_ok=True)
        bad = find_nsys(str(write_standin(tmp_path / "bad", faults=("child_not_started",))))
        return real(bad if len(attempts) == 1 else nsys, *args, **options)

    monkeypatch.setattr(trial, "run_worker", once)
    done = tried(tmp_path)
    assert done.result.status == "warning"
    assert done.result.what.endswith(", at attempt 2")
    assert "nsys ended without starting the worker: Executable not found" in done.result.evidence
    assert len(done.steps) == 5


class Driver:
    """A CUDA driver of which some calls fail."""

    def __init__(self, **failing: int) -> None:
        self._failing = failing
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: object) -> int:
            self.calls.append(name)
            return self._failing.get(name, 0)

        return call


@pytest.mark.parametrize(
    ("failing", "done"),
    [
        ({}, {"kernels": 20, "memsets": 10, "copies": 10}),
        ({"cuInit": 100}, {"error": "cuInit returned 100"}),
        ({"cuMemAlloc_v2": 2}, {"error": "cuMemAlloc_v2 returned 2"}),
        ({"cuModuleLoadData": 218}, {"kernels": 0, "memsets": 10, "copies": 10}),
        ({"cuLaunchKernel": 1}, {"kernels": 0, "memsets": 10, "copies": 10}),
        ({"cuCtxSynchronize": 700}, {"error": "cuCtxSynchronize returned 700"}),
    ],
)
def test_the_program_says_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: dict[str, int], done: dict[str, Any]
) -> None:
    driver = Driver(**failing)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    monkeypatch.setattr(program, "__file__", str(tmp_path / "test_trial.py"))
    program.test_trial()
    assert json.loads((tmp_path / "done.json").read_text()) == done
    tried = 0 if {"cuInit", "cuMemAlloc_v2", "cuModuleLoadData"} & set(failing) else 20
    assert driver.calls.count("cuLaunchKernel") == tried


def test_the_program_says_that_there_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"{name}: cannot open")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert program.work() == {"error": "libcuda.so.1: cannot open"}
