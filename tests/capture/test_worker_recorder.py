"""The recorder: which call of a body is inside which NVTX range, and which records are kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_nsys.capture.follow import EventTail
from pytest_nsys.errors import NsysError
from pytest_nsys.fixture import Nsys
from pytest_nsys.windows import DOMAIN
from pytest_nsys.worker import recorder as recorder_module
from pytest_nsys.worker.events import EventLog
from pytest_nsys.worker.job import Repeats
from pytest_nsys.worker.recorder import Recorder, WindowLog


class Stage:
    """Stands in for nvtx, the GPU and the framework: notes what happens, in order."""

    def __init__(self, folder: Path) -> None:
        self.noted: list[str] = []
        self._events = EventLog(str(folder / "events"))
        self._tail = EventTail(folder / "events")
        self.log = WindowLog(self._events)

    def start_range(self, *, message: str, domain: str) -> str:
        """As nvtx's."""
        assert domain == DOMAIN
        self.noted.append(f"open {message}")
        return message

    def end_range(self, token: str) -> None:
        """As nvtx's."""
        self.noted.append(f"close {token}")

    def note(self, text: str) -> Callable[..., None]:
        """A function that notes its call."""
        return lambda *_: self.noted.append(text)

    def recorder(self, warmup: int, rounds: int) -> Recorder:
        """A recorder of a test named ``t``."""
        repeats = Repeats(warmup, rounds)
        return Recorder("t", repeats, self.log, self._events, self.note("release"))

    def measure(
        self,
        body: Callable[[Nsys], object],
        warmup: int = 0,
        rounds: int = 1,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Run a body as a test is run."""
        recorder = self.recorder(warmup, rounds)

        def call() -> object:
            with recorder.window():
                return body(Nsys(recorder))

        recorder.measure(call, stop)

    def told(self) -> list[str]:
        """What was written to the event log since the last look, in short."""
        lines = []
        for event in self._tail.read():
            if event["event"] == "round":
                lines.append(f"begin {event['round']}")
            else:
                units = "".join(f" {name}={count:g}" for name, count in event["units"].items())
                lines.append(f"{event['kind']} {event['name']} {event['round']}{units}")
        return lines

    def windows(self) -> list[str]:
        """The windows among them, those of a round by their names."""
        return sorted(line for line in self.told() if not line.startswith("begin"))

    def close(self) -> None:
        """Close the event log."""
        self._tail.close()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage on which the recorder plays."""
    stage = Stage(tmp_path)
    monkeypatch.setattr(recorder_module, "nvtx", stage)
    monkeypatch.setattr(recorder_module, "synchronize", stage.note("wait"))
    yield stage
    stage.close()


def test_warm_ups_come_before_the_span_and_rounds_in_it(stage: Stage) -> None:
    stage.measure(stage.note("body"), warmup=2, rounds=2)
    assert stage.noted == [
        "body",
        "body",
        "release",
        "wait",
        "open 0 t span",
        "wait",
        "open 1 t round 0",
        "body",
        "close 1 t round 0",
        "wait",
        "wait",
        "open 2 t round 1",
        "body",
        "close 2 t round 1",
        "wait",
        "wait",
        "close 0 t span",
    ]
    assert stage.told() == [
        "begin -2",
        "begin -1",
        "begin 0",
        "round test 0",
        "begin 1",
        "round test 1",
        "span test -1",
    ]


def test_the_gpu_is_idle_at_every_edge_of_a_round(stage: Stage) -> None:
    stage.measure(lambda nsys: None, warmup=1, rounds=3)
    for number, text in enumerate(stage.noted):
        if text.startswith("open") and "round" in text:
            assert stage.noted[number - 1] == "wait"
        if text.startswith("close") and "round" in text:
            assert stage.noted[number + 1] == "wait"


def test_parts_are_in_rounds_only(stage: Stage) -> None:
    def body(nsys: Nsys) -> None:
        with nsys.range("outer"), nsys.range("inner"):
            pass
        with nsys.range("inner"):
            pass

    stage.measure(body, warmup=1, rounds=1)
    assert [text for text in stage.noted if text.startswith("open")] == [
        "open 0 t span",
        "open 1 t round 0",
        "open 2 t outer round 0",
        "open 3 t inner round 0",
        "open 4 t inner round 0",
    ]
    assert stage.windows() == [
        "range inner 0",
        "range inner 0",
        "range outer 0",
        "round test 0",
        "span test -1",
    ]


def test_units_belong_to_all_windows_of_their_round(stage: Stage) -> None:
    counts = iter([1, 2, 3])

    def body(nsys: Nsys) -> None:
        nsys.units(tokens=100)
        with nsys.range("part"):
            count = next(counts)
        if count < 3:
            nsys.units(tokens=count, images=7)

    stage.measure(body, warmup=1, rounds=2)
    assert stage.windows() == [
        "range part 0 tokens=2 images=7",
        "range part 1 tokens=100",
        "round test 0 tokens=2 images=7",
        "round test 1 tokens=100",
        "span test -1",
    ]


def test_a_round_that_fails_leaves_no_record_and_no_open_range(stage: Stage) -> None:
    calls = iter([True, False])

    def body(nsys: Nsys) -> None:
        with nsys.range("part"):
            assert next(calls)

    with pytest.raises(AssertionError):
        stage.measure(body, rounds=3)
    opened = [text[5:] for text in stage.noted if text.startswith("open")]
    closed = [text[6:] for text in stage.noted if text.startswith("close")]
    assert sorted(opened) == sorted(closed)
    assert stage.windows() == ["range part 0", "round test 0"]


def test_rounds_end_early_when_asked_to(stage: Stage) -> None:
    ends = iter([False, True])
    stage.measure(stage.note("body"), warmup=1, rounds=5, stop=lambda: next(ends))
    assert stage.noted.count("body") == 2


def test_a_failing_warm_up_opens_nothing(stage: Stage) -> None:
    def body(nsys: Nsys) -> None:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        stage.measure(body, warmup=1)
    assert stage.noted == []
    assert stage.told() == ["begin -1"]


@pytest.mark.parametrize("warmup", [0, 2])
def test_a_call_is_measured_in_place_of_the_body(stage: Stage, warmup: int) -> None:
    results = iter(range(100))

    def call(*args: int, key: int) -> int:
        assert (args, key) == ((1, 2), 3)
        stage.noted.append("call")
        return next(results)

    def body(nsys: Nsys) -> None:
        stage.noted.append("before")
        assert nsys(call, 1, 2, key=3) == warmup + 1
        stage.noted.append("after")

    stage.measure(body, warmup=warmup, rounds=2)
    assert [stage.noted.count(text) for text in ("before", "call", "after")] == [1, warmup + 2, 1]
    assert stage.windows() == ["round test 0", "round test 1", "span test -1"]
    inside, found = False, []
    for text in stage.noted:
        inside = text.startswith("open") if "round" in text else inside
        if text == "call":
            found.append(inside)
    # Without a warm-up the body itself is in a range, which has no record.
    assert found == [*[False] * warmup, True, True]


@pytest.mark.parametrize("warmup", [0, 1])
def test_only_the_rounds_of_the_call_are_kept(stage: Stage, warmup: int) -> None:
    def body(nsys: Nsys) -> None:
        with nsys.range("around"):
            nsys(lambda: None)
        with nsys.range("after"):
            pass

    stage.measure(body, warmup=warmup, rounds=2)
    assert stage.windows() == ["round test 0", "round test 1", "span test -1"]


@pytest.mark.parametrize("warmup", [0, 1])
def test_parts_and_units_of_the_call_are_those_of_its_rounds(stage: Stage, warmup: int) -> None:
    def call(nsys: Nsys) -> None:
        with nsys.range("part"):
            nsys.units(tokens=8)

    stage.measure(lambda nsys: nsys(call, nsys), warmup=warmup, rounds=2)
    assert stage.windows() == [
        "range part 0 tokens=8",
        "range part 1 tokens=8",
        "round test 0 tokens=8",
        "round test 1 tokens=8",
        "span test -1",
    ]


@pytest.mark.parametrize("warmup", [0, 1])
def test_units_said_before_the_call_are_those_of_its_rounds(stage: Stage, warmup: int) -> None:
    def body(nsys: Nsys) -> None:
        nsys.units(tokens=256)
        nsys(lambda: None)

    stage.measure(body, warmup=warmup, rounds=2)
    assert stage.windows() == ["round test 0 tokens=256", "round test 1 tokens=256", "span test -1"]


def test_a_second_call_is_an_error(stage: Stage) -> None:
    def body(nsys: Nsys) -> None:
        nsys(lambda: None)
        nsys(lambda: None)

    with pytest.raises(NsysError, match="called twice in one test") as caught:
        stage.measure(body)
    assert "nsys.range" in caught.value.remedy


def test_a_forked_child_opens_and_writes_nothing(stage: Stage) -> None:
    def body(nsys: Nsys) -> None:
        before = list(stage.noted)
        child = os.fork()
        if child == 0:
            with nsys.range("in the child"):
                pass
            os._exit(0 if stage.noted == before else 1)
        assert os.waitpid(child, 0)[1] == 0

    stage.measure(body)
    assert stage.told() == ["begin 0", "round test 0", "span test -1"]


def test_the_sentinel_closes_the_log(stage: Stage) -> None:
    stage.measure(lambda nsys: None)
    stage.log.close()
    assert stage.noted[-2:] == ["open 2  sentinel", "close 2  sentinel"]
    assert stage.windows() == ["round test 0", "sentinel test -1", "span test -1"]
