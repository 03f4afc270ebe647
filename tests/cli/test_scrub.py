"""``pytest-nsys scrub``: what it writes, what it says, and what it does not touch."""

from __future__ import annotations

import lzma
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.storage.recordings.recording import Recording, load_packed, write_recording
from pytest_nsys.trace import load_trace

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def report(captures: Mapping[str, Path], tmp_path: Path) -> Path:
    """A capture with everything that nsys stores."""
    path = tmp_path / "report.sqlite"
    path.write_bytes(captures["train"].read_bytes())
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE Mine (secret TEXT)")
        database.execute("INSERT INTO Mine VALUES ('hunter2')")
        database.execute(
            "INSERT INTO DIAGNOSTIC_EVENT (timestamp, timestampType, source, severity, text) "
            "VALUES (0, 1, 1, 2, 'cannot open /home/hunter2/libx.so for ''/a b/hunter2/y''')"
        )
        database.commit()
    return path


def rows(packed: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query of a packed capture."""
    plain = packed.with_suffix(".plain")
    plain.write_bytes(lzma.decompress(packed.read_bytes()))
    with closing(sqlite3.connect(plain)) as database:
        return database.execute(query).fetchall()


def test_the_copy_is_read_as_the_capture_is(command: Command, report: Path) -> None:
    code, _, err = command("scrub", report)
    assert (code, err) == (0, "")
    copy = report.with_name("report.scrubbed.sqlite.xz")
    before, after = load_trace(report), load_packed(copy)
    for name in ("kernels", "copies", "calls", "memory", "ranges"):
        assert getattr(before, name).equals(getattr(after, name)), name
    data = lzma.decompress(copy.read_bytes())
    assert b"hunter2" not in data
    assert "cannot open libx.so for 'y'" in {text for _, text in after.diagnostics}
    assert sorted(path.name for path in report.parent.iterdir()) == [copy.name, report.name]


def test_it_says_what_is_kept_and_what_is_not(command: Command, report: Path) -> None:
    _, out, _ = command("scrub", report)
    first, *lines, last = out.splitlines()
    said = [line.split() for line in lines]
    assert first.startswith(f"{report.with_name('report.scrubbed.sqlite.xz')}: ")
    assert " KiB, from " in first
    assert ["dropped", "Mine", "1", "rows"] in said
    kernels = next(words for words in said if words[1] == "CUPTI_ACTIVITY_KIND_KERNEL")
    assert " ".join(kernels[2:]) == "428 of 428 rows, 20 of 28 columns"
    assert said == sorted(said, key=lambda words: (words[0] != "kept", words[1]))
    assert last.endswith("texts and domains of NVTX ranges")


def test_ranges_can_be_hidden(command: Command, report: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(report)) as database:
        (tid,) = database.execute("SELECT globalTid FROM NVTX_EVENTS LIMIT 1").fetchone()
        add = "INSERT INTO NVTX_EVENTS (start, end, eventType, text, globalTid, domainId)"
        for values in (
            (0, None, 75, "pytest-nsys", tid, 7),
            (1, 2, 60, "12 t.py::test_hunter2 round 0", tid, 7),
            (0, None, 75, "hunter2-domain", tid, 8),
            (1, 2, 60, "hunter2-range", tid, 8),
            (3, 4, 60, "hunter2-range", tid, 8),
        ):
            database.execute(f"{add} VALUES (?, ?, ?, ?, ?, ?)", values)
        database.commit()
    code, out, _ = command("scrub", report, "-o", tmp_path / "x.sqlite.xz", "--hide-ranges")
    assert code == 0
    assert out.splitlines()[-1].endswith("numbers for NVTX ranges")
    data = lzma.decompress((tmp_path / "x.sqlite.xz").read_bytes())
    assert b"hunter2" not in data
    before, after = load_trace(report), load_packed(tmp_path / "x.sqlite.xz")
    assert "fwd" in set(before.ranges["text"])
    assert b"fwd" not in data
    assert before.ranges.drop(columns=["text", "domain"]).equals(
        after.ranges.drop(columns=["text", "domain"])
    )
    pairs = set(zip(before.ranges["text"], after.ranges["text"], strict=True))
    assert len(pairs) == before.ranges["text"].nunique() == after.ranges["text"].nunique()
    assert ("12 t.py::test_hunter2 round 0", "12") in pairs
    assert set(after.ranges["domain"]) == {"", "pytest-nsys", "domain-1"}


def test_ranges_are_hidden_where_there_are_no_strings(
    command: Command, report: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(report)) as database:
        for table in ("CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_RUNTIME", "StringIds"):
            database.execute(f"DROP TABLE {table}")
        database.execute("UPDATE NVTX_EVENTS SET text = NULL WHERE rowid % 2")
        database.execute("ALTER TABLE NVTX_EVENTS DROP COLUMN textId")
        database.commit()
    out = tmp_path / "x.sqlite.xz"
    assert command("scrub", report, "-o", out, "--hide-ranges")[0] == 0
    texts = {text for (text,) in rows(out, "SELECT text FROM NVTX_EVENTS")}
    assert texts == {f"range-{number}" for number in range(1, len(texts) + 1)}


@pytest.mark.parametrize("kind", ["packed", "parquet"])
def test_other_forms_are_taken_too(
    command: Command, report: Path, tmp_path: Path, kind: str
) -> None:
    command("scrub", report)
    copy = report.with_name("report.scrubbed.sqlite.xz")
    if kind == "packed":
        given = copy
    else:
        import pyarrow as pa
        from pyarrow import parquet as pq

        given = tmp_path / "report.parquet"
        given.mkdir()
        with closing(sqlite3.connect(report)) as database:
            names = [n for (n,) in database.execute("SELECT name FROM sqlite_master").fetchall()]
            for name in names:
                cursor = database.execute(f"SELECT * FROM [{name}]")
                columns = [part[0] for part in cursor.description]
                table = pa.table(
                    {c: [*v] for c, v in zip(columns, zip(*cursor, strict=True), strict=False)}
                )
                pq.write_table(table, given / f"{name}.parquet")
    code, _, err = command("scrub", given, "-o", tmp_path / "again.sqlite.xz")
    assert (code, err) == (0, "")
    query = "SELECT * FROM CUPTI_ACTIVITY_KIND_KERNEL ORDER BY start"
    assert rows(tmp_path / "again.sqlite.xz", query) == rows(copy, query)
    assert b"hunter2" not in lzma.decompress((tmp_path / "again.sqlite.xz").read_bytes())


def test_nothing_is_overwritten_unless_it_is_asked_for(command: Command, report: Path) -> None:
    target = report.with_name("mine.sqlite.xz")
    target.write_bytes(b"mine")
    code, _, err = command("scrub", report, "-o", target)
    assert code == 2
    assert "exists and is left alone" in err
    assert "--force" in err
    assert target.read_bytes() == b"mine"
    assert command("scrub", report, "-o", target, "--force")[0] == 0
    assert load_packed(target).kernels is not None


def test_a_link_is_replaced_and_not_written_through(command: Command, report: Path) -> None:
    precious = report.with_name("precious")
    precious.write_bytes(b"mine")
    target = report.with_name("x.sqlite.xz")
    target.symlink_to(precious)
    assert command("scrub", report, "-o", target)[0] == 2
    assert command("scrub", report, "-o", target, "--force")[0] == 0
    assert precious.read_bytes() == b"mine"
    assert not target.is_symlink()


def test_the_report_itself_is_never_the_target(command: Command, report: Path) -> None:
    command("scrub", report)
    copy = report.with_name("report.scrubbed.sqlite.xz")
    before = copy.read_bytes()
    code, _, err = command("scrub", copy, "-o", copy, "--force")
    assert code == 2
    assert "is the report itself" in err
    assert copy.read_bytes() == before


def test_what_cannot_be_scrubbed_is_said(
    command: Command, report: Path, tmp_path: Path, captures: Mapping[str, Path]
) -> None:
    (tmp_path / "text.sqlite").write_text("hello")
    write_recording(tmp_path / "recording", Recording("", "", {}, (), ()), [])
    cases = {
        tmp_path / "recording": "is a recording, which is scrubbed already",
        tmp_path / "none.sqlite": "there is no file",
        tmp_path / "none.sqlite.xz": "cannot be unpacked",
        tmp_path / "none.nsys-rep": "there is no",
        tmp_path / "text.sqlite": "is not an SQLite file",
    }
    for path, text in cases.items():
        code, out, err = command("scrub", path, "--nsys-executable", tmp_path / "no-nsys")
        assert (code, out) == (2, ""), path
        assert text in err
        assert "Traceback" not in err
    code, _, err = command("scrub", report, "-o", tmp_path / "out.sqlite")
    assert code == 2
    assert "name it out.sqlite.xz" in err
    code, _, err = command("scrub", report, "-o", tmp_path / "no" / "folder" / "x.sqlite.xz")
    assert code == 2
    assert "cannot be written" in err
    assert not list(tmp_path.glob("*.scrubbed*"))
    assert not list(tmp_path.glob(".*"))


def test_text_in_a_column_of_numbers_does_not_get_through(command: Command, report: Path) -> None:
    with closing(sqlite3.connect(report)) as database:
        database.execute("UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET streamId = 'hunter2'")
        database.commit()
    code, _, err = command("scrub", report)
    assert code == 2
    assert "CUPTI_ACTIVITY_KIND_KERNEL.streamId is not numeric" in err
    assert not report.with_name("report.scrubbed.sqlite.xz").exists()
