"""Waiting for the GPU, and giving its memory back, without ever starting it."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pytest_nsys.support.own import own
from pytest_nsys.worker.device import L2Flush, synchronize
from pytest_nsys.worker.release import ReleaseMemory

ERROR = 201


@dataclass
class FakeDriver:
    """``libcuda`` as far as it is used.

    Attributes:
        current: handle of the calling thread's context; 0 for none.
        primary: per device the handle of its primary context; 0 where it is not active.
        broken: functions that return an error.
        waited: contexts in the order in which they were waited for.
    """

    current: int = 0
    primary: list[int] = field(default_factory=list)
    broken: tuple[str, ...] = ()
    waited: list[int] = field(default_factory=list)
    stack: list[int] = field(default_factory=list)
    retained: dict[int, int] = field(default_factory=dict)
    l2: int = 60 << 20
    allocated: dict[int, int] = field(default_factory=dict)
    written: list[tuple[int, int]] = field(default_factory=list)

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("cu") and name != "current" and name in self.broken:
            return lambda *_: ERROR
        return super().__getattribute__(name)

    def cuCtxGetCurrent(self, context: Any) -> int:  # noqa: N802
        context._obj.value = self.stack[-1] if self.stack else self.current
        return 0

    def cuCtxSynchronize(self) -> int:  # noqa: N802
        self.waited.append(self.stack[-1] if self.stack else self.current)
        return 0

    def cuCtxGetDevice(self, device: Any) -> int:  # noqa: N802
        device._obj.value = 0
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        assert (attribute, device.value) == (38, 0)
        value._obj.value = self.l2
        return 0

    def cuMemAlloc_v2(self, address: Any, size: Any) -> int:  # noqa: N802
        address._obj.value = (1 << 40) + len(self.allocated)
        self.allocated[address._obj.value] = size.value
        return 0

    def cuMemFree_v2(self, address: Any) -> int:  # noqa: N802
        del self.allocated[address.value]
        return 0

    def cuMemsetD8_v2(self, address: Any, value: Any, size: Any) -> int:  # noqa: N802
        assert self.allocated[address.value] == size.value
        self.written.append((self.stack[-1] if self.stack else self.current, size.value))
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.primary)
        return 0

    def cuDevicePrimaryCtxGetState(self, device: int, flags: Any, active: Any) -> int:  # noqa: N802
        active._obj.value = int(bool(self.primary[device]))
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: int) -> int:  # noqa: N802
        assert self.primary[device], "this would make a context"
        self.retained[device] = self.retained.get(device, 0) + 1
        context._obj.value = self.primary[device]
        return 0

    def cuDevicePrimaryCtxRelease_v2(self, device: int) -> int:  # noqa: N802
        self.retained[device] -= 1
        return 0

    def cuCtxPushCurrent_v2(self, context: Any) -> int:  # noqa: N802
        self.stack.append(context.value)
        return 0

    def cuCtxPopCurrent_v2(self, context: Any) -> int:  # noqa: N802
        context._obj.value = self.stack.pop()
        return 0


def test_without_a_driver_there_is_nothing_to_wait_for() -> None:
    assert synchronize(lambda: None) == 0


def test_this_process_has_loaded_no_driver() -> None:
    assert synchronize() == 0
    assert "libcuda" not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize(
    ("current", "primary", "waited"),
    [
        (0, [], []),
        (0, [0, 0], []),
        (7, [], [7]),
        (7, [7], [7]),
        (7, [0, 8], [7, 8]),
        (0, [7, 8], [7, 8]),
        (9, [7, 0, 8], [9, 7, 8]),
    ],
    ids=[
        "no device",
        "no context",
        "a context of its own",
        "the primary one is current",
        "another one on the second device",
        "primary ones of another thread",
        "all kinds",
    ],
)
def test_every_context_is_waited_for_once(
    current: int, primary: list[int], waited: list[int]
) -> None:
    driver = FakeDriver(current, primary)
    assert synchronize(lambda: driver) == len(waited)
    assert driver.waited == waited
    assert driver.stack == []
    assert not any(driver.retained.values())


@pytest.mark.parametrize(
    ("broken", "waited"),
    [
        ("cuCtxGetCurrent", [7, 8]),
        ("cuDeviceGetCount", [9]),
        ("cuDevicePrimaryCtxGetState", [9]),
        ("cuDevicePrimaryCtxRetain", [9]),
        ("cuCtxPushCurrent_v2", [9]),
    ],
)
def test_an_error_of_the_driver_leaves_nothing_behind(broken: str, waited: list[int]) -> None:
    driver = FakeDriver(9, [7, 8], broken=(broken,))
    assert synchronize(lambda: driver) == len(waited)
    assert driver.waited == waited
    assert driver.stack == []
    assert not any(driver.retained.values())


@dataclass
class FakeFrameworks:
    """``torch``, ``cupy``, ``jax`` as far as they are used: what they hold, what they were asked.

    Attributes:
        torch_bytes: what tensors hold, per device.
        cupy_bytes: what arrays hold.
        jax_bytes: what arrays hold, per array.
        initialized: whether torch and JAX have begun to use the GPU.
        calls: caches that were emptied, and collections of garbage.
    """

    torch_bytes: list[int] = field(default_factory=lambda: [0, 0])
    cupy_bytes: int = 0
    jax_bytes: list[int] = field(default_factory=list)
    initialized: bool = True
    calls: list[str] = field(default_factory=list)

    def torch(self) -> ModuleType:
        """The module ``torch``."""
        module: Any = ModuleType("torch")
        clear = functools.partial(self.calls.append, "cublas")
        module._C = SimpleNamespace(_cuda_clearCublasWorkspaces=clear)
        module.cuda = SimpleNamespace(
            is_initialized=lambda: self.initialized,
            device_count=lambda: len(self.torch_bytes),
            memory_allocated=lambda device: self.torch_bytes[device],
            empty_cache=lambda: self.calls.append("torch"),
        )
        return module  # type: ignore[no-any-return]

    def cupy(self) -> ModuleType:
        """The module ``cupy``."""
        module: Any = ModuleType("cupy")

        def pool(name: str) -> Any:
            return lambda: SimpleNamespace(
                used_bytes=lambda: self.cupy_bytes,
                free_all_blocks=lambda: self.calls.append(name),
            )

        module.get_default_memory_pool = pool("cupy")
        module.get_default_pinned_memory_pool = pool("cupy pinned")
        return module  # type: ignore[no-any-return]

    def jax(self) -> dict[str, ModuleType]:
        """The modules ``jax`` and ``jax._src.xla_bridge``."""
        module: Any = ModuleType("jax")
        bridge: Any = ModuleType("jax._src.xla_bridge")

        def live_arrays() -> list[SimpleNamespace]:
            assert self.initialized, "asking for arrays starts the GPU"
            return [SimpleNamespace(nbytes=size) for size in self.jax_bytes]

        module.live_arrays = live_arrays
        bridge.backends_are_initialized = lambda: self.initialized
        return {"jax": module, "jax._src.xla_bridge": bridge}


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """``sys.modules`` without frameworks."""
    for name in ("torch", "cupy", "jax", "jax._src.xla_bridge"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return monkeypatch


def test_frameworks_that_are_not_imported_stay_so(modules: pytest.MonkeyPatch) -> None:
    ReleaseMemory().pytest_nsys_release_memory("rounds")
    assert not {"torch", "cupy", "jax"} & set(sys.modules)


def test_caches_are_emptied(modules: pytest.MonkeyPatch) -> None:
    fake = FakeFrameworks()
    modules.setitem(sys.modules, "torch", fake.torch())
    modules.setitem(sys.modules, "cupy", fake.cupy())
    ReleaseMemory().pytest_nsys_release_memory("rounds")
    assert fake.calls == ["torch", "cupy", "cupy pinned"]


def test_workspaces_are_given_back_before_a_test_is_set_up(modules: pytest.MonkeyPatch) -> None:
    torch = FakeFrameworks().torch()
    fake = FakeFrameworks()
    modules.setitem(sys.modules, "torch", fake.torch())
    ReleaseMemory().pytest_nsys_release_memory("setup")
    assert fake.calls == ["cublas", "torch"]
    del torch._C._cuda_clearCublasWorkspaces
    modules.setitem(sys.modules, "torch", torch)
    ReleaseMemory().pytest_nsys_release_memory("setup")


def test_garbage_is_collected_where_memory_in_use_has_changed(modules: pytest.MonkeyPatch) -> None:
    fake = FakeFrameworks()
    modules.setitem(sys.modules, "torch", fake.torch())
    modules.setitem(sys.modules, "cupy", fake.cupy())

    def collect() -> None:
        fake.calls.append("collect")
        fake.torch_bytes[1] //= 2

    modules.setattr(own, "collect_garbage", collect)
    release = ReleaseMemory()
    release.pytest_nsys_release_memory("rounds")
    assert "collect" not in fake.calls
    fake.torch_bytes[1] = 100
    release.pytest_nsys_release_memory("rounds")
    assert fake.calls.count("collect") == 1
    release.pytest_nsys_release_memory("rounds")
    assert fake.calls.count("collect") == 1
    fake.cupy_bytes = 7
    release.pytest_nsys_release_memory("rounds")
    assert fake.calls.count("collect") == 2
    fake.cupy_bytes, fake.torch_bytes[1] = 0, 50  # as after the first: nothing was left behind
    release.pytest_nsys_release_memory("rounds")
    assert fake.calls.count("collect") == 2


def test_what_earlier_tests_left_to_jax_dies_before_the_rounds(
    modules: pytest.MonkeyPatch,
) -> None:
    fake = FakeFrameworks(jax_bytes=[100, 28])
    for name, module in fake.jax().items():
        modules.setitem(sys.modules, name, module)

    def collect() -> None:
        fake.calls.append("collect")
        fake.jax_bytes.pop()

    modules.setattr(own, "collect_garbage", collect)
    release = ReleaseMemory()
    release.pytest_nsys_release_memory("rounds")
    assert (fake.calls, fake.jax_bytes) == (["collect"], [100])
    release.pytest_nsys_release_memory("rounds")
    assert fake.calls == ["collect"]


@pytest.mark.parametrize("bridge", [True, False])
def test_a_jax_that_has_used_no_device_is_not_started(
    modules: pytest.MonkeyPatch, bridge: bool
) -> None:
    fake = FakeFrameworks(initialized=False, jax_bytes=[1])
    for name, module in fake.jax().items():
        if bridge or name == "jax":
            modules.setitem(sys.modules, name, module)
    modules.setattr(own, "collect_garbage", lambda: fake.calls.append("collect"))
    ReleaseMemory().pytest_nsys_release_memory("rounds")
    assert fake.calls == []


def test_a_torch_that_has_not_used_the_gpu_is_left_alone(modules: pytest.MonkeyPatch) -> None:
    fake = FakeFrameworks(initialized=False)
    modules.setitem(sys.modules, "torch", fake.torch())
    ReleaseMemory().pytest_nsys_release_memory("rounds")
    assert fake.calls == []


def test_modules_of_the_same_name_are_left_alone(modules: pytest.MonkeyPatch) -> None:
    modules.setitem(sys.modules, "torch", ModuleType("torch"))
    modules.setitem(sys.modules, "cupy", ModuleType("cupy"))
    modules.setitem(sys.modules, "jax", ModuleType("jax"))
    ReleaseMemory().pytest_nsys_release_memory("rounds")


class TestL2Flush:
    def test_more_than_the_cache_is_written_in_every_context_in_use(self) -> None:
        driver = FakeDriver(current=7, primary=[8, 0, 9])
        flush = L2Flush(lambda: driver)
        flush.prepare()
        flush.prepare()
        assert flush.flush()
        assert driver.written == [(7, 120 << 20), (8, 120 << 20), (9, 120 << 20)]
        assert driver.waited == [7, 8, 9]
        flush.release()
        assert driver.allocated == {}
        assert not any(driver.retained.values())
        assert not driver.stack
        assert not flush.flush()

    def test_a_context_that_came_later_was_not_flushed(self) -> None:
        driver = FakeDriver(primary=[8, 0])
        flush = L2Flush(lambda: driver)
        flush.prepare()
        driver.primary[1] = 9
        assert not flush.flush()
        driver.primary[:] = [0, 9]
        flush.release()
        flush.prepare()
        assert flush.flush()

    @pytest.mark.parametrize(
        "broken", ["cuMemAlloc_v2", "cuMemsetD8_v2", "cuCtxGetDevice", "cuDeviceGetAttribute"]
    )
    def test_what_the_driver_refuses_leaves_it_warm(self, broken: str) -> None:
        driver = FakeDriver(current=7, broken=(broken,))
        flush = L2Flush(lambda: driver)
        flush.prepare()
        assert not flush.flush()
        flush.release()

    def test_without_cuda_there_is_nothing_to_flush(self) -> None:
        for driver in (None, FakeDriver()):
            flush = L2Flush(lambda driver=driver: driver)  # type: ignore[misc]
            flush.prepare()
            assert not flush.flush()
            flush.release()
