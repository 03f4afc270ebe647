"""The view of a run: what its strings say, and that what is shown adds up."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from typing import get_args

import pytest
from builders import FLASH, GEMM, before, kernel, measurement, slower, steady, verdict, window
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_nsys.catalogue import Breakdown, lookup
from pytest_nsys.config.options import Mode
from pytest_nsys.gate.verdict import SEVERITY, Comparison, Contribution, Verdict
from pytest_nsys.measurement import Part, Parts
from pytest_nsys.report.breakdowns import KINDS
from pytest_nsys.report.json import report_document
from pytest_nsys.report.run import RunReport
from pytest_nsys.report.view import NOTHING, Origin, Page, Row, Test, page


def view(*verdicts: Verdict, mode: Mode = "profile") -> Page:
    return page(RunReport(mode, verdicts))


def failure(judged: Verdict) -> Test:
    (test,) = view(judged).failures
    return test


def number(text: str) -> tuple[Decimal, str]:
    """The number and the unit of a change."""
    match = re.fullmatch(r"([+-][\d.]+) ?(\w*)", text)
    assert match is not None, text
    return Decimal(match[1]), match[2]


def adds_up(origin: Origin) -> bool:
    total, unit = number(origin.total)
    changes = [number(row.change) for row in (*origin.rows, *origin.rest)]
    assert {name for _, name in changes} <= {unit}
    return sum((change for change, _ in changes), Decimal(0)) == total


def test_a_change_is_taken_apart() -> None:
    origin = failure(slower()).windows[0].origins[0]
    assert origin.metric == "gpu.kernel_time"
    shown = [(row.name, row.tag, row.then, row.now, row.change, row.count) for row in origin.rows]
    assert shown == [
        (FLASH, "", "1.01 ms (32x)", "1.19 ms (32x)", "+180.4 us", "109%"),
        ("rms_norm_v2", "new", NOTHING, "40.21 us (65x)", "+40.2 us", "24%"),
        (GEMM, "", "1.242 ms (64x)", "1.24 ms (64x)", "-1.8 us", "-1%"),
        ("rms_norm", "gone", "52.84 us (65x)", NOTHING, "-52.8 us", "-32%"),
    ]
    assert origin.rest == (Row("1 smaller", change="+0.1 us", count="0%"),)
    assert origin.total == "+166.1 us"
    assert adds_up(origin)


def test_exact_changes_are_shown_without_idle_digits() -> None:
    origins = {origin.metric: origin for origin in failure(slower()).windows[0].origins}
    assert origins["memcpy.h2d.bytes"].total == "+4 KiB"
    assert origins["memcpy.h2d.count"].total == "+1"
    assert origins["memcpy.h2d.count"].rows[0].now == "2"


# To a thousandth, as baselines keep them.
AMOUNTS = st.integers(0, 10**13).map(lambda n: n / 1000) | st.integers(0, 10**10).map(float)
PARTS = st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=30)


@given(PARTS, AMOUNTS, AMOUNTS, st.sampled_from(["gpu.kernel_time", "mem.peak", "sync.count"]))
@example([(0.0, 0.425), (0.0, 34.422), (0.0, 9999999999.212)], 0.0, 0.001, "gpu.kernel_time")
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
    (origin,) = failure(judged).windows[0].origins
    assert adds_up(origin)
    assert len(origin.rows) <= 10


def test_the_remainder_is_named() -> None:
    judged = slower()
    first = judged.comparisons[0]
    assert first.current is not None
    more = replace(judged, comparisons=(replace(first, current=first.current + 5e4),))
    (origin,) = failure(more).windows[0].origins
    assert origin.rest[0].name.startswith("2 smaller and remainder (medians")
    alone = replace(first, culprits=first.culprits[:1], current=first.current + 5e4)
    (origin,) = failure(replace(judged, comparisons=(alone,))).windows[0].origins
    assert origin.rest[0].name.startswith("remainder")
    assert adds_up(origin)


def test_metrics_gated_first() -> None:
    shown = failure(slower()).windows[0]
    time = shown.gated[0]
    assert (time.key, time.then, time.now) == ("gpu.kernel_time", "2.366 ms", "2.532 ms")
    assert (time.then_range, time.now_range) == ("2.365 ms to 2.367 ms", "2.531 ms to 2.533 ms")
    assert (time.change, time.limit) == ("+166.1 us (+7.0%)", "3% or 20 us")
    assert (time.badge.symbol, time.badge.word) == ("\N{BALLOT X}", "regressed")
    assert [row.key for row in shown.shown] == ["wall.time"]


def test_without_a_baseline_what_would_be_gated_comes_first() -> None:
    (test,) = view(verdict(slower().measurement)).others
    keys = [row.key for row in test.windows[0].gated]
    assert keys[:2] == ["gpu.kernel_time", "gpu.kernel_count"]
    row = test.windows[0].gated[0]
    assert (row.then, row.change, row.limit) == (NOTHING, NOTHING, NOTHING)
    assert not test.windows[0].tables[0].compared
    assert not test.compared


def test_kernels_the_largest_change_first() -> None:
    kernels, copies, _ = failure(slower()).windows[0].tables
    names = [row.name for row in kernels.rows]
    assert names == [FLASH, "rms_norm", "rms_norm_v2", GEMM, "silu_and_mul"]
    assert kernels.rows[1] == Row(
        "rms_norm", "52.84 us", NOTHING, "-52.84 us (-100%)", "65 -> 0", "norm", "gone"
    )
    assert copies.rows[0].count == "1 -> 2"
    assert copies.open


def test_many_kernels_are_folded() -> None:
    now = measurement(window(*(kernel(f"k{n}", 1, 100 + n) for n in range(40))))
    (test,) = view(verdict(now, now)).others
    (table,) = test.windows[0].tables
    assert len(table.rows) + len(table.more) == 40
    assert len(table.rows) < len(table.more)
    assert table.glance == "40"


def test_a_window_that_only_the_baseline_has() -> None:
    now = measurement(window(kernel(GEMM, 1, 5000)))
    then = before(now, *now.windows.values(), window(kernel(GEMM, 2, 7000), name="decode"))
    (test,) = view(verdict(now, then)).others
    gone = test.windows[1]
    assert gone.tables[0].rows == (Row(GEMM, now="7 us", count="2", kind="gemm"),)
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
    assert test.windows[0].units == "256 token(s), 2 image(s)"


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
    assert test.plan == "Measured 3 sessions of 1 round."


def test_what_else_has_changed() -> None:
    shown = view(slower(), steady())
    assert shown.failures[0].differences == (Row("Driver", "570.86.15", "580.65.06"),)
    assert shown.differences == (Row("Driver", "570.86.15", "580.65.06", count="2 tests"),)
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
    assert facts["GPU"] == "NVIDIA H200"
    assert facts["Time spent"] == "worker 3.2 s"
    assert facts["Raw reports kept in"] == "k"
    meanings = {row.name: row.now for row in page(run).glossary}
    assert meanings["gpu.kernel_count"] == "KERNEL rows"


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
