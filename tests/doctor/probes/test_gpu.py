"""The doctor's probes of GPUs and driver, on machines made up for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.doctor.machine import Device, Driver
from pytest_nsys.doctor.probes import gpu
from tests.support.fake_machine import (
    DRIVER,
    H200,
    HEALTHY,
    NSYS,
    TARGET,
    USER,
    made,
    probed,
    statuses,
    without,
)

CUPTI = [f"{TARGET}/libcupti.so.{version}" for version in ("9", "12.9", "13.0")]
SPLIT = Device("NVIDIA H200", "GPU-5e1f", ("MIG-aa", "MIG-bb"))


def test_a_gpu_with_its_driver_is_fine() -> None:
    [result] = gpu.driver(probed(HEALTHY))
    assert (result.status, result.what) == ("ok", "NVIDIA H200")
    assert result.evidence == "driver 580.95.05, CUDA 13.0"
    [result] = gpu.driver(probed(made(said=replace(DRIVER, cuda=None))))
    assert result.evidence == "driver 580.95.05"


@pytest.mark.parametrize(
    ("gone", "what", "remedy"),
    [
        ((), "there is a GPU, but NVML", "restart"),
        (("/dev/nvidia0",), "this container no GPU", "--gpus all"),
        (("/dev/nvidia0", "/proc/driver/nvidia/version"), "no NVIDIA GPU", "--nsys-replay"),
    ],
)
def test_why_there_is_no_gpu_is_told_apart(gone: tuple[str, ...], what: str, remedy: str) -> None:
    machine = without(made(said=Driver(error="Driver/library version mismatch")), *gone)
    [result] = gpu.driver(probed(machine))
    assert result.status == "problem"
    assert what in result.what
    assert "Driver/library version mismatch" in result.evidence
    assert remedy in result.remedy


def test_a_driver_without_a_gpu_is_a_problem() -> None:
    [result] = gpu.driver(probed(made(said=replace(DRIVER, gpus=()))))
    assert (result.status, result.what) == ("problem", "the driver sees no GPU")


def test_a_missing_libcuda_is_a_problem_of_its_own() -> None:
    machine = made(missing={"libcuda.so.1": "cannot open"})
    one, other = gpu.driver(probed(machine))
    assert (one.status, other.status) == ("ok", "problem")
    assert other.evidence == "cannot open"
    assert "NVIDIA_DRIVER_CAPABILITIES" in other.remedy


@pytest.mark.parametrize(
    ("cuda", "status"),
    [((12, 4), "ok"), ((13, 0), "ok"), ((13, 1), "warning"), ((14, 0), "problem")],
)
def test_the_libraries_of_nsys_tell_which_drivers_it_knows(
    cuda: tuple[int, int], status: str
) -> None:
    machine = made(said=replace(DRIVER, cuda=cuda))
    [result] = gpu.nsys_against_driver(probed(machine))
    assert result.status == status
    if status != "ok":
        assert "older than the driver" in result.what
        assert f"knows CUDA up to 13.0; driver 580.95.05 has CUDA {cuda[0]}." in result.evidence
        assert result.remedy == "install an nsys that is at least as new as the driver"


@pytest.mark.parametrize(
    ("version", "newest"),
    [
        ((2020, 1, 0), (11, 8)),
        ((2022, 4, 2), (11, 8)),
        ((2023, 4, 4), (12, 4)),
        ((2024, 4, 1), (12, 5)),
        ((2025, 3, 1), (13, 0)),
        ((2025, 5, 1), None),
    ],
)
def test_without_libraries_to_look_at_the_version_tells(
    version: tuple[int, int, int], newest: tuple[int, int] | None
) -> None:
    machine = without(HEALTHY, *CUPTI)
    assert gpu.newest_cuda(probed(machine, version)) == newest
    script = made(machine, files={f"{TARGET}/nsys": "#!/bin/sh\n"})
    assert gpu.newest_cuda(probed(script, version)) == newest
    assert len(gpu.nsys_against_driver(probed(machine, version))) == 1


def test_an_old_nsys_under_a_new_driver_is_told_of_the_newer_one() -> None:
    old = NsysTool(Path("/usr/bin/nsys"), (2022, 4, 2))
    machine = made(nsys={"/usr/bin/nsys": old, str(NSYS.path): NSYS}, used="/usr/bin/nsys")
    [result] = gpu.nsys_against_driver(probed(machine))
    assert result.status == "problem"
    assert "lack most CUDA events" in result.what
    assert result.remedy.endswith(f"--nsys-executable={NSYS.path}")


def test_there_is_nothing_to_compare_without_driver_or_nsys() -> None:
    assert gpu.nsys_against_driver(probed(made(said=Driver(error="none")))) == []
    assert gpu.nsys_against_driver(probed(made(used=None))) == []


def test_mig_is_told_and_without_instances_a_problem() -> None:
    assert gpu.mig(probed(HEALTHY)) == []
    [result] = gpu.mig(probed(made(said=replace(DRIVER, gpus=(SPLIT,)))))
    assert result.status == "ok"
    assert "2 instances" in result.what
    assert result.evidence == "MIG-aa\nMIG-bb"
    empty = replace(SPLIT, mig=())
    [result] = gpu.mig(probed(made(said=replace(DRIVER, gpus=(H200, empty)))))
    assert result.status == "problem"
    assert "GPU 1" in result.what
    assert "-i 1 -mig 0" in result.remedy


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("0", "ok"),
        ("0,1", "ok"),
        ("GPU-5e1f", "ok"),
        ("GPU-5e", "ok"),  # CUDA takes a unique beginning
        ("", "problem"),
        ("-1", "problem"),
        ("NoDevFiles", "problem"),
        ("7,0", "problem"),
        ("GPU-77", "problem"),
        ("0,7", "warning"),
    ],
)
def test_visible_devices(value: str, status: str) -> None:
    two = replace(DRIVER, gpus=(H200, Device("NVIDIA H200", "GPU-9999")))
    machine = made(said=two, environ={"CUDA_VISIBLE_DEVICES": value})
    [result] = gpu.visible_devices(probed(machine))
    assert result.status == status
    assert repr(value) in result.evidence


def test_visible_devices_may_be_instances() -> None:
    for value in ("MIG-aa", "1", "MIG-GPU-5e1f/1/0"):
        machine = made(said=replace(DRIVER, gpus=(SPLIT,)), environ={"CUDA_VISIBLE_DEVICES": value})
        assert statuses(gpu.visible_devices(probed(machine))) == ["ok"]


def test_unset_or_without_gpu_there_is_nothing_to_say_of_visible_devices() -> None:
    assert gpu.visible_devices(probed(HEALTHY)) == []
    machine = made(said=Driver(error="none"), environ={"CUDA_VISIBLE_DEVICES": "0"})
    assert gpu.visible_devices(probed(machine)) == []


@given(st.text(alphabet="0123456789,-GPUMI ", max_size=12), st.integers(1, 4))
def test_any_visible_devices_give_one_finding(value: str, count: int) -> None:
    gpus = tuple(Device("GPU", f"GPU-{number}") for number in range(count))
    machine = made(said=replace(DRIVER, gpus=gpus), environ={"CUDA_VISIBLE_DEVICES": value})
    [result] = gpu.visible_devices(probed(machine))
    first = value.split(",")[0].strip()
    assert (result.status == "problem") == (
        not (first.isdecimal() and int(first) < count)
        and not first.startswith("MIG-GPU-")
        and not any(len(first) >= 4 and g.uuid.startswith(first) for g in gpus)
    )


PERFMON = "CapEff:\t0000004000000000\n"


@pytest.mark.parametrize(
    ("status", "driver", "allowed"),
    [
        (USER, "580.95.05", False),
        ("CapEff:\t0000000000200000\n", "535.1", True),  # CAP_SYS_ADMIN
        (PERFMON, "565.57.01", True),
        (PERFMON, "550.54.14", False),
        (PERFMON, "unknown", False),
        ("", "580.95.05", False),
    ],
)
def test_who_may_sample_gpu_metrics(status: str, driver: str, allowed: bool) -> None:
    machine = made(said=replace(DRIVER, version=driver), files={"/proc/self/status": status})
    [result] = gpu.gpu_metrics(probed(machine))
    assert result.status == "ok"  # nothing else needs the right
    assert ("may be sampled" in result.what) == allowed
    [result] = gpu.gpu_metrics(probed(machine), wanted=True)
    assert result.status == ("ok" if allowed else "problem")
    assert ("SYS_ADMIN" in result.remedy) != allowed


def test_everybody_may_sample_where_the_driver_lets_them() -> None:
    files = {
        "/proc/driver/nvidia/params": "RmProfilingAdminOnly: 0\n",
        "/proc/self/status": USER,
    }
    [result] = gpu.gpu_metrics(probed(made(files=files)), wanted=True)
    assert result.status == "ok"


def test_gpu_metrics_without_parameters_or_gpu() -> None:
    machine = without(HEALTHY, "/proc/driver/nvidia/params")
    assert statuses(gpu.gpu_metrics(probed(machine))) == ["skipped"]
    assert gpu.gpu_metrics(probed(made(said=Driver(error="none")))) == []
