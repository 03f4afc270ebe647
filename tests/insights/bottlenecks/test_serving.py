"""What is said of a server whose GPU is idle: by the steps of its engine."""

from __future__ import annotations

import pytest

from pytest_nsys.insights.bottlenecks import Bottleneck, diagnose_rounds
from pytest_nsys.insights.bottlenecks.serving import serving_of
from pytest_nsys.windows.record import WindowRecord
from tests.support.programs import US
from tests.support.stepping import Engine


def _record(engine: Engine, **values: float) -> WindowRecord:
    named = {f"client.{key}": value for key, value in values.items()}
    return WindowRecord(0, "round", "t", "load", 0, times=(0, engine.now), values=named)


def _found(engine: Engine, **values: float) -> dict[str, Bottleneck]:
    trace = engine.export.in_order().trace()
    found = diagnose_rounds(trace, [_record(engine, **values)], ["t"])["t"]
    return {one.name: one for one in found}


def _engine(*, gap: int = 0, idle: int = 0, graphs: bool = True) -> Engine:
    engine = Engine(each=US)
    engine.prefill()
    for _ in range(9):
        if graphs:
            engine.decode(gap=gap, idle=idle)
        else:
            engine.now += gap
            engine.prefill()
    return engine


@pytest.mark.parametrize(
    ("engine", "tokens", "evidence", "advice"),
    [
        (
            _engine(gap=500 * US, idle=100 * US),
            80,
            "10 steps of 640 us, idle for 500 us before and 100 us within each (medians); "
            "tokens a step: 8, CUDA graphs: 1",
            "asynchronous or overlap scheduling",
        ),
        (
            _engine(gap=100 * US, idle=500 * US),
            80,
            "10 steps of 640 us, idle for 100 us before and 500 us within each (medians); "
            "tokens a step: 8, CUDA graphs: 1",
            "The host is busy within the steps",
        ),
        (
            _engine(gap=500 * US, graphs=False),
            10,
            "10 steps of 540 us, idle for 500 us before and 0 ns within each (medians); "
            "tokens a step: 1, CUDA graphs: 0",
            "Let more requests share a step",
        ),
    ],
)
def test_the_steps_are_evidence_and_lead_to_the_advice(
    engine: Engine, tokens: float, evidence: str, advice: str
) -> None:
    bottleneck = _found(engine, output_tokens=tokens, requests=2)["host-bound"]
    assert evidence in bottleneck.evidence
    assert advice in bottleneck.advice
    assert ("--enforce-eager" in bottleneck.advice) is (tokens == 10)
    assert "DataLoader" not in bottleneck.advice


def test_without_known_steps_a_server_is_advised_as_one() -> None:
    engine = _engine(gap=500 * US)
    bottleneck = _found(engine, output_tokens=2, requests=1)["host-bound"]
    assert "more requests at a time" in bottleneck.advice
    assert not [line for line in bottleneck.evidence if "tokens a step" in line]


def test_what_is_no_server_is_advised_as_before() -> None:
    engine = _engine(gap=500 * US)
    assert "DataLoader" in _found(engine)["host-bound"].advice
    assert serving_of(engine.cut, [_record(engine)]) is None
