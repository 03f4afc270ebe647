"""libcupti: which is found, and what its errors mean."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.capture.cupti import library
from pytest_nsys.capture.cupti.library import Library, cuda_of, find_library, load
from pytest_nsys.errors import (
    CuptiError,
    CuptiForbidden,
    CuptiNotFound,
    CuptiTaken,
    CuptiUnfit,
)
from tests.simgpu.cupti import StandIn


class Distribution:
    def __init__(self, path: Path) -> None:
        self.name, self._path = path.name, path

    def locate(self) -> Path:
        return self._path


def test_the_library_is_that_of_the_process_or_else_of_a_package_or_the_toolkit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    maps = (
        b"7f0-7f1 r-xp 00000000 08:01 42   /venv/nvidia/cu13/lib/libcupti.so.13\n7f2-7f3 r 0 0 0\n"
    )
    monkeypatch.setattr(library, "read_bytes", lambda _: maps)
    assert find_library() == "/venv/nvidia/cu13/lib/libcupti.so.13"

    monkeypatch.setattr(library, "read_bytes", lambda _: b"7f0-7f1 r-xp 0 08:01 42 /lib/libc.so\n")
    there = {"nvidia-cuda-cupti-cu12": [tmp_path / "include", tmp_path / "libcupti.so.12"]}

    def files(name: str) -> list[Distribution]:
        if name not in there:
            raise library.metadata.PackageNotFoundError
        return [*map(Distribution, there[name])]

    monkeypatch.setattr(library.metadata, "files", files)
    assert find_library() == str(tmp_path / "libcupti.so.12")

    there.clear()
    (tmp_path / "libcupti.so").touch()
    monkeypatch.setattr(library, "_FOLDERS", (str(tmp_path / "none"), str(tmp_path)))
    assert find_library() == f"{tmp_path}/libcupti.so"

    monkeypatch.setattr(library, "_FOLDERS", (str(tmp_path / "none"),))
    with pytest.raises(CuptiNotFound, match="pip install nvidia-cuda-cupti"):
        find_library()


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "libcupti.so"
    broken.write_text("no library")
    with pytest.raises(CuptiNotFound, match=r"libcupti\.so: (invalid|file too short)"):
        load(str(broken))


@pytest.mark.parametrize(
    ("version", "cuda"),
    [(26, "12.8"), (28, "12.9"), (130001, "13.0"), (130202, "13.2"), (140000, "14.0"), (7, "")],
)
def test_versions_are_those_of_cuda(version: int, cuda: str) -> None:
    assert cuda_of(version) == cuda


@pytest.fixture
def standin(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path / "log")


@pytest.mark.parametrize(
    ("result", "driver", "kind", "said"),
    [
        (35, 13000, CuptiForbidden, "NVreg_RestrictProfilingToAdminUsers"),
        (40, 13000, CuptiForbidden, "as root"),
        (39, 13000, CuptiTaken, "another profiler"),
        (26, 13000, CuptiTaken, "HARDWARE_BUSY|26"),
        (43, 13000, CuptiUnfit, "MIG instances"),
        (45, 13000, CuptiUnfit, "WSL"),
        (999, 0, CuptiUnfit, "no NVIDIA driver"),
        (15, 12080, CuptiUnfit, "(?s)too old for CUPTI 13.0.*CUDA 12.8.*nvidia-cuda-cupti-cu12"),
        (999, 13000, CuptiUnfit, "cannot be used"),
        (8, 13000, CuptiError, r"cuptiActivityEnable: CUPTI_ERROR_OUT_OF_MEMORY \(8\)"),
    ],
)
def test_an_error_says_what_it_means_and_what_to_do(
    standin: StandIn, result: int, driver: int, kind: type[CuptiError], said: str
) -> None:
    standin.failing = {"cuptiActivityEnable": result}
    with pytest.raises(kind, match=said) as failed:
        Library(standin, lambda: driver).enable(10)
    assert type(failed.value) is kind
    assert failed.value.remedy


def test_the_driver_is_asked_where_none_is_given(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Driver:
        def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
            version._obj.value = 12080
            return 0

    def missing(_: str) -> Any:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(library.own, "Library", lambda _: Driver())
    assert library.driver_version() == 12080
    monkeypatch.setattr(library.own, "Library", missing)
    assert library.driver_version() == 0
    standin.failing = {"cuptiActivityEnable": 999}
    with pytest.raises(CuptiUnfit, match="no NVIDIA driver"):
        Library(standin).enable(10)


def test_a_function_that_an_old_library_lacks_is_named() -> None:
    class Old:
        @staticmethod
        def cuptiGetVersion(version: Any) -> int:  # noqa: N802
            version._obj.value = 18
            return 0

    old = Library(Old())
    assert old.version_text == "API 18"
    with pytest.raises(CuptiUnfit, match="has no function cuptiActivityEnableRuntimeApi"):
        old.enable_call(2, 211, record=True)


def test_the_iterator_may_fail(standin: StandIn) -> None:
    standin.failing = {"cuptiActivityGetNextRecord": 21}
    with pytest.raises(CuptiError, match="cuptiActivityGetNextRecord"):
        Library(standin).record_after(ctypes.addressof(ctypes.c_uint64()), 8, 0)
