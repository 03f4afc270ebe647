"""The real machine, as far as any machine is alike; and NVML made up."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_nsys.doctor import this_machine
from pytest_nsys.doctor.machine import Device, Driver, Machine
from pytest_nsys.doctor.this_machine import ThisMachine, _file_system
from tests.simgpu.standin import write_standin
from tests.support.fake_nvml import as_module

MACHINE: Machine = ThisMachine()


def test_it_knows_itself() -> None:
    assert MACHINE.environ is os.environ
    assert MACHINE.python == sys.version_info[:3]
    assert MACHINE.temporary == tempfile.gettempdir()
    assert MACHINE.package("pytest") == pytest.__version__
    assert MACHINE.package("no-such-package") is None
    mine = [process for process in MACHINE.processes() if process.pid == os.getpid()]
    assert "python" in mine[0].command[0]


def test_where_no_temporary_folder_can_be_used_the_first_choice_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setenv("TMPDIR", "/gone")
    assert MACHINE.temporary == "/gone"


def test_programs_on_the_path_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two", "nsys-is-a-folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "nsys-is-a-folder" / "nsys").mkdir()
    one, two = (write_standin(tmp_path / name) for name in ("one", "two"))
    folders = [str(tmp_path / "two"), "", str(tmp_path / "nsys-is-a-folder"), str(tmp_path)]
    monkeypatch.setenv("PATH", os.pathsep.join(folders))
    assert MACHINE.programs([f"{tmp_path}/*/nsys"]) == [str(two), str(one)]
    assert MACHINE.find_nsys(str(two)).version == (2025, 3, 1)


def test_files(tmp_path: Path) -> None:
    text, binary = tmp_path / "text", tmp_path / "lib.so.1"
    text.write_text("x" * 100_000)
    binary.write_bytes(b"\x7fELF\xff\xfe needs libdw.so.1\0")
    (tmp_path / "empty.so").touch()
    (tmp_path / "folder.so").mkdir()
    (tmp_path / "link").symlink_to(text)
    assert MACHINE.read(str(text)) == "x" * 65536
    assert MACHINE.read(str(binary)) is None
    assert MACHINE.read(str(tmp_path / "gone")) is None
    assert MACHINE.exists(str(text))
    assert not MACHINE.exists(str(tmp_path / "gone"))
    assert MACHINE.resolve(str(tmp_path / "link")) == str(text.resolve())
    assert MACHINE.glob(f"{tmp_path}/li*") == [str(binary), str(tmp_path / "link")]
    assert MACHINE.mentioning(str(tmp_path), b"libdw.so.1") == ["lib.so.1"]
    assert MACHINE.mentioning(str(tmp_path), b"libelf") == []
    assert MACHINE.writable(str(tmp_path))
    assert not MACHINE.writable(str(tmp_path / "gone"))


def test_a_pattern_that_cannot_be_looked_at_matches_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: Path, pattern: str) -> Any:
        raise PermissionError(pattern)

    monkeypatch.setattr(Path, "glob", refuse)
    assert MACHINE.glob("/root/*") == []


def test_libraries() -> None:
    assert MACHINE.load("libc.so.6") == ""
    assert "libnone.so.7" in MACHINE.load("libnone.so.7")


def test_commands_run_in_a_small_environment_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    ran = MACHINE.run(["sh", "-c", "echo ${SECRET:-none}; echo error >&2; exit 3"], 20)
    assert (ran.code, ran.output) == (3, "none\nerror\n")
    ran = MACHINE.run(["sh", "-c", "echo before; sleep 60"], 2)
    assert (ran.code, ran.output) == (None, "did not end within 2 s\nbefore")
    ran = MACHINE.run(["/no/such/program"], 1)
    assert ran.code is None
    assert "/no/such/program" in ran.output


def test_programs_leave_nothing_where_temporary_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ran = MACHINE.run(["sh", "-c", 'touch "$TMPDIR/left"; echo "$TMPDIR"'], 20)
    assert ran.output.startswith(f"{tmp_path}/")
    assert list(tmp_path.iterdir()) == []


def test_where_there_is_no_place_for_it_programs_take_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/none")
    monkeypatch.setenv("TMPDIR", "/mine")
    assert MACHINE.run(["sh", "-c", 'echo "$TMPDIR"'], 20).output == "/mine\n"


def test_without_time_nobody_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none, little = ThisMachine(0.0), ThisMachine(0.5)
    for ask in (
        lambda: none.run(["true"], 20),
        lambda: none.find_nsys(None),
        none.driver,
        lambda: little.run(["sleep", "100"], 20),
    ):
        with pytest.raises(TimeoutError):
            ask()


def test_a_driver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(this_machine, "_ask_nvml", never.wait)
    with pytest.raises(TimeoutError):
        ThisMachine(0.1).driver()
    monkeypatch.setattr(this_machine, "DEADLINE_S", 0.1)
    said = ThisMachine().driver()
    never.set()
    assert said == Driver(error="no answer within 0.1 s: the driver hangs")


def test_volumes() -> None:
    volume = MACHINE.volume("/tmp")
    assert volume is not None
    assert 0 <= volume.free <= volume.total
    assert not volume.read_only
    assert volume.kind != ""
    assert MACHINE.volume("/no/such/folder") is None
    proc = MACHINE.volume("/proc")
    assert proc is not None
    assert proc.kind == "proc"


def test_the_file_system_is_that_of_the_deepest_mount() -> None:
    mounts = (
        "/dev/sda / ext4 rw 0 0\nnonsense\n"
        "tmpfs /tmp tmpfs rw 0 0\n/dev/sdb /tmp ext4 rw 0 0\nx /my\\040disk xfs rw 0 0\n"
    )
    assert _file_system("/var/tmp", mounts) == "ext4"
    assert _file_system("/tmp", mounts) == "ext4"
    assert _file_system("/tmp2", mounts) == "ext4"
    assert _file_system("/my disk/x", mounts) == "xfs"
    assert _file_system("/tmp", "") == ""


def test_the_limit_of_file_sizes() -> None:
    assert (
        MACHINE.file_size_limit() is None
        or MACHINE.file_size_limit() == (resource.getrlimit(resource.RLIMIT_FSIZE)[0])
    )
    code = (
        "from pytest_nsys.doctor.this_machine import ThisMachine\n"
        "print(ThisMachine().file_size_limit())"
    )
    script = f"ulimit -f 1024; exec \"{sys.executable}\" -c '{code}'"
    root = Path(this_machine.__file__).parents[2]
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout == "1048576\n"


class NVMLError(Exception):
    """What NVML raises."""


def nvml(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> list[str]:
    """Put a made-up NVML in place; returns the list that its end is noted in."""
    ended: list[str] = []
    working = {
        "NVMLError": NVMLError,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: ended.append("end"),
        "nvmlSystemGetCudaDriverVersion_v2": lambda: 12080,
        "nvmlSystemGetDriverVersion": lambda: "570.1",
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda number: number,
        "nvmlDeviceGetName": lambda handle: f"GPU {handle}",
        "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}",
        "nvmlDeviceGetMigMode": lambda handle: (0, 0),
    }
    library = as_module(SimpleNamespace(**{**working, **functions}))
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return ended


def raises(error: Exception) -> Any:
    def function(*_: object) -> Any:
        raise error

    return function


def test_nvml_is_asked_once_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = nvml(monkeypatch)
    machine = ThisMachine()
    gpus = (Device("GPU 0", "GPU-0"), Device("GPU 1", "GPU-1"))
    assert machine.driver() == Driver("", "570.1", (12, 8), gpus)
    assert machine.driver() is machine.driver()
    assert ended == ["end"]


def test_nvml_that_does_not_start_or_breaks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, nvmlInit=raises(OSError("no library")))
    assert ThisMachine().driver() == Driver(error="no library")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "pynvml" in ThisMachine().driver().error
    ended = nvml(monkeypatch, nvmlDeviceGetCount=raises(NVMLError("lost")))
    assert ThisMachine().driver() == Driver(error="lost")
    assert ended == ["end"]


def test_mig_instances_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def instance(handle: int, number: int) -> int:
        if number == 1:
            raise NVMLError("not found")
        return 10 + number

    def mode(handle: int) -> tuple[int, int]:
        if handle == 1:
            raise NVMLError("not supported")
        return 1, 1

    nvml(
        monkeypatch,
        nvmlDeviceGetMigMode=mode,
        nvmlDeviceGetMaxMigDeviceCount=lambda handle: 3,
        nvmlDeviceGetMigDeviceHandleByIndex=instance,
    )
    first, second = ThisMachine().driver().gpus
    assert first.mig == ("GPU-10", "GPU-12")
    assert second.mig is None
