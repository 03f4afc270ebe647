"""A stand-in for the ``nsys`` program, for tests on machines without a GPU.

It runs a command as ``nsys profile`` does, takes what the command's calls of ``simgpu`` and of the
simulated ``nvtx`` (both in ``path/``, which belongs on PYTHONPATH) wrote to the event log, and
makes a report of it that ``nsys export`` turns into the tables of the real one. ``nsys start`` and
``nsys stop`` choose what of the log goes into a report. It prints, exits and fails as the real one
does, also on purpose: see ``FAULTS``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from tests.simgpu.export import export
from tests.simgpu.options import (
    PROFILE_USAGE,
    ProfileOptions,
    UsageError,
    parse_export,
    parse_profile,
)
from tests.simgpu.report import Capture, write_report
from tests.simgpu.session import (
    COLLECTING,
    LAUNCHED,
    SHUT_DOWN,
    Launched,
    Session,
    SessionError,
    State,
    begin,
    new_folder,
    obey,
)

FAULTS = {
    "hang_before_child": "profile does not start the command, and ignores signals",
    "usage_error": "profile refuses its options",
    "child_not_started": "profile does not find the command",
    "hang_after_child": "profile does not return after the command, and ignores signals",
    "agent_left": "profile leaves its agent behind, which is busy for ever",
    "no_report": "profile leaves nothing",
    "qdstrm_only": "profile leaves only the .qdstrm",
    "importer_error": "as qdstrm_only, with the importer's message",
    "report_in_tmpdir": "profile cannot write the report where it belongs",
    "report_truncated": "profile leaves half a report",
    "slow_import": "profile takes seconds after the command",
    "no_nvtx": "the report has no NVTX events",
    "no_gpu": "the report is of a machine without a GPU",
    "no_cuda_events": "the report has no CUDA events",
    "diagnostic_error": "the report holds an error",
    "partial": "the report holds the warning that events may be missing",
    "lost_events": "the report has one CUDA event less than it says",
    "drop_first_window": "the first NVTX range is missing",
    "drop_last_window": "the last tenth of the NVTX ranges is missing",
    "documented_sync": "synchronisations as the enumeration says, not as nsys 2025.3 has them",
    "export_fails": "export fails and leaves a stub",
    "export_nothing": "export succeeds and leaves nothing",
    "export_not_a_database": "export succeeds and leaves files of something else",
    "newer_schema": "the export's schema is of a version to come",
    "export_truncated": "export succeeds and leaves half a file",
    "export_hangs": "export does not return",
}
"""What can be made to go wrong or to be otherwise, by name."""

_HANG_S = 600.0
_SLOW_IMPORT_S = 2.0
_POLL_S = 0.01
_SIGNAL_GRACE_S = 0.25  # how long nsys waits for a command that it has passed a signal to


def write_standin(
    directory: Path,
    *,
    faults: Iterable[str] = (),
    gpus: Sequence[str] = ("NVIDIA H200",),
    version: str = "2025.3.1",
) -> Path:
    """Write an executable ``nsys`` into ``directory`` and return its path.

    Args:
        directory: an existing folder.
        faults: names from ``FAULTS``.
        gpus: the GPUs of the simulated machine.
        version: what it says it is.
    """
    unknown = set(faults) - set(FAULTS)
    if unknown:
        raise ValueError(f"no such fault: {', '.join(sorted(unknown))}")
    program = directory / "nsys"
    program.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "if sys.argv[1:] in (['--version'], ['-v']):\n"  # it is asked often, and imports take time
        f"    sys.exit(print({_says_version(version)!r}))\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from tests.simgpu import standin\n"
        f"arguments = dict(faults={sorted(faults)!r}, gpus={list(gpus)!r}, version={version!r})\n"
        "sys.exit(standin.main(sys.argv[1:], **arguments))\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program


def _full(version: str) -> str:
    return f"{version}.90"


def _says_version(version: str) -> str:
    return f"NVIDIA Nsight Systems version {_full(version)}-253135822126v0"


def main(
    argv: Sequence[str],
    faults: Iterable[str] = (),
    gpus: Sequence[str] = ("NVIDIA H200",),
    version: str = "2025.3.1",
) -> int:
    """Run one ``nsys`` command line; returns the exit code."""
    faults = frozenset(faults)
    command, arguments = (argv[0], argv[1:]) if argv else ("", ())
    try:
        if command == "profile":
            if "usage_error" in faults:
                raise UsageError(f"unrecognised option '{arguments[0]}'\n\n{PROFILE_USAGE}")
            return _profile(arguments, parse_profile(arguments), faults, gpus)
        if command == "export":
            return export(parse_export(arguments), faults, _full(version))
        if command in ("sessions", "start", "stop", "shutdown"):
            done = obey(command, arguments)
            return done if isinstance(done, int) else _stop(*done, faults, gpus)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Unknown command: {command}", file=sys.stderr)
    return 1


def _profile(
    arguments: Sequence[str], options: ProfileOptions, faults: frozenset[str], gpus: Sequence[str]
) -> int:
    program = shutil.which(options.command[0])
    if program is None or "child_not_started" in faults:
        print("Executable not found in current directory or standard search paths", file=sys.stderr)
        return 1
    if "hang_before_child" in faults:
        _hang()
    with new_folder() as folder:
        try:
            session = begin(arguments, options, Path(folder))
        except SessionError as error:
            print(error, file=sys.stderr)
            return 1
        if not options.start_later:
            _say("Collecting data...")
        child = _Child(options, program, session)
        code = child.follow()
        if "hang_after_child" in faults:
            _hang()
        state = session.state
        if state.doing == COLLECTING and "no_report" not in faults:
            _import(_capture(session, state, faults, gpus))
        if "agent_left" in faults:
            _leave_agent()
    return 0 if state.doing == SHUT_DOWN else code


def _stop(session: Session, state: State, faults: frozenset[str], gpus: Sequence[str]) -> int:
    """The end of a collection of a program that goes on."""
    capture = _capture(session, state, faults, gpus)
    session.put(replace(state, doing=LAUNCHED))
    if "no_report" not in faults:
        _import(capture)
    return 0


def _capture(
    session: Session, state: State, faults: frozenset[str], gpus: Sequence[str]
) -> Capture:
    """What was collected until now."""
    launched = session.launched
    return Capture(
        options=session.options,
        log=session.log,
        child=launched.child,
        started=state.started,
        duration=time.monotonic_ns() - state.started[0],
        environment=launched.inherited,
        child_environment=launched.environment,
        streams=session.streams,
        gpus=gpus,
        faults=faults,
    )


def _hang() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(_HANG_S)


def _leave_agent() -> None:
    """Start a daemon with the command line of an agent (that of nsys 2022)."""
    name = f"--session-name=profile-python-{os.getpid()}"
    subprocess.Popen(
        [sys.executable, "-S", "-c", "while True: pass", "--start-agent", name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


class _Child:
    """The profiled command: started, followed and passed signals as nsys does it."""

    def __init__(self, options: ProfileOptions, program: str, session: Session) -> None:
        inherited = os.environ if options.inherit_environment else {}
        environment = {
            **inherited,
            **options.environment,
            "SIMGPU_LOG": str(session.log),
            "NSYS_PROFILING_SESSION_ID": str(os.getpid()),
        }
        self._session = session
        self._wait_for_all = options.wait_for_all
        self._given_up_at: float | None = None
        self._signals: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: self._signals.append(number))
        self._process = subprocess.Popen(
            options.command,
            executable=program,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._pid = self._process.pid
        session.keep(Launched(self._pid, dict(os.environ), environment))

    def follow(self) -> int:
        """Pass its output on until it ends; returns nsys's exit code.

        That is 0 for a command that did not end when it was told to; it lives on.
        """
        with selectors.DefaultSelector() as selector:
            for number, stream in ((1, self._process.stdout), (2, self._process.stderr)):
                selector.register(_opened(stream), selectors.EVENT_READ, number)
            while True:
                code = self._process.poll()
                ended = code is not None
                got_any = self._pump(selector, 0 if ended else _POLL_S)
                if ended and not got_any and not (self._wait_for_all and selector.get_map()):
                    break
                self._pass_signals_on()
                if self._given_up_at is not None and time.monotonic() > self._given_up_at:
                    break
        if code is None:
            return 0
        return code if code >= 0 else 128 - code

    def _pump(self, selector: selectors.BaseSelector, timeout: float) -> bool:
        got_any = False
        for key, _ in selector.select(timeout):
            data = os.read(key.fd, 1 << 16)
            if data:
                got_any = True
                self._session.printed(key.data, data)
                sink = sys.stdout if key.data == 1 else sys.stderr
                sink.buffer.write(data)
                sink.flush()
            else:
                selector.unregister(key.fileobj)
        return got_any

    def _pass_signals_on(self) -> None:
        while self._signals:
            self._given_up_at = time.monotonic() + _SIGNAL_GRACE_S
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, self._signals.pop(0))


def _opened(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _import(capture: Capture) -> None:
    """Make the report, or fail to."""
    faults = capture.faults
    temporary = Path(tempfile.gettempdir(), f"nsys-report-{secrets.token_hex(2)}.qdstrm")
    wanted = Path(capture.options.output.removesuffix(".nsys-rep")).absolute()
    _say(f"Generating '{temporary}'")
    if "importer_error" in faults:
        print("Importer error status: An unknown error occurred.", file=sys.stderr)
    if not faults.isdisjoint(("importer_error", "qdstrm_only")):
        raw = wanted.with_name(wanted.name + ".qdstrm")
        raw.write_bytes(b"simulated raw events")
        _say(f"Generated:\n\t{raw}")
        return
    if "slow_import" in faults:
        time.sleep(_SLOW_IMPORT_S)
    report = wanted.with_name(wanted.name + ".nsys-rep")
    problem = _cannot_write(report, capture.options.force)
    if "report_in_tmpdir" in faults:
        problem = "No space left on device."
    if problem:
        print(f"Failed to create '{report}': {problem}", file=sys.stderr)
        report = temporary.with_suffix(".nsys-rep")
    write_report(report, capture)
    if "report_truncated" in faults:
        os.truncate(report, report.stat().st_size // 2)
    _say(f"\r[1/1] [0%                          ] {report.name}", end="")
    _say(f"\r[1/1] [========================100%] {report.name}")
    _say(f"Generated:\n\t{report}")


def _cannot_write(report: Path, force: bool) -> str:
    """Why nsys would put the report into the temporary folder instead; empty if it would not."""
    if report.exists() and not force:
        return "File exists.\nUse `--force-overwrite true` to overwrite existing files."
    if not report.parent.is_dir():
        return "No such file or directory."
    if not os.access(report.parent, os.W_OK):
        return "Permission denied."
    return ""


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, flush=True)
