"""The stand-in nsys: its command lines, exit codes and ways to fail."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from tests.simgpu import standin
from tests.simgpu.machine import FLAGS, Export, Machine
from tests.support.harness import until

APP = """
import nvtx, simgpu
domain = nvtx.get_domain("tests")
for name in ("first", "second", "last"):
    domain.push_range(domain.get_event_attributes(name))
    simgpu.launch("kernel", 10)
    domain.pop_range()
"""


def test_says_its_version(tmp_path: Path) -> None:
    done = Machine(tmp_path, version="2024.1.2").run("--version")
    assert done.stdout.startswith("NVIDIA Nsight Systems version 2024.1.2.")


@pytest.mark.parametrize(
    ("app", "code"),
    [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)],
)
def test_exit_code_is_that_of_the_command(tmp_path: Path, app: str, code: int) -> None:
    machine = Machine(tmp_path)
    assert machine.profile(app).returncode == code
    assert machine.report.exists()


@pytest.mark.parametrize(
    ("number", "app", "code"),
    [
        (signal.SIGTERM, "import time; SLEEP", 143),
        (signal.SIGINT, "import signal, time; signal.signal(2, signal.SIG_DFL); SLEEP", 130),
        (signal.SIGTERM, "import signal, time; signal.signal(15, signal.SIG_IGN); SLEEP", 0),
    ],
)
def test_signals_reach_the_command(tmp_path: Path, number: int, app: str, code: int) -> None:
    machine = Machine(tmp_path)
    ready = tmp_path / "ready"
    app = app.replace("SLEEP", f"open({str(ready)!r}, 'w').close(); time.sleep(3)")
    command = ["profile", *FLAGS, "-o", str(tmp_path / "report"), sys.executable, "-c", app]
    with machine.start(*command) as process:
        until(ready.exists, "a file")
        process.send_signal(number)
        assert process.wait(timeout=20) == code
    assert machine.report.exists()


def test_an_existing_report_stays_unless_forced(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.report.write_text("old")
    flags = [flag for flag in FLAGS if "force" not in flag]
    done = machine.profile("pass", flags)
    assert (done.returncode, machine.report.read_text()) == (0, "old")
    assert "File exists" in done.stderr
    assert len(list(tmp_path.glob("nsys-report-*.nsys-rep"))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["profile", "--nosuch=1", "true"], "unrecognised option '--nosuch=1'"),
        (["profile", "--trace=nosuch", "true"], "Illegal --trace argument 'nosuch'"),
        (["profile", "-f", "-o", "x", "true"], "required argument for option '--force-overwrite'"),
        (["profile", "--trace=cuda"], "requires a target application"),
        (["profile", "no-such-program"], "Executable not found"),
        (["export", "--type=hdf", "x"], "Unsupported export type"),
        (["export", "no-such.nsys-rep"], "File not found"),
        (["nosuch"], "Unknown command"),
    ],
)
def test_refuses_what_nsys_refuses(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert standin.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_takes_options_in_each_form(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    flags = ["-t", "cuda,nvtx", "-snone", "--wait", "primary", "-f", "true"]
    assert "profiled" in machine.profile("print('profiled')", flags).stdout
    output = ["-o", str(tmp_path / "report.sqlite")]
    done = machine.run("export", "--quiet=true", "-tsqlite", str(machine.report), *output)
    assert done.returncode == 0


def test_exports_selected_tables(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.profile(APP)
    chosen = "NVTX_EVENTS,stringids,NOSUCH"
    assert machine.export(str(machine.report), "--tables", chosen) == 0
    tables = Export(tmp_path / "report.sqlite").tables()
    assert set(tables) == {"NVTX_EVENTS", "StringIds"}


def test_exports_parquet_into_a_folder_that_it_does_not_clean(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    machine = Machine(tmp_path)
    machine.profile(APP)
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "stale.parquet").touch()
    arguments = ["--type=parquetdir", "-o", str(folder), str(machine.report)]
    assert standin.main(["export", *arguments]) == 1
    assert standin.main(["export", "--force-overwrite=true", *arguments]) == 0
    assert (folder / "stale.parquet").exists()
    assert parquet.read_table(folder / "CUPTI_ACTIVITY_KIND_KERNEL.parquet").num_rows == 3


@pytest.mark.parametrize(
    ("fault", "code", "message", "left"),
    [
        ("usage_error", 1, "unrecognised option", ""),
        ("child_not_started", 1, "Executable not found", ""),
        ("no_report", 0, "", ""),
        ("qdstrm_only", 0, "", "report.qdstrm"),
        ("importer_error", 0, "Importer error status", "report.qdstrm"),
    ],
)
def test_captures_that_leave_no_report(
    tmp_path: Path, fault: str, code: int, message: str, left: str
) -> None:
    machine = Machine(tmp_path, [fault])
    done = machine.profile("pass")
    assert done.returncode == code
    assert message in done.stderr
    assert not machine.report.exists()
    assert [path.name for path in tmp_path.glob("report*")] == [left] * bool(left)


def test_captures_that_lack_something(tmp_path: Path) -> None:
    exports = {
        fault: Machine(tmp_path / fault, [fault]).exported(APP)
        for fault in ("no_nvtx", "no_gpu", "no_cuda_events", "drop_last_window", "diagnostic_error")
    }
    assert "NVTX_EVENTS" not in exports["no_nvtx"].tables()
    assert "TARGET_INFO_GPU" not in exports["no_gpu"].tables()
    assert "TARGET_INFO_GPU" in exports["no_cuda_events"].tables()
    for fault in ("no_gpu", "no_cuda_events"):
        assert not [name for name in exports[fault].tables() if "CUPTI_ACTIVITY" in name]
        warnings = exports[fault].rows("SELECT text FROM DIAGNOSTIC_EVENT WHERE severity = 2")
        assert warnings == [("No CUDA events collected. Does the process use CUDA?",)]
    ranges = "SELECT value FROM NVTX_EVENTS JOIN StringIds ON id = textId ORDER BY start"
    assert exports["drop_last_window"].rows(ranges) == [("first",), ("second",)]
    errors = exports["diagnostic_error"].rows("SELECT text FROM DIAGNOSTIC_EVENT WHERE severity=3")
    assert errors == [("Error when processing events",)]


@pytest.mark.parametrize("fault", ["slow_import", "hang_after_child"])
def test_slow_and_hanging_captures(tmp_path: Path, fault: str) -> None:
    machine = Machine(tmp_path, [fault])
    ended = tmp_path / "ended"
    output = ["-o", str(tmp_path / "report")]
    with machine.start("profile", *FLAGS, *output, "touch", str(ended)) as process:
        until(ended.exists, "a file")
        time.sleep(0.4)
        if fault == "hang_after_child":
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        assert process.poll() is None
        process.kill()


def test_failing_exports(tmp_path: Path) -> None:
    report = str(Machine(tmp_path / "good").exported("pass").path.with_name("report.nsys-rep"))
    whole = (tmp_path / "good" / "report.sqlite").stat().st_size
    failing = Machine(tmp_path / "failing", ["export_fails"])
    assert failing.export(report) == 1
    assert "StringIds" not in Export(failing.folder / "report.sqlite").tables()
    truncating = Machine(tmp_path / "truncating", ["export_truncated"])
    assert truncating.export(report) == 0
    assert (truncating.folder / "report.sqlite").stat().st_size < whole
    hanging = Machine(tmp_path / "hanging", ["export_hangs"])
    with hanging.start("export", "-f", "true", report) as process:
        time.sleep(0.5)
        assert process.poll() is None
        process.kill()


def test_refuses_unknown_faults(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such fault: nosuch"):
        Machine(tmp_path, ["nosuch"])
