"""Watching the GPUs through NVML, around the rounds: clocks, temperature, power, other processes.

NVML is the driver's interface for management. Asking it starts no CUDA and adds no CUDA call; it
costs the host some microseconds a question, outside the windows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_nsys.gpu.devices import VisibleGpu, list_gpus, visible_gpus
from pytest_nsys.gpu.nvml import import_nvml
from pytest_nsys.gpu.state import GpuState, RoundState
from pytest_nsys.process.guard import ancestors, belongs, program
from pytest_nsys.support.own import own

# NVML's numbers, from nvml.h; pynvml has names for them, not all in every version.
_CLOCK_SM, _CLOCK_MEMORY = 1, 2
_TEMPERATURE_GPU = 0
_POLICY_THERMAL = 1
_UNCORRECTED, _VOLATILE = 1, 0
_REASONS = {
    0x001: "gpu_idle",
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clocks_setting",
    0x200: "board_limit",
    0x400: "reliability",
}
# Nanoseconds under each policy. There are finer ones, but their numbers differ between drivers:
# 251 to 253 in R565 to R580 are 269 to 271 later, and the old numbers mean something else then.
_COUNTERS = {74: "sw_power_cap", 75: "thermal"}
_VALUE_FIELDS = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal"}

_FRESH_S = 0.05
"""The state after a round is that before the next one, if that begins this soon."""

_PROCESS_SHARE = 100
"""Asking for processes waits until this many times what it took has passed: at most 1 %."""

Relation = Literal["own", "harmless", "foreign"]
"""own: this process, or started by it; harmless: what waits for it, or only lends its context."""

_SERVER = "nvidia-cuda-mps-server"
"""It holds a context for the processes that share a GPU through it, and does nothing by itself."""


@dataclass
class _Watched:
    """A visible GPU, and what was found out about it.

    Attributes:
        foreign: processes of others; None if unknown.
        max_sm_mhz: its highest clock, 0 if the driver does not say; None before it was asked.
        refused: the questions that its driver has no answer to, which are not asked again.
    """

    gpu: VisibleGpu
    foreign: int | None = None
    max_sm_mhz: float | None = None
    refused: set[str] = field(default_factory=set)


class Monitor:
    """Reads the state of the GPUs that this process can see; never raises.

    NVML is initialised at the first look, once, and left as it is: the process ends.

    Args:
        tell: told once, in words, why nothing can be known.
        environ: the environment that says which GPUs CUDA shows.
        clock: seconds that always grow.
        folder: that own processes are marked with, wherever they are in the tree (see
            `pytest_nsys.process.guard`); None for none.

    Attributes:
        constant: disturbances that repeating rounds does not get rid of.
    """

    def __init__(
        self,
        tell: Callable[[str], object],
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = own.clock,
        folder: str | None = None,
    ) -> None:
        self.constant: set[str] = set()
        self._tell = tell
        self._environ = environ
        self._clock = clock
        self._folder = folder
        self._owner = own.getpid()
        self._nvml = _nvml()  # now: tests put mocks in its place
        self._watched: list[_Watched] | None = None
        self._last: tuple[GpuState, ...] = ()
        self._last_at = float("-inf")
        self._ask_processes_at = float("-inf")
        self._relations: dict[int, Relation] = {}

    def start(self) -> None:
        """Initialise NVML, where that has not been done; this may take a while."""
        if self._watched is None:
            self._guarded(self._start)

    def before(self) -> tuple[GpuState, ...]:
        """The GPUs before a round: as they were after the last, if that was just now and well."""
        recent = self._clock() - self._last_at <= _FRESH_S
        if recent and not RoundState(self._last).disturbances:
            return self._last
        return self.after()

    def after(self) -> tuple[GpuState, ...]:
        """The GPUs now, by index; empty where nothing can be known.

        Once it is known which GPUs this process uses, only those.
        """
        self.start()
        return self._last if self._guarded(self._look) else ()

    def _guarded(self, ask: Callable[[], None]) -> bool:
        """Whether it could be asked: whatever happens, it is no reason to fail a test."""
        if own.getpid() != self._owner:  # a child that a test forked
            return False
        try:
            ask()
        except Exception as error:
            self._give_up(f"NVML: {error}")
            return False
        return True

    def _look(self) -> None:
        if not self._watched:
            return
        self._look_for_processes(self._watched)
        used = [one for one in self._watched if one.foreign is not None]
        states = map(self._state, used or self._watched)
        self._last = tuple(sorted(states, key=lambda state: state.index))
        self._last_at = self._clock()

    def _start(self) -> None:
        if isinstance(self._nvml, ImportError):
            raise self._nvml
        self._nvml.nvmlInit()
        gpus = list_gpus(self._nvml)
        visible = visible_gpus(gpus, self._environ)
        if not visible:
            hidden = f"CUDA_VISIBLE_DEVICES={self._environ.get('CUDA_VISIBLE_DEVICES')!r} hides"
            self._give_up(f"{hidden} every GPU" if gpus else "NVML sees no GPU")
        self._watched = [_Watched(gpu) for gpu in visible]

    def _give_up(self, why: str) -> None:
        self._watched, self._last, self._last_at = [], (), float("-inf")
        self._tell(why)

    def _state(self, one: _Watched) -> GpuState:
        gpu = one.gpu.gpu
        power_mw = self._ask(one, "nvmlDeviceGetPowerUsage")
        return GpuState(
            index=gpu.index,
            sm_clock_hz=_times(self._ask(one, "nvmlDeviceGetClockInfo", _CLOCK_SM), 1e6),
            memory_clock_hz=_times(self._ask(one, "nvmlDeviceGetClockInfo", _CLOCK_MEMORY), 1e6),
            temperature_c=_times(self._ask(one, "nvmlDeviceGetTemperature", _TEMPERATURE_GPU), 1),
            power_w=_times(power_mw, 1e-3),
            reasons=self._reasons(one),
            slowed_ns=self._slowed_ns(one),
            foreign_processes=one.foreign,
            ecc_errors=self._ask(one, "nvmlDeviceGetTotalEccErrors", _UNCORRECTED, _VOLATILE),
            mig=gpu.instances is not None,
            digest=gpu.digest,
            max_sm_clock_hz=self._max_sm_clock_hz(one),
        )

    def _max_sm_clock_hz(self, one: _Watched) -> float | None:
        if one.max_sm_mhz is None:
            answer = self._ask(one, "nvmlDeviceGetMaxClockInfo", _CLOCK_SM)
            one.max_sm_mhz = float(answer or 0)
        return _times(one.max_sm_mhz or None, 1e6)

    def _ask(self, one: _Watched, function: str, *arguments: int) -> Any:
        """The answer to a question about a GPU; None where there is none."""
        question = f"{function}{arguments}"
        ask = getattr(self._nvml, function, None)
        if ask is None or question in one.refused:
            return None
        try:
            return ask(one.gpu.gpu.handle, *arguments)
        except self._nvml.NVMLError as error:
            if self._is_final(error):
                one.refused.add(question)
            return None

    def _is_final(self, error: Exception) -> bool:
        """Whether the answer will be the same each time."""
        names = ("NOT_SUPPORTED", "NO_PERMISSION", "FUNCTION_NOT_FOUND", "INVALID_ARGUMENT")
        codes = [getattr(self._nvml, f"NVML_ERROR_{name}", None) for name in names]
        return getattr(error, "value", 0) in codes

    def _reasons(self, one: _Watched) -> tuple[str, ...] | None:
        # Renamed in R535; older drivers have only the older name, as older pynvml.
        bits = self._ask(one, "nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:
            bits = self._ask(one, "nvmlDeviceGetCurrentClocksThrottleReasons")
        if bits is None:
            return None
        return tuple(name for bit, name in _REASONS.items() if bits & bit)

    def _slowed_ns(self, one: _Watched) -> dict[str, int]:
        """The driver's counters of time under lowered clocks, ns, where it has any."""
        wanted = [number for number in _COUNTERS if f"field {number}" not in one.refused]
        found = {}
        if wanted:
            values = self._ask_fields(one, wanted)
            for number, value in zip(wanted, values, strict=False):
                name = _VALUE_FIELDS.get(value.valueType)
                if value.nvmlReturn == 0 and name is not None:
                    found[_COUNTERS[number]] = int(getattr(value.value, name))
                else:
                    one.refused.add(f"field {number}")
        if "thermal" not in found:
            status = self._ask(one, "nvmlDeviceGetViolationStatus", _POLICY_THERMAL)
            if status is not None:
                found["thermal"] = int(status.violationTime)
        return found

    def _ask_fields(self, one: _Watched, numbers: list[int]) -> Any:
        try:
            return self._nvml.nvmlDeviceGetFieldValues(one.gpu.gpu.handle, numbers)
        except (AttributeError, self._nvml.NVMLError):
            one.refused.update(f"field {number}" for number in numbers)
            return ()

    def _look_for_processes(self, watched: list[_Watched]) -> None:
        """Count the processes of others, not more often than its cost allows.

        It is the dearest question by far, and dearer the more GPUs and processes there are. Where
        others were there at the last look it is asked each time: they may have gone.
        """
        began = self._clock()
        if began < self._ask_processes_at and not any(one.foreign for one in watched):
            return
        listed = {id(one): self._processes(one) for one in watched}
        everybody = {pid for pids in listed.values() for pid in pids}
        # A number is another process's once its own has ended.
        self._relations = {
            pid: self._relations.get(pid) or _relation(pid, self._owner, self._folder)
            for pid in everybody
        }
        for one in watched:
            relations = [self._relations[pid] for pid in listed[id(one)]]
            one.foreign = relations.count("foreign") if "own" in relations else None
        ended = self._clock()
        self._ask_processes_at = ended + _PROCESS_SHARE * (ended - began)

    def _processes(self, one: _Watched) -> set[int]:
        handle = one.gpu.processes
        if handle is None or "processes" in one.refused:
            return set()
        try:
            listed = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except self._nvml.NVMLError as error:
            if self._is_final(error):
                one.refused.add("processes")
            return set()
        return {process.pid for process in listed}


def _nvml() -> Any:
    """The module, or the error that there is none."""
    try:
        return import_nvml()
    except ImportError as error:
        return error


def _relation(pid: int, ours: int, folder: str | None) -> Relation:
    """What a process is to ours."""
    if pid == ours:
        return "own"
    if ours in ancestors(pid):
        return "own"
    if pid in ancestors(ours) or program(pid) == _SERVER:
        return "harmless"
    # A daemon that a test started is no descendant any more.
    return "own" if folder is not None and belongs(pid, folder) else "foreign"


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
