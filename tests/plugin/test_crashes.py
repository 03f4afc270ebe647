"""Workers that die or hang: the test at fault fails with the reason, the others are measured."""

from __future__ import annotations

from pathlib import Path

from tests.support.harness import Project
from tests.support.seen import Story, samples

CRASHES = """
    import os, signal
    import pytest, simgpu
    from story import tell

    pytestmark = pytest.mark.nsys(rounds=2, warmup=1)

    @pytest.fixture(scope="module")
    def module():
        tell("module up")

    def work():
        simgpu.launch("gemm", 10)

    def die(number):
        os.kill(os.getpid(), number)

    def test_first(module):
        tell("first")
        work()

    @pytest.fixture
    def dies_in_setup():
        os._exit(7)

    def test_setup(dies_in_setup):
        work()

    def test_body():
        tell("body")
        die(signal.SIGSEGV)

    @pytest.fixture
    def dies_in_teardown():
        yield
        die(signal.SIGKILL)

    def test_teardown(dies_in_teardown):
        work()

    def test_fails():
        tell("fails")
        assert False, "by itself"

    def test_last(module):
        tell("last")
        work()
"""


def test_a_crash_fails_the_test_it_happened_in_and_the_rest_goes_to_a_new_worker(
    simulated: Project, story: Story, temporary: Path
) -> None:
    simulated.write(CRASHES)
    result, tests = simulated.results("--nsys-update", "-v")
    assert result.ret == 1
    result.assert_outcomes(passed=3, failed=2, errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "test_it.py::test_setup ERROR *",
            "test_it.py::test_body FAILED *",
            "test_it.py::test_teardown ERROR *",
            "_* ERROR at setup of test_setup _*",
            "the worker ended suddenly with exit code 7",
            "the worker was ended by SIGSEGV",
            "_* ERROR at teardown of test_teardown _*",
            "the worker was ended by SIGKILL",
            "E *AssertionError: by itself",
            "not measured: test_it.py::test_body: the worker was ended by SIGSEGV",
        ]
    )
    told = story.of("worker")
    assert told.count("body") == told.count("fails") == 1
    # The capture of a worker that died is not trusted: the tests that had passed run again.
    assert told.count("first") > 3
    assert told.count("first") % 3 == 0
    assert told[-3:] == ["last"] * 3
    for name in ("test_first", "test_last"):
        assert samples(tests[name], "gpu.kernel_count") == [1, 1]
    recorded = sorted(path.name for path in simulated.path.rglob("baselines/**/*.json"))
    assert recorded == ["test_first.json", "test_last.json"]
    assert "INTERNALERROR" not in result.stdout.str()
    assert not list(temporary.glob("pytest-nsys-*"))

    stopped = simulated.run("--nsys", "-x")
    assert stopped.ret == 1
    stopped.assert_outcomes(passed=1, errors=1)
    stopped.stdout.fnmatch_lines(["*stopping after 1 failures*"])


def test_a_test_that_takes_too_long_is_ended_and_its_round_is_named(
    simulated: Project, story: Story, temporary: Path
) -> None:
    simulated.ini("nsys_timeout = 60")
    simulated.write(
        """
        import itertools, subprocess, sys, threading
        import pytest, simgpu
        from story import tell

        calls = itertools.count()

        def hang():
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            tell(f"child {child.pid}")
            threading.Event().wait()

        @pytest.mark.nsys(rounds=3, warmup=1, timeout=1)
        def test_third_round():
            if next(calls) == 3:
                hang()

        @pytest.mark.nsys(rounds=3, warmup=1, timeout="not yet" and 1)
        def test_warm_up():
            hang()

        @pytest.fixture
        def slow():
            hang()

        @pytest.mark.nsys(timeout=1)
        def test_setup(slow):
            pass

        @pytest.mark.nsys
        def test_last():
            simgpu.launch("gemm", 10)
        """
    )
    result = simulated.run("--nsys")
    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=2, errors=1)
    result.stdout.fnmatch_lines_random(
        [
            "took longer than 1 s (in round 3) and was ended",
            "took longer than 1 s (in a warm-up) and was ended",
            "took longer than 1 s (outside its rounds) and was ended",
        ]
    )
    children = [int(line.split()[1]) for line in story.of("worker")]
    assert len(children) == 3
    assert [pid for pid in children if is_running(pid)] == []
    assert not list(temporary.glob("pytest-nsys-*"))


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_isolated_tests_and_other_capture_options_get_workers_of_their_own(
    simulated: Project, story: Story
) -> None:
    simulated.write(
        """
        import os
        import pytest, simgpu
        from story import tell

        pytestmark = pytest.mark.nsys(rounds=1, warmup=0)

        def body(name):
            tell(f"{name} {os.getpid()}")
            simgpu.graph_launch([("a", 10), ("b", 10)])

        def test_one():
            body("one")

        @pytest.mark.nsys(isolate=True)
        def test_alone():
            body("alone")

        @pytest.mark.nsys(nsys_args=["--cuda-graph-trace=graph"])
        def test_graphs():
            body("graphs")

        def test_two():
            body("two")

        @pytest.mark.nsys(nsys_args=["--cuda-graph-trace=graph"])
        def test_more_graphs():
            body("more")
        """
    )
    result, tests = simulated.results("--nsys-update", "--nsys-keep=kept")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(
        [
            "nsys: measuring 2 tests in one capture",
            "nsys: measuring 1 test in one capture",
            "nsys: measuring 2 tests in one capture",
            "raw reports are in *kept; they hold environments, command lines and output: *",
        ]
    )
    workers = dict(line.split() for line in story.of("worker"))
    assert workers["one"] == workers["two"]
    assert workers["graphs"] == workers["more"]
    assert len(set(workers.values())) == 3
    kept = simulated.path / "kept"
    assert len(list(kept.iterdir())) == 3
    assert kept.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept.iterdir())
    assert samples(tests["test_one"], "gpu.kernel_count") == [2]
    traced = simulated.baseline("test_graphs")["environment"]["trace"]
    assert "--cuda-graph-trace=graph" in traced
    assert "--cuda-graph-trace=node" not in traced
    assert "--cuda-graph-trace=node" in simulated.baseline("test_two")["environment"]["trace"]


def test_children_that_a_test_forks_disturb_nothing(simulated: Project) -> None:
    simulated.write(
        """
        import multiprocessing, os
        import pytest, simgpu

        def child(nsys):
            with nsys.range("in the child"):
                simgpu.launch("gemm", 10)

        @pytest.mark.nsys(rounds=2, warmup=0)
        @pytest.mark.filterwarnings("ignore")
        def test_forks(nsys):
            simgpu.launch("gemm", 10)
            process = multiprocessing.get_context("fork").Process(target=child, args=(nsys,))
            process.start()
            process.join()
            assert process.exitcode == 0
        """
    )
    result, tests = simulated.results("--nsys")
    result.assert_outcomes(passed=1)
    assert [window["name"] for window in tests["test_forks"]["windows"]] == ["test"]


def test_a_worker_that_pytest_timeout_ends_says_so_and_where_the_test_was(
    simulated: Project,
) -> None:
    simulated.write(
        """
        import time, pytest

        @pytest.mark.timeout(1, method="thread")
        @pytest.mark.nsys(rounds=2, warmup=1)
        def test_hangs():
            time.sleep(60)
        """
    )
    result = simulated.run("--nsys", "-p", "pytest_timeout")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "took longer than the 1 s of pytest-timeout, which ended the worker",
            "*time.sleep(60)*",
            "FAILED *took longer than the 1 s of pytest-timeout*",
        ]
    )
