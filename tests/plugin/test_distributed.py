"""Measured tests under ``-n``: in workers of pytest-xdist, each below an nsys of its own."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from pytest_nsys.catalogue import lookup
from pytest_nsys.distribution import capture
from pytest_nsys.gpu.lock import gpu_locks
from tests.support.fake_nvml import FakeGpu, FakeNvml
from tests.support.harness import Project
from tests.support.seen import Story, samples

GPUS = "0,1,2,3"
WHERE = "tell(f\"{os.environ['PYTEST_XDIST_WORKER']} {os.environ.get('CUDA_VISIBLE_DEVICES')}\")"


@pytest.fixture(autouse=True)
def with_xdist(few_plugins: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-xdist is loaded, on a machine with four GPUs."""
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{os.environ['PYTEST_ADDOPTS']} -p xdist")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", GPUS)


def exact(tests: dict[str, Any]) -> dict[str, Any]:
    """Every exact sample of every window of every test."""
    return {
        nodeid: {
            window["name"]: {
                metric["key"]: metric["samples"]
                for metric in window["metrics"]
                if lookup(metric["key"]).kind == "exact"
            }
            for window in test["windows"]
        }
        for nodeid, test in tests.items()
    }


def told(story: Story) -> dict[str, set[str]]:
    """By the names of workers, the GPUs that they were shown."""
    found: dict[str, set[str]] = {}
    for line in story.of("worker"):
        worker, gpus = line.split()
        found.setdefault(worker, set()).add(gpus)
    return found


THREE = f"""
    import os, pytest, simgpu
    from story import tell

    @pytest.mark.nsys(rounds=1, warmup=0)
    @pytest.mark.parametrize("n", range(3))
    def test_it(n):
        {WHERE}
        simgpu.launch("gemm", 10)
"""

MANY = f"""
    import os, pytest, simgpu
    from story import tell

    @pytest.fixture(scope="module")
    def weights():
        simgpu.copy("h2d", 1000)
        yield

    def test_plain(worker_id):
        assert "SIMGPU_LOG" not in os.environ

    @pytest.mark.nsys(rounds=2)
    @pytest.mark.parametrize("n", range(1, 6))
    def test_many(n, weights, nsys, worker_id):
        {WHERE}
        assert worker_id == os.environ["PYTEST_XDIST_WORKER"]
        nsys.units(tokens=n)
        with nsys.range("part"):
            for _ in range(n):
                simgpu.launch("gemm", 10)
        simgpu.copy("d2h", 100 * n)
        simgpu.synchronize()

    @pytest.mark.nsys(rounds=3)
    class TestOther:
        def test_other(self, nsys):
            {WHERE}
            simgpu.launch("other", 5)
"""


@pytest.mark.usefixtures("own_process")  # xdist has its workers import what it could itself
def test_results_do_not_depend_on_how_many_workers_share_the_tests(
    simulated: Project, story: Story
) -> None:
    simulated.write(MANY)
    found, files = {}, {}
    for workers in (0, 1, 4):
        folder = simulated.path / f"baselines-{workers}"
        options = ("-n", str(workers), "--nsys-update", "--nsys-baseline-dir", str(folder))
        result, tests = simulated.results(*options)
        result.assert_outcomes(passed=7)
        found[workers] = exact(tests)
        files[workers] = sorted(str(p.relative_to(folder)) for p in folder.rglob("*.json"))
        shown = told(story)
        if workers:
            assert shown == {f"gw{number}": {str(number)} for number in range(workers)}
            gpus = ", ".join(f"gw{number} (GPU {number})" for number in range(workers))
            line = f"nsys: {workers} worker{'s' * (workers > 1)}: {gpus}"
            assert line in result.outlines
        else:
            assert shown == {"gw0": {GPUS}}
    assert len(found[0]) == len(files[0]) == 6
    assert found[0]["test_many[3]"]["part"]["gpu.kernel_count"] == [[3.0, 3.0]]
    for workers in (1, 4):
        assert found[workers] == found[0]
        assert files[workers] == files[0]


SCHEDULED = """
    import os, pytest, simgpu
    from story import tell

    pytestmark = pytest.mark.nsys(rounds=1, warmup=0)

    def work(name):
        tell(f"{os.environ['PYTEST_XDIST_WORKER']} {name}")
        simgpu.launch("gemm", 10)

    class TestOne:
        @pytest.mark.xdist_group("a")
        def test_a(self):
            work("one.a")
        @pytest.mark.xdist_group("b")
        def test_b(self):
            work("one.b")

    class TestTwo:
        @pytest.mark.xdist_group("a")
        def test_a(self):
            work("two.a")
        @pytest.mark.xdist_group("b")
        def test_b(self):
            work("two.b")
"""
ALL = {"one.a", "one.b", "two.a", "two.b"}


@pytest.mark.parametrize(
    ("dist", "together"),
    [
        ("loadscope", [{"one.a", "one.b"}, {"two.a", "two.b"}]),
        ("loadgroup", [{"one.a", "two.a"}, {"one.b", "two.b"}]),
        ("loadfile", [ALL]),
        ("worksteal", None),
        ("each", [ALL, ALL]),
    ],
)
def test_the_scheduler_that_was_asked_for_shares_the_tests(
    simulated: Project, story: Story, dist: str, together: list[set[str]] | None
) -> None:
    simulated.write(SCHEDULED)
    result, tests = simulated.results("-n", "2", f"--dist={dist}", "--nsys")
    result.assert_outcomes(passed=4)
    ran: dict[str, list[str]] = {}
    for line in story.of("worker"):
        worker, name = line.split()
        ran.setdefault(worker, []).append(name)
    shares = [{*names} for _, names in sorted(ran.items())]
    if together is not None:
        assert all(share in shares for share in together)
        assert len(shares) == len(together)
    assert sorted(name for names in ran.values() for name in names) == sorted(
        [*ALL] * (2 if dist == "each" else 1)
    )
    processes = 2 if dist == "each" else 1
    assert all(len(samples(test, "gpu.kernel_count")) == processes for test in tests.values())


PLAIN_FAILS = """
    import pytest, simgpu

    def test_plain():
        assert False

    @pytest.mark.nsys(rounds=1, warmup=0)
    @pytest.mark.parametrize("n", range(2))
    def test_it(n):
        simgpu.launch("gemm", 10)
"""


@pytest.mark.usefixtures("own_process")
def test_what_is_to_be_measured_is_though_a_plain_test_failed(simulated: Project) -> None:
    simulated.write(PLAIN_FAILS)
    result, tests = simulated.results("-n", "2", "--nsys")
    result.assert_outcomes(passed=2, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert sorted(tests) == ["test_it[0]", "test_it[1]"]
    result.stdout.no_fnmatch_line("*during collection*")
    stopped = simulated.run("-n", "1", "--nsys", "-x")
    stopped.assert_outcomes(failed=1)
    assert stopped.ret == pytest.ExitCode.INTERRUPTED


UNEQUAL = """
    import os, pytest, simgpu

    @pytest.mark.nsys(rounds=1, warmup=0)
    @pytest.mark.parametrize("n", range(2 if os.environ.get("PYTEST_XDIST_WORKER") == "gw1" else 4))
    def test_it(n):
        simgpu.launch("gemm", 10)
"""


def test_workers_that_collect_different_tests_are_named(simulated: Project) -> None:
    simulated.write(UNEQUAL)
    result = simulated.run("-n", "2", "--nsys")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["failed"] > 1
    result.stdout.fnmatch_lines(
        [
            "the workers did not collect the same tests",
            "  gw? alone: test_it.py::test_it?2?",
            "  gw? alone: test_it.py::test_it?3?",
            "What to do: have every process find the same tests, with the same ids: *",
        ]
    )


def test_a_spec_that_is_none_is_refused(simulated: Project) -> None:
    simulated.write(PLAIN_FAILS)
    for spec, why in (
        ("bogus", "it names neither popen nor a machine"),
        ("popen//popen", "duplicate key: 'popen' in 'popen//popen'"),
        ("_a=1", "'_a' not a valid XSpec key"),
    ):
        refused = simulated.run("--dist=load", f"--tx={spec}", "--nsys")
        assert refused.ret == pytest.ExitCode.USAGE_ERROR
        refused.stderr.fnmatch_lines([f"ERROR: --tx={spec} is no spec of a worker", f"  {why}"])


DIES_LAST = """
    import os

    def pytest_sessionfinish():
        if "PYTEST_XDIST_WORKER" in os.environ:
            os._exit(5)
"""


def test_workers_that_die_when_their_session_ends_are_not_started_for_ever(
    simulated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated.write(PLAIN_FAILS.replace("test_plain", "no_test"))
    simulated.write(DIES_LAST, "conftest.py")
    result = simulated.run("-n", "2", "--nsys")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["the worker died after its tests, before the capture *"])

    ended = capture._Ran({}, {}, None)
    monkeypatch.setattr(capture.DistributedCapture, "_distribute", lambda *_: ended)
    result = simulated.run("-n", "2", "--nsys")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["the workers ended, and had run none of the tests"])


CRASHES = """
    import os, pytest, signal, simgpu, time

    @pytest.mark.nsys(rounds=2)
    @pytest.mark.parametrize("n", range(6))
    def test_it(n):
        simgpu.launch("gemm", 10)
        if n == 2:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_that_dies_loses_the_test_that_it_ran_and_no_other(simulated: Project) -> None:
    simulated.write(CRASHES)
    result, tests = simulated.results("-n", "2", "--nsys")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*test_it?2? - the worker was ended by SIGKILL"])
    assert sorted(tests) == [f"test_it[{n}]" for n in (0, 1, 3, 4, 5)]
    assert all(samples(test, "gpu.kernel_count") == [1.0, 1.0] for test in tests.values())


FAILS = """
    import pytest, simgpu, time

    @pytest.mark.nsys(rounds=1, warmup=0)
    @pytest.mark.parametrize("n", range(12))
    def test_it(n):
        simgpu.launch("gemm", 10)
        time.sleep(0.1)
        assert n != 0
"""


def test_a_run_that_is_to_stop_at_its_first_failure_stops_all_workers(simulated: Project) -> None:
    simulated.write(FAILS)
    result = simulated.run("-n", "2", "--nsys", "-x")
    outcomes = result.parseoutcomes()
    assert result.ret == pytest.ExitCode.INTERRUPTED or outcomes["failed"] == 1
    assert outcomes.get("passed", 0) < 11
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])


def test_workers_are_as_many_as_there_are_gpus_for_or_fewer(
    simulated: Project, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    simulated.write(
        f"""{THREE}
    @pytest.mark.nsys(rounds=1, warmup=0, gpus=2)
    def test_two():
        {WHERE}
        simgpu.launch("gemm", 10)
        """
    )
    refused = simulated.run("-n", "3", "--nsys")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(
        [
            "ERROR: 3 workers are to measure, and 2 GPUs are visible",
            "  visible: 3, 1",
            "What to do: give -n 2 or -n auto; nsys_share_gpu = true has workers share GPUs*",
        ]
    )
    simulated.run("-n", "auto", "--nsys").assert_outcomes(passed=4)
    assert told(story) == {"gw0": {"3", "3,1"}, "gw1": {"1"}}
    shared = ("-n", "3", "--nsys", "-o", "nsys_share_gpu=true", "-k", "not two")
    simulated.run(*shared).assert_outcomes(passed=3)
    assert told(story) == {"gw0": {"3"}, "gw1": {"1"}, "gw2": {"3"}}


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_a_test_that_needs_more_gpus_than_there_are_fails_and_no_other(
    simulated: Project, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    simulated.write(
        """
        import pytest, simgpu

        @pytest.mark.nsys(gpus=2)
        def test_two():
            simgpu.launch("gemm", 10)

        @pytest.mark.nsys
        def test_one():
            simgpu.launch("gemm", 10)
        """
    )
    result = simulated.run(*workers, "--nsys")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["the test asks for 2 GPUs, and 1 GPU is visible"])


SLOWER = """
    import os, pathlib, pytest, simgpu

    us = int(pathlib.Path(__file__).with_name("us").read_text())

    @pytest.mark.nsys(rounds=5)
    @pytest.mark.parametrize("n", range(3))
    def test_it(n):
        simgpu.launch("gemm", 1000 + us * (n == 1))
"""


def test_suspects_are_confirmed_and_recordings_replayed_as_without_it(simulated: Project) -> None:
    processes = ("-o", "nsys_confirm=1", "--nsys-processes=2")
    simulated.write(SLOWER)
    simulated.write("0", "us")
    simulated.run("-n", "2", "--nsys-update", *processes).assert_outcomes(passed=3)
    simulated.write("500", "us")
    folder, history = simulated.path / "recording", simulated.path / "history"
    kept = ("--nsys-record", str(folder), "--nsys-history", str(history))
    result, tests = simulated.results("-n", "2", "--nsys-baseline", *processes, *kept)
    result.assert_outcomes(passed=2, failed=1)
    assert [len(test["windows"][0]["metrics"][0]["samples"]) for test in tests.values()] == [
        *(2, 3, 2)
    ]
    again = "nsys: measuring 1 test again that may have regressed, process 3 of at most 3"
    assert again in result.outlines
    lines = [line for file in history.rglob("*.jsonl") for line in file.read_text().splitlines()]
    assert len(lines) == 3
    replay, replayed = simulated.results("--nsys-baseline", "--nsys-replay", str(folder))
    replay.assert_outcomes(passed=2, failed=1)
    assert exact(replayed) == exact(tests)


def test_runs_on_other_gpus_of_the_machine_are_not_waited_for(
    simulated: Project, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = FakeNvml(*(FakeGpu(f"GPU-{number}") for number in range(4)))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setenv("PYTEST_NSYS_LOCK_DIR", str(simulated.path / "locks"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    simulated.write(THREE)
    options = ("-n", "2", "--nsys", "-o", "nsys_lock_timeout=1")
    folder = simulated.path / "locks"
    with gpu_locks(["GPU-2", "GPU-3"], deadline_s=0, waiting=print, folder=folder):
        simulated.run(*options).assert_outcomes(passed=3)
        assert told(story) == {"gw0": {"0"}, "gw1": {"1"}}
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,GPU-2")
        busy = simulated.run(*options)
    busy.assert_outcomes(failed=3)
    busy.stdout.fnmatch_lines(["GPU GPU-2 is in use by another run; waited 1 s for it"])
