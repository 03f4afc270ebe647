"""Where in a capture something was done, by the clock on the wall."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import CaptureError, ExportFailed, NoGpu, TimeNotCovered
from pytest_nsys.servers.records import SentRound, WindowCapture, prove_rounds, round_records
from pytest_nsys.trace import Trace, load_trace
from pytest_nsys.trace.clock import capture_times
from pytest_nsys.windows.record import WindowRecord
from tests.support.exports.traces import TraceBuilder

BEGAN = 1_795_329_803_290_154_504
SECOND = 1_000_000_000
VALUES = {"client.ttft_p50": 5e6}


def trace(length: int | None = 2 * SECOND, began: int | None = BEGAN) -> Trace:
    builder = TraceBuilder()
    builder.kernel("gemm", 100, 1000)
    return replace(builder.build(), began_utc_ns=began, length_ns=length)


def test_what_was_done_is_where_the_clocks_say() -> None:
    assert capture_times(trace(), BEGAN + 5, BEGAN + 2 * SECOND) == (5, 2 * SECOND)
    assert capture_times(trace(), BEGAN, BEGAN + 1) == (0, 1)


@given(st.integers(0, 2 * SECOND - 1), st.integers(1, 2 * SECOND))
def test_what_is_within_the_collection_has_its_length(start: int, length: int) -> None:
    end = min(start + length, 2 * SECOND)
    found = capture_times(trace(), BEGAN + start, BEGAN + end)
    assert found == (start, end)


@pytest.mark.parametrize(
    ("start", "end", "missing"),
    [
        (-1_500_000, SECOND, "it begins 1.5 ms before the collection"),
        (5, 2 * SECOND + 250_000, "it ends 250 us after the collection"),
        (SECOND, SECOND, "it ends 0 ns before it begins"),
        (SECOND, SECOND - 7, "it ends 7 ns before it begins"),
    ],
)
def test_what_the_collection_does_not_cover_is_told_with_how_much(
    start: int, end: int, missing: str
) -> None:
    with pytest.raises(TimeNotCovered) as caught:
        capture_times(trace(), BEGAN + start, BEGAN + end)
    assert missing in caught.value.evidence.splitlines()
    assert "collected: 2 s" in caught.value.evidence
    assert caught.value.remedy


def test_an_end_that_is_not_known_covers_everything_from_the_beginning() -> None:
    assert capture_times(trace(None), BEGAN, BEGAN + 9 * SECOND) == (0, 9 * SECOND)
    with pytest.raises(TimeNotCovered) as caught:
        capture_times(trace(None), BEGAN - 1, BEGAN + 1)
    assert "collected" not in caught.value.evidence


def test_a_capture_that_does_not_say_when_it_began_has_no_such_times() -> None:
    with pytest.raises(TimeNotCovered, match="does not say when it began") as caught:
        capture_times(trace(began=None), BEGAN, BEGAN + 1)
    assert caught.value.evidence == "nsys 2025.3.2"


class TestReadingFromAnExport:
    @staticmethod
    def read(path: Path, *statements: str) -> Trace:
        TraceBuilder().export(path)
        with closing(sqlite3.connect(path)) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()
        return load_trace(path)

    def test_an_export_says_when_it_began_and_how_long_it_took(self, tmp_path: Path) -> None:
        found = self.read(
            tmp_path / "x.sqlite",
            "CREATE TABLE TARGET_INFO_SESSION_START_TIME (utcEpochNs, utcTime, localTime)",
            f"INSERT INTO TARGET_INFO_SESSION_START_TIME VALUES ({BEGAN}, 'a', 'b')",
            "CREATE TABLE ANALYSIS_DETAILS (globalVid, duration, startTime, stopTime)",
            "INSERT INTO ANALYSIS_DETAILS VALUES (1, 5, 7, 12), (2, 9, 7, 16)",
        )
        assert (found.began_utc_ns, found.length_ns) == (BEGAN, 9)

    @pytest.mark.parametrize(
        "statements",
        [
            (),
            ("CREATE TABLE TARGET_INFO_SESSION_START_TIME (utcEpochNs)",),
            ("CREATE TABLE TARGET_INFO_SESSION_START_TIME (other)",),
            (
                "CREATE TABLE TARGET_INFO_SESSION_START_TIME (utcEpochNs)",
                "INSERT INTO TARGET_INFO_SESSION_START_TIME VALUES (NULL)",
            ),
        ],
    )
    def test_where_it_does_not_say_nothing_is_known(
        self, tmp_path: Path, statements: tuple[str, ...]
    ) -> None:
        found = self.read(tmp_path / "x.sqlite", *statements)
        assert (found.began_utc_ns, found.length_ns, found.defects) == (None, None, ())

    def test_a_time_that_is_no_number_is_damage(self, tmp_path: Path) -> None:
        with pytest.raises(ExportFailed, match="utcEpochNs"):
            self.read(
                tmp_path / "x.sqlite",
                "CREATE TABLE TARGET_INFO_SESSION_START_TIME (utcEpochNs)",
                "INSERT INTO TARGET_INFO_SESSION_START_TIME VALUES ('yesterday')",
            )

    def test_parquet_says_the_same(self, tmp_path: Path) -> None:
        folder = tmp_path / "parquet"
        folder.mkdir()
        pd.DataFrame({"utcEpochNs": [BEGAN]}).to_parquet(
            folder / "TARGET_INFO_SESSION_START_TIME.parquet"
        )
        pd.DataFrame({"globalVid": [1], "duration": [9]}).to_parquet(
            folder / "ANALYSIS_DETAILS.parquet"
        )
        pd.DataFrame({"id": [0], "name": ["GPU"]}).to_parquet(folder / "TARGET_INFO_GPU.parquet")
        found = load_trace(folder)
        assert (found.began_utc_ns, found.length_ns) == (BEGAN, 9)


def window(*rounds: tuple[int, int], path: Path = Path("x.nsys-rep")) -> WindowCapture:
    sent = tuple(
        SentRound(BEGAN + start, BEGAN + end, VALUES, {"token": 64.0}) for start, end in rounds
    )
    return WindowCapture("load", path, sent, ())


class TestRecordsOfRounds:
    def test_each_round_has_a_record_with_its_times_values_and_units(self) -> None:
        records = round_records(trace(), window((10, 20), (30, 50)), "t.py::test")
        units = {"token": 64.0}
        assert records == (
            WindowRecord(0, "round", "t.py::test", "load", 0, units, None, (10, 20), values=VALUES),
            WindowRecord(1, "round", "t.py::test", "load", 1, units, None, (30, 50), values=VALUES),
        )

    def test_without_rounds_the_whole_collection_is_one(self) -> None:
        (record,) = round_records(trace(), window(), "t")
        assert (record.round, record.times, record.values) == (0, (0, 2 * SECOND), {})
        (record,) = round_records(trace(None), window(), "t")
        assert record.times == (0, 1106)

    @pytest.mark.parametrize("rounds", [(), ((10, 20), (30, 50))])
    def test_where_memory_is_known_a_span_is_around_them(
        self, rounds: tuple[tuple[int, int], ...]
    ) -> None:
        known = replace(window(*rounds), memory=True)
        *others, span = round_records(trace(), known, "t")
        assert (span.kind, span.name, span.round, span.index) == ("span", "load", -1, len(others))
        assert span.times == ((10, 50) if rounds else (0, 2 * SECOND))

    def test_a_round_that_was_not_collected_is_an_error(self) -> None:
        with pytest.raises(TimeNotCovered):
            round_records(trace(), window((-5, 20)), "t")


class TestProving:
    @staticmethod
    def prove(found: Trace, *times: tuple[int, int], **wanted: bool) -> None:
        records = [
            WindowRecord(number, "round", "t", "load", number, times=pair)
            for number, pair in enumerate(times)
        ]
        prove_rounds(found, records, **{"needs_gpu": True, "needs_cuda": True, **wanted})

    def test_rounds_without_any_range_or_sentinel_are_proved(self) -> None:
        self.prove(trace(), (0, 5), (5, 2 * SECOND))

    def test_a_round_outside_of_the_collection_is_an_error(self) -> None:
        with pytest.raises(TimeNotCovered):
            self.prove(trace(), (0, 5), (5, 2 * SECOND + 1))

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            (lambda found: replace(found, gpus=()), "NoGpu"),
            (lambda found: replace(found, diagnostics=((3, "no"),)), "DiagnosticError"),
            (
                lambda found: replace(
                    found, diagnostics=((1, "Number of CUDA events collected: 9,"),)
                ),
                "EventsMissing",
            ),
            (lambda found: replace(found, kernels=found.kernels.iloc[:0]), "EventsMissing"),
            (
                lambda found: replace(
                    found, kernels=found.kernels.iloc[:0], calls=found.calls.iloc[:0]
                ),
                "NoCudaEvents",
            ),
        ],
    )
    def test_what_is_wrong_with_any_capture_is_wrong_with_this(
        self, change: Callable[[Trace], Trace], error: str
    ) -> None:
        with pytest.raises(CaptureError) as caught:
            self.prove(change(trace()), (0, 5))
        assert type(caught.value).__name__ == error

    def test_what_is_not_needed_is_not_asked_for(self) -> None:
        empty = replace(TraceBuilder().build(gpus=()), began_utc_ns=BEGAN, length_ns=SECOND)
        self.prove(empty, (0, 5), needs_gpu=False, needs_cuda=False)
        with pytest.raises(NoGpu):
            self.prove(empty, (0, 5), needs_cuda=False)
