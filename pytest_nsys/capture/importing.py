"""Making a report of raw events once more, where nsys itself did not manage to.

On a busy machine nsys's importer now and then fails with "An unknown error occurred", and nsys
leaves its raw events. They are whole, and importing them is much cheaper than running the tests
again. What fails for a reason (no importer, a missing library, a full disk) fails again.
"""

from __future__ import annotations

from pathlib import Path

from pytest_nsys.capture.installation import FilesHere, find_installation
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.process.environment import private_environment
from pytest_nsys.process.processes import run_program

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
    importer = _importer(nsys)
    if importer is None:
        return printed
    program, libraries = importer
    command = [program, "--input-file", str(raw), "--output-file", str(report)]
    try:
        done = run_program(
            [*command, "--force-overwrite"],
            environment=_environment(report.parent, libraries),
            deadline_s=deadline_s,
        )
    except OSError as error:
        return f"{printed}\n{FAILED}: {error}"
    said = "\n".join(line.split("\r")[-1].rstrip() for line in done.printed.splitlines())
    if done.code is None:
        return f"{printed}\n{FAILED}: it did not end within {deadline_s:g} s"
    if done.code != 0 or not report.exists():
        last = next(filter(None, reversed(said.splitlines())), "nothing printed")
        return f"{printed}\n{FAILED}: exit code {done.code}, {last}"
    raw.unlink()
    return said


def _environment(folder: Path, libraries: tuple[str, ...]) -> dict[str, str]:
    environment = private_environment(folder)
    if libraries:
        folders = [*libraries, environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = ":".join(filter(None, folders))
    return environment


def _importer(nsys: NsysTool) -> tuple[str, tuple[str, ...]] | None:
    """The importer of this nsys, and the folders that its libraries are also looked for in; None
    where it has none."""
    parts = find_installation(nsys, FilesHere())
    if parts is None or parts.importer is None:
        return None
    return parts.importer, parts.searched
