"""Selecting, stopping, listing: pytest's own options, and the user's configuration."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.harness import Project
from tests.support.seen import Story

FIVE = """
    import pytest, simgpu
    from story import tell

    pytestmark = pytest.mark.nsys(rounds=1, warmup=0)

    def body(name, fails=False):
        tell(name)
        simgpu.launch("kernel", 10)
        assert not fails

    def test_one():
        body("one")

    def test_two():
        body("two", fails={fails})

    @pytest.mark.slow
    def test_three():
        body("three")

    @pytest.mark.slow
    def test_four():
        body("four", fails={fails})

    @pytest.mark.nsys(budget={{"gpu.kernel_count": {budget}}})
    def test_five():
        body("five")
"""
MARKERS = ("markers =", "  slow: takes long")


def write(project: Project, *, fails: bool = False, budget: int = 9) -> None:
    project.ini(*MARKERS)
    project.write(FIVE.format(fails=fails, budget=budget))


def test_expressions_and_node_ids_select_what_is_measured(simulated: Project, story: Story) -> None:
    write(simulated)
    chosen = ("test_it.py::test_four", "test_it.py::test_three", "test_it.py::test_one")
    result = simulated.run("--nsys", "-k", "four or one", "-m", "slow or not slow", *chosen)
    result.assert_outcomes(passed=2, deselected=1)
    assert story.lines() == ["worker: four", "worker: one"]
    nothing = simulated.run("--nsys", "-k", "no_such")
    assert nothing.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "nsys summary" not in nothing.stdout.str()


def test_stopping_after_failures_stops_the_worker_and_counts_verdicts_too(
    simulated: Project, story: Story
) -> None:
    write(simulated, fails=True)
    result = simulated.run("--nsys", "--maxfail=2")
    result.assert_outcomes(passed=2, failed=2)
    assert story.of("worker") == ["one", "two", "three", "four"]

    last = simulated.run("--nsys", "--lf", "-x")
    last.assert_outcomes(failed=1)
    assert story.of("worker") == ["two"]

    write(simulated, budget=0)
    first = simulated.run("--nsys", "--ff", "-v")
    first.assert_outcomes(passed=4, failed=1)
    order = [line.split()[0] for line in first.outlines if " PASSED" in line or " FAILED" in line]
    names = [nodeid.rpartition("_")[2] for nodeid in order]
    assert names == ["two", "four", "one", "three", "five"] == story.of("worker")
    # A broken budget, found after the worker has ended, counts as the failure that it is.
    failed = simulated.run("--lf", "--collect-only", "-q")
    assert failed.outlines[0] == "test_it.py::test_five"


def test_listing_and_planning_start_no_worker(
    simulated: Project, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(simulated)
    (simulated.path / "bin/nsys").unlink()  # they need none
    listed = simulated.run("--nsys-baseline", "--collect-only", "-q")
    assert listed.ret == 0
    assert listed.outlines[:2] == ["test_it.py::test_one", "test_it.py::test_two"]
    planned = simulated.run("--nsys", "--setup-plan")
    assert planned.ret == 0
    planned.stdout.fnmatch_lines(["*test_it.py::test_one*"])
    fixtures = simulated.run("--nsys", "--fixtures", "-v")
    fixtures.stdout.fnmatch_lines(["nsys -- *plugin.py*", "*Names parts of a measured test*"])
    markers = simulated.run("--markers")
    markers.stdout.fnmatch_lines(
        ["@pytest.mark.nsys(warmup, rounds, cold_l2, processes, tolerance, *"]
    )
    assert story.lines() == []


@pytest.mark.usefixtures("all_plugins")
def test_without_the_plugin_only_the_mark_is_left(simulated: Project, story: Story) -> None:
    write(simulated)
    simulated.ini(*MARKERS, "  nsys: measured elsewhere")
    simulated.run("-p", "no:nsys").assert_outcomes(passed=5)
    assert story.of("controller") == ["one", "two", "three", "four", "five"]
    refused = simulated.run("-p", "no:nsys", "--nsys")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.usefixtures("all_plugins")
def test_hooks_and_options_of_the_users_project_hold_in_the_worker_too(
    simulated: Project, story: Story
) -> None:
    simulated.write(
        """
        import pytest, simgpu
        from story import tell

        pytestmark = pytest.mark.nsys(rounds=1, warmup=0)

        @pytest.mark.parametrize("size", ["small", "large"])
        def test_size(size, model, request):
            tell(f"{size} {model} {request.config.getini('flavour')}")
            tell(request.config.getoption("no_cov"))  # it would distort what is measured
            tell(request.config.getoption("inline_snapshot"))
            simgpu.launch("kernel", 10)

        def test_added(extra):
            tell(f"extra {extra}")
            simgpu.launch("kernel", 10)
        """,
        "suite/test_it.py",
    )
    simulated.write(
        """
        import pytest, sys
        from story import tell

        def pytest_addoption(parser):
            parser.addoption("--model", default="none")
            parser.addoption("--inline-snapshot")
            parser.addini("flavour", "a setting", default="none")

        def pytest_collection_modifyitems(items):
            items.reverse()

        def pytest_generate_tests(metafunc):
            if "extra" in metafunc.fixturenames:
                metafunc.parametrize("extra", [7])

        @pytest.fixture(scope="session")
        def model(pytestconfig):
            return pytestconfig.getoption("--model")

        def pytest_runtest_logreport(report):
            if report.when == "call":
                tell("report " + report.nodeid.rpartition("::")[2])

        def pytest_sessionfinish(session):
            tell("finish")
        """,
        "suite/conftest.py",
    )
    simulated.write("[pytest]\nflavour = vanilla\n", "other.ini")
    result = simulated.run(
        *("--nsys", "-c", "other.ini", "--rootdir=.", "-o", "flavour=mint", "-v"),
        *("--model", "tiny", "--inline-snapshot=report", "suite"),
    )
    result.assert_outcomes(passed=3)
    lines = story.lines()
    reports = ["report test_added[7]", "report test_size[large]", "report test_size[small]"]
    assert [line for line in lines if line.startswith("worker") and "report" not in line] == [
        "worker: extra 7",
        "worker: large tiny mint",
        "worker: True",
        "worker: disable",
        "worker: small tiny mint",
        "worker: True",
        "worker: disable",
        "worker: finish",
    ]
    assert [line for line in lines if line.startswith("controller")] == [
        f"controller: {text}" for text in (*reports, "finish")
    ]


@pytest.mark.usefixtures("all_plugins")
def test_debugging_is_refused_while_profiling_and_works_otherwise(
    simulated: Project, story: Story
) -> None:
    write(simulated)
    for options, words in (
        (("--pdb",), "--pdb and --trace cannot be used while tests are profiled"),
        (("--trace",), "--pdb and --trace cannot be used while tests are profiled"),
    ):
        refused = simulated.run("--nsys", *options)
        assert refused.ret == pytest.ExitCode.USAGE_ERROR
        refused.stderr.fnmatch_lines([f"ERROR: {words}*", "What to do: leave out *"])
    write(simulated, fails=True)
    debugged = subprocess.run(
        [sys.executable, "-m", "pytest", "--pdb", "-x"],
        input="p 6 * 7\nq\n",
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert "(Pdb) 42" in debugged.stdout


@pytest.mark.usefixtures("all_plugins")
def test_a_test_that_takes_too_long_is_ended_by_pytest_timeout_too(
    simulated: Project, story: Story
) -> None:
    simulated.write(
        """
        import pytest, simgpu, threading
        from story import tell

        pytestmark = pytest.mark.nsys(rounds=1, warmup=0)

        @pytest.mark.timeout(0.5)
        def test_hangs():
            threading.Event().wait()

        def test_next():
            tell("next")
            simgpu.launch("kernel", 10)
        """
    )
    result = simulated.run("--nsys")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Timeout (>0.5s) from pytest-timeout*"])
    assert story.lines() == ["worker: next"]
