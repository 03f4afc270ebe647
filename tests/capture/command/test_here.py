"""``pytest-nsys capture``: a command under nsys on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.cli.main import main
from pytest_nsys.storage.recordings.recording import read_recording
from pytest_nsys.storage.recordings.stored import load_stored
from tests.support.capture_bench import processes_naming, real, standin
from tests.support.capture_command import KERNELS, LIVES, MARKS, Answer, Session, assert_refused
from tests.support.harness import SIMGPU, until
from tests.support.leaks import leaked


@pytest.fixture
def simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., NsysTool]:
    """Puts a stand-in nsys with these faults on the PATH, and the simulated GPU in place."""
    monkeypatch.setenv("PYTHONPATH", str(SIMGPU / "path"))

    def put(*faults: str, **options: object) -> NsysTool:
        nsys = standin(tmp_path / "bin", *faults, **options)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
        return nsys

    return put


def test_a_command_under_a_real_nsys(
    capture_command: Callable[..., Answer], each_nsys: NsysTool
) -> None:
    code, out, err = capture_command(
        *("-o", "one", "--nsys-executable", each_nsys.path, "--"),
        *(sys.executable, "-c", f"{MARKS}\nimport sys; print('said'); sys.exit(3)"),
    )
    assert code == 3
    assert out.startswith("said\none: ")
    assert f"nsys {each_nsys.version_text}" in out
    assert err == "pytest-nsys: the capture holds no CUDA activity; it is kept all the same\n"
    recording = read_recording(Path("one"))
    assert (recording.nsys, recording.tests) == (each_nsys.version_text, ())
    assert recording.captures[0].windows == ()
    assert recording.captures[0].options[0] == "--trace=cuda,nvtx"
    assert [path.name for path in sorted(Path("one").iterdir())] == [
        "capture-1.sqlite.xz",
        "recording.json",
    ]
    assert "mine" in load_stored(Path("one")).ranges["text"].tolist()


def test_what_the_command_has_around_it_is_not_in_the_report_nor_in_the_recording(
    capture_command: Callable[..., Answer],
    here: Path,
    alone: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = {"variable": "s3cret-variable", "argument": "s3cret-argument", "output": "s3cret-said"}
    monkeypatch.setenv("VARIABLE", words["variable"])
    text = "import os, sys; print('s3cret-' + 'said', os.environ['VARIABLE'], os.getcwd())"
    kept: list[Path] = []

    def keep(nsys: NsysTool, report: Path, folder: Path, **given: object) -> Path:
        from pytest_nsys.capture.export import export_report

        kept.append(tmp_path / "kept.nsys-rep")
        kept[0].write_bytes(report.read_bytes())
        return export_report(nsys, report, folder)

    monkeypatch.setattr("pytest_nsys.capture.command.here.export_report", keep)
    nsys = real("2023")
    given = ("-o", "one", "--nsys-executable", nsys.path, "--")
    code, out, _ = capture_command(*given, sys.executable, "-c", text, words["argument"])
    assert code == 0
    assert out.startswith(f"{words['output']} {words['variable']} {here}\n")
    assert leaked(words, here / "one") == {}
    export = tmp_path / "kept.sqlite"
    command = [str(nsys.path), "export", "--type=sqlite", "-o", str(export), str(kept[0])]
    subprocess.run(command, check=True, timeout=120, env={}, capture_output=True)
    assert leaked({"argument": words["argument"], "output": words["output"]}, export) == {}


def test_a_warmup_is_not_collected(capture_command: Callable[..., Answer], alone: None) -> None:
    text = (
        "import nvtx, time\n"
        "for second in range(30):\n"
        "    with nvtx.annotate(f'at {second}'): time.sleep(0.1)"
    )
    given = ("--warmup", 1, "--nsys-executable", real("2023").path, "--")
    code, _, _ = capture_command(*given, sys.executable, "-c", text)
    assert code == 0
    names = load_stored(Path("capture")).ranges["text"].tolist()
    assert "at 29" in names
    assert "at 0" not in names
    assert "--delay=1" in read_recording(Path("capture")).captures[0].options


@pytest.mark.parametrize("ignores", [False, True])
def test_the_duration_ends_the_command(
    capture_command: Callable[..., Answer], alone: None, ignores: bool
) -> None:
    text = (
        f"{'import signal; signal.signal(15, signal.SIG_IGN)' if ignores else ''}\n"
        "import nvtx, time\n"
        "for second in range(600):\n"
        "    with nvtx.annotate(f'at {second}'): time.sleep(0.1)"
    )
    given = ("--duration", 1, "--nsys-executable", real("2023").path, "--")
    code, _, _ = capture_command(*given, sys.executable, "-c", text)
    assert code == 0
    assert "at 599" not in load_stored(Path("capture")).ranges["text"].tolist()


def test_a_command_that_ends_in_its_warmup_leaves_nothing(
    capture_command: Callable[..., Answer], alone: None
) -> None:
    given = ("--warmup", 5, "--nsys-executable", real("2023").path, "--")
    code, _, err = capture_command(*given, "sleep", "0.1")
    assert code == 2
    assert "nothing was collected: the command ended before its warm-up of 5 s" in err
    assert "make --warmup shorter" in err
    assert not Path("capture").exists()


TALKS = (
    "import nvtx, time, signal\n{before}\n"
    "with nvtx.annotate('first'): print('begun', flush=True)\n"
    "try:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    raise SystemExit(7)"
)


@pytest.mark.parametrize(
    ("before", "code"), [("", 7), ("signal.signal(signal.SIGINT, signal.SIG_IGN)", 0)]
)
def test_an_interrupt_ends_the_collection_and_keeps_the_capture(
    here: Path,
    temporary: Path,
    each_nsys: NsysTool,
    clean_environment: None,
    before: str,
    code: int,
) -> None:
    text = TALKS.format(before=before)
    session = Session("--nsys-executable", each_nsys.path, "--", sys.executable, "-c", text)
    session.until_it_says("begun")
    time.sleep(0.3)  # nsys has taken note of the command's signals
    session.interrupt()
    got, out, err = session.end()
    assert "ending the collection; Ctrl-C again gives the capture up" in err
    assert got == code, (out, err)
    assert out.startswith("capture: ")
    assert load_stored(Path("capture")).ranges["text"].tolist() == ["first"]


def test_a_second_interrupt_gives_up(
    here: Path, temporary: Path, simulator: Callable[..., NsysTool], clean_environment: None
) -> None:
    simulator("slow_import")
    session = Session("--", sys.executable, "-c", LIVES)
    session.until_it_says("begun")
    session.interrupt()
    assert session.process.stderr is not None
    assert "Ctrl-C again" in session.process.stderr.readline()
    session.interrupt()
    code, _, err = session.end()
    assert (code, err) == (130, "pytest-nsys: interrupted\n")
    assert not Path("capture").exists()


def test_a_killed_capture_leaves_nothing_behind(
    here: Path, temporary: Path, simulator: Callable[..., NsysTool], clean_environment: None
) -> None:
    simulator()
    session = Session("--", sys.executable, "-c", LIVES)
    session.until_it_says("begun")
    session.process.kill()
    session.end()
    until(lambda: not list(temporary.iterdir()), "the guard has removed the folder")
    until(lambda: not processes_naming(str(temporary)), "the guard itself has ended")


def test_what_used_the_gpu_is_compared_as_a_whole(
    capture_command: Callable[..., Answer],
    simulator: Callable[..., NsysTool],
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator()
    code, out, err = capture_command("-o", "one", "--", sys.executable, "-c", KERNELS)
    assert (code, err) == (0, "")
    assert "NVIDIA H200" in out
    assert out.splitlines()[-1] == "... (pytest-nsys stats one shows all)"
    slower = KERNELS.replace("20", "30")
    assert capture_command("-o", "two", "--", sys.executable, "-c", slower)[0] == 0

    def ask(*words: str) -> Answer:
        return main(list(words)), *capsys.readouterr()

    code, out, err = ask("stats", "one", "--format", "json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["metrics"]["gpu.kernel_count"] == 4
    assert document["tests"] == []
    assert document["outside"]["tests"] is None
    code, out, err = ask("diff", "one", "two")
    assert (code, err) == (1, "")
    assert "gpu.kernel_time" in out
    code, out, err = ask("compare", "one", "two", "--per", "token=4")
    assert (code, err) == (0, "")
    assert "gemm" in out
    code, out, err = ask("export", "--perfetto", "one", "-o", "one.json")
    assert (code, err) == (0, "")
    assert "gemm" in Path("one.json").read_text()


def test_a_recording_is_replaced_only_when_that_is_asked_for(
    capture_command: Callable[..., Answer], simulator: Callable[..., NsysTool]
) -> None:
    simulator()
    assert capture_command("--", sys.executable, "-c", KERNELS)[0] == 0
    before = Path("capture/recording.json").stat().st_mtime_ns
    code, out, err = capture_command("--", sys.executable, "-c", "print('not run')")
    assert (code, out) == (2, "")
    assert "capture is a recording and is left alone" in err
    assert Path("capture/recording.json").stat().st_mtime_ns == before
    assert capture_command("--force", "--", sys.executable, "-c", KERNELS)[0] == 0
    assert Path("capture/recording.json").stat().st_mtime_ns > before


def test_what_is_no_recording_is_never_replaced(capture_command: Callable[..., Answer]) -> None:
    Path("mine").mkdir()
    Path("mine/text").write_text("important")
    Path("file").write_text("important")
    Path("link").symlink_to("nowhere")
    for name in ("mine", "file", "link"):
        code, _, err = capture_command("-o", name, "--force", "--", "true")
        assert code == 2
        assert f"{name} exists and is no recording" in err
    assert Path("mine/text").read_text() == Path("file").read_text() == "important"


def test_an_empty_folder_is_used(
    capture_command: Callable[..., Answer], simulator: Callable[..., NsysTool]
) -> None:
    simulator()
    Path("empty").mkdir()
    assert capture_command("-o", "empty", "--", sys.executable, "-c", KERNELS)[0] == 0
    assert read_recording(Path("empty")).nsys == "2025.3.1"


def test_a_folder_that_cannot_be_written(
    capture_command: Callable[..., Answer], simulator: Callable[..., NsysTool]
) -> None:
    simulator()
    Path("file").write_text("")
    code, _, err = capture_command("-o", "file/inside", "--", sys.executable, "-c", KERNELS)
    assert code == 2
    assert "file/inside cannot be written" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "there is no command: name it after --"),
        (("--",), "there is no command: name it after --"),
        (("--warmup", "0.5", "--", "true"), "'0.5' is no whole number of seconds"),
        (("--warmup", "9999999", "--", "true"), "'9999999' is no whole number of seconds"),
        (("--duration", "0", "--", "true"), "it is to be more than 0 seconds"),
        (("--fetch", "cp {remote} {local}", "--", "true"), "--fetch is for what a --launcher"),
        (("--nsys-args", "'", "--", "true"), "--nsys-args cannot be read: No closing quotation"),
        (("--nsys-executable", "no-such", "--", "true"), "there is no program 'no-such'"),
        (("--", "no-such-command"), "there is no program 'no-such-command'"),
        (("--", "./text"), "is not a program that can be started by itself"),
    ],
)
def test_what_is_wrong_is_said_at_once(
    capture_command: Callable[..., Answer],
    simulator: Callable[..., NsysTool],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    simulator()
    Path("text").write_text("echo\n")
    Path("text").chmod(0o755)
    code, out, err = capture_command(*arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert not Path("capture").exists()


def test_without_an_nsys(
    capture_command: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("pytest_nsys.capture.nsys.find_nsys.__defaults__", (None, ()))
    code, _, err = capture_command("--", sys.executable, "-c", "pass")
    assert code == 2
    assert "nsys (NVIDIA Nsight Systems) was not found" in err


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("usage_error", "nsys refused its arguments"),
        ("child_not_started", "nsys ended without starting the command"),
        ("no_report", "nsys ended and left no report"),
        ("importer_error", "nsys could not make a report of what it recorded"),
        ("qdstrm_only", "nsys could not make a report of what it recorded"),
        ("diagnostic_error", "nsys reports errors in its own capture"),
        ("lost_events", "the capture has less CUDA events than nsys collected"),
        ("export_fails", "nsys export ended with exit code 1"),
        ("export_nothing", "and wrote nothing"),
        ("report_truncated", "nsys export ended with exit code 1"),
    ],
)
def test_a_capture_that_cannot_be_used_is_not_kept(
    capture_command: Callable[..., Answer],
    simulator: Callable[..., NsysTool],
    fault: str,
    says: str,
) -> None:
    simulator(fault)
    assert_refused(capture_command("--", sys.executable, "-c", KERNELS), says)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("hang_before_child", "nsys did not start the command within 1 s"),
        ("hang_after_child", "nsys did not end within 1 s of the command"),
        ("export_hangs", "nsys export did not end within 1 s"),
    ],
)
def test_nothing_hangs(
    capture_command: Callable[..., Answer],
    simulator: Callable[..., NsysTool],
    fault: str,
    says: str,
) -> None:
    simulator(fault)
    given = ("--tool-timeout", 1, "--", sys.executable, "-c", KERNELS)
    code, _, err = capture_command(*given)
    assert (code, says in err) == (2, True), err


def test_a_command_that_a_signal_ended(
    capture_command: Callable[..., Answer], simulator: Callable[..., NsysTool]
) -> None:
    simulator()
    code, _, _ = capture_command("--", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    assert code == 137


def test_a_reader_that_has_seen_enough_does_not_end_the_capture(
    here: Path, temporary: Path, simulator: Callable[..., NsysTool], clean_environment: None
) -> None:
    simulator()
    text = f"print('begun', flush=True)\n{KERNELS}\nfor _ in range(9999): print('more')"
    session = Session("--", sys.executable, "-c", text)
    session.until_it_says("begun")
    assert session.process.stdout is not None
    session.process.stdout.close()
    assert session.process.stderr is not None
    with session.process.stderr:
        assert session.process.wait(60) == 0
    assert load_stored(Path("capture")).has_cuda_activity


def test_an_nsys_that_cannot_be_started(
    capture_command: Callable[..., Answer],
    simulator: Callable[..., NsysTool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nsys = simulator()

    def gone(executable: str | None) -> NsysTool:
        nsys.path.unlink()
        return nsys

    monkeypatch.setattr("pytest_nsys.capture.nsys.find_nsys", gone)
    code, _, err = capture_command("--", sys.executable, "-c", KERNELS)
    assert code == 2
    assert "nsys cannot be started" in err
    assert "No such file or directory" in err
