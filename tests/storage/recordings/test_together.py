"""Which recordings are judged together, and which are refused or lack something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import RecordingError
from pytest_nsys.plan.part import Part
from pytest_nsys.storage.recordings.recording import INDEX, RecordedTest, Recording
from pytest_nsys.storage.recordings.together import check_together, gaps, recordings_in

EMPTY = Recording("2025.3.1", "2026-01-31", {}, (), ())


def ran(seconds: float, nodeid: str = "t.py::test") -> RecordedTest:
    report = {"when": "call", "outcome": "passed", "duration": seconds}
    return RecordedTest(nodeid, (report,), (0,), 1, 5)


def part(number: int, of: int) -> Recording:
    return replace(EMPTY, part=Part(number, of))


def test_a_folder_stands_for_the_recordings_in_it(tmp_path: Path) -> None:
    for name in ("one", "many/10", "many/9", "many/a", "many/.git"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / INDEX).touch()
    (tmp_path / "many/log.txt").touch()
    (tmp_path / "many/11").mkdir()  # what was to become one is not passed over
    one, many, missing = tmp_path / "one", tmp_path / "many", tmp_path / "missing"
    assert recordings_in([one]) == (one,)
    below = tuple(many / name for name in ("a", "9", "10", "11"))
    assert recordings_in([many, one, missing]) == (*below, one, missing)
    (tmp_path / "empty").mkdir()
    assert recordings_in([tmp_path / "empty"]) == (tmp_path / "empty",)
    (tmp_path / "link").symlink_to(one)
    for again in (one, tmp_path / "link", many / "9"):
        with pytest.raises(RecordingError, match="is named twice"):
            recordings_in([one, many, again])


@given(st.integers(1, 12), st.booleans(), st.data())
def test_what_lacks_a_part_says_so(of: int, from_one: bool, data: st.DataObject) -> None:
    numbers = [number + from_one for number in range(of)]
    there = data.draw(st.lists(st.sampled_from(numbers), unique=True, min_size=1))
    recordings = {str(number): part(number, of) for number in there}
    check_together(recordings)
    found = [f"{name}: {gap.what}" for name, gap in gaps(recordings)]
    if len(there) == of:
        assert found == []
    else:
        shown = ", ".join(map(str, sorted(there)))
        assert found == [f"recordings: {len(there)} of {of} parts are there: {shown}"]


def test_what_is_no_part_lacks_none() -> None:
    assert [*gaps({"a": EMPTY, "b": EMPTY})] == []


def test_a_run_that_did_not_end_is_told() -> None:
    ((name, gap),) = gaps({"a": EMPTY, "b": replace(EMPTY, unfinished="it was interrupted")})
    assert (name, gap.what) == ("b", "its run did not come to its end: it was interrupted")


@pytest.mark.parametrize(
    ("a", "b", "what"),
    [
        (part(1, 3), part(1, 3), "a and b are the same part of the suite"),
        (part(1, 3), part(2, 4), "the recordings are parts of several wholes"),
        (
            replace(EMPTY, commit="a" * 40),
            replace(EMPTY, commit="b" * 40 + "+dirty"),
            "the recordings are of several commits",
        ),
        (
            replace(EMPTY, tests=(ran(1.5), ran(2.5))),
            replace(EMPTY, tests=(ran(0.5), ran(2.5))),
            "a and b have a process of t.py::test in common",
        ),
    ],
)
def test_what_is_not_of_one_run_is_refused(a: Recording, b: Recording, what: str) -> None:
    check_together({"a": a})
    with pytest.raises(RecordingError) as error:
        check_together({"a": a, "b": b})
    assert error.value.what == what
    assert error.value.evidence
    assert error.value.remedy


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (EMPTY, replace(EMPTY, commit="a")),  # one is not known
        (replace(EMPTY, commit="a"), replace(EMPTY, commit="a+dirty")),
        (replace(EMPTY, tests=(ran(1.5),)), replace(EMPTY, tests=(ran(2.5),))),
        (replace(EMPTY, tests=(ran(1.5),)), replace(EMPTY, tests=(ran(1.5, "t.py::other"),))),
        (replace(EMPTY, tests=(ran(0.0),)), replace(EMPTY, tests=(ran(0.0),))),  # nobody knows
        (part(0, 2), EMPTY),
    ],
)
def test_what_may_be_of_one_run_is_not(a: Recording, b: Recording) -> None:
    check_together({"a": a, "b": b})
