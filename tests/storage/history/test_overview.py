"""What a whole history says first: drifts, runs that changed tests, what the command prints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.storage.history.document import Entry
from pytest_nsys.storage.history.overview import overview
from pytest_nsys.storage.history.store import Series, append
from pytest_nsys.storage.history.trend import STATES, TestTrends, trends_of
from tests.support.command import Answer
from tests.support.histories import Suite

START = datetime(2026, 10, 1, tzinfo=timezone.utc)
KEY = "gpu.kernel_time"


def series(
    values: list[float],
    nodeid: str = "t.py::t",
    device: str = "nvidia-h200",
    drivers: list[str] | None = None,
    metric: str = KEY,
) -> Series:
    """A run a day; the commit of each is its number."""
    entries = tuple(
        Entry(
            nodeid,
            device,
            START + timedelta(days=run),
            commit=f"{run:040x}",
            driver=drivers[run] if drivers else "580",
            status="ok",
            windows={"test": {metric: (value, 5)}},
        )
        for run, value in enumerate(values)
    )
    return Series(nodeid, device, entries)


def trends(*several: Series) -> tuple[TestTrends, ...]:
    return trends_of(several, metrics=["*"])


STEP = [1e6] * 10 + [1.1e6] * 10
BACK = [1e6] * 10 + [0.9e6] * 10
UP = [1e6 + 3e3 * run for run in range(20)]
STEADY = [1e6] * 20


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ([3e6], "new"),
        ([3e6, 3e6], "steady"),
        ([3e6, 9e6], "new"),
        ([3e6, 9e6, 4e6, 8e6, 5e6], "new"),
        ([100e6, 101e6, 100.5e6, 101e6, 100e6, 100.7e6], "steady"),
        ([3e6, 3e6, 3e6, 3e6, 9e6], "worse"),
    ],
)
def test_too_few_runs_are_not_called_steady(values: list[float], state: str) -> None:
    (test,) = trends(series(values))
    assert test.state == state


def test_the_gravest_come_first() -> None:
    whole = overview(
        trends(
            series(STEADY, "t.py::steady"),
            series([1e6, 1.2e6], "t.py::new"),
            series(BACK, "t.py::better"),
            series(STEP, "t.py::worse"),
            series(UP, "t.py::drifted"),
        )
    )
    assert [test.nodeid for test in whole.tests] == [f"t.py::{state}" for state in STATES]
    assert whole.counts == dict.fromkeys(STATES, 1)
    assert [one.test.nodeid for one in whole.drifts] == ["t.py::drifted"]


def test_of_drifts_the_largest_part_of_a_tolerance_is_first() -> None:
    small, large = ([1e6 + step * run for run in range(20)] for step in (2e3, 4e3))
    whole = overview(trends(series(small, "t.py::a"), series(large, "t.py::b")))
    assert [one.test.nodeid for one in whole.drifts] == ["t.py::b", "t.py::a"]


def test_a_drift_or_a_newest_change_for_the_better_is_better() -> None:
    came_back = STEP + [1e6] * 10
    whole = overview(trends(series(came_back, "t.py::a"), series([*reversed(UP)], "t.py::b")))
    assert [test.state for test in whole.tests] == ["better", "better"]
    assert whole.drifts == ()


def test_tests_that_a_run_changed_are_one_event_with_what_came_with_it() -> None:
    drivers = ["570"] * 10 + ["580"] * 10
    whole = overview(
        trends(
            series(BACK, "t.py::a", drivers=drivers),
            series(STEP, "t.py::b", drivers=drivers),
            series([5.0] * 15 + [6.0] * 5, "t.py::c", drivers=drivers, metric="gpu.kernel_count"),
        )
    )
    newest, other = whole.events
    assert [one.test.nodeid for one in newest.changes] == ["t.py::c"]
    assert newest.differences == ()
    assert [one.test.nodeid for one in other.changes] == ["t.py::b", "t.py::a"], "worse first"
    assert (other.then.commit, other.now.commit) == (f"{9:040x}", f"{10:040x}")
    (driver,) = other.differences
    assert (driver.name, driver.before, driver.after) == ("driver", "570", "580")


def test_noise_does_not_part_what_changed_together(tmp_path: Path) -> None:
    suite = Suite(tests=60, runs=100)
    whole = overview(trends_of([series_of(suite, test) for test in range(60)]))
    driver, *_ = sorted(whole.events, key=lambda event: -len(event.changes))
    assert [one.name for one in driver.differences] == ["driver"]
    assert {one.test.nodeid for one in driver.changes} == {
        suite.nodeid(test) for test in range(60) if test % 10 == 1
    }
    assert {one.test.nodeid for one in whole.drifts} == {suite.nodeid(5), suite.nodeid(45)}


def series_of(suite: Suite, test: int) -> Series:
    (device,) = suite.devices
    return Series(suite.nodeid(test), device, tuple(suite.entries(test, device)))


def test_a_change_that_noise_leaves_several_runs_is_told_with_these(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    noise = [run * 7 % 11 - 5 for run in range(40)]
    values = [1e6 + 4e3 * one + 4.5e4 * (run >= 20) for run, one in enumerate(noise)]
    values[19:21] = [1.02e6, 1.025e6]
    entries = series(values).entries
    append(tmp_path, [replace(one, commit=f"{n:02d}{'ab' * 19}") for n, one in enumerate(entries)])
    out = " ".join(command("history", tmp_path)[1].split())
    (words,) = re.findall(r"since 2026-10-2\d \(\w+\): (.*?), by the noise", out)
    assert words == (
        "+4.1%, over the tolerance of 3% or 5 us; between 18ababa (2026-10-19) and 21ababa "
        "(2026-10-22)"
    )


def test_of_two_runs_of_a_commit_on_a_day_the_first_is_named() -> None:
    several = [
        Series(
            nodeid,
            "nvidia-h200",
            tuple(
                replace(entry, date=START + timedelta(hours=run // 2), commit="ab" * 20)
                for run, entry in enumerate(series(values, nodeid).entries)
            ),
        )
        for nodeid, values in (("t.py::a", STEP), ("t.py::b", [1e6] * 14 + [1.1e6] * 6))
    ]
    (event,) = overview(trends(*several)).events
    assert [one.test.nodeid for one in event.changes] == ["t.py::a", "t.py::b"]
    assert event.then.date < event.now.date == START + timedelta(hours=5)


ranges = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=25), min_size=1, max_size=6)


@given(ranges)
def test_every_change_is_in_one_event(values: list[list[int]]) -> None:
    found = trends(
        *(
            series([float(one) for one in some], f"t.py::{number}", metric="gpu.kernel_count")
            for number, some in enumerate(values)
        )
    )
    whole = overview(found)
    told = [(event, one) for event in whole.events for one in event.changes]
    assert len(told) == sum(len(trend.shifts) for test in found for trend in test.trends)
    assert len({(one.test.nodeid, one.shift.index) for _, one in told}) == len(told)
    for event, one in told:
        earliest, latest = (
            one.test.entries[at].date for at in (one.shift.earliest, one.shift.latest)
        )
        assert earliest <= event.now.date <= latest
    if len(found) == 1:
        assert all(event.now == one.test.entries[one.shift.index] for event, one in told)
    days = [event.now.date for event in whole.events]
    assert days == sorted(days, reverse=True)


def test_the_command_tells_drifts_and_events_first_in_eighty_columns(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    code, out, err = command("history", Suite(tests=60, runs=60).write(tmp_path))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[:10] == [
        "60 tests, 60 runs, 2025-12-01 to 2026-01-29: 2 drifted, 8 worse, 1 better, 49",
        "  steady",
        "Not measured any more (1): tests/kernels/test_fused_moe.py::test_fused_moe[b8-8]",
        "",
        "Drifted for the worse, the largest part of a tolerance first:",
        "  tests/kernels/test_kv_copy.py::test_kv_copy[b1-5]",
        "    gpu.kernel_time drifted +5.5% over 60 runs, over the tolerance of 3% or 5",
        "      us; no single run moved by more than 1.3%",
        "  tests/kernels/test_all_reduce.py::test_all_reduce[b8-45]",
        "    gpu.kernel_time drifted +5.1% over 60 runs, over the tolerance of 3% or 5",
    ]
    text = " ".join(out.split())
    assert "between 0043aad (2026-01-05) and 004599c (2026-01-06): driver 570.124.06 ->" in text
    assert "and 1 more, 1 of them for the worse" in text
    steady = text.partition("Steady (name one to see all of it):")[2]
    assert steady.count("::") == 49


def test_devices_are_named_where_there_are_several(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    append(tmp_path, series(UP).entries)
    append(tmp_path, series(STEP, device="nvidia-b200").entries)
    out = command("history", tmp_path)[1]
    assert out.startswith("1 test on 2 devices, 20 runs, 2026-10-01 to 2026-10-20: 1 drifted\n")
    assert "\n  t.py::t (nvidia-h200)\n" in out
    assert "worse: gpu.kernel_time +10.0% t.py::t (nvidia-b200)" in out


def test_runs_without_a_commit_are_named_by_their_minutes(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    for nodeid in ("t.py::a", "t.py::b"):
        given = series(STEP, nodeid)
        append(tmp_path, [replace(entry, commit="") for entry in given.entries])
    out = command("history", tmp_path)[1]
    assert "\n  between 2026-10-10 00:00 and 2026-10-11 00:00\n" in out


def test_the_document_has_events(tmp_path: Path, command: Callable[..., Answer]) -> None:
    append(tmp_path, series(STEP, drivers=["570"] * 10 + ["580"] * 10).entries)
    (event,) = json.loads(command("history", tmp_path, "--format=json")[1])["events"]
    assert event["after"] == {"date": "2026-10-10T00:00:00+00:00", "commit": f"{9:040x}"}
    assert (event["date"], event["commit"]) == ("2026-10-11T00:00:00+00:00", f"{10:040x}")
    assert event["versions"] == [{"name": "driver", "before": "570", "after": "580"}]
    assert event["changes"] == [
        {
            "nodeid": "t.py::t",
            "device": "nvidia-h200",
            "window": "test",
            "metric": KEY,
            "before": 1e6,
            "after": 1.1e6,
            "worse": True,
            "over_tolerance": True,
        }
    ]
