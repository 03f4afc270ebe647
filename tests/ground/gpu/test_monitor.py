"""Watching GPUs through NVML: what is read, what is left unknown, and how often it is asked."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from pytest_nsys.gpu.devices import list_gpus, visible_gpus
from pytest_nsys.gpu.monitor import Monitor
from pytest_nsys.gpu.nvml import visible_gpu_uuids
from pytest_nsys.gpu.state import GpuState, RoundState
from pytest_nsys.process.guard import MARK
from pytest_nsys.worker.events import EventLog
from pytest_nsys.worker.job import Job
from pytest_nsys.worker.session import WorkerSession
from tests.support.fake_nvml import NO_PERMISSION, NOT_SUPPORTED, UNKNOWN, FakeGpu, FakeNvml

STRANGER = 2**22 + 1  # no process can have this number
PROCESSES = "nvmlDeviceGetComputeRunningProcesses"


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Watch:
    """A monitor of fake GPUs."""

    def __init__(self, nvml: FakeNvml, environ: Mapping[str, str], folder: str | None) -> None:
        self.nvml = nvml
        self.clock = Clock()
        self.told: list[str] = []
        self.monitor = Monitor(self.told.append, environ, self.clock, folder)

    def look(self) -> GpuState:
        """The state of the only GPU, a while later."""
        self.clock.now += 1.0
        (state,) = self.monitor.after()
        return state


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watch]:
    """Puts GPUs in the machine, and a monitor before them."""

    def put(*gpus: FakeGpu, environ: Mapping[str, str] = {}, folder: str | None = None) -> Watch:
        nvml = FakeNvml(*gpus)
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        return Watch(nvml, environ, folder)

    return put


def _digest(gpu: FakeGpu) -> str:
    return hashlib.sha256(gpu.uuid.encode()).hexdigest()[:12]


def test_everything_is_read_in_our_units(watch: Callable[..., Watch]) -> None:
    gpu = FakeGpu(reasons=0x4 | 0x40, fields={74: 7, 75: 8}, ecc_errors=2, instances=[])
    state = watch(gpu).look()
    assert gpu.uuid not in str(state), "a digest names no machine"
    assert state == GpuState(
        index=0,
        sm_clock_hz=1.98e9,
        memory_clock_hz=3.201e9,
        temperature_c=40,
        power_w=120,
        reasons=("sw_power_cap", "hw_thermal_slowdown"),
        slowed_ns={"sw_power_cap": 7, "thermal": 8},
        foreign_processes=0,
        ecc_errors=2,
        mig=False,
        digest=_digest(gpu),
    )


def test_nvml_is_started_once_and_only_when_it_is_needed(watch: Callable[..., Watch]) -> None:
    watched = watch(FakeGpu())
    assert not watched.nvml.calls
    watched.look(), watched.look()
    assert watched.nvml.calls["nvmlInit"] == 1
    assert watched.nvml.calls["nvmlShutdown"] == 0


@pytest.mark.parametrize(("error", "again"), [(NOT_SUPPORTED, 0), (NO_PERMISSION, 0), (UNKNOWN, 1)])
def test_what_the_driver_does_not_say_is_unknown_and_not_asked_for_ever(
    watch: Callable[..., Watch], error: int, again: int
) -> None:
    names = (
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetCurrentClocksThrottleReasons",
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetViolationStatus",
        "nvmlDeviceGetTotalEccErrors",
        PROCESSES,
    )
    gpu = FakeGpu(errors=dict.fromkeys(names, error))
    watched = watch(gpu)
    for _ in range(2):
        assert watched.look() == GpuState(0, mig=False, digest=_digest(gpu))
    calls = watched.nvml.calls
    assert calls["nvmlDeviceGetClockInfo"] == 2 + 2 * again
    assert calls["nvmlDeviceGetPowerUsage"] == calls[PROCESSES] == 1 + again
    assert calls["nvmlDeviceGetFieldValues"] == 1


def test_older_names_and_older_counters_serve(watch: Callable[..., Watch]) -> None:
    older = FakeGpu(
        reasons=0x20,
        fields={},
        violation_ns=9,
        errors={"nvmlDeviceGetCurrentClocksEventReasons": NOT_SUPPORTED},
    )
    watched = watch(older)
    for _ in range(2):
        state = watched.look()
        assert state.reasons == ("sw_thermal_slowdown",)
        assert state.slowed_ns == {"thermal": 9}
    assert watched.nvml.calls["nvmlDeviceGetFieldValues"] == 1


def test_an_old_pynvml_that_lacks_functions_will_do(
    watch: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetFieldValues"):
        monkeypatch.delattr(FakeNvml, name)
    state = watch(FakeGpu(reasons=0x8, violation_ns=3)).look()
    assert state.reasons == ("hw_slowdown",)
    assert state.slowed_ns == {"thermal": 3}


def test_the_state_after_a_round_is_that_before_the_next(watch: Callable[..., Watch]) -> None:
    gpu = FakeGpu()
    watched = watch(gpu)
    first = watched.monitor.after()
    gpu.temperature = 50
    assert watched.monitor.before() is first
    watched.clock.now += 0.2
    (later,) = watched.monitor.before()
    assert later.temperature_c == 50


def test_a_disturbed_state_is_not_that_before_the_next(watch: Callable[..., Watch]) -> None:
    gpu = FakeGpu(reasons=0x40)
    watched = watch(gpu)
    watched.monitor.after()
    gpu.reasons = 0
    (state,) = watched.monitor.before()
    assert state.reasons == ()


# Processes


@pytest.fixture
def sleeper() -> Iterator[Callable[..., int]]:
    """Starts processes that do nothing; returns their numbers."""
    started = []

    def start(*command: str, **environment: str) -> int:
        code = "import sys, time; print(flush=True); time.sleep(60)"
        process = subprocess.Popen(
            command or (sys.executable, "-S", "-c", code),
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        return int(line) if line.strip() else process.pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_processes_of_others_are_counted(watch: Callable[..., Watch]) -> None:
    gpu = FakeGpu(pids=[os.getpid(), STRANGER, STRANGER + 1])
    watched = watch(gpu)
    assert watched.look().foreign_processes == 2
    gpu.pids.pop()
    assert watched.look().foreign_processes == 1
    gpu.pids.pop()
    assert watched.look().foreign_processes == 0


def test_without_our_own_process_in_the_list_nothing_is_known(watch: Callable[..., Watch]) -> None:
    # A container without the machine's process numbers, or a worker that does not use this GPU.
    assert watch(FakeGpu(pids=[STRANGER])).look().foreign_processes is None
    assert watch(FakeGpu(pids=[])).look().foreign_processes is None


def test_what_the_worker_starts_is_its_own(
    watch: Callable[..., Watch], sleeper: Callable[..., int]
) -> None:
    child = sleeper()
    assert watch(FakeGpu(pids=[child])).look().foreign_processes == 0


def test_a_daemon_of_the_worker_is_its_own(
    watch: Callable[..., Watch], sleeper: Callable[..., int]
) -> None:
    code = (
        "import os, subprocess, sys; p = subprocess.Popen([sys.executable, '-S', '-c',"
        " 'import time; time.sleep(60)'], stdout=subprocess.DEVNULL, start_new_session=True);"
        " print(p.pid)"
    )
    daemon = sleeper(sys.executable, "-S", "-c", code, **{MARK: "/run/a"})
    while daemon in {child.pid for child in psutil.Process().children(recursive=True)}:
        time.sleep(0.01)
    while MARK not in psutil.Process(daemon).environ():  # it is there before its environment is
        time.sleep(0.01)
    try:
        watched = watch(FakeGpu(pids=[os.getpid(), daemon]))
        assert watched.look().foreign_processes == 1
        for folder, others in (("/run/b", 1), ("/run", 0), ("/run/a", 0)):
            watched = watch(FakeGpu(pids=[os.getpid(), daemon]), folder=folder)
            assert watched.look().foreign_processes == others
    finally:
        os.kill(daemon, 9)


@pytest.mark.parametrize("folder", ["/run/a", ""])
def test_the_worker_tells_its_monitor_what_its_processes_carry(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setenv(MARK, folder)
    monkeypatch.setattr(
        "pytest_nsys.worker.rounds.Monitor", lambda tell, folder: made.append(folder)
    )
    WorkerSession(Job((), (), (), {}, ""), EventLog(str(tmp_path / "events.jsonl")))
    assert made == [folder or None]


def test_those_who_wait_for_the_worker_are_no_others(watch: Callable[..., Watch]) -> None:
    assert watch(FakeGpu(pids=[os.getpid(), os.getppid()])).look().foreign_processes == 0
    assert watch(FakeGpu(pids=[os.getppid()])).look().foreign_processes is None


def test_the_server_of_mps_is_no_other(
    watch: Callable[..., Watch], sleeper: Callable[..., int], tmp_path: Path
) -> None:
    # A daemon, and so no descendant.
    server = tmp_path / "nvidia-cuda-mps-server"
    server.symlink_to("/bin/sleep")
    code = (
        "import subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL);"
        " print(p.pid)"
    )
    pid = sleeper(sys.executable, "-S", "-c", code, str(server), "60")
    while pid in {child.pid for child in psutil.Process().children(recursive=True)}:
        time.sleep(0.01)
    try:
        assert watch(FakeGpu(pids=[os.getpid(), pid])).look().foreign_processes == 0
    finally:
        os.kill(pid, 9)


def test_once_it_is_known_which_gpus_are_used_only_those_are_read(
    watch: Callable[..., Watch],
) -> None:
    idle, used = FakeGpu("GPU-a", pids=[STRANGER], reasons=0x40), FakeGpu("GPU-b", pids=[])
    watched = watch(idle, used)
    before = watched.monitor.after()
    assert [gpu.index for gpu in before] == [0, 1]
    used.pids.append(os.getpid())
    watched.clock.now += 1
    after = watched.monitor.after()
    assert [gpu.index for gpu in after] == [1]
    # The neighbour is hot, and somebody works on it: nothing to us.
    assert RoundState(before, after).disturbances == ()


def test_processes_are_asked_for_one_hundredth_of_the_time(
    watch: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch(FakeGpu())
    answer = watched.nvml.nvmlDeviceGetComputeRunningProcesses

    def slow(gpu: FakeGpu) -> object:
        watched.clock.now += 0.02
        return answer(gpu)

    monkeypatch.setattr(watched.nvml, PROCESSES, slow)
    for _ in range(600):
        watched.clock.now += 0.01
        watched.monitor.after()
    assert watched.nvml.calls[PROCESSES] == 3


# What cannot be known


def test_without_nvml_it_says_so_once(watch: Callable[..., Watch]) -> None:
    watched = watch(FakeGpu())
    watched.nvml.init_error = OSError("no library")
    assert watched.monitor.before() == watched.monitor.after() == ()
    assert watched.told == ["NVML: no library"]
    assert watched.nvml.calls["nvmlInit"] == 1


def test_without_pynvml_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    told: list[str] = []
    assert Monitor(told.append).before() == ()
    assert "pynvml" in told[0]


@pytest.mark.parametrize(
    ("gpus", "reason"),
    [
        ([], "NVML sees no GPU"),
        ([FakeGpu()], "CUDA_VISIBLE_DEVICES='' hides every GPU"),
    ],
)
def test_without_gpus_it_says_so_once(
    watch: Callable[..., Watch], gpus: list[FakeGpu], reason: str
) -> None:
    watched = watch(*gpus, environ={"CUDA_VISIBLE_DEVICES": ""})
    assert watched.monitor.before() == watched.monitor.after() == ()
    assert watched.told == [reason]


def test_a_driver_that_fails_later_leaves_the_rest_unknown(
    watch: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch(FakeGpu())
    watched.look()

    def fail(gpu: FakeGpu) -> object:
        raise ValueError("nonsense")

    monkeypatch.setattr(watched.nvml, "nvmlDeviceGetPowerUsage", fail)
    assert watched.monitor.after() == watched.monitor.before() == ()
    assert watched.told == ["NVML: nonsense"]


def test_a_forked_child_asks_nothing(watch: Callable[..., Watch]) -> None:
    watched = watch(FakeGpu())
    watched.look()
    before = watched.nvml.calls.total()
    child = os.fork()
    if child == 0:
        asked = watched.monitor.after() != () or watched.nvml.calls.total() != before
        os._exit(int(asked))
    assert os.waitpid(child, 0)[1] == 0


# Which GPUs


def three() -> list[FakeGpu]:
    """Three GPUs of one model."""
    return [FakeGpu(uuid=uuid) for uuid in ("GPU-1a", "GPU-1b", "GPU-2c")]


def mixed() -> list[FakeGpu]:
    """Two GPUs of different models."""
    return [FakeGpu("GPU-1a"), FakeGpu("GPU-2b", name="NVIDIA T4")]


def split() -> list[FakeGpu]:
    """A GPU with two instances, one with a single one, and a whole one."""
    return [
        FakeGpu("GPU-1", instances=[FakeGpu("MIG-1a"), FakeGpu("MIG-1b")]),
        FakeGpu("GPU-2", instances=[FakeGpu("MIG-2a")]),
        FakeGpu("GPU-3", instances=[]),
    ]


@pytest.mark.parametrize(
    ("gpus", "environ", "expected"),
    [
        (three, {}, {0: "GPU-1a", 1: "GPU-1b", 2: "GPU-2c"}),
        (three, {"CUDA_VISIBLE_DEVICES": "2"}, {2: "GPU-2c"}),
        (three, {"CUDA_VISIBLE_DEVICES": "2, 0,2"}, {2: "GPU-2c", 0: "GPU-1a"}),
        (three, {"CUDA_VISIBLE_DEVICES": "1,9,0"}, {1: "GPU-1b"}),
        (three, {"CUDA_VISIBLE_DEVICES": "-1"}, {}),
        (three, {"CUDA_VISIBLE_DEVICES": ""}, {}),
        (three, {"CUDA_VISIBLE_DEVICES": "GPU-2,GPU-1b"}, {2: "GPU-2c", 1: "GPU-1b"}),
        (three, {"CUDA_VISIBLE_DEVICES": "GPU-1"}, {}),  # names two, and so none
        (three, {"CUDA_VISIBLE_DEVICES": "MIG-1"}, {}),
        (mixed, {"CUDA_VISIBLE_DEVICES": "0"}, {0: "GPU-1a", 1: "GPU-2b"}),
        (
            mixed,
            {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
            {0: "GPU-1a"},
        ),
        (split, {}, {0: None, 1: "MIG-2a", 2: "GPU-3"}),
        (split, {"CUDA_VISIBLE_DEVICES": "0"}, {0: None, 1: "MIG-2a", 2: "GPU-3"}),
        (split, {"CUDA_VISIBLE_DEVICES": "MIG-1b"}, {0: "MIG-1b"}),
        (split, {"CUDA_VISIBLE_DEVICES": "MIG-GPU-2/1/0"}, {1: None}),
    ],
)
def test_the_visible_gpus_are_those_that_cuda_shows(
    monkeypatch: pytest.MonkeyPatch,
    gpus: Callable[[], list[FakeGpu]],
    environ: Mapping[str, str],
    expected: dict[int, str | None],
) -> None:
    """By number, and whose processes are asked for."""
    nvml = FakeNvml(*gpus())
    found = visible_gpus(list_gpus(nvml), environ)
    assert {
        one.gpu.index: one.processes.uuid if one.processes else None for one in found
    } == expected
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    uuids = tuple(nvml.gpus[index].uuid for index in expected)
    assert visible_gpu_uuids(environ) == uuids


def test_the_processes_of_an_unknown_instance_are_unknown(watch: Callable[..., Watch]) -> None:
    watched = watch(*split()[:1])
    state = watched.look()
    assert (state.mig, state.foreign_processes) == (True, None)
    assert watched.nvml.calls[PROCESSES] == 0


def test_the_processes_of_an_instance_are_its_own(watch: Callable[..., Watch]) -> None:
    gpus = split()
    assert gpus[0].instances is not None
    gpus[0].pids.append(STRANGER)
    watched = watch(*gpus, environ={"CUDA_VISIBLE_DEVICES": "MIG-1b"})
    assert watched.look().foreign_processes == 0


def test_without_nvml_there_is_no_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert visible_gpu_uuids({}) == ()
    nvml = FakeNvml(FakeGpu(errors={"nvmlDeviceGetHandleByIndex": UNKNOWN}))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert visible_gpu_uuids({}) == ()
    assert nvml.calls["nvmlShutdown"] == 1
