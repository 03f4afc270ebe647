"""The scene of a fault: a project, an nsys, a run of pytest, and what must not be left of it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from pytest_nsys.storage.baselines.document import render
from tests.simgpu.standin import write_standin
from tests.support import made
from tests.support.harness import REAL_NSYS, SIMGPU, assemble_nsys, write_program
from tests.support.plugins import without_others

STAND_IN = "stand-in"

_PLANTED = "baselines/a-device/test_it.py/test_planted.json"
_PLANTED_TEXT = render(made.measurement(nodeid="test_it.py::test_planted", device="a-device"))
_LONGEST_RUN_S = 60.0
_CLEANING_S = 15.0
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_PR_CAPBSET_DROP = 24

# The work that tests do, on the simulated GPU where there is one.
_WORK = """
    import os, pathlib, signal, time

    try:
        import simgpu
    except ImportError:
        simgpu = None

    IN_WORKER = "PYTEST_NSYS_WORKER" in os.environ

    def work():
        if simgpu is not None:
            simgpu.launch("gemm", 10)

    def ready():
        made = pathlib.Path(__file__).with_name("ready.new")
        made.write_text(str(os.getpid()))
        made.rename(made.with_name("ready"))

    def wait():
        ready()
        while True:
            time.sleep(60)
"""

# What errors the run made, in whichever process.
_CONFTEST = """
    import pathlib

    from pytest_nsys.errors import NsysError

    _init = NsysError.__init__

    def _noting(self, what, **parts):
        _init(self, what, **parts)
        line = f"{type(self).__name__}\\t{what.splitlines()[0]}\\n"
        with pathlib.Path(__file__).with_name("errors.txt").open("a") as file:
            file.write(line)

    NsysError.__init__ = _noting
"""


class Scene:
    """A project with an nsys, in which pytest is run.

    Attributes:
        nsys: the name of a real nsys (see ``harness.REAL_NSYS``), or that of the stand-in.
        project: the folder pytest is started in.
        temporary: its TMPDIR.
        environment: what it is started with.
    """

    def __init__(self, root: Path, nsys: str) -> None:
        self.root = root.resolve()
        self.nsys = nsys
        self.project = self._folder("project")
        self.temporary = self._folder("tmp")
        self.bin = self._folder("bin")
        self.environment = _plain_environment()
        self.environment |= {
            "TMPDIR": str(self.temporary),
            "PATH": os.pathsep.join([str(self.bin), self.environment["PATH"]]),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "-p nsys -p no:cacheprovider",
            # Compiled once for all scenes, and not at each start; and not into the project.
            "PYTHONPYCACHEPREFIX": str(_compiled(self.root.parent)),
        }
        self.limits: list[Callable[[], object]] = []
        self.command = [sys.executable, "-m", "pytest"]
        self._printed = b""
        self._running: subprocess.Popen[bytes] | None = None
        self._ini = [
            "[pytest]",
            without_others(),
            "filterwarnings = ignore",
            "nsys_processes = 1",
        ]
        self._sessions = self.sessions()
        self.write(_WORK, "work.py")
        self.write(_CONFTEST, "conftest.py")
        self.write(_PLANTED_TEXT, _PLANTED)
        if nsys == STAND_IN:
            self.environment["PYTHONPATH"] = str(SIMGPU / "path")
            self.install()
        else:
            (self.bin / "nsys").symlink_to(REAL_NSYS[nsys])
            self.ini("nsys_device = cpu")

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir()
        return folder

    # Setting

    def install(self, *faults: str) -> None:
        """Put a stand-in nsys with these faults in place."""
        # One of before the exports to Parquet: they take longer to make and to read.
        write_standin(self.bin, faults=faults, version="2023.3.1")

    def script(self, text: str) -> None:
        """Make nsys a shell script; ``$REAL`` in it is the nsys that was there before."""
        nsys, real = self.bin / "nsys", self.bin / "real-nsys"
        if self.nsys == STAND_IN:
            nsys.rename(real)
        else:
            nsys.unlink()
            real = Path(REAL_NSYS[self.nsys])
        write_program(nsys, f"#!/bin/sh\nREAL={real}\n{textwrap.dedent(text)}\n")

    def importer(self, text: str | None) -> None:
        """Make a real nsys's importer a shell script (``$REAL`` is its own), or take it away."""
        program = assemble_nsys(self.nsys, self.root / "nsys", text)
        (self.bin / "nsys").unlink()
        (self.bin / "nsys").symlink_to(program)

    def ini(self, *lines: str) -> None:
        """Add lines to the project's ini file."""
        self._ini += lines
        (self.project / "pytest.ini").write_text("\n".join(self._ini) + "\n")

    def write(self, text: str, name: str = "test_it.py") -> Path:
        """Write a file of the project; indentation common to all lines is removed."""
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def conftest(self, text: str) -> None:
        """Add to the project's conftest.py."""
        path = self.project / "conftest.py"
        path.write_text(path.read_text() + textwrap.dedent(text))

    def small_disk(self, folder: Path, size: str, *options: str) -> None:
        """Mount a small disk at the folder for all that pytest starts."""
        mount = (
            f"mount -t tmpfs -o {','.join([f'size={size}', 'mode=0700', *options])} none {folder}"
        )
        self.command = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *self.command]

    def small_files(self, size: int) -> None:
        """Let pytest (and all it starts) write no file beyond a size."""
        self.limits.append(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))

    def without_privilege(self) -> None:
        """Take from root what lets it write where permissions forbid it."""

        def drop() -> None:
            libc = ctypes.CDLL(None)
            for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
                libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)

        self.limits.append(drop)

    # Acting

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start pytest as a shell does: in a process group of its own."""
        (self.project / "pytest.ini").write_text("\n".join(self._ini) + "\n")

        def prepare() -> None:
            # A shell starts its background jobs deaf to Ctrl-C, and nohup starts a program deaf to
            # SIGHUP; we may be part of one.
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            for limit in self.limits:
                limit()

        self._running = subprocess.Popen(
            [*self.command, *options],
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=prepare,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self._running

    def _read(self) -> None:
        assert self._running is not None
        assert self._running.stdout is not None
        with self._running.stdout as pipe:
            while piece := os.read(pipe.fileno(), 1 << 16):
                self._printed += piece

    @property
    def output(self) -> str:
        """What pytest has printed."""
        return self._printed.decode(errors="replace")

    def finish(self) -> int:
        """Wait for pytest's end; returns its exit code as a shell shows it."""
        assert self._running is not None
        code = self._running.wait(timeout=_LONGEST_RUN_S)
        self._reader.join(timeout=_LONGEST_RUN_S)
        return code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        """Send a signal to pytest."""
        assert self._running is not None
        os.kill(self._running.pid, number)

    def wait_until_ready(self) -> int:
        """Wait until a test says that it is there; returns its process id."""
        self.until((self.project / "ready").exists, "a test that is ready")
        return int((self.project / "ready").read_text())

    def until(self, condition: Callable[[], object], what: str, every_s: float = 0.01) -> None:
        """Wait for a condition, and look so often."""
        deadline = time.monotonic() + _LONGEST_RUN_S
        while not condition():
            assert time.monotonic() < deadline, f"waited for {what} in vain\n{self.output}"
            time.sleep(every_s)

    def one_process(self, part: str) -> int:
        """Wait for one process of the run whose command line holds a text; returns its id."""
        found: list[int] = []

        def look() -> bool:
            found[:] = [pid for pid, line in self.processes().items() if part in line]
            return bool(found)

        self.until(look, part, every_s=0.05)
        return found[0]

    # What is seen, and what is left

    def errors(self) -> list[tuple[str, str]]:
        """Class and first line of the errors that were made."""
        path = self.project / "errors.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(kind, what) for kind, _, what in (line.partition("\t") for line in lines)]

    def processes(self) -> dict[int, str]:
        """Command lines of the processes that this run started, found by their TMPDIR."""
        return dict(_processes_with(str(self.root)))

    def left_behind(self, *, late: bool) -> list[str]:
        """What there should be none of, a line each; ``late`` gives the guard time to clean up."""
        left = self._wait_for_none(self._left, _CLEANING_S if late else 0)
        # nsys 2022 shows a session for a moment after it has ended.
        return left or self._wait_for_none(self._left_sessions, _CLEANING_S)

    @staticmethod
    def _wait_for_none(look: Callable[[], Iterator[str]], seconds: float) -> list[str]:
        deadline = time.monotonic() + seconds
        while (left := list(look())) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def _left_sessions(self) -> Iterator[str]:
        """Sessions that were not there before, but for those of somebody else's nsys."""
        for session in sorted(self.sessions() - self._sessions):
            if not Path("/proc", session.rpartition("-")[2]).exists():
                yield f"session {session}"

    def _left(self) -> Iterator[str]:
        for pid, line in self.processes().items():
            yield f"process {pid}: {line}"
        # Not Path.rglob, which fails where a folder goes while it looks.
        for folder, folders, files in os.walk(self.temporary):
            for name in (*folders, *files):
                yield f"temporary file {Path(folder, name).relative_to(self.root)}"
        for path in self.project.rglob(".*.tmp"):
            yield f"unfinished file {path.relative_to(self.project)}"
        if (self.project / _PLANTED).read_text() != _PLANTED_TEXT:
            yield "a baseline that was changed"
        lock = self.project / "baselines/.lock"
        if lock.exists():
            try:
                with filelock.FileLock(lock, timeout=0):
                    pass
            except filelock.Timeout:
                yield "a lock"

    def recorded(self) -> list[str]:
        """Names of the baselines that the run has written."""
        found = (self.project / "baselines").rglob("*.json")
        files = (path for path in found if path.is_file())
        return sorted(path.stem for path in files if path != self.project / _PLANTED)

    def sessions(self) -> frozenset[str]:
        """The sessions that a real nsys knows of, here or in the run's own temporary folder."""
        if self.nsys == STAND_IN:
            return frozenset()
        names = set()
        for temporary in (os.environ.get("TMPDIR", "/tmp"), str(self.temporary)):
            done = subprocess.run(
                [REAL_NSYS[self.nsys], "sessions", "list"],
                env={**os.environ, "TMPDIR": temporary},
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            )
            names |= {line.split()[-1] for line in done.stdout.splitlines()[1:] if line.split()}
        # That left files of its own, which are not of the run.
        shutil.rmtree(self.temporary / "nvidia", ignore_errors=True)
        return frozenset(names)

    def close(self) -> None:
        """End what is left, so that a failure does no more harm."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._running is not None:
            self._running.wait()


def _compiled(temporary: Path) -> Path:
    """A folder for what Python compiles: one for all processes of pytest-xdist."""
    return (temporary.parent if temporary.name.startswith("popen-") else temporary) / "compiled"


def _plain_environment() -> dict[str, str]:
    """This process's environment without what speaks of its own run, and without any nsys."""
    unwanted = ("PYTEST_", "NSYS_", "GITHUB_", "COVERAGE_", "SIMGPU_")
    plain = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(unwanted)
        and name not in ("CI", "BUILD_NUMBER", "PYTHONPATH")
        and name != "PYTHONDONTWRITEBYTECODE"
    }
    folders = plain["PATH"].split(os.pathsep)
    plain["PATH"] = os.pathsep.join(f for f in folders if not (Path(f) / "nsys").exists())
    return plain


def _processes_with(text: str) -> Iterator[tuple[int, str]]:
    """The processes whose environment or command line holds a text; not those that have ended."""
    wanted = text.encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            line = (folder / "cmdline").read_bytes()
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if state not in "ZX" and wanted in line + b"\0" + environment:
            yield int(folder.name), line.replace(b"\0", b" ").decode(errors="replace")


def can_mount() -> bool:
    """Whether this machine lets us mount a disk of our own."""
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:
        return False
