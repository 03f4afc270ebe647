"""The study of verdicts: the rules it compares, what it keeps, and how it counts."""

from __future__ import annotations

import json
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.harness import ROOT

VERDICTS = ROOT / "benchmarks/verdicts"
sys.path.insert(0, str(VERDICTS))

import rates  # noqa: E402
import resample  # noqa: E402
import rules  # noqa: E402
import study  # noqa: E402

from pytest_nsys.measure.measurement import Environment, Measurement, WindowMeasurement  # noqa: E402
from pytest_nsys.storage.baselines import BaselineStore  # noqa: E402
from pytest_nsys.support.units import Tolerance  # noqa: E402

KEY = "gpu.kernel_time"
QUIET = (1000.0, 1001.0, 999.0, 1002.0, 998.0)


def of(*processes: Sequence[float], key: str = KEY) -> dict[str, Any]:
    return {key: tuple(map(tuple, processes))}


def times(rounds: Sequence[float], factor: float) -> tuple[float, ...]:
    return tuple(value * factor for value in rounds)


# The rules


@pytest.mark.parametrize("rule", [r for r in rules.OTHERS if "5%" in r.name])
def test_rules_of_five_percent(rule: rules.Rule) -> None:
    then = of(QUIET, QUIET, QUIET)
    assert not rule.says(then, of(times(QUIET, 1.049)), KEY)
    assert rule.says(then, of(times(QUIET, 1.051)), KEY)
    assert not rule.says(then, of(times(QUIET, 0.5)), KEY)


def test_what_of_the_rounds_a_rule_of_five_percent_looks_at() -> None:
    then = of(QUIET, QUIET)
    first_slow = of((1100.0, 1000.0, 1000.0, 1000.0, 1000.0))
    assert rules.single(then, first_slow, KEY)
    assert not rules.mean(then, first_slow, KEY)
    assert not rules.minimum(then, first_slow, KEY)
    one_outlier = of((1000.0, 1000.0, 1000.0, 1000.0, 1300.0))
    assert rules.mean(then, one_outlier, KEY)
    assert rules.benchmark_mean(then, one_outlier, KEY)
    assert not rules.benchmark_min(then, one_outlier, KEY)


def test_pytest_benchmark_compares_with_the_last_stored_run_alone() -> None:
    then = of(QUIET, times(QUIET, 1.2))
    assert not rules.benchmark_mean(then, of(times(QUIET, 1.1)), KEY)
    assert rules.benchmark_mean(of(times(QUIET, 1.2), QUIET), of(times(QUIET, 1.1)), KEY)


def test_nvbench_holds_the_change_against_the_smaller_noise() -> None:
    loud = (900.0, 950.0, 1000.0, 1050.0, 1100.0)  # 7.9 %
    assert not rules.nvbench(of(loud), of(times(loud, 1.07)), KEY)
    assert rules.nvbench(of(loud), of(times(loud, 1.09)), KEY)
    assert rules.nvbench(of(QUIET), of(times(loud, 1.01)), KEY)
    assert not rules.nvbench(of(QUIET), of(times(QUIET, 0.9)), KEY)
    steady = (1000.0,) * 5
    assert not rules.nvbench(of(steady), of(times(steady, 2.0)), KEY), "no noise, no answer"
    assert not rules.nvbench(of(QUIET[:4]), of(times(QUIET[:4], 2.0)), KEY), "too few rounds"


def test_nvbench_robust_wants_a_gap_of_half_a_percent_between_minimum_and_third_quartile() -> None:
    then = of((100.0, 101.0, 102.0, 103.0, 150.0))  # the third quartile of five is the fourth
    assert not rules.nvbench_robust(then, of((103.5,) * 5), KEY)
    assert rules.nvbench_robust(then, of((103.6,) * 5), KEY)
    assert not rules.nvbench_robust(then, of((103.6, 103.6, 103.6, 103.6, 102.0)), KEY)


def test_nvbench_robust_wants_it_in_cycles_too() -> None:
    then = {**of(QUIET), **of((2e9,) * 5, key="gpu.sm_clock")}
    slower = of(times(QUIET, 1.1))
    as_fast = {**slower, **of((2e9,) * 5, key="gpu.sm_clock")}
    low = {**slower, **of((2e9 / 1.1,) * 5, key="gpu.sm_clock")}
    assert rules.nvbench_robust(then, as_fast, KEY)
    assert not rules.nvbench_robust(then, low, KEY)
    wall = {"wall.time": slower[KEY], **low}
    assert rules.nvbench_robust({"wall.time": then[KEY], **then}, wall, "wall.time")


def test_asv_wants_a_factor_and_ranks() -> None:
    then = of(QUIET, QUIET, QUIET)
    assert not rules.asv(then, of(times(QUIET, 1.09)), KEY)
    assert rules.asv(then, of(times(QUIET, 1.11)), KEY)
    mixed = of((1200.0, 1200.0, 1200.0, 990.0, 991.0))
    assert not rules.asv(then, mixed, KEY), "the ranks do not agree"
    with pytest.raises(ValueError, match="too few"):
        rules.asv(of(QUIET), of(QUIET[:3]), KEY)


def test_mann_whitney_alone_sees_what_is_small_and_only_what_is_slower() -> None:
    then = of(tuple(1000 + 0.01 * n for n in range(15)))
    assert rules.mann_whitney(then, of(tuple(1000.2 + 0.01 * n for n in range(5))), KEY)
    assert not rules.mann_whitney(then, of(tuple(999.0 + 0.01 * n for n in range(5))), KEY)


samples_without_ties = st.lists(st.integers(0, 10**6), min_size=2, max_size=20, unique=True)


@given(samples_without_ties, st.data())
def test_a_p_value_that_is_looked_up_is_that_of_the_samples(
    values: list[int], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(values) - 1))
    before, after = values[:cut], values[cut:]
    assert rules._p_value(before, after) == pytest.approx(rules._tested(before, after))


def test_ours_is_the_gate_with_its_confirmations() -> None:
    then = of(QUIET, times(QUIET, 1.002), times(QUIET, 0.998))
    slow, fast = of(times(QUIET, 1.06)), of(QUIET)
    three = Tolerance(0.03)
    assert rules.ours(then, [fast], KEY, three) == "ok"
    assert rules.ours(then, [slow, slow, slow], KEY, three) == "regressed"
    assert rules.ours(then, [slow, fast, fast], KEY, three) == "inconclusive", "not confirmed"
    assert rules.ours(then, [fast, slow, slow], KEY, three) == "ok", "nothing was suspected"
    assert rules.ours(then, [of(times(QUIET, 0.9))], KEY, three) == "improved"


def test_ours_does_not_blame_the_code_for_a_lower_clock() -> None:
    clock = of((2e9,) * 5, key="gpu.sm_clock")
    low = of((2e9 / 1.06,) * 5, key="gpu.sm_clock")
    then = {**of(QUIET, QUIET, QUIET), "gpu.sm_clock": clock["gpu.sm_clock"] * 3}
    now = {**of(times(QUIET, 1.06)), **low}
    assert rules.ours(then, [now] * 3, KEY, Tolerance(0.03)) == "inconclusive"


# Resampling


def recorded(chance: random.Random, processes: int = 6) -> list[rules.Samples]:
    def process() -> rules.Samples:
        offset = chance.gauss(1, 0.003)
        kernels = tuple(1e6 * offset * chance.gauss(1, 0.001) for _ in range(5))
        wall = tuple(2e6 * chance.gauss(1, 0.05) for _ in range(5))
        return {KEY: (kernels,), "wall.time": (wall,), "gpu.sm_clock": ((2e9,) * 5,)}

    return [process() for _ in range(processes)]


def test_sessions_that_are_drawn_are_made_of_recorded_offsets_and_residuals() -> None:
    processes = recorded(random.Random(1))
    pool = resample.take_apart(processes)
    medians = {statistics.median(one[KEY][0]) for one in processes}
    drawn = resample.draw(pool, random.Random(2), resample.as_recorded)
    assert any(statistics.median(drawn[KEY][0]) == pytest.approx(m) for m in medians)
    assert drawn["gpu.sm_clock"][0] == (2e9,) * 5


def test_a_slow_down_adds_the_same_nanoseconds_to_the_wall() -> None:
    pool = resample.take_apart(recorded(random.Random(1)))
    plain = resample.draw(pool, random.Random(3), resample.as_recorded)
    slower = resample.draw(pool, random.Random(3), resample.as_recorded, 10)
    assert slower[KEY][0] == pytest.approx([1.1 * value for value in plain[KEY][0]])
    added = [b - a for a, b in zip(plain["wall.time"][0], slower["wall.time"][0], strict=True)]
    assert added == pytest.approx([0.1 * value for value in plain[KEY][0]])


def test_disturbances_are_as_often_as_they_say() -> None:
    chance = random.Random(4)
    rounds = {KEY: [1.0] * 5, "wall.time": [2.0] * 5, "gpu.sm_clock": [100.0] * 5}
    many = [resample.bimodal_clock(chance, rounds) for _ in range(2000)]
    slow = [one for one in many if one[KEY][0] > 1]
    assert len(slow) / len(many) == pytest.approx(0.25, abs=0.04)
    assert slow[0][KEY] == pytest.approx([1 / 0.94] * 5)
    assert slow[0]["gpu.sm_clock"] == pytest.approx([94.0] * 5)
    assert "gpu.sm_clock" not in resample.bimodal_unseen(chance, rounds)
    values = [v for _ in range(2000) for v in resample.outliers(chance, rounds)[KEY]]
    assert statistics.fmean(v > 1.09 for v in values) == pytest.approx(0.05, abs=0.01)
    assert resample.bimodal_clock(random.Random(1), {KEY: [1.0], "wall.time": [1.0]})


# What the driver keeps


@pytest.mark.parametrize(
    ("changed", "base"),
    [
        ("t.py::test_slower[gemm-1%-5%]", "t.py::test_unchanged[gemm-1%]"),
        ("t.py::test_changed[sort-copy]", "t.py::test_unchanged[sort-3%]"),
    ],
)
def test_a_test_with_a_change_is_compared_with_the_unchanged_one(changed: str, base: str) -> None:
    assert study.base_of(changed) == base


def test_a_test_without_a_change_has_no_other_baseline() -> None:
    with pytest.raises(ValueError, match="no test with a change"):
        study.base_of("t.py::test_steady[gemm]")


def metric(key: str, *processes: Sequence[float], **fields: Any) -> dict[str, Any]:
    values = [statistics.median(process) for process in processes]
    return {
        "key": key,
        "kind": "timed" if key in study.KEPT else "exact",
        "gated": True,
        "status": "ok",
        "baseline": values[0],
        "current": values[0],
        "samples": [list(process) for process in processes],
        **fields,
    }


def test_of(nodeid: str, *metrics: dict[str, Any], **fields: Any) -> dict[str, Any]:
    windows = [{"name": "test", "metrics": list(metrics)}, {"name": "part", "metrics": []}]
    return {
        "nodeid": nodeid,
        "status": "ok",
        "headline": "ok",
        "notes": [],
        "windows": windows,
        **fields,
    }


test_of.__test__ = False  # type: ignore[attr-defined]


def results(*tests: dict[str, Any], unmeasured: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    return {"tests": list(tests), "unmeasured": list(unmeasured)}


def test_the_pilot_gives_kernel_times_and_the_clock() -> None:
    found = study.nominal(
        results(
            test_of("t.py::test_pilot[gemm]", metric(KEY, [1000])),
            test_of("t.py::test_spin[1000000]", metric(KEY, [505_050 + 1000])),
            test_of("t.py::test_spin[3000000]", metric(KEY, [1_515_150 + 1000])),
        )
    )
    assert found["kernel_ns"] == {"gemm": 1000}
    assert found["cycles_per_ns"] == pytest.approx(1.98, rel=1e-5)


def test_a_pilot_that_failed_says_what_was_missing() -> None:
    reason = {"nodeid": "t.py::test_pilot[gemm]", "reason": "no torch"}
    with pytest.raises(study.StudyError, match="no torch"):
        study.nominal(results(unmeasured=[reason]))


def test_what_is_kept_of_a_run() -> None:
    changed = metric("sync.count", [2], baseline=1, status="regressed")
    kept = study.summary(
        results(
            test_of("a", metric(KEY, [1.4, 2.6], [3]), metric("mem.peak", [5])),
            test_of("b", metric(KEY, [1]), changed, status="regressed", headline="sync.count +1"),
            unmeasured=[{"nodeid": "c", "reason": "skipped"}],
        )
    )
    assert kept["a"] == {"status": "ok", "metrics": {KEY: [[1, 3], [3]]}}
    assert kept["b"]["changed"] == {"sync.count": [1, 2]}
    assert kept["b"]["statuses"] == {"sync.count": "regressed"}
    assert kept["b"]["note"] == "sync.count +1"
    assert kept["c"] == {"status": "unmeasured", "note": "skipped", "metrics": {}}


def test_a_line_that_a_kill_cut_off_is_left_out_and_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "out/samples.jsonl"
    first = study.Samples(path)
    first.append("run", run=0)
    with path.open("a") as file:
        file.write('{"kind": "run", "ru')
    study.Samples(path).append("run", run=1)
    study.Samples(path).append("run", run=2)
    assert [line["run"] for line in study.read_lines(path.read_text())] == [0, 1, 2]


def baseline_of(nodeid: str) -> Measurement:
    window = WindowMeasurement("test", {KEY: (QUIET, QUIET, QUIET), "wall.time": (QUIET,) * 3})
    return Measurement(nodeid, "nvidia-h200", 1, 5, {"test": window}, Environment(gpu="H200"))


class FakeStudy(study.Study):
    """A study whose runs of pytest are made up: they take a while and say what they are told."""

    seconds = 10.0
    fails = False
    unmeasured: Sequence[dict[str, str]] = ()

    def pytest(self, *arguments: str) -> study.Ran:
        if self.fails:
            raise study.StudyError("no results")
        nodeid = "test_work.py::test_unchanged[gemm-3%]"
        self._ends -= self.seconds
        pilot = [
            test_of("test_work.py::test_pilot[gemm]", metric(KEY, [1000])),
            test_of("test_work.py::test_spin[1000000]", metric(KEY, [1000])),
            test_of("test_work.py::test_spin[3000000]", metric(KEY, [3000])),
        ]
        unchanged = [test_of(nodeid, metric(KEY, QUIET), metric("wall.time", QUIET))]
        of_pilot = study.PILOT in arguments
        document = results(*(pilot if of_pilot else unchanged), unmeasured=self.unmeasured)
        document |= {"environment": {"gpu": "H200"}, "seconds": {}, "counts": {"ok": 1}}
        document["baselines_written"] = []
        if "--nsys-update" in arguments:
            self._store.write(baseline_of(nodeid))
            document["baselines_written"] = [nodeid]
        return study.Ran(document, 0, self.seconds, "")

    def _collected(self, keyword: str) -> list[str]:
        return ["test_work.py::test_slower[gemm-3%-5%]", "test_work.py::test_changed[gemm-copy]"]


@pytest.fixture
def fake(tmp_path: Path) -> FakeStudy:
    samples = study.Samples(tmp_path / "out/samples.jsonl")
    return FakeStudy(VERDICTS / "test_work.py", tmp_path / "work", samples, 100.0)


def lines_of(fake: FakeStudy) -> list[dict[str, Any]]:
    return list(study.read_lines(fake.samples.path.read_text()))


def test_a_study_records_once_and_repeats_until_the_deadline(
    fake: FakeStudy, tmp_path: Path
) -> None:
    assert not fake.ready()
    fake.record()
    assert fake.ready()
    store = BaselineStore(tmp_path / "work/baselines")
    for name in ("slower[gemm-3%-5%]", "changed[gemm-copy]"):
        found = store.read("nvidia-h200", f"test_work.py::test_{name}")
        assert found == replace(
            baseline_of("test_work.py::test_unchanged[gemm-3%]"),
            nodeid=f"test_work.py::test_{name}",
        )
    fake.repeat("steady", 1000)
    kinds = [line["kind"] for line in lines_of(fake)]
    # 80 of 100 s are left after the record; another run begins while more than 31.5 s are.
    assert kinds == ["about", "baseline"] + ["run"] * 5
    assert [*lines_of(fake)[1]["tests"]] == ["test_work.py::test_unchanged[gemm-3%]"]
    assert (tmp_path / "work/workloads.py").exists()
    assert "A/A at 3%" in study.table(lines_of(fake))


def test_a_study_ends_after_three_problems(fake: FakeStudy) -> None:
    fake.record()
    fake.fails = True
    fake.repeat("changed", 1000)
    assert [line["kind"] for line in lines_of(fake)][2:] == ["problem"] * 3


def test_a_study_ends_when_the_tests_have_no_samples(
    fake: FakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.record()
    monkeypatch.setattr(sys.modules[__name__], "QUIET", (0.0,) * 5)  # a broken CUDA context
    with pytest.raises(study.StudyError, match="1 of 1 tests have no samples"):
        fake.repeat("steady", 1000)
    assert [line["kind"] for line in lines_of(fake)][2:] == ["run"]


def test_a_study_does_not_go_on_from_tests_that_do_not_work(fake: FakeStudy) -> None:
    fake.unmeasured = [{"nodeid": "a", "reason": "failed"}]
    with pytest.raises(study.StudyError, match="not all was recorded"):
        fake.record()
    assert not fake.ready()


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('here', flush=True); import time; time.sleep(86400)"]
    with pytest.raises(study.StudyError, match="here"):
        study._run(command, tmp_path, {}, 1.0)
    assert study._run([sys.executable, "-c", "exit(3)"], tmp_path, {}, 20.0) == (3, "")


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("t.py::test_steady[gemm]", "A/A"),
        ("t.py::test_unchanged[gemm-1%]", "A/A at 1%"),
        ("t.py::test_slower[gemm-1%-5%]", "+ 5% at 1%"),
        ("t.py::test_changed[gemm-copy]", "one more copy"),
        ("t.py::test_changed[gemm-memory]", "+32 MiB"),
    ],
)
def test_groups_of_the_driver_s_table(nodeid: str, group: str) -> None:
    assert study.group_of(nodeid) == group


# Counting


def sample_lines(runs: int = 3, slowness: float = 1.0) -> str:
    chance = random.Random(7)
    names = {
        "test_steady[a]": (1.0, "ok"),
        "test_unchanged[b-1%]": (1.0, "inconclusive"),
        "test_unchanged[b-3%]": (1.0, "ok"),
        "test_slower[b-1%-10%]": (1.1, "regressed"),
        "test_slower[b-3%-2%]": (1.02, "ok"),
        "test_changed[b-copy]": (1.0, "regressed"),
    }

    def metrics(factor: float, processes: int) -> dict[str, Any]:
        parts = recorded(chance, processes)
        kernels = [times(one[KEY][0], factor * slowness) for one in parts]
        counts = [(301.0,) * len(one) for one in kernels]
        walls = [one["wall.time"][0] for one in parts]
        return {KEY: kernels, "gpu.kernel_count": counts, "wall.time": walls}

    baselines = {f"t.py::{name}": metrics(1.0, 3) for name in names if "steady" in name}
    baselines |= {f"t.py::test_unchanged[b-{t}]": metrics(1.0, 3) for t in ("1%", "3%")}
    lines: list[dict[str, Any]] = [
        {"kind": "about", "date": "2026-01-02", "environment": {"gpu": "NVIDIA H200"}},
        {"kind": "baseline", "tests": baselines},
    ]
    for run in range(runs):
        tests: dict[str, Any] = {
            f"t.py::{name}": {
                "status": status,
                "metrics": metrics(factor, 3 if status == "regressed" else 1),
                "statuses": {KEY: status} if factor > 1.05 else {},
            }
            for name, (factor, status) in names.items()
        }
        tests["t.py::test_steady[lost]"] = {"status": "unmeasured", "metrics": {}, "note": "x"}
        lines.append({"kind": "run", "run": run, "phase": "steady", "seconds": 1, "tests": tests})
    return "\n".join([*map(json.dumps, lines), '{"kind": "ru'])


def test_reading_cases() -> None:
    cases = rates.read_cases(sample_lines())
    assert len(cases) == 18
    assert rates.count_unmeasured(sample_lines()) == 3
    by_name = {case.nodeid: case for case in cases}
    slower = by_name["t.py::test_slower[b-1%-10%]"]
    assert (slower.percent, slower.tolerance, slower.timed) == (10.0, 0.01, "regressed")
    assert slower.failed
    assert [len(one[KEY]) for one in slower.processes] == [1, 1, 1]
    assert slower.then == by_name["t.py::test_unchanged[b-1%]"].then
    assert by_name["t.py::test_changed[b-copy]"].change == "copy"
    assert by_name["t.py::test_steady[a]"].tolerance is None
    assert [slower.name, slower.workload] == ["test_slower[b-1%-10%]", "b"]
    assert len(rates.still(cases)) == 9


def test_files_that_are_read_together_have_runs_of_their_own() -> None:
    cases = rates.read_cases(sample_lines() + "\n" + sample_lines())
    assert len({case.run for case in cases}) == 6
    assert {case.study for case in cases} == {1, 2}


def test_studies_are_on_gpus_of_their_own_and_their_sessions_are_not_mixed() -> None:
    slow = sample_lines(2, slowness=1.5)
    cases = rates.read_cases(sample_lines() + "\n" + slow)
    for supply in rates.supplies(cases):
        assert min(one[KEY][0][0] for one in supply) / supply[0][KEY][0][0] > 0.8
    pools = rates.pools_of(cases)
    assert [len(pool.offsets) for pool in pools] == [6, 6, 6, 5, 5, 5]
    assert all(0.9 < one[KEY] < 1.1 for pool in pools for one in pool.offsets)


def test_alarms_against_the_baseline_of_another_study() -> None:
    cases = rates.read_cases(sample_lines() + "\n" + sample_lines(2, slowness=1.5))
    found = rates.rates_elsewhere(cases)
    assert found.alarms == {"test_steady[a]": 2}, "the slower GPU against the other's baseline"
    assert found.rates["this gate, tolerance 3%"] == rates.Rate(2, 5)
    text = rates.page(cases, [], rates.measured_rates(cases), {}, found)
    assert "| mean, 5% | 2 of 5 | 40% (" in text
    assert "by test: `test_steady[a]` 2." in text
    assert "2 studies ran at the same time" in text


def test_a_rule_that_measures_again_gets_the_next_runs_of_the_test() -> None:
    cases = [c for c in rates.read_cases(sample_lines()) if c.nodeid.endswith("[a]")]
    supplied = rates.supplies(cases)
    firsts = [case.first for case in cases]
    assert supplied[0] == (firsts[0], firsts[1], firsts[2])
    assert supplied[2] == (firsts[2], firsts[0], firsts[1])


def test_rates_of_the_recorded_samples() -> None:
    found = rates.measured_rates(rates.read_cases(sample_lines()))
    ours = found["this gate, tolerance 3%"][KEY]
    assert ours["A/A"] == rates.Rate(0, 9)
    assert ours["runs"] == rates.Rate(0, 3)
    assert ours[10.0] == rates.Rate(3, 3)
    assert ours[2.0] == rates.Rate(0, 3)
    assert found["this gate, tolerance 1%"][KEY][2.0].of == 3
    assert found["this gate, 3% or 5 us (default)"][KEY][10.0] == rates.Rate(3, 3)
    assert found["single run, 5%"][KEY][10.0] == rates.Rate(3, 3)
    assert found["asv compare"][KEY]["A/A"] == rates.Rate(0, 9)


def test_simulated_rates_are_the_same_each_time() -> None:
    pools = rates.pools_of(rates.read_cases(sample_lines()))
    assert [len(pool.offsets) for pool in pools] == [6, 6, 6]
    once = rates.simulated_rates(pools, 6, 3)
    assert once == rates.simulated_rates(pools, 6, 3)
    assert set(once) == set(resample.NOISES)
    quiet = once["as recorded"]["this gate, tolerance 3%"][KEY]
    assert quiet["A/A"] == rates.Rate(0, 6)
    assert quiet[10] == rates.Rate(3, 3)


def test_intervals_are_those_of_clopper_and_pearson() -> None:
    low, high = rates.Rate(0, 1000).bounds
    assert low == 0.0
    assert high == pytest.approx(1 - 0.025 ** (1 / 1000))
    assert rates.Rate(0, 0).bounds == (0.0, 1.0)


def test_the_page_and_the_document() -> None:
    cases = rates.read_cases(sample_lines())
    measured = rates.measured_rates(cases)
    simulated = rates.simulated_rates(rates.pools_of(cases), 2, 1)
    about = [{"date": "2026-01-02", "environment": {"gpu": "NVIDIA H200"}}]
    abroad = rates.rates_elsewhere(cases)
    text = rates.page(cases, about, measured, simulated, abroad, missing=3)
    assert "NVIDIA H200" in text
    assert "3 tests or runs gave no samples" in text
    assert "| all | 9 | 0 | 34% | 0 of 3 | 33% | 0% | 0% |" in text
    assert "False alarms, by test: none." in text
    assert "Inconclusive, by test: `test_unchanged[b-1%]` 3 of 3 (" in text
    assert "| one more copy of 4 KiB | 3 of 3 | 100% (29% to 100%) | - |" in text
    assert "failed if and only if" in text
    assert "another GPU" not in text, "there is one study"
    for rule in rules.OTHERS:
        assert f"| {rule.name} |" in text
    found = rates.document(cases, measured, simulated, abroad)
    assert json.loads(json.dumps(found)) == found
    assert found["as_it_ran"]["false_alarms"] == [0, 9]
    assert found["as_it_ran"]["slower"]["1%"]["+10%"] == [3, 3]
    assert found["as_it_ran"]["slower_tiny"]["1%"]["+10%"] == [0, 0]
    assert found["same_samples"]["mean, 5%"][KEY]["+10%"] == [3, 3]


def test_the_page_says_which_tests_alarmed_and_what_was_not_measured() -> None:
    quiet = rates.still(rates.read_cases(sample_lines()))
    cases = [replace(quiet[0], status="regressed"), *quiet[1:]]
    text = rates.page(cases, [], rates.measured_rates(cases), {}, rates.Elsewhere({}, {}))
    assert "False alarms, by test: `test_steady[a]` 1 of 3 (" in text
    assert "have not been measured" in text
    assert "one more copy" not in text


def page_of(cases: Sequence[rates.Case]) -> str:
    return rates.page(cases, [], {}, {}, rates.Elsewhere({}, {}))


def test_the_page_tells_the_whole_verdict_from_that_on_kernel_time() -> None:
    cases = [
        replace(case, statuses={"mem.peak": "regressed"}) if case.percent == 10 else case
        for case in rates.read_cases(sample_lines())
    ]
    text = page_of(cases)
    differs = "The whole verdict and that on kernel time alone differ in 3 of 6 decisions"
    whole, _, alone = text.partition(differs)
    row = next(line for line in whole.splitlines() if line.startswith("| +10% |"))
    assert row.split(" | ")[5:7] == ["3 of 3", "100% (29% to 100%)"]
    row = next(line for line in alone.splitlines() if line.startswith("| +10% |"))
    assert row.split(" | ")[5:7] == ["0 of 3", "0% (0% to 71%)"]
    assert "`mem.peak` regressed in `test_slower[b-1%-10%]` (3)" in text


def test_the_page_has_the_workload_of_tiny_kernels_apart() -> None:
    tiny = rates.read_cases(sample_lines().replace("b-", "tiny-"))
    text = page_of([*rates.read_cases(sample_lines()), *tiny])
    plain, _, apart = text.partition("### `tiny`")
    for part in (plain, apart):
        row = next(line for line in part.splitlines() if line.startswith("| +10% |"))
        assert "| 3 of 3 |" in row
    assert "301 kernels" in apart
    assert "64 ns a kernel, here 19.3 us or 1.9%" in apart
    assert "### `tiny`" not in page_of(rates.read_cases(sample_lines()))


def test_the_page_says_by_which_metric_a_change_was_found() -> None:
    cases = [
        replace(case, statuses={"memcpy.h2d.count": "regressed", KEY: "inconclusive"})
        for case in rates.read_cases(sample_lines())
        if case.change or case.kind == "steady"
    ]
    row = "| one more copy of 4 KiB | 3 of 3 | 100% (29% to 100%) | `memcpy.h2d.count` 3 |"
    assert row in page_of(cases)


def test_the_command_rebuilds_the_page_from_packed_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "samples.jsonl"
    raw.write_text(sample_lines())
    monkeypatch.setattr(rates, "PACKED", tmp_path / "samples.jsonl.xz")
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    page, results_file = tmp_path / "page.md", tmp_path / "results.json"
    common = ["--page", page, "--results", results_file, "--many", "2", "--fewer", "1"]
    made = []
    for arguments in (["--samples", raw, "--pack"], ["--samples", rates.PACKED]):
        monkeypatch.setattr(sys, "argv", ["rates.py", *map(str, [*arguments, *common])])
        rates.main()
        made.append((page.read_text(), results_file.read_text()))
    assert made[0] == made[1]


def test_files_without_unchanged_code_make_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    arguments = ["rates.py", "--samples", str(tmp_path / "empty.jsonl")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match="no samples of unchanged code"):
        rates.main()


def test_our_rule_knows_how_many_kernels_a_time_is_made_of() -> None:
    def samples(us: float, count: float) -> dict[str, Any]:
        return {**of((us * 1e3,) * 5), **of((count,) * 5, key="gpu.kernel_count")}

    for count, status in ((300, "inconclusive"), (3, "regressed")):
        then = {key: value * 3 for key, value in samples(304, count).items()}
        assert rules.ours(then, [samples(319, count)] * 3, KEY, Tolerance(0.03)) == status
