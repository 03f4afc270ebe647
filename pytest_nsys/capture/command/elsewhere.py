"""One command under the nsys of another place, from its start to an exported capture here."""

from __future__ import annotations

import re
import secrets
import subprocess
from pathlib import Path

from pytest_nsys.capture.command.here import (
    REFUSED,
    CommandPlan,
    Taken,
    Watcher,
    follow,
    no_program,
    nothing_collected,
)
from pytest_nsys.capture.command.place import Elsewhere, FilesThere, Session, TemporaryFolder
from pytest_nsys.capture.export import export_report
from pytest_nsys.capture.importing import FAILED, ended, find_importer, lines_of
from pytest_nsys.capture.nsys import NsysTool, export_command, find_nsys, profile_command
from pytest_nsys.capture.starting import PRINTED, refused
from pytest_nsys.errors import CaptureMissing, ExportFailed, NsysNotFound
from pytest_nsys.process.guard import end_marked
from pytest_nsys.process.limits import demand_space
from pytest_nsys.process.logs import read_end
from pytest_nsys.support.own import own
from pytest_nsys.trace.schema import TABLES

_NO_PROGRAM = "Executable not found"
_NOT_RUN = re.compile(r"^(?:\S*/)?env: ", re.MULTILINE)
"""How a line begins in which ``env``, below nsys, says that there is no such program."""

_NOT_RUN_CODES = (126, 127)
_END_S = 60.0


def capture_elsewhere(
    elsewhere: Elsewhere,
    plan: CommandPlan,
    folder: Path,
    watcher: Watcher,
    *,
    executable: str | None = None,
    deadline_s: float,
) -> Taken:
    """Run the command under the nsys of another place; its report comes here and is removed there.

    What nsys prints there is shown with what the command does. The environment there is in the
    report, until it is scrubbed. An interrupt (Ctrl-C) ends the collection and the command there.

    Args:
        elsewhere: the place.
        plan: what to run.
        folder: a private folder here.
        watcher: who watches.
        executable: the nsys there; None for one that is found.
        deadline_s: as for `capture_here`.

    Raises:
        LauncherFailed: the launcher leads nowhere.
        FetchFailed: the capture cannot be brought here.
        NsysError: there is no capture, or none that can be used.
    """
    demand_space(folder)
    with elsewhere.temporary_folder(watcher.say) as remote:
        nsys = elsewhere.find_nsys(executable)
        run = _There(elsewhere, nsys, plan, remote, folder, watcher, deadline_s)
        try:
            return run.take()
        finally:
            end_marked(str(folder))


class _There:
    """The command under the nsys of another place."""

    def __init__(
        self,
        elsewhere: Elsewhere,
        nsys: NsysTool,
        plan: CommandPlan,
        remote: TemporaryFolder,
        folder: Path,
        watcher: Watcher,
        deadline_s: float,
    ) -> None:
        self._elsewhere = elsewhere
        self._nsys = nsys
        self._plan = plan
        self._remote = remote
        self._folder = folder
        self._watcher = watcher
        self._deadline_s = deadline_s
        self._session = Session(remote, nsys, f"pytestnsys{secrets.token_hex(6)}")
        self._trouble = ""

    def take(self) -> Taken:
        began = own.clock()
        whole = False
        try:
            with self._elsewhere.ended(self._session):
                code = self._run()
            seconds = own.clock() - began
            self._prove(code, seconds)
            whole = True
        finally:
            if not whole:  # the launcher may have lost its way, or nsys its command
                self._elsewhere.end(self._session, keep=False, deadline_s=_END_S)
        return Taken(self._export(), self._plan.exit_code(code, seconds), self._nsys)

    def _run(self) -> int:
        command = profile_command(
            self._nsys,
            Path(self._remote.path) / "report",
            self._remote.program(self._plan.command),
            (*self._plan.arguments, f"--session-new={self._session.name}"),
        )
        began = own.clock()
        with (
            (self._folder / "stdout").open("wb") as out,
            (self._folder / "stderr").open("wb") as err,
        ):
            process = own.Popen(
                self._elsewhere.launcher.command(self._remote.nsys(self._nsys, *command[1:])),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._elsewhere.environment,
                start_new_session=True,
            )
        follow(
            process,
            self._folder,
            self._watcher,
            over=lambda: self._plan.is_over(own.clock() - began),
            interrupt=self._interrupt,
            deadline_s=self._deadline_s,
        )
        return process.returncode

    def _interrupt(self) -> None:
        self._trouble = self._elsewhere.end(self._session, keep=True, deadline_s=self._deadline_s)

    @property
    def _report(self) -> str:
        return f"{self._remote.path}/report.nsys-rep"

    def _printed(self) -> str:
        printed = (read_end(self._folder / name)[-PRINTED:] for name in ("stdout", "stderr"))
        parts = [*printed, self._trouble]
        return "\n".join(filter(None, parts))[-PRINTED:]

    def _prove(self, code: int, seconds: float) -> None:
        printed = self._printed()
        not_run = code in _NOT_RUN_CODES and _NOT_RUN.search(printed) is not None
        raw = f"{self._remote.path}/report.qdstrm"
        failed = not not_run and self._elsewhere.size(raw) is not None
        if failed:
            printed, failed = self._import_again(raw, printed)
        if not (not_run or failed) and self._elsewhere.size(self._report):
            return
        if not_run or _NO_PROGRAM in printed:
            raise no_program(self._plan.command[0], "where --launcher leads", printed)
        if code != 0 and (refusal := refused(printed, REFUSED)):
            raise refusal
        evidence = f"exit code {code}\n{printed}"
        files = self._elsewhere.ask(["ls", "-A", self._remote.path]).printed.split()
        missing = CaptureMissing(
            "nsys ended and left no report where --launcher leads",
            evidence=f"{evidence}\nfiles: {', '.join(files) or 'none'}",
            remedy="see the lines above: the launcher may have lost its connection; a .qdstrm "
            "file means that nsys could not make a report of it (install libdw1 there)",
        )
        raise nothing_collected(self._plan, missing, code, seconds)

    def _import_again(self, raw: str, printed: str) -> tuple[str, bool]:
        """Import raw events once more, as `import_again` does here; what is to be judged as
        printed, and whether that failed too."""
        importer = find_importer(self._nsys, FilesThere(self._elsewhere))
        if importer is None:
            return printed, True
        variables = {"TMPDIR": self._remote.path, **importer.environment()}
        words = [f"{name}={value}" for name, value in variables.items()]
        done = self._elsewhere.ask(
            ["env", *words, *importer.command(self._report)], self._deadline_s
        )
        if done.code != 0 or not self._elsewhere.size(self._report):
            return f"{printed}\n{FAILED}: {ended(done)}", True
        self._elsewhere.ask(["rm", raw])
        return lines_of(done), False

    def _export(self) -> Path:
        """The export, made here if this machine has an nsys that can, else there."""
        try:
            here = find_nsys()
        except NsysNotFound:
            here = None
        if here is not None and here.version >= self._nsys.version:
            report = self._folder / "report.nsys-rep"
            self._elsewhere.fetch(self._report, report)
            return export_report(here, report, self._folder, deadline_s=self._deadline_s)
        remote = f"{self._remote.path}/export.sqlite"
        words = export_command(self._nsys, Path(self._report), Path(remote), "sqlite", TABLES)
        done = self._elsewhere.ask(self._remote.nsys(self._nsys, *words[1:]), self._deadline_s)
        if done.code != 0:
            raise ExportFailed(
                f"nsys export ended with exit code {done.code} where --launcher leads",
                evidence=done.printed[-PRINTED:],
                remedy="check that the disk there is not full; with an nsys here that is at least "
                "as new, the report is exported here",
            )
        export = self._folder / "export.sqlite"
        self._elsewhere.fetch(remote, export)
        return export
