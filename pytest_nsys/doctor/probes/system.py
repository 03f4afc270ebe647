"""Probes of the operating system: folders, shared memory, limits, rights."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from pytest_nsys.doctor.context import CheckResult, ProbeContext
from pytest_nsys.doctor.machine import Machine

_MIB = 1 << 20
_GIB = 1 << 30

_DISK_NEEDED, _DISK_WANTED = 64 * _MIB, 2 * _GIB
"""An empty capture takes some MiB of $TMPDIR; one of a million kernels some hundred."""

_SHARED_NEEDED = _MIB
"""Below this (at 64 KiB), the agent of nsys 2022 does not start."""

_TABLES = "/dev/shm/NSys-*"
"""What the nsys of 2022 that run on a machine share; all of them lock it now and then."""

_MEMORY_WANTED = 2 * _GIB
_PROCESSES_WANTED = 256
_FILE_WANTED = _GIB

_CONTAINER_FILES = ("/.dockerenv", "/run/.containerenv")
_CONTAINER_GROUPS = re.compile(r"docker|containerd|kubepods|libpod|lxc")

# Where a limit's file is, below the mount of its hierarchy: in version 2, and in version 1.
_CGROUP = "/sys/fs/cgroup"
_UNLIMITED = 1 << 60


def temporary_folder(context: ProbeContext) -> list[CheckResult]:
    """Whether the folder for temporary files can take a capture."""
    machine, check = context.machine, "temporary files"
    folder = machine.temporary
    choose = "set TMPDIR to a folder on a disk with some GiB free"
    volume = machine.volume(folder)
    if volume is None:
        what = "there is no folder for temporary files: no capture can be made"
        return [CheckResult(check, "problem", what, folder, choose)]
    state = f"{folder}: {_size(volume.free)} free of {_size(volume.total)}" + (
        f" ({volume.kind})" if volume.kind else ""
    )
    if volume.read_only or not machine.writable(folder):
        what = "nothing can be written where temporary files go: no capture can be made"
        return [CheckResult(check, "problem", what, state, choose)]
    found = []
    asked = machine.environ.get("TMPDIR")
    if asked and machine.resolve(asked) != machine.resolve(folder):
        what = "the folder that TMPDIR names cannot be used, so temporary files go elsewhere"
        found.append(CheckResult(check, "warning", what, f"TMPDIR={asked}\n{state}", choose))
    if volume.free < _DISK_NEEDED:
        what = "there is too little space for temporary files: nsys will crash"
        found.append(CheckResult(check, "problem", what, state, choose))
    elif volume.free < _DISK_WANTED:
        what = "there is little space for temporary files: a large capture will fail"
        found.append(CheckResult(check, "warning", what, state, choose))
    if volume.noexec:
        what = (
            "libraries cannot be loaded from the temporary folder (noexec): nsys does not mind, "
            "compilers such as Triton's may"
        )
        found.append(CheckResult(check, "warning", what, state, choose))
    if found:
        return found
    memory = volume.kind == "tmpfs"
    what = "there is space for temporary files" + (", in memory" if memory else "")
    return [CheckResult(check, "ok", what, state, choose if memory else "")]


def home(context: ProbeContext) -> list[CheckResult]:
    """Whether there is a home folder to write to; nsys works without one."""
    folder = context.machine.environ.get("HOME", "")
    if folder and context.machine.writable(folder):
        return [CheckResult("home folder", "ok", "the home folder can be written", folder)]
    return [
        CheckResult(
            "home folder",
            "warning",
            "there is no home folder that can be written: nsys does not mind, frameworks do",
            f"HOME={folder}" if folder else "HOME is not set",
            "set HOME to a folder that can be written",
        )
    ]


def shared_memory(context: ProbeContext) -> list[CheckResult]:
    """Whether nsys and its agent can talk through /dev/shm."""
    machine, check, folder = context.machine, "shared memory", "/dev/shm"
    volume = machine.volume(folder)
    if volume is None:
        what, state = "there is no /dev/shm: nsys will not start", ""
    else:
        state = f"{_size(volume.free)} free of {_size(volume.total)}"
        if volume.read_only or not machine.writable(folder):
            what = "nothing can be written to /dev/shm: nsys will not start"
        elif volume.free < _SHARED_NEEDED:
            what = "/dev/shm is full, or very small: nsys may not start"
        else:
            ok = CheckResult(check, "ok", "nsys and its agent can share memory", state)
            return _orphaned_tables(context) or [ok]
    remedy = "give the container shared memory: docker run --shm-size=1g (or --ipc=host)"
    return [CheckResult(check, "problem", what, state, remedy)]


def _orphaned_tables(context: ProbeContext) -> list[CheckResult]:
    """Tables of running nsys that nobody uses: one that was killed may have left its own locked."""
    tables = context.machine.glob(_TABLES)
    programs = (process.command[0] for process in context.machine.processes() if process.command)
    if not tables or any(PurePosixPath(program).name == "nsys" for program in programs):
        return []
    return [
        CheckResult(
            "shared memory",
            "problem",
            "an nsys that was killed has left its table in shared memory: while that is locked, "
            "no nsys starts",
            "\n".join(tables),
            f"rm {_TABLES}",
        )
    ]


def file_size(context: ProbeContext) -> list[CheckResult]:
    """Whether files may grow as large as captures do."""
    limit = context.machine.file_size_limit()
    if limit is None or limit >= _FILE_WANTED:
        return []
    return [
        CheckResult(
            "file size",
            "problem" if limit < _DISK_NEEDED else "warning",
            "files may not grow large enough for a capture",
            f"ulimit -f: {_size(limit)}",
            "ulimit -f unlimited",
        )
    ]


def container(context: ProbeContext) -> list[CheckResult]:
    """Whether this is a container, and what its sandbox keeps us from: nothing that we use."""
    machine = context.machine
    status = machine.read("/proc/self/status") or ""
    filtered = re.search(r"^Seccomp:\s*[12]", status, re.MULTILINE) is not None
    inside = (
        any(map(machine.exists, _CONTAINER_FILES))
        or "KUBERNETES_SERVICE_HOST" in machine.environ
        or _CONTAINER_GROUPS.search(machine.read("/proc/1/cgroup") or "") is not None
    )
    if not inside and not filtered:
        return []
    where = "this is a container" if inside else "system calls are filtered (seccomp)"
    what = f"{where}; tracing CUDA and NVTX needs no further rights in it"
    evidence = f"seccomp: {'on' if filtered else 'off'}"
    return [CheckResult("container", "ok", what, evidence)]


def sampling_rights(context: ProbeContext) -> list[CheckResult]:
    """What the kernel lets users sample: it is not needed, and often taken for the cause."""
    level = (context.machine.read("/proc/sys/kernel/perf_event_paranoid") or "").strip()
    if not level:
        return []
    what = "perf_event_paranoid does not matter: the CPU is not sampled"
    return [CheckResult("CPU sampling", "ok", what, f"perf_event_paranoid: {level}")]


def memory_limit(context: ProbeContext) -> list[CheckResult]:
    """Whether the container's memory is enough to import a capture."""
    limit, used = _limit(context.machine, "memory", "limit_in_bytes", "usage_in_bytes")
    if limit is None:
        return []
    left = max(limit - used, 0)
    state = f"{_size(left)} left of {_size(limit)}"
    if left >= _MEMORY_WANTED:
        return [CheckResult("memory limit", "ok", "the memory limit leaves enough", state)]
    what = "little is left of the memory limit: importing a large capture may be killed"
    return [
        CheckResult("memory limit", "warning", what, state, "raise the container's memory limit")
    ]


def process_limit(context: ProbeContext) -> list[CheckResult]:
    """Whether the container may have as many processes and threads as a capture needs."""
    limit, used = _limit(context.machine, "pids", "max", "current")
    if limit is None:
        return []
    left = max(limit - used, 0)
    state = f"{left} left of {limit}"
    if left >= _PROCESSES_WANTED:
        return [CheckResult("process limit", "ok", "the limit of processes leaves enough", state)]
    what = "few more processes and threads may be started: nsys or the tests may fail"
    return [
        CheckResult(
            "process limit", "warning", what, state, "raise it: docker run --pids-limit=4096"
        )
    ]


def _limit(machine: Machine, controller: str, most: str, now: str) -> tuple[int | None, int]:
    """The tightest limit of our control groups, and what is in use of it; None if there is none.

    Args:
        machine: the machine.
        controller: "memory" or "pids".
        most: the limit's file in version 1; in version 2 all are named "max" and "current".
        now: the usage's file in version 1.
    """
    found: list[tuple[int, int, int]] = []
    for line in (machine.read("/proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            base, names = _CGROUP, ("max", "current")
        elif controller in controllers.split(","):
            base, names = f"{_CGROUP}/{controller}", (most, now)
        else:
            continue
        # Inside a container the path may be the host's, and the mount be the container's own.
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) + 1):
            folder = "/".join([base, *parts[:depth]])
            limit, used = (_number(machine, f"{folder}/{controller}.{name}") for name in names)
            if limit is not None and limit < _UNLIMITED:
                found.append((limit - (used or 0), limit, used or 0))
    if not found:
        return None, 0
    _, limit, used = min(found)
    return limit, used


def _number(machine: Machine, path: str) -> int | None:
    text = (machine.read(path) or "").strip()
    return int(text) if text.isdecimal() else None


def _size(count: int) -> str:
    for unit, size in (("GiB", _GIB), ("MiB", _MIB)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1024:.0f} KiB"
