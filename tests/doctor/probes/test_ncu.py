"""Nsight Compute: found or not, and what it may."""

from __future__ import annotations

import pytest

from pytest_nsys.doctor.machine import Driver
from pytest_nsys.doctor.probes import ncu
from tests.support.fake_machine import HEALTHY, USER, FakeMachine, made, probed

OPEN = "RmProfilingAdminOnly: 0\n"


@pytest.mark.parametrize(
    ("machine", "what", "remedy"),
    [
        (HEALTHY, "ncu 2025.3.1 is there, and this user may read counters", ""),
        (made(files={"/proc/self/status": USER}), "*may not read*only --nsys-ncu*", "run as root*"),
        (
            made(files={"/proc/self/status": USER, "/proc/driver/nvidia/params": OPEN}),
            "*may read counters",
            "",
        ),
        (made(files={"/proc/driver/nvidia/params": None}), "*cannot be told", ""),
        (made(ncu=None), "ncu was not found; only --nsys-ncu needs it", "install it"),
    ],
)
def test_it_is_never_a_problem_and_says_what_is_missing(
    machine: FakeMachine, what: str, remedy: str
) -> None:
    (result,) = ncu.ncu(probed(machine))
    assert result.status == "ok"
    for text, pattern in ((result.what, what), (result.remedy, remedy)):
        start, star, end = pattern.partition("*")
        assert text.startswith(start)
        assert star or text == pattern
        assert all(part in text for part in end.split("*"))


def test_without_a_gpu_there_is_nothing_to_say() -> None:
    assert ncu.ncu(probed(made(said=Driver(error="none")))) == []
