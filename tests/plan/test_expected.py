"""Accepted changes: which entry names a regression, and what is wrong with an entry."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.catalogue import lookup
from pytest_nsys.errors import ExpectedChangeError
from pytest_nsys.plan.expected import (
    Expectation,
    ExpectedChange,
    expectation,
    parse_expected,
    read_expected,
)
from pytest_nsys.support.patterns import matches

ENTRY = ExpectedChange("new attention kernel, see #123", date(2026, 12, 31))
LAST = date(2026, 12, 31)
GOOD = {"reason": "new kernel", "until": "2026-12-31"}


def ask(
    *entries: ExpectedChange,
    nodeid: str = "tests/test_x.py::test_y[b8]",
    device: str = "nvidia-h200",
    window: str = "test",
    metric: str = "gpu.kernel_time",
    baseline: float = 100.0,
    current: float = 105.0,
    today: date = LAST,
) -> Expectation | None:
    return expectation(
        entries,
        nodeid=nodeid,
        device=device,
        window=window,
        metric=lookup(metric),
        baseline=baseline,
        current=current,
        today=today,
    )


@pytest.mark.parametrize(
    ("changes", "is_named"),
    [
        ({}, True),
        ({"test": "tests/test_x.py::test_y[*]"}, True),
        ({"test": "tests/test_x.py::test_y[b8]"}, True),
        ({"test": "tests/test_x.py::test_y[b?]"}, True),
        ({"test": "tests/test_x.py::test_y"}, False),
        ({"test": "tests/test_x.py::TEST_Y*"}, False),
        ({"metric": "gpu.*"}, True),
        ({"metric": "mem.*"}, False),
        ({"window": "test"}, True),
        ({"window": "prefill"}, False),
        ({"device": "nvidia-h*"}, True),
        ({"device": "nvidia-a100"}, False),
    ],
)
def test_an_entry_names_what_all_its_patterns_match(
    changes: dict[str, str], is_named: bool
) -> None:
    assert (ask(replace(ENTRY, **changes)) is not None) == is_named  # type: ignore[arg-type]


def test_a_metric_with_brackets_is_named_by_its_own_key() -> None:
    key = "kernel[gemm[0-9]*].time"
    assert ask(replace(ENTRY, metric=key), metric=key)
    assert not ask(replace(ENTRY, metric=key), metric="kernel[gemm*].time")


@pytest.mark.parametrize(
    ("limit", "metric", "baseline", "current", "state"),
    [
        (None, "gpu.kernel_time", 100, 1e9, "expected"),
        ("5%", "gpu.kernel_time", 100, 105, "expected"),
        ("5%", "gpu.kernel_time", 100, 106, "exceeded"),
        ("1 us", "gpu.kernel_time", 100, 1100, "expected"),
        ("1 us", "gpu.kernel_time", 100, 1101, "exceeded"),
        (("1%", "1 us"), "gpu.kernel_time", 1e6, 1.01e6, "expected"),
        (2, "memcpy.h2d.count", 0, 2, "expected"),
        (2, "memcpy.h2d.count", 0, 3, "exceeded"),
        ("50%", "memcpy.h2d.throughput", 100, 50, "expected"),
        ("50%", "memcpy.h2d.throughput", 100, 49, "exceeded"),
        # The pattern names metrics of another unit, too.
        ("16 MiB", "memcpy.h2d.count", 1, 2, "exceeded"),
    ],
)
def test_a_limit_is_a_tolerance_in_the_worse_direction(
    limit: Any, metric: str, baseline: float, current: float, state: str
) -> None:
    found = ask(replace(ENTRY, limit=limit), metric=metric, baseline=baseline, current=current)
    assert found is not None
    assert found.state == state
    assert found.holds == (state == "expected")


def test_it_holds_on_its_last_day_and_is_told_of_after_it() -> None:
    on_the_day, after = ask(ENTRY, today=LAST), ask(ENTRY, today=date(2027, 1, 1))
    assert on_the_day is not None
    assert on_the_day.words == "accepted until 2026-12-31: new attention kernel, see #123"
    assert after is not None
    assert not after.holds
    assert after.words == "was accepted until 2026-12-31: new attention kernel, see #123"


@pytest.mark.parametrize(
    ("limit", "words"), [("4%", "4%"), (("1%", "2 ns"), "1% or 2 ns"), (3, "3")]
)
def test_what_is_beyond_the_limit_is_told(limit: Any, words: str) -> None:
    found = ask(replace(ENTRY, limit=limit))
    assert found is not None
    assert found.words == f"accepted up to {words} only: {ENTRY.reason}"


def test_of_several_the_one_that_holds_counts_then_the_exceeded_then_the_last_to_expire() -> None:
    old = replace(ENTRY, until=date(2026, 1, 1), reason="old")
    older = replace(old, until=date(2025, 1, 1), reason="older")
    small = replace(ENTRY, limit="1%", reason="small")
    for entries, expected in [
        ((small, old, ENTRY, older), ENTRY),
        ((older, old, small), small),
        ((older, old), old),
    ]:
        found = ask(*entries)
        assert found is not None
        assert found.entry == expected
    assert ask() is None


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "accepted.toml"
    assert read_expected(path) == ()
    path.write_text("")
    assert read_expected(path) == ()
    path.write_text(
        """
        [[accepted]]
        test = "tests/test_x.py::test_y[*]"
        metric = "gpu.kernel_time"
        window = "test"
        limit = ["8%", "10 us"]
        device = "nvidia-h200"
        reason = " new attention kernel, see #123 "
        until = 2026-12-31

        [[accepted]]
        reason = "everything"
        until = "2026-12-31"
        """
    )
    assert read_expected(path) == (
        ExpectedChange(
            "new attention kernel, see #123",
            LAST,
            "tests/test_x.py::test_y[*]",
            "gpu.kernel_time",
            "test",
            "nvidia-h200",
            ("8%", "10 us"),
        ),
        ExpectedChange("everything", LAST),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[accepted]\n", "this is not TOML"),
        ("a = " + "[" * 5000 + "]" * 5000, "this is not TOML"),
        ("a = " + "9" * 5000, "this is not TOML"),
        ("[[acepted]]\nreason = 'x'\n", "there is no 'acepted' in this file"),
        ("[accepted]\nreason = 'x'\n", "accepted is no list of tables"),
        ("accepted = [1]\n", "accepted is no list of tables"),
        ("[[accepted]]\nuntil = 2026-12-31\n", "entry 1: reason is missing"),
        ("[[accepted]]\nreason = 'x'\n", "entry 1: until is missing"),
        (
            "[[accepted]]\nreason = 'x'\nuntil = 2026-12-31\n[[accepted]]\nrason = 'x'\n",
            "entry 2: there is no key 'rason'",
        ),
        (
            "[[accepted]]\nreason = 'x'\nuntil = 2026-12-31T10:00:00\n",
            "entry 1: until is '2026-12-31 10:00:00'",
        ),
    ],
    ids=lambda text: text[:30],
)
def test_a_wrong_file_is_one_error_that_names_file_and_entry(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "accepted.toml"
    path.write_text(text)
    with pytest.raises(ExpectedChangeError) as caught:
        read_expected(path)
    assert caught.value.what.startswith(f"{path}: ")
    assert message in caught.value.what
    assert caught.value.remedy


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "accepted.toml"
    path.mkdir()
    with pytest.raises(ExpectedChangeError, match="cannot be read"):
        read_expected(path)
    other = tmp_path / "other.toml"
    other.write_bytes(b"\xff\xfe")
    with pytest.raises(ExpectedChangeError, match="cannot be read"):
        read_expected(other)


def test_a_key_that_is_nearly_right_is_suggested() -> None:
    with pytest.raises(ExpectedChangeError) as caught:
        parse_expected({**GOOD, "metrc": "gpu.kernel_time"})
    assert caught.value.what == "the entry: there is no key 'metrc'"
    assert caught.value.remedy == "did you mean 'metric'?"


@pytest.mark.parametrize("metric", ["*", "gpu.*", "kernel[gemm*].time", "*.per_token", "range[*"])
def test_patterns_of_metrics_there_are_are_taken(metric: str) -> None:
    assert parse_expected({**GOOD, "metric": metric, "limit": "5%"})[0].metric == metric


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "the entry is None"),
        ("5%", "the entry is '5%'"),
        ([GOOD, 3], "entry 2 is 3"),
        ({**GOOD, "test": "x"}, "the entry: there is no key 'test'"),
        ({**GOOD, "device": "x"}, "the entry: there is no key 'device'"),
        ({**GOOD, 3: "x"}, "the entry: there is no key '3'"),
        ({**GOOD, "window": 3}, "the entry: window is 3"),
        ({**GOOD, "window": ""}, "the entry: window is ''"),
        ({**GOOD, "reason": " "}, "the entry: reason is ' '"),
        ({**GOOD, "reason": "a\nb"}, "the entry: reason is 'a\\nb'"),
        ({**GOOD, "reason": 3}, "the entry: reason is 3"),
        ({**GOOD, "until": "2026-6-1"}, "the entry: until is '2026-6-1'"),
        ({**GOOD, "until": "2026-06-31"}, "the entry: until is '2026-06-31'"),
        ({**GOOD, "until": 2026}, "the entry: until is '2026'"),
        ({**GOOD, "metric": "gpu.kernel_tim"}, "the entry: there is no metric 'gpu.kernel_tim'"),
        ({**GOOD, "metric": "gpu.kernal*"}, "the entry: no metric matches 'gpu.kernal*'"),
        ({**GOOD, "limit": "8 parsecs"}, "the entry: limit: '8 parsecs' has the unit"),
        ({**GOOD, "limit": None, "metric": 1}, "the entry: metric is 1"),
        ({**GOOD, "limit": ["1%", "2%"]}, "is not a relative and an absolute tolerance"),
        (
            {**GOOD, "limit": "16 MiB", "metric": "memcpy.h2d.*"},
            "the entry: limit: '16 MiB' has the unit 'MiB', which does not fit here for memcpy.h2d",
        ),
    ],
)
def test_a_wrong_entry_says_what_is_wrong(value: object, message: str) -> None:
    with pytest.raises(ExpectedChangeError) as caught:
        parse_expected(value)
    assert message in caught.value.what
    assert caught.value.remedy


def test_a_marker_gives_one_entry_or_several() -> None:
    assert parse_expected(()) == ()
    assert parse_expected(GOOD) == (ExpectedChange("new kernel", LAST),)
    day = {**GOOD, "until": LAST, "limit": "16 MiB", "metric": "memcpy.*.bytes"}
    assert parse_expected([GOOD, day]) == (
        ExpectedChange("new kernel", LAST),
        ExpectedChange("new kernel", LAST, metric="memcpy.*.bytes", limit="16 MiB"),
    )
    with pytest.raises(ExpectedChangeError, match="until"):
        parse_expected({**GOOD, "until": datetime(2026, 12, 31)})


@given(st.text(max_size=20))
def test_every_name_matches_itself_and_the_star(name: str) -> None:
    assert matches("*", name)
    if not {"*", "?"} & set(name):
        assert matches(name, name)
        assert not matches(name, name + "x")
