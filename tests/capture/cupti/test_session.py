"""CUPTI through a run: what it records around tests, and who else may have it."""

from __future__ import annotations

import ctypes
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pytest_nsys.capture.cupti import machine, session
from pytest_nsys.capture.cupti.activity import Activity
from pytest_nsys.capture.cupti.library import Library
from pytest_nsys.capture.cupti.session import CuptiSession, check_surroundings
from pytest_nsys.capture.cupti.windows import TimedWindows
from pytest_nsys.errors import CuptiError, CuptiTaken, CuptiUnread
from pytest_nsys.gpu.devices import Gpu, VisibleGpu
from pytest_nsys.trace import schema
from pytest_nsys.trace.tables import TraceGpu
from tests.simgpu.cupti import StandIn, record


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    log = tmp_path / "simgpu"
    log.write_text("")
    monkeypatch.setattr(machine, "gpus", lambda: (TraceGpu(0, "NVIDIA H200"),))
    monkeypatch.setattr(machine, "driver_text", lambda: "580.95.05")
    return StandIn(log)


def begun(standin: StandIn) -> CuptiSession:
    return CuptiSession(Activity(Library(standin)), standin.wait)


def allocates(standin: StandIn, operation: int = 1, address: int = 4096) -> None:
    block = {"memory": 3, "address": address, "bytes": 1024}
    standin._pending = [
        *standin._pending,
        record(49, operation=operation, start=time.perf_counter_ns(), **block),
    ]


def take_away(standin: StandIn) -> list[bytes]:
    """Another profiler registers its buffers; returns what it gets."""
    taken: list[bytes] = []
    memory = ctypes.create_string_buffer(2**16)

    def requested(buffer: Any, size: Any, most: Any) -> None:
        buffer[0], size[0], most[0] = ctypes.addressof(memory) + 8 & ~7, 2**15, 0

    def completed(context: Any, stream: int, buffer: int, size: int, valid: int) -> None:
        taken.append(ctypes.string_at(buffer, valid))

    standin.callbacks = (requested, completed)
    return taken


def test_memory_is_recorded_from_the_start_on_and_all_else_around_tests(standin: StandIn) -> None:
    one = begun(standin)
    assert standin.enabled == {49}
    allocates(standin)
    for number in (1, 2):
        one.begin_test()
        assert standin.enabled == {49, 10, 1, 22, 2}
        captured = one.end_test()
        assert standin.enabled == {49}
        assert not any(standin.calls.values())
        trace = captured.trace()
        assert (len(trace.memory), len(trace.calls)) == (1, 1), number
        assert "mem.*" not in captured.unknown
    one.end()
    one.end()
    assert not standin.enabled


def test_a_profiler_that_takes_the_records_in_a_test_is_told(standin: StandIn) -> None:
    one = begun(standin)
    one.begin_test()
    taken = take_away(standin)
    allocates(standin)
    with pytest.raises(CuptiTaken, match="took CUPTI's records while the test ran"):
        one.end_test()
    assert taken
    # The next test is measured again; of memory something is missing from now on.
    one.begin_test()
    captured = one.end_test()
    assert "torch.profiler" in captured.unknown["mem.*"]
    assert schema.MEMORY not in captured.tables


def test_a_profiler_between_tests_is_noticed(standin: StandIn) -> None:
    one = begun(standin)
    one.begin_test()
    one.end_test()
    take_away(standin)
    one.begin_test()
    assert "mem.*" in one.end_test().unknown


def test_where_cuda_is_not_in_use_there_is_nothing_to_wait_for(standin: StandIn) -> None:
    one = CuptiSession(Activity(Library(standin)), lambda: 0)
    one.begin_test()
    assert not one.end_test().trace().has_cuda_activity


def test_lost_records_are_no_measurement(standin: StandIn) -> None:
    one = begun(standin)
    one.begin_test()
    standin.to_drop = 12_345
    with pytest.raises(CuptiUnread, match="12,345 records"):
        one.end_test()
    assert standin.enabled == {49}


def test_at_the_end_nothing_is_recorded_whatever_cupti_says(standin: StandIn) -> None:
    one = begun(standin)
    standin.failing = {"cuptiActivityFlushAll": 999}
    one.end()
    with pytest.raises(CuptiError):
        begun(standin).begin_test()


@pytest.mark.parametrize(
    "environ",
    [
        {"NSYS_PROFILING_SESSION_ID": "42"},
        {"CUDA_INJECTION64_PATH": "/opt/nsys/libToolsInjection64.so"},
        {"LD_PRELOAD": "/opt/ncu/libTreeLauncherTargetInjection.so"},
    ],
)
def test_another_profiler_around_the_process_is_refused(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CuptiTaken, match="another profiler runs this process"):
        check_surroundings(environ)
    check_surroundings({"LD_PRELOAD": "/usr/lib/libjemalloc.so"})
    for name, value in environ.items():
        if name != "LD_PRELOAD":
            monkeypatch.setenv(name, value)
            with pytest.raises(CuptiTaken):
                CuptiSession.begin()


def test_windows_are_times_of_the_clock() -> None:
    clock = iter([10, 20, 20, 30, 40])
    windows = TimedWindows(lambda: next(clock))
    with windows.window("span", "t") as span:
        with windows.window("round", "t", round=0) as record:
            pass
        windows.write(record)
    windows.write(span)
    assert [one.times for one in windows.take()] == [(20, 21), (10, 30)]
    assert windows.take() == ()


def test_a_child_that_a_test_forks_has_no_windows() -> None:
    windows = TimedWindows(lambda: 1)
    windows._owner = -1
    with windows.window("round", "t", round=0) as record:
        pass
    windows.write(record)
    assert (record.index, windows.take()) == (-1, ())


class Driver:
    """libcuda of a process that uses CUDA."""

    attributes: ClassVar = {16: 132, 36: 3_201_000, 37: 6016, 75: 9, 76: 0}

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = 1
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802
        device._obj.value = number
        return 0

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:  # noqa: N802
        name.value = b"NVIDIA H200"
        return 0

    def cuDeviceGetAttribute(self, value: Any, which: int, device: Any) -> int:  # noqa: N802
        value._obj.value = self.attributes.get(which, 0)
        return 0 if which in self.attributes else 1


def test_gpus_are_those_that_cuda_shows() -> None:
    (gpu,) = machine.gpus(Driver)
    assert gpu == TraceGpu(0, "NVIDIA H200", 132, 2 * 3_201_000_000 * 6016 // 8, (9, 0))


def test_without_cuda_nvml_knows_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise OSError("no NVML")

    monkeypatch.setattr(machine, "nvml_session", broken)
    assert machine.gpus(lambda: None) == ()
    assert machine.driver_text() == ""
    assert machine.loaded_driver() is None or machine.gpus() == ()


def test_nvml_tells_the_names_and_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nvml:
        @staticmethod
        def nvmlSystemGetDriverVersion() -> bytes:  # noqa: N802
            return b"580.95.05"

    seen = [VisibleGpu(Gpu(0, "GPU-1", None, "NVIDIA H200"), None)]
    monkeypatch.setattr(machine, "nvml_session", lambda: nullcontext(Nvml))
    monkeypatch.setattr(machine, "list_gpus", lambda _: [])
    monkeypatch.setattr(machine, "visible_gpus", lambda *_: seen)
    assert machine.gpus(lambda: None) == (TraceGpu(0, "NVIDIA H200"),)
    assert machine.driver_text() == "580.95.05"


def test_sessions_are_kept_as_long_as_the_process(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[CuptiSession] = []
    monkeypatch.setattr(session, "_kept", kept)
    monkeypatch.setattr(session, "find_library", lambda: "libcupti.so")
    monkeypatch.setattr(session, "load", lambda _: standin)
    one = CuptiSession.begin()
    assert (kept, one.version) == ([one], "13.0")
    assert one.now() >= 0
    one.end()
