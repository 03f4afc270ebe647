"""The recorder: which call of a body is inside which NVTX range, and which records are kept."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.capture.follow import EventTail
from pytest_nsys.errors import NsysError
from pytest_nsys.fixture import Nsys
from pytest_nsys.gpu.monitor import Monitor
from pytest_nsys.gpu.state import GpuState
from pytest_nsys.support.json_values import written
from pytest_nsys.support.own import own
from pytest_nsys.windows.record import DOMAIN, WindowRecord, Work
from pytest_nsys.worker import recorder as recorder_module
from pytest_nsys.worker.events import EventLog
from pytest_nsys.worker.job import Repeats
from pytest_nsys.worker.recorder import Aside, Recorder
from pytest_nsys.worker.window_log import WindowLog


class Gpus(Monitor):
    """Stands in for NVML: each round ends with the next of these reasons, and then with none."""

    def __init__(self, stage: Stage, *reasons: str) -> None:
        super().__init__(lambda why: None)
        self._stage = stage
        self._reasons = iter(reasons)

    def start(self) -> None:
        """Noted."""
        self._stage.noted.append("start")

    def before(self) -> tuple[GpuState, ...]:
        """Noted, and never disturbed."""
        self._stage.noted.append("before")
        return (GpuState(0),)

    def after(self) -> tuple[GpuState, ...]:
        """Noted, and disturbed as was asked for."""
        self._stage.noted.append("after")
        reason = next(self._reasons, "")
        return (GpuState(0, reasons=(reason,) if reason else ()),)


class Stage:
    """Stands in for nvtx, the GPU and the framework: notes what happens, in order."""

    def __init__(self, folder: Path) -> None:
        self.noted: list[str] = []
        self.waits: list[float] = []
        self.records: list[WindowRecord] = []
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

    def recorder(self, repeats: Repeats, monitor: Gpus | None = None) -> Recorder:
        """A recorder of a test named ``t``."""
        release, sleep = self.note("release"), self.waits.append
        events = self._events
        return Recorder("t", repeats, self.log, events, release, monitor, sleep=sleep)

    def measure(
        self,
        body: Callable[[Nsys], object],
        warmup: int = 0,
        rounds: int = 1,
        stop: Callable[[], bool] = lambda: False,
        monitor: Gpus | None = None,
        **auto: Any,
    ) -> None:
        """Run a body as a test is run."""
        recorder = self.recorder(Repeats(warmup, rounds, **auto), monitor)

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
            elif event["event"] == "disturbed":
                again = " again" if event["repeated"] else ""
                lines.append(f"disturbed {event['round']}: {event['reason']}{again}")
            elif event["event"] == "auto":
                lines.append(f"auto {event['rounds']} {event['reached']}")
            else:
                record: WindowRecord = event["record"]
                self.records.append(record)
                units = "".join(f" {name}={count:g}" for name, count in record.units.items())
                lines.append(f"{record.kind} {record.name} {record.round}{units}")
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
    monkeypatch.setattr(WindowLog, "_start_range", stage.start_range)
    monkeypatch.setattr(WindowLog, "_end_range", stage.end_range)
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


def test_work_belongs_to_the_part_that_it_is_said_in(stage: Stage) -> None:
    def body(nsys: Nsys) -> None:
        nsys.units(flops=1, images=2)
        nsys.units(flops=9, bytes=3, precision="bf16", tokens=5)
        with nsys.range("outer"):
            nsys.units(flops=1)
            nsys.units(flops=4, precision="fp8")
            with nsys.range("inner"):
                nsys.units(bytes=2, tokens=7)
            with nsys.range("inner"):
                pass

    stage.measure(body, rounds=2)
    assert stage.windows() == [
        *("range inner 0 flops=9 bytes=3 tokens=7",) * 2,
        *("range inner 1 flops=9 bytes=3 tokens=7",) * 2,
        "range outer 0 flops=9 bytes=3 tokens=7",
        "range outer 1 flops=9 bytes=3 tokens=7",
        "round test 0 flops=9 bytes=3 tokens=7",
        "round test 1 flops=9 bytes=3 tokens=7",
        "span test -1",
    ]
    works = {name: [] for name in ("inner", "outer", "test")}
    for record in stage.records:
        works[record.name].append(record.work)
    assert works == {
        "inner": [Work(bytes=2), None] * 2,
        "outer": [Work(4, 0, "fp8")] * 2,
        "test": [*[Work(9, 3, "bf16")] * 2, None],  # the last is the span
    }
    assert all(WindowRecord.from_json(written(record)) == record for record in stage.records)
    with pytest.raises(ValueError, match="a span with the work of a round"):
        WindowRecord.from_json(written(stage.records[-1]) | {"work": {}})


def test_work_said_before_a_call_is_that_of_its_rounds(stage: Stage) -> None:
    def body(nsys: Nsys) -> None:
        nsys.units(flops=9, precision="bf16")
        nsys(lambda: None)

    stage.measure(body, rounds=2)
    stage.windows()
    assert [record.work for record in stage.records][:2] == [Work(9, 0, "bf16")] * 2


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


def test_each_call_has_windows_of_its_name_and_what_is_around_it_has_none(stage: Stage) -> None:
    recorder = stage.recorder(Repeats(1, 2))

    def prepare() -> tuple[tuple[str], dict[str, str]]:
        stage.noted.append("prepare")
        return ("a",), {"b": "c"}

    def function(a: str, b: str) -> str:
        assert recorder.is_in_call
        stage.noted.append("call")
        return a + b

    def after(a: str, b: str) -> None:
        stage.noted.append(f"after {a}{b}")

    def call() -> None:
        with recorder.window():
            for name in ("one", "two"):
                said = recorder.repeat(function, prepare, after, name=name, by="it")
                assert said == "ac"
                assert not recorder.is_in_call
                assert len(recorder.times_s) == 2
            with pytest.raises(NsysError, match=r"it\(function, ...\) was called twice"):
                recorder.repeat(function, prepare, name="one", by="it")
            with pytest.raises(NsysError, match=r"nsys\(.* was called after it\("):
                recorder.repeat(function, prepare, name="two")

    recorder.measure(call, lambda: False)
    one = [
        *("prepare", "call", "after ac", "release", "wait", "open 0 t one span"),
        *("prepare", "wait", "open 1 t one round 0", "call", "close 1 t one round 0"),
        *("wait", "after ac"),
        *("prepare", "wait", "open 2 t one round 1", "call", "close 2 t one round 1"),
        *("wait", "after ac", "wait", "close 0 t one span"),
    ]
    assert stage.noted[: len(one)] == one
    parts = [f"round {name} {number}" for name in ("one", "two") for number in (0, 1)]
    assert stage.windows() == [*parts, "span one -1", "span two -1"]


async def _coroutine() -> None: ...


async def _generator() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("function", [_coroutine, _generator, lambda: _coroutine()])
def test_a_call_that_would_have_to_be_awaited_is_an_error(
    stage: Stage, function: Callable[[], object]
) -> None:
    with pytest.raises(NsysError, match="has to be awaited, and was not run") as caught:
        stage.measure(lambda nsys: nsys(function))
    assert "asyncio.run" in caught.value.remedy


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


# The state of the GPUs

HOT = "hw_thermal_slowdown"
SENTENCE = "thermal slow-down of GPU 0"


def test_the_state_is_read_outside_the_window_and_the_waits(stage: Stage) -> None:
    stage.measure(stage.note("body"), warmup=1, monitor=Gpus(stage))
    assert stage.noted == [
        *("body", "start", "release", "wait"),
        *("open 0 t span", "before", "wait", "open 1 t round 0", "body"),
        *("close 1 t round 0", "wait", "after", "wait", "close 0 t span"),
    ]


def test_rounds_carry_their_state_and_parts_do_not(stage: Stage) -> None:
    def body(nsys: Nsys) -> None:
        with nsys.range("part"):
            pass

    stage.measure(body, rounds=2, monitor=Gpus(stage))
    stage.told()
    states = {(record.kind, record.round): record.state for record in stage.records}
    assert states["range", 0] is None
    assert states["span", -1] is None
    for number in (0, 1):
        state = states["round", number]
        assert state is not None
        assert (state.before, state.discarded) == ((GpuState(0),), ())
        assert state.after == (GpuState(0, reasons=()),)


def test_without_nvml_rounds_have_no_state(stage: Stage) -> None:
    class Blind(Gpus):
        def before(self) -> tuple[GpuState, ...]:
            return ()

        after = before

    stage.measure(lambda nsys: None, monitor=Blind(stage))
    assert stage.windows() == ["round test 0", "span test -1"]
    assert all(record.state is None for record in stage.records)


def test_a_disturbed_round_is_discarded_and_repeated(stage: Stage) -> None:
    def body(nsys: Nsys) -> None:
        with nsys.range("part"):
            pass

    stage.measure(body, rounds=3, monitor=Gpus(stage, "", HOT, HOT))
    assert stage.told() == [
        *("begin 0", "range part 0", "round test 0"),
        *("begin 1", f"disturbed 1: {SENTENCE} again"),
        *("begin 1", f"disturbed 1: {SENTENCE} again"),
        *("begin 1", "range part 1", "round test 1"),
        *("begin 2", "range part 2", "round test 2"),
        "span test -1",
    ]
    discarded = [record.state.discarded for record in stage.records if record.state]
    assert discarded == [(), (SENTENCE, SENTENCE), ()]
    # The ranges of the discarded rounds are in the capture, and no record names them.
    assert len({record.index for record in stage.records}) == len(stage.records) == 7
    opened = {int(text.split()[1]) for text in stage.noted if text.startswith("open")}
    assert len(opened - {record.index for record in stage.records}) == 4


def test_there_are_as_many_repetitions_as_rounds_and_short_waits(stage: Stage) -> None:
    stage.measure(lambda nsys: None, rounds=7, monitor=Gpus(stage, *[HOT] * 99))
    told = stage.told()
    assert [line for line in told if line.startswith("round")] == [
        f"round test {number}" for number in range(7)
    ]
    assert told.count(f"disturbed 0: {SENTENCE} again") == 7
    assert [f"disturbed {number}: {SENTENCE}" for number in range(7)] == [
        line for line in told if line.startswith("disturbed") and not line.endswith("again")
    ]
    first, *others = [record.state for record in stage.records if record.state]
    assert len(first.discarded) == 7
    assert all(state.disturbances == (SENTENCE,) for state in (first, *others))
    assert stage.waits == [0.1, 0.2, 0.4, 0.8, 0.5, 0.0, 0.0]


def test_what_outlasts_all_repetitions_is_waited_for_no_more(stage: Stage) -> None:
    gpus = Gpus(stage, *[HOT] * 6, "", HOT)
    stage.measure(lambda nsys: None, rounds=2, monitor=gpus)
    stage.told()
    stage.measure(lambda nsys: None, rounds=3, monitor=gpus)
    assert [line for line in stage.told() if not line.startswith("begin")] == [
        *(f"disturbed 0: {SENTENCE}", "round test 0"),
        *(f"disturbed 1: {SENTENCE}", "round test 1", "round test 2", "span test -1"),
    ]
    stage.measure(lambda nsys: None, rounds=1, monitor=gpus)
    assert f"disturbed 0: {SENTENCE} again" in stage.told()


def test_a_limit_ends_the_rounds_of_a_call_too(stage: Stage) -> None:
    calls = iter(range(100))
    stage.measure(lambda nsys: nsys(lambda: next(calls)), rounds=5, stop=lambda: next(calls) > 2)
    assert stage.windows() == ["round test 0", "round test 1", "span test -1"]


def test_a_limit_ends_repetitions_as_well(stage: Stage) -> None:
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) == 2

    stage.measure(stage.note("body"), rounds=1, stop=stop, monitor=Gpus(stage, HOT))
    assert stage.noted.count("body") == 2
    assert len(asked) == 1
    stage.noted.clear()
    stage.measure(stage.note("body"), rounds=2, stop=stop, monitor=Gpus(stage, HOT))
    assert stage.noted.count("body") == 1


def test_units_and_failures_of_discarded_rounds_are_gone(stage: Stage) -> None:
    counts = iter([5, 7])

    def body(nsys: Nsys) -> None:
        nsys.units(tokens=next(counts))

    stage.measure(body, monitor=Gpus(stage, HOT))
    assert stage.windows() == [
        f"disturbed 0: {SENTENCE} again",
        "round test 0 tokens=7",
        "span test -1",
    ]


@pytest.mark.parametrize("warmup", [0, 2])
def test_rounds_of_a_call_are_repeated_too(stage: Stage, warmup: int) -> None:
    calls = iter(range(100))

    def body(nsys: Nsys) -> None:
        assert nsys(lambda: next(calls)) == warmup + 2

    stage.measure(body, warmup=warmup, rounds=2, monitor=Gpus(stage, HOT))
    told = [line for line in stage.told() if not line.startswith("begin")]
    assert told == [
        f"disturbed 0: {SENTENCE} again",
        *("round test 0", "round test 1", "span test -1"),
    ]


def test_a_state_that_gets_lost_keeps_what_was_discarded(stage: Stage) -> None:
    class Lost(Gpus):
        def before(self) -> tuple[GpuState, ...]:
            return ()

        def after(self) -> tuple[GpuState, ...]:
            return super().after() if next(self.good, False) else ()

    monitor = Lost(stage, HOT)
    monitor.good = iter([True])
    stage.measure(lambda nsys: None, monitor=monitor)
    stage.told()
    assert [record.state.discarded for record in stage.records if record.state] == [(SENTENCE,)]


# As many rounds as it takes


class Pace:
    """Time as the recorder sees it: a round takes as long as it was asked to."""

    def __init__(self, *seconds: float) -> None:
        self._now = 0.0
        self._ends: Iterator[float] = iter(seconds)
        self._began = False

    def __call__(self) -> float:
        """Seconds that always grow: asked at the beginning and at the end of each round."""
        self._began = not self._began
        if not self._began:
            self._now += next(self._ends)
        return self._now

    sleep = None


@pytest.mark.parametrize(
    ("seconds", "auto", "rounds", "event"),
    [
        ([1.0] * 20, {"most": 20, "precision": 0.01}, 6, "auto 6 True"),
        ([1.0, 2.0] * 10, {"most": 9, "precision": 0.01}, 9, "auto 9 False"),
        # The first round is an outlier: nine rounds leave it outside the interval.
        ([9.0] + [1.0] * 20, {"most": 20, "precision": 0.01}, 9, "auto 9 True"),
        ([1.0, 2.0] * 10, {"most": 9, "precision": 0.5}, 6, "auto 6 True"),
        ([1.0] * 20, {"most": 3, "precision": 0.01}, 5, "auto 5 False"),
        ([1.0] * 20, {"precision": 0.01}, 5, "auto 5 False"),
        ([1.0] * 20, {"most": 20}, 5, None),
    ],
)
@pytest.mark.parametrize("handed_over", [False, True])
def test_rounds_go_on_until_the_median_is_known(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    seconds: list[float],
    auto: dict[str, Any],
    rounds: int,
    event: str | None,
    handed_over: bool,
) -> None:
    monkeypatch.setattr(own, "clock", Pace(*seconds))

    def body(nsys: Nsys) -> None:
        if handed_over:
            nsys(lambda: None)

    stage.measure(body, warmup=1, rounds=5, **auto)
    told = stage.told()
    assert sum(line.startswith("round") for line in told) == rounds
    assert [line for line in told if line.startswith("auto")] == ([event] if event else [])


def test_discarded_rounds_do_not_count_for_the_median(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "clock", Pace(*[9.0, 9.0] + [1.0] * 20))
    stage.measure(
        lambda nsys: None,
        rounds=5,
        most=20,
        precision=0.01,
        monitor=Gpus(stage, HOT, HOT),
    )
    assert "auto 6 True" in stage.told()


class Noted(Aside):
    """Notes what it is told, between the windows."""

    def __init__(self, stage: Stage) -> None:
        self.plain_call = True
        self._stage = stage

    def again(self, *, whole: bool) -> None:
        """Noted."""
        self._stage.noted.append("again" if whole else "again a part")

    def begin_rounds(self) -> None:
        """Noted."""
        self._stage.noted.append("begin")

    def end_rounds(self) -> None:
        """Noted."""
        self._stage.noted.append("end")


@pytest.mark.parametrize(("warmup", "plain"), [(1, False), (0, True)])
def test_what_is_done_beside_is_outside_of_rounds_and_one_call_is(
    stage: Stage, warmup: int, plain: bool
) -> None:
    recorder = stage.recorder(Repeats(warmup, 2))

    def call() -> None:
        with recorder.window():
            stage.noted.append("call")

    recorder.measure(call, lambda: False, Noted(stage))
    told = [note for note in stage.noted if note in ("again", "begin", "end", "call")]
    first = ["call", "again"] if warmup else []
    last = ["again", "call"] if plain else []
    assert told == [*first, "begin", "call", "again", "call", "end", *last]


def test_a_function_that_a_body_hands_over_is_a_part_of_it(stage: Stage) -> None:
    recorder = stage.recorder(Repeats(0, 2))
    results = iter("abc")

    def call() -> None:
        with recorder.window():
            assert recorder.repeat(lambda: next(results), lambda: ((), {})) == "b"
            stage.noted.append("rest")

    recorder.measure(call, lambda: False, Noted(stage))
    told = [note for note in stage.noted if note.startswith(("again", "begin", "end", "rest"))]
    rounds = ["begin", "again a part", "begin", "again a part", "end"]
    assert told == [*rounds, "again a part", "rest"]
    assert next(results, "") == "", "once more, for coverage"


class FakeFlush:
    """In the place of `L2Flush`: notes what is asked of it.

    Attributes:
        cold: what a flush answers.
    """

    def __init__(self, noted: list[str], cold: bool) -> None:
        self.noted = noted
        self.cold = cold

    def prepare(self) -> None:
        self.noted.append("prepare")

    def flush(self) -> bool:
        self.noted.append("flush")
        return self.cold

    def release(self) -> None:
        self.noted.append("free")


@pytest.mark.parametrize("cold", [True, False])
def test_the_l2_cache_is_emptied_before_each_round_and_outside_of_all_windows(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, cold: bool
) -> None:
    monkeypatch.setattr(recorder_module, "L2Flush", lambda: FakeFlush(stage.noted, cold))
    stage.measure(lambda _: stage.noted.append("body"), warmup=1, rounds=2, cold_l2=True)
    said = [line.split(" ")[0] for line in stage.noted if line not in ("wait", "release")]
    once = ["flush", "open", "body", "close"]
    assert said == ["body", "prepare", "open", *once, *once, "close", "free"]
    stage.told()
    rounds = [record for record in stage.records if record.kind == "round"]
    assert [record.cold_l2 for record in rounds] == [cold, cold]


def test_a_call_that_is_handed_over_may_ask_for_a_cold_cache(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "L2Flush", lambda: FakeFlush(stage.noted, True))
    recorder = stage.recorder(Repeats(1, 1))

    def call() -> None:
        with recorder.window():
            for name, cold in (("cold", True), ("warm", False)):
                recorder.repeat(stage.note(name), lambda: ((), {}), name=name, cold_l2=cold)

    recorder.measure(call, lambda: False)
    asked = [line for line in stage.noted if line in ("prepare", "flush", "free", "cold", "warm")]
    assert asked == ["cold", "prepare", "flush", "cold", "free", "warm", "warm"]
    stage.told()
    rounds = {record.name: record for record in stage.records if record.kind == "round"}
    assert {name: one.cold_l2 for name, one in rounds.items()} == {"cold": True, "warm": False}


def test_its_buffers_are_freed_where_a_round_fails(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "L2Flush", lambda: FakeFlush(stage.noted, True))
    with pytest.raises(ZeroDivisionError):
        stage.measure(lambda _: 1 / 0, cold_l2=True)
    assert stage.noted[-1] == "free"
