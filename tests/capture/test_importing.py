"""Importing raw events a second time, with an nsys put together of shell scripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_nsys.capture import importing
from pytest_nsys.capture.importing import import_again
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.capture.proof import prove_report
from pytest_nsys.errors import ImporterFailed
from tests.support.harness import write_program

PRINTED = "Importer error status: An unknown error occurred."
SAVES = 'echo "Processing [50%]"; echo report > "$4"; env > "$4.env"'

MakeNsys = Callable[[str], NsysTool]


@pytest.fixture
def make_nsys(tmp_path: Path) -> MakeNsys:
    """Makes an nsys whose importer is a shell script."""

    def make(importer: str) -> NsysTool:
        target, host = tmp_path / "target-linux-x64", tmp_path / "host-linux-x64"
        for program, text in ((target / "nsys", "exit 1"), (host / "QdstrmImporter", importer)):
            program.parent.mkdir()
            program.write_bytes(f"#!/bin/sh\n{text}\n".encode())
            program.chmod(0o755)
        (target / "nsys").write_bytes(b"\x7fELF\xff")
        return NsysTool(target / "nsys", (2023, 4, 4))

    return make


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Where a report should be, with raw events beside it."""
    folder = tmp_path / "worker-1"
    folder.mkdir()
    (folder / "report.qdstrm").write_text("events")
    return folder / "report.nsys-rep"


def again(nsys: NsysTool, report: Path, deadline_s: float = 20.0) -> str:
    return import_again(nsys, report, PRINTED, deadline_s=deadline_s)


def test_raw_events_become_a_report(
    make_nsys: MakeNsys, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    printed = again(make_nsys(SAVES), report)
    assert printed == "Processing [50%]"
    prove_report(report, printed)
    environment = Path(f"{report}.env").read_text()
    assert f"PYTEST_NSYS_WORKER={report.parent}\n" in environment
    assert "hunter2" not in environment


def test_a_report_needs_no_second_import(make_nsys: MakeNsys, report: Path) -> None:
    report.with_suffix(".qdstrm").unlink()
    assert again(make_nsys("exit 1"), report) == PRINTED
    assert not report.exists()


@pytest.mark.parametrize(
    ("importer", "line"),
    [
        ("echo something; echo is wrong; exit 3", "exit code 3, is wrong"),
        ("exit 3", "exit code 3, nothing printed"),
        ("echo done", "exit code 0, done"),
        ('echo half > "$4"; kill -9 $$', "exit code -9, nothing printed"),
        ("exec sleep 100", "it did not end within 2 s"),
    ],
)
def test_a_second_failure_is_told_of(
    importer: str, line: str, make_nsys: MakeNsys, report: Path
) -> None:
    printed = again(make_nsys(importer), report, deadline_s=2.0)
    assert printed == f"{PRINTED}\n{importing.FAILED}: {line}"
    with pytest.raises(ImporterFailed) as caught:
        prove_report(report, printed)
    assert caught.value.evidence == printed


def test_what_the_second_import_complains_of_counts(make_nsys: MakeNsys, report: Path) -> None:
    printed = again(make_nsys(f"{SAVES}; echo Errors occurred while processing"), report)
    with pytest.raises(ImporterFailed, match="could not make a report"):
        prove_report(report, printed)


def test_an_importer_may_not_be_startable(make_nsys: MakeNsys, report: Path) -> None:
    nsys = make_nsys("exit 1")
    (nsys.path.parents[1] / "host-linux-x64/QdstrmImporter").chmod(0o644)
    printed = again(nsys, report)
    assert printed.startswith(f"{PRINTED}\n{importing.FAILED}: [Errno 13]")


def test_there_may_be_no_importer(make_nsys: MakeNsys, report: Path) -> None:
    nsys = make_nsys("exit 1")
    (nsys.path.parents[1] / "host-linux-x64/QdstrmImporter").unlink()
    assert again(nsys, report) == PRINTED
    assert again(NsysTool(report.parent / "nsys", (2023, 4, 4)), report) == PRINTED


def test_an_importer_gets_the_folders_of_its_libraries(
    make_nsys: MakeNsys, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of an nsys that a wrapper script starts, which puts a library beside it."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
    nsys = make_nsys(SAVES)
    wrapper = write_program(
        report.parent / "nsys",
        f'#!/bin/sh\nexport LD_LIBRARY_PATH=/libraries\nexec {nsys.path} "$@"\n',
    )
    again(NsysTool(wrapper, nsys.version), report)
    assert "LD_LIBRARY_PATH=/libraries:/mine\n" in Path(f"{report}.env").read_text()
