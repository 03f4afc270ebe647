"""Measured tests under ``-n`` on real GPUs: as many workers as there are, each on its own."""

from __future__ import annotations

import pytest

from pytest_nsys.catalogue import lookup
from pytest_nsys.gpu.shares import visible_entries
from tests.gpu.harness import Project, metric

TESTS = """
    import os, pathlib, torch

    def told(text):
        with pathlib.Path(__file__).with_name("told.txt").open("a") as file:
            file.write(f"{os.environ['PYTEST_XDIST_WORKER']} {text}\\n")

    @pytest.fixture(scope="module")
    def x():
        return torch.ones(1 << 20, device="cuda")

    @pytest.mark.parametrize("n", range(1, 7))
    def test_many(x, n, nsys):
        told(f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {torch.cuda.device_count()}")
        with nsys.range("part"):
            for _ in range(n):
                x.mul_(1.0)
        x[:n].cpu()
"""


def exact(tests: dict[str, object]) -> dict[object, object]:
    return {
        (name, window["name"], found["key"]): found["samples"]
        for name, test in tests.items()
        for window in test["windows"]  # type: ignore[index]
        for found in window["metrics"]
        if lookup(found["key"]).kind == "exact"
    }


def test_each_worker_has_a_gpu_and_results_are_those_of_one(project: Project) -> None:
    visible = visible_entries() or ()
    project.write(TESTS)
    alone = project.measure("-n", "0")
    (project.folder / "told.txt").unlink()
    shared = project.measure("-n", "auto")
    assert (alone["code"], shared["code"]) == (0, 0), shared["text"]
    assert exact(shared["tests"]) == exact(alone["tests"])
    assert metric(shared["tests"]["test_many[3]"], "gpu.kernel_count", "part") == [3] * 5
    told = {*(project.folder / "told.txt").read_text().splitlines()}
    workers = min(len(visible), 6)
    assert told == {f"gw{n} {visible[n]} 1" for n in range(workers)}
    refused = project.run("--nsys", "-n", str(len(visible) + 1))
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"{len(visible) + 1} workers are to measure" in refused.stderr


def test_a_test_that_asks_for_two_has_two(project: Project) -> None:
    if len(visible_entries() or ()) < 2:
        pytest.skip("there is one GPU")
    project.write(
        """
        import torch

        @pytest.mark.nsys(gpus=2)
        def test_two():
            assert torch.cuda.device_count() == 2
            for device in range(2):
                torch.ones(1 << 20, device=f"cuda:{device}").mul_(1.0)

        def test_one():
            assert torch.cuda.device_count() == 1
            torch.ones(1 << 20, device="cuda").mul_(1.0)
        """
    )
    run = project.measure("-n", "2")
    assert run["code"] == 0, run["text"]
    assert metric(run["tests"]["test_two"], "gpu.kernel_count") == [4] * 5


def test_a_worker_that_dies_loses_its_test_alone(project: Project) -> None:
    project.write(
        """
        import os, torch

        @pytest.mark.parametrize("n", range(4))
        def test_it(n):
            torch.ones(1 << 20, device="cuda").mul_(1.0)
            if n == 1:
                os._exit(3)
        """
    )
    run = project.measure("-n", "auto")
    assert run["code"] == 1
    assert sorted(run["tests"]) == ["test_it[0]", "test_it[2]", "test_it[3]"]
    assert all(metric(test, "gpu.kernel_count") == [2] * 5 for test in run["tests"].values())
