"""What a summary says of a capture's defects."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.trace.notes import defect_notes
from tests.support.exports.traces import TraceBuilder

PLAIN = TraceBuilder().build()


@pytest.mark.parametrize(
    ("defects", "notes"),
    [
        ((), ()),
        (
            ("1 row of KERNEL has no end: taken as of no duration",),
            ("in the capture, 1 row of KERNEL has no end: taken as of no duration",),
        ),
        (("a", "b", "c"), tuple(f"in the capture, {name}" for name in "abc")),
        (
            ("a", "b", "a", "c", "d", "e"),
            (
                *(f"in the capture, {name}" for name in "abc"),
                "in the capture, 2 more defects were found",
            ),
        ),
    ],
)
def test_defects_become_notes(defects: tuple[str, ...], notes: tuple[str, ...]) -> None:
    assert defect_notes(replace(PLAIN, defects=defects)) == notes


@given(st.lists(st.text(max_size=1000), max_size=20))
def test_notes_are_few_short_lines(defects: list[str]) -> None:
    notes = defect_notes(replace(PLAIN, defects=tuple(defects)))
    assert len(notes) <= 4
    assert bool(notes) is bool(defects)
    assert all(len(note) <= 320 and len(note.splitlines()) == 1 for note in notes)
