"""Sessions of nsys: looking at them, and collecting again and again around one running program.

What holds for nsys 2023.4 (found by running it): sessions are found by TMPDIR, so those of one
private folder are nobody else's. ``profile --start-later`` gives the state DelayedCollection,
``launch`` gives Launched; ``start`` makes Collection of either and ``stop`` Launched of that. The
first ``start`` after ``profile`` ignores all its options and uses those of ``profile``. ``start``
of a session that does not exist returns 0 and makes one that nobody ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_nsys.capture.importing import import_again
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.capture.proof import prove_report
from pytest_nsys.errors import (
    CollectionFailed,
    DeadlineExceeded,
    NsysTooOld,
    SessionBusy,
    SessionError,
    SessionMissing,
)
from pytest_nsys.process.limits import shortage
from pytest_nsys.process.logs import readable
from pytest_nsys.process.processes import Finished, run_program
from pytest_nsys.support.own import own

OLDEST = (2023, 4, 0)
"""The oldest nsys that can do this."""

CAN_START = ("DelayedCollection", "Launched")
"""States in which a collection can be started."""

COLLECTING = ("Collection", "RangeCollection")
"""States in which something is collected."""

# What `nsys start` takes of the options of `nsys profile`.
_START_OPTIONS = (
    *("--backtrace", "-b", "--cpu-core-events", "--cpuctxsw", "--event-sample", "--ftrace"),
    *("--event-sampling-interval", "--gpu-metrics-device", "--gpu-metrics-devices"),
    *("--gpu-metrics-frequency", "--gpu-metrics-set", "--gpuctxsw", "--nic-metrics"),
    *("--os-events", "--sample", "-s", "--samples-per-backtrace", "--sampling-period"),
)
_SESSION = re.compile(r"^\s*(\d+)\s+(\S+)\s+(\S+)\s+(\d+)\s+(\S.*?)\s*$")
_GENERATED = re.compile(r"^\s*(/.*\.(?:nsys-rep|qdstrm))\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Session:
    """A session of nsys.

    Attributes:
        name: of the session.
        state: such as "Launched" or "Collection".
        programs: how many programs have been started in it.
    """

    name: str
    state: str
    programs: int


@dataclass(frozen=True)
class Collected:
    """One collection.

    Attributes:
        report: nsys's report, whole.
        printed: what nsys printed of it.
        cut_short: the limit that ended it early; "" if none did.
    """

    report: Path
    printed: str
    cut_short: str = ""


class Collection(Protocol):
    """Starts and stops collecting in one session, one report for each time."""

    @property
    def collecting(self) -> bool:
        """Whether something is being collected, as far as is known here."""

    def start(self, output: Path) -> None:
        """Begin; the report shall be ``output``, which ends in ".nsys-rep"."""

    def stop(self) -> Collected:
        """End, and return the report."""


def demand_sessions(nsys: NsysTool) -> None:
    """This nsys can start and stop.

    Raises:
        NsysTooOld: it cannot.
    """
    if nsys.version < OLDEST:
        raise NsysTooOld(
            f"nsys {nsys.version_text} cannot start and stop around a server",
            evidence=str(nsys.path),
            remedy="install nsys 2023.4 or newer, and name it with --nsys-executable; without the "
            "--nsys options server tests run unprofiled",
        )


def parse_sessions(printed: str) -> list[Session]:
    """The sessions in what ``nsys sessions list`` printed."""
    rows = filter(None, (_SESSION.match(line) for line in printed.splitlines()))
    return [Session(row[5], row[3], int(row[4])) for row in rows]


def generated(printed: str) -> list[Path]:
    """What nsys says that it wrote: a report, and raw events (".qdstrm") where it failed to make
    one of them; then the report may be there and incomplete."""
    _, said, after = printed.rpartition("Generated:")
    return [Path(path) for path in _GENERATED.findall(after)] if said else []


def start_options(options: Sequence[str]) -> tuple[str, ...]:
    """Those options of ``nsys profile`` that ``nsys start`` takes, and has to be told again."""
    found: list[str] = []
    taken = False
    for option in options:
        if option.startswith("-"):
            taken = option.split("=", 1)[0] in _START_OPTIONS
        if taken:  # a value that stands apart goes with its option
            found.append(option)
    return tuple(found)


@dataclass(frozen=True)
class SessionTool:
    """One session, as seen by the commands of nsys.

    Attributes:
        nsys: the program.
        name: of the session.
        environment: that nsys is run in; its TMPDIR decides which sessions there are.
        deadline_s: longest time for one command.
    """

    nsys: NsysTool
    name: str
    environment: Mapping[str, str]
    deadline_s: float

    def sessions(self) -> list[Session]:
        """All sessions.

        Raises:
            DeadlineExceeded: nsys did not answer.
            SessionError: nsys cannot be started.
        """
        return parse_sessions(self.run("sessions", "list").printed)

    def demand(self) -> Session:
        """This session.

        Raises:
            SessionMissing: it does not exist, or has no program.
        """
        sessions = self.sessions()
        found = next((one for one in sessions if one.name == self.name), None)
        if found is None:
            others = ", ".join(f"{one.name} ({one.state})" for one in sessions)
            raise SessionMissing(
                f"nsys has no session {self.name!r}",
                evidence=f"sessions: {others or 'none'}; "
                f"TMPDIR={self.environment.get('TMPDIR', '(not set)')}",
                remedy="start the server with 'nsys launch --session-new=NAME ... COMMAND' as the "
                "same user and with the same TMPDIR; 'nsys sessions list' shows it then",
            )
        if not found.programs:
            raise SessionMissing(
                f"no program runs in nsys's session {self.name!r}",
                evidence=f"state: {found.state}",
                remedy=f"it was left by a 'nsys start' without a program: end it with 'nsys "
                f"shutdown --session={self.name}', and start the server with 'nsys launch "
                "--session-new=NAME ... COMMAND'",
            )
        return found

    def start(self, *options: str) -> None:
        """``nsys start`` in a session that exists.

        Raises:
            SessionMissing: it does not.
            SessionBusy: it collects already, or is about to.
            CollectionFailed: nsys refused.
        """
        state = self.demand().state
        if state not in CAN_START:
            raise SessionBusy(
                f"nsys's session {self.name!r} cannot start a collection now",
                evidence=f"state: {state}",
                remedy="somebody else may be using it; 'nsys stop --session="
                f"{self.name}' ends a collection",
            )
        done = self.run("start", f"--session={self.name}", *options)
        if done.code != 0:
            raise CollectionFailed(
                f"nsys could not start collecting (exit code {done.code})",
                evidence=done.printed[-2000:],
                remedy="see nsys's own lines above; it may not take an option of nsys_args here",
            )

    def run(self, *arguments: str) -> Finished:
        """Run a command of nsys to its end.

        Raises:
            DeadlineExceeded: it did not end in its time.
            SessionError: it cannot be started.
        """
        command = [str(self.nsys.path), *arguments]
        try:
            done = run_program(command, environment=self.environment, deadline_s=self.deadline_s)
        except OSError as error:
            raise SessionError(
                "nsys cannot be started", evidence=str(error), remedy="see to the nsys program"
            ) from None
        if done.code is None:
            raise DeadlineExceeded(
                f"nsys {arguments[0]} did not end within {self.deadline_s:g} s",
                evidence=done.printed[-2000:],
                remedy="a smaller window is written faster (requests=, duration=, max_size=); "
                "nsys_tool_timeout sets how long it may take",
            )
        return done


class OpenCollection:
    """What any `Collection` remembers: where the report of a collection that is open shall be."""

    def __init__(self) -> None:
        self._output: Path | None = None

    @property
    def collecting(self) -> bool:
        """Whether it has been started and not stopped."""
        return self._output is not None

    def _close(self) -> Path:
        """It is open no more; where its report shall be.

        Raises:
            CollectionFailed: none was open.
        """
        output, self._output = self._output, None
        if output is None:
            raise CollectionFailed(
                "nothing is being collected", remedy="start a collection before it is stopped"
            )
        return output


class StartStop(OpenCollection):
    """Collects by ``nsys start`` and ``nsys stop``.

    Args:
        tool: the session.
        options: what the program is profiled with.
    """

    def __init__(self, tool: SessionTool, options: Sequence[str]) -> None:
        super().__init__()
        self._tool = tool
        self._options = start_options(options)

    def start(self, output: Path) -> None:
        """Begin to collect.

        Args:
            output: where the report shall be; ends in ".nsys-rep".

        Raises:
            SessionMissing: the session is gone.
            SessionBusy: it collects already.
            CollectionFailed: nsys refused.
            DeadlineExceeded: nsys did not answer.
        """
        self._tool.start(*self._options, "-o", str(output), "--force-overwrite=true")
        self._output = output

    def stop(self) -> Collected:
        """End the collection and wait for its report.

        Raises:
            CollectionFailed: nsys could not stop; the program may have ended meanwhile.
            ImporterFailed, CaptureMissing: nsys could not make a report.
            DeadlineExceeded: it took too long.
        """
        output = self._close()
        done = self._tool.run("stop", f"--session={self._tool.name}")
        if done.code != 0:
            raise CollectionFailed(
                f"nsys could not stop collecting (exit code {done.code}){shortage(output.parent)}",
                evidence=done.printed[-2000:],
                remedy="the server, or the nsys around it, has probably ended: see its log",
            )
        return finish_report(self._tool, output, done.printed)


def finish_report(
    tool: SessionTool, output: Path, printed: str, *, written: Path | None = None
) -> Collected:
    """Bring a report to where it was asked for, importing it once more where that has failed.

    Args:
        tool: the session that it is of.
        output: where it shall be.
        printed: what nsys printed.
        written: where else it may be.

    Raises:
        ImporterFailed, CaptureMissing: there is none.
    """
    expected = written or output
    for path in (*generated(printed), expected, expected.with_suffix(".qdstrm")):
        wanted = output.with_suffix(path.suffix)
        if path.exists() and path != wanted:
            own.move(path, wanted)
    printed = import_again(tool.nsys, output, printed, deadline_s=tool.deadline_s)
    printed = readable(printed)
    prove_report(output, printed)
    return Collected(output, printed)
