"""Trends: changes of level, drifts, the lines they are shown in, and the command."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.storage.history import changes
from pytest_nsys.storage.history.changes import (
    Shift,
    drift,
    finds_shifts,
    needs_library,
    noise,
    shifts,
)
from pytest_nsys.storage.history.document import Entry
from pytest_nsys.storage.history.store import Series, append, history_path
from pytest_nsys.storage.history.text import ASCII, BLOCKS, history_lines, levels_for, sparkline
from pytest_nsys.storage.history.trend import trends_of
from pytest_nsys.support.units import Tolerance
from tests.support.command import Answer

START = datetime(2026, 10, 1, 3, 12, tzinfo=timezone.utc)
ADDED = {"date": "2026-11-03T03:12:00+00:00", "commit": f"33{'abc1234' * 5}"}
TEST = "tests/t.py::test_step[b8]"
DEVICE = "nvidia-h200"


def noisy(number: int, sigma: float, seed: int = 1, level: float = 100.0) -> list[float]:
    chance = random.Random(seed)
    return [chance.gauss(level, sigma) for _ in range(number)]


# Changes of level


def test_the_library_is_here() -> None:
    assert finds_shifts()


def test_the_noise_is_that_around_a_level_that_changes() -> None:
    values = [*noisy(200, 0.5), *noisy(200, 0.5, level=110.0)]
    values[50] += 40
    assert math.isclose(noise(values), 0.5, rel_tol=0.15)
    assert noise([1.0, 1.0, 1.0, 5.0, 5.0]) == 0
    assert noise([1.0]) == noise([]) == 0


@pytest.mark.parametrize("number", [12, 40, 200])
def test_a_step_is_found_where_it_is(number: int) -> None:
    at = number * 2 // 3
    for seed in range(20):
        values = [value + 2.0 * (n >= at) for n, value in enumerate(noisy(number, 0.2, seed))]
        (shift,) = shifts(values)
        assert abs(shift.index - at) <= 1
        assert math.isclose(shift.after - shift.before, 2.0, abs_tol=0.4)


def test_noise_alone_has_hardly_ever_a_step() -> None:
    found = [shifts(noisy(40, 0.3, seed)) for seed in range(200)]
    assert sum(map(bool, found)) <= 6


def test_outliers_are_no_steps() -> None:
    values = noisy(60, 0.3)
    for place in (5, 21, 22, 48):
        values[place] += 20
    assert shifts(values) == ()


def test_a_straight_rise_is_a_drift_and_no_steps() -> None:
    for number in (20, 40, 100):
        values = [value + 4.8 * n / number for n, value in enumerate(noisy(number, 0.2))]
        assert shifts(values) == ()
        assert drift(values) is not None


def test_a_step_and_noise_are_no_drift() -> None:
    assert drift(noisy(100, 0.5)) is None
    assert drift([100.0] * 20 + [103.0] * 20) is None
    assert drift([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) is None  # too few
    assert drift([5.0] * 50) is None


@pytest.mark.parametrize("number", [40, 100, 365])
def test_a_drift_is_found_in_noise_that_hides_every_step_of_it(number: int) -> None:
    for seed in range(20):
        values = [v + 5.0 * n / number for n, v in enumerate(noisy(number, 0.8, seed))]
        found = drift(values, shifts(values))
        assert found is not None
        assert found.after > found.before
        assert found.step < 5.0


def test_noise_and_outliers_have_hardly_ever_a_drift() -> None:
    for number in (20, 100, 365):
        series = [noisy(number, 0.3, seed) for seed in range(100)]
        for values in series:
            for place in range(7, number, 30):
                values[place] += 20
        assert sum(drift(values, shifts(values)) is not None for values in series) <= 1


def test_a_stair_is_a_drift_too_and_one_step_of_it_is_none() -> None:
    stair = [100.0 + 2 * (n // 10) for n in range(40)]
    assert len(shifts(stair)) == 3
    assert drift(stair, shifts(stair)) is not None
    assert drift(stair[:20], shifts(stair[:20])) is None


def test_where_a_change_may_be_is_told_by_the_noise() -> None:
    within = narrow = 0
    for seed in range(50):
        values = [v + 3.0 * (n >= 25) for n, v in enumerate(noisy(40, 1.0, seed))]
        for shift in shifts(values):
            assert 1 <= shift.earliest <= shift.index <= shift.latest <= 39
            within += shift.earliest <= 25 <= shift.latest
            narrow += shift.latest - shift.earliest <= 4
    assert within >= 44
    assert narrow >= 44


def test_a_drift_says_how_far_and_by_what_steps() -> None:
    found = drift([100.0 + n for n in range(40)])
    assert found is not None
    assert (found.before, found.after, found.step) == (102.0, 137.0, 1.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([3], []),
        ([3, 3, 3, 3], []),
        ([3, 3, 3, 3, 4], [(4, 3, 4)]),
        ([5, 3, 3, 3, 3], [(1, 5, 3)]),
        ([3, 3, 3, 4, 3, 3, 3, 3, 3, 3], []),
        ([3, 3, 3, 3, 4, 4, 3, 3, 3, 3], [(4, 3, 4), (6, 4, 3)]),
        ([3, 3, 3, 3, 3, 4, 5, 5, 5, 5], [(5, 3, 4), (6, 4, 5)]),
        ([1, 2, 3, 4], []),  # what is noise here, and what a change?
    ],
)
def test_a_series_without_noise_changes_where_its_values_do(
    values: Sequence[float], expected: list[tuple[int, float, float]]
) -> None:
    assert shifts(values) == tuple(Shift(*one, one[0], one[0]) for one in expected)


numbers = st.one_of(
    st.floats(-(2.0**200), 2.0**200),
    st.sampled_from([0.0, 5e-324, -5e-324, 1e60, 1.0, 1.0 + 2**-52]),
)


@given(st.lists(numbers, max_size=30))
def test_any_series_has_an_answer(values: list[float]) -> None:
    found = shifts(values)
    assert [shift.index for shift in found] == sorted({shift.index for shift in found})
    for shift in found:
        assert 0 < shift.earliest <= shift.index <= shift.latest < len(values)
    drift(values, found)


def test_without_the_library_only_noise_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "find_spec", lambda name: None)
    values = [*noisy(20, 0.2), *noisy(20, 0.2, level=105.0)]
    assert needs_library(values)
    assert shifts(values) == ()
    assert shifts([3.0] * 8 + [4.0] * 8) == (Shift(8, 3.0, 4.0, 8, 8),)


# Diagrams


def test_a_diagram_has_a_character_a_value_from_low_to_high() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 80) == BLOCKS
    assert sparkline([7, 0, 7], 80, ASCII) == "#_#"
    assert sparkline([5, 5], 80) == "▁▁"
    assert sparkline([0, 0, 0, 9, 0, 0, 9, 9, 9], 3, ASCII) == "__#"


@given(st.lists(numbers, min_size=1, max_size=50), st.integers(1, 20))
def test_a_diagram_fits(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) == min(width, len(values))


@pytest.mark.parametrize(
    ("encoding", "levels"),
    [("utf-8", BLOCKS), ("ascii", ASCII), ("latin-1", ASCII), (None, ASCII), ("none-such", ASCII)],
)
def test_a_terminal_without_blocks_gets_ascii(encoding: str | None, levels: str) -> None:
    assert levels_for(encoding) == levels


# The command


def runs(number: int = 40, nodeid: str = TEST, device: str = DEVICE) -> list[Entry]:
    """A run a day: torch 2.9 came with run 27, and with it 2 % more time; run 33 copies twice."""
    times = noisy(number, 4e3, level=2.4e6)
    return [
        Entry(
            nodeid,
            device,
            START + timedelta(days=n),
            commit=f"{n:02d}{'abc1234' * 5}",
            nsys="2025.3.2",
            driver="580",
            versions={"torch": "2.9" if n >= 27 else "2.8"},
            status="regressed" if n == 33 else "ok",
            windows={
                "test": {
                    "gpu.kernel_time": (time * (1.02 if n >= 27 else 1), 5),
                    "gpu.kernel_count": (412.0, 5),
                    "memcpy.h2d.count": (2.0 if n >= 33 else 1.0, 5),
                    "memcpy.d2h.count": (0.0, 5),
                    "wall.time": (3e6 + 1e4 * n, 5),
                    "own.metric": (float(n % 2), 5),
                },
                "prefill": {"gpu.kernel_count": (12.0, 5)},
            },
        )
        for n, time in enumerate(times)
    ]


@pytest.fixture
def history(tmp_path: Path) -> Path:
    append(tmp_path, runs())
    return tmp_path


def test_a_trend_is_shown_with_its_changes_in_eighty_columns(
    history: Path, command: Callable[..., Answer]
) -> None:
    code, out, err = command("history", history)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[:2] == [
        TEST,
        "  nvidia-h200, 40 runs, 2026-10-01 to 2026-11-09: 39 ok, 1 regressed",
    ]
    assert lines[2].startswith("  gpu.kernel_time 2.4")
    assert lines[2].endswith("ms")
    assert lines[3].strip(BLOCKS + " ") == ""
    assert lines[4] == (
        "    since 2026-10-28 (27abc12): +2.0%, under the tolerance of 3% or 5 us; with"
    )
    assert lines[5] == "      it torch 2.8 -> 2.9"
    assert lines[6:] == [
        "  memcpy.h2d.count 1 -> 2 (+1), min 1, max 2",
        "    " + "▁" * 33 + "█" * 7,
        "    since 2026-11-03 (33abc12): +1",
        "  the same in every run: gpu.kernel_count 412, [prefill] gpu.kernel_count 12",
    ]


def test_a_drift_is_told_although_no_step_is_beyond_the_tolerance(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    rising = [
        replace(entry, commit="", windows={"test": {"gpu.kernel_time": (1e6 + 1200.0 * n, 5)}})
        for n, entry in enumerate(runs())
    ]
    append(tmp_path, rising)
    code, out, _ = command("history", tmp_path, "--fail-on-change")
    assert code == 1
    assert out.splitlines()[4:6] == [
        "    drifted +4.2% over 40 runs, over the tolerance of 3% or 5 us; no single run",
        "      moved by more than 0.1%",
    ]
    code, out, _ = command(
        "history", tmp_path, "--fail-on-change", "--tolerance", "gpu.kernel_time=10%"
    )
    assert code == 0
    assert "under the tolerance of 10%" in out
    code, out, _ = command("history", tmp_path, "--fail-on-change", "--tolerance", "4%")
    assert code == 1
    assert "over the tolerance of 4%" in out


def test_only_changes_for_the_worse_fail(history: Path, command: Callable[..., Answer]) -> None:
    assert command("history", history, "--fail-on-change")[0] == 1
    assert command("history", history, "--fail-on-change", "--last", 6)[0] == 0
    better = [
        replace(entry, date=START - timedelta(days=n)) for n, entry in enumerate(runs()[24:32])
    ]
    append(history / "other", better)
    code, out, _ = command("history", history / "other", "--fail-on-change")
    assert code == 0
    assert ": -1.9%" in out


def test_metrics_are_chosen_by_name_or_pattern(
    history: Path, command: Callable[..., Answer]
) -> None:
    out = command("history", history, "--metric", "wall.*", "--metric", "own.metric")[1]
    assert "  wall.time 3 ms -> 3.39 ms (+13.0%)" in out
    assert "  own.metric 0 -> 1" in out
    assert "kernel_time" not in out


@pytest.mark.parametrize(
    ("arguments", "message", "remedy"),
    [
        (["nope"], "no test of this history matches 'nope'", "valid names: tests/t.py"),
        (["--metric", "wall.tim"], "measured 'wall.tim'", "did you mean 'wall.time'?"),
        (["--tolerance", "x=1%"], "nsys_tolerance: 'x=1%'", ""),
    ],
)
def test_names_that_are_not_there_are_errors(
    history: Path, command: Callable[..., Answer], arguments: list[str], message: str, remedy: str
) -> None:
    code, out, err = command("history", history, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert remedy in err


@pytest.mark.parametrize("text", ["0", "-1", "x", "²", ""])
def test_the_number_of_runs_is_a_whole_number(
    history: Path,
    command: Callable[..., Answer],
    capsys: pytest.CaptureFixture[str],
    text: str,
) -> None:
    with pytest.raises(SystemExit) as caught:
        command("history", history, f"--last={text}")
    assert caught.value.code == 2
    assert "is no whole number from 1 on" in capsys.readouterr().err


def test_patterns_take_parts_of_ids_and_brackets_as_they_are(
    history: Path, command: Callable[..., Answer]
) -> None:
    append(history, runs(1, nodeid="tests/t.py::other"))
    for pattern in ("step", "t.py::*[b8]", "[b8]"):
        out = command("history", history, pattern)[1]
        assert TEST in out
        assert "other" not in out
    out = command("history", history, "other")[1]
    assert out.splitlines()[1] == "  nvidia-h200, 1 run, 2026-10-01: 1 ok"


def test_a_torn_line_is_said(history: Path, command: Callable[..., Answer]) -> None:
    path = history / history_path(DEVICE, TEST)
    path.write_bytes(path.read_bytes()[:-30])
    code, out, err = command("history", history)
    assert code == 0
    assert "39 runs" in out
    assert err == (
        f"pytest-nsys: {path}:40: the line breaks off and is left out: a run was killed while it "
        "wrote it\n"
    )


def test_a_damaged_line_is_an_error(history: Path, command: Callable[..., Answer]) -> None:
    path = history / history_path(DEVICE, TEST)
    path.write_bytes(path.read_bytes() + b"hello\n")
    code, out, err = command("history", history)
    assert (code, out) == (2, "")
    assert f"{path}:41: this is not JSON" in err


def test_the_document_has_every_run_and_change(
    history: Path, command: Callable[..., Answer]
) -> None:
    document = json.loads(command("history", history, "--format=json", "--last", 20)[1])
    assert document["schema"] == 1
    (test,) = document["tests"]
    assert (test["nodeid"], test["device"], len(test["runs"])) == (TEST, DEVICE, 20)
    trends = {(trend["window"], trend["metric"]): trend for trend in test["trends"]}
    copies = trends["test", "memcpy.h2d.count"]
    assert (copies["first"], copies["last"], copies["min"], copies["max"]) == (1, 2, 1, 2)
    assert copies["searched"]
    assert copies["drift"] is None
    assert copies["tolerance"] == {"relative": 0, "absolute": 0}
    assert copies["changes"] == [
        {
            "date": "2026-11-03T03:12:00+00:00",
            "commit": runs()[33].commit,
            "before": 1,
            "after": 2,
            "worse": True,
            "over_tolerance": True,
            "earliest": ADDED,
            "latest": ADDED,
            "versions": [],
        }
    ]
    assert copies["state"] == "worse"
    (shift,) = trends["test", "gpu.kernel_time"]["changes"]
    assert shift["versions"] == [{"name": "torch", "before": "2.8", "after": "2.9"}]
    (wall,) = json.loads(command("history", history, "--format=json", "--metric", "wall.time")[1])[
        "tests"
    ][0]["trends"]
    assert wall["tolerance"] is None
    assert wall["drift"] == {
        "before": 3.02e6,
        "after": 3.37e6,
        "worse": True,
        "over_tolerance": False,
        "largest_step": 1e4,
    }


def test_without_the_library_it_says_how_to_get_changes(
    history: Path, command: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "find_spec", lambda name: None)
    code, out, _ = command("history", history)
    assert code == 0
    assert "since 2026-11-03 (33abc12): +1" in out  # an exact metric needs no library
    assert "since 2026-10-28" not in out
    assert "pip install 'pytest-nsys[history]'" in out
    code, out, err = command("history", history, "--fail-on-change")
    assert (code, out) == (2, "")
    assert "What to do: pip install 'pytest-nsys[history]'" in err


def test_of_many_changes_the_newest_are_shown() -> None:
    entries = tuple(
        replace(entry, windows={"test": {"gpu.kernel_count": (float(n // 5), 5)}})
        for n, entry in enumerate(runs())
    )
    lines = history_lines(trends_of([Series(TEST, DEVICE, entries)]))
    assert "    2 earlier changes" in lines
    assert sum("since" in line for line in lines) == 5


def test_changes_far_below_the_tolerance_are_left_out() -> None:
    entries = tuple(
        replace(entry, windows={"test": {"gpu.kernel_time": (1e6 + 1e3 * (n >= 20), 5)}})
        for n, entry in enumerate(runs())
    )
    for tolerance, number in [("3%", 0), ("0.5%", 1)]:
        percent = float(tolerance.rstrip("%")) / 100
        (test,) = trends_of(
            [Series(TEST, DEVICE, entries)], tolerance={"*": Tolerance(relative=percent)}
        )
        assert len(test.trends[0].shifts) == number
