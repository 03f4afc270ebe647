"""Tests that replace functions which the worker needs, and some that never put them back."""

from __future__ import annotations

import pytest

from tests.support.harness import Project

REPLACED = """
    import builtins, gc, json, os, subprocess, sys, threading, time
    from unittest import mock

    import nvtx, pytest, simgpu

    pytestmark = pytest.mark.nsys(rounds=2)
    sys.modules["pynvml"] = mock.MagicMock()

    @pytest.fixture
    def pid(monkeypatch):
        monkeypatch.setattr(os, "getpid", lambda: 4711)

    def test_fixture(pid):
        assert os.getpid() == 1

    @mock.patch("os.getpid", return_value=4711)
    def test_decorator(getpid):
        assert os.getpid() == 1

    def refuse(*args, **kwargs):
        raise RuntimeError("replaced")

    def test_leaves_them():
        simgpu.launch("k", 10)
        for module, name in (
            (os, "write"), (os, "open"), (json, "dumps"), (json, "loads"), (nvtx, "start_range"),
            (nvtx, "end_range"), (time, "perf_counter"), (time, "monotonic"), (time, "sleep"),
            (subprocess, "Popen"), (threading, "enumerate"), (builtins, "open"),
        ):
            setattr(module, name, refuse)
        os.getpid = lambda: 4711
        gc.collect = mock.Mock()
        sys.modules["torch"] = mock.Mock()

    def test_fails_after():
        assert False

    def test_measured_after():
        simgpu.launch("k", 10)
        simgpu.launch("k", 10)
"""


def test_what_tests_replace_hides_nothing_of_them(simulated: Project) -> None:
    simulated.write(REPLACED)
    result, tests = simulated.results("--nsys")
    assert result.ret == 1
    assert result.parseoutcomes() == {"passed": 2, "failed": 3}
    result.stdout.fnmatch_lines(
        ["FAILED *::test_fixture - *4711*", "FAILED *::test_decorator*", "FAILED *fails_after*"]
    )
    (window,) = tests["test_measured_after"]["windows"]
    counts = {one["key"]: one["current"] for one in window["metrics"]}
    assert counts["gpu.kernel_count"] == 2
    assert 0 < counts["wall.time"] < 60e9


@pytest.mark.usefixtures("own_process")
def test_time_that_is_frozen_and_files_that_are_none_hide_nothing(simulated: Project) -> None:
    simulated.write(
        """
        import datetime, os, time
        from pathlib import Path

        import freezegun, pytest, simgpu, time_machine

        pytestmark = pytest.mark.nsys(rounds=2)

        def work(fails):
            simgpu.launch("k", 10)
            assert not fails

        @pytest.mark.parametrize("fails", [False, True])
        @freezegun.freeze_time("2020-01-01")
        def test_freezegun(fails):
            assert time.perf_counter() == time.perf_counter()
            work(fails)

        @pytest.mark.parametrize("fails", [False, True])
        @time_machine.travel(0, tick=False)
        def test_time_machine(fails):
            assert time.time() == 0
            work(fails)

        @pytest.mark.parametrize("fails", [False, True])
        def test_pyfakefs(fs, fails):
            assert not Path("/proc/self/stat").exists() and not os.path.exists("/usr")
            work(fails)

        def test_left_frozen():
            freezegun.freeze_time("2020-01-01").start()
            work(False)

        def test_fails_after():
            work(True)
        """
    )
    result, tests = simulated.results("--nsys", "-p", "pyfakefs.pytest_plugin")
    assert result.parseoutcomes() == {"passed": 4, "failed": 4}
    for name in ("test_freezegun[False]", "test_time_machine[False]", "test_pyfakefs[False]"):
        (window,) = tests[name]["windows"]
        metrics = {one["key"]: one["current"] for one in window["metrics"]}
        assert metrics["gpu.kernel_count"] == 1
        assert 0 < metrics["wall.time"] < 60e9
