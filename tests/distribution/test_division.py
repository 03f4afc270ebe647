"""Which worker accounts for which test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_nsys.capture.run import WorkerRun
from pytest_nsys.distribution.division import divide, in_unfinished
from pytest_nsys.plan.batches import PlannedTest
from pytest_nsys.plan.marker import Spec

TESTS = [PlannedTest(name, Spec(warmup=1, rounds=1, timeout_s=1.0)) for name in "abcdef"]
ALL = [test.nodeid for test in TESTS]


def run(started: str, *, collected: str = "abcdef", stop: str = "", lost: str = "") -> WorkerRun:
    """A worker that began these tests."""
    events: list[dict[str, Any]] = [{"event": "collected", "nodeids": [*collected]}]
    events += [{"event": "start", "nodeid": nodeid} for nodeid in started]
    if not lost:
        events.append({"event": "end", "exitstatus": 0, "stop": stop, "workeroutput": {}})
    return WorkerRun(tuple(events), Path("report"), ended=not lost, lost=lost or None)


def divided(runs: dict[str, WorkerRun], **crashed: str) -> dict[str, str]:
    found = divide(TESTS, runs, crashed)
    return {name: "".join(test.nodeid for test in tests) for name, tests in found.items()}


def test_each_has_what_it_ran_in_its_order() -> None:
    assert divided({"gw0": run("acf"), "gw1": run("ebd")}) == {"gw0": "acf", "gw1": "ebd"}


def test_what_none_began_is_of_the_first_that_ended_well() -> None:
    runs = {"gw0": run("ab", collected="abcd"), "gw1": run("cd", collected="abcd")}
    assert divided(runs) == {"gw0": "abef", "gw1": "cd"}


def test_what_none_began_is_of_the_one_that_was_told_to_stop() -> None:
    runs = {"gw0": run("ab"), "gw1": run("cd", stop="enough")}
    assert divided(runs) == {"gw0": "ab", "gw1": "cdef"}


def test_what_none_began_beside_a_worker_that_died_has_another_try() -> None:
    runs = {"gw0": run("ab", lost="b"), "gw1": run("cd", collected="abcde")}
    assert divided(runs, gw0="b") == {"gw0": "ab", "gw1": "cdf"}


def test_where_a_worker_never_began_what_none_began_is_told_of_by_its_error() -> None:
    found = divide(TESTS, {"gw0": run("ab", collected="abcde")}, {}, failed=True)
    assert [test.nodeid for test in found["gw0"]] == [*"abf"]


def test_a_worker_that_died_between_tests_has_the_one_that_was_next() -> None:
    runs = {"gw0": run("ab", lost="?"), "gw1": run("de")}
    assert divided(runs, gw0="c") == {"gw0": "abc", "gw1": "de"}


def test_a_test_that_another_worker_has_begun_since_is_not_of_the_one_that_died() -> None:
    runs = {"gw0": run("a", lost="a"), "gw1": run("bcdef")}
    assert divided(runs, gw0="b", gw7="c") == {"gw0": "a", "gw1": "bcdef"}


def test_what_was_run_by_workers_that_died_after_their_last_test_is_known() -> None:
    died = replace(run("ab"), ended=False)
    assert in_unfinished({"gw0": died, "gw1": run("cd"), "gw2": run("ef", lost="f")}) == {"a", "b"}
