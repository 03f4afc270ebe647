"""How much has to be measured to see a change: the plans, and the command that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.catalogue import lookup
from pytest_nsys.cli.main import main
from pytest_nsys.measure.measurement import Part, Samples, WindowMeasurement
from pytest_nsys.offline.power import power_lines, powers
from pytest_nsys.storage.baselines import BaselineStore
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.noise import Noise, estimate
from pytest_nsys.verdict.power import cheapest, plan
from pytest_nsys.verdict.rule import default_rule
from pytest_nsys.windows.record import MAIN
from tests.support import made

TIME = lookup("gpu.kernel_time")
NOISES = st.builds(
    Noise,
    within=st.floats(0, 50),
    between=st.floats(1, 50),
    freedom=st.just(6),
    rounds=st.just(5.0),
)
COUNTS = st.integers(1, 10)


@given(NOISES, st.floats(0, 100), COUNTS, COUNTS, st.integers(1, 50))
def test_more_sessions_and_rounds_find_smaller_changes(
    noise: Noise, allowed: float, baseline: int, processes: int, rounds: int
) -> None:
    def of(**changed: int) -> float:
        sizes = {"baseline": baseline, "processes": processes, "rounds": rounds, **changed}
        return plan(noise, allowed, **sizes).detectable

    least = of() * (1 + 1e-9)
    assert of(baseline=baseline + 1) <= least
    assert of(processes=processes + 1) <= least
    assert of(rounds=rounds + 1) <= least
    assert (
        of()
        >= plan(noise, allowed, baseline=baseline, processes=processes, rounds=rounds).limit
        >= allowed
    )


def test_a_plan_says_what_the_rule_then_says() -> None:
    baseline: Samples = ((1000.0, 1003.0, 999.0), (1004.0, 1001.0, 1002.0))
    current: Samples = ((1005.0, 1002.0, 1001.0),)
    ruling = default_rule(TIME, Tolerance(0.001), baseline, current)
    planned = plan(estimate(baseline, current), 1.0, baseline=2, processes=1, rounds=3)
    assert planned.limit == pytest.approx(ruling.limit, rel=0.01)
    assert planned.detectable == pytest.approx(ruling.detectable, rel=0.01)


@given(NOISES, st.floats(0, 300), COUNTS)
def test_the_cheapest_plan_resolves_the_tolerance(
    noise: Noise, allowed: float, baseline: int
) -> None:
    found = cheapest(noise, allowed, baseline=baseline, rounds=5)
    if found is None:
        assert plan(noise, allowed, baseline=baseline, processes=8, rounds=50).limit > allowed
    else:
        assert found.limit <= allowed
        fewer = [
            plan(noise, allowed, baseline=baseline, processes=number, rounds=5)
            for number in (1, 2, 3, 5, 8)
            if number < found.processes
        ]
        assert all(one.limit > allowed for one in fewer)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Baselines of a quiet test and of a noisy one."""
    store = BaselineStore(tmp_path / "baselines")
    for name, spread in (("quiet", 1), ("noisy", 40_000)):
        processes = tuple(
            tuple(1_000_000.0 + spread * (number * 3 + round) for round in range(5))
            for number in range(3)
        )
        samples: dict[str, Samples] = {
            "gpu.kernel_time": processes,
            "gpu.busy": processes,
            "gpu.kernel_count": ((1.0,) * 5,),
        }
        window = WindowMeasurement(MAIN, samples)
        store.write(made.measurement(window, nodeid=f"t.py::test_{name}[a]"))
    return tmp_path / "baselines"


def test_the_command_says_what_resolves_a_tolerance(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["power", "t.py::test_*[a]", f"--baseline-dir={folder}", "--tolerance=1%"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    noisy, quiet = text.split("t.py::test_quiet[a] on nvidia-h200\n")
    assert "t.py::test_noisy[a] on nvidia-h200\n" in noisy
    assert "gpu.kernel_time 1 ms, baseline of 3 processes of 5 rounds" in quiet
    assert "To resolve 1%: 1 process of 5 rounds (--nsys-processes=1 --nsys-rounds=5)." in quiet
    assert "Nothing tried here resolves 1%: it is below the noise of this test." in noisy
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("  Against this baseline of 3 processes, a run of so many ") == 2
    assert "\n\nt.py::" in text
    assert not text.endswith("\n\n")
    assert "* limited by the tolerance" in quiet
    assert "*" not in noisy.partition("\n")[2], "a legend of what is not in the table"


def test_the_command_gives_json_of_the_metrics_it_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["power", "quiet", f"--baseline-dir={folder}", "--format=json"]
    assert main([*arguments, "--metric=gpu.kernel_time"]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert document["tolerance"] == {"relative": 0.03, "absolute": 5_000.0}
    assert document["enough"]["processes"] == 1
    assert len(document["plans"]) == 20
    assert document["noise"]["between"] > 0
    assert main([*arguments, "--metric=gpu.kernel_count"]) == 2, "exact metrics need no power"


def test_metrics_that_gate_together_share_the_probability_of_a_false_alarm(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["power", "noisy", f"--baseline-dir={folder}", "--format=json"]
    assert main(command) == 0
    (alone,) = json.loads(capsys.readouterr().out)
    assert main([*command, "--metric=gpu.kernel_time", "--metric=gpu.busy"]) == 0
    shared, _ = json.loads(capsys.readouterr().out)
    assert shared["metric"] == alone["metric"] == "gpu.kernel_time"
    pairs = zip(alone["plans"], shared["plans"], strict=True)
    assert all(one["detectable"] < other["detectable"] for one, other in pairs)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "pytest-nsys: no baseline in * has such a metric of 'nobody'"),
        (["quiet", "--metric=gpu.kernel_tim"], "*gpu.kernel_time*"),
        (["quiet", "--baseline-dir=/no/such"], "*there is no folder of baselines*"),
    ],
)
def test_what_is_not_there_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    from fnmatch import fnmatch

    assert main(["power", f"--baseline-dir={folder}", *arguments]) == 2
    shown = capsys.readouterr()
    assert fnmatch((shown.out + shown.err).strip(), said)


def test_what_no_number_of_sessions_resolves_is_told_apart() -> None:
    tiny = made.kernels(Part("tiny", 300, ns=304_000))
    (power,) = powers(made.measurement(tiny), {"*": Tolerance(0.03)})
    assert power.enough is None
    assert power.resolution == 300 * 64
    assert "  noise: none between rounds, " in power_lines(power)[2]
    assert "two ticks of the GPU's clock for each kernel are more." in power_lines(power)[-1]


def test_a_baseline_may_have_to_be_of_more_processes() -> None:
    window = made.window({"gpu.kernel_time": [1e6, 1.004e6, 0.996e6]})
    (power,) = powers(made.measurement(window), {"gpu.kernel_time": Tolerance(0.012)})
    assert power.enough is not None
    assert power.enough.baseline > 1
    lines = power_lines(power)
    assert f"against a baseline of {power.enough.baseline} processes" in " ".join(lines)
    assert max(map(len, lines)) <= 80


def test_a_rate_cannot_fall_by_all_of_it() -> None:
    key = "client.tokens_per_s"
    window = made.window({key: [50.0, 100.0, 150.0], "gpu.busy": [5e5, 1e6, 1.5e6]})
    rate, busy = powers(made.measurement(window), {}, [key, "gpu.busy"])
    assert rate.plans[0].detectable > rate.value
    lines = power_lines(rate)
    assert any(line.split() == ["1", "none", "none", "none", "none"] for line in lines)
    assert "  none: no fall would be found, however deep" in lines
    assert "none:" not in " ".join(power_lines(busy)), "times can grow by more than all of it"


def test_a_metric_without_a_tolerance_of_its_own_has_that_of_kernel_time() -> None:
    window = made.window({"wall.time": [1e6, 1.1e6]})
    (power,) = powers(made.measurement(window), {}, ["wall.time"])
    assert power.tolerance == Tolerance(0.03)
