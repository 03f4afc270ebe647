"""The view of a run: what its strings say, and that what is shown adds up."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_nsys.catalogue import Breakdown, lookup
from pytest_nsys.insights.bottlenecks import Bottleneck
from pytest_nsys.insights.timeline import Element, Label, Lane, Timeline
from pytest_nsys.measure.measurement import Part, Parts
from pytest_nsys.ncu.counters import DURATION, FP64, LOAD_SECTORS, KernelCounters
from pytest_nsys.plan.options import Mode
from pytest_nsys.report.html.breakdowns import KINDS, kernel_marks
from pytest_nsys.report.html.measured_test import test_of as shown_test
from pytest_nsys.report.html.model import (
    BADGES,
    MeasuredTest,
    OverviewRow,
    Page,
    Row,
    Stored,
    Waterfall,
)
from pytest_nsys.report.html.page import FULL, FULL_FAILURES, page
from pytest_nsys.report.html.render import render_html
from pytest_nsys.report.html.shown import NOTHING
from pytest_nsys.report.html.waterfall import MOST_NAMED
from pytest_nsys.report.json import report_document
from pytest_nsys.report.run import RunReport
from pytest_nsys.verdict.verdict import SEVERITY, Comparison, Contribution, Verdict
from tests.support.builders import (
    FLASH,
    GEMM,
    before,
    kernel,
    measurement,
    slower,
    steady,
    verdict,
    window,
)
from tests.support.page_samples import unclear_server


def view(*verdicts: Verdict, mode: Mode = "profile") -> Page:
    return page(RunReport(mode, verdicts))


def failure(judged: Verdict) -> MeasuredTest:
    (test,) = view(judged).failures
    return test


def number(text: str) -> tuple[Decimal, str]:
    """The number and the unit of a change."""
    match = re.fullmatch(r"([+-][\d.]+) ?(\w*)", text)
    assert match is not None, text
    return Decimal(match[1]), match[2]


def adds_up(waterfall: Waterfall) -> bool:
    """Whether the parts and what is left, and the categories and that, make the total."""
    assert [bar.level for bar in waterfall.bars].count("total") == 1
    total, unit = number(waterfall.bars[-1].row.change)
    assert waterfall.title.endswith(f": {waterfall.bars[-1].row.change}")
    for levels in ({"part", "rest"}, {"category", "rest"}):
        changes = [number(bar.row.change) for bar in waterfall.bars if bar.level in levels]
        assert {name for _, name in changes} <= {unit}
        categories = any(bar.level == "category" for bar in waterfall.bars)
        if "part" in levels or categories:
            assert sum((change for change, _ in changes), Decimal(0)) == total
    return True


def test_a_change_of_kernel_time_is_a_waterfall() -> None:
    waterfall = failure(slower()).windows[0].waterfalls[0]
    assert waterfall.metric == "gpu.kernel_time"
    assert waterfall.open
    assert waterfall.title == "2.366 ms -> 2.532 ms: +166.1 us"
    shown = [
        (bar.level, bar.row.name, bar.row.tag, bar.row.then, bar.row.now, bar.row.change)
        for bar in waterfall.bars
    ]
    assert shown == [
        ("category", "attention", "", "", "", "+180.4 us"),
        ("part", FLASH, "", "1.01 ms (32x)", "1.19 ms (32x)", "+180.4 us"),
        ("category", "gemm", "", "", "", "-1.8 us"),
        ("part", GEMM, "", "1.242 ms (64x)", "1.24 ms (64x)", "-1.8 us"),
        ("category", "norm", "", "", "", "-12.6 us"),
        ("part", "rms_norm_v2", "renamed", "52.84 us (65x)", "40.21 us (65x)", "-12.6 us"),
        ("rest", "rounding", "", "", "", "+0.1 us"),
        ("total", "Total", "", "2.366 ms", "2.532 ms", "+166.1 us"),
    ]
    assert waterfall.bars[-3].row.before == "rms_norm"
    first, *_, norm, rest, total = waterfall.bars
    assert (first.x, first.zero, first.direction) == ("0.0", "0.0", "up")
    assert (norm.direction, rest.direction) == ("down", "up")
    end = float(rest.x) + float(rest.width)
    assert end == pytest.approx(float(total.x) + float(total.width), abs=1)


def test_no_waterfall_of_what_is_less_than_is_shown() -> None:
    now = measurement(window(kernel("a", 1, 1000.2), kernel("b", 1, 2000.0)))
    then = before(now, window(kernel("a", 1, 1000.0), kernel("b", 1, 2000.2)))
    (test,) = view(verdict(now, then)).others
    assert test.windows[0].waterfalls == ()


def test_no_waterfall_without_a_change() -> None:
    now = steady().measurement
    (test,) = view(verdict(now, now)).others
    assert test.windows[0].waterfalls == ()
    alone = view(verdict(now)).others[0]
    assert alone.windows[0].waterfalls == ()


def test_exact_changes_are_shown_without_idle_digits() -> None:
    found = failure(slower()).windows[0].waterfalls
    bars = {one.metric: one.bars for one in found}
    assert len(bars) == len(found)
    assert bars["memcpy.h2d.bytes"][-1].row.change == "+4 KiB"
    assert bars["memcpy.h2d.count"][-1].row.change == "+1"
    assert [bar.row.now for bar in bars["memcpy.h2d.count"]] == ["2", "2"]
    opened = {one.metric: one.open for one in found}
    assert opened["memcpy.h2d.bytes"]
    assert not opened["memcpy.h2d.count"]


# To a thousandth, as baselines keep them.
AMOUNTS = st.integers(0, 10**13).map(lambda n: n / 1000) | st.integers(0, 10**10).map(float)
PARTS = st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=30)


@given(PARTS, AMOUNTS, AMOUNTS, st.sampled_from(["gpu.busy", "mem.peak", "sync.count"]))
@example([(0.0, 0.425), (0.0, 34.422), (0.0, 9999999999.212)], 0.0, 0.001, "gpu.busy")
def test_what_is_shown_always_adds_up(
    parts: list[tuple[float, float]], baseline: float, current: float, key: str
) -> None:
    culprits = tuple(
        Contribution(str(n), Part(str(n), 1, then), Part(str(n), 2, now), now - then)
        for n, (then, now) in enumerate(parts)
    )
    culprits = culprits or (Contribution("one", None, None, 1.0),)
    made_up = Comparison(
        "test", lookup(key), "regressed", True, baseline, current, culprits=culprits
    )
    judged = replace(slower(), comparisons=(made_up,))
    found = failure(judged).windows[0].waterfalls
    # Nothing is shown of what did not change, nor has a part whose change is seen.
    unseen = baseline == current and all(abs(now - then) <= 0.5 for then, now in parts)
    assert len(found) == 1 or (unseen and not found)
    assert all(map(adds_up, found))
    assert all(len(one.bars) <= MOST_NAMED + 3 for one in found)


def test_parts_of_a_quotient_are_shown_per_unit() -> None:
    part = Contribution(
        "gemm", Part("gemm", 10, 2e6), Part("gemm", 20, 6e6), 40e3, factors=(1 / 50, 1 / 75)
    )
    made_up = Comparison(
        "test",
        lookup("gpu.kernel_time.per_token"),
        "regressed",
        True,
        40e3,
        80e3,
        culprits=(part,),
    )
    (waterfall,) = failure(replace(slower(), comparisons=(made_up,))).windows[0].waterfalls
    row, total = (bar.row for bar in waterfall.bars)
    assert (row.then, row.now, row.change) == ("40 us (10x)", "80 us (20x)", "+40 us")
    assert (total.then, total.now) == ("40 us", "80 us")


def test_the_remainder_is_named() -> None:
    culprits = tuple(
        Contribution(str(n), Part(str(n), 1, 0), Part(str(n), 1, ns), float(ns))
        for n, ns in enumerate((90_000, 60_000, 40_000, 100, 50))
    )
    made_up = Comparison(
        "test", lookup("gpu.busy"), "regressed", True, 0.0, 240e3, culprits=culprits
    )
    (waterfall,) = failure(replace(slower(), comparisons=(made_up,))).windows[0].waterfalls
    names = [bar.row.name for bar in waterfall.bars]
    assert names[3:] == ["2 smaller changes", "differences of medians", "Total"]
    alone = replace(made_up, culprits=culprits[:1])
    (waterfall,) = failure(replace(slower(), comparisons=(alone,))).windows[0].waterfalls
    assert [bar.row.name for bar in waterfall.bars[1:]] == ["differences of medians", "Total"]
    assert adds_up(waterfall)


def test_metrics_gated_first() -> None:
    shown = failure(slower()).windows[0]
    time = shown.gated[0]
    assert (time.key, time.then, time.now) == ("gpu.kernel_time", "2.366 ms", "2.532 ms")
    assert (time.then_range, time.now_range) == ("2.365 ms to 2.367 ms", "2.531 ms to 2.533 ms")
    assert (time.change, time.limit) == ("+166.1 us (+7.0%)", "3% or 5 us")
    assert (time.badge.symbol, time.badge.word) == ("\N{BALLOT X}", "regressed")
    assert [row.key for row in shown.shown] == ["wall.time"]


def test_without_a_baseline_what_would_be_gated_comes_first() -> None:
    (test,) = view(verdict(slower().measurement)).others
    keys = [row.key for row in test.windows[0].gated]
    assert keys[:2] == ["gpu.kernel_time", "gpu.kernel_count"]
    row = test.windows[0].gated[0]
    assert (row.then, row.change, row.limit) == (NOTHING, NOTHING, NOTHING)
    assert not test.windows[0].tables[0].compared


def test_kernels_the_largest_change_first() -> None:
    kernels, copies, _ = failure(slower()).windows[0].tables
    names = [row.name for row in kernels.rows]
    assert names == [FLASH, "rms_norm_v2", GEMM, "silu_and_mul"]
    assert kernels.rows[1] == Row(
        "rms_norm_v2",
        "52.84 us",
        "40.21 us",
        "-12.63 us (-23.9%)",
        "65",
        "norm",
        "renamed",
        before="rms_norm",
        value="-12630",
        then_value="52840",
        now_value="40210",
    )
    assert not kernels.open, "the waterfall has shown them"
    assert copies.rows[0].count == "1 -> 2"
    assert not copies.open, "where its change comes from has been shown"


def test_new_gone_and_retuned_kernels_are_told_apart() -> None:
    tuned = replace(kernel(GEMM, 4, 4e5), raw=("nvjet_sm90_hsh_128x64_TNN",))
    same = replace(kernel("softmax", 1, 3e5, "reduce"), raw=("softmax<1>", "softmax<2>"))
    now = measurement(window(tuned, same, kernel("erf", 1, 1e5, "elementwise")))
    older = [
        replace(tuned, ns=5e5, raw=("nvjet_sm90_hsh_64x64_TNN",)),
        replace(same, raw=("softmax<2>",)),
        kernel("flash", 1, 2e5, "attention"),
    ]
    tables = view(verdict(now, before(now, window(*older)))).others[0].windows[0].tables
    tags = {row.name: row.tag for row in tables[0].rows}
    assert tags == {GEMM: "re-tuned", "softmax": "", "erf": "new", "flash": "gone"}
    assert tables[0].glance == "4, 1 gone, 1 re-tuned, 1 new"
    # A baseline in a file has no raw names: nothing can be said of variants.
    stored = before(now, window(replace(older[0], raw=()), *older[1:]))
    tables = view(verdict(now, stored)).others[0].windows[0].tables
    assert {row.name: row.tag for row in tables[0].rows}[GEMM] == ""


def test_kernels_are_marked_where_they_are_drawn() -> None:
    now = window(
        kernel("same", 4, 4e5),
        kernel("slower", 2, 2.4e5),
        kernel("more often", 4, 4e5),
        kernel("hardly", 10, 1100),
        kernel("new", 1, 1e5),
        kernel("norm_v2", 2, 1e5),
    )
    then = window(
        kernel("same", 4, 3.9e5),
        kernel("slower", 2, 2e5),
        kernel("more often", 2, 2e5),
        kernel("hardly", 10, 1000),
        kernel("gone", 1, 1e5),
        kernel("norm", 2, 1e5),
    )
    marks = kernel_marks((now, then), {"norm": "norm_v2"})
    assert marks == {"slower": "slower", "new": "new", "gone": "gone"}
    assert kernel_marks((now, None), {}) == {}
    empty = window(kernel("idle", 1, 0.0))
    assert kernel_marks((empty, empty), {}) == {}


def test_the_names_in_the_capture_stand_behind_the_canonical_one() -> None:
    raw = tuple(f"void at::native::gemm<{n}>" for n in range(5))
    now = measurement(window(replace(kernel("at::native::gemm", 1, 1e5), raw=raw)))
    (row,) = view(verdict(now)).others[0].windows[0].tables[0].rows
    assert (row.name, row.full, row.raw) == ("gemm", "at::native::gemm", raw[:3])


def test_many_kernels_are_folded() -> None:
    now = measurement(window(*(kernel(f"k{n}", 1, 100 + n) for n in range(40))))
    (test,) = view(verdict(now, now)).others
    (table,) = test.windows[0].tables
    assert len(table.rows) + len(table.more) == 40
    assert len(table.rows) < len(table.more)
    assert table.glance == "40"


def test_very_many_kernels_are_counted() -> None:
    now = measurement(window(*(kernel(f"k{n}", 1, 1000) for n in range(100))))
    (table,) = view(verdict(now, now)).others[0].windows[0].tables
    assert len(table.rows) + len(table.more) == 60
    assert table.rest == ("40 more, which changed less, are not listed: together 40 us -> 40 us")
    (table,) = view(verdict(now)).others[0].windows[0].tables
    assert table.rest == "40 more are not listed: together 40 us"


def test_a_window_that_only_the_baseline_has() -> None:
    now = measurement(window(kernel(GEMM, 1, 5000)))
    then = before(now, *now.windows.values(), window(kernel(GEMM, 2, 7000), name="decode"))
    (test,) = view(verdict(now, then)).others
    gone = test.windows[1]
    row = Row(GEMM, now="7 us", count="2", kind="gemm", now_value="7000")
    assert gone.tables[0].rows == (row,)
    assert gone.gated[0].note.startswith("the baseline has a window 'decode'")


def test_a_note_is_told_once() -> None:
    now = slower().measurement
    environment = replace(now.environment, trace=("--trace=cuda",))
    (test,) = view(verdict(now, replace(now, environment=environment))).others
    assert test.headline.startswith("incomparable: the baseline was recorded with other capture")
    assert test.notes == ()
    assert not any(row.note for row in test.windows[0].gated)
    assert test.windows[0].gated[0].badge.word == "incomparable"


def test_the_title_counts() -> None:
    assert view(slower(), steady()).title == "1 of 2 tests failed"
    assert view(steady()).title == "1 test, no performance failure"


def test_failures_the_worst_first() -> None:
    fresh = verdict(measurement(window(kernel(GEMM, 1, 5e3)), nodeid="a"), mode="gate")
    shown = view(fresh, slower("b"), slower("c"), mode="gate")
    assert [test.nodeid for test in shown.failures] == ["b", "c", "a"]
    assert [test.anchor for test in shown.failures] == ["test-2", "test-3", "test-1"]


def test_a_test_without_a_story_says_its_kernel_time() -> None:
    (test,) = view(steady()).others
    assert test.headline == "gpu.kernel_time 2.238 ms -> 2.24 ms (+0.1%)"
    (test,) = view(verdict(slower().measurement, mode="update"), mode="update").others
    assert test.headline == "gpu.kernel_time 2.532 ms"
    now = steady().measurement
    bare = replace(now, windows={"test": replace(now.windows["test"], samples={})})
    (test,) = view(replace(verdict(now, mode="update"), measurement=bare)).others
    assert test.headline == ""


def test_units_are_told() -> None:
    now = measurement(window(kernel(GEMM, 1, 5e3), units={"token": 256, "image": 2}))
    (test,) = view(verdict(now, now)).others
    assert test.windows[0].units == "256 tokens, 2 images"


def test_how_it_was_measured() -> None:
    assert failure(slower()).plan == (
        "Measured 5 rounds after 1 to warm up on nvidia-h200. "
        "Baseline of 2025-11-30: 5 rounds after 1 to warm up."
    )
    now = slower().measurement
    main = now.windows["test"]
    three = replace(main, samples={key: each * 3 for key, each in main.samples.items()})
    again = replace(now, windows={"test": three}, warmup=0, rounds=1, device="")
    (test,) = view(verdict(again)).others
    assert test.plan == "Measured 3 processes of 1 round."


def test_what_else_has_changed() -> None:
    shown = view(slower(), steady())
    assert shown.failures[0].differences == (Row("Driver", "570.86.15", "580.65.06"),)
    now = slower().measurement
    environment = replace(now.environment, versions={"python": "3.12.3"})
    older = replace(now, environment=environment)
    (test,) = view(verdict(now, older)).others
    assert test.differences == (Row("torch", NOTHING, "2.11.0"),)


def test_the_run_is_described() -> None:
    run = RunReport(
        "profile", (steady(),), seconds={"worker": 3.21}, command="pytest --nsys", kept="/k"
    )
    facts = {row.name: row.now for row in page(run).facts}
    assert facts["Command"] == "pytest --nsys"
    assert facts["Time spent"] == "worker 3.2 s"
    assert facts["Raw reports kept in"] == "k"
    meanings = {row.name: row.now for row in page(run).glossary}
    assert meanings["gpu.kernel_count"].startswith("KERNEL rows")


@pytest.mark.parametrize("status", SEVERITY)
def test_every_status_has_a_symbol_and_a_word(status: str) -> None:
    judged = replace(steady(), status=status, failed=False)  # type: ignore[arg-type]
    badge = view(judged).others[0].badge
    assert badge.word == status
    assert badge.symbol
    assert badge.tone in {"good", "info", "warn", "bad"}


def test_every_breakdown_has_a_table() -> None:
    assert {kind.key for kind in KINDS} == set(get_args(Breakdown))
    parts = Parts((Part("one", 2, ns=300, bytes=4), Part("two", 1, ns=100)))
    now = steady().measurement
    full = replace(now.windows["test"], breakdown=dict.fromkeys(get_args(Breakdown), parts))
    judged = verdict(replace(now, windows={"test": full}))
    (test,) = view(judged).others
    tables = {table.title: table for table in test.windows[0].tables}
    assert len(tables) == len(KINDS)
    for title in ("The program's NVTX ranges", "Devices", "Processes"):
        rows = [(row.name, row.count, row.now) for row in tables[title].rows]
        assert rows == [("one", "2", "300 ns"), ("two", "1", "100 ns")]
    document = report_document(RunReport("profile", (judged,)))
    assert json.loads(json.dumps(document)) == document


def test_no_parts_no_table() -> None:
    now = steady().measurement
    empty = replace(now.windows["test"], breakdown={"kernels": Parts()})
    (test,) = view(verdict(replace(now, windows={"test": empty}))).others
    assert test.windows[0].tables == ()


def test_what_is_as_it_was_in_every_round_takes_one_line() -> None:
    shown = failure(slower()).windows[0]
    assert [row.key for row in shown.gated] == [
        "gpu.kernel_time",
        "memcpy.h2d.bytes",
        "memcpy.h2d.count",
    ]
    assert shown.unchanged == (
        "The same in every round, then and now: gpu.kernel_count 193, sync.count 1."
    )


def test_samples_are_drawn() -> None:
    shown = failure(slower()).windows[0]
    strip = shown.gated[0].strip
    assert strip is not None
    assert strip.text == (
        "Baseline: 5 rounds, from 2.365 ms to 2.367 ms; "
        "Current: 5 rounds, from 2.531 ms to 2.533 ms"
    )


def test_copies_by_direction() -> None:
    now = slower()
    (row,) = failure(now).windows[0].transfers
    assert (row.name, row.count, row.bytes) == ("Host to device (h2d)", "1 -> 2", "4 KiB -> 8 KiB")
    assert (row.time, row.changed) == (NOTHING, True)
    same = view(verdict(now.measurement, now.measurement)).others[0].windows[0].transfers[0]
    assert (same.count, same.changed) == ("2", False)
    alone = view(verdict(now.measurement)).others[0].windows[0].transfers[0]
    assert (alone.count, alone.changed) == ("2", False)


def test_the_state_of_the_gpu_has_a_place_of_its_own() -> None:
    body = window(kernel(GEMM, 1, 1e5))
    state = {"gpu.sm_clock": ((1.98e9, 1.97e9, 1.98e9),), "gpu.power": ((300.0, 300.0, 300.0),)}
    now = measurement(replace(body, samples={**body.samples, **state}))
    shown = view(verdict(now, now)).others[0].windows[0]
    assert [(row.key, row.now) for row in shown.state] == [
        ("gpu.sm_clock", "1.98 GHz"),
        ("gpu.power", "300 W"),
    ]
    assert not {"gpu.sm_clock", "gpu.power"} & {row.key for row in shown.shown}


def test_every_window_has_a_sentence() -> None:
    now = measurement(
        window(kernel(GEMM, 2, 2e6)),
        window(kernel(GEMM, 1, 5e5), name="fast"),
        window(kernel(GEMM, 1, 1e6), name="same"),
    )
    then = before(
        now,
        window(kernel(GEMM, 1, 1e6)),
        window(kernel(GEMM, 2, 1e6), name="fast"),
        window(kernel(GEMM, 1, 1e6), name="same"),
        window(kernel(GEMM, 1, 1e6), name="dropped"),
    )
    test = failure(verdict(now, then))
    said = [shown.said for shown in test.windows]
    sentence = "gpu.kernel_time rose by 1 ms (100%), from 1 ms to 2 ms; the limit"
    assert test.headline.startswith(sentence)
    assert said[0] == "", "it has been said"
    assert said[1].startswith("[fast] gpu.kernel_time fell by 500 us (50.0%), from 1 ms to 500 us")
    assert said[2] == "All 5 gated metrics are within their limits."
    assert said[3] == "the baseline has a window 'dropped' that this test no longer measures"
    assert view(verdict(now)).others[0].windows[0].said == ""


def test_an_improvement_is_a_sentence() -> None:
    now = measurement(window(kernel(GEMM, 1, 5e5)))
    (test,) = view(verdict(now, before(now, window(kernel(GEMM, 1, 1e6))))).others
    assert test.badge.word == "improved"
    assert test.headline.startswith("gpu.kernel_time fell by 500 us (50.0%)")
    (waterfall,) = test.windows[0].waterfalls
    assert waterfall.open
    assert waterfall.bars[-1].row.change == "-500 us"


def test_what_is_accepted_and_what_is_unclear_says_why() -> None:
    judged = slower()
    first = judged.comparisons[0]
    accepted = replace(first, status="expected", reason="accepted until 2026-12-31: new layout")
    expected = replace(judged, status="expected", failed=False, comparisons=(accepted,))
    (test,) = view(expected).others
    assert "accepted until 2026-12-31" in test.headline
    assert "accepted until 2026-12-31" in test.windows[0].said
    assert test.windows[0].gated[0].note == "accepted until 2026-12-31: new layout"
    noisy = replace(first, status="inconclusive", culprits=(), note="it is too noisy to tell")
    (test,) = view(replace(expected, status="inconclusive", comparisons=(noisy,))).others
    assert test.windows[0].said.endswith("it is too noisy to tell")


def test_a_comparison_with_a_revision_says_so() -> None:
    shown = view(replace(slower(), against="main"))
    assert shown.mode == "The baseline is main, measured in the same run (--nsys-against)."
    (test,) = shown.failures
    assert test.plan.endswith(" main in the same run: 5 rounds after 1 to warm up.")
    assert test.reproduce.startswith("pytest --nsys-against=main ")
    assert test.accept == ""


def test_stored_captures_are_called_so() -> None:
    stored = Stored("a", "b", "pytest-nsys diff a b", ("t.py::old",), ("t.py::fresh",))
    shown = page(RunReport("profile", (slower(),)), stored)
    assert shown.title == "This is worse than the baseline"
    assert shown.mode == "Two stored captures: a is the baseline, b is current."
    assert shown.notes == (
        "Only in the baseline: t.py::old",
        "Only in the current one: t.py::fresh",
    )
    assert shown.failures[0].reproduce == "pytest-nsys diff a b"
    assert shown.failures[0].accept == ""

    def title(*verdicts: Verdict) -> str:
        return page(RunReport("profile", verdicts), stored).title

    assert title(slower("a"), slower("b"), steady()) == "2 of 3 tests are worse than the baseline"
    assert title(slower("a"), steady()) == "1 of 2 tests is worse than the baseline"
    assert title(steady()) == "Nothing is worse than the baseline"


def test_notes_on_the_run_are_on_top() -> None:
    shown = page(RunReport("profile", (steady(),), notes=("nsys lost 3 events",)))
    assert shown.notes == ("nsys lost 3 events",)


def test_findings_are_told() -> None:
    found = Bottleneck("host-bound", 0.41, "the GPU waits", ("12 gaps",), "use a CUDA graph")
    judged = steady()
    judged = replace(judged, measurement=replace(judged.measurement, bottlenecks=(found,)))
    ((told,),) = (test.bottlenecks for test in view(judged).others)
    assert (told.name, told.share, told.evidence) == ("host-bound", 0.41, ("12 gaps",))
    assert "41% of the time" in render_html(RunReport("profile", (judged,)))


def a_timeline(length: int = 1000) -> Timeline:
    return Timeline(
        length=length,
        lanes=(Lane("gpu", "stream 7"),),
        labels=(Label(GEMM, "gemm"),),
        elements=(Element(0, 10, 900, 0, 1, 890),),
    )


def test_timelines_are_drawn_where_there_are_any() -> None:
    judged = slower()
    assert failure(judged).drawing is None
    now = replace(judged.measurement, timeline=a_timeline())
    drawing = failure(replace(judged, measurement=now)).drawing
    assert drawing is not None
    assert drawing.title == "GPU timeline"
    assert drawing.svg.startswith("<svg")
    assert judged.baseline is not None
    then = replace(judged.baseline, timeline=a_timeline(2000))
    drawing = failure(replace(judged, measurement=now, baseline=then)).drawing
    assert drawing is not None
    assert drawing.title == "GPU timelines, baseline above current"


def test_of_many_tests_only_failures_are_in_full() -> None:
    judged = steady()
    fine = [
        replace(judged, measurement=replace(judged.measurement, timeline=a_timeline()))
        for _ in range(FULL)
    ]
    assert not any(test.brief for test in view(*fine).others)
    assert view(*fine).brief == ""
    bad = [slower(f"t{n}") for n in range(FULL_FAILURES + 2)]
    shown = view(*fine, *bad)
    assert [test.brief for test in shown.failures] == [False] * FULL_FAILURES + [True] * 2
    assert all(test.brief and test.drawing is None for test in shown.others)
    brief = shown.failures[-1].windows[0]
    assert [row.key for row in brief.gated][:1] == ["gpu.kernel_time"]
    assert (brief.tables, brief.shown, brief.waterfalls) == ((), (), ())
    assert shown.brief.startswith("20 tests are shown in full")
    assert view(*fine, *bad[:1]).brief.startswith("1 test is shown in full")
    assert view(*fine, *fine).brief.startswith("No test is shown in full")


def figures(row: OverviewRow) -> dict[str, tuple[str, str, str]]:
    """What stands in the columns of a row: the amount, its change, and what is thought of that."""
    return {cell.head: (cell.text, cell.note, cell.tone) for cell in row.cells}


def test_the_figures_of_all_tests_are_in_one_table() -> None:
    (table,) = view(steady(), slower()).overviews
    assert table.title == ""
    assert table.heads == ("kernel time", "change", "scatter", "kernels", "copies", "syncs", "peak")
    worse, same = table.rows
    assert [(row.anchor, row.badge.word, row.status) for row in table.rows] == [
        ("test-2", "regressed", "regressed"),
        ("test-1", "ok", "ok"),
    ]
    assert figures(worse) == {
        "kernel time": ("2.532 ms", "", ""),
        "change": ("+7.0%", "", "bad"),
        "scatter": ("0.0%", "", ""),
        "kernels": ("193", "", ""),
        "copies": ("2", "+1", "bad"),
        "syncs": ("1", "", ""),
        "peak": (NOTHING, "", ""),
    }
    assert worse.said == (
        "worse: gpu.kernel_time, memcpy.h2d.bytes, memcpy.h2d.count; "
        f"largest part: {FLASH} +180.4 us (32x)"
    )
    assert figures(same)["change"] == ("+0.1%", "", "")
    assert same.said == ""
    change = next(cell for cell in worse.cells if cell.head == "change")
    assert float(change.value) == pytest.approx(0.0702, abs=1e-3)
    assert change.bar is not None
    assert (float(change.bar.x), float(change.bar.width)) == (table.width / 2, 4.5)


def test_a_test_without_a_baseline_has_figures_and_no_change() -> None:
    (table,) = view(verdict(slower().measurement)).overviews
    (row,) = table.rows
    assert figures(row)["kernel time"] == ("2.532 ms", "", "")
    assert figures(row)["change"] == ("", "", "")
    assert [cell.bar for cell in row.cells] == [None] * len(row.cells)


def test_bars_of_large_changes_end_at_the_edge() -> None:
    for factor, ends in ((9.0, (32.0, 64.0)), (0.1, (0.0, 32.0))):
        now = measurement(window(kernel(GEMM, 1, factor * 1e6)))
        (table,) = view(verdict(now, before(now, window(kernel(GEMM, 1, 1e6))))).overviews
        bar = next(cell.bar for cell in table.rows[0].cells if cell.head == "change")
        assert bar is not None
        assert (float(bar.x), float(bar.x) + float(bar.width)) == ends


def test_parts_of_tests_have_rows_and_in_large_runs_only_those_that_say_something() -> None:
    def judged(number: int) -> Verdict:
        parts = [window(kernel(GEMM, 1, 1e6), name=name) for name in ("test", "decode")]
        slow = window(kernel(GEMM, 1, 1.5e6 if number == 0 else 1e6), name="prefill")
        now = measurement(*parts, slow, nodeid=f"t.py::test_{number}")
        return verdict(now, before(now, *parts, window(kernel(GEMM, 1, 1e6), name="prefill")))

    (table,) = view(judged(0), judged(1)).overviews
    assert [row.window for row in table.rows] == ["", "decode", "prefill"] * 2
    (table,) = view(*map(judged, range(FULL + 1))).overviews
    assert [row.window for row in table.rows] == ["", "prefill"] + [""] * FULL


def test_the_columns_that_were_chosen_are_those_of_the_overview() -> None:
    chosen = ("wall.time", "gpu.kernel_time", "gpu.kernel_count")
    verdicts = (*unclear_server().verdicts, slower())
    tests, servers = page(RunReport("gate", verdicts, columns=chosen)).overviews
    heads = ("wall.time", "change", "scatter", "gpu.kernel_time", "gpu.kernel_count")
    assert (tests.heads, servers.heads) == (heads, heads)


def changed_within() -> Verdict:
    """A test that got better, with a kernel that takes longer and little of all."""
    now = measurement(window(kernel(GEMM, 4, 9e5), kernel("silu", 1, 20e3), name="decode"))
    then = window(kernel(GEMM, 4, 12e5), kernel("silu", 1, 10e3), name="decode")
    return verdict(now, before(now, then))


def test_what_got_better_and_what_changed_within_its_limits_is_told_at_the_top() -> None:
    shown = view(slower(), changed_within())
    better, within = shown.told
    assert (better.anchor, better.badge) == ("test-2", BADGES["improved"])
    assert better.text.startswith("[decode] gpu.kernel_time -24.0%, limit 3% or 5 us")
    assert (within.anchor, within.badge) == ("test-2", None)
    assert within.text == ("[decode] largest changes below the limit: silu +100%, 10 us of 920 us")
    assert shown.untold == ""
    many = view(*[changed_within()] * 10)
    assert (len(many.told), many.untold) == (12, "and 8 more")
    assert (view(slower()).told, view(slower()).untold) == ((), "")


def test_a_server_that_was_started_otherwise_is_told_with_what_came_of_it() -> None:
    (judged,) = unclear_server().verdicts
    assert judged.baseline is not None
    now, then = (
        replace(one, environment=replace(one.environment, server=("vllm", "--dtype", dtype)))
        for one, dtype in ((judged.measurement, "bfloat16"), (judged.baseline, "float16"))
    )
    shown = view(replace(judged, measurement=now, baseline=then))
    first = shown.told[0]
    assert first.badge is not None
    assert first.badge.word == "started otherwise"
    assert first.text.startswith("[concurrency-1] `--dtype float16` -> `bfloat16`: tokens/s +55.2%")
    row = next(row for row in shown.sides if row.name == "Server")
    assert (row.then, row.now, row.tag) == (
        "vllm --dtype float16",
        "vllm --dtype bfloat16",
        "changed",
    )


def test_servers_have_a_table_of_their_own_that_begins_with_what_clients_see() -> None:
    shown = page(replace(unclear_server(), verdicts=(*unclear_server().verdicts, slower())))
    tests, servers = shown.overviews
    assert (tests.title, servers.title) == ("What tests do themselves", "Servers under load")
    assert servers.heads[:3] == ("tokens/s", "TTFT p50", "kernel/token")
    row = servers.rows[1]
    assert (row.window, row.badge.word) == ("concurrency-8", "inconclusive")
    assert figures(row)["TTFT p50"] == ("61.99 ms", "-0.9%", "warn")
    assert row.said == "undecided: client.ttft_p50, client.tokens_per_s"


def test_the_windows_of_a_server_say_what_was_decided() -> None:
    (test,) = page(unclear_server()).others
    assert test.open
    assert test.headline == (
        "Of 12 gated metrics 10 are decided, and none is worse. "
        "Undecided: [concurrency-8] client.ttft_p50, [concurrency-8] client.tokens_per_s."
    )
    assert [(one.name, one.badge.word) for one in test.served] == [
        ("concurrency-1", "ok"),
        ("concurrency-8", "inconclusive"),
        ("sustained", "ok"),
    ]
    metrics = {one.head: one for one in test.served[1].metrics}
    assert [*metrics] == ["tokens/s", "TTFT p50", "kernel/token", "p95", "busy"]
    first = metrics["TTFT p50"]
    assert first.badge is not None
    assert (first.now, first.then, first.badge.word) == ("61.99 ms", "62.53 ms", "inconclusive")
    assert first.judged == ("limit 119% (noise)", "noise 23.3%", "seen from 164% on")
    assert metrics["kernel/token"].judged == ("limit 5%", "noise 0.3%")
    assert (metrics["busy"].badge, metrics["busy"].judged) == (None, ())
    assert [shown.open for shown in test.windows] == [False, True, False]


def test_a_rate_that_scatters_by_all_of_it_shows_no_fall() -> None:
    judged = unclear_server().verdicts[0]
    key, window = "client.tokens_per_s", "concurrency-8"
    deep = tuple(
        replace(one, status="inconclusive", detectable=2 * (one.baseline or 0.0))
        if (one.metric.key, one.window) == (key, window)
        else one
        for one in judged.comparisons
    )
    (test,) = view(replace(judged, comparisons=deep)).others
    metrics = {one.head: one for one in test.served[1].metrics}
    assert metrics["tokens/s"].judged[-1] == "no fall is seen"


def test_a_server_without_a_baseline_shows_what_it_does() -> None:
    measured = unclear_server().verdicts[0].measurement
    (test,) = view(verdict(measured, mode="update"), mode="update").others
    assert test.headline == (
        "[concurrency-1] client.tokens_per_s 170.6/s, client.ttft_p50 9.611 ms"
    )
    metrics = {one.head: one for one in test.served[0].metrics}
    assert (metrics["kernel/token"].now, metrics["kernel/token"].then) == ("576.7 us", "")
    assert metrics["kernel/token"].change == ""


def test_what_clients_of_a_server_did_not_see_has_no_number() -> None:
    measured = unclear_server().verdicts[0].measurement
    name, seen = next(iter(measured.windows.items()))
    samples = {key: each for key, each in seen.samples.items() if key != "client.ttft_p50"}
    unseen = replace(measured, windows={name: replace(seen, samples=samples)})
    (test,) = view(verdict(unseen, unseen)).others
    metrics = {one.head: one for one in test.served[0].metrics}
    assert (metrics["TTFT p50"].now, metrics["TTFT p50"].then) == (NOTHING, "")
    assert (metrics["TTFT p50"].badge, metrics["tokens/s"].now) == (None, "170.6/s")


def test_what_is_gated_of_a_server_besides_has_a_column_where_it_is_worse() -> None:
    judged = unclear_server().verdicts[0]
    parts = tuple(
        replace(part, status="regressed")
        if (part.window, part.metric.key) == ("sustained", "memcpy.d2h.bytes.per_token")
        else part
        for part in judged.comparisons
    )
    (test,) = view(replace(judged, status="regressed", failed=True, comparisons=parts)).failures
    for one in test.served:
        assert one.metrics[-1].head == "memcpy.d2h.bytes.per_token"


def test_both_sides_are_told_at_the_top() -> None:
    judged = slower()
    assert judged.baseline is not None
    commit = "0123456789abcdef0123456789abcdef01234567+dirty"
    now = replace(judged.measurement.environment, commit=commit)
    judged = replace(judged, measurement=replace(judged.measurement, environment=now))
    shown = view(judged)
    assert {row.name: (row.then, row.now, row.tag) for row in shown.sides} == {
        "Commit": ("unknown", "0123456789ab+dirty", ""),
        "Date": ("2025-11-30", "2026-01-10", ""),
        "GPU": ("NVIDIA H200", "NVIDIA H200", ""),
        "Driver": ("570.86.15", "580.65.06", "changed"),
        "CUDA": ("13.0", "13.0", ""),
        "nsys": ("2025.3.2", "2025.3.2", ""),
    }
    assert shown.alike == (
        "python 3.12.3, torch 2.11.0, capture options --trace=cuda,nvtx --cuda-memory-usage=true"
    )
    assert view().sides == ()
    alone = view(verdict(judged.measurement))
    assert [row.then for row in alone.sides] == [""] * len(alone.sides)


def test_a_baseline_of_another_gpu_of_the_same_name_is_told() -> None:
    judged = slower()
    assert judged.baseline is not None
    now, then = (
        replace(one, environment=replace(one.environment, gpu_digests=(digest,)))
        for one, digest in ((judged.measurement, "aa"), (judged.baseline, "bb"))
    )
    row = view(replace(judged, measurement=now, baseline=then)).sides[-1]
    assert (row.name, row.then, row.now) == ("Which GPU (digest of its UUID)", "bb", "aa")
    same = view(
        replace(judged, measurement=now, baseline=replace(then, environment=now.environment))
    )
    assert not any("UUID" in row.name for row in same.sides)
    assert "UUID" not in same.alike


def test_baselines_that_differ_are_told_apart() -> None:
    verdicts = []
    for number, (driver, day) in enumerate(
        [("570", "1"), ("570", "2"), ("560", "3"), ("580", "4")]
    ):
        judged = slower(f"t.py::test_{number}")
        assert judged.baseline is not None
        older = replace(judged.baseline.environment, driver=driver, date=f"2025-11-0{day}")
        verdicts.append(replace(judged, baseline=replace(judged.baseline, environment=older)))
    now = replace(verdicts[3].measurement.environment, driver="580")
    verdicts[3] = replace(
        verdicts[3], measurement=replace(verdicts[3].measurement, environment=now)
    )
    fresh = verdict(slower("new").measurement)
    rows = {row.name: row for row in view(*verdicts, fresh).sides}
    assert rows["Driver"].then == "570 (2 tests), 560 (1 test), 580 (1 test)"
    assert rows["Driver"].now == "580.65.06 (4 tests), 580 (1 test)"
    assert rows["Driver"].count == "in 3 of 4 tests"
    assert rows["Date"].then == (
        "2025-11-01 (1 test), 2025-11-02 (1 test), 2025-11-03 (1 test) and 1 more"
    )


def test_counters_of_a_kernel_stand_side_by_side_below_what_they_say() -> None:
    now, then = (
        KernelCounters("gemm", "test", launches, values)
        for launches, values in (
            (3, {DURATION: 9000.0, LOAD_SECTORS: 32.0, FP64: 0.0}),
            (2, {DURATION: 5000.0, LOAD_SECTORS: 4.0, FP64: 0.0}),
        )
    )
    after = slower().measurement
    earlier = before(after, *after.windows.values())
    judged = verdict(replace(after, counters=(now,)), replace(earlier, counters=(then,)))
    (shown,) = shown_test(judged, 1, full=True, most=0, stored=None).counted
    assert shown.said == "loads are uncoalesced: sectors per request 4 -> 32"
    assert shown.launches == "of the longest of 2 and of 3 launches"
    assert [(row.name, row.then, row.now, row.change) for row in shown.rows] == [
        ("duration", "5 us", "9 us", "+4 us (+80.0%)"),
        ("sectors per request, global loads", "4.00", "32.00", "+28.00"),
    ]
    assert shown_test(judged, 1, full=False, most=0, stored=None).counted == ()
    text = render_html(RunReport("profile", (judged,)))
    assert "l1tex__average_t_sectors" in text.replace("<wbr>", "")
    alone = verdict(replace(after, counters=(replace(now, launches=1),)))
    (shown,) = shown_test(alone, 1, full=True, most=0, stored=None).counted
    assert shown.launches == "of 1 launch"
    assert shown.rows[0].then == NOTHING
