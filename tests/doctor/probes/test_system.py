"""The doctor's probes of folders, limits and rights, on machines made up for them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.doctor.machine import Process, Volume
from pytest_nsys.doctor.probes import system
from tests.support.fake_machine import DISK, GIB, HEALTHY, USER, made, probed, statuses, without

MIB = 1 << 20


def tmp(volume: Volume, **changes: object) -> list[str]:
    return statuses(system.temporary_folder(probed(made(volumes={"/tmp": volume}, **changes))))


def test_a_disk_with_space_is_fine() -> None:
    [result] = system.temporary_folder(probed(HEALTHY))
    assert result.status == "ok"
    assert result.evidence == "/tmp: 100.0 GiB free of 500.0 GiB (ext4)"
    assert result.remedy == ""


def test_memory_is_said_to_be_memory() -> None:
    [result] = system.temporary_folder(probed(made(volumes={"/tmp": Volume("tmpfs", GIB * 9, 9)})))
    assert result.status == "ok"
    assert result.what.endswith("in memory")
    assert "TMPDIR" in result.remedy


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (Volume("tmpfs", MIB, MIB), ["problem"]),
        (Volume("ext4", 64 * MIB - 1, GIB), ["problem"]),
        (Volume("ext4", 64 * MIB, GIB), ["warning"]),
        (Volume("", 2 * GIB, 4 * GIB), ["ok"]),
        (replace(DISK, noexec=True), ["warning"]),
        (Volume("tmpfs", 0, MIB, noexec=True), ["problem", "warning"]),
        (replace(DISK, read_only=True), ["problem"]),
        (replace(DISK, read_only=True, free=0, noexec=True), ["problem"]),
    ],
)
def test_what_temporary_files_can_lack(volume: Volume, expected: list[str]) -> None:
    assert tmp(volume) == expected
    for result in system.temporary_folder(probed(made(volumes={"/tmp": volume}))):
        assert result.status == "ok" or "TMPDIR" in result.remedy


def test_a_folder_that_cannot_be_written_or_does_not_exist_is_a_problem() -> None:
    assert tmp(DISK, unwritable=frozenset({"/tmp"})) == ["problem"]
    [result] = system.temporary_folder(probed(made(temporary="/gone")))
    assert (result.status, result.evidence) == ("problem", "/gone")


def test_a_folder_that_was_asked_for_and_cannot_be_used_is_told() -> None:
    [result] = system.temporary_folder(probed(made(environ={"TMPDIR": "/gone"})))
    assert (result.status, result.evidence.splitlines()[0]) == ("warning", "TMPDIR=/gone")
    links = {"/link": "/tmp"}
    machine = made(environ={"TMPDIR": "/link"}, links=links)
    assert statuses(system.temporary_folder(probed(machine))) == ["ok"]


def test_home() -> None:
    assert statuses(system.home(probed(HEALTHY))) == ["ok"]
    for machine, evidence in (
        (made(unwritable=frozenset({"/home/me"})), "HOME=/home/me"),
        (replace(HEALTHY, environ={}), "HOME is not set"),
    ):
        [result] = system.home(probed(machine))
        assert (result.status, result.evidence) == ("warning", evidence)


@pytest.mark.parametrize(
    ("volume", "unwritable", "status"),
    [
        (Volume("tmpfs", 64 * MIB, 64 * MIB), False, "ok"),
        (Volume("tmpfs", MIB, MIB), False, "ok"),
        (Volume("tmpfs", 65536, 65536), False, "problem"),
        (Volume("tmpfs", GIB, GIB, read_only=True), False, "problem"),
        (Volume("tmpfs", GIB, GIB), True, "problem"),
    ],
)
def test_shared_memory(volume: Volume, unwritable: bool, status: str) -> None:
    hidden = frozenset({"/dev/shm"}) if unwritable else frozenset()
    [result] = system.shared_memory(probed(made(volumes={"/dev/shm": volume}, unwritable=hidden)))
    assert result.status == status
    assert ("--shm-size" in result.remedy) == (status == "problem")


def test_a_table_that_a_killed_nsys_has_left_is_named() -> None:
    table = "/dev/shm/NSys-2022.4.2-1"
    files = {table: None, "/dev/shm/sem.NSys-process_waiter-1": None}
    [result] = system.shared_memory(probed(made(files=files)))
    assert (result.status, result.evidence) == ("problem", table)
    assert result.remedy == "rm /dev/shm/NSys-*"
    # One that runs has it, too.
    used = made(files=files, running=[Process(1, ()), Process(2, ("/opt/bin/nsys", "profile"))])
    assert statuses(system.shared_memory(probed(used))) == ["ok"]


def test_no_shared_memory_at_all() -> None:
    machine = replace(HEALTHY, volumes={"/tmp": DISK})
    assert statuses(system.shared_memory(probed(machine))) == ["problem"]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(None, []), (GIB, []), (GIB - 1, ["warning"]), (64 * MIB - 1, ["problem"])],
)
def test_file_size(limit: int | None, expected: list[str]) -> None:
    results = system.file_size(probed(made(size_limit=limit)))
    assert statuses(results) == expected
    assert all(result.remedy == "ulimit -f unlimited" for result in results)


def test_containers_are_recognised_and_no_right_is_asked_for() -> None:
    assert system.container(probed(HEALTHY)) == []
    filtered = {"/proc/self/status": USER.replace("Seccomp:\t0", "Seccomp:\t2")}
    for machine, words in (
        (made(files={"/.dockerenv": ""}), "this is a container"),
        (made(environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1"}), "this is a container"),
        (made(files={"/proc/1/cgroup": "1:name=systemd:/docker/ab\n"}), "this is a container"),
        (made(files=filtered), "system calls are filtered"),
    ):
        [result] = system.container(probed(machine))
        assert result.status == "ok"
        assert words in result.what
        assert result.evidence == f"seccomp: {'on' if 'filtered' in words else 'off'}"


def test_the_paranoid_level_does_not_matter() -> None:
    [result] = system.sampling_rights(probed(HEALTHY))
    assert (result.status, result.evidence) == ("ok", "perf_event_paranoid: 4")
    machine = without(HEALTHY, "/proc/sys/kernel/perf_event_paranoid")
    assert system.sampling_rights(probed(machine)) == []


V2 = "0::/kubepods/pod1\n"
V1 = "12:cpu:/\n9:memory:/docker/ab\n8:hugetlb,pids:/docker/ab\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "folder", "most", "now"),
    [
        (V2, "", "memory.max", "memory.current"),
        (V2, "kubepods/pod1/", "memory.max", "memory.current"),
        (V2, "kubepods/", "memory.max", "memory.current"),
        (V1, "memory/", "memory.limit_in_bytes", "memory.usage_in_bytes"),
        (V1, "memory/docker/ab/", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ],
)
@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [
        ("max", "0", []),
        (str((1 << 63) - 4096), "0", []),
        (str(16 * GIB), str(GIB), ["ok"]),
        (str(16 * GIB), str(15 * GIB), ["warning"]),
        (str(GIB), "", ["warning"]),
        (str(GIB), str(2 * GIB), ["warning"]),
    ],
)
def test_memory_limits_of_both_versions_of_control_groups(
    groups: str, folder: str, most: str, now: str, limit: str, used: str, expected: list[str]
) -> None:
    files = {
        "/proc/self/cgroup": groups,
        f"/sys/fs/cgroup/{folder}{most}": limit,
        f"/sys/fs/cgroup/{folder}{now}": used,
    }
    assert statuses(system.memory_limit(probed(made(files=files)))) == expected


def test_the_tightest_limit_counts() -> None:
    files = {
        "/proc/self/cgroup": V2,
        "/sys/fs/cgroup/kubepods/memory.max": str(64 * GIB),
        "/sys/fs/cgroup/kubepods/memory.current": str(63 * GIB),
        "/sys/fs/cgroup/kubepods/pod1/memory.max": str(8 * GIB),
        "/sys/fs/cgroup/kubepods/pod1/memory.current": str(GIB),
    }
    [result] = system.memory_limit(probed(made(files=files)))
    assert (result.status, result.evidence) == ("warning", "1.0 GiB left of 64.0 GiB")


def test_limits_of_processes() -> None:
    files = {
        "/proc/self/cgroup": V1,
        "/sys/fs/cgroup/pids/docker/ab/pids.max": "100\n",
        "/sys/fs/cgroup/pids/docker/ab/pids.current": "30\n",
    }
    [result] = system.process_limit(probed(made(files=files)))
    assert (result.status, result.evidence) == ("warning", "70 left of 100")
    assert "--pids-limit" in result.remedy
    files["/sys/fs/cgroup/pids/docker/ab/pids.max"] = "4096"
    assert statuses(system.process_limit(probed(made(files=files)))) == ["ok"]
    assert system.process_limit(probed(HEALTHY)) == []
    assert system.process_limit(probed(without(HEALTHY, "/proc/self/cgroup"))) == []


@given(st.text(alphabet="0:/,abpidsmemory\n", max_size=40))
def test_no_list_of_control_groups_is_too_strange(text: str) -> None:
    machine = made(files={"/proc/self/cgroup": text, "/sys/fs/cgroup/pids.max": "x"})
    assert system.process_limit(probed(machine)) == []
    assert system.memory_limit(probed(machine)) == []
