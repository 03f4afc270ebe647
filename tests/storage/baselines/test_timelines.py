"""Timelines beside their baselines: written together, read only with their own recording."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_nsys.controller.judges import BaselineJudge, Timelines
from pytest_nsys.errors import BaselineDamaged, BaselineError
from pytest_nsys.insights.timeline import Timeline
from pytest_nsys.measure.measurement import Measurement, Part
from pytest_nsys.measure.processes import join_processes
from pytest_nsys.plan.marker import Spec
from pytest_nsys.storage.baselines import BaselineStore
from pytest_nsys.storage.baselines.document import parse, recording_digest, render
from pytest_nsys.verdict.judge import Policy
from tests.support import made
from tests.support.timelines import element, timeline

TIMELINE = timeline(element(1, 5), element(10, 7, 1))
OLD = made.measurement(made.kernels(Part("gemm", 2, ns=100)))
WITH = replace(OLD, timeline=TIMELINE)
NEW = made.measurement(made.kernels(Part("gemm", 2, ns=120)))
SLOW = made.measurement(made.kernels(Part("gemm", 4, ns=5e6)))


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path / "baselines")


def files(store: BaselineStore) -> set[str]:
    """The names of what lies beside a baseline."""
    return {path.name for path in store.path(OLD.device, OLD.nodeid).parent.iterdir()}


def kept(store: BaselineStore) -> Timeline | None:
    """The timeline of the baseline that is there."""
    baseline = store.read(OLD.device, OLD.nodeid)
    assert baseline is not None
    assert baseline.timeline is None
    return store.read_timeline(baseline)


def test_a_timeline_is_kept_beside_its_baseline(store: BaselineStore) -> None:
    change = store.write(WITH)
    assert change.path == Path("baselines/nvidia-h200/t.py/test.json")
    assert files(store) == {"test.json", "test.timeline.json.gz"}
    assert kept(store) == TIMELINE


def test_a_baseline_without_one_is_as_good(store: BaselineStore) -> None:
    store.write(OLD)
    assert files(store) == {"test.json"}
    assert kept(store) is None


def test_recording_the_same_again_changes_no_file(store: BaselineStore) -> None:
    store.write(WITH)
    path = store.timeline_path(OLD.device, OLD.nodeid)
    before = path.read_bytes()
    store.write(WITH)
    assert path.read_bytes() == before


def test_a_baseline_that_is_recorded_without_one_loses_that_of_the_old(
    store: BaselineStore,
) -> None:
    store.write(WITH)
    store.write(NEW)
    assert files(store) == {"test.json"}


def test_timelines_that_are_not_wanted_are_not_written(tmp_path: Path) -> None:
    BaselineStore(tmp_path / "baselines").write(WITH)
    store = BaselineStore(tmp_path / "baselines", timelines=False)
    store.write(WITH)
    assert files(store) == {"test.json"}


def test_the_timeline_of_another_recording_is_not_taken_for_this_ones(
    store: BaselineStore,
) -> None:
    """As after a merge that took one file of each side, or where git has only the baselines."""
    store.write(WITH)
    path = store.timeline_path(OLD.device, OLD.nodeid)
    data = path.read_bytes()
    store.write(NEW)
    path.write_bytes(data)
    assert kept(store) is None


def test_what_a_recording_is_known_by_outlives_writing_and_tells_recordings_apart() -> None:
    known = recording_digest(OLD)
    assert recording_digest(WITH) == known
    assert recording_digest(parse(render(OLD), "it")) == known
    assert recording_digest(NEW) != known
    later = replace(OLD, environment=replace(OLD.environment, date="2026-02-02"))
    assert recording_digest(later) != known
    assert recording_digest(replace(OLD, nodeid="t.py::other")) != known


@pytest.mark.parametrize("data", [b"", b"<<<<<<< HEAD", b"\x1f\x8b\x08"])
def test_a_damaged_one_is_an_error_that_names_the_file(store: BaselineStore, data: bytes) -> None:
    store.write(WITH)
    path = store.timeline_path(OLD.device, OLD.nodeid)
    path.write_bytes(data)
    with pytest.raises(BaselineDamaged, match=r"test\.timeline\.json\.gz is no timeline") as raised:
        kept(store)
    assert "delete it" in raised.value.remedy
    assert path.read_bytes() == data


def test_one_that_is_no_file_or_too_large_is_an_error(store: BaselineStore) -> None:
    store.write(WITH)
    path = store.timeline_path(OLD.device, OLD.nodeid)
    path.write_bytes(b"\0" * (4 * 2**20 + 1))
    with pytest.raises(BaselineError, match="cannot be read"):
        kept(store)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BaselineError, match="cannot be read"):
        kept(store)


SPEC = Spec(warmup=1, rounds=5, timeout_s=10)


@pytest.mark.parametrize(
    ("timelines", "measured", "has_one"),
    [
        ("all", NEW, True),
        ("none", SLOW, False),
        ("failed", NEW, False),
        ("failed", SLOW, True),
    ],
)
def test_a_verdict_has_its_baselines_timeline_where_a_report_shows_it(
    store: BaselineStore, timelines: Timelines, measured: Measurement, has_one: bool
) -> None:
    store.write(WITH)
    verdict = (
        BaselineJudge(Policy("gate"), store, timelines=timelines).judge(SPEC, measured).verdict
    )
    assert verdict is not None
    assert verdict.failed == (measured is SLOW)
    assert verdict.baseline is not None
    assert verdict.baseline.timeline == (TIMELINE if has_one else None)
    assert verdict.notes == ()


def test_a_test_without_a_baseline_has_none(store: BaselineStore) -> None:
    verdict = BaselineJudge(Policy("profile"), store, timelines="all").judge(SPEC, NEW).verdict
    assert verdict is not None
    assert verdict.baseline is None


def test_a_timeline_that_cannot_be_read_is_noted_and_fails_nothing(
    store: BaselineStore, tmp_path: Path
) -> None:
    store.write(WITH)
    store.timeline_path(OLD.device, OLD.nodeid).write_bytes(b"nothing")
    found = BaselineJudge(Policy("gate"), store, timelines="all").judge(SPEC, OLD)
    assert found.problem is None
    assert found.verdict is not None
    assert (found.verdict.status, found.verdict.failed) == ("ok", False)
    (note,) = found.verdict.notes
    assert note.startswith("the timeline of the baseline is not shown: test.timeline.json.gz is no")
    assert str(tmp_path) not in note


def test_of_several_sessions_the_first_ones_timeline_is_kept() -> None:
    other = replace(NEW, timeline=timeline(element(3, 3)))
    assert join_processes([WITH, other]).timeline == TIMELINE
