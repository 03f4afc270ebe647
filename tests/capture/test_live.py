"""Capturing a batch: workers one after another, their captures, and what cannot be trusted."""

from __future__ import annotations

import datetime
import platform
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_nsys.capture import export as export_module
from pytest_nsys.capture import live as live_module
from pytest_nsys.capture.export import export_report
from pytest_nsys.capture.nsys import DEFAULT_FLAGS, NsysTool
from pytest_nsys.capture.result import CaptureResult
from pytest_nsys.capture.run import Deadlines
from pytest_nsys.capture.workers import CaptureOptions
from pytest_nsys.errors import (
    CaptureError,
    CaptureMissing,
    DeadlineExceeded,
    DiagnosticError,
    ExportFailed,
    ImporterFailed,
    NoCudaEvents,
    NoGpu,
    NotACapture,
    NsysError,
    NsysLaunchFailed,
    WindowsMissing,
)
from pytest_nsys.windows.cut import cut_records
from tests.support.capture_bench import NO_GPU, Bench, Captured, nothing_left, old_standin, outcomes

DEATHS = """
    import os, signal
    import pytest

    @pytest.fixture(scope="module")
    def pid():
        return os.getpid()

    def test_first(pid):
        pass

    def test_exit():
        os._exit(3)

    def test_fails(pid):
        assert False

    def test_segfault():
        os.kill(os.getpid(), signal.SIGSEGV)

    def test_last(pid):
        pass
"""


def check_capture(captured: Captured) -> None:
    """What every good capture has."""
    result = captured.result
    assert [str(test.problem) for test in result.tests if test.problem] == []
    assert all(test.passed for test in result.tests)
    assert result.trace is not None
    assert result.trace.nsys.startswith(result.nsys)
    assert result.options == DEFAULT_FLAGS
    assert result.date == datetime.date.today().isoformat()
    assert result.versions["python"] == platform.python_version()
    assert set(result.seconds) == {"worker", "nsys", "export", "load"}
    cut = cut_records(result.trace, result.records)
    assert len(cut) == len(result.records)
    assert (cut.ends > cut.starts).all()


def test_a_capture_by_a_real_nsys(captured: Captured) -> None:
    check_capture(captured)
    assert outcomes(captured.result) == {"test_parts": True, "test_other": True}
    trace = captured.result.trace
    assert trace is not None
    assert not trace.has_cuda_activity
    assert trace.gpus == ()
    parts = [record for record in captured.result.records if record.name == "one"]
    assert [(record.round, record.units) for record in parts] == [
        (0, {"tokens": 4.0}),
        (1, {"tokens": 4.0}),
    ]
    cut = cut_records(trace, parts)
    assert ((cut.ends - cut.starts) > 20e6).all()


def test_a_capture_by_the_stand_in(simulated_capture: Captured) -> None:
    check_capture(simulated_capture)
    trace = simulated_capture.result.trace
    assert trace is not None
    assert [gpu.name for gpu in trace.gpus] == ["NVIDIA H200"]
    assert len(trace.kernels) == 3 * 6  # a warm-up and two rounds


def test_a_report_that_is_kept_is_private(captured: Captured) -> None:
    assert captured.kept.stat().st_mode & 0o777 == 0o700
    (report,) = captured.kept.iterdir()
    assert report.stat().st_mode & 0o777 == 0o600
    assert report.read_bytes() == captured.report.read_bytes()


def test_nothing_is_kept_unless_it_is_asked_for(simulated_bench: Bench) -> None:
    simulated_bench.write("def test_it(): pass")
    simulated_bench.capture("test_it")
    assert not list(simulated_bench.folder.rglob("*.nsys-rep"))


def ends(results: list[CaptureResult]) -> list[tuple[str, bool]]:
    """Each test and whether it passed, in the order of the results."""
    return [(name, passed) for result in results for name, passed in outcomes(result).items()]


def test_a_worker_that_dies_under_a_real_nsys(worker_bench: Bench) -> None:
    worker_bench.write(DEATHS)
    with nothing_left(worker_bench.folder):
        results = worker_bench.capture("test_first", "test_segfault", "test_last")
    assert ends(results) == [("test_segfault", False), ("test_first", True), ("test_last", True)]
    segfault, *good = [test for result in results for test in result.tests]
    assert segfault.lost.startswith("the worker was ended by SIGSEGV\n\nFatal Python error: Segm")
    assert [test.problem for test in good] == [None, None]
    assert [result.trace is not None for result in results] == [False, True]


def test_workers_that_die_under_the_stand_in(simulated_bench: Bench) -> None:
    """Tests in which the worker dies fail; all others get an end of their own, in order."""
    simulated_bench.write(DEATHS)
    tests = ("test_first", "test_exit", "test_fails", "test_segfault", "test_last")
    with nothing_left(simulated_bench.folder):
        results = simulated_bench.capture(*tests)
    # A worker that dies may take with it what it had recorded, so what passed is run again.
    assert ends(results) == [
        ("test_exit", False),
        ("test_fails", False),
        ("test_segfault", False),
        ("test_first", True),
        ("test_last", True),
    ]
    exit_, fails, segfault, *good = [test for result in results for test in result.tests]
    assert exit_.lost == "the worker ended suddenly with exit code 3"
    assert segfault.lost.startswith("the worker was ended by SIGSEGV\n\nFatal Python error: Segm")
    assert fails.lost == ""
    assert [test.problem for test in good] == [None, None]
    assert [result.trace is not None for result in results] == [False, False, True]


def test_a_worker_that_dies_between_tests_is_not_started_for_ever(simulated_bench: Bench) -> None:
    simulated_bench.write(
        "import os\ndef pytest_runtestloop(): os._exit(4)",
        "conftest.py",
    )
    simulated_bench.write("def test_a(): pass\ndef test_b(): pass")
    results = simulated_bench.capture("test_a", "test_b")
    lost = [(test.nodeid, test.lost) for result in results for test in result.tests]
    assert lost == [
        ("test_it.py::test_a", "the worker ended suddenly"),
        ("test_it.py::test_b", "the worker ended suddenly"),
    ]


def test_a_worker_that_dies_after_its_tests_gives_no_measurement(simulated_bench: Bench) -> None:
    simulated_bench.write("import os\ndef pytest_sessionfinish(): os._exit(5)", "conftest.py")
    simulated_bench.write("def test_it(): pass")
    (result,) = simulated_bench.capture("test_it")
    assert outcomes(result) == {"test_it": True}
    assert result.trace is None
    (test,) = result.tests
    assert isinstance(test.problem, CaptureError)
    assert "died after its tests" in str(test.problem)
    assert "fixtures of session scope" in test.problem.remedy


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("pass", "ended well (exit status 0)"),
        ("raise pytest.UsageError('no')", "ended (exit status 4)"),
    ],
)
def test_a_worker_that_ends_early_has_not_ended_well(
    simulated_bench: Bench, then: str, said: str
) -> None:
    conftest = f"""
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item):
            return True

        @pytest.hookimpl(wrapper=True)
        def pytest_runtestloop():
            result = yield
            {then}
            return result
    """
    simulated_bench.write(conftest, "conftest.py")
    simulated_bench.write("def test_it(): pass")
    (result,) = simulated_bench.capture("test_it")
    assert result.tests[0].lost.startswith(f"the worker {said} and ")


def test_what_the_worker_does_not_collect_is_said(simulated_bench: Bench) -> None:
    simulated_bench.write("def test_it(): pass")
    (result,) = simulated_bench.capture("test_it", "test_gone")
    assert [test.lost.partition("\n")[0] for test in result.tests] == [
        "",
        "the worker did not collect this test, the controller did",
    ]

    assert [test.uncollected for test in result.tests] == ["", "absent"]

    simulated_bench.write("import no_such_module\n")
    (result,) = simulated_bench.capture("test_it")
    assert "No module named 'no_such_module'" in result.tests[0].lost
    assert result.tests[0].uncollected == "broken"

    simulated_bench.write("import pytest; pytest.importorskip('no_such_module')\n")
    (result,) = simulated_bench.capture("test_it")
    assert "could not import 'no_such_module'" in result.tests[0].lost
    assert result.tests[0].uncollected == "skipped"


@pytest.mark.parametrize(
    ("body", "maxfail", "stopped"),
    [
        ("pytest.exit('enough')", 0, "enough"),
        ("assert False", 1, "stopping after 1 failures"),
        ("request.session.shouldstop = 'I say so'", 0, "I say so"),
    ],
)
def test_tests_that_are_not_reached_are_not_lost(
    simulated_bench: Bench, body: str, maxfail: int, stopped: str
) -> None:
    text = f"import pytest\ndef test_stops(request): {body}\ndef test_next(): pass\n"
    simulated_bench.write(text)
    results = simulated_bench.capture("test_stops", "test_next", maxfail=maxfail)
    tests = {test.nodeid: test for result in results for test in result.tests}
    assert tests["test_it.py::test_next"].stopped == stopped
    assert tests["test_it.py::test_next"].lost == ""


def test_an_internal_error_stops_with_its_traceback(simulated_bench: Bench) -> None:
    text = """
        def pytest_runtest_logfinish(nodeid):
            raise RuntimeError("broken hook")
    """
    simulated_bench.write(text, "conftest.py")
    simulated_bench.write("def test_a(): pass\ndef test_b(): pass")
    results = simulated_bench.capture("test_a", "test_b")
    tests = [test for result in results for test in result.tests]
    assert "broken hook" in tests[1].stopped


FAULTS: dict[str, tuple[type[NsysError], str]] = {
    "no_report": (CaptureMissing, "left no report"),
    "qdstrm_only": (ImporterFailed, "could not make a report"),
    "importer_error": (ImporterFailed, "Importer error status"),
    "export_fails": (ExportFailed, "exit code 1"),
    "export_truncated": (ExportFailed, "damaged or was cut off"),
    "no_nvtx": (WindowsMissing, "windows are missing"),
    "drop_last_window": (WindowsMissing, "windows are missing"),
    "no_gpu": (NoGpu, "saw no NVIDIA GPU"),
    "diagnostic_error": (DiagnosticError, "Error when processing events"),
    "no_cuda_events": (NoCudaEvents, "no CUDA events"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_capture_that_cannot_be_trusted_is_not_used(
    tmp_path: Path, clean_environment: None, fault: str
) -> None:
    bench = Bench(tmp_path / "project", old_standin(tmp_path / "bin", fault), simulated=True)
    bench.write("import simgpu\ndef test_it(): simgpu.launch('k', 5)\ndef test_bad(): assert 0\n")
    needed = CaptureOptions()
    (result,) = bench.capture("test_it", "test_bad", options=needed, allow_empty=False)
    kind, text = FAULTS[fault]
    good, bad = result.tests
    assert isinstance(good.problem, kind)
    assert text in str(good.problem)
    assert good.problem.remedy
    assert good.passed
    assert bad.problem is None
    assert result.trace is None
    assert result.export is None


def test_a_worker_without_a_test_that_passed_is_not_analysed(
    tmp_path: Path, clean_environment: None
) -> None:
    bench = Bench(tmp_path / "project", old_standin(tmp_path / "bin", "no_report"), simulated=True)
    bench.write("def test_bad(): assert False")
    (result,) = bench.capture("test_bad")
    assert result.tests[0].problem is None
    assert result.trace is None


def test_a_gpu_is_not_needed_where_the_device_is_named(
    tmp_path: Path, clean_environment: None
) -> None:
    bench = Bench(tmp_path / "project", old_standin(tmp_path / "bin", "no_gpu"), simulated=True)
    bench.write("def test_it(): pass")
    (result,) = bench.capture("test_it", allow_empty=False)
    assert result.tests[0].problem is None


def test_an_export_that_hangs_is_ended(tmp_path: Path, clean_environment: None) -> None:
    bench = Bench(
        tmp_path / "project", old_standin(tmp_path / "bin", "export_hangs"), simulated=True
    )
    bench.write("def test_it(): pass")
    with nothing_left(tmp_path):
        (result,) = bench.capture(
            "test_it", options=replace(NO_GPU, deadlines=Deadlines(export=0.3))
        )
    problem = result.tests[0].problem
    assert isinstance(problem, DeadlineExceeded)
    assert problem.what == "nsys export did not end within 0.3 s"
    assert str(bench.nsys.path) in problem.evidence
    assert problem.remedy


class TestTryingAgain:
    """nsys now and then ends without starting its program."""

    @pytest.fixture
    def failing(self, simulated_bench: Bench, tmp_path: Path) -> Bench:
        """A bench whose nsys fails as often as there are files in ``failures``."""
        folder = tmp_path / "failures"
        folder.mkdir()
        script = tmp_path / "failing-nsys"
        script.write_text(
            "#!/bin/sh\n"
            f'if [ "$1" = profile ]; then for file in {folder}/*; do\n'
            '    if [ -e "$file" ]; then rm "$file"; echo "Agent lost"; exit 1; fi\n'
            f'done; fi\nexec {simulated_bench.nsys.path} "$@"\n'
        )
        script.chmod(0o755)
        simulated_bench.nsys = NsysTool(script, simulated_bench.nsys.version)
        simulated_bench.write("def test_it(): pass")
        return simulated_bench

    @pytest.mark.parametrize("failures", [1, 2])
    def test_helps(self, failing: Bench, tmp_path: Path, failures: int) -> None:
        for number in range(failures):
            (tmp_path / "failures" / str(number)).touch()
        (result,) = failing.capture("test_it")
        assert outcomes(result) == {"test_it": True}
        assert result.tests[0].problem is None

    def test_has_an_end(self, failing: Bench, tmp_path: Path) -> None:
        for number in range(3):
            (tmp_path / "failures" / str(number)).touch()
        with pytest.raises(NsysLaunchFailed) as caught:
            failing.capture("test_it")
        assert caught.value.evidence.splitlines()[0] == "Agent lost"
        assert "nsys profile true" in caught.value.remedy


def test_a_test_replaces_arguments_of_the_run(simulated_bench: Bench) -> None:
    simulated_bench.write("def test_it(): pass")
    options = replace(NO_GPU, nsys_args=("--cuda-graph-trace=graph", "-t", "cuda"))
    given = ("--trace=cuda,nvtx",)
    (result,) = simulated_bench.capture("test_it", options=options, nsys_args=given)
    assert result.tests[0].problem is None
    assert result.options == (
        "--sample=none",
        "--cpuctxsw=none",
        "--cuda-memory-usage=true",
        "--cuda-graph-trace=graph",
        "--trace=cuda,nvtx",
    )


def test_a_missing_report_is_not_exported(tmp_path: Path, each_nsys: NsysTool) -> None:
    with pytest.raises(NotACapture, match="there is no report"):
        export_report(each_nsys, tmp_path / "none.nsys-rep", tmp_path)


def test_what_is_no_report_is_not_exported(tmp_path: Path, each_nsys: NsysTool) -> None:
    report = tmp_path / "broken.nsys-rep"
    report.write_bytes(b"not a report" * 100)
    with pytest.raises(ExportFailed) as caught:
        export_report(each_nsys, report, tmp_path)
    assert "nsys at least as new" in caught.value.remedy


def test_the_export_is_parquet_where_both_can(
    captured: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nsys = captured.bench.nsys
    assert captured.result.export is not None
    assert captured.result.export.is_dir() is nsys.can_select_tables
    monkeypatch.setattr(export_module.importlib.util, "find_spec", lambda name: None)
    assert export_report(nsys, captured.report, tmp_path).name == "export.sqlite"


def test_the_names_of_frameworks_are_those_of_their_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_module, "_FRAMEWORKS", ("pytest", "no-such-framework"))
    assert live_module.installed_versions() == {
        "python": platform.python_version(),
        "pytest": pytest.__version__,
    }


def test_results_know_their_export_while_it_is_there(simulated_bench: Bench) -> None:
    simulated_bench.write("def test_it(): pass")
    result: CaptureResult
    (result,) = simulated_bench.capture("test_it")
    assert result.export is not None
    assert not result.export.exists()
