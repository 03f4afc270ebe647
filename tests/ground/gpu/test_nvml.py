"""Asking what may never answer."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import pytest

from pytest_nsys.gpu import nvml
from pytest_nsys.gpu.nvml import answer_within
from tests.support.fake_nvml import as_module


def test_an_answer_is_passed_on() -> None:
    assert answer_within(20.0, lambda: 7) == 7


@pytest.mark.parametrize("seconds", [-1.0, 0.05])
def test_who_does_not_answer_is_not_waited_for(seconds: float) -> None:
    never = threading.Event()
    assert answer_within(seconds, never.wait) is None
    never.set()


def test_a_driver_that_hangs_is_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(nvml, "_description", never.wait)
    assert nvml.describe_gpus(0.1) == "NVML: no answer within 0.1 s"
    never.set()


class NvmlError(Exception):
    """NVML's own error."""


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["NVIDIA H200", "NVIDIA L4"], "NVML: driver 580.1, NVIDIA H200, NVIDIA L4"),
        ([], "NVML: driver 580.1, no GPU"),
        (None, "NVML: GPU is lost"),
    ],
)
def test_the_gpus_are_evidence(
    names: list[str] | None, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name(handle: int) -> str:
        if names is None:
            raise NvmlError("GPU is lost")
        return names[handle]

    ended = []
    library = SimpleNamespace(
        NVMLError=NvmlError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: ended.append(True),
        nvmlDeviceGetCount=lambda: 1 if names is None else len(names),
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetName=name,
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}",
        nvmlDeviceGetMigMode=lambda handle: (0, 0),
        nvmlSystemGetDriverVersion=lambda: "580.1",
    )
    monkeypatch.setitem(sys.modules, "pynvml", as_module(library))
    assert nvml.describe_gpus() == line
    assert ended == [True]
