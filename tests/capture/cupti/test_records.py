"""CUPTI's records: where they begin, what is in them, and what is refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.capture.cupti.activity import Activity
from pytest_nsys.capture.cupti.library import Library
from pytest_nsys.capture.cupti.records import (
    DRIVER,
    FIELDS,
    KERNEL,
    MEMCPY,
    MEMORY,
    MEMSET,
    PEER,
    RUNTIME,
    offsets_by_kind,
    offsets_by_steps,
    read_records,
    sizes_of,
)
from pytest_nsys.errors import CuptiUnread
from tests.simgpu.cupti import VERSION, StandIn, record
from tests.support.cupti_work import as_bytes, work


def test_records_are_found_by_kind_in_all_buffers() -> None:
    sizes = sizes_of(VERSION)
    found = read_records([as_bytes(*work())] * 2, lambda data: offsets_by_kind(data, sizes))
    assert {kind: len(rows) for kind, rows in found.items()} == {
        **{KERNEL: 4, RUNTIME: 10, DRIVER: 6, MEMCPY: 2, PEER: 2, MEMSET: 2, MEMORY: 4}
    }
    assert found[KERNEL]["end"].tolist() == [1550, 3350] * 2


def test_what_is_not_understood_is_refused() -> None:
    sizes = sizes_of(VERSION)
    good = as_bytes(*work())
    with pytest.raises(CuptiUnread, match="not laid out") as refused:
        offsets_by_kind(good[:-8], sizes)
    assert "records end at byte" in refused.value.evidence
    with pytest.raises(CuptiUnread) as refused:
        offsets_by_kind(good, sizes_of(130200))  # its kernels are longer
    assert "a record of kind" in refused.value.evidence
    with pytest.raises(CuptiUnread) as refused:
        offsets_by_kind(as_bytes((99).to_bytes(8, "little")), sizes)
    assert "of kind 99" in refused.value.evidence
    with pytest.raises(CuptiUnread) as refused:
        read_records([good[:-4]], lambda data: offsets_by_kind(data, sizes))
    assert "a buffer of" in refused.value.evidence
    with pytest.raises(CuptiUnread) as refused:
        read_records([good[:96]], lambda _: {KERNEL: as_bytes(bytes(8)).view("<i8")})
    assert "does not end within" in refused.value.evidence


@given(st.integers(0, 200_000))
def test_of_a_version_the_sizes_are_known_or_not(version: int) -> None:
    sizes = sizes_of(version)
    assert bool(sizes) == (26 <= version < 130500)
    assert not sizes or sizes.keys() == FIELDS.keys()


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(CuptiUnread):
        read_records([as_bytes(data)], lambda one: offsets_by_kind(one, sizes_of(VERSION)))


def test_of_an_unknown_version_the_iterator_says_where_records_begin(tmp_path: Path) -> None:
    data = as_bytes(*work())
    library = Library(StandIn(tmp_path / "log"))
    walked = offsets_by_kind(data, sizes_of(VERSION))
    iterated = offsets_by_steps(data, library.record_after)
    assert {kind: [*rows] for kind, rows in iterated.items()} == {
        kind: [*rows] for kind, rows in walked.items()
    }
    log = tmp_path / "simgpu"
    log.write_text("")
    standin = StandIn(log, version=150000)
    activity = Activity(Library(standin))
    activity.register()
    standin._pending = [record(MEMSET, bytes=64), record(KERNEL, start=7)]
    found = activity.read()
    assert (found[MEMSET]["bytes"].tolist(), found[KERNEL]["start"].tolist()) == ([64], [7])
