"""Histories and lists of accepted changes that somebody has changed: read, or one error."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.catalogue import METRICS
from pytest_nsys.errors import ExpectedChangeError, HistoryDamaged, HistoryError
from pytest_nsys.plan.expected import expectation, parse_expected, read_expected
from pytest_nsys.report.html.history.render import render_history
from pytest_nsys.storage.history.document import Entry, parse, render
from pytest_nsys.storage.history.json import history_document
from pytest_nsys.storage.history.store import Series, read
from pytest_nsys.storage.history.text import history_lines
from pytest_nsys.storage.history.trend import trends_of
from tests.support.mutations import STRANGE, changed, changed_bytes, changed_json, check_refusal
from tests.support.page_reader import read as read_page

WHERE = "x.jsonl"
START = datetime(2026, 11, 3, 12, 30, 15, tzinfo=timezone.utc)
RUNS = tuple(
    Entry(
        nodeid="tests/t.py::test[1]",
        device="nvidia-h200",
        date=START.replace(minute=minute),
        commit="ab" * 20,
        nsys="2025.3.2",
        driver="580.1",
        versions={"torch": "2.9.0"},
        status="ok",
        windows={
            "test": {"gpu.kernel_time": (1e5 + minute % 3, 5), "sync.count": (minute // 5, 5)},
            "part": {"wall.time": (5e5 * minute + 1, 5)},
        },
    )
    for minute in range(10)
)
TEXT = b"".join(map(render, RUNS))
GOOD = json.loads(render(RUNS[0]))

FILE = """
[[accepted]]
test = "tests/t.py::*"
metric = "gpu.kernel_time"
window = "test"
limit = ["8%", "20 us"]
device = "nvidia-*"
reason = "new kernel, see #1"
until = 2026-12-31
"""


def runs(data: bytes) -> tuple[Entry, ...]:
    """What is read of a file with this content; nothing where it is refused as it should be."""
    try:
        return parse(data, WHERE)[0]
    except HistoryDamaged as error:
        check_refusal(error, WHERE)
        return ()


def check_shown(entries: tuple[Entry, ...]) -> None:
    """Whatever was read can be shown, and moves no cursor."""
    if entries:
        one = Series(entries[0].nodeid, entries[0].device, entries)
        tests = trends_of([one], metrics=[])
        for line in (*history_lines(tests), *history_lines(trends_of([one], last=2))):
            assert line.isprintable()
        json.dumps(history_document(tests), allow_nan=False)
        read_page(render_history(tests))


@given(st.lists(changed_json(GOOD), min_size=1, max_size=3))
def test_a_changed_value_is_read_and_shown_or_refused(lines: list[bytes]) -> None:
    check_shown(runs(TEXT + b"\n".join(lines)))


@given(changed_bytes(TEXT))
def test_changed_bytes_are_read_and_shown_or_refused(data: bytes) -> None:
    found = runs(data)
    check_shown(found)
    assert parse(b"".join(map(render, found)), WHERE) == (found, ())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    runs(data)


@given(st.lists(st.floats(-(2.0**200), 2.0**200), min_size=1, max_size=12))
def test_any_values_are_shown(values: list[float]) -> None:
    keys = [metric.key for metric in METRICS if metric.gated]
    check_shown(
        tuple(
            replace(RUNS[0], windows={"test": dict.fromkeys(keys, (value, 1))}) for value in values
        )
    )


@given(changed_bytes(TEXT))
def test_a_folder_is_read_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / WHERE).write_bytes(data)
        try:
            read(Path(folder))
        except HistoryError as error:
            check_refusal(error, folder)


def test_a_metric_that_is_divided_often_is_shown_and_without_end_refused() -> None:
    for word, often in ((".per_y", 160), ("range[a].", 100)):
        for number, is_read in ((often, True), (often * 1000, False)):
            key = f"x{word * number}" if word.startswith(".") else f"{word * number}gpu.busy"
            found = runs(render(replace(RUNS[0], windows={"test": {key: (1.0, 1)}})))
            assert bool(found) == is_read
            check_shown(found)


def ask(entries: Any) -> None:
    for metric in METRICS:
        expectation(
            entries,
            nodeid="tests/t.py::test[1]",
            device="nvidia-h200",
            window="test",
            metric=metric,
            baseline=1e5,
            current=2e5,
            today=date(2026, 12, 31),
        )


@given(changed_bytes(FILE.encode()))
def test_a_list_of_accepted_changes_is_read_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "accepted.toml"
        path.write_bytes(data)
        try:
            ask(read_expected(path))
        except ExpectedChangeError as error:
            check_refusal(error, str(path), most=3000)


ENTRY = {
    "metric": "gpu.*",
    "window": "test",
    "limit": ["8%", 3],
    "reason": "new kernel",
    "until": "2026-12-31",
}


@given(changed([ENTRY, ENTRY]) | st.sampled_from(STRANGE))
def test_what_a_marker_expects_is_read_or_refused(value: Any) -> None:
    try:
        ask(parse_expected(value))
    except ExpectedChangeError as error:
        check_refusal(error, most=3000)
