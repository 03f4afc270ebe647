"""Asking programs somewhere else, where the launcher stops working halfway."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_nsys.capture.command.launcher import Launcher
from pytest_nsys.capture.command.place import Elsewhere, Session, TemporaryFolder
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.errors import FetchFailed, LauncherFailed
from tests.support.harness import write_program


def until(word: str, folder: Path) -> Elsewhere:
    """A place whose launcher is gone once it was asked for this program."""
    program = write_program(
        folder / "launcher", f'#!/bin/sh\n[ "$1" != {word} ] || rm "$0"\nexec "$@"\n'
    )
    return Elsewhere(Launcher((str(program),)), folder, 30.0)


def test_a_folder_that_can_no_longer_be_removed_is_named(tmp_path: Path) -> None:
    said: list[str] = []
    with until("mktemp", tmp_path).temporary_folder(said.append) as folder:
        pass
    assert said == [
        f"{folder.path} is left where {tmp_path}/launcher leads: "
        f"{tmp_path}/launcher cannot be started"
    ]
    Path(folder.path).rmdir()


def test_a_folder_is_private_and_removed_when_what_is_done_in_it_fails(tmp_path: Path) -> None:
    said: list[str] = []
    folders: list[Path] = []

    def fail() -> None:
        with until("nothing", tmp_path).temporary_folder(said.append) as folder:
            folders.append(Path(folder.path))
            assert folders[0].stat().st_mode & 0o77 == 0
            (folders[0] / "file").touch()
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        fail()
    assert not folders[0].exists()
    assert said == []


def test_a_file_that_can_no_longer_be_printed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(FetchFailed, match="file cannot be fetched") as caught:
        until("wc", tmp_path).fetch(str(tmp_path / "file"), tmp_path / "copy")
    assert "No such file or directory" in caught.value.evidence
    assert not (tmp_path / "copy").exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    place = until("nothing", tmp_path)
    assert place.size(str(tmp_path / "file")) is None
    with pytest.raises(FetchFailed):
        place.fetch(str(tmp_path / "file"), tmp_path / "copy")


def test_what_cannot_be_ended_is_said(tmp_path: Path) -> None:
    nsys = NsysTool(Path("nsys"), (2025, 3, 1))
    session = Session(TemporaryFolder("/tmp/x", "/tmp"), nsys, "name")
    place = Elsewhere(Launcher((str(tmp_path / "none"),)), tmp_path, 30.0)
    said = place.end(session, keep=True, deadline_s=5.0)
    assert said == f"{tmp_path}/none cannot be started\n{tmp_path}/none cannot be started"
    place = Elsewhere(Launcher(("echo",)), tmp_path, 30.0)
    assert place.end(session, keep=True, deadline_s=5.0) == ""
    place = Elsewhere(Launcher(("false",)), tmp_path, 30.0)
    assert place.end(session, keep=False, deadline_s=5.0) == "nsys shutdown: "


def test_a_folder_is_found_among_what_else_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a b").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "a b"))
    program = write_program(
        tmp_path / "launcher", '#!/bin/sh\necho "in /pytest-nsys-0123456789"\n"$@"\necho done /\n'
    )
    place = Elsewhere(Launcher((str(program),)), tmp_path, 30.0)
    with place.temporary_folder(print) as folder:
        assert folder.above == str(tmp_path / "a b")
        assert Path(folder.path).parent == tmp_path / "a b"
        assert folder.program(["true"]) == ["env", f"TMPDIR={tmp_path}/a b", "true"]
    assert not list((tmp_path / "a b").iterdir())


def test_a_program_there_that_does_not_end(tmp_path: Path) -> None:
    place = Elsewhere(Launcher(("env",)), tmp_path, 30.0)
    with pytest.raises(LauncherFailed, match=r"sleep did not end within 0\.2 s where --launcher"):
        place.ask(["sleep", "60"], 0.2)
    with pytest.raises(LauncherFailed, match=r"^sleep did not end"):
        place.ask(["env", "A=1", "/bin/sleep", "60"], 0.2)
