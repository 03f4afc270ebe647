"""What the doctor adds to the errors of a capture, on machines made up for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_nsys import errors
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.controller.sources import make_explain
from pytest_nsys.doctor.context import ProbeContext
from pytest_nsys.doctor.explain import explain, explained
from pytest_nsys.doctor.machine import Device, Driver, Volume
from tests.support.fake_machine import DRIVER, HEALTHY, HOST, NSYS, USER, FakeMachine, made, without
from tests.support.harness import write_program

OLD = NsysTool(NSYS.path, (2023, 4, 4))
FULL = {"/tmp": Volume("tmpfs", 1 << 20, 1 << 20)}
NEWER_DRIVER = Driver(version="590.1", cuda=(14, 0), gpus=DRIVER.gpus)
NO_GPU = Driver(error="NVML Shared Library Not Found")
SPLIT = Driver("", "580.1", (13, 0), (Device("NVIDIA H200", "GPU-1", ()),))
USERS = {"/proc/self/status": USER}


def error(kind: type[errors.NsysError], evidence: str = "") -> errors.NsysError:
    return kind("it failed", evidence=evidence, remedy="try again")


@pytest.mark.parametrize(
    ("problem", "machine", "nsys", "check"),
    [
        (error(errors.NsysNotFound), made(used=None), None, "nsys"),
        (error(errors.NsysLaunchFailed), made(volumes=FULL), NSYS, "temporary files"),
        (
            error(errors.NsysLaunchFailed),
            made(volumes={"/dev/shm": Volume("tmpfs", 0, 65536)}),
            NSYS,
            "shared memory",
        ),
        (
            error(errors.ImporterFailed),
            without(HEALTHY, f"{HOST}/QdstrmImporter"),
            NSYS,
            "importer",
        ),
        (
            error(errors.ImporterFailed),
            made(missing={"libdw.so.1": "cannot open"}),
            NSYS,
            "libraries",
        ),
        (error(errors.CaptureMissing), made(size_limit=1 << 20), NSYS, "file size"),
        (error(errors.ExportFailed), made(volumes=FULL), NSYS, "temporary files"),
        (error(errors.NoRunFolder), made(volumes=FULL), NSYS, "temporary files"),
        (error(errors.NoWindows), HEALTHY, OLD, "nvtx"),
        (error(errors.NoGpu), made(said=NO_GPU), NSYS, "GPU"),
        (error(errors.NoGpu), made(said=SPLIT), NSYS, "MIG"),
        (
            error(errors.NoCudaEvents),
            made(environ={"CUDA_VISIBLE_DEVICES": ""}),
            NSYS,
            "visible GPUs",
        ),
        (error(errors.NoCudaEvents), made(said=NEWER_DRIVER), NSYS, "nsys and driver"),
        (error(errors.DiagnosticError), made(said=NEWER_DRIVER), NSYS, "nsys and driver"),
        (error(errors.EventsMissing), made(said=NEWER_DRIVER), NSYS, "nsys and driver"),
        # What nsys prints points the way, in whatever error it comes.
        (
            error(errors.CaptureError, "Failed to create '/x': Permission denied."),
            made(unwritable=frozenset({"/tmp"})),
            NSYS,
            "temporary files",
        ),
        (
            error(errors.CaptureError, "write: File too large"),
            made(size_limit=1 << 20),
            NSYS,
            "file size",
        ),
        (
            error(errors.CaptureError, "Agent launcher failed."),
            made(volumes={"/dev/shm": Volume("tmpfs", 0, 65536)}),
            NSYS,
            "shared memory",
        ),
        (
            error(errors.CaptureError, "No CUDA activities captured"),
            made(said=NEWER_DRIVER),
            NSYS,
            "nsys and driver",
        ),
        (
            error(
                errors.CaptureError,
                "Installed CUDA driver version (14.0) is not supported by this build",
            ),
            made(said=NEWER_DRIVER),
            NSYS,
            "nsys and driver",
        ),
        (
            error(errors.CaptureError, "NVTX binary payload extension is incompatible"),
            HEALTHY,
            OLD,
            "nvtx",
        ),
        (
            error(
                errors.DiagnosticError,
                "The user running x does not have permission to access NVIDIA GPU Performance "
                "Counters on the target device.",
            ),
            made(files=USERS),
            NSYS,
            "GPU metrics",
        ),
        (
            error(errors.NsysUsageError, "unrecognised option '--gpu-metrics-device=all'"),
            HEALTHY,
            NSYS,
            "GPU metrics",
        ),
    ],
)
def test_the_cause_is_found_and_said_first(
    problem: errors.NsysError, machine: FakeMachine, nsys: NsysTool | None, check: str
) -> None:
    [result] = explain(problem, ProbeContext(machine, nsys))
    assert (result.check, result.status) == (check, "problem")
    same = explained(problem, nsys, machine)
    assert same is problem
    assert f"{result.check}: {result.what}" in same.evidence
    assert same.remedy == result.remedy
    text = str(same)
    assert str(explained(same, nsys, machine)) == text


def test_a_healthy_machine_adds_nothing_to_any_error() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(kinds) > 20
    for kind in kinds:
        if kind is errors.NsysNotFound:
            continue  # a healthy machine has one
        plain = error(kind, "nsys said something")
        assert str(explained(plain, NSYS, HEALTHY)) == str(error(kind, "nsys said something"))


def test_warnings_are_evidence_and_no_remedy() -> None:
    machine = made(environ={"LD_PRELOAD": "/x.so"}, volumes=FULL)
    found = explained(error(errors.NsysLaunchFailed, "nothing printed"), NSYS, machine)
    first, second, third = found.evidence.splitlines()
    assert first == "nothing printed"
    assert second.startswith("temporary files: ")
    assert third.startswith("other tools: ")
    assert "LD_PRELOAD" not in found.remedy
    assert found.remedy.startswith("set TMPDIR")


def test_an_error_without_a_remedy_gets_the_findings() -> None:
    found = explained(errors.ExportFailed("it failed"), NSYS, made(volumes=FULL))
    assert found.remedy == "set TMPDIR to a folder on a disk with some GiB free"


@pytest.mark.parametrize(
    ("version", "word"),
    [((2023, 4, 4), "--gpu-metrics-device="), ((2025, 3, 1), "--gpu-metrics-devices=")],
)
def test_the_option_for_gpu_metrics_has_two_names(version: tuple[int, int, int], word: str) -> None:
    refused = error(errors.NsysUsageError, "unrecognised option '--gpu-metrics-device(s)'")
    [result] = explain(refused, ProbeContext(HEALTHY, NsysTool(NSYS.path, version)))
    assert word in result.remedy


@pytest.mark.parametrize("nsys", [None, NsysTool(NSYS.path, (2024, 5, 1))])
def test_where_the_name_is_not_known_nothing_is_said(nsys: NsysTool | None) -> None:
    refused = error(errors.NsysUsageError, "unrecognised option '--gpu-metrics-device'")
    assert explain(refused, ProbeContext(HEALTHY, nsys)) == []


def test_a_probe_that_breaks_hides_no_error() -> None:
    class Broken(FakeMachine):
        def volume(self, folder: str) -> Volume | None:
            raise RuntimeError("a defect")

    found = explained(error(errors.ExportFailed, "disk"), NSYS, Broken())
    assert (found.evidence, found.remedy) == ("disk", "try again")
    limited = made(Broken(), size_limit=1 << 20)
    found = explained(error(errors.ExportFailed, "disk"), NSYS, limited)
    assert found.remedy == "ulimit -f unlimited"


@pytest.mark.parametrize("kind", [errors.NsysMissing, errors.NvtxRefused])
def test_that_there_is_no_gpu_comes_before_what_else_is_missing(
    kind: type[errors.NsysError],
) -> None:
    found = explained(error(kind, "looked on the PATH"), None, FakeMachine(said=NO_GPU))
    lines = found.evidence.splitlines()
    assert lines[0] == f"GPU: there is no NVIDIA GPU, or no driver for it (NVML: {NO_GPU.error})"
    assert lines[-1] == "looked on the PATH"
    assert found.remedy.startswith(
        "run profiled tests on a machine with a GPU; judge its recordings"
    )
    assert "--nsys-replay" in found.remedy
    found = explained(error(kind, "looked on the PATH"), NSYS, HEALTHY)
    assert "GPU" not in found.evidence + found.remedy


def test_what_the_error_says_is_not_repeated() -> None:
    full = errors.NoRunFolder("there is too little space for temporary files: 1 MiB")
    found = explained(full, NSYS, made(volumes=FULL))
    assert found.evidence == "temporary files: /tmp: 1.0 MiB free of 1.0 MiB (tmpfs)"
    assert found.remedy == "set TMPDIR to a folder on a disk with some GiB free"
    none = error(errors.NoGpu, f"nsys 2025\nNVML: {NO_GPU.error}")
    found = explained(none, NSYS, FakeMachine(said=NO_GPU))
    assert found.evidence == f"nsys 2025\nNVML: {NO_GPU.error}"
    assert found.remedy.startswith("run profiled tests on a machine with a GPU")
    half = error(errors.NoGpu, f"NVML: {NO_GPU.error}")
    found = explained(half, NSYS, without(made(said=NO_GPU), "/dev/nvidia0"))
    assert found.evidence.splitlines()[1:] == [
        "GPU: the machine has an NVIDIA driver, and this container no GPU (there is no "
        "/dev/nvidia0)"
    ]


def test_an_nsys_that_has_failed_is_not_tried_again() -> None:
    class Remembers(FakeMachine):
        def find_nsys(self, executable: str | None) -> NsysTool:
            tried.append(executable)
            return super().find_nsys(executable)

    tried: list[str | None] = []
    machine = Remembers(used=None)
    plain = errors.NsysNotFound(f"{NSYS.path} does not answer 'nsys --version'", remedy="run it")
    assert explained(plain, None, machine).remedy == "run it"
    assert tried == []
    elsewhere = explained(errors.NsysNotFound("nsys was not found"), None, machine)
    assert elsewhere.remedy == f"use it: --nsys-executable={NSYS.path}"
    assert tried == [str(NSYS.path)]


def test_programs_that_hang_do_not_hold_up_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_nsys.doctor.explain._LONGEST_S", 1.0)
    program = write_program(tmp_path / "nsys", "#!/bin/sh\nexec sleep 86400\n")
    late = errors.DeadlineExceeded("nsys did not end", evidence="nothing")
    assert explained(late, NsysTool(program, (2025, 3, 1))) is late
    assert "nsys sessions list" not in late.evidence


def test_this_machine_is_asked_where_no_other_is_named() -> None:
    assert str(explained(error(errors.QuantityError))) == str(error(errors.QuantityError))


def test_what_captures_are_handed_explains_with_their_nsys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def explained(problem: errors.NsysError, nsys: NsysTool | None) -> errors.NsysError:
        problem.evidence = f"of {nsys}"
        return problem

    monkeypatch.setattr("pytest_nsys.doctor.explain.explained", explained)
    assert make_explain(NSYS)(error(errors.ExportFailed)).evidence == f"of {NSYS}"
