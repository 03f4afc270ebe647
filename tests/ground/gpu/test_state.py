"""The state of GPUs around a round: what disturbs it, what is said of it, and how it is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.gpu.state import QUANTITIES, GpuState, RoundState, unlocked
from pytest_nsys.metrics.records import disturbances, gpu_digests, state_samples
from pytest_nsys.support.json_values import Misread, read, written
from pytest_nsys.windows.record import WindowRecord

GOOD = GpuState(0, 1.98e9, 3.2e9, 40.0, 300.0, (), {"thermal": 5}, 0, 0, False)

texts = st.text(max_size=8)
amounts = st.none() | st.floats(0, 1e12)
counts = st.none() | st.integers(0, 2**64)
gpus = st.builds(
    GpuState,
    index=st.integers(0, 15),
    sm_clock_hz=amounts,
    memory_clock_hz=amounts,
    temperature_c=st.none() | st.floats(-50, 150),
    power_w=amounts,
    reasons=st.none() | st.lists(texts, max_size=3).map(tuple),
    slowed_ns=st.dictionaries(texts, st.integers(0, 2**64), max_size=3),
    foreign_processes=counts,
    ecc_errors=counts,
    mig=st.none() | st.booleans(),
    digest=texts,
)
several = st.lists(gpus, max_size=3, unique_by=lambda gpu: gpu.index).map(tuple)
rounds = st.builds(
    RoundState, before=several, after=several, discarded=st.lists(texts, max_size=2).map(tuple)
)


def gpu(index: int = 0, **known: Any) -> GpuState:
    """A GPU of which only this is known."""
    return GpuState(index, **known)


@given(rounds)
def test_what_is_written_is_read_again(state: RoundState) -> None:
    record = WindowRecord(1, "round", "t", "test", 0, state=state)
    assert WindowRecord.from_json(json.loads(json.dumps(written(record)))) == record


@given(rounds)
def test_every_state_has_words_and_means(state: RoundState) -> None:
    assert all(text for text in state.disturbances)
    for quantity in QUANTITIES:
        value = state.mean(quantity)
        values = [getattr(one, quantity) for one in (*state.before, *state.after)]
        known = [value for value in values if value is not None]
        assert (value is None) >= (not known)
        if value is not None:
            slack = 1e-9 * max(map(abs, known))
            assert min(known) - slack <= value <= max(known) + slack
        assert getattr(state, quantity) == value


def test_a_record_without_a_state_is_as_it_was() -> None:
    data = written(WindowRecord(1, "round", "t", "test", 0))
    assert "state" not in data
    assert WindowRecord.from_json(data).state is None


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"before": None}, ".before: null where there should be a list"),
        ({"before": [3]}, ".before[0]: 3 where there should be an object"),
        ({"before": [{"slowed_ns": {}}]}, ".before[0].index: it is missing"),
        ({"before": [{"index": -1, "slowed_ns": {}}]}, ".before[0].index: -1 is out of range"),
        ({"before": [{"index": 0}]}, ".before[0].slowed_ns: it is missing"),
        ({"before": [{"index": 0, "slowed_ns": {}}] * 2}, ".before: a list has a GPU twice"),
        (
            {"before": [{"index": 0, "slowed_ns": {"x": 1.5}}]},
            ".before[0].slowed_ns.x: 1.5 where there should be a whole number",
        ),
        *(
            ({"after": [{"index": 0, "slowed_ns": {}, key: value}]}, f".after[0].{key}: {problem}")
            for key, value, problem in [
                ("power_w", -1, "-1 is out of range"),
                ("power_w", float("nan"), "NaN is out of range"),
                ("power_w", None, "null where there should be a number"),
                ("sm_clock_hz", "fast", '"fast" where there should be a number'),
                ("temperature_c", -2000, "-2000 is out of range"),
                ("mig", 1, "1 where there should be true or false"),
                ("digest", None, "null where there should be a text"),
                ("reasons", "hot", '"hot" where there should be a list'),
                ("foreign_processes", True, "true where there should be a whole number"),
            ]
        ),
        ({"discarded": "hot"}, '.discarded: "hot" where there should be a list'),
        ({"discarded": [1]}, ".discarded[0]: 1 where there should be a text"),
    ],
)
def test_what_is_no_state_is_refused(change: dict[str, Any], error: str) -> None:
    data = written(RoundState((GOOD,), (GOOD,)))
    assert read(RoundState, data) == RoundState((GOOD,), (GOOD,))
    with pytest.raises(Misread) as caught:
        read(RoundState, {**data, **change})
    assert str(caught.value) == error


def test_only_rounds_have_a_state() -> None:
    data = written(WindowRecord(1, "round", "t", "test", 0, state=RoundState()))
    with pytest.raises(ValueError, match="a span with the state of a round"):
        WindowRecord.from_json({**data, "kind": "span"})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((), (), ()),
        ((GOOD,), (GOOD,), ()),
        # Reasons that are a matter of the load or of settings.
        *(
            ((gpu(reasons=(reason,)),), (), ())
            for reason in (
                "gpu_idle",
                "sw_power_cap",
                "applications_clocks_setting",
                "sync_boost",
                "display_clocks_setting",
            )
        ),
        ((gpu(reasons=("hw_thermal_slowdown",)),), (), ("thermal slow-down of GPU 0",)),
        ((), (gpu(3, reasons=("sw_thermal_slowdown",)),), ("thermal slow-down of GPU 3",)),
        ((gpu(reasons=("hw_slowdown",)),), (gpu(),), ("hardware slow-down of GPU 0",)),
        (
            (gpu(reasons=("hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown")),),
            (gpu(),),
            ("thermal slow-down of GPU 0",),
        ),
        (
            (gpu(reasons=("hw_slowdown", "hw_power_brake_slowdown")),),
            (gpu(reasons=("sw_thermal_slowdown",)),),
            ("power brake slow-down of GPU 0", "thermal slow-down of GPU 0"),
        ),
        # Between two looks: only the counters tell.
        (
            (gpu(reasons=(), slowed_ns={"thermal": 5}),),
            (gpu(reasons=(), slowed_ns={"thermal": 6}),),
            ("thermal slow-down of GPU 0",),
        ),
        ((gpu(slowed_ns={"thermal": 6}),), (gpu(slowed_ns={"thermal": 6}),), ()),
        ((gpu(slowed_ns={"thermal": 6}),), (gpu(slowed_ns={"thermal": 2}),), ()),
        ((gpu(slowed_ns={}),), (gpu(slowed_ns={"thermal": 6}),), ()),
        ((gpu(slowed_ns={"sw_power_cap": 0}),), (gpu(slowed_ns={"sw_power_cap": 9}),), ()),
        ((gpu(0, slowed_ns={"thermal": 1}),), (gpu(1, slowed_ns={"thermal": 9}),), ()),
        ((gpu(foreign_processes=1),), (gpu(foreign_processes=0),), ("another process on GPU 0",)),
        ((gpu(foreign_processes=1),), (gpu(foreign_processes=2),), ("2 other processes on GPU 0",)),
        # A neighbour's GPU is hot, ours is not.
        ((gpu(0, foreign_processes=0), gpu(1, reasons=("hw_slowdown",))), (), ()),
        # Which one is ours is not known.
        ((gpu(0), gpu(1, reasons=("hw_slowdown",))), (), ("hardware slow-down of GPU 1",)),
    ],
)
def test_what_disturbs_a_round(
    before: tuple[GpuState, ...], after: tuple[GpuState, ...], expected: tuple[str, ...]
) -> None:
    assert RoundState(before, after).disturbances == expected


def test_what_limits_the_clocks_is_kept_where_it_disturbs_nothing() -> None:
    state = RoundState((gpu(slowed_ns={"sw_power_cap": 0}),), (gpu(slowed_ns={"sw_power_cap": 1}),))
    assert state.reasons(0) == {"sw_power_cap"}


def test_means_are_over_the_gpus_used_or_of_the_busiest() -> None:
    used = (gpu(1, sm_clock_hz=1e9, power_w=100.0, foreign_processes=0),)
    state = RoundState((gpu(0, sm_clock_hz=9e9, power_w=700.0), *used), used)
    assert (state.used, state.sm_clock_hz, state.power_w) == ((1,), 1e9, 100.0)
    both = (*used, gpu(2, sm_clock_hz=2e9, foreign_processes=3))
    assert RoundState(both, both).sm_clock_hz == 1.5e9
    busy = (gpu(0, power_w=90.0, temperature_c=30.0), gpu(1, power_w=600.0, temperature_c=60.0))
    after = (gpu(0, power_w=90.0, temperature_c=30.0), gpu(1, power_w=400.0, temperature_c=70.0))
    state = RoundState(busy, after)
    assert (state.temperature_c, state.power_w, state.memory_clock_hz) == (65.0, 500.0, None)
    assert RoundState((gpu(0, temperature_c=1.0), gpu(1, temperature_c=3.0))).temperature_c == 1.0
    assert RoundState().sm_clock_hz is None


def record(number: int, state: RoundState | None, index: int = 0, **other: Any) -> WindowRecord:
    """A round of the test."""
    return WindowRecord(index, "round", "t", "test", number, state=state, **other)


def at(hz: float, watts: float | None = None, *discarded: str) -> RoundState:
    """A state with this clock and power."""
    one = gpu(sm_clock_hz=hz, power_w=watts)
    return RoundState((one,), (one,), discarded)


def test_samples_are_one_per_round() -> None:
    records = [
        record(1, at(2e9, 300.0), 5),
        record(0, at(1e9, 200.0), 3),
        record(2, at(3e9), 7),
        WindowRecord(1, "span", "t", "test", -1),
        WindowRecord(6, "range", "t", "part", 1),
    ]
    assert state_samples(records) == {
        "gpu.sm_clock": (1e9, 2e9, 3e9),
        "gpu.power": (200.0, 300.0),
    }
    assert state_samples([record(0, None), record(1, RoundState())]) == {}


def test_a_body_that_is_called_twice_in_a_round_is_one_sample() -> None:
    assert state_samples([record(0, at(1e9), 1), record(0, at(2e9), 2)]) == {
        "gpu.sm_clock": (1.5e9,)
    }


HOT = RoundState((gpu(reasons=("hw_thermal_slowdown",)),), ())
CROWDED = RoundState((gpu(foreign_processes=1),), ())


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([None, at(1e9)], ()),
        ([at(1e9), HOT], ("round 2 is disturbed: thermal slow-down of GPU 0",)),
        (
            [HOT, CROWDED, HOT],
            (
                "rounds 1, 3 are disturbed: thermal slow-down of GPU 0",
                "round 2 is disturbed: another process on GPU 0",
            ),
        ),
        ([at(1e9, None, "hot")], ("1 round repeated: hot",)),
        ([at(1e9, None, "hot", "hot"), at(1e9, None, "hot")], ("3 rounds repeated: hot",)),
        (
            [at(1e9, None, "hot", "crowded"), at(1e9, None, "hot"), HOT],
            (
                "3 rounds repeated: hot (2); crowded (1)",
                "round 3 is disturbed: thermal slow-down of GPU 0",
            ),
        ),
    ],
)
def test_what_is_said_of_disturbed_rounds(
    states: list[RoundState | None], expected: tuple[str, ...]
) -> None:
    assert disturbances(record(number, state) for number, state in enumerate(states)) == expected


def _seen(*gpus: GpuState) -> WindowRecord:
    return WindowRecord(1, "round", "t", "test", 0, state=RoundState(gpus, gpus))


def test_which_gpus_it_was_is_that_of_those_used_once_they_are_known() -> None:
    unknown = _seen(gpu(0, digest="a"), gpu(1, digest="b"))
    known = _seen(gpu(0, digest="a"), gpu(1, digest="b", foreign_processes=0))
    nothing = WindowRecord(1, "round", "t", "test", 0)
    assert gpu_digests([unknown, nothing]) == ("a", "b")
    assert gpu_digests([unknown, known]) == ("b",)
    assert gpu_digests([nothing, _seen(gpu(0)), _seen()]) == ()


@pytest.mark.parametrize(
    ("clocks", "highest", "reasons", "said"),
    [
        ([1500e6] * 3, 1980e6, (), ""),
        ([1500e6, 1515e6], 1980e6, (), "are not locked: 1,500 MHz to 1,515 MHz"),
        ([1500e6, 1515e6], 1980e6, ("applications_clocks_setting",), ""),
        ([1980e6] * 3, 1980e6, (), "not known to be locked: 1,980 MHz, as high"),
        ([1500e6] * 3, None, (), "not known to be locked: 1,500 MHz, as high"),
        ([None, 1500e6], 1980e6, (), "NVML did not say"),
        ([], 1980e6, (), "NVML did not say"),
    ],
)
def test_clocks_are_taken_for_locked_where_nothing_speaks_against_it(
    clocks: list[float | None], highest: float | None, reasons: tuple[str, ...], said: str
) -> None:
    rounds = [
        RoundState((GpuState(0, clock, reasons=reasons, max_sm_clock_hz=highest),))
        for clock in clocks
    ]
    found = unlocked(rounds)
    assert said in found
    assert bool(said) == bool(found)


def test_clocks_of_a_gpu_that_is_not_used_do_not_matter() -> None:
    used = GpuState(0, 1500e6, foreign_processes=0, max_sm_clock_hz=1980e6)
    idle = GpuState(1, 345e6, max_sm_clock_hz=1980e6)
    assert unlocked([RoundState((used, idle), (used,))]) == ""
    assert unlocked([RoundState((used,)), RoundState()]) != ""
