"""Making a report of raw events once more, where nsys itself did not manage to.

On a busy machine nsys's importer now and then fails with "An unknown error occurred", and nsys
leaves its raw events. They are whole, and importing them is much cheaper than running the tests
again. What fails for a reason (no importer, a missing library, a full disk) fails again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.capture.installation import Files, FilesHere, find_installation
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.process.environment import private_environment
from pytest_nsys.process.processes import Finished, run_program

FAILED = "a second import failed too"
"""How a line begins that says so, in what nsys printed."""


def import_again(nsys: NsysTool, report: Path, printed: str, *, deadline_s: float) -> str:
    """Import the raw events beside the report, if there are any: then the first import failed.

    Args:
        nsys: the nsys that recorded them.
        report: where the report belongs, in the private folder of its worker.
        printed: what nsys printed.
        deadline_s: how long it may take.

    Returns:
        What is to be judged as printed (see `pytest_nsys.capture.proof.prove_report`): what the
        second import printed if it went well, and the raw events are removed; else both.
    """
    raw = report.with_suffix(".qdstrm")
    if not raw.exists():
        return printed
    importer = find_importer(nsys, FilesHere())
    if importer is None:
        return printed
    environment = private_environment(report.parent)
    environment.update(importer.environment(environment.get("LD_LIBRARY_PATH", "")))
    try:
        done = run_program(
            importer.command(str(report)), environment=environment, deadline_s=deadline_s
        )
    except OSError as error:
        return f"{printed}\n{FAILED}: {error}"
    if done.code is None:
        return f"{printed}\n{FAILED}: it did not end within {deadline_s:g} s"
    if done.code != 0 or not report.exists():
        return f"{printed}\n{FAILED}: {ended(done)}"
    raw.unlink()
    return lines_of(done)


@dataclass(frozen=True)
class Importer:
    """The program of an nsys that makes reports of raw events.

    Attributes:
        program: its path.
        libraries: the folders that its libraries are also looked for in.
    """

    program: str
    libraries: tuple[str, ...]

    def command(self, report: str) -> list[str]:
        """What makes the report, of the raw events beside it."""
        raw = f"{report.removesuffix('.nsys-rep')}.qdstrm"
        return [self.program, "--input-file", raw, "--output-file", report, "--force-overwrite"]

    def environment(self, searched: str = "") -> dict[str, str]:
        """What it needs beside its usual environment, of which ``searched`` is LD_LIBRARY_PATH."""
        folders = ":".join(filter(None, [*self.libraries, searched]))
        return {"LD_LIBRARY_PATH": folders} if self.libraries else {}


def find_importer(nsys: NsysTool, files: Files) -> Importer | None:
    """The importer of this nsys; None where it has none."""
    parts = find_installation(nsys, files)
    if parts is None or parts.importer is None:
        return None
    return Importer(parts.importer, parts.searched)


def ended(done: Finished) -> str:
    """How an importer ended that failed."""
    last = next(filter(None, reversed(lines_of(done).splitlines())), "nothing printed")
    return f"exit code {done.code}, {last}"


def lines_of(done: Finished) -> str:
    """What an importer printed, of lines that it wrote anew the last."""
    return "\n".join(line.split("\r")[-1].rstrip() for line in done.printed.splitlines())
