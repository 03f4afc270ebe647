"""CUPTI: found or not, and whether it fits the driver."""

from __future__ import annotations

import pytest

from pytest_nsys import errors
from pytest_nsys.doctor.explain import explain
from pytest_nsys.doctor.machine import Driver
from pytest_nsys.doctor.probes import cupti
from tests.support.fake_machine import H200, HEALTHY, FakeMachine, made, probed


@pytest.mark.parametrize(
    ("machine", "status", "what", "more"),
    [
        (HEALTHY, "ok", "libcupti of CUDA 13.0 is there: nsys_capture = cupti", "libcupti.so.13"),
        (made(used=None), "ok", "13.0 is there: without nsys, tests are measured with it", ""),
        (made(cupti=None), "ok", "libcupti was not found; only nsys_capture = cupti", "looked"),
        (made(cupti=("/lib/libcupti.so", 26)), "ok", "libcupti of CUDA 12.8 is there", ""),
        (made(cupti=("/lib/libcupti.so", 9)), "ok", "libcupti 9 is there", "not known"),
        (
            made(said=Driver(version="570.1", cuda=(12, 8), gpus=(H200,))),
            "warning",
            "libcupti of CUDA 13.0 is newer than the driver, which has CUDA 12.8",
            "libcupti.so.13",
        ),
    ],
)
def test_it_says_what_there_is(machine: FakeMachine, status: str, what: str, more: str) -> None:
    (result,) = cupti.cupti(probed(machine))
    assert result.status == status
    assert what in result.what
    assert more in result.evidence


def test_without_a_gpu_there_is_nothing_to_say() -> None:
    assert cupti.cupti(probed(made(said=Driver(error="no driver")))) == []


def test_errors_of_cupti_are_explained() -> None:
    old = made(said=Driver(version="570.1", cuda=(12, 8), gpus=(H200,)))
    found = explain(errors.CuptiUnfit("CUPTI cannot be used"), probed(old))
    assert "newer than the driver" in found[0].what
    taken = errors.CuptiTaken("another profiler uses CUPTI")
    assert explain(taken, probed(HEALTHY)) == []
