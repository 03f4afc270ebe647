"""Faults of the run: interrupts, signals, limits, and files that cannot be written."""

from __future__ import annotations

import json
import lzma
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import filelock

from pytest_nsys.errors import (
    BaselineDamaged,
    BaselineError,
    CaptureError,
    ExportFailed,
    LfsPointer,
    LimitReached,
    NoRunFolder,
    RecordingError,
    ReportError,
)
from pytest_nsys.measure.measurement import Part
from pytest_nsys.storage.baselines import BaselineStore
from tests.faults.fault import HEALTHY, REAL, Fault, around
from tests.faults.scene import STAND_IN, Scene, can_mount
from tests.support import made

WAITS = around("wait()")
BOTH = ("test_one", "test_two")
INTERRUPTED = "*KeyboardInterrupt*"

DEAF = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
wait()
"""
FORKS = """
    import os, pathlib, time
    import pytest
    from work import wait

    def test_ordinary():
        child = os.fork()
        if child == 0:
            time.sleep(300)
            os._exit(0)
        pathlib.Path("child").write_text(str(child))

    @pytest.mark.nsys
    def test_it():
        wait()
"""
ORDINARY = """
    import pytest
    from work import wait, work

    @pytest.mark.nsys(rounds=2, warmup=0, allow_empty=True)
    def test_one():
        work()

    def test_ordinary():
        wait()
"""
# Work until the worker is told to stop.
LIMITED = """
import nvtx
stop = pathlib.Path(os.environ["PYTEST_NSYS_WORKER"], "stop")
work()
while not stop.exists():
    for _ in range({ranges}):
        with nvtx.annotate("much to record", domain="mine"):
            pass
    time.sleep(0.02)
"""
QUICK_LOCK = """
    from pytest_nsys.storage.baselines.store import BaselineStore

    BaselineStore.__init__.__kwdefaults__["lock_deadline_s"] = 0.3
"""
NOWHERE = """
    import tempfile

    tempfile.tempdir = "/proc/none"
"""


def send(*numbers: int, apart_s: float = 0.3) -> object:
    """Send signals to pytest while a test waits."""

    def act(scene: Scene) -> None:
        scene.wait_until_ready()
        for number in numbers:
            scene.signal(number)
            time.sleep(apart_s)

    return act


def while_exporting(number: int) -> object:
    """Send a signal to pytest while ``nsys export`` runs."""

    def act(scene: Scene) -> None:
        scene.one_process(" export ")
        scene.signal(number)

    return act


def stats_of_a_report(scene: Scene) -> None:
    """Run ``pytest-nsys`` in place of pytest, on a report that was stored."""
    scene.command = [sys.executable, "-m", "pytest_nsys"]
    scene.write("a report", "stored.nsys-rep")


def kill_beside_a_fork(scene: Scene) -> None:
    scene.wait_until_ready()
    child = int((scene.project / "child").read_text())
    scene.signal(signal.SIGKILL)
    scene.until(lambda: list(scene.processes()) == [child], "the end of all but the fork")
    os.kill(child, signal.SIGKILL)


def hold_lock(scene: Scene) -> None:
    lock = filelock.FileLock(scene.project / "baselines/.lock")
    lock.acquire()
    try:
        scene.finish()
    finally:
        lock.release()


def read_only_baselines(scene: Scene) -> None:
    scene.without_privilege()
    (scene.project / "baselines").chmod(0o555)


def baseline_of_another_test(scene: Scene) -> None:
    store = BaselineStore(scene.project / "baselines")
    other = made.measurement(made.kernels(Part("gemm", 1, ns=100)), nodeid="test_it.py::test_two")
    store.write(other)
    path = store.path(other.device, other.nodeid)
    path.rename(path.with_name("test_one.json"))


def pointer_for_a_baseline(scene: Scene) -> None:
    path = scene.project / "baselines/nvidia-h200/test_it.py/test_one.json"
    path.parent.mkdir(parents=True)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")


def baseline_of_a_folder(scene: Scene) -> None:
    (scene.project / "baselines/nvidia-h200/test_it.py/test_one.json").mkdir(parents=True)
    (scene.project / "baselines/nvidia-h200/test_it.py/test_two.json").mkdir(parents=True)


def damaged_recording(damage: Callable[[Path], None]) -> Callable[[Scene], None]:
    """Record a run, and damage the recording."""

    def prepare(scene: Scene) -> None:
        scene.start("--nsys", "--nsys-record=recording")
        assert scene.finish() == 0, scene.output
        damage(scene.project / "recording")

    return prepare


def skip_without_a_reason(recording: Path) -> None:
    index = recording / "recording.json"
    document = json.loads(index.read_text())
    report = document["tests"][0]["reports"][1]
    report.update(outcome="skipped", longrepr=None)
    index.write_text(json.dumps(document))


def endless_table(recording: Path) -> None:
    """Put a view in the place of a table: its rows cost nothing and never end."""
    (path,) = recording.glob("*.sqlite.xz")
    database = path.with_suffix("")
    database.write_bytes(lzma.decompress(path.read_bytes()))
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(
            "DROP TABLE StringIds; CREATE VIEW StringIds AS WITH RECURSIVE n(id) AS"
            " (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id, 'x' AS value FROM n;"
        )
    path.write_bytes(lzma.compress(database.read_bytes()))
    database.unlink()


def again_at_once(scene: Scene) -> None:
    """A second run in the same folder, at the same time."""
    first = scene._running
    assert first is not None
    with (scene.root / "second").open("wb") as output:
        second = subprocess.Popen(
            [*scene.command, "--nsys-update"],
            cwd=scene.project,
            env=scene.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        assert second.wait(timeout=60) == 0


def read_only_temporary(scene: Scene) -> None:
    scene.without_privilege()
    scene.temporary.chmod(0o500)


def noexec_temporary(scene: Scene) -> None:
    if can_mount():
        scene.small_disk(scene.temporary, "150m", "noexec")


def tiny_temporary(scene: Scene) -> None:
    """A small disk; where none may be mounted, one that is called small."""
    if can_mount():
        scene.small_disk(scene.temporary, "1m")
    else:
        scene.conftest("from pytest_nsys.capture import limits; limits.NEEDED = 2**60")


def closed_folder(name: str) -> object:
    def prepare(scene: Scene) -> None:
        scene.without_privilege()
        (scene.project / name).mkdir(mode=0o500)

    return prepare


ROWS = (
    Fault(
        "Ctrl-C",
        INTERRUPTED,
        None,
        code=2,
        drives=(REAL[1], STAND_IN),
        tests=WAITS,
        during=send(signal.SIGINT),
    ),
    Fault(
        "Ctrl-C twice",
        INTERRUPTED,
        None,
        code=2,
        made="the test ignores SIGINT and SIGTERM",
        tests=around(DEAF),
        during=send(signal.SIGINT, signal.SIGINT),
    ),
    Fault(
        "Ctrl-C while nsys exports",
        INTERRUPTED,
        None,
        code=2,
        faults=("export_hangs",),
        during=while_exporting(signal.SIGINT),
    ),
    Fault(
        "Ctrl-C in a test that is not measured",
        INTERRUPTED,
        None,
        code=2,
        tests=ORDINARY,
        options=("--nsys",),
        during=send(signal.SIGINT),
    ),
    Fault(
        "SIGTERM to pytest",
        "",
        None,
        code=143,
        drives=(REAL[1], STAND_IN),
        tests=WAITS,
        during=send(signal.SIGTERM),
        late=True,
    ),
    Fault(
        "SIGHUP to pytest",
        "",
        None,
        code=129,
        made="the terminal is closed",
        tests=WAITS,
        during=send(signal.SIGHUP),
        late=True,
    ),
    Fault(
        "pytest is killed",
        "",
        None,
        code=137,
        made="SIGKILL",
        drives=(REAL[0], STAND_IN),
        tests=WAITS,
        during=send(signal.SIGKILL),
        late=True,
    ),
    Fault(
        "pytest is killed in an endless test that hears no signal",
        "",
        None,
        code=137,
        tests=around(DEAF),
        during=send(signal.SIGKILL),
        late=True,
    ),
    Fault(
        "pytest is killed while nsys exports",
        "",
        None,
        code=137,
        faults=("export_hangs",),
        during=while_exporting(signal.SIGKILL),
        late=True,
    ),
    Fault(
        "pytest-nsys stats is killed while nsys exports",
        "",
        None,
        code=137,
        faults=("export_hangs",),
        prepare=stats_of_a_report,
        options=("stats", "stored.nsys-rep"),
        during=while_exporting(signal.SIGKILL),
        late=True,
    ),
    Fault(
        "pytest is killed and something it forked lives on",
        "",
        None,
        code=137,
        made="a fork that holds the files of pytest open",
        tests=FORKS,
        during=kill_beside_a_fork,
        late=True,
    ),
    Fault(
        "The tests of a capture take too long together",
        "not measured: nsys_max_duration (4 s) was reached*",
        LimitReached,
        made="nsys_max_duration",
        tests=around(LIMITED.format(ranges=1)),
        ini=("nsys_max_duration = 4",),
        recorded=("test_before",),
    ),
    Fault(
        "The capture grows too large",
        "not measured: nsys_max_capture_size (30 MiB) was reached*",
        LimitReached,
        made="nsys_max_capture_size",
        drives=REAL[1:],
        tests=around(LIMITED.format(ranges=5000)),
        ini=("nsys_max_capture_size = 30 MiB",),
        recorded=("test_before",),
    ),
    Fault(
        "The baselines are locked",
        "*/baselines stayed locked by another run for 0.3 s",
        BaselineError,
        conftest=QUICK_LOCK,
        during=hold_lock,
    ),
    Fault(
        "The baselines cannot be written",
        "the baseline */test_one.json cannot be written",
        BaselineError,
        made="a folder without the right to write",
        prepare=read_only_baselines,
    ),
    Fault(
        "A baseline cannot be read",
        "*/test_one.json cannot be read",
        BaselineError,
        made="a folder in its place",
        prepare=baseline_of_a_folder,
    ),
    Fault(
        "A baseline is a pointer of Git LFS",
        "*/test_one.json is a pointer of Git LFS, and not the file that it stands for",
        LfsPointer,
        made="what a checkout without Git LFS has in its place",
        recorded=("test_one", "test_two"),
        prepare=pointer_for_a_baseline,
    ),
    Fault(
        "A baseline is a copy of another test's",
        "*/test_one.json:1: this is the baseline of another test or device",
        BaselineDamaged,
        recorded=("test_one", "test_two"),
        prepare=baseline_of_another_test,
    ),
    Fault(
        "A recording's report of a test is damaged",
        "ERROR: *recording/recording.json is damaged",
        RecordingError,
        code=4,
        made="a skip without its reason",
        options=("--nsys-replay=recording", "--nsys"),
        prepare=damaged_recording(skip_without_a_reason),
    ),
    Fault(
        "A recording's capture never ends",
        "*recording/capture-1.sqlite.xz does not hold a capture*",
        ExportFailed,
        made="a view without an end in the place of a table",
        options=("--nsys-replay=recording", "--nsys"),
        prepare=damaged_recording(endless_table),
    ),
    Fault(
        "The disk is full while a baseline is written",
        "the baseline */test_one.json cannot be written",
        BaselineError,
        made="files may not grow beyond 600 bytes from then on",
        conftest="""
            import resource

            def pytest_nsys_device_key(gpus):
                resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
        """,
    ),
    Fault(
        "Two runs at once in one folder",
        "",
        None,
        code=0,
        during=again_at_once,
        recorded=BOTH,
    ),
    Fault(
        "The folder for reports cannot be written",
        "*ERROR: nsys: the report */closed/results.json cannot be written",
        ReportError,
        code=4,
        prepare=closed_folder("closed"),
        options=("--nsys", "--nsys-json=closed/results.json"),
    ),
    Fault(
        "The folder for raw reports cannot be written",
        "the raw report cannot be kept",
        CaptureError,
        prepare=closed_folder("closed"),
        options=("--nsys", "--nsys-keep=closed/raw"),
    ),
    Fault(
        "TMPDIR does not exist",
        "",
        None,
        code=0,
        made="Python then takes another folder, such as /tmp",
        drives=(REAL[1], STAND_IN),
        tests=HEALTHY.format(empty=True),
        prepare=lambda scene: scene.environment.update(TMPDIR=str(scene.root / "none")),
        recorded=BOTH,
    ),
    Fault(
        "TMPDIR cannot be written",
        "",
        None,
        code=0,
        made="Python then takes another folder, such as /tmp",
        drives=(REAL[1], STAND_IN),
        prepare=read_only_temporary,
        recorded=BOTH,
    ),
    Fault(
        "Nothing in TMPDIR can be executed",
        "",
        None,
        code=0,
        made="a disk mounted noexec, where it may be mounted",
        drives=REAL[:1],
        prepare=noexec_temporary,
        recorded=BOTH,
    ),
    Fault(
        "There is next to no space for temporary files",
        "there is too little space for temporary files: *, and nsys needs 16 MiB to begin with",
        NoRunFolder,
        made="a disk of 1 MiB",
        drives=REAL[1:],
        prepare=tiny_temporary,
    ),
    Fault(
        "There is no place for temporary files",
        "ERROR: there is no place for this run's temporary files",
        NoRunFolder,
        code=4,
        conftest=NOWHERE,
    ),
    Fault(
        "The disk for temporary files is full from the beginning",
        "this run's temporary files cannot be written",
        CaptureError,
        made="files may not grow beyond 300 bytes",
        prepare=lambda scene: scene.small_files(300),
        options=("--nsys",),
    ),
)
