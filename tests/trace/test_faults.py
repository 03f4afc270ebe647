"""Strange exports: each gives a defined result and says so, or is refused with table and column."""

from __future__ import annotations

import math
import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pytest_nsys.errors import ExportFailed, NotACapture, NsysError
from pytest_nsys.measure.windows import measure_cut
from pytest_nsys.metrics.memory import MemoryTimeline
from pytest_nsys.metrics.sampled import sampled_values
from pytest_nsys.storage.recordings.recording import load_packed
from pytest_nsys.storage.recordings.scrub import scrub
from pytest_nsys.trace import Trace, load_trace, schema
from pytest_nsys.trace.schema import DESCRIBING
from pytest_nsys.trace.source import open_source
from pytest_nsys.windows.cut import whole
from pytest_nsys.windows.ranges import cut_ranges, user_ranges
from tests.support.exports.tables import changed, loosened
from tests.support.exports.traces import PID, TraceBuilder

REAL = ["basic", "train", "graph_node", "graph_graph", "unified", "driver_api", "gpu_metrics"]
"""Real captures of different kinds; between them they have every table that we read."""

UNREAD = {(schema.GPU, "totalMemory")}
"""Columns that are only kept in recordings."""

MATTERS_NOT = {
    (schema.KERNEL, "contextId"),
    (schema.KERNEL, "shortName"),
    (schema.MEMCPY, "contextId"),
    (schema.MEMCPY, "srcDeviceId"),
    (schema.MEMCPY, "dstDeviceId"),
    (schema.MEMSET, "contextId"),
    (schema.MEMSET, "memKind"),
    (schema.GRAPH_TRACE, "contextId"),
    (schema.GRAPH_TRACE, "graphId"),
    (schema.GPU_FAULTS, "deviceId"),
}
"""Columns without which no metric is another."""


def is_text(table: str, column: str) -> bool:
    """Whether a column is of texts; of those that are read, all others are of integers."""
    return column in ("text", "name", "metricName") or (
        column == "value" and table != schema.SAMPLES
    )


def to_parquet(source: Path, folder: Path) -> Path:
    """The tables that are read of an SQLite export, as a folder of Parquet files."""
    folder.mkdir()
    with closing(sqlite3.connect(source)) as database:
        database.text_factory = bytes
        for table in schema.COLUMNS:
            rows = database.execute(f"PRAGMA table_info([{table}])").fetchall()
            present = {row[1].decode() for row in rows}
            columns = [name for name in schema.COLUMNS[table] if name in present]
            if columns:
                values = database.execute(f"SELECT {', '.join(columns)} FROM [{table}]").fetchall()
                arrays = {
                    name: pa.array(
                        [row[number] for row in values],
                        pa.large_binary() if is_text(table, name) else pa.int64(),
                    )
                    for number, name in enumerate(columns)
                }
                for name in [name for name in columns if is_text(table, name)]:
                    arrays[name] = pa.Array.from_buffers(
                        pa.large_string(), len(values), arrays[name].buffers()
                    )
                pq.write_table(pa.table(arrays), folder / f"{table}.parquet")
    return folder


def assert_same(one: Trace, other: Trace) -> None:
    for field in fields(Trace):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, pd.DataFrame):
            pd.testing.assert_frame_equal(left, right, check_dtype=False, obj=field.name)
        else:
            assert left == right, field.name


def metrics(trace: Trace) -> Mapping[str, Any]:
    """Every metric of the whole trace and of its first ranges; all of them finite."""
    found: dict[str, Any] = {}
    for name, cut in (("all", whole(trace)), ("ranges", cut_ranges(trace, user_ranges(trace)[:9]))):
        samples = measure_cut(cut, name, unified=True).samples
        values = [value for of in samples.values() for one in of for value in one]
        assert all(math.isfinite(value) for value in values)
        found[name] = samples
    return found


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A small export: two kernels, two copies, a memset, memory, ranges."""
    made = TraceBuilder()
    made.range("step", 0, 500)
    made.kernel("gemm", 10, 50)
    made.kernel("norm", 20, 40)
    made.copy(100, 30, 4096)
    made.copy(120, 30, 64)
    made.memset(200, 10, 256)
    made.call("cudaMalloc_v3020", 5)
    made.memory(6, 1000, address=64)
    made.memory(300, 1000, address=64, free=True)
    return made.export(tmp_path / "export.sqlite")


@pytest.fixture
def change(export: Path, tmp_path: Path) -> Callable[..., Trace]:
    """Loads the small export after some statements."""

    def load(*statements: str) -> Trace:
        return load_trace(changed(export, tmp_path / "changed.sqlite", *statements))

    return load


class TestRealCaptures:
    def test_are_without_defects(self, captures: dict[str, Path]) -> None:
        found = {name: load_trace(path).defects for name, path in captures.items()}
        assert {name: defects for name, defects in found.items() if defects} == {}

    @pytest.mark.parametrize("name", REAL)
    def test_are_the_same_from_parquet(
        self, captures: dict[str, Path], tmp_path: Path, name: str
    ) -> None:
        folder = to_parquet(captures[name], tmp_path / "parquet")
        assert_same(load_trace(folder), load_trace(captures[name]))

    @pytest.mark.parametrize("name", REAL)
    def test_have_only_finite_metrics(self, captures: dict[str, Path], name: str) -> None:
        assert metrics(load_trace(captures[name]))


def columns_of(path: Path) -> dict[str, list[str]]:
    """The tables and columns of an export that are read."""
    with closing(sqlite3.connect(path)) as database:
        found = {
            table: [
                row[1]
                for row in database.execute(f"PRAGMA table_info([{table}])")
                if row[1] in read and (table, row[1]) not in UNREAD
            ]
            for table, read in schema.COLUMNS.items()
        }
    return {table: columns for table, columns in found.items() if columns}


class TestWhatIsMissing:
    @pytest.mark.parametrize("name", REAL)
    def test_a_column_that_is_missing_matters_not_or_is_told(
        self, captures: dict[str, Path], tmp_path: Path, name: str
    ) -> None:
        """Each column of each table, one by one, in two captures that have the table."""
        whole_trace = load_trace(captures[name])
        expected = metrics(whole_trace)
        having = {other: columns_of(captures[other]) for other in REAL}
        for table, columns in having[name].items():
            if name not in [other for other in REAL if table in having[other]][:2]:
                continue
            for column in columns:
                statements = (*loosened(table), f"ALTER TABLE [{table}] DROP COLUMN [{column}]")
                path = changed(captures[name], tmp_path / "less.sqlite", *statements)
                if column in schema.NEEDED[table] and table not in schema.DESCRIBING:
                    with pytest.raises(ExportFailed, match=f"{table} has no column {column}"):
                        load_trace(path)
                    continue
                trace = load_trace(path)
                if not trace.defects:
                    assert metrics(trace) == expected, (table, column)
                if (table, column) in MATTERS_NOT:
                    assert trace.defects == (), (table, column)

    @pytest.mark.parametrize(
        ("table", "told"),
        [
            (schema.KERNEL, "2 calls are for kernels, and the export has none"),
            (schema.MEMCPY, "2 calls are for copies, and the export has none"),
            (schema.MEMSET, "1 calls are for memory sets, and the export has none"),
            (schema.RUNTIME, "have no API call that launched them"),
            (schema.STRINGS, "have a name that is not in the export"),
        ],
    )
    def test_a_table_that_is_missing_is_told(
        self, change: Callable[..., Trace], table: str, told: str
    ) -> None:
        assert told in "\n".join(change(f"DROP TABLE [{table}]").defects)

    def test_memory_that_was_not_recorded_has_no_metrics(
        self, change: Callable[..., Trace]
    ) -> None:
        """Zero would say that nothing was allocated."""
        assert "mem.peak" in metrics(change())["all"]
        trace = change(f"DROP TABLE [{schema.MEMORY}]")
        assert not [key for key in metrics(trace)["all"] if key.startswith("mem.")]
        assert not MemoryTimeline(trace).recorded

    def test_nothing_allocated_is_nought(self) -> None:
        made = TraceBuilder()
        made.kernel("k", 1, 2)
        assert metrics(made.build())["all"]["mem.peak"] == ((0.0,),)

    def test_a_table_without_any_known_column_is_not_a_missing_table(
        self, change: Callable[..., Trace]
    ) -> None:
        with pytest.raises(ExportFailed, match=f"{schema.KERNEL} has no column start, end"):
            change(f"DROP TABLE [{schema.KERNEL}]", f"CREATE TABLE [{schema.KERNEL}] (begin, stop)")

    def test_nodes_of_graphs_that_do_not_say_so_are_told(
        self, captures: dict[str, Path], tmp_path: Path
    ) -> None:
        statements = (f"UPDATE [{schema.KERNEL}] SET graphNodeId = NULL",)
        path = changed(captures["graph_node"], tmp_path / "nodes.sqlite", *statements)
        assert "operations of CUDA graphs do not say so" in load_trace(path).defects[0]

    def test_graphs_that_left_nothing_are_told(
        self, captures: dict[str, Path], tmp_path: Path
    ) -> None:
        statements = (f"DROP TABLE [{schema.GRAPH_TRACE}]",)
        path = changed(captures["graph_graph"], tmp_path / "graphs.sqlite", *statements)
        (defect,) = load_trace(path).defects
        assert "nothing of what its CUDA graph launches ran" in defect

    def test_pools_that_are_not_named_are_told(
        self, captures: dict[str, Path], tmp_path: Path
    ) -> None:
        statements = (f"UPDATE [{schema.MEMORY}] SET localMemoryPoolAddress = NULL",)
        path = changed(captures["driver_api"], tmp_path / "pools.sqlite", *statements)
        (defect,) = load_trace(path).defects
        assert "allocate from memory pools, and no allocation says from which" in defect
        statements = (f"UPDATE [{schema.MEMORY}] SET localMemoryPoolUtilizedSize = NULL",)
        path = changed(captures["driver_api"], tmp_path / "pools.sqlite", *statements)
        assert "do not say how full their pool is" in load_trace(path).defects[0]

    @pytest.mark.parametrize(
        ("columns", "told"),
        [
            ("textId", 'ranges without a text: their text is ""'),
            ("domainId", "its ranges are in no domain"),
        ],
    )
    def test_ranges_without_name_or_domain_are_told(
        self, captures: dict[str, Path], tmp_path: Path, columns: str, told: str
    ) -> None:
        statements = (
            *loosened(schema.NVTX),
            f"ALTER TABLE [{schema.NVTX}] DROP COLUMN {columns}",
        )
        trace = load_trace(changed(captures["cupy"], tmp_path / "ranges.sqlite", *statements))
        assert told in "\n".join(trace.defects)

    def test_ranges_must_have_some_text(self, change: Callable[..., Trace]) -> None:
        with pytest.raises(ExportFailed, match="NVTX_EVENTS has no column text, textId"):
            change(
                f"ALTER TABLE [{schema.NVTX}] DROP COLUMN text",
                f"ALTER TABLE [{schema.NVTX}] DROP COLUMN textId",
            )


class TestSchemaVersions:
    @pytest.mark.parametrize("version", ["3.0.0", "3.7.2", "3.20.3", "3.99.0", "", "x", "9" * 5000])
    def test_are_read_by_their_columns(self, change: Callable[..., Trace], version: str) -> None:
        where = "WHERE name = 'EXPORT_SCHEMA_VERSION'"
        trace = change(f"UPDATE [{schema.EXPORT}] SET value = '{version}' {where}")
        assert trace.schema == version
        assert trace.defects == ()

    def test_a_new_major_one_is_told(self, change: Callable[..., Trace]) -> None:
        where = "WHERE name = 'EXPORT_SCHEMA_VERSION'"
        (defect,) = change(f"UPDATE [{schema.EXPORT}] SET value = '4.1.0' {where}").defects
        assert "schema is of version 4.1.0, newer than the 3.x that is known" in defect

    def test_columns_and_tables_of_tomorrow_are_no_matter(
        self, change: Callable[..., Trace]
    ) -> None:
        statements = [
            f"ALTER TABLE [{table}] ADD COLUMN tomorrow TEXT DEFAULT 'x'"
            for table in (schema.KERNEL, schema.NVTX, schema.STRINGS)
        ]
        assert_same(change(*statements, "CREATE TABLE TOMORROW (a)"), change())


VALUES: Mapping[str, Any] = {
    "text": "yesterday",
    "number as text": "12x",
    "real": 1.5,
    "whole real": 2.0**40,
    "blob": b"\xff\0",
    "NULL": None,
    "negative": -5,
    "huge": 2**62,
    "hugest": 2**63 - 1,
    "lowest": -(2**63),
    "empty": "",
}


SOME = ("NULL", "negative", "text")
"""Those that are tried in single rows, too."""


class TestWrongTypes:
    @pytest.mark.parametrize(
        ("kind", "rows"),
        [*((kind, "") for kind in sorted(VALUES)), *((k, "WHERE rowid = 2") for k in SOME)],
    )
    def test_no_value_of_any_kind_anywhere_gives_a_bare_error(
        self, export: Path, tmp_path: Path, kind: str, rows: str
    ) -> None:
        turn = [*sorted(VALUES), *SOME].index(kind) + bool(rows)
        for table, columns in columns_of(export).items():
            # Every other column: tests/fuzz has them all, by chance.
            for column in sorted(columns)[turn % 2 :: 2]:
                path = changed(export, tmp_path / "wrong.sqlite", *loosened(table))
                with closing(sqlite3.connect(path)) as database:
                    database.execute("PRAGMA synchronous = OFF")
                    update = f"UPDATE [{table}] SET [{column}] = ? {rows}"
                    count = database.execute(update, [VALUES[kind]]).rowcount
                    database.commit()
                wrong = count and isinstance(VALUES[kind], (str, float, bytes))
                if wrong and not is_text(table, column) and table not in DESCRIBING:
                    with pytest.raises(ExportFailed, match=rf"{table}\.{column} is not numeric"):
                        load_trace(path)
                    if table in (schema.KERNEL, schema.NVTX):
                        with pytest.raises(ExportFailed, match=rf"{table}\.{column} is not"):
                            load_trace(to_parquet_as_it_is(path, tmp_path / "parquet"))
                    continue
                try:
                    metrics(load_trace(path))
                except ExportFailed as error:
                    assert table in error.what  # noqa: PT017
                    assert column in error.what  # noqa: PT017

    @pytest.mark.parametrize("kind", ["NULL", "blob", "negative"])
    def test_texts_are_what_they_are(self, export: Path, tmp_path: Path, kind: str) -> None:
        path = changed(export, tmp_path / "texts.sqlite", *loosened(schema.STRINGS))
        with closing(sqlite3.connect(path)) as database:
            database.execute(f"UPDATE [{schema.STRINGS}] SET value = ?", [VALUES[kind]])
            database.commit()
        expected = {"NULL": "", "blob": "\ufffd\0", "negative": "-5"}[kind]
        assert set(load_trace(path).strings.values()) == {expected}

    @pytest.mark.parametrize(
        ("values", "evidence"),
        [
            (pa.array(["1", "2"]), "string"),
            (pa.array([1.0, float("nan")]), "double"),
            (pa.array([True, False]), "bool"),
            (pa.array([[1], [2]]), "list"),
            (pa.array(["a", "b"]).dictionary_encode(), "dictionary"),
        ],
    )
    def test_a_column_of_parquet_is_of_integers(
        self, export: Path, tmp_path: Path, values: pa.Array, evidence: str
    ) -> None:
        folder = to_parquet(export, tmp_path / "parquet")
        table = pq.read_table(folder / f"{schema.KERNEL}.parquet")
        number = table.column_names.index("start")
        pq.write_table(
            table.set_column(number, "start", values), folder / f"{schema.KERNEL}.parquet"
        )
        with pytest.raises(ExportFailed, match=f"{schema.KERNEL}.start is not numeric") as caught:
            load_trace(folder)
        assert evidence in caught.value.evidence

    def test_unsigned_numbers_are_those_that_sqlite_stores(
        self, export: Path, tmp_path: Path
    ) -> None:
        """nsys writes ids as unsigned numbers of 64 bits to Parquet; SQLite has only signed."""
        folder = to_parquet(export, tmp_path / "parquet")
        for name in (schema.KERNEL, schema.NVTX):
            table = pq.read_table(folder / f"{name}.parquet")
            column = "streamId" if name == schema.KERNEL else "domainId"
            values = [None, *[2**64 - 2] * (len(table) - 1)]
            number = table.column_names.index(column)
            table = table.set_column(number, column, pa.array(values, pa.uint64()))
            pq.write_table(table, folder / f"{name}.parquet")
        statements = [
            f"UPDATE [{schema.KERNEL}] SET streamId = CASE rowid WHEN 1 THEN NULL ELSE -2 END",
            f"UPDATE [{schema.NVTX}] SET domainId = CASE rowid WHEN 1 THEN NULL ELSE -2 END",
        ]
        sqlite = changed(export, tmp_path / "signed.sqlite", *statements)
        assert_same(load_trace(folder), load_trace(sqlite))

    def test_texts_in_parquet_that_are_not_utf8_do_not_spoil_the_rest(
        self, export: Path, tmp_path: Path
    ) -> None:
        statements = (
            f"UPDATE [{schema.STRINGS}] SET value = CAST(x'636166e9' AS TEXT) WHERE id = 1",
        )
        path = changed(export, tmp_path / "latin.sqlite", *statements)
        trace = load_trace(to_parquet(path, tmp_path / "parquet"))
        assert "caf\ufffd" in trace.strings.values()
        assert_same(trace, load_trace(path))


def to_parquet_as_it_is(source: Path, folder: Path) -> Path:
    """As `to_parquet`, with the types that the values have."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with closing(sqlite3.connect(source)) as database:
        for table, columns in columns_of(source).items():
            rows = database.execute(f"SELECT {', '.join(columns)} FROM [{table}]").fetchall()
            arrays = {}
            for number, name in enumerate(columns):
                values = [row[number] for row in rows]
                kinds = {type(value) for value in values} - {type(None)}
                if len(kinds) > 1:
                    values = [None if value is None else str(value) for value in values]
                arrays[name] = pa.array(values)
            pq.write_table(pa.table(arrays), folder / f"{table}.parquet")
    return folder


class TestRows:
    """What is wrong with single rows is mended in one way, and told."""

    @pytest.mark.parametrize(
        "table", [schema.KERNEL, schema.MEMCPY, schema.MEMSET, schema.RUNTIME, schema.MEMORY]
    )
    def test_without_a_time_are_left_out(self, change: Callable[..., Trace], table: str) -> None:
        trace = change(f"UPDATE [{table}] SET start = NULL WHERE rowid = 1")
        assert f"1 row of {table} have no time: left out" in trace.defects
        assert_same_but_defects(trace, change(f"DELETE FROM [{table}] WHERE rowid = 1"))

    @pytest.mark.parametrize("value", ["NULL", "start - 7", "-1"])
    @pytest.mark.parametrize("table", [schema.KERNEL, schema.MEMCPY, schema.RUNTIME])
    def test_that_end_before_they_start_took_no_time(
        self, change: Callable[..., Trace], table: str, value: str
    ) -> None:
        trace = change(f"UPDATE [{table}] SET [end] = {value}")
        assert "taken as of no duration" in trace.defects[0]
        assert_same_but_defects(trace, change(f"UPDATE [{table}] SET [end] = start"))

    def test_ranges_that_end_before_they_start_are_left_out(
        self, change: Callable[..., Trace]
    ) -> None:
        trace = change(f"UPDATE [{schema.NVTX}] SET start = 900 WHERE eventType = 60")
        assert len(trace.ranges) == 0
        assert "1 row of NVTX_EVENTS are ranges that end before they start: left out" in (
            trace.defects
        )
        trace = change(f"UPDATE [{schema.NVTX}] SET start = NULL WHERE eventType = 60")
        assert len(trace.ranges) == 0
        assert trace.defects == ("1 row of NVTX_EVENTS have no time: left out",)

    def test_an_open_range_is_no_defect(self, change: Callable[..., Trace]) -> None:
        trace = change(f"UPDATE [{schema.NVTX}] SET [end] = NULL")
        assert trace.ranges["end"].tolist() == [-1]
        assert trace.defects == ()
        assert user_ranges(trace).empty

    def test_that_start_before_their_launch_are_told(self, change: Callable[..., Trace]) -> None:
        trace = change(f"UPDATE [{schema.KERNEL}] SET start = 1, [end] = 2 WHERE rowid = 1")
        assert "start before the call that launched them, by up to 9 ns" in trace.defects[0]

    def test_without_a_launch_belong_to_where_they_started(
        self, change: Callable[..., Trace]
    ) -> None:
        trace = change(f"UPDATE [{schema.KERNEL}] SET correlationId = NULL")
        assert trace.kernels["launched"].tolist() == trace.kernels["start"].tolist()
        assert trace.kernels["call"].tolist() == [-1, -1]
        assert "2 of 2 rows of CUPTI_ACTIVITY_KIND_KERNEL have no API call" in trace.defects[0]

    @pytest.mark.parametrize("value", ["NULL", "-7"])
    @pytest.mark.parametrize(("table", "name"), [(schema.MEMCPY, "copies"), (schema.MEMORY, "")])
    def test_of_unknown_size_count_as_nothing(
        self, change: Callable[..., Trace], table: str, name: str, value: str
    ) -> None:
        trace = change(f"UPDATE [{table}] SET bytes = {value}")
        assert "have no bytes, or a negative one: taken as 0" in trace.defects[0]
        assert (getattr(trace, name or "memory")["bytes"] == 0).all()
        assert metrics(trace)["all"]["mem.peak" if not name else "memcpy.h2d.bytes"] == ((0.0,),)

    @pytest.mark.parametrize(
        ("table", "column", "value", "told"),
        [
            (schema.KERNEL, "deviceId", "NULL", "have no device: taken as of one more"),
            (schema.KERNEL, "streamId", "NULL", "have no stream: taken as of one more"),
            (schema.KERNEL, "demangledName", "99999", "have a name that is not in the export"),
            (schema.KERNEL, "demangledName", "NULL", "have a name that is not in the export"),
            (schema.RUNTIME, "nameId", "99999", "have a name that is not in the export"),
            (schema.MEMCPY, "copyKind", "NULL", "in no memcpy metric"),
            (schema.MEMCPY, "copyKind", "77", "in no memcpy metric"),
            (schema.MEMCPY, "srcKind", "NULL", "not taken as pageable"),
            (schema.MEMCPY, "dstKind", "NULL", "not taken as pageable"),
            (schema.MEMORY, "memKind", "NULL", "in no memory metric"),
            (schema.MEMORY, "deviceId", "NULL", "have no device: taken as of one more"),
            (schema.MEMORY, "memoryOperationType", "NULL", "neither allocate nor free: left out"),
            (schema.MEMORY, "memoryOperationType", "7", "neither allocate nor free: left out"),
            (schema.MEMORY, "contextId", "NULL", "paired by their address alone"),
            (schema.MEMORY, "address", "NULL", "have no address: left out"),
            (schema.NVTX, "text", "NULL", 'ranges without a text: their text is ""'),
        ],
    )
    def test_that_do_not_say_what_they_are_are_told(
        self, change: Callable[..., Trace], table: str, column: str, value: str, told: str
    ) -> None:
        trace = change(f"UPDATE [{table}] SET {column} = {value}")
        assert told in "\n".join(trace.defects)
        assert metrics(trace)

    @pytest.mark.parametrize(
        ("table", "column"),
        [
            (schema.KERNEL, "start"),
            (schema.KERNEL, "end"),
            (schema.RUNTIME, "start"),
            (schema.MEMCPY, "bytes"),
            (schema.MEMSET, "bytes"),
            (schema.MEMORY, "start"),
            (schema.MEMORY, "bytes"),
            (schema.NVTX, "start"),
            (schema.NVTX, "end"),
        ],
    )
    @pytest.mark.parametrize("value", [2**62, 2**63 - 1])
    def test_that_cannot_be_are_refused(
        self, change: Callable[..., Trace], table: str, column: str, value: int
    ) -> None:
        """Sums with them would run over."""
        with pytest.raises(ExportFailed, match=rf"{table}\.(start|{column}|end - start)\b"):
            change(f"UPDATE [{table}] SET [{column}] = {value}")

    @pytest.mark.parametrize("times", ["start = -start", "start = start - 4611686018427387904"])
    def test_of_negative_times(self, change: Callable[..., Trace], times: str) -> None:
        try:
            trace = change(*(f"UPDATE [{t}] SET {times}" for t in (schema.KERNEL, schema.RUNTIME)))
        except ExportFailed as error:
            assert "no capture lasts so long" in error.evidence  # noqa: PT017
        else:
            assert metrics(trace)

    def test_counted_from_1970_are_as_good(self, change: Callable[..., Trace]) -> None:
        """Sums must be exact whatever the times are counted from."""
        begin = 1_800_000_000 * 10**9
        tables = (schema.KERNEL, schema.MEMCPY, schema.MEMSET, schema.RUNTIME, schema.NVTX)
        moved = [
            f"UPDATE [{t}] SET start = start + {begin}, [end] = [end] + {begin}" for t in tables
        ]
        trace = change(*moved, f"UPDATE [{schema.MEMORY}] SET start = start + {begin}")
        assert trace.defects == ()
        assert metrics(trace) == metrics(change())

    def test_of_one_correlation_id_have_the_first_call(self, change: Callable[..., Trace]) -> None:
        trace = change(f"UPDATE [{schema.RUNTIME}] SET correlationId = 5")
        first = int(trace.calls["start"].min())
        known = trace.kernels["call"] >= 0
        assert set(trace.kernels.loc[known, "launched"]) <= {first}

    @pytest.mark.parametrize("seed", range(5))
    def test_in_any_order_are_the_same(self, tmp_path: Path, seed: int) -> None:
        source = random.Random(seed)
        made = TraceBuilder()
        for time in source.sample(range(50), 8):
            made.kernel(f"k{time % 3}", 10 * time, 3 * time)
            made.range(f"r{time % 2}", 10 * time - 5, 10 * time + 20)
        export = made.export(tmp_path / "export.sqlite")
        statements = [
            statement
            for table in (schema.KERNEL, schema.RUNTIME, schema.NVTX, schema.STRINGS)
            for statement in (
                f"CREATE TABLE loosened AS SELECT * FROM [{table}] "
                f"ORDER BY (rowid * {source.randrange(2, 100)}) % 101",
                *loosened(table)[1:],
            )
        ]
        other = changed(export, tmp_path / "other.sqlite", *statements)
        assert_same(load_trace(other), load_trace(export))

    def test_an_index_does_not_mix_them_up(self, change: Callable[..., Trace]) -> None:
        """SQLite reads from an index that has all columns it is asked for, in its order."""
        indexed = change(
            f"CREATE INDEX a ON [{schema.STRINGS}] (value, id)",
            f"CREATE INDEX b ON [{schema.STRINGS}] (id DESC)",
            f"CREATE INDEX c ON [{schema.NVTX}] (text)",
        )
        assert_same(indexed, change())


def assert_same_but_defects(one: Trace, other: Trace) -> None:
    assert_same(replace(one, defects=()), replace(other, defects=()))


GPU = 0x1_0000_0000_0000
"""Type of the samples of GPU 0; that of GPU 1 is one more."""


def sampling(names: Sequence[tuple[int, int, str]], rows: Sequence[tuple[Any, ...]]) -> list[str]:
    """Statements that add GPU metrics to an export."""
    return [
        f"CREATE TABLE [{schema.SAMPLED}] (typeId, metricId, metricName)",
        f"CREATE TABLE [{schema.SAMPLES}] (timestamp, typeId, metricId, value)",
        *(
            f"INSERT INTO [{schema.SAMPLED}] VALUES ({GPU + gpu}, {number}, '{name}')"
            for gpu, number, name in names
        ),
        *(
            f"INSERT INTO [{schema.SAMPLES}] VALUES ({time}, {GPU + gpu}, {number}, {value})"
            for time, gpu, number, value in rows
        ),
    ]


SM, DRAM = "SMs Active [Throughput %]", "DRAM Read Bandwidth [Throughput %]"


class TestSamples:
    def test_a_number_is_another_metric_on_another_gpu(self, change: Callable[..., Trace]) -> None:
        """GPUs of different kinds have different lists of metrics."""
        names = [(0, 3, SM), (0, 4, DRAM), (1, 3, DRAM), (1, 4, "GPC Clock"), (1, 5, SM)]
        rows = [(20, 0, 3, 10), (21, 0, 4, 20), (20, 1, 3, 30), (21, 1, 4, 40), (22, 1, 5, 50)]
        trace = change(*sampling(names, rows))
        assert trace.defects == ()
        assert sorted(trace.sampled.values()) == sorted({SM, DRAM, "GPC Clock"})
        found = trace.samples.assign(metric=trace.samples["metric"].map(trace.sampled))
        assert sorted(found.astype(object).to_numpy().tolist()) == [
            [20, 0, SM, 10],
            [20, 1, DRAM, 30],
            [21, 0, DRAM, 20],
            [21, 1, "GPC Clock", 40],
            [22, 1, SM, 50],
        ]

    def test_numbers_are_those_of_nsys_where_gpus_agree(self, change: Callable[..., Trace]) -> None:
        names = [(gpu, number, name) for gpu in (0, 1) for number, name in ((3, SM), (9, DRAM))]
        trace = change(*sampling(names, [(20, 0, 3, 10), (20, 1, 9, 20)]))
        assert trace.sampled == {3: SM, 9: DRAM}
        assert trace.samples["metric"].tolist() == [3, 9]

    def test_what_has_no_name_is_told(self, change: Callable[..., Trace]) -> None:
        trace = change(*sampling([(0, 3, SM)], [(20, 0, 3, 10), (21, 0, 7, 99), (22, 1, 3, 98)]))
        assert trace.samples["metric"].tolist() == [3, -1, -1]
        told = "2 rows of GPU_METRICS are of a metric without a name: in no metric"
        assert trace.defects == (told,)
        assert sampled_values(whole(trace))["sm.active"].tolist() == [10.0]

    def test_without_any_names_nothing_is_measured(self, change: Callable[..., Trace]) -> None:
        trace = change(*sampling([], [(20, 0, 3, 10)]), f"DROP TABLE [{schema.SAMPLED}]")
        assert len(trace.defects) == 1
        assert sampled_values(whole(trace)) == {}

    def test_names_without_samples_are_told(self, change: Callable[..., Trace]) -> None:
        trace = change(*sampling([(0, 3, SM)], []), f"DROP TABLE [{schema.SAMPLES}]")
        assert trace.defects == ("the export names GPU metrics, and has no GPU_METRICS",)

    @pytest.mark.parametrize("value", ["NULL", "-1", "101", 2**62])
    def test_impossible_percentages_are_left_out(
        self, change: Callable[..., Trace], value: object
    ) -> None:
        trace = change(*sampling([(0, 3, SM)], [(20, 0, 3, 10), (21, 0, 3, value)]))
        told = "1 row of GPU_METRICS are percentages beyond 0 to 100: left out"
        assert trace.defects == (told,)
        assert sampled_values(whole(trace))["sm.active"].tolist() == [10.0]

    def test_what_is_no_percentage_may_be_anything(self, change: Callable[..., Trace]) -> None:
        """nsys itself writes negative numbers of warps now and then."""
        rows = [(20, 0, 3, -7_797_291), (21, 0, 3, 1_980_000_000)]
        trace = change(*sampling([(0, 3, "Compute Warps in Flight [Avg]")], rows))
        assert trace.defects == ()
        assert trace.samples["value"].tolist() == [-7_797_291, 1_980_000_000]

    def test_a_sample_without_a_time_is_left_out(self, change: Callable[..., Trace]) -> None:
        trace = change(*sampling([(0, 3, SM)], [(20, 0, 3, 10), ("NULL", 0, 3, 90)]))
        assert trace.defects == ("1 row of GPU_METRICS have no time: left out",)
        assert trace.samples["value"].tolist() == [10]

    def test_of_one_name_in_several_units_the_percentage_counts(
        self, change: Callable[..., Trace]
    ) -> None:
        names = [(0, 3, DRAM), (0, 4, "DRAM Read Bandwidth [MB/s]")]
        trace = change(*sampling(names, [(20, 0, 3, 10), (20, 0, 4, 90_000)]))
        assert sampled_values(whole(trace))["dram.read"].tolist() == [10.0]


def visible(*rows: tuple[Any, Any, Any]) -> list[str]:
    """Statements that say which GPU (first) a process (last) means by a CUDA device (second)."""
    return [
        f"CREATE TABLE [{schema.CUDA_DEVICE}] (gpuId, cudaId, pid)",
        *(
            f"INSERT INTO [{schema.CUDA_DEVICE}] VALUES {row}".replace("None", "NULL")
            for row in rows
        ),
    ]


class TestDevices:
    """With CUDA_VISIBLE_DEVICES, the first device of a process may be any GPU."""

    NUMBER = PID >> 24

    def test_are_the_gpus_of_the_machine(self, change: Callable[..., Trace]) -> None:
        trace = change(*visible((1, 0, self.NUMBER), (0, 1, self.NUMBER), (0, 0, 99)))
        for table in (trace.kernels, trace.copies, trace.memsets, trace.memory):
            assert set(table["device"]) == {1}
        assert trace.ordinals == {(self.NUMBER, 1): 0, (self.NUMBER, 0): 1}
        assert trace.defects == ()

    def test_samples_are_of_the_gpu_that_was_used(self, change: Callable[..., Trace]) -> None:
        names = [(gpu, 3, SM) for gpu in (0, 1)]
        samples = sampling(names, [(20, 0, 3, 5), (20, 1, 3, 95)])
        idle_first = change(*samples, *visible((1, 0, self.NUMBER)))
        assert sampled_values(whole(idle_first))["sm.active"].tolist() == [95.0]
        assert sampled_values(whole(change(*samples)))["sm.active"].tolist() == [5.0]

    @pytest.mark.parametrize("rows", [((0, 0, NUMBER),), ((None, 0, NUMBER),), ((5, 0, 99),), ()])
    def test_are_left_where_nothing_else_is_said(
        self, change: Callable[..., Trace], rows: tuple[tuple[Any, Any, Any], ...]
    ) -> None:
        trace = change(*visible(*rows))
        assert set(trace.kernels["device"]) == {0}
        assert trace.defects == ()

    def test_that_are_two_gpus_are_told(self, change: Callable[..., Trace]) -> None:
        trace = change(*visible((1, 0, self.NUMBER), (2, 0, self.NUMBER)))
        assert set(trace.kernels["device"]) == {0}
        assert "1 CUDA devices are several GPUs" in trace.defects[0]


class TestDamage:
    @pytest.mark.parametrize("seed", range(30))
    def test_a_file_cut_off_anywhere_is_refused(
        self, captures: dict[str, Path], tmp_path: Path, seed: int
    ) -> None:
        data = captures["driver_api"].read_bytes()
        source = random.Random(seed)
        size = source.choice([seed, source.randrange(len(data)), len(data) - 1 - seed])
        path = tmp_path / "cut.sqlite"
        path.write_bytes(data[:size])
        with pytest.raises((ExportFailed, NotACapture)) as caught:
            load_trace(path)
        assert str(path) in caught.value.what

    @pytest.mark.parametrize("seed", range(40))
    def test_overwritten_pages_give_no_bare_error(
        self, captures: dict[str, Path], tmp_path: Path, seed: int
    ) -> None:
        data = bytearray(captures["driver_api"].read_bytes())
        source = random.Random(seed)
        page = 4096 * source.randrange(len(data) // 4096)
        other = 4096 * source.randrange(len(data) // 4096)
        match seed % 4:
            case 0:
                data[page : page + 4096] = bytes(4096)
            case 1:
                data[page : page + 4096] = source.randbytes(4096)
            case 2:
                data[page : page + 4096] = data[other : other + 4096]
            case _:
                for _ in range(20):
                    data[source.randrange(4096)] = source.randrange(256)
        path = tmp_path / "damaged.sqlite"
        path.write_bytes(data)
        try:
            assert metrics(load_trace(path))
        except NsysError as error:
            assert error.remedy  # noqa: PT017

    def test_an_error_that_quotes_undecodable_bytes(self, export: Path, tmp_path: Path) -> None:
        """SQLite's message then cannot be made text."""
        data = export.read_bytes().replace(
            b"CREATE TABLE [StringIds]", b"CREATE TAB\xf8\x9d [StringIds]"
        )
        path = tmp_path / "damaged.sqlite"
        path.write_bytes(data)
        with pytest.raises(ExportFailed, match="damaged or was cut off"):
            load_trace(path)

    @pytest.mark.parametrize("seed", range(30))
    def test_parquet_gives_no_bare_error(self, export: Path, tmp_path: Path, seed: int) -> None:
        folder = to_parquet(export, tmp_path / "parquet")
        source = random.Random(seed)
        path = source.choice(sorted(folder.iterdir()))
        data = bytearray(path.read_bytes())
        if seed % 3 == 0:
            del data[source.randrange(len(data)) :]
        else:
            for _ in range(1 + seed % 5):
                data[source.randrange(len(data))] = source.randrange(256)
        path.write_bytes(data)
        try:
            load_trace(folder)
        except NsysError as error:
            assert error.remedy  # noqa: PT017

    def test_a_file_that_cannot_be_read(
        self, export: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
        with (
            pytest.raises(NotACapture, match="cannot be read") as caught,
            open_source(export),
        ):
            pass
        assert "Permission denied" in caught.value.evidence

    def test_parquet_without_pyarrow(
        self, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = to_parquet(export, tmp_path / "parquet")
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(NotACapture, match="pyarrow is not installed") as caught:
            load_trace(folder)
        assert "pip install pyarrow" in caught.value.remedy


class TestScrubbing:
    """A recording says of a strange export what the export says."""

    STRANGE = (
        *visible((1, 0, PID >> 24)),
        *sampling([(0, 3, SM), (1, 4, SM)], [(20, 0, 3, 10), (20, 1, 4, "NULL")]),
        f"UPDATE [{schema.KERNEL}] SET demangledName = NULL, deviceId = NULL WHERE rowid = 1",
        f"UPDATE [{schema.MEMCPY}] SET [end] = NULL, bytes = -3 WHERE rowid = 1",
        f"UPDATE [{schema.NVTX}] SET text = CAST(x'ff41' AS TEXT) WHERE eventType = 60",
        f"INSERT INTO [{schema.EXPORT}] VALUES (NULL, 'secret')",
    )

    def test_keeps_what_is_strange(self, export: Path, tmp_path: Path) -> None:
        path = changed(export, tmp_path / "strange.sqlite", *self.STRANGE)
        scrub(path, tmp_path / "packed.sqlite.xz")
        trace = load_trace(path)
        assert len(trace.defects) > 3
        assert_same(load_packed(tmp_path / "packed.sqlite.xz"), trace)

    @pytest.mark.parametrize("parquet", [False, True])
    def test_keeps_large_numbers_beside_nulls(
        self, export: Path, tmp_path: Path, parquet: bool
    ) -> None:
        large = 2**53 + 1
        statements = (
            f"UPDATE [{schema.KERNEL}] SET streamId = {large} WHERE rowid = 1",
            f"UPDATE [{schema.KERNEL}] SET streamId = NULL WHERE rowid = 2",
        )
        path = changed(export, tmp_path / "large.sqlite", *statements)
        if parquet:
            path = to_parquet(path, tmp_path / "parquet")
        scrub(path, tmp_path / "packed.sqlite.xz")
        trace = load_packed(tmp_path / "packed.sqlite.xz")
        assert sorted(trace.kernels["stream"]) == [-1, large]

    @pytest.mark.parametrize(
        "statement",
        [
            f"UPDATE [{schema.NVTX}] SET eventType = 'x'",
            f"UPDATE [{schema.STRINGS}] SET id = 1.5",
            f"UPDATE [{schema.KERNEL}] SET demangledName = x'00'",
            f"ALTER TABLE [{schema.KERNEL}] DROP COLUMN start",
        ],
    )
    def test_refuses_what_loading_refuses(
        self, export: Path, tmp_path: Path, statement: str
    ) -> None:
        path = changed(export, tmp_path / "strange.sqlite", statement)
        for use in (load_trace, lambda path: scrub(path, tmp_path / "packed.sqlite.xz")):
            with pytest.raises(ExportFailed, match="the export cannot be understood"):
                use(path)


def test_many_ranges_of_distinct_texts_are_measured_at_once(tmp_path: Path) -> None:
    """20,000 windows by 1,000 names of kernels: nearly all pairs are empty."""
    made = TraceBuilder()
    for number in range(20_000):
        time = 100 * number
        made.kernel(f"kernel {number % 1000}", time, 44)
        made.range(f"r{number}", time, time + 90, domain=f"domain {number % 50}")
    trace = load_trace(made.export(tmp_path / "export.sqlite"))
    assert trace.ranges["text"].nunique() == 20_000
    found = measure_cut(cut_ranges(trace, user_ranges(trace)), "all")
    assert found.samples["gpu.kernel_time"] == ((20_000 * 44.0,),)
    assert found.samples["gpu.kernel_count"] == ((20_000.0,),)
