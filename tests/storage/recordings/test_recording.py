"""Recordings: scrubbed captures and an index that anybody may have written."""

from __future__ import annotations

import json
import lzma
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pytest_nsys.errors import RecordingError
from pytest_nsys.storage.recordings import recording as recording_module
from pytest_nsys.storage.recordings.recording import (
    INDEX,
    RecordedCapture,
    RecordedTest,
    Recording,
    load_capture,
    load_packed,
    read_recording,
    scrub,
    write_recording,
)
from pytest_nsys.support import xz as packed
from pytest_nsys.trace import Trace, load_trace, schema
from pytest_nsys.windows.record import WindowRecord
from tests.support.capture_bench import Captured
from tests.support.exports.rows import PID, SMALL, assert_same_trace, nvtx
from tests.support.exports.tables import read_tables, write_sqlite

NAMES = ("basic", "llama_node", "train")
SECRET = "hunter2-c0ffee"

RECORDING = Recording(
    captures=(
        RecordedCapture(
            "capture-1.sqlite.xz",
            ("--trace=cuda,nvtx",),
            (
                WindowRecord(0, "round", "test_it.py::test_ü[a b]", "part", 3, {"tokens": 2.5}),
                WindowRecord(1, "sentinel", "", "test", -1),
            ),
        ),
    ),
    tests=(
        RecordedTest(
            "test_it.py::test_ü[a b]", ({"when": "call", "outcome": "passed"},), (0,), 1, 5
        ),
        RecordedTest("test_it.py::test_bad", (), (), 0, 1, "nsys did not end\nWhat to do: x"),
    ),
    versions={"python": "3.11.7", "torch": "2.9"},
    nsys="2025.3.1",
    date="2026-01-31",
)


def unpack(packed: Path, target: Path) -> Path:
    """The database in a ``.sqlite.xz``."""
    target.write_bytes(lzma.decompress(packed.read_bytes()))
    return target


@pytest.fixture(scope="module")
def scrubbed(
    captures: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Path]:
    """The real captures, scrubbed and packed."""
    folder = tmp_path_factory.mktemp("scrubbed")
    for name, path in captures.items():
        scrub(path, folder / f"{name}.sqlite.xz")
    return {name: folder / f"{name}.sqlite.xz" for name in captures}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording of a small capture."""
    export = write_sqlite(tmp_path / "export.sqlite", SMALL)
    write_recording(tmp_path / "recording", RECORDING, [export])
    return tmp_path / "recording"


NOT_KEPT = ("diagnostics", "began_utc_ns", "length_ns")
"""What a recording does not keep, or not all of it."""


def without_information(trace: Trace) -> tuple[tuple[int, str], ...]:
    """What nsys says of a capture, but for its progress."""
    return tuple(line for line in trace.diagnostics if line[0] > 1)


class TestScrubbing:
    @pytest.mark.parametrize("name", NAMES)
    def test_keeps_everything_that_is_read(
        self, captures: dict[str, Path], scrubbed: Mapping[str, Path], name: str
    ) -> None:
        before, after = load_trace(captures[name]), load_packed(scrubbed[name])
        assert (after.began_utc_ns, after.length_ns) == (None, None)
        assert_same_trace(after, before, but=NOT_KEPT)
        assert after.diagnostics == without_information(before)

    @pytest.mark.parametrize("name", NAMES)
    def test_keeps_nothing_else(
        self, scrubbed: Mapping[str, Path], tmp_path: Path, name: str
    ) -> None:
        tables = read_tables(unpack(scrubbed[name], tmp_path / "clean.sqlite"))
        assert set(tables) <= set(schema.COLUMNS) - schema.PASSING
        for table, rows in tables.items():
            assert set(rows[0]) <= set(schema.COLUMNS[table])
        used = {
            row[column]
            for rows in tables.values()
            for row in rows
            for column in ("demangledName", "shortName", "nameId", "textId")
            if column in row
        }
        assert {row["id"] for row in tables[schema.STRINGS]} <= used
        names = {row["name"] for table in (schema.SYSTEM, schema.EXPORT) for row in tables[table]}
        assert names <= {*schema.SYSTEM_NAMES, *schema.EXPORT_NAMES}
        assert {row["eventType"] for row in tables[schema.NVTX]} <= {59, 60, 75}

    @pytest.mark.parametrize("name", ["basic", "train"])
    def test_is_the_same_the_second_time(
        self, scrubbed: Mapping[str, Path], tmp_path: Path, name: str
    ) -> None:
        once = unpack(scrubbed[name], tmp_path / "once.sqlite")
        scrub(once, tmp_path / "twice.sqlite.xz")
        twice = unpack(tmp_path / "twice.sqlite.xz", tmp_path / "twice.sqlite")
        assert read_tables(twice) == read_tables(once)

    def test_keeps_numbers_and_nulls_what_they_are(self, tmp_path: Path) -> None:
        late = 100 * 86_400 * 10**9 + 1
        rows = [nvtx(late, late + 1, 59, text="a"), nvtx(late + 2, None, 60, textId=4)]
        export = write_sqlite(tmp_path / "export.sqlite", {**SMALL, schema.NVTX: rows})
        scrub(export, tmp_path / "packed.sqlite.xz")
        clean = read_tables(unpack(tmp_path / "packed.sqlite.xz", tmp_path / "clean.sqlite"))
        assert clean[schema.NVTX] == rows
        assert clean[schema.KERNEL] == SMALL[schema.KERNEL]

    def test_takes_parquet_as_well(
        self, simulated_capture: Captured, tmp_path: Path, scrubbed: Mapping[str, Path]
    ) -> None:
        nsys = simulated_capture.bench.nsys
        assert nsys.can_select_tables
        trace, export = simulated_capture.result.trace, simulated_capture.result.export
        assert trace is not None
        assert export is not None
        assert export.is_dir()
        scrub(export, tmp_path / "packed.sqlite.xz")
        after = load_packed(tmp_path / "packed.sqlite.xz")
        assert_same_trace(after, trace, but=NOT_KEPT)
        assert after.diagnostics == without_information(trace)

    def test_takes_those_of_every_nsys(self, captured: Captured, tmp_path: Path) -> None:
        trace, export = captured.result.trace, captured.result.export
        assert trace is not None
        assert export is not None
        scrub(export, tmp_path / "packed.sqlite.xz")
        after = load_packed(tmp_path / "packed.sqlite.xz")
        assert_same_trace(after, trace, but=NOT_KEPT)
        assert after.nsys[:4] in ("2022", "2023")


def add_row(database: sqlite3.Connection, table: str, **values: object) -> None:
    """Add a row like the table's first one, with other values."""
    columns = [row[1] for row in database.execute(f"PRAGMA table_info([{table}])")]
    first = database.execute(f"SELECT * FROM [{table}] LIMIT 1").fetchone()
    row = [values.get(column, value) for column, value in zip(columns, first, strict=True)]
    database.execute(f"INSERT INTO [{table}] VALUES ({', '.join('?' * len(row))})", row)


def plant(path: Path) -> None:
    """Put a secret into every place of an export from which a recording needs nothing: columns
    and tables that are not read, strings that nothing refers to, rows of other kinds."""
    with closing(sqlite3.connect(path)) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master")]
        for table in tables:
            columns = {
                row[1]: row[5]  # whether it is the key, which takes numbers only
                for row in database.execute(f"PRAGMA table_info([{table}])")
            }
            unread = set(columns) - set(schema.COLUMNS.get(table, ()))
            for column in (column for column in unread if not columns[column]):
                database.execute(f"UPDATE [{table}] SET [{column}] = '{SECRET}'")
            if {"name", "value"} <= set(columns):
                add_row(database, table, name="ENVIRONMENT", value=SECRET)
                add_row(database, table, name=SECRET, value="x")
            database.execute(f"ALTER TABLE [{table}] ADD COLUMN tomorrow TEXT DEFAULT '{SECRET}'")
        add_row(database, schema.STRINGS, id=9_000_001, value=f"{SECRET} of nobody")
        add_row(database, schema.STRINGS, id=9_000_002, value=f"{SECRET} of a mark")
        add_row(database, schema.NVTX, eventType=34, text=None, textId=9_000_002)
        add_row(database, schema.NVTX, eventType=33, text=SECRET)
        add_row(database, schema.DIAGNOSTIC, severity=1, text=f"started with {SECRET}")
        database.execute("CREATE TABLE ProcessStreamsOfTomorrow (content TEXT)")
        database.execute("INSERT INTO ProcessStreamsOfTomorrow VALUES (?)", [SECRET])
        database.commit()


@pytest.mark.parametrize("name", ["basic", "train"])
def test_secrets_in_every_table_and_column_do_not_come_out(
    captures: dict[str, Path], tmp_path: Path, name: str
) -> None:
    export = tmp_path / "export.sqlite"
    export.write_bytes(captures[name].read_bytes())
    before = load_trace(export)
    plant(export)
    assert export.read_bytes().count(SECRET.encode()) > 100
    scrub(export, tmp_path / "packed.sqlite.xz")
    data = lzma.decompress((tmp_path / "packed.sqlite.xz").read_bytes())
    assert SECRET.encode() not in data
    assert SECRET.encode("utf-16-le") not in data
    assert str(tmp_path).encode() not in data
    assert_same_trace(load_packed(tmp_path / "packed.sqlite.xz"), before, but=NOT_KEPT)


def test_secrets_in_a_capture_by_a_real_nsys_do_not_come_out(
    captured: Captured, tmp_path: Path
) -> None:
    export = captured.result.export
    assert export is not None
    scrub(export, tmp_path / "packed.sqlite.xz")
    data = lzma.decompress((tmp_path / "packed.sqlite.xz").read_bytes())
    for text in (str(captured.bench.folder), str(captured.report.parent), "libc.so", "PATH="):
        assert text.encode() not in data
    assert b"test_it.py::test_parts" in data


class TestARecording:
    def test_is_read_as_it_was_written(self, folder: Path, tmp_path: Path) -> None:
        assert read_recording(folder) == RECORDING
        trace = load_capture(folder, RECORDING.captures[0])
        assert_same_trace(trace, load_trace(tmp_path / "export.sqlite"))
        assert sorted(path.name for path in folder.iterdir()) == ["capture-1.sqlite.xz", INDEX]

    def test_is_readable_text(self, folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        assert index["schema"] == recording_module.SCHEMA
        assert index["captures"][0]["windows"][0]["units"] == {"tokens": 2.5}

    def test_replaces_an_older_one(self, folder: Path, tmp_path: Path) -> None:
        empty = Recording("2025.3.1", "2026-02-01", {}, (), ())
        write_recording(folder, empty, [])
        assert read_recording(folder) == empty

    def test_that_could_not_be_written_is_none(self, folder: Path, tmp_path: Path) -> None:
        broken = tmp_path / "broken.sqlite"
        broken.write_bytes((tmp_path / "export.sqlite").read_bytes()[:5000])
        with pytest.raises(Exception, match="damaged"):
            write_recording(folder, RECORDING, [broken])
        with pytest.raises(RecordingError, match="there is no recording"):
            read_recording(folder)

    def test_may_be_missing(self, tmp_path: Path) -> None:
        with pytest.raises(RecordingError, match=f"no recording in {tmp_path}") as caught:
            read_recording(tmp_path)
        assert str(tmp_path / INDEX) in caught.value.evidence
        assert "--nsys-record" in caught.value.remedy
        (tmp_path / "file").touch()
        with pytest.raises(RecordingError, match="file is no recording") as caught:
            read_recording(tmp_path / "file")
        assert caught.value.evidence == "it is a file"

    def test_may_be_newer(self, folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        (folder / INDEX).write_text(json.dumps({**index, "schema": 99, "captures": "other"}))
        with pytest.raises(RecordingError, match="newer pytest-nsys") as caught:
            read_recording(folder)
        assert "upgrade" in caught.value.remedy


def change(path: str, value: object) -> Any:
    """A function that sets one value in an index; ``path`` is dotted."""

    def apply(index: Any) -> object:
        *parents, last = path.split(".")
        part = index
        for name in parents:
            part = part[int(name)] if name.isdigit() else part[name]
        part[last] = value
        return index

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        lambda index: [],
        lambda index: None,
        lambda index: {},
        lambda index: {key: index[key] for key in index if key != "tests"},
        change("schema", "1"),
        change("captures", None),
        change("captures.0.windows", [{}]),
        change("captures.0.windows.0.units", [1]),
        change("captures.0.windows.0.index", "many"),
        change("tests.0.captures", [1]),
        change("tests.0.captures", [-1]),
        change("tests.0.captures", ["first"]),
        change("tests.0.captures", [0, 0]),
        change("tests.0.captures", None),
        change("tests.0.capture", 0),
        change("tests.0.rounds", None),
        change("tests.0.reports", 5),
        change("versions", []),
    ],
)
def test_a_damaged_index_is_an_error_that_names_it(folder: Path, damage: Any) -> None:
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(damage(index)))
    with pytest.raises(RecordingError, match=re.escape(f"{folder / INDEX} is damaged")) as caught:
        read_recording(folder)
    assert caught.value.evidence
    assert "record the run again" in caught.value.remedy


def test_the_first_schema_in_which_a_test_had_one_capture_is_read(folder: Path) -> None:
    recording = read_recording(folder)
    index = json.loads((folder / INDEX).read_text())
    index["schema"] = 1
    for test in index["tests"]:
        numbers = test.pop("captures")
        test["capture"] = numbers[0] if numbers else None
    (folder / INDEX).write_text(json.dumps(index))
    assert read_recording(folder) == recording


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"<<<<<<< HEAD\n{}", b"1"])
def test_an_index_that_is_not_json_is_damaged(folder: Path, data: bytes) -> None:
    (folder / INDEX).write_bytes(data)
    with pytest.raises(RecordingError, match="is damaged"):
        read_recording(folder)


@pytest.mark.parametrize(
    "file", ["../capture-1.sqlite.xz", "/etc/passwd", "sub/capture-1.sqlite.xz", "..", ".", ""]
)
def test_a_file_outside_its_folder_is_not_touched(folder: Path, file: str) -> None:
    (folder.parent / "capture-1.sqlite.xz").write_bytes(
        (folder / "capture-1.sqlite.xz").read_bytes()
    )
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(change("captures.0.file", file)(index)))
    recording = read_recording(folder)
    with pytest.raises(RecordingError, match="outside its folder") as caught:
        load_capture(folder, recording.captures[0])
    assert repr(file) in caught.value.what


class TestAPackedCapture:
    def test_may_be_missing(self, folder: Path) -> None:
        (folder / "capture-1.sqlite.xz").unlink()
        with pytest.raises(RecordingError, match="cannot be unpacked") as caught:
            load_capture(folder, RECORDING.captures[0])
        assert "No such file" in caught.value.evidence

    @pytest.mark.parametrize("part", [0, 0.5, 0.99])
    def test_may_be_cut_off(self, folder: Path, part: float) -> None:
        path = folder / "capture-1.sqlite.xz"
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(RecordingError, match=re.escape(str(path))) as caught:
            load_packed(path)
        assert caught.value.remedy

    @pytest.mark.parametrize("data", [b"not a database", b"SQLite format 3\0" + b"\xff" * 5000])
    def test_may_hold_something_else(self, folder: Path, data: bytes) -> None:
        path = folder / "capture-1.sqlite.xz"
        path.write_bytes(lzma.compress(data))
        with pytest.raises(RecordingError, match="does not hold a capture") as caught:
            load_packed(path)
        assert str(path) in caught.value.what
        assert "/tmp" not in caught.value.evidence.replace(str(path), "")

    def test_may_be_no_archive(self, folder: Path) -> None:
        path = folder / "capture-1.sqlite.xz"
        path.write_bytes(b"not an archive")
        with pytest.raises(RecordingError, match="cannot be unpacked"):
            load_packed(path)

    def test_must_not_fill_the_disk(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packed, "_LARGEST", 2**20)
        monkeypatch.setattr(packed, "_CHUNK", 2**16)
        path = folder / "capture-1.sqlite.xz"
        load_packed(path)
        path.write_bytes(lzma.compress(b"SQLite format 3\0" + bytes(2**21)))
        assert path.stat().st_size < 2**12
        with pytest.raises(RecordingError, match="unpacks to more than") as caught:
            load_packed(path)
        assert caught.value.remedy == "do not use this file"

    def test_leaves_nothing_in_the_temporary_folder(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(temporary))
        load_packed(folder / "capture-1.sqlite.xz")
        scrub(tmp_path / "export.sqlite", tmp_path / "again.sqlite.xz")
        (tmp_path / "broken.sqlite.xz").write_bytes(lzma.compress(b"broken"))
        with pytest.raises(RecordingError):
            load_packed(tmp_path / "broken.sqlite.xz")
        assert list(temporary.iterdir()) == []


def test_text_in_parquet_that_is_not_utf8_does_not_spoil_the_rest(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet as pq

    raw = pa.array([b"good", b"caf\xe9", None], pa.binary())
    texts = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    table = pa.table({"start": [1, 2, 3], "end": [2, 3, 4], "eventType": [59] * 3, "text": texts})
    table = table.append_column("globalTid", pa.array([PID] * 3, pa.uint64()))
    pq.write_table(table, tmp_path / f"{schema.NVTX}.parquet")
    trace = load_trace(tmp_path)
    assert trace.ranges["text"].tolist() == ["good", "caf\ufffd", ""]
    assert isinstance(trace.ranges, pd.DataFrame)
