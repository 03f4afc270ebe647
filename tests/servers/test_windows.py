"""Windows that clients sent to a server: measured by their times, judged, recorded, replayed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.capture.result import CaptureResult, RanTest
from pytest_nsys.controller.runner import Arm, Step
from pytest_nsys.gpu.state import GpuState, RoundState
from pytest_nsys.insights.bottlenecks import diagnose_rounds
from pytest_nsys.measure.measurement import Measurement, WindowMeasurement
from pytest_nsys.measure.measurer import Measurer
from pytest_nsys.measure.processes import join_captures, join_processes
from pytest_nsys.measure.windows import measure
from pytest_nsys.metrics.records import disturbances
from pytest_nsys.offline.diff import diff
from pytest_nsys.plan.batches import Batch, PlannedTest
from pytest_nsys.plan.marker import Spec
from pytest_nsys.report.html.page import page
from pytest_nsys.report.json import report_document
from pytest_nsys.report.run import RunReport
from pytest_nsys.report.text import summary_lines, verdict_lines
from pytest_nsys.storage.baselines.document import parse, render
from pytest_nsys.storage.recordings.recording import (
    RecordedCapture,
    RecordedTest,
    Recording,
    write_recording,
)
from pytest_nsys.storage.recordings.replay import Replay
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.judge import Policy, judge
from pytest_nsys.verdict.verdict import Verdict
from pytest_nsys.windows.record import MAIN
from tests.support.command import PASSED, Answer, document_of
from tests.support.exports.traces import PID, TraceBuilder
from tests.support.harness import Project

NODEID = "test_it.py::test_serving"
SPEC = Spec(warmup=0, rounds=3, timeout_s=60)
ROUND_NS = 50_000_000
OTHER_RANK = (8 << 24) + 1


def served(
    name: str = "load",
    *,
    at: int = 1_000_000,
    kernel_ns: int = 600_000,
    kernels: int = 4,
    tokens: float = 64.0,
    ttft: float = 5e6,
    rounds: int = 3,
    builder: TraceBuilder | None = None,
) -> TraceBuilder:
    """A capture in which a client sent rounds of the same requests."""
    builder = builder or TraceBuilder()
    for number in range(rounds):
        start = at + number * ROUND_NS
        values = {
            "client.ttft_p50": ttft + 1000 * number,
            "client.tpot_p50": 1e6,
            "client.tokens_per_s": 2000.0 - number,
            "client.output_tokens": tokens,
            "client.requests": 8.0,
            "client.errors": 0.0,
        }
        builder.sent(
            start,
            start + ROUND_NS - 1000,
            nodeid=NODEID,
            name=name,
            round=number,
            values=values,
            token=tokens,
            request=8.0,
        )
        for kernel in range(kernels):
            builder.kernel("decode", start + 1_000_000 * (kernel + 1), kernel_ns // kernels)
    return builder


def measured(*builders: TraceBuilder, **options: Any) -> Measurement:
    """What the captures of one session say of the test."""
    found = []
    for builder in builders:
        result = CaptureResult(
            (RanTest(NODEID, PASSED, 0, 3),),
            builder.build(),
            tuple(builder.windows),
            (),
            "",
            "",
            {},
        )
        one = Measurer(**options).measure(result, {NODEID: SPEC})[NODEID]
        assert isinstance(one, Measurement)
        found.append(one)
    return join_captures(found)


def thrice(*builders: TraceBuilder, **options: Any) -> Measurement:
    """Three sessions of the same."""
    return join_processes([measured(*builders, **options)] * 3)


def window(
    builder: TraceBuilder, name: str = "load", extra: Sequence[str] = ()
) -> WindowMeasurement:
    return measure(builder.build(), builder.windows, extra=extra)[NODEID].windows[name]


class TestMeasuring:
    def test_a_round_is_what_was_launched_between_its_times(self) -> None:
        builder = served()
        builder.kernel("before", 10, 7_000_000)
        builder.kernel("after", 1_000_000 + 3 * ROUND_NS, 7_000_000)
        found = window(builder)
        assert found.by_process("gpu.kernel_time") == ((600_000,) * 3,)
        assert found.values("gpu.kernel_count") == (4, 4, 4)
        assert found.values("wall.time") == (ROUND_NS - 1000,) * 3
        assert [part.label for part in found.kernels] == ["decode"]

    def test_what_the_client_measured_are_samples_of_the_rounds(self) -> None:
        found = window(served())
        assert found.by_process("client.ttft_p50") == ((5e6, 5.001e6, 5.002e6),)
        assert found["client.tokens_per_s"] == 1999
        assert found.values("client.errors") == (0, 0, 0)

    def test_a_value_that_is_no_metric_of_this_version_is_left_out(self) -> None:
        builder = served()
        builder.windows = [
            replace(one, values={**one.values, "client.tomorrow": 1.0}) for one in builder.windows
        ]
        assert "client.tomorrow" not in window(builder).samples

    def test_a_value_that_one_round_lacks_is_a_sample_less(self) -> None:
        builder = served()
        values = {**builder.windows[1].values}
        del values["client.ttft_p50"]
        builder.windows[1] = replace(builder.windows[1], values=values)
        assert window(builder).values("client.ttft_p50") == (5e6, 5.002e6)

    def test_per_token_is_a_quotient_of_each_round_and_is_kept(self) -> None:
        builder = served(rounds=1, tokens=60.0)
        served(builder=builder, rounds=1, tokens=64.0, at=10**9, kernel_ns=640_000)
        builder.windows[1] = replace(builder.windows[1], round=1)
        found = window(builder)
        assert found.samples["gpu.kernel_time.per_token"] == ((10_000, 10_000),)
        assert found.units == {"token": 62, "request": 8}

    def test_other_metrics_per_unit_are_derived_round_by_round_too(self) -> None:
        found = window(served(), extra=["kernel[decode*].time"])
        assert found.values("gpu.kernel_count.per_request") == (0.5, 0.5, 0.5)
        assert found.values("kernel[decode*].time.per_token") == (9375, 9375, 9375)

    def test_requests_that_failed_are_no_units(self) -> None:
        builder = served()
        builder.windows = [
            replace(one, units={"token": 64.0, "request": 6.0}) for one in builder.windows
        ]
        assert window(builder).values("gpu.kernel_count.per_request") == (4 / 6,) * 3

    def test_memory_is_not_measured_of_a_server_that_had_begun_before(self) -> None:
        builder = served()
        builder.memory(1_500_000, 4096, address=1)
        assert not any(key.startswith("mem.") for key in window(builder).samples)
        found = measure(builder.build(), builder.windows, timelines=True)[NODEID].timeline
        assert found is not None
        assert found.memory == ()

    def test_memory_is_measured_where_a_span_says_that_all_of_it_is_known(self) -> None:
        builder = served()
        builder.memory(1_500_000, 4096, address=1)
        builder.sent(0, 10**9, nodeid=NODEID, name="load", kind="span", round=-1)
        assert window(builder)["mem.peak"] == 4096
        found = measure(builder.build(), builder.windows, timelines=True)[NODEID].timeline
        assert found is not None
        assert found.memory

    def test_the_gpus_state_is_that_of_the_windows_own_rounds(self) -> None:
        builder = served("one")
        served("two", at=10**9, builder=builder)
        builder.windows = [
            replace(one, state=_state(1e9 if one.name == "one" else 2e9)) for one in builder.windows
        ]
        assert window(builder, "one")["gpu.sm_clock"] == 1e9
        assert window(builder, "two")["gpu.sm_clock"] == 2e9

    def test_the_timeline_is_a_round_of_the_first_window(self) -> None:
        builder = served("one", kernels=2)
        served("two", at=10**9, builder=builder)
        found = measure(builder.build(), builder.windows, timelines=True)[NODEID].timeline
        assert found is not None
        assert found.length == ROUND_NS - 1000
        assert sum(element.operations for element in found.elements) == 2

    def test_windows_of_several_captures_are_one_measurement(self) -> None:
        both = measured(served("one"), served("two", kernels=2), timelines=True)
        assert [*both.windows] == ["one", "two"]
        assert both.bodies == ("one", "two")
        assert (both.processes, both.warmup, both.rounds) == (1, 0, 3)
        assert both.windows["two"]["gpu.kernel_count"] == 2
        assert both.timeline is not None

    def test_a_baseline_keeps_all_of_it(self) -> None:
        both = measured(served("one"), served("two"))
        again = parse(render(both), "x.json")
        assert [*again.windows] == ["one", "two"]
        for name, one in again.windows.items():
            assert one.samples.keys() == both.windows[name].samples.keys()
            for key in ("client.ttft_p50", "client.tokens_per_s", "gpu.kernel_time.per_token"):
                assert one.samples[key] == both.windows[name].samples[key]
            assert one.gates == "server"


def _state(hz: float, reasons: tuple[str, ...] = ()) -> RoundState:
    one = GpuState(0, sm_clock_hz=hz, reasons=reasons)
    return RoundState(before=(one,), after=(one,))


class TestProcesses:
    @staticmethod
    def ranks(*times: int) -> WindowMeasurement:
        builder = TraceBuilder()
        builder.sent(0, 10**9, nodeid=NODEID)
        for rank, ns in enumerate(times):
            builder.kernel("gemm", 10 + rank, ns, tid=PID + (rank << 24) + 1)
        return window(builder)

    def test_the_work_of_all_is_summed_and_the_skew_is_that_of_the_busiest(self) -> None:
        found = self.ranks(1000, 1000, 1600, 400)
        assert found["gpu.kernel_time"] == 4000
        assert found["process.count"] == 4
        assert found["process.skew_pct"] == pytest.approx(60)

    @given(st.lists(st.integers(1, 10**6), min_size=2, max_size=5))
    def test_the_skew_is_between_none_and_that_of_one_that_does_all(self, times: list[int]) -> None:
        found = self.ranks(*times)
        mean = sum(times) / len(times)
        assert found["process.skew_pct"] == pytest.approx(100 * (max(times) / mean - 1), abs=1e-6)
        assert -1e-6 <= found["process.skew_pct"] < 100 * (len(times) - 1)

    def test_what_waits_for_the_slowest_rank_does_not_hide_it(self) -> None:
        builder = TraceBuilder()
        builder.sent(0, 10**9, nodeid=NODEID)
        for rank, ns in enumerate((1000, 3000)):
            tid = PID + (rank << 24) + 1
            builder.kernel("gemm", 10 + rank, ns, tid=tid)
            builder.kernel("ncclDevKernel_AllReduce_Sum_f16_RING_LL", 20, 4000 - ns, tid=tid)
        found = window(builder)
        assert found["gpu.kernel_time"] == 8000
        assert found["process.skew_pct"] == pytest.approx(50)

    def test_of_one_process_there_is_no_skew(self) -> None:
        assert not {"process.count", "process.skew_pct"} & self.ranks(1000).samples.keys()

    def test_a_window_in_which_one_of_several_works_has_none_either(self) -> None:
        builder = served()
        builder.kernel("warm up", 10, 5, tid=OTHER_RANK)
        assert "process.skew_pct" not in window(builder).samples

    def test_kernels_that_take_no_time_at_all_are_not_skewed(self) -> None:
        found = self.ranks(0, 0)
        assert found["process.count"] == 2
        assert "process.skew_pct" not in found.samples


def verdict(now: TraceBuilder, then: TraceBuilder, spec: Spec = SPEC) -> Verdict:
    return judge(spec, thrice(now), thrice(then), Policy("gate"))


def gated(found: Verdict) -> dict[str, str]:
    return {part.metric.key: part.status for part in found.comparisons if part.gated}


class TestJudging:
    def test_what_is_gated_by_default_are_the_times_of_a_token_and_of_the_client(self) -> None:
        found = verdict(served(), served())
        assert gated(found) == {
            "client.ttft_p50": "ok",
            "client.tokens_per_s": "ok",
            "gpu.kernel_time.per_token": "ok",
        }
        assert (found.status, found.failed) == ("ok", False)

    def test_another_number_of_kernels_is_no_regression(self) -> None:
        found = verdict(served(kernels=5), served())
        assert found.status == "ok"
        assert "gpu.kernel_count" in {part.metric.key for part in found.comparisons}

    def test_more_kernel_time_per_token_is_and_has_its_culprit(self) -> None:
        found = verdict(served(kernel_ns=1_200_000), served())
        (worse,) = found.worse
        assert (worse.window, worse.metric.key) == ("load", "gpu.kernel_time.per_token")
        assert [part.label for part in worse.culprits] == ["decode"]
        assert worse.culprits[0].change == pytest.approx(600_000 / 64)

    def test_a_later_first_token_is(self) -> None:
        found = verdict(served(ttft=50e6), served())
        assert [part.metric.key for part in found.worse] == ["client.ttft_p50"]

    def test_what_a_marker_or_the_settings_name_wins(self) -> None:
        spec = replace(SPEC, tolerance={"gpu.kernel_count": Tolerance(), "*": Tolerance(5.0)})
        found = verdict(served(kernels=5, ttft=25e6), served(), spec)
        assert [part.metric.key for part in found.worse] == ["gpu.kernel_count"]
        assert {part.tolerance for part in found.comparisons if part.gated} == {
            Tolerance(),
            Tolerance(5.0),
        }

    def test_without_a_clients_values_the_gates_are_those_of_a_test(self) -> None:
        def plain(kernels: int) -> TraceBuilder:
            builder = served(kernels=kernels)
            builder.windows = [replace(one, values={}, units={}) for one in builder.windows]
            return builder

        found = verdict(plain(5), plain(4))
        assert [part.metric.key for part in found.worse] == ["gpu.kernel_count"]
        assert "mem.peak" not in gated(found)

    def test_a_clients_values_that_are_gone_cannot_be_compared(self) -> None:
        builder = served()
        builder.windows = [
            replace(one, values={"client.output_tokens": 64.0, "client.requests": 8.0})
            for one in builder.windows
        ]
        found = verdict(builder, served())
        assert gated(found)["client.ttft_p50"] == "incomparable"
        assert found.failed

    @pytest.mark.parametrize("tokens", [61.0, 66.0, 70.0, 200.0])
    def test_how_much_was_answered_matters_to_no_gate_per_token(self, tokens: float) -> None:
        found = verdict(served(tokens=tokens, kernel_ns=int(tokens * 9375)), served())
        assert found.status == "ok"

    @pytest.mark.parametrize(
        ("tokens", "status"), [(66.0, "ok"), (61.0, "ok"), (70.0, "incomparable")]
    )
    def test_totals_are_comparable_where_about_as_much_was_answered(
        self, tokens: float, status: str
    ) -> None:
        spec = replace(SPEC, tolerance={"gpu.kernel_time": Tolerance(0.1)})
        found = verdict(served(tokens=tokens, kernel_ns=int(tokens * 9375)), served(), spec)
        assert found.status == status
        assert gated(found)["gpu.kernel_time"] == status
        assert gated(found)["gpu.kernel_time.per_token"] == "ok"

    def test_what_a_test_declares_may_not_vary(self) -> None:
        def declared(**units: float) -> TraceBuilder:
            builder = served()
            builder.windows = [replace(one, units=units, values={}) for one in builder.windows]
            return builder

        assert verdict(declared(token=64.0), declared(token=65.0)).status == "incomparable"
        assert verdict(declared(token=64.0), declared(token=64.0, request=1.0)).failed

    def test_a_window_without_any_work_is_told_whichever_it_is(self) -> None:
        both = measured(served("one"), served("two", kernels=0))
        found = judge(SPEC, both, None, Policy("profile"))
        (requirement,) = found.unmet
        assert (requirement.window, requirement.status) == ("two", "violated")
        assert "no CUDA activity" in requirement.text

    def test_a_check_gets_every_window(self) -> None:
        seen: list[str] = []
        spec = replace(SPEC, check=lambda one: seen.append(one.name))
        judge(spec, measured(served("one"), served("two")), None, Policy("profile"))
        assert seen == ["one", "two"]


class TestFindings:
    def test_they_are_of_each_window(self) -> None:
        builder = served("one")
        served("two", at=10**9, builder=builder)
        found = diagnose_rounds(builder.build(), builder.windows, {NODEID})
        assert {finding.window for finding in found[NODEID]} == {"one", "two"}

    def test_those_of_a_body_name_no_window(self) -> None:
        builder = TraceBuilder()
        builder.window(0, ROUND_NS, nodeid=NODEID)
        builder.kernel("gemm", 10, 1000)
        found = diagnose_rounds(builder.build(), builder.windows, {NODEID})
        assert {finding.window for finding in found[NODEID]} == {""}

    def test_disturbances_say_in_which_window(self) -> None:
        builder = served("one", rounds=1)
        served(MAIN, rounds=1, builder=builder)
        state = _state(1e9, ("hw_thermal_slowdown",))
        records = [replace(one, state=state) for one in builder.windows]
        assert disturbances(records) == (
            "[one] round 1 is disturbed: thermal slow-down of GPU 0",
            "round 1 is disturbed: thermal slow-down of GPU 0",
        )


class TestReports:
    @pytest.fixture
    def worse(self) -> Verdict:
        slower = served("two", kernel_ns=1_200_000)
        both = thrice(served("one"), slower, timelines=True, bottlenecks=True)
        return judge(SPEC, both, thrice(served("one"), served("two")), Policy("gate"))

    def test_the_terminal_names_the_window(self, worse: Verdict) -> None:
        text = "\n".join(verdict_lines(worse))
        assert "window 'one':" in text
        assert "the test's body" not in text
        assert "[two] gpu.kernel_time.per_token changed by:" in text
        assert "client.tokens_per_s" in text
        assert "1999/s" in text
        assert "[two] gpu.kernel_time.per_token +100" in "\n".join(
            summary_lines(RunReport(mode="gate", verdicts=(worse,)))
        )

    def test_the_page_shows_windows_and_findings_by_their_names(self, worse: Verdict) -> None:
        (test,) = page(RunReport(mode="gate", verdicts=(worse,))).failures
        assert [one.title for one in test.windows] == ["Window: one", "Window: two"]
        assert [one.open for one in test.windows] == [False, True]
        assert test.drawing is not None
        assert test.drawing.title == "GPU timeline of window one"
        assert test.windows[0].units == "64 tokens, 8 requests"
        assert {finding.name[:6] for finding in test.bottlenecks} == {"[one] ", "[two] "}
        rows = {row.key for row in test.windows[1].gated}
        assert "gpu.kernel_time.per_token" in rows

    def test_without_a_baseline_windows_are_folded_below_their_table_and_have_their_gates(
        self,
    ) -> None:
        found = judge(SPEC, measured(served("one"), served("two")), None, Policy("profile"))
        (test,) = page(RunReport(mode="profile", verdicts=(found,))).others
        assert [one.open for one in test.windows] == [False, False]
        assert {row.key for row in test.windows[0].gated} == {
            "client.ttft_p50",
            "client.tokens_per_s",
            "gpu.kernel_time.per_token",
        }

    def test_one_window_alone_has_its_name(self) -> None:
        found = judge(SPEC, measured(served("one")), None, Policy("profile"))
        (test,) = page(RunReport(mode="profile", verdicts=(found,))).others
        assert [one.title for one in test.windows] == ["Window: one"]

    def test_the_json_has_the_units_and_the_clients_values(self, worse: Verdict) -> None:
        (test,) = report_document(RunReport(mode="gate", verdicts=(worse,)))["tests"]
        metrics = {one["key"]: one for one in test["windows"][0]["metrics"]}
        assert metrics["client.tokens_per_s"]["unit"] == "1/s"
        assert metrics["client.tokens_per_s"]["gated"] is True
        assert metrics["gpu.kernel_time.per_token"]["gated"] is True


def recorded(folder: Path, *sessions: Sequence[TraceBuilder]) -> Path:
    """A recording of a server test: each session with one capture for each of its windows."""
    captures, tests, exports = [], [], []
    for builders in sessions:
        first = len(captures)
        for builder in builders:
            number = len(captures) + 1
            exports.append(builder.export(folder.with_name(f"{folder.name}-{number}.sqlite")))
            file = f"capture-{number}.sqlite.xz"
            captures.append(RecordedCapture(file, ("--trace=cuda",), tuple(builder.windows)))
        numbers = tuple(range(first, len(captures)))
        tests.append(RecordedTest(NODEID, PUBLISHED, numbers, 0, 3))
    recording = Recording("2023.4.4", "2026-01-10", {}, tuple(captures), tuple(tests))
    write_recording(folder, recording, exports)
    return folder


PUBLISHED: tuple[Mapping[str, Any], ...] = tuple(
    {
        **{
            "$report_type": "TestReport",
            "nodeid": NODEID,
            "location": ["test_it.py", 1, "test_serving"],
        },
        **{"when": phase, "outcome": "passed", "longrepr": None, "duration": 0.1},
        **{"keywords": {}, "sections": [], "user_properties": []},
    }
    for phase in ("setup", "call", "teardown")
)


def replayed(folder: Path) -> Measurement:
    """What a replay measures, as the controller makes it."""
    source = Replay({"": folder})
    test = PlannedTest(NODEID, SPEC)
    arm = Arm(source)
    for session in range(source.planned(test)):
        step = Step(Batch((test,)), session + 1, source.planned(test))
        assert [*arm.run(step, 0, Measurer(device="gpu"))]
    found = arm.measurement(NODEID)
    assert found is not None, arm.outcome(NODEID, None)
    return found


class TestRecording:
    def test_a_replay_measures_what_the_run_did(self, tmp_path: Path) -> None:
        builders = served("one"), served("two", kernels=2)
        live = measured(*builders)
        again = replayed(recorded(tmp_path / "rec", builders))
        assert {name: (one.samples, one.units) for name, one in again.windows.items()} == {
            name: (one.samples, one.units) for name, one in live.windows.items()
        }
        assert again.processes == 1

    def test_sessions_of_several_captures_stay_sessions(self, tmp_path: Path) -> None:
        sessions = [
            (served("one", kernel_ns=ns), served("two", kernel_ns=ns)) for ns in (600_000, 640_000)
        ]
        again = replayed(recorded(tmp_path / "rec", *sessions))
        assert again.processes == 2
        for one in again.windows.values():
            assert one.by_process("gpu.kernel_time") == ((600_000,) * 3, (640_000,) * 3)

    def test_a_recording_says_nothing_of_the_clock(self, tmp_path: Path) -> None:
        folder = recorded(tmp_path / "rec", [served()])
        index = json.loads((folder / "recording.json").read_text())
        (test,) = index["tests"]
        assert test["captures"] == [0]
        assert "capture" not in test
        window = index["captures"][0]["windows"][0]
        assert window["times"] == [1_000_000, 1_000_000 + ROUND_NS - 1000]

    def test_two_recordings_are_compared_window_by_window(self, tmp_path: Path) -> None:
        slower = served("two", kernel_ns=1_200_000)
        before = recorded(tmp_path / "a", *[[served("one"), served("two")]] * 3)
        after = recorded(tmp_path / "b", *[[served("one"), slower]] * 3)
        (found,) = diff(before, after).verdicts
        assert [(part.window, part.metric.key) for part in found.worse] == [
            ("two", "gpu.kernel_time.per_token")
        ]
        (same,) = diff(before, before, in_full=True).verdicts
        assert same.status == "ok"

    def test_side_by_side_shows_the_clients_rate_and_the_time_per_token(
        self, tmp_path: Path, command: Callable[..., Answer]
    ) -> None:
        folders = [
            recorded(tmp_path / name, [served(kernel_ns=ns)])
            for name, ns in (("a", 600_000), ("b", 1_200_000))
        ]
        document = document_of(command("compare", *folders, "--format", "json"))
        (subject,) = document["compared"]
        lines = {line["key"]: line["values"] for line in subject["metrics"]}
        assert lines["gpu.kernel_time.per_token"] == [9375, 18750]
        assert lines["tokens per second"] == [1999, 1999]
        assert lines["client.ttft_p50"] == [5.001e6, 5.001e6]
        assert "client.tokens_per_s" not in lines

    def test_stats_of_one_of_its_captures_have_its_windows(
        self, tmp_path: Path, command: Callable[..., Answer]
    ) -> None:
        folder = recorded(tmp_path / "rec", [served("one"), served("two")])
        document = document_of(command("stats", folder / "capture-2.sqlite.xz", "--format", "json"))
        (test,) = document["tests"]
        assert (test["nodeid"], test["window"], test["rounds"]) == (NODEID, "two", 3)
        assert test["metrics"]["client.requests"] == 8

    def test_stats_of_a_recording_with_one_capture_too(
        self, tmp_path: Path, command: Callable[..., Answer]
    ) -> None:
        folder = recorded(tmp_path / "rec", [served("one")])
        document = document_of(command("stats", folder, "--format", "json"))
        assert [test["window"] for test in document["tests"]] == ["one"]
        assert document["outside"]["tests"]["count"] == 0


class TestReplaying:
    def test_a_recording_is_judged_without_a_server(self, project: Project) -> None:
        project.write("""
            def test_serving(nsys_server):
                raise AssertionError("a replay runs nothing")
        """)
        same = [served("one"), served("two")]
        slower = [served("one"), served("two", kernel_ns=1_200_000)]
        for name, builders in (("same", same), ("slower", slower)):
            recorded(project.path / name, *[builders] * 3)
        project.run("--nsys-replay=same", "--nsys-update").assert_outcomes(passed=1)
        assert [*project.baseline("test_serving")["windows"]] == ["one", "two"]
        again, tests = project.results("--nsys-replay=same", "--nsys-baseline")
        again.assert_outcomes(passed=1)
        assert tests["test_serving"]["status"] == "ok"
        worse, tests = project.results("--nsys-replay=slower", "--nsys-baseline")
        worse.assert_outcomes(failed=1)
        headline = "*[[]two[]] gpu.kernel_time.per_token +100%, limit 5%: decode*"
        worse.stdout.fnmatch_lines([headline])
        assert tests["test_serving"]["status"] == "regressed"
