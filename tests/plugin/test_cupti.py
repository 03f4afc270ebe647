"""Whole runs with CUPTI in the place of nsys: the same process, the same verdicts."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_nsys.capture import nsys
from pytest_nsys.capture.cupti import machine, session
from pytest_nsys.errors import CuptiNotFound
from pytest_nsys.trace.tables import TraceGpu
from pytest_nsys.verdict.captures import comparable
from pytest_nsys.worker.coverage import Paused
from tests.simgpu.cupti import StandIn
from tests.support.harness import Project, like_a_new_process

H200 = TraceGpu(0, "NVIDIA H200", 132, 4_814_304_000_000, (9, 0))

NSYS = "2023.3.1"
"""The stand-in's version."""

TEST = """
    import os, pytest, simgpu

    @pytest.fixture(scope="module")
    def weights():
        address = simgpu.malloc(1 << 20)
        yield address
        simgpu.free(address)

    @pytest.mark.nsys(rounds=3)
    def test_decode(nsys, weights):
        kept = simgpu.malloc(4096)
        with nsys.range("prefill"):
            simgpu.copy("h2d", 4096, pageable=True)
            simgpu.launch("gemm", {us})
        simgpu.graph_launch([("first", 5), ("second", 6)])
        simgpu.memset(64)
        simgpu.synchronize()
        simgpu.free(kept)

    def test_plain():
        simgpu.launch("plain", 5)
"""


class Cupti:
    """A simulated project whose runs find a stand-in libcupti."""

    def __init__(self, project: Project, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.project = project
        self._log = folder / "simgpu.jsonl"
        self._patch = patch
        self.standin = StandIn(self._log)
        patch.setattr(session, "find_library", lambda: "libcupti.so.13")
        patch.setattr(session, "load", lambda _: self.standin)
        patch.setattr(session, "synchronize", self.standin.wait)
        patch.setattr(session, "driver_version", lambda: 13000)
        patch.setattr(machine, "gpus", lambda: (H200,))
        patch.setattr(machine, "driver_text", lambda: "580.95.05")

    def run(
        self, *options: str, capture: str = "cupti", plugins: Sequence[object] = ()
    ) -> pytest.RunResult:
        """Run pytest here, with the simulated GPU switched on."""
        self._log.write_text("")
        self.standin.rewind()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SIMGPU_LOG", str(self._log))
            given = [f"--nsys-capture={capture}"] if capture else []
            if not plugins:
                return self.project.run(*given, *options)
            with like_a_new_process(self.project.path):
                run = self.project.pytester.runpytest_inprocess
                return run(*given, *options, plugins=plugins)


@pytest.fixture
def cupti(simulated: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cupti:
    return Cupti(simulated, tmp_path, monkeypatch)


def measured(result: pytest.RunResult, path: Path) -> dict[str, dict[str, float]]:
    """The metrics of the windows of the first test in the JSON of a run."""
    document = json.loads(path.read_text())
    windows = document["tests"][0]["windows"]
    return {
        window["name"]: {one["key"]: one["current"] for one in window["metrics"]}
        for window in windows
    }


def test_verdicts_are_those_of_nsys_and_a_baseline_knows_its_capture(cupti: Cupti) -> None:
    cupti.project.write(TEST.format(us=400))
    found = {}
    for capture in ("nsys", "cupti"):
        path = cupti.project.path / f"{capture}.json"
        result = cupti.run("--nsys", f"--nsys-json={path}", capture=capture)
        result.assert_outcomes(passed=2)
        found[capture] = measured(result, path)
    assert found["nsys"].keys() == found["cupti"].keys() == {"test", "prefill"}
    for name, ours in found["cupti"].items():
        theirs = found["nsys"][name]
        assert ours.keys() == theirs.keys()
        same = {key: value for key, value in ours.items() if value == theirs[key]}
        assert {key for key in ours if comparable(key)} <= same.keys()

    recorded = cupti.run("--nsys-update")
    recorded.assert_outcomes(passed=2)
    recorded.stdout.fnmatch_lines(["note: CUPTI 13.0 records in this process: child processes*"])
    (baseline,) = (cupti.project.path / "baselines").rglob("test_decode.json")
    environment = json.loads(baseline.read_text())["environment"]
    assert (environment["nsys"], environment["versions"]["cupti"]) == ("", "13.0")
    assert (environment["driver"], environment["cuda"]) == ("580.95.05", "13.0")
    gate = cupti.run("--nsys-baseline", "--nsys-html=page.html")
    gate.assert_outcomes(passed=2)
    page = (cupti.project.path / "page.html").read_text()
    assert "not used" in page
    assert "cupti 13.0" in page
    assert "was recorded by" not in gate.stdout.str()

    cupti.project.write(TEST.format(us=500))
    slower = cupti.run("--nsys-baseline")
    slower.assert_outcomes(failed=1, passed=1)
    slower.stdout.fnmatch_lines(["gpu.kernel_time +24.3%, limit 3% or 5 us: gemm +100 us (1x)*"])
    # Across captures: the same verdict, and both the test and the summary say so.
    other = cupti.project.run("--nsys-baseline", "--nsys-capture=nsys")
    other.assert_outcomes(failed=1, passed=1)
    said = f"the baseline was recorded by cupti 13.0, this run by nsys {NSYS}: "
    text = " ".join(other.stdout.str().split())
    assert f"note: {said}counts, bytes, memory and the device's times are compared" in text
    assert f"note: {said}times of the host are not compared" in text
    # An update is one of the capture, too.
    cupti.project.run("--nsys-update", "--nsys-capture=nsys").assert_outcomes(passed=2)
    assert json.loads(baseline.read_text())["environment"]["nsys"] == NSYS


def test_what_depends_on_the_capture_is_not_compared_across_them(cupti: Cupti) -> None:
    cupti.project.write(TEST.format(us=400))
    cupti.project.run("--nsys-update", "--nsys-capture=nsys").assert_outcomes(passed=2)
    gated = ["--nsys-tolerance=api.count=0", "--nsys-tolerance=wall.time=50%"]
    cupti.run("--nsys-baseline", "-k=decode").assert_outcomes(passed=1)
    refused = cupti.run("--nsys-baseline", "-k=decode", *gated)
    refused.assert_outcomes(failed=1)
    text = " ".join(refused.stdout.str().split())
    for key in ("api.count", "wall.time"):
        assert f"{key} depends on what records: the baseline was recorded by nsys" in text
    cupti.run("--nsys", "-k=decode", *gated).assert_outcomes(passed=1)


def test_a_recording_is_judged_as_the_run_was(cupti: Cupti) -> None:
    project = cupti.project
    project.write(TEST.format(us=400))
    live, replayed = project.path / "live.json", project.path / "replayed.json"
    first = cupti.run("--nsys", "--nsys-record=recording", f"--nsys-json={live}")
    second = project.run("--nsys-replay=recording", f"--nsys-json={replayed}")
    second.assert_outcomes(passed=1, deselected=1)
    assert measured(first, live) == measured(second, replayed)
    index = json.loads((project.path / "recording/recording.json").read_text())
    assert (index["nsys"], index["versions"]["cupti"]) == ("", "13.0")
    assert project.run("--nsys-update", "--nsys-replay=recording").ret == 0
    cupti.run("--nsys-baseline").assert_outcomes(passed=2)


def test_auto_takes_nsys_where_there_is_one_and_else_says_what_records(
    cupti: Cupti, monkeypatch: pytest.MonkeyPatch
) -> None:
    cupti.project.write(TEST.format(us=400))
    with_nsys = cupti.run("--nsys", capture="")
    with_nsys.assert_outcomes(passed=2)
    assert "CUPTI" not in with_nsys.stdout.str()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nsys, "INSTALL_PATTERNS", ())
        patch.setattr(nsys.find_nsys, "__defaults__", (None, ()))
        patch.setenv("PATH", "")
        without = cupti.run("--nsys", capture="")
        without.assert_outcomes(passed=2)
        text = " ".join(without.stdout.str().split())
        assert "note: nsys (NVIDIA Nsight Systems) was not found: CUPTI 13.0 records" in text
        # What needs nsys is not taken from a run in silence.
        for options, why in (
            (["--nsys-capture=nsys"], "nsys (NVIDIA Nsight Systems) was not found"),
            (["--nsys-args=--trace=osrt"], "CUPTI cannot take its place: nsys_args"),
            (["--nsys-executable=no-such"], "there is no program 'no-such'"),
            ([f"--nsys-executable={sys.executable}"], "does not answer"),
        ):
            refused = cupti.run("--nsys", *options, capture="")
            assert refused.ret == pytest.ExitCode.USAGE_ERROR
            assert why in refused.stderr.str()
        monkeypatch.setattr(session, "find_library", _not_found)
        neither = cupti.run("--nsys", capture="")
        assert neither.ret == pytest.ExitCode.USAGE_ERROR
        assert "CUPTI cannot take its place: libcupti was not found" in neither.stderr.str()
        assert cupti.run("--nsys", "-k=plain", capture="").ret == 0


def _not_found() -> str:
    raise CuptiNotFound("libcupti was not found", remedy="pip install nvidia-cuda-cupti")


def test_without_libcupti_a_run_says_so_before_any_test(
    cupti: Cupti, monkeypatch: pytest.MonkeyPatch
) -> None:
    cupti.project.write(TEST.format(us=400))
    monkeypatch.setattr(session, "find_library", _not_found)
    refused = cupti.run("--nsys")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert "What to do: pip install nvidia-cuda-cupti" in refused.stderr.str()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--nsys-args=--trace=osrt"], "nsys_args needs processes below nsys"),
        (["--nsys-against=HEAD", "--nsys-keep=kept"], "--nsys-against, --nsys-keep need"),
        (["-o", "nsys_adopt=benchmark"], "nsys_adopt needs"),
    ],
)
def test_what_needs_workers_is_refused_beside_cupti(
    cupti: Cupti, options: list[str], named: str
) -> None:
    cupti.project.write(TEST.format(us=400))
    refused = cupti.run("--nsys", *options)
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert named in refused.stderr.str()


def test_a_test_that_asks_for_what_nsys_alone_has_is_not_measured(cupti: Cupti) -> None:
    cupti.project.write(
        """
        import pytest, simgpu

        @pytest.mark.nsys(isolate=True, nsys_args="--trace=osrt")
        def test_alone():
            simgpu.launch("gemm", 5)

        @pytest.mark.nsys(budget={"range[mine].gpu.kernel_time": "1 s"})
        def test_range():
            simgpu.launch("gemm", 5)

        def test_server(nsys_run):
            raise AssertionError("it is not run")

        @pytest.mark.nsys(processes=2)
        def test_fine():
            simgpu.launch("gemm", 5)
        """
    )
    result = cupti.run("--nsys")
    result.assert_outcomes(failed=3, passed=1)
    text = " ".join(result.stdout.str().split())
    assert "isolate=True, nsys_args: CUPTI in this process does not have that" in text
    assert "range[mine].gpu.kernel_time: CUPTI in this process" in text
    assert "servers and commands are recorded by nsys alone" in text
    assert "What to do: measure it with nsys_capture = nsys" in text
    assert "1 test would be measured by several processes" in text


def test_outcomes_are_those_of_tests_that_run_in_workers(cupti: Cupti) -> None:
    cupti.project.write(
        """
        import unittest
        import pytest, simgpu

        calls = []

        @pytest.fixture(autouse=True)
        def launched():
            simgpu.launch("of the fixture", 5)

        @pytest.mark.nsys
        def test_fails_later():
            calls.append(1)
            simgpu.launch("gemm", 5)
            assert len(calls) < 4

        @pytest.mark.nsys
        def test_skips():
            pytest.skip("not here")

        @pytest.mark.nsys
        @pytest.mark.xfail(reason="known")
        def test_xfails():
            raise ValueError

        @pytest.mark.nsys
        @pytest.mark.parametrize("us", [5, 6])
        def test_twice(nsys, us):
            assert nsys(lambda: simgpu.launch("gemm", us) or us) == us

        @pytest.mark.nsys
        def test_empty():
            pass

        @pytest.mark.nsys(allow_empty=True)
        def test_may_be_empty(tmp_path, capsys):
            print("hello")
            assert capsys.readouterr().out == "hello\\n"

        @pytest.mark.nsys
        def test_in_parts(subtests):
            for number in range(2):
                with subtests.test(number=number):
                    simgpu.launch("gemm", 5)
                    assert number < 1

        class TestCase(unittest.TestCase):
            @pytest.mark.nsys
            def test_old(self):
                simgpu.launch("gemm", 5)
        """
    )
    result = cupti.run("--nsys", "-rA")
    outcomes = result.parseoutcomes()
    assert outcomes["skipped"] == 1
    assert outcomes["xfailed"] == 1
    assert outcomes["passed"] >= 4
    text = result.stdout.str()
    assert "This was call 4 of 6 of the body; the calls before it passed." in text
    assert "test_empty - no CUDA activity was recorded" in text
    assert text.count("_ test_in_parts (number=1) _") <= 1


def test_a_profiler_in_a_test_makes_it_unmeasured_and_no_other(cupti: Cupti) -> None:
    cupti.project.write(
        """
        import pytest, simgpu

        @pytest.fixture
        def profiler(request):
            return request.config.take_away

        @pytest.mark.nsys
        def test_profiled(profiler):
            profiler()
            simgpu.launch("gemm", 5)

        @pytest.mark.nsys
        def test_after():
            kept = simgpu.malloc(4096)
            simgpu.launch("gemm", 5)
            simgpu.free(kept)
        """
    )

    class Takes:
        def pytest_configure(self, config: pytest.Config) -> None:
            config.take_away = lambda: setattr(  # type: ignore[attr-defined]
                cupti.standin, "callbacks", None
            )

    result = cupti.run("--nsys", "-v", plugins=[Takes()])
    result.assert_outcomes(failed=1, passed=1)
    text = " ".join(result.stdout.str().split())
    assert "another profiler took CUPTI's records while the test ran" in text
    assert "no value of mem.*: another profiler had CUPTI's records for a while" in text


def test_lost_records_and_what_the_driver_refuses_fail_the_test_with_the_reason(
    cupti: Cupti,
) -> None:
    cupti.project.write(TEST.format(us=400))
    cupti.standin.to_drop = 7
    lost = cupti.run("--nsys")
    lost.assert_outcomes(failed=1, passed=1)
    lost.stdout.fnmatch_lines(["*CUPTI has lost 7 records*"])
    cupti.standin.failing = {"cuptiActivityEnable": 35}
    forbidden = cupti.run("--nsys")
    assert forbidden.ret == pytest.ExitCode.USAGE_ERROR
    assert "NVreg_RestrictProfilingToAdminUsers=0" in forbidden.stderr.str()
    assert "What to do: measure less in a round" in lost.stdout.str()
    cupti.standin.failing = {"cuptiActivityEnableRuntimeApi": 43}
    split = cupti.run("--nsys")
    split.assert_outcomes(failed=1, passed=1)
    split.stdout.fnmatch_lines(["*CUPTI does not record on MIG instances*"])


def test_an_exit_in_a_test_ends_the_run(cupti: Cupti) -> None:
    cupti.project.write(
        """
        import pytest, simgpu

        @pytest.mark.nsys
        def test_first():
            simgpu.launch("gemm", 5)

        @pytest.mark.nsys
        def test_leaves():
            pytest.exit("enough", returncode=7)

        @pytest.mark.nsys
        def test_never():
            raise AssertionError
        """
    )
    result = cupti.run("--nsys", "--nsys-json=out.json")
    assert result.ret == 7
    result.stdout.fnmatch_lines(["*Exit: enough*"])
    assert not cupti.standin.enabled
    only = cupti.run("--nsys", "--collect-only", "-q")
    assert only.ret == 0
    assert not cupti.standin.enabled


def test_a_test_that_uses_no_gpu_in_this_process_is_told(
    cupti: Cupti, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "synchronize", lambda: 0)
    cupti.project.write(
        """
        import pytest

        @pytest.mark.nsys
        def test_it():
            pass
        """
    )
    result = cupti.run("--nsys", "--nsys-html=page.html")
    result.assert_outcomes(failed=1)
    text = " ".join(result.stdout.str().split())
    assert "CUPTI has recorded no CUDA events at all" in text
    assert "child processes are recorded by nsys alone" in text


def test_no_gpu_is_told(cupti: Cupti, monkeypatch: pytest.MonkeyPatch) -> None:
    cupti.project.write(TEST.format(us=400))
    monkeypatch.setattr(machine, "gpus", tuple)
    result = cupti.run("--nsys", "-k=decode")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*CUDA shows this process no NVIDIA GPU*"])
    cupti.run("--nsys", "-k=decode", "-o", "nsys_device=sim").assert_outcomes(passed=1)


def test_coverage_is_that_of_the_calls_outside_the_rounds(cupti: Cupti) -> None:
    events: list[str] = []

    class Measuring:
        def start(self) -> None:
            events.append("start")

        def stop(self) -> None:
            events.append("stop")

    paused = Paused(Measuring())
    paused.start()
    paused.stop()
    paused.stop()
    paused.phase("test_it", "teardown")
    assert events == ["stop", "start"]
