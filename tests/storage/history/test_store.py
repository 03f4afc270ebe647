"""The files of a history: written line by line, read back, damaged, torn, and by two at once."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import HistoryDamaged, HistoryError
from pytest_nsys.storage.history import record as recording
from pytest_nsys.storage.history import record_run
from pytest_nsys.storage.history.commit import head_commit
from pytest_nsys.storage.history.document import LONGEST_KEY, Entry, parse, render
from pytest_nsys.storage.history.record import entry_of
from pytest_nsys.storage.history.store import append, history_path, read
from pytest_nsys.verdict.verdict import Verdict
from tests.support import made
from tests.support.harness import git, write_program

NOW = datetime(2026, 11, 3, 12, 30, 15, tzinfo=timezone.utc)
ENTRY = Entry(
    nodeid="tests/t.py::test[ü]",
    device="nvidia-h200",
    date=NOW,
    commit="a" * 40 + "+dirty",
    nsys="2025.3.2",
    driver="580.1",
    versions={"torch": "2.9.0"},
    status="ok",
    windows={"test": {"gpu.kernel_time": (100.125, 15), "sync.count": (2.0, 15)}},
)

entries = st.builds(
    Entry,
    nodeid=st.text(),
    device=st.text(),
    date=st.datetimes(min_value=datetime(1000, 1, 1)).map(
        lambda date: date.replace(microsecond=0, tzinfo=timezone.utc)
    ),
    commit=st.sampled_from(["", "0" * 40, "f" * 64 + "+dirty"]),
    nsys=st.text(),
    driver=st.text(),
    versions=st.dictionaries(st.text(), st.text(), max_size=3),
    status=st.text(),
    windows=st.dictionaries(
        st.text(),
        st.dictionaries(st.text(), st.tuples(made.numbers, st.integers(1, 10**6)), max_size=3),
        max_size=2,
    ),
)


@given(st.lists(entries, max_size=3))
def test_what_is_written_is_read(written: list[Entry]) -> None:
    content = b"".join(map(render, written))
    assert content.isascii()
    assert content.count(b"\n") == len(written)
    assert parse(content, "x") == (tuple(written), ())


@given(st.integers(1, len(render(ENTRY)) - 2))
def test_a_line_that_breaks_off_anywhere_is_left_out_and_said(length: int) -> None:
    cut = render(ENTRY)[:length]
    found, torn = parse(render(ENTRY) + cut, "x")
    assert (found, [one.number for one in torn]) == ((ENTRY,), [2])
    found, torn = parse(cut + b"\n" + render(ENTRY) + b"\0\0\0", "x")
    assert (found, [one.number for one in torn]) == ((ENTRY,), [1])


def test_the_next_line_after_a_torn_one_is_whole(tmp_path: Path) -> None:
    append(tmp_path, [ENTRY])
    path = tmp_path / history_path(ENTRY.device, ENTRY.nodeid)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:50])
    later = replace(ENTRY, date=NOW + timedelta(seconds=1))
    append(tmp_path, [later])
    series, torn = read(tmp_path)
    assert [one.entries for one in series] == [(ENTRY, later)]
    assert [(one.path, one.line) for one in torn] == [(path, 2)]


def line(old: str, new: str) -> bytes:
    text = render(ENTRY).decode()
    assert old in text
    return text.replace(old, new).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<<<<<<< HEAD\n", "a merge conflict is unresolved"),
        (b"=======\n", "a merge conflict is unresolved"),
        (b"hello\n", "this is not JSON: Expecting value"),
        (b"[1]\n", "a value is missing or of the wrong kind"),
        (b'{"schema": "\xff"}\n', "a value is missing or of the wrong kind"),
        (line('"schema":1', '"schema":2'), "written by a newer pytest-nsys (schema 2, this one"),
        (line('"schema":1', '"schema":0'), "a value is missing"),
        (line('"schema":1', '"schema":true'), "a value is missing"),
        (line('"status":"ok",', ""), "a value is missing"),
        (line("a" * 40, "; rm -rf"), "a value is missing"),
        (line("2026-11-03T", "03.11.2026 "), "a value is missing"),
        (line("100.125", "NaN"), "a value is missing"),
        (line("[100.125,15]", "[100.125]"), "a value is missing"),
        (line("[100.125,15]", "[100.125,0]"), "a value is missing"),
    ],
    ids=lambda content: repr(content[:20]) if isinstance(content, bytes) else None,
)
def test_another_line_is_an_error_that_names_it(content: bytes, message: str) -> None:
    with pytest.raises(HistoryDamaged) as caught:
        parse(render(ENTRY) + content, "h.jsonl")
    assert caught.value.what.startswith("h.jsonl:2: ")
    assert message in caught.value.what
    assert caught.value.remedy


def test_a_folder_without_a_history_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="there is no folder"):
        read(tmp_path / "none")
    with pytest.raises(HistoryError, match="there is no history in"):
        read(tmp_path)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").symlink_to("/dev/zero")
    with pytest.raises(HistoryError, match="cannot be read"):
        read(tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryError, match="cannot be written") as caught:
        append(tmp_path / "file", [ENTRY])
    assert "--nsys-history" in caught.value.remedy


def test_a_lock_that_stays_is_an_error(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(HistoryError, match=r"locked .* for 0.05 s"):
        append(tmp_path, [ENTRY], lock_deadline_s=0.05)
    assert (tmp_path / ".gitignore").read_text() == ".lock\n"


FULL = """
import resource, sys
from datetime import datetime, timezone
from pathlib import Path
from pytest_nsys.errors import HistoryError
from pytest_nsys.storage.history.document import Entry
from pytest_nsys.storage.history.store import append
entry = Entry("t.py::t", "gpu", datetime(2026, 1, 1, tzinfo=timezone.utc), status="x" * 5000)
append(Path(sys.argv[1]), [entry])
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
try:
    append(Path(sys.argv[1]), [entry])
except HistoryError as error:
    print(error.what)
"""


def test_a_disk_that_is_full_in_the_middle_of_a_line_is_an_error(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    assert "cannot be written" in subprocess.check_output(command, text=True, timeout=60)
    (series,), torn = read(tmp_path)
    assert (len(series.entries), [one.line for one in torn]) == (1, [2])


APPENDS = """
import sys
from datetime import datetime, timezone
from pathlib import Path
from pytest_nsys.storage.history.document import Entry
from pytest_nsys.storage.history.store import append
for number in range(50):
    date = datetime(2026, 1, int(sys.argv[2]), 0, 0, number, tzinfo=timezone.utc)
    append(Path(sys.argv[1]), [Entry("t.py::t", "gpu", date, status="x" * 5000)])
"""


def test_two_that_append_at_once_leave_whole_lines(tmp_path: Path) -> None:
    runs = [
        subprocess.Popen([sys.executable, "-c", APPENDS, str(tmp_path), number])
        for number in ("1", "2")
    ]
    assert [run.wait(timeout=120) for run in runs] == [0, 0]
    (series,), torn = read(tmp_path)
    assert torn == ()
    assert len(series.entries) == 100
    assert sorted({entry.day for entry in series.entries}) == ["2026-01-01", "2026-01-02"]


def test_the_runs_of_merged_files_are_ordered_by_date(tmp_path: Path) -> None:
    earlier = replace(ENTRY, date=NOW - timedelta(days=1))
    other = replace(ENTRY, device="other")
    append(tmp_path, [ENTRY, other, earlier])
    series, _ = read(tmp_path)
    assert [(one.device, one.entries) for one in series] == [
        ("nvidia-h200", (earlier, ENTRY)),
        ("other", (other,)),
    ]


# What is kept of a run


LONG = f"kernel[{'k' * LONGEST_KEY}].time"


def verdict(**changes: Any) -> Verdict:
    window = made.window(
        {"gpu.kernel_time": [1, 3, 2], "api.count": [], "kernel[k].time": [7], LONG: [1]}
    )
    environment = replace(made.ENVIRONMENT, versions={"torch": "2.9"}, **changes)
    measurement = made.measurement(window, environment=environment)
    return Verdict(measurement.nodeid, "regressed", True, measurement)


def test_an_entry_holds_medians_and_numbers_of_samples() -> None:
    assert entry_of(verdict(), NOW) == Entry(
        "t.py::test",
        "nvidia-h200",
        NOW,
        "",
        "2025.3.2",
        "580.1",
        {"torch": "2.9"},
        "regressed",
        {"test": {"gpu.kernel_time": (2.0, 3), "kernel[k].time": (7.0, 1)}},
    )


@pytest.mark.parametrize(
    ("day", "date"),
    [
        ("", NOW),
        ("yesterday", NOW),
        ("2026-11-02", NOW),
        ("2026-11-04", NOW),
        ("2026-10-01", datetime(2026, 10, 1, tzinfo=timezone.utc)),
    ],
)
def test_a_replay_is_dated_by_its_recording(day: str, date: datetime) -> None:
    assert entry_of(verdict(date=day), NOW).date == date


def test_a_run_without_verdicts_writes_nothing(tmp_path: Path) -> None:
    record_run(tmp_path / "h", [], tmp_path)
    assert list(tmp_path.iterdir()) == []
    record_run(tmp_path / "h", [verdict()], tmp_path)
    (series,), _ = read(tmp_path / "h")
    assert series.entries[0].commit == ""


# Commits


def test_a_commit_is_dirty_where_tracked_files_differ_that_the_run_does_not_write(
    tmp_path: Path,
) -> None:
    assert head_commit(tmp_path) == ""
    git(tmp_path, "init", "--quiet")
    assert head_commit(tmp_path) == ""
    project, baselines = tmp_path / "project", tmp_path / "project/baselines[1]"
    baselines.mkdir(parents=True)
    (project / "a.py").write_text("1")
    (baselines / "a.json").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message=one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (project / "untracked").write_text("1")
    (baselines / "a.json").write_text("2")
    outside = tmp_path / "elsewhere"
    assert head_commit(project, [baselines, outside]) == commit
    assert head_commit(project) == commit + "+dirty"
    git(tmp_path, "checkout", "--quiet", ".")
    (project / "a.py").write_text("2")
    assert head_commit(project, [baselines]) == commit + "+dirty"


def test_a_commit_of_which_nobody_knows_what_differs_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message=one")
    (tmp_path / ".git/index").write_text("damaged")
    assert head_commit(tmp_path) == ""


def test_what_the_run_writes_does_not_count_behind_a_link_either(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "history").mkdir(parents=True)
    git(project, "init", "--quiet")
    (project / "history/a").write_text("1")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message=one")
    (project / "history/a").write_text("2")
    (tmp_path / "link").symlink_to(project)
    assert not head_commit(tmp_path / "link", [project / "history"]).endswith("+dirty")


def test_a_git_that_is_missing_or_hangs_is_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message=one")
    monkeypatch.setattr("pytest_nsys.storage.history.commit._DEADLINE_S", 0.2)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert head_commit(tmp_path) == ""
    write_program(tmp_path / "bin/git", f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    assert head_commit(tmp_path) == ""


def test_the_commit_is_that_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "head_commit", lambda folder, ignoring: "b" * 40)
    history = tmp_path / "h"
    record_run(history, [verdict()], tmp_path)
    (series,), _ = read(history)
    assert [entry.short_commit for entry in series.entries] == ["bbbbbbb"]
