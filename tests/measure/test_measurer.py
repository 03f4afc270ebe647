"""What is said of a measurement."""

from __future__ import annotations

import pytest

from pytest_nsys.measure.measurer import automatic_remarks
from pytest_nsys.plan.marker import Spec
from pytest_nsys.windows.record import MAIN
from tests.support import made

AUTO = Spec(warmup=1, rounds=5, timeout_s=1, most_rounds=50)


@pytest.mark.parametrize(
    ("rounds", "known"),
    [
        ([1000, 1001, 1002, 1003, 1004, 1005], ["0.25%, within"]),
        ([1000, 1001, 1200, 1003, 1004, 1005], ["9.97%, not within"]),
        ([1000, 1001, 1002, 1003, 1004], []),
        ([0] * 6, []),
    ],
)
def test_an_automatic_number_of_rounds_says_what_it_is_good_for(
    rounds: list[float], known: list[str]
) -> None:
    said = [
        f"6 rounds: gpu.kernel_time is known to {words} a third of the tolerance (1.00%)"
        for words in known
    ]
    window = made.window({"gpu.kernel_time": rounds})
    assert [*automatic_remarks(AUTO, {MAIN: window})] == said
    assert [*automatic_remarks(Spec(1, 5, 1.0), {MAIN: window})] == []
    assert [*automatic_remarks(AUTO, {"part": window})] == []
