"""Which workers are started ahead of their turns, how many, and what becomes of them."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pytest_nsys.capture.ahead import Ahead, Turn
from pytest_nsys.capture.workers import Workers
from pytest_nsys.errors import NsysLaunchFailed


class FakeWorker:
    """A worker that does nothing, and of which is written down what is done with it."""

    def __init__(self, name: str, told: list[str], uses_gpu: bool) -> None:
        self.name = name
        self.told = told
        self.uses_gpu = uses_gpu

    def wait(self) -> None:
        self.told.append(f"{self.name} is waited for")

    def dismiss(self) -> None:
        self.told.append(f"{self.name} is dismissed")

    def end(self, error: str) -> None:
        self.told.append(f"{self.name} is ended")


class FakeWorkers:
    """Starts such workers, which are named by numbers."""

    def __init__(self, name: str = "", *, uses_gpu: bool = False, fails: int = 0) -> None:
        self.name = name
        self.told: list[str] = []
        self.uses_gpu = uses_gpu
        self.fails = fails
        self.count = 0

    def start(self, nsys_args: tuple[str, ...]) -> Any:
        if self.fails:
            self.fails -= 1
            raise NsysLaunchFailed("it does not start")
        self.count += 1
        return FakeWorker(f"{self.name}{self.count}", self.told, self.uses_gpu)

    def turn(self, *args: str) -> Turn:
        return Turn(cast("Workers", self), args)


def test_as_many_are_started_together_as_may_be() -> None:
    workers = FakeWorkers()
    ahead = Ahead(3)
    ahead.expect(workers.turn(), 5)
    started = [workers.count]
    taken = []
    for _ in range(5):
        taken.append(cast("Any", ahead.take(workers.turn())).name)
        started.append(workers.count)
    assert taken == ["1", "2", "3", "4", "5"]
    # None is started while others wait: one of them measures.
    assert started == [3, 3, 3, 3, 5, 5]
    ahead.expect(workers.turn(), 0)
    assert not [line for line in workers.told if "ended" in line]


def test_all_are_waited_for_before_one_is_told_its_tests() -> None:
    workers = FakeWorkers()
    ahead = Ahead(2)
    ahead.expect(workers.turn(), 2)
    ahead.take(workers.turn())
    assert workers.told == ["1 is waited for", "2 is waited for"]


def test_one_that_collected_before_anything_was_known_counts() -> None:
    workers = FakeWorkers()
    ahead = Ahead(4)
    ahead.expect(workers.turn("-a"), 1)
    ahead.expect(workers.turn("-a"), 2)
    assert workers.count == 2
    assert workers.told == []


def test_what_waits_for_other_arguments_is_ended_all_at_once() -> None:
    workers = FakeWorkers()
    ahead = Ahead(4)
    ahead.expect(workers.turn("-a"), 2)
    ahead.expect(workers.turn("-b"), 1)
    assert workers.told == ["1 is dismissed", "2 is dismissed", "1 is ended", "2 is ended"]
    assert cast("Any", ahead.take(workers.turn("-b"))).name == "3"


def test_what_is_needed_no_more_is_ended() -> None:
    workers = FakeWorkers()
    ahead = Ahead(4)
    ahead.expect(workers.turn(), 3)
    ahead.take(workers.turn())
    ahead.expect(workers.turn(), 0)
    assert workers.told[3:] == ["2 is dismissed", "3 is dismissed", "2 is ended", "3 is ended"]
    ahead.end()
    assert len(workers.told) == 7


def test_two_revisions_wait_side_by_side() -> None:
    old, new = FakeWorkers("old"), FakeWorkers("new")
    ahead = Ahead(4)
    ahead.expect(old.turn(), 2)
    ahead.expect(new.turn(), 2)
    taken = [cast("Any", ahead.take(of.turn())).name for of in (old, new, new, old)]
    assert taken == ["old1", "new1", "new2", "old2"]
    assert not [line for line in old.told + new.told if "ended" in line]


def test_those_that_use_the_gpu_already_are_never_two() -> None:
    workers = FakeWorkers(uses_gpu=True)
    ahead = Ahead(3)
    ahead.expect(workers.turn(), 3)
    assert cast("Any", ahead.take(workers.turn())).name == "1"
    assert workers.told[-2:] == ["2 is ended", "3 is ended"]
    for name in ("4", "5"):
        assert cast("Any", ahead.take(workers.turn())).name == name
        assert workers.count == int(name)


def test_what_cannot_be_started_is_told_at_its_turn() -> None:
    workers = FakeWorkers(fails=2)
    ahead = Ahead(1)
    ahead.expect(workers.turn(), 1)
    with pytest.raises(NsysLaunchFailed):
        ahead.take(workers.turn())
    assert cast("Any", ahead.take(workers.turn())).name == "1"


@pytest.mark.parametrize("timed", ["--duration=60", "-y", "--delay=1", "--gpu-metrics-devices=all"])
def test_an_nsys_that_may_not_wait_is_started_at_its_turn(timed: str) -> None:
    workers = FakeWorkers()
    ahead = Ahead(4)
    ahead.expect(workers.turn(timed), 2)
    assert workers.count == 0
    for name in ("1", "2"):
        assert cast("Any", ahead.take(workers.turn(timed))).name == name
        assert workers.count == int(name)
