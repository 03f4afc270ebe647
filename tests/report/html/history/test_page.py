"""The page of a history: what it says, as strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.report.html.history import page as pages
from pytest_nsys.report.html.history.model import HistoryPage
from pytest_nsys.report.html.history.page import history_page
from pytest_nsys.storage.history import changes
from pytest_nsys.storage.history.document import Entry
from pytest_nsys.storage.history.store import Series
from pytest_nsys.storage.history.trend import trends_of
from tests.support.histories import Suite

START = datetime(2026, 10, 1, tzinfo=timezone.utc)


def series(suite: Suite, tests: Sequence[int]) -> list[Series]:
    return [
        Series(suite.nodeid(test), device, tuple(suite.entries(test, device)))
        for test in tests
        for device in suite.devices
    ]


def page_of(*several: Series, notes: Sequence[str] = ()) -> HistoryPage:
    return history_page(trends_of(several), notes)


def counted(
    values: Sequence[float | None],
    nodeid: str = "t.py::t",
    device: str = "h200",
    window: str = "test",
    start: datetime = START,
) -> Series:
    """A run a day; none where there is no value."""
    return Series(
        nodeid,
        device,
        tuple(
            Entry(
                nodeid,
                device,
                start + timedelta(days=day),
                commit=f"{day:040x}",
                status="ok",
                windows={window: {"gpu.kernel_count": (value, 5)}},
            )
            for day, value in enumerate(values)
            if value is not None
        ),
    )


SUITE = Suite(tests=20, runs=100)


@pytest.fixture(scope="module")
def page() -> HistoryPage:
    """A drift, changes by a driver and by a commit, and what is steady."""
    return page_of(*series(SUITE, [1, 2, 3, 5, 8, 11, 13]), notes=["a note"])


def test_the_title_says_what_matters(page: HistoryPage) -> None:
    assert page.title == "1 test drifted, 3 got worse"
    assert page.subject == "7 tests on nvidia-h200, 100 runs from 2025-12-01 to 2026-03-10"
    assert [(badge.word, number) for badge, number in page.counts] == [
        ("drifted", "1"),
        ("worse", "3"),
        ("better", "1"),
        ("steady", "2"),
    ]
    (steady,) = page_of(*series(SUITE, [2])).counts
    assert steady[0].word == "steady"
    assert page_of(*series(SUITE, [2])).title == "No test drifted or got worse"


def test_notes_are_those_that_are_given_and_what_is_not_measured_any_more(
    page: HistoryPage,
) -> None:
    assert page.notes == (
        "a note",
        f"1 test is not measured any more: {SUITE.nodeid(8)}.",
    )
    (gone,) = [card for card in page.cards if card.name == "test_fused_moe[b8-8]"]
    assert gone.devices[0].note == "Not measured in the newest 50 runs of this device."


def test_a_drift_is_told_with_its_chart(page: HistoryPage) -> None:
    (drift,) = page.drifts
    assert (drift.nodeid, drift.name) == (SUITE.nodeid(5), "gpu.kernel_time")
    assert drift.text.startswith("drifted +5.")
    assert drift.chart is not None
    (card,) = [card for card in page.cards if card.anchor == drift.anchor]
    assert f"{card.file}::{card.name}" == drift.nodeid


def test_a_run_that_changed_several_names_the_likely_cause(page: HistoryPage) -> None:
    commit, driver = page.events
    assert driver.cause == ("Likely cause: driver 570.124.06 -> 580.65.06, which changed with it.")
    assert driver.counted == "2 worse"
    assert driver.title == "Between 0072115 (2026-01-29) and 0074004 (2026-01-30)"
    assert [change.nodeid for change in driver.changes] == [SUITE.nodeid(1), SUITE.nodeid(11)]
    assert driver.changes[0].limit == "over 3% or 5 us"
    assert commit.cause.startswith("No version changed with it")
    assert commit.counted == "2 worse, 1 better"


def test_throughput_that_falls_is_worse() -> None:
    entries = tuple(
        replace(entry, windows={"load": {"client.tokens_per_s": (2000.0 - 20 * number, 3)}})
        for number, entry in enumerate(counted([1] * 40).entries)
    )
    page = page_of(Series("t.py::t", "h200", entries))
    assert page.title == "1 test drifted"
    assert page.drifts[0].text.startswith("drifted -35.7% over 40 runs")


def test_a_test_has_the_same_address_on_every_page() -> None:
    alone = page_of(counted([1, 2], "t.py::b"))
    both = page_of(counted([1, 2], "t.py::b"), counted([1, 2], "t.py::a"))
    assert alone.cards[0].anchor in {card.anchor for card in both.cards}
    assert len({card.anchor for card in both.cards}) == 2


def test_cards_are_in_the_order_of_what_matters(page: HistoryPage) -> None:
    assert [card.badge.word for card in page.cards] == [
        *["drifted"],
        *["worse"] * 3,
        "better",
        *["steady"] * 2,
    ]


def test_a_card_has_all_metrics_levels_and_runs(page: HistoryPage) -> None:
    (card,) = [card for card in page.cards if card.name == "test_all_reduce[b1-3]"]
    (one,) = card.devices
    assert one.device == ""
    assert one.counted == "100 runs, 2025-12-01 to 2026-03-10: 100 ok"
    assert one.chart is not None
    names = [one.chart.name, *(chart.name for chart in one.others)]
    assert names == ["gpu.kernel_time", "memcpy.h2d.count", "[prefill] gpu.kernel_time"]
    assert one.same.startswith("gpu.kernel_count 15, memcpy.h2d.bytes 4 KiB")
    before, after = [row for row in one.levels.rows if row[0] == "memcpy.h2d.count"]
    assert before[1:] == ("2025-12-01 0000000", "2026-02-18 0098bc1", "80", "1", "", "")
    assert after[3:6] == ("20", "2", "+1")
    assert len(one.runs.rows) == 100
    assert one.runs.rows[0][:2] == ("2026-03-10 00bf66d", "ok")
    (steady,) = [card for card in page.cards if card.name == "test_rms_norm[b1-2]"]
    assert len(steady.devices[0].runs.rows) == 5
    assert steady.devices[0].runs.rest.startswith("95 older runs of this test")


def test_runs_say_their_devices_and_what_was_new() -> None:
    suite = replace(SUITE, devices=("b200", "h200"))
    page = page_of(*series(suite, [1]))
    assert page.several
    assert len(page.runs.rows) == 200
    assert page.runs.rows[0] == ("2025-12-01 03:12", "0000000", "b200", "")
    new = [row[3] for row in page.runs.rows if row[3]]
    assert (
        new
        == ["torch 2.8.0 -> 2.9.0, triton 3.4.0 -> 3.5.0"] * 2
        + ["driver 570.124.06 -> 580.65.06"] * 2
    )
    (card,) = page.cards
    assert [one.device for one in card.devices] == ["b200", "h200"]


def test_many_devices_are_counted_and_each_has_its_chart() -> None:
    page = page_of(*(counted([1, 2], device=f"gpu-{number}") for number in range(2000)))
    assert "2,000 devices" in page.subject or "2000 devices" in page.subject
    (card,) = page.cards
    assert len(card.devices) == 2000
    assert page.runs.rows[0][2] == "gpu-0, gpu-1, gpu-2, gpu-3 and 1996 more"


def test_one_run_of_one_test_is_a_page() -> None:
    page = page_of(counted([3]))
    assert page.subject == "1 test on h200, 1 run from 2026-10-01"
    (card,) = page.cards
    assert card.devices[0].chart is None
    assert card.devices[0].same == "gpu.kernel_count 3"


def test_windows_that_come_and_go_are_told_by_their_own_runs() -> None:
    parts = counted([None] * 5 + [7, 8, 8, 8, 8, 8], window="decode")
    entries = [*counted([1, 1, 1, 1, 1]).entries, *parts.entries]
    page = page_of(Series("t.py::t", "h200", tuple(entries)))
    (one,) = page.cards[0].devices
    assert one.chart is not None
    assert one.chart.name == "[decode] gpu.kernel_count"
    assert one.chart.line.startswith("m5 ")
    assert one.same == "gpu.kernel_count 1"
    assert one.runs.rows[-1][2:] == ("\N{EN DASH}",)


def test_a_commit_that_was_measured_twice_and_a_clock_that_went_back() -> None:
    twice = [replace(entry, commit="ab" * 20) for entry in counted([1] * 8 + [2] * 8).entries]
    early = replace(twice[-1], date=datetime(1970, 1, 1, tzinfo=timezone.utc))
    page = page_of(Series("t.py::t", "h200", (early, *twice[:-1])))
    assert len(page.runs.rows) == 16
    assert page.runs.rows[0][0] == "1970-01-01 00:00"
    assert [event.title for event in page.events] == [
        "Between abababa (2026-10-08) and abababa (2026-10-09)",
        "Between abababa (1970-01-01) and abababa (2026-10-01)",
    ]


def test_changes_below_the_tolerance_are_apart() -> None:
    quiet = tuple(
        replace(entry, windows={"test": {"gpu.kernel_time": (1e6 + 1e4 * (number >= 10), 5)}})
        for number, entry in enumerate(counted([1] * 20).entries)
    )
    page = page_of(Series("t.py::t", "h200", quiet))
    assert page.events == page.earlier == ()
    (small,) = page.small
    assert small.changes[0].limit == "under 3% or 5 us"


def test_of_many_events_the_newest_are_open() -> None:
    page = page_of(counted([run // 4 for run in range(80)]))
    assert (len(page.events), len(page.earlier)) == (10, 9)
    assert page.events[0].title > page.earlier[0].title


def test_the_oldest_of_very_many_runs_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_RUNS", 10)
    page = page_of(counted([run // 8 for run in range(40)]))
    assert len(page.runs.rows) == 10
    assert page.notes[0].startswith("The oldest 30 runs are left out of the charts")
    (one,) = page.cards[0].devices
    assert one.chart is not None
    assert one.chart.width == 9


def test_of_very_many_values_steady_charts_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = page_of(*series(SUITE, [1, 2]))
    monkeypatch.setattr(pages, "MOST_POINTS", 250)
    thin = page_of(*series(SUITE, [1, 2]))
    loud, steady = (card.devices[0].chart for card in thin.cards)
    assert loud == whole.cards[0].devices[0].chart
    drawn = whole.cards[1].devices[0].chart
    assert steady is not None
    assert drawn is not None
    assert len(steady.line) < 0.8 * len(drawn.line)


def test_without_the_library_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "find_spec", lambda name: None)
    notes = page_of(*series(SUITE, [1])).notes
    assert any("pip install 'pytest-nsys[history]'" in note for note in notes)


histories = st.lists(
    st.builds(
        counted,
        st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=15).filter(
            lambda some: any(one is not None for one in some)
        ),
        st.sampled_from(["a.py::a", "a.py::b", "c"]),
        st.sampled_from(["h200", "b200"]),
        st.sampled_from(["test", "decode"]),
        st.sampled_from([START, START + timedelta(days=7, seconds=1)]),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda one: (one.nodeid, one.device),
)


@given(histories)
def test_every_test_device_run_and_change_is_on_the_page(several: list[Series]) -> None:
    page = page_of(*several)
    names = ["::".join(filter(None, (card.file, card.name))) for card in page.cards]
    assert sorted(names) == sorted({one.nodeid for one in several})
    assert sum(len(card.devices) for card in page.cards) == len(several)
    dates = {entry.date for one in several for entry in one.entries}
    assert len(page.runs.rows) >= len(dates)
    shown = sum(len(event.changes) + len(event.more) for event in (*page.events, *page.earlier))
    assert shown == sum(len(trend.shifts) for test in trends_of(several) for trend in test.trends)
    states = [badge.word for badge, _ in page.counts]
    assert {card.badge.word for card in page.cards} <= {*states}
