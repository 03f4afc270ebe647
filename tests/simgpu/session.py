"""The sessions of the stand-in: what `profile` is doing, and ``nsys start``, ``stop`` and the like.

A session is a folder below TMPDIR with the events of the command and a file that says what is
being collected. ``start`` and ``stop`` change that file, and the one who ends a collection makes
the report of it: nobody has to tell the running ``profile`` anything. All this is as nsys 2023.4.4
does it, quirks included.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.simgpu.options import (
    ProfileOptions,
    UsageError,
    parse_profile,
    parse_start,
    session_named,
)

DELAYED, COLLECTING, LAUNCHED, NO_PROGRAM, SHUT_DOWN = (
    *("DelayedCollection", "Collection", "Launched", "Started", "Shutdown"),
)
_PREFIX = "nsys-simulated-"
_STATE = "session.json"
_LAUNCHED = "launched.json"
_END_S = 10.0
_POLL_S = 0.02


class SessionError(Exception):
    """What nsys refuses; the text is what it prints."""


@dataclass(frozen=True)
class State:
    """What a session is doing.

    Attributes:
        name: of the session.
        doing: one of the states above.
        owner: pid of ``nsys profile``; 0 for a session without a program.
        arguments: of ``nsys profile``.
        output: where the report of this collection goes.
        force: whether it may replace what is there.
        started: when this collection began, CLOCK_MONOTONIC and UTC, in ns.
        first: whether nothing has been collected yet after ``--start-later``.
        created: when the session began, in seconds since 1970.
    """

    name: str
    doing: str
    owner: int = 0
    arguments: tuple[str, ...] = ()
    output: str = "report1"
    force: bool = False
    started: tuple[int, int] = (0, 0)
    first: bool = False
    created: float = 0.0


@dataclass(frozen=True)
class Launched:
    """The command of a session.

    Attributes:
        child: its pid.
        inherited: the environment that nsys was started with.
        environment: the environment that it was started with.
    """

    child: int
    inherited: dict[str, str]
    environment: dict[str, str]


class Session:
    """A session, as its folder has it.

    Attributes:
        folder: below TMPDIR.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def log(self) -> Path:
        """The events of the command."""
        return self.folder / "events.jsonl"

    @property
    def streams(self) -> tuple[bytes, bytes]:
        """What the command has printed: stdout and stderr."""
        names = (self.folder / "1.log", self.folder / "2.log")
        out, err = (name.read_bytes() if name.exists() else b"" for name in names)
        return out, err

    def printed(self, number: int, data: bytes) -> None:
        """Keep what the command has printed."""
        with (self.folder / f"{number}.log").open("ab") as file:
            file.write(data)

    @property
    def state(self) -> State:
        """What it is doing."""
        fields: dict[str, Any] = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
        fields["arguments"] = tuple(fields["arguments"])
        fields["started"] = tuple(fields["started"])
        return State(**fields)

    @property
    def options(self) -> ProfileOptions:
        """What it collects, and where to."""
        state = self.state
        options = parse_profile(state.arguments)
        return replace(options, output=state.output, force=state.force)

    @property
    def launched(self) -> Launched:
        """The command."""
        text = (self.folder / _LAUNCHED).read_text(encoding="utf-8")
        return Launched(**json.loads(text))

    def keep(self, launched: Launched) -> None:
        """Keep what is known of the command."""
        (self.folder / _LAUNCHED).write_text(json.dumps(asdict(launched)), encoding="utf-8")

    def put(self, state: State) -> None:
        """Change what it is doing, for everybody at once."""
        new = self.folder / f"{_STATE}.{os.getpid()}"
        new.write_text(json.dumps(asdict(state)), encoding="utf-8")
        new.replace(self.folder / _STATE)


def now() -> tuple[int, int]:
    """This moment, CLOCK_MONOTONIC and UTC, in ns."""
    return time.monotonic_ns(), time.time_ns()


def begin(arguments: Sequence[str], options: ProfileOptions, folder: Path) -> Session:
    """Make the session of ``nsys profile``; it is in the folder, which is removed with it.

    Raises:
        SessionError: there is one of this name.
    """
    if any(other.state.name == options.session for other in sessions()):
        raise SessionError(
            f"Session name '{options.session}' is already in use. "
            "Run `nsys sessions list` to list your active sessions."
        )
    session = Session(folder)
    session.log.touch()
    state = State(
        name=options.session or f"profile-{os.getpid()}",
        doing=DELAYED if options.start_later else COLLECTING,
        owner=os.getpid(),
        arguments=tuple(arguments),
        output=str(Path(options.output).absolute()),
        force=options.force,
        started=now(),
        first=options.start_later,
        created=time.time(),
    )
    session.put(state)
    return session


def sessions() -> list[Session]:
    """The sessions of this TMPDIR, without those whose ``profile`` was killed."""
    found = []
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
        session = Session(folder)
        with contextlib.suppress(FileNotFoundError):
            if session.state.owner == 0 or Path("/proc", str(session.state.owner)).exists():
                found.append(session)
    return found


def new_folder() -> tempfile.TemporaryDirectory[str]:
    """The folder of a session, removed at the end."""
    return tempfile.TemporaryDirectory(prefix=_PREFIX)


def list_sessions() -> None:
    """What ``nsys sessions list`` prints."""
    print(f"{'ID':>16}{'TIME':>13}{'STATE':>28} LAUNCH NAME")
    for number, session in enumerate(sessions()):
        state = session.state
        minutes, seconds = divmod(int(time.time() - state.created), 60)
        launched = int(state.owner > 0)
        identity, age = 1000000 + number * 100000 + state.owner, f"{minutes:02}:{seconds:02}"
        print(f"{identity:>16}{age:>13}{state.doing:>28}{launched:>7} {state.name}")


def start(arguments: Sequence[str]) -> None:
    """``nsys start``.

    Raises:
        UsageError: nsys would refuse the arguments.
        SessionError: nsys would refuse now.
    """
    options = parse_start(arguments)
    named = options.session or "[default]"
    session = next((one for one in sessions() if one.state.name == named), None)
    if session is None:  # nsys makes one, in which nothing will ever run
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        Session(folder).put(State(name=named, doing=NO_PROGRAM, created=time.time()))
        return
    state = session.state
    if state.doing not in (DELAYED, LAUNCHED):
        raise SessionError("Configuring is not allowed in this state.")
    if not state.first:  # else all is as `profile` was told
        state = replace(state, output=options.output, force=options.force)
    session.put(replace(state, doing=COLLECTING, started=now(), first=False))


def stop(arguments: Sequence[str]) -> tuple[Session, State] | None:
    """``nsys stop``, up to the making of the report.

    Returns:
        The session and what was collected; None where nothing was.

    Raises:
        UsageError: nsys would refuse the arguments.
        SessionError: nsys would refuse now.
    """
    session = _existing(session_named("stop", arguments))
    state = session.state
    if state.owner == 0:
        shutil.rmtree(session.folder)
        return None
    if state.doing != COLLECTING:
        raise SessionError("Collection stop is not allowed in this state.")
    return session, state


def shut_down(arguments: Sequence[str]) -> None:
    """``nsys shutdown``: the command is ended, and what was collected is thrown away.

    Raises:
        UsageError: nsys would refuse the arguments.
        SessionError: there is no such session.
    """
    session = _existing(session_named("shutdown", arguments))
    state = session.state
    if state.owner == 0:
        shutil.rmtree(session.folder)
        return
    session.put(replace(state, doing=SHUT_DOWN))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session.launched.child, signal.SIGTERM)
    deadline = time.monotonic() + _END_S
    while session.folder.exists() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _existing(name: str) -> Session:
    found = sessions()
    if not found:
        raise SessionError("There are no active sessions.")
    for session in found:
        if session.state.name == (name or "[default]"):
            return session
    raise SessionError(f"Failed to find session: {name}.")


def obey(name: str, arguments: Sequence[str]) -> tuple[Session, State] | int:
    """Run a command about sessions.

    Returns:
        Its exit code, or what a report is to be made of.
    """
    try:
        if name == "sessions":
            if list(arguments) != ["list"]:
                raise UsageError("usage: nsys sessions [-h | --help] <subcommand> [<args>]")
            list_sessions()
        elif name == "start":
            start(arguments)
        elif name == "shutdown":
            shut_down(arguments)
        else:
            return stop(arguments) or 0
    except SessionError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
