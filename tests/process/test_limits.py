"""Limits of a capture, and running programs to a deadline."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from pytest_nsys.errors import NoRunFolder
from pytest_nsys.process.limits import Limits, bytes_on_disk, demand_space, shortage
from pytest_nsys.process.processes import run_program
from pytest_nsys.support.own import own


@pytest.mark.parametrize(
    ("limit", "seconds", "size", "words"),
    [
        (Limits(), 1e9, 10**15, ""),
        (Limits(duration_s=60), 59.9, 0, ""),
        (Limits(60, None, ("longest", "")), 60.0, 0, "longest (60 s) was reached"),
        (Limits(size=2**21), 1e9, 2**21 - 1, ""),
        (Limits(size=2**21), 0, 2**21, "max_size (2 MiB) was reached"),
        (Limits(1, 1), 2, 2, "max_duration (1 s) was reached"),
    ],
)
def test_a_limit_is_reached(limit: Limits, seconds: float, size: int, words: str) -> None:
    assert limit.exceeded(seconds, size) == words


def test_the_size_is_what_files_take_up(tmp_path: Path) -> None:
    assert bytes_on_disk(tmp_path / "none") == 0
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(b"x" * 100_000)
    with (tmp_path / "sparse").open("wb") as file:
        os.truncate(file.fileno(), 10**9)
    (tmp_path / "link").symlink_to("/")
    assert 100_000 <= bytes_on_disk(tmp_path) < 200_000


@pytest.mark.parametrize(
    ("free_blocks", "files", "free_files", "short"),
    [(10**6, 10, 10, False), (10, 10, 10, True), (10**6, 10, 0, True), (10**6, 0, 0, False)],
)
def test_a_full_disk_is_told_of(
    free_blocks: int, files: int, free_files: int, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = SimpleNamespace(f_bavail=free_blocks, f_frsize=4096, f_files=files, f_favail=free_files)
    monkeypatch.setattr(own, "statvfs", lambda folder: state)
    assert ("the disk with the temporary files is full" in shortage(Path("/"))) is short


def test_a_disk_that_cannot_be_asked_is_not_full(tmp_path: Path) -> None:
    assert shortage(tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("free_blocks", "blocks", "enough"),
    [(2**12, 2**20, True), (2**12 - 1, 2**20, False), (0, 0, True)],
)
def test_a_capture_needs_some_space(
    free_blocks: int, blocks: int, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = SimpleNamespace(f_bavail=free_blocks, f_frsize=4096, f_blocks=blocks)
    monkeypatch.setattr(own, "statvfs", lambda folder: state)
    if enough:
        demand_space(Path("/"))
        return
    with pytest.raises(NoRunFolder, match="16 MiB to begin with") as caught:
        demand_space(Path("/"))
    assert "TMPDIR" in caught.value.remedy


def test_where_the_space_is_not_known_it_is_enough(tmp_path: Path) -> None:
    demand_space(tmp_path / "none")


def program(text: str, deadline_s: float = 20.0) -> tuple[int | None, str]:
    done = run_program(
        [sys.executable, "-S", "-c", text], environment={"A": "1"}, deadline_s=deadline_s
    )
    return done.code, done.printed


def test_a_program_is_run_to_its_end() -> None:
    text = "import os, sys; print(os.environ['A'], flush=True); print('x', file=sys.stderr)"
    assert program(text + "; sys.exit(3)") == (3, "1\nx\n")


def test_what_a_program_prints_is_kept_to_a_size() -> None:
    code, printed = program("print('x' * 10**6 + 'end')")
    assert code == 0
    assert len(printed) == 64 * 1024
    assert printed.endswith("xend\n")


def test_a_program_that_closes_its_output_is_waited_for() -> None:
    code, _ = program("import os, time; os.close(1); os.close(2); time.sleep(0.2); os._exit(4)")
    assert code == 4


def test_who_holds_the_output_of_a_program_that_ended_is_not_waited_for() -> None:
    text = "import os, time\nchild = os.fork()\nprint(child) if child else time.sleep(600)"
    code, printed = program(text, deadline_s=600.0)
    assert code == 0
    psutil.Process(int(printed)).kill()  # it is still there


def test_a_program_is_ended_at_its_deadline_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "child"
    text = (
        "import os, time\nchild = os.fork()\n"
        f"if child: open({str(note)!r}, 'w').write(str(child))\n"
        "print('begun', flush=True)\nwhile True: time.sleep(1)"
    )
    code, printed = program(text, deadline_s=0.5)
    assert code is None
    assert "begun" in printed
    child = int(note.read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"
