"""Processes that are started ahead of their turn: they collect, and run no test before it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.harness import Project

NEW = "2025.3.1"
"""An nsys of which several may record at once."""

LOGS = """
    import time
    import pytest, simgpu

    def log(what):
        with open("log", "a") as file:
            print(what, file=file)

    log("imports")
    {importing}
    log("imported")
"""
PASSES = """
    @pytest.mark.nsys(rounds=1, warmup=0)
    def test_it():
        log("runs")
        simgpu.launch("gemm", 10)
"""


def logged(project: Project) -> list[str]:
    """What processes logged, the controller among them."""
    return (project.path / "log").read_text().splitlines()


def test_no_process_measures_while_another_imports(
    project: Project, install: Callable[..., Path]
) -> None:
    install(version=NEW)
    project.write(LOGS.format(importing="time.sleep(0.2)") + PASSES)
    assert project.run("--nsys", "--nsys-processes=3").ret == 0
    told = logged(project)
    assert told.count("imported") == 4
    assert told[-3:] == ["runs", "runs", "runs"]


def test_old_ones_are_never_two_at_once(simulated: Project) -> None:
    simulated.write(LOGS.format(importing="") + PASSES)
    assert simulated.run("--nsys", "--nsys-processes=3").ret == 0
    told = logged(simulated)
    assert [what for what in told if what != "imports"] == [
        *("imported", "imported", "runs"),
        *("imported", "runs", "imported", "runs"),
    ]


def test_one_after_another_where_that_is_asked_for(
    project: Project, install: Callable[..., Path]
) -> None:
    install(version=NEW)
    project.write(LOGS.format(importing="") + PASSES)
    assert project.run("--nsys", "--nsys-processes=2", "-o", "nsys_ahead=false").ret == 0
    told = logged(project)
    one = ["imports", "imported"]
    assert told == [*one, *one, "runs", *one, "runs"]


def test_modules_that_use_the_gpu_are_not_imported_side_by_side(
    project: Project, install: Callable[..., Path]
) -> None:
    install(version=NEW)
    uses = "import pytest_nsys.worker.session as own; own.synchronize = lambda: 1"
    project.write(LOGS.format(importing=uses) + PASSES)
    assert project.run("--nsys", "--nsys-processes=3").ret == 0
    told = logged(project)
    assert told[-6:] == ["imports", "imported", "runs"] * 2


def test_what_fails_in_the_first_process_runs_in_no_other(
    project: Project, install: Callable[..., Path], temporary: Path
) -> None:
    install(version=NEW)
    fails = PASSES + "        assert False\n"
    project.write(LOGS.format(importing="") + fails)
    result = project.run("--nsys", "--nsys-processes=3", "-x")
    result.assert_outcomes(failed=1)
    assert logged(project).count("runs") == 1
    assert project.left_over() == []
    assert not list(temporary.glob("pytest-nsys-*"))


@pytest.mark.parametrize(
    ("text", "ret"),
    [
        ("def test_plain(): pass", pytest.ExitCode.OK),
        ("raise SystemError", pytest.ExitCode.INTERRUPTED),
        (
            "import pytest\n@pytest.mark.nsys(rounds='x')\ndef test_it(): pass",
            pytest.ExitCode.USAGE_ERROR,
        ),
    ],
)
def test_nothing_is_left_where_nothing_is_measured(
    simulated: Project, temporary: Path, text: str, ret: int
) -> None:
    simulated.write(text)
    assert simulated.run("--nsys").ret == ret
    assert simulated.left_over() == []
    assert not list(temporary.glob("pytest-nsys-*"))


def test_an_interrupt_while_both_collect(simulated: Project, temporary: Path) -> None:
    os.mkfifo(simulated.path / "ready")
    simulated.write(
        """
        import os, threading
        with open("ready", "w") as ready:
            ready.write("x")
        threading.Event().wait()
        """
    )
    run = simulated.start("--nsys")
    for _ in range(2):
        with (simulated.path / "ready").open() as ready:
            ready.read(1)
    os.killpg(run.pid, signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, output
    assert simulated.left_over() == []
    assert not list(temporary.glob("pytest-nsys-*"))


def test_a_worker_with_other_arguments_than_the_first_test_asks_for_is_replaced(
    simulated: Project,
) -> None:
    simulated.write(
        """
        import pytest, simgpu

        @pytest.mark.nsys(rounds=1, nsys_args="--cuda-graph-trace=graph")
        def test_other():
            simgpu.launch("gemm", 10)

        @pytest.mark.nsys(rounds=1)
        def test_it():
            simgpu.launch("gemm", 10)
        """
    )
    simulated.run("--nsys").assert_outcomes(passed=2)
    assert simulated.left_over() == []


def test_plugins_hear_of_the_end_of_every_worker_that_they_prepared(
    project: Project, install: Callable[..., Path]
) -> None:
    install(version=NEW)
    project.write(
        """
        class Plugin:
            def pytest_configure_node(self, node):
                with open("nodes", "a") as file:
                    print("begins", file=file)
            def pytest_testnodedown(self, node, error):
                with open("nodes", "a") as file:
                    print("ends", hasattr(node, "workeroutput"), error, file=file)

        def pytest_configure(config):
            if not hasattr(config, "workerinput"):
                config.pluginmanager.register(Plugin())
        """,
        "conftest.py",
    )
    project.write(LOGS.format(importing="") + PASSES + "        assert False\n")
    project.run("--nsys", "--nsys-processes=2").assert_outcomes(failed=1)
    nodes = (project.path / "nodes").read_text().splitlines()
    assert nodes == [
        "begins",
        "begins",
        "ends True None",
        "ends False it was not needed: there were no tests for it",
    ]
