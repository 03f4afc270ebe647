"""From the tables of an export to a trace: joins, names, what is absent."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pytest_nsys.capture import export as export_module
from pytest_nsys.capture.export import export_report
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.errors import ExportFailed, NotACapture
from pytest_nsys.kernels.configuration import Configuration
from pytest_nsys.trace import Trace, TraceGpu, load_trace, schema
from pytest_nsys.trace.load import driver_version
from tests.support.capture_bench import Captured, standin
from tests.support.exports.rows import (
    OTHER_PID,
    PID,
    SMALL,
    assert_same_trace,
    call,
    kernel,
    launched_as,
    nvtx,
    shuffled,
)
from tests.support.exports.tables import Tables, write_sqlite

PUSH_POP, START_END, DOMAIN, MARK = 59, 60, 75, 34


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """Loads the trace of an export with these tables."""
    numbers = iter(range(1000))

    def load(tables: Tables) -> Trace:
        return load_trace(write_sqlite(tmp_path / f"export-{next(numbers)}.sqlite", tables))

    return load


Load = Any


def test_an_operation_knows_its_launch(load: Load) -> None:
    trace = load(SMALL)
    assert trace.kernels["launched"].tolist() == [10, 30]
    assert trace.kernels["start"].tolist() == [15, 120]
    assert trace.kernels["name"].map(trace.strings).tolist() == ["void gemm<float>(float*)"] * 2
    assert trace.calls["pid"].tolist() == [PID, PID]


def test_processes_share_correlation_ids_and_no_launches(load: Load) -> None:
    trace = load(
        {
            **SMALL,
            schema.RUNTIME: [
                call(10, 20, 1),
                call(500, 510, 1, tid=OTHER_PID + 3),
                call(900, 910, 2, tid=OTHER_PID + 4),
            ],
            schema.KERNEL: [
                kernel(15, 16, 1),
                kernel(515, 516, 1, OTHER_PID),
                kernel(30, 31, 2),
                kernel(915, 916, 2, OTHER_PID),
            ],
        }
    )
    launches = zip(trace.kernels["pid"], trace.kernels["launched"], strict=True)
    # The call of correlation 2 in the first process was not recorded.
    assert [*launches] == [(PID, 10), (PID, 30), (OTHER_PID, 500), (OTHER_PID, 900)]


def test_a_launch_from_any_thread_of_the_process_counts(load: Load) -> None:
    trace = load({**SMALL, schema.RUNTIME: [call(10, 20, 1, tid=PID + 0xFFFFFF), call(30, 40, 2)]})
    assert trace.kernels["launched"].tolist() == [10, 30]


def test_all_kernels_of_a_graph_have_its_launch(load: Load) -> None:
    kernels = [kernel(start, start + 5, 1, graphNodeId=2**33 + start) for start in (300, 100, 200)]
    trace = load({**SMALL, schema.KERNEL: kernels})
    assert trace.kernels["launched"].tolist() == [10, 10, 10]
    assert trace.kernels["start"].tolist() == [100, 200, 300]
    assert trace.kernels["graph_node"].tolist() == [2**33 + 100, 2**33 + 200, 2**33 + 300]


def test_a_correlation_that_is_used_twice_gives_no_second_row(load: Load) -> None:
    trace = load({**SMALL, schema.RUNTIME: [call(12, 19, 1), call(10, 20, 1), call(30, 40, 2)]})
    assert len(trace.kernels) == 2
    assert trace.kernels["launched"].tolist() == [10, 30]


def test_without_calls_an_operation_is_its_own_launch(load: Load) -> None:
    trace = load({name: rows for name, rows in SMALL.items() if name != schema.RUNTIME})
    assert trace.kernels["launched"].tolist() == trace.kernels["start"].tolist() == [15, 120]
    assert len(trace.calls) == 0


def test_copies_and_sets_have_their_own_columns(load: Load) -> None:
    copy = kernel(15, 20, 1) | {"bytes": 2**40, "copyKind": 1, "srcKind": 0, "dstKind": 2}
    trace = load(
        {
            **SMALL,
            schema.MEMCPY: [copy, {**copy, "correlationId": 99, "start": 900}],
            schema.MEMSET: [kernel(31, 32, 2) | {"bytes": 64}],
            schema.GRAPH_TRACE: [kernel(33, 34, 2) | {"graphId": 5}],
        }
    )
    columns = ["bytes", "kind", "source", "target", "call", "launched"]
    assert trace.copies[columns].to_numpy().tolist() == [
        [2**40, 1, 0, 2, 0, 10],
        [2**40, 1, 0, 2, -1, 900],
    ]
    assert trace.memsets[["bytes", "launched"]].to_numpy().tolist() == [[64, 30]]
    assert trace.graphs[["start", "graph", "launched"]].to_numpy().tolist() == [[33, 5, 30]]


def test_memory_events_are_in_the_order_of_time(load: Load) -> None:
    event = {
        "start": 50,
        "globalPid": PID,
        "deviceId": 0,
        "contextId": 1,
        "address": 0x7F00_0000_0000,
        "bytes": 2**41,
        "memKind": 2,
        "memoryOperationType": 1,
    }
    trace = load(
        {**SMALL, schema.MEMORY: [event, {**event, "start": 40, "memoryOperationType": 0}]}
    )
    assert trace.memory[["start", "operation", "bytes"]].to_numpy().tolist() == [
        [40, 0, 2**41],
        [50, 1, 2**41],
    ]
    assert trace.memory["address"].tolist() == [0x7F00_0000_0000] * 2


def test_ranges_have_their_text_and_domain(load: Load) -> None:
    other = OTHER_PID + 1
    trace = load(
        {
            **SMALL,
            schema.NVTX: [
                nvtx(None, None, DOMAIN, domainId=1, text="pytest-nsys"),
                nvtx(None, None, DOMAIN, domainId=1, textId=4, globalTid=other),
                nvtx(300, 400, START_END, domainId=1, textId=4),
                nvtx(100, 200, PUSH_POP, text="by value"),
                nvtx(150, None, START_END, domainId=1, text="open"),
                nvtx(160, 170, PUSH_POP, domainId=1, text="elsewhere", globalTid=other),
                nvtx(180, 190, PUSH_POP, domainId=9),
                nvtx(190, None, MARK, text="no range"),
            ],
        }
    )
    assert trace.ranges.astype(object).to_numpy().tolist() == [
        [100, 200, PUSH_POP, "", "by value", PID, PID + 1, -1],
        [150, -1, START_END, "pytest-nsys", "open", PID, PID + 1, -1],
        [160, 170, PUSH_POP, "registered", "elsewhere", OTHER_PID, other, -1],
        [180, 190, PUSH_POP, "", "", PID, PID + 1, -1],
        [300, 400, START_END, "pytest-nsys", "registered", PID, PID + 1, -1],
    ]


@pytest.mark.parametrize("texts", ["text", "textId"])
def test_ranges_of_versions_that_write_only_one_kind_of_text(load: Load, texts: str) -> None:
    value = {"text": "registered", "textId": 4}
    kept = {"start", "end", "eventType", "globalTid", "domainId", texts}
    rows = [
        nvtx(None, None, DOMAIN, domainId=3, **{texts: value[texts]}),
        nvtx(1, 2, PUSH_POP, domainId=3, **{texts: value[texts]}),
    ]
    cut = [{key: row[key] for key in row if key in kept} for row in rows]
    trace = load({**SMALL, schema.NVTX: cut})
    assert trace.ranges[["domain", "text"]].to_numpy().tolist() == [["registered", "registered"]]


def test_only_strings_that_are_used_are_kept(load: Load) -> None:
    assert load(SMALL).strings == {
        1: "cudaLaunchKernel",
        2: "void gemm<float>(float*)",
        3: "gemm",
    }


def test_a_string_that_is_missing_is_empty(load: Load) -> None:
    trace = load({name: rows for name, rows in SMALL.items() if name != schema.STRINGS})
    assert trace.kernels["name"].map(trace.strings).tolist() == ["", ""]


def test_what_is_said_of_the_machine(load: Load) -> None:
    trace = load(
        {
            **SMALL,
            schema.GPU: [
                {"id": 1, "name": "NVIDIA L4", "smCount": None, "memoryBandwidth": None},
                {"id": 0, "name": "NVIDIA H200", "smCount": 132, "memoryBandwidth": 10**12},
            ],
            schema.SYSTEM: [
                {"name": "NvDriverVersion", "value": "580.1"},
                {"name": "CudaDriverVersion", "value": "13000"},
                {"name": "ENVIRONMENT", "value": "TOKEN=secret"},
            ],
            schema.DIAGNOSTIC: [
                {"severity": 1, "text": "information"},
                {"severity": 3, "text": "error"},
                {"severity": 2, "text": "warning"},
            ],
        }
    )
    assert trace.gpus == (TraceGpu(0, "NVIDIA H200", 132, 10**12), TraceGpu(1, "NVIDIA L4"))
    assert (trace.driver, trace.cuda) == ("580.1", "13.0")
    assert (trace.nsys, trace.schema) == ("2025.3.1.90", "3.20.3")
    assert trace.diagnostics == ((3, "error"), (2, "warning"), (1, "information"))


def test_of_what_is_not_there_nothing_is_said(load: Load) -> None:
    trace = load({schema.EXPORT: SMALL[schema.EXPORT]})
    tables = [trace.kernels, trace.copies, trace.memsets, trace.graphs, trace.calls, trace.memory]
    assert [len(table) for table in [*tables, trace.ranges]] == [0] * 7
    assert not trace.has_cuda_activity
    assert (trace.gpus, trace.diagnostics, trace.driver, trace.cuda) == ((), (), "", "")
    full = load(SMALL)
    for name in ("kernels", "copies", "memsets", "graphs", "calls", "memory", "ranges"):
        assert list(getattr(trace, name)) == list(getattr(full, name)), name


@pytest.mark.parametrize(
    "column", ["deviceId", "contextId", "streamId", "graphNodeId", "shortName"]
)
def test_a_column_may_be_missing_or_null(load: Load, column: str) -> None:
    without = [{k: v for k, v in row.items() if k != column} for row in SMALL[schema.KERNEL]]
    null = [{**row, column: None} for row in SMALL[schema.KERNEL]]
    missing = load({**SMALL, schema.KERNEL: without})
    assert_same_trace(missing, load({**SMALL, schema.KERNEL: null}))
    name = {
        "deviceId": "device",
        "contextId": "context",
        "streamId": "stream",
        "graphNodeId": "graph_node",
        "shortName": "short",
    }[column]
    assert missing.kernels[name].tolist() == [-1, -1]
    mixed = [SMALL[schema.KERNEL][0], null[1]]
    expected = [-1, -1] if column == "graphNodeId" else [SMALL[schema.KERNEL][0][column], -1]
    assert load({**SMALL, schema.KERNEL: mixed}).kernels[name].tolist() == expected


@pytest.mark.parametrize(
    ("table", "column"),
    [
        (schema.KERNEL, "start"),
        (schema.KERNEL, "end"),
        (schema.KERNEL, "globalPid"),
        (schema.RUNTIME, "globalTid"),
        (schema.RUNTIME, "correlationId"),
        (schema.STRINGS, "value"),
    ],
)
def test_without_what_gives_a_table_its_meaning_nothing_is_measured(
    load: Load, table: str, column: str
) -> None:
    rows = [{k: v for k, v in row.items() if k != column} for row in SMALL[table]]
    with pytest.raises(ExportFailed, match=f"{table} has no column {column}") as caught:
        load({**SMALL, table: rows})
    assert "another nsys" in caught.value.remedy


@pytest.mark.parametrize(
    ("table", "rows", "told"),
    [
        (schema.GPU, [{"id": 0, "busLocation": "0"}], "TARGET_INFO_GPU has no column name"),
        (schema.GPU, [{"id": "first", "name": "A"}], "TARGET_INFO_GPU.id is not numeric"),
        (schema.CUDA_DEVICE, [{"gpuId": 0}], "TARGET_INFO_CUDA_DEVICE has no column cudaId, pid"),
        (schema.SYSTEM, [{"value": "580.1"}], "TARGET_INFO_SYSTEM_ENV has no column name"),
        (schema.EXPORT, [{"name": "a"}], "META_DATA_EXPORT has no column value"),
        (schema.DIAGNOSTIC, [{"text": "a"}], "DIAGNOSTIC_EVENT has no column severity"),
    ],
)
def test_a_table_that_only_describes_does_not_keep_a_capture_from_being_measured(
    load: Load, table: str, rows: list[dict[str, object]], told: str
) -> None:
    assert table in schema.DESCRIBING
    trace = load({**SMALL, table: rows})
    assert trace.defects == (f"{told}: what this table says is not known",)
    assert_same_trace(replace(trace, defects=()), load({**SMALL, table: []}))


def test_gpus_without_numbers_are_in_the_order_of_their_numbers(load: Load) -> None:
    trace = load({**SMALL, schema.GPU: [{"name": "A"}, {"name": "B"}]})
    assert trace.gpus == (TraceGpu(0, "A"), TraceGpu(1, "B"))
    assert trace.defects == ()


@pytest.mark.parametrize(
    ("exported", "version"),
    [
        ("580.159.04", "580.159.04"),
        ("41026", "410.26"),
        ("41004", "410.04"),
        ("418126", "418.126"),
        ("4505106", "450.51.06"),
        ("45010204", "450.102.04"),
        ("470", "470"),
        ("0", ""),
        ("", ""),
        ("536.23 (WDDM)", "536.23 (WDDM)"),
    ],
)
def test_the_driver_of_older_exports_has_its_dots(exported: str, version: str) -> None:
    """nsys 2022 itself reads these numbers so, by how many digits they have."""
    assert driver_version(exported) == version


def test_no_driver_has_no_version_of_cuda(load: Load) -> None:
    rows = [{"name": "NvDriverVersion", "value": "0"}, {"name": "CudaDriverVersion", "value": "0"}]
    trace = load({**SMALL, schema.SYSTEM: rows})
    assert (trace.driver, trace.cuda) == ("", "")


def test_the_order_of_rows_means_nothing(load: Load) -> None:
    rows = [kernel(start, start + 9, start // 20) for start in range(20, 400, 10)]
    calls = [call(number, number + 1, number) for number in range(1, 20)]
    tables = {**SMALL, schema.KERNEL: rows, schema.RUNTIME: calls}
    for seed in range(5):
        assert_same_trace(load(shuffled(tables, seed)), load(tables))


def test_large_numbers_are_exact_beside_nulls(load: Load) -> None:
    """Parallel to NULLs pandas makes numbers floats, which are exact up to 2^53: 104 days."""
    late = 100 * 86_400 * 10**9 + 1
    rows = [nvtx(late, late + 1, PUSH_POP), nvtx(late + 2, None, START_END)]
    trace = load({**SMALL, schema.NVTX: rows})
    assert trace.ranges["end"].tolist() == [late + 1, -1]


def both_exports(captured: Captured, tmp_path: Path, patch: pytest.MonkeyPatch) -> list[Trace]:
    """The traces of a report, exported to Parquet and to SQLite."""
    nsys = NsysTool(captured.bench.nsys.path, captured.bench.nsys.version)
    exports = []
    for name, there in (("parquet", True), ("sqlite", False)):
        (tmp_path / name).mkdir()
        patch.setattr(
            export_module.importlib.util, "find_spec", lambda _, there=there: there or None
        )
        exports.append(export_report(nsys, captured.report, tmp_path / name))
    patch.undo()
    assert exports[0].is_dir()
    assert exports[1].is_file()
    return [load_trace(path) for path in exports]


def test_parquet_and_sqlite_give_the_same_trace_with_the_stand_in(
    simulated_capture: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet, sqlite = both_exports(simulated_capture, tmp_path, monkeypatch)
    assert_same_trace(parquet, sqlite)
    assert min(len(sqlite.kernels), len(sqlite.copies), len(sqlite.memory), len(sqlite.ranges)) > 0


def test_parquet_and_sqlite_give_the_same_trace_with_a_real_nsys(
    captured: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if captured.bench.nsys.can_select_tables:
        parquet, sqlite = both_exports(captured, tmp_path, monkeypatch)
        assert_same_trace(parquet, sqlite)
    trace = captured.result.trace
    assert trace is not None
    texts = set(trace.ranges["text"])
    assert {"mine", "in a child"} <= texts
    assert set(trace.ranges.loc[trace.ranges["text"] == "mine", "domain"]) == {"user"}
    assert trace.schema == {"2022": "3.0.0", "2023": "3.7.2"}[trace.nsys[:4]]


def test_what_a_standin_says_is_read(simulated_capture: Captured) -> None:
    trace = simulated_capture.result.trace
    assert trace is not None
    names = trace.kernels["name"].map(trace.strings)
    in_graphs = trace.kernels["graph_node"] >= 0
    assert set(names[in_graphs]) == {"first", "second", "third"}
    durations = trace.kernels["end"] - trace.kernels["start"]
    assert dict(zip(names, durations, strict=True)) == {
        "gemm<0>": 20_000,
        "gemm<1>": 21_000,
        "gemm<2>": 22_000,
        "first": 5_000,
        "second": 6_000,
        "third": 7_000,
    }


class TestWhatIsNoExport:
    def test_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(NotACapture, match="there is no file") as caught:
            load_trace(tmp_path / "none.sqlite")
        assert caught.value.remedy

    @pytest.mark.parametrize("data", [b"", b"SQLite", b"PK\3\4" + b"x" * 1000])
    def test_another_file(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "file.sqlite"
        path.write_bytes(data)
        with pytest.raises(NotACapture, match="not an SQLite file") as caught:
            load_trace(path)
        assert ".nsys-rep" in caught.value.remedy

    def test_another_database(self, tmp_path: Path) -> None:
        path = write_sqlite(tmp_path / "other.sqlite", {"USERS": [{"id": 1, "name": "x"}]})
        with pytest.raises(NotACapture, match="none of the tables of an nsys export"):
            load_trace(path)

    def test_an_empty_database(self, tmp_path: Path) -> None:
        path = write_sqlite(tmp_path / "empty.sqlite", {"T": [{"id": 1}]})
        with pytest.raises(NotACapture, match=str(path)):
            load_trace(path)

    def test_another_folder(self, tmp_path: Path) -> None:
        with pytest.raises(NotACapture, match="none of the tables of an nsys export"):
            load_trace(tmp_path)


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_file_that_was_cut_off_is_not_half_a_capture(
    captures: dict[str, Path], tmp_path: Path, part: float
) -> None:
    data = captures["train"].read_bytes()
    path = tmp_path / "cut.sqlite"
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ExportFailed, match="damaged or was cut off") as caught:
        load_trace(path)
    assert str(path) in str(caught.value)
    assert "export the report again" in caught.value.remedy


def test_a_file_with_overwritten_pages_is_damaged(
    captures: dict[str, Path], tmp_path: Path
) -> None:
    data = bytearray(captures["train"].read_bytes())
    data[8192:-4096] = b"\xff" * (len(data) - 8192 - 4096)
    path = tmp_path / "overwritten.sqlite"
    path.write_bytes(data)
    with pytest.raises(ExportFailed, match="damaged or was cut off"):
        load_trace(path)


def test_text_where_numbers_belong_is_damage(load: Load) -> None:
    with pytest.raises(ExportFailed, match=f"{schema.KERNEL}"):
        load({**SMALL, schema.KERNEL: [kernel(1, 2, 1) | {"start": "yesterday"}]})


def test_a_parquet_file_that_was_cut_off_is_damaged(
    simulated_capture: Captured, tmp_path: Path
) -> None:
    nsys = standin(tmp_path / "bin", "export_truncated")
    export = export_report(nsys, simulated_capture.report, tmp_path)
    with pytest.raises(ExportFailed, match="damaged or was cut off") as caught:
        load_trace(export)
    assert ".parquet" in caught.value.what


def test_text_that_is_not_utf8_does_not_spoil_the_rest(tmp_path: Path) -> None:
    path = write_sqlite(tmp_path / "export.sqlite", SMALL)
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            f"UPDATE {schema.STRINGS} SET value = CAST(x'636166e9' AS TEXT) WHERE id = 3"
        )
        database.commit()
    assert load_trace(path).strings == {
        1: "cudaLaunchKernel",
        2: "void gemm<float>(float*)",
        3: "caf\ufffd",
    }


def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    folder = tmp_path / "100% ü?#&=[x] y"
    folder.mkdir()
    trace = load_trace(write_sqlite(folder / "a?mode=rw#b.sqlite", SMALL))
    assert len(trace.kernels) == 2


def test_an_export_is_only_read(tmp_path: Path) -> None:
    path = write_sqlite(tmp_path / "export.sqlite", SMALL)
    path.chmod(0o444)
    before = path.read_bytes()
    load_trace(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["export.sqlite"]


def test_kernels_of_a_real_capture_have_their_launch_configurations(
    captures: Mapping[str, Path],
) -> None:
    trace = load_trace(captures["basic"])
    assert trace.capability == (9, 0)
    short = trace.kernels["short"].map(trace.strings)
    rows = trace.kernels["configuration"].to_numpy()
    found = {
        name: {trace.configurations[number] for number in rows[(short == name).to_numpy()]}
        for name in ("nvjet_sm90_hsh_256x128_64x4_1x2_h_bz_coopA_NNT", "softmax_warp_forward")
    }
    assert list(found.values()) == [
        {Configuration((2, 64), (384,), 168, 213_188)},
        {Configuration((512,), (32, 4), 80)},
    ]


def test_an_export_without_them_has_none(captures: Mapping[str, Path]) -> None:
    trace = load_trace(captures["triton"])
    assert trace.configurations == ()
    assert set(trace.kernels["configuration"]) == {-1}
    assert trace.capability is None


def test_both_forms_of_an_export_have_the_same_configurations(tmp_path: Path) -> None:
    how = launched_as(Configuration((2**31 - 1, 65535, 65535), (16, 8, 8), 255, 232_448, 2**18))
    kernels = [
        kernel(15, 115, 1, **how),
        kernel(120, 220, 2, **{**how, "gridY": None}),
    ]
    text = load_trace(write_sqlite(tmp_path / "a.sqlite", {**SMALL, schema.KERNEL: kernels}))
    folder = tmp_path / "export.parquet"
    folder.mkdir()
    for name, rows in {**SMALL, schema.KERNEL: kernels}.items():
        pq.write_table(pa.Table.from_pylist(list(rows)), folder / f"{name}.parquet")
    assert_same_trace(text, load_trace(folder))
    assert text.kernels["configuration"].tolist() == [0, -1]
    (found,) = text.configurations
    assert launched_as(found) == how
