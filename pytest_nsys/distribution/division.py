"""Which of the workers that shared the tests of a batch is to account for which of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_nsys.capture.live import stop_reason
from pytest_nsys.capture.run import WorkerRun
from pytest_nsys.plan.batches import PlannedTest


def divide(
    tests: Sequence[PlannedTest],
    runs: Mapping[str, WorkerRun],
    crashed: Mapping[str, str],
    *,
    failed: bool = False,
) -> dict[str, list[PlannedTest]]:
    """The tests of each worker, in the order in which it ran them.

    A test that no worker began belongs to the one that says why: which was told to stop, or did
    not collect it. Where a worker died, such a test is in none, and has another try.

    Args:
        tests: what there was to be run.
        runs: how the workers ended, by their names.
        crashed: by the names of those that died, the test that each was about to run; "" for none.
        failed: whether some worker is not among them, since it never came to run tests.
    """
    by_nodeid = {test.nodeid: test for test in tests}
    found = {name: _started(run, by_nodeid) for name, run in runs.items()}
    for name, nodeid in crashed.items():
        begun = any(nodeid in (test.nodeid for test in one) for one in found.values())
        if nodeid in by_nodeid and name in found and not begun:
            found[name].append(by_nodeid[nodeid])
    accounted = {test.nodeid for one in found.values() for test in one}
    left = [test for test in tests if test.nodeid not in accounted]
    stopped = next((name for name, run in runs.items() if stop_reason(run)), None)
    well = next((name for name, run in runs.items() if run.ended and run.lost is None), None)
    if stopped is not None:
        found[stopped] += left
    elif well is not None:
        collected = _collected(runs[well])
        lost = failed or any(run.lost is not None or not run.ended for run in runs.values())
        found[well] += [test for test in left if not lost or test.nodeid not in collected]
    return found


def in_unfinished(runs: Mapping[str, WorkerRun]) -> set[str]:
    """The tests that workers had run which died after the last of them.

    Args:
        runs: how the workers ended, by their names.
    """
    died = [run for run in runs.values() if run.lost is None and not run.ended]
    return {event["nodeid"] for run in died for event in run.events if event["event"] == "start"}


def _started(run: WorkerRun, by_nodeid: Mapping[str, PlannedTest]) -> list[PlannedTest]:
    started = [event["nodeid"] for event in run.events if event["event"] == "start"]
    return [by_nodeid[nodeid] for nodeid in dict.fromkeys(started) if nodeid in by_nodeid]


def _collected(run: WorkerRun) -> set[str]:
    return {
        nodeid
        for event in run.events
        if event["event"] == "collected"
        for nodeid in event["nodeids"]
    }
