"""A project's own hooks extend the plugin."""

from __future__ import annotations

import pytest

from pytest_nsys.catalogue import added_metrics, lookup
from pytest_nsys.errors import UnknownMetric
from tests.support.harness import Project
from tests.support.seen import Story, metric_keys, samples

CONFTEST = """
    import pytest
    from story import tell

    def pytest_nsys_verdict(nodeid, verdict):
        tell(f"{nodeid.rpartition('::')[2]} {verdict.status} {verdict.failed}")
        with pytest.raises(AttributeError):
            verdict.failed = False

    def pytest_nsys_device_key(gpus):
        return "our " + "+".join(gpus)

    def pytest_nsys_kernel_name(name):
        return name.partition("_v")[0] if name.startswith("ours_") else None

    def pytest_nsys_kernel_category(name):
        return "attention" if "ours_" in name else None

    def pytest_nsys_release_memory(stage):
        tell(f"released before {stage}")
"""
TEST = """
    import pytest, simgpu
    from story import tell

    @pytest.mark.nsys(rounds=2, tolerance={{
        "kernel[ours_gemm].time": "5%", "category[attention].time": "5%",
    }})
    def test_decode():
        tell("called")
        simgpu.launch("ours_gemm_v{version}", {us})
        simgpu.launch("theirs_v{version}", 10)
"""


def test_hooks_of_the_users_conftest_name_kernels_and_devices_and_see_verdicts(
    simulated: Project, story: Story
) -> None:
    simulated.write(CONFTEST, "conftest.py")
    simulated.write(TEST.format(version=1, us=100))
    simulated.run("--nsys-update").assert_outcomes(passed=1)
    assert story.lines() == [
        "worker: released before setup",
        "worker: called",
        "worker: released before rounds",
        "worker: called",
        "worker: called",
        "controller: test_decode new False",
    ]
    assert (
        "ours_gemm"
        in simulated.baseline("test_decode", "our-nvidia-h200")["windows"]["test"]["kernels"]
    )
    # Another version of a kernel goes by the same name.
    simulated.write(TEST.format(version=2, us=150))
    result = simulated.run("--nsys-baseline")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "gpu.kernel_time +45.5%, limit *: ours_gemm +50 us (1x); *",
            "* (and 2 more)",
            "  kernel?ours_gemm?.time *100 us *150 us *+50.0% *5%  <- worse",
            "  category?attention?.time *100 us *150 us *+50.0% *5%  <- worse",
        ]
    )
    assert "controller: test_decode regressed True" in story.lines()


METRICS = """
    from story import tell
    from pytest_nsys import CustomMetric, Metric, Tolerance

    def longest(cut):
        import numpy as np
        ns = (cut.trace.kernels["end"] - cut.trace.kernels["start"]).to_numpy()
        found = np.zeros(len(cut))
        np.maximum.at(found, cut.kernels.window, ns[cut.kernels.row])
        return found

    def waits(cut):
        counts = cut.total(cut.calls)
        counts[counts == 0] = float("nan")
        return counts

    def pytest_nsys_metrics():
        tell("asked")
        return [
            CustomMetric(
                Metric("ours.longest", "ns", "timed", "the longest kernel", combine="max"), longest
            ),
            CustomMetric(
                Metric("ours.calls", "1", "exact", "calls", Tolerance(), gated={gated}), waits
            ),
        ]
"""
MEASURED = """
    import pytest, simgpu

    @pytest.mark.nsys(rounds=3{arguments})
    def test_decode(nsys):
        nsys.units(tokens=10)
        simgpu.launch("gemm", {us})
        simgpu.launch("gemm", 20)
        for _ in range({waits}):
            simgpu.synchronize()

    @pytest.mark.nsys(rounds=2, allow_empty=True)
    def test_nothing():
        pass
"""


def _write(project: Project, arguments: str = "", *, us: int = 100, waits: int = 1) -> None:
    project.write(MEASURED.format(arguments=arguments, us=us, waits=waits))


def test_a_projects_own_metrics_are_measured_gated_and_shown(
    simulated: Project, story: Story
) -> None:
    simulated.write(METRICS.format(gated=False), "conftest.py")
    _write(simulated, ', tolerance={"ours.longest": "10%", "ours.longest.per_token": "10%"}')
    result, tests = simulated.results("--nsys-update", "--nsys-html=out.html")
    result.assert_outcomes(passed=2)
    assert set(story.lines()) == {"controller: asked"}
    assert samples(tests["test_decode"], "ours.longest") == [100_000.0] * 3
    assert samples(tests["test_decode"], "ours.calls") == [3.0] * 3
    assert samples(tests["test_nothing"], "ours.longest") == [0.0] * 2
    keys = metric_keys(tests["test_nothing"])
    assert "ours.calls" not in keys, "NaN in every round is no value"
    assert "ours.longest" in (simulated.path / "out.html").read_text()
    recorded = simulated.baseline("test_decode")["windows"]["test"]["samples"]
    assert recorded["ours.longest"] == [[100000, 100000, 100000]]

    result, tests = simulated.results("--nsys-baseline")
    result.assert_outcomes(passed=2)
    assert samples(tests["test_decode"], "ours.longest.per_token") == [10_000.0] * 3
    _write(simulated, ', tolerance={"ours.longest": "10%", "gpu.kernel_time": "90%"}', us=150)
    result = simulated.run("--nsys-baseline")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["ours.longest +50.0%, limit 10%*"])
    _write(simulated, ', budget={"ours.longest": "90 us"}')
    result = simulated.run("--nsys-baseline")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*ours.longest is 100 us, over its budget of 90 us*"])


def test_a_metric_that_a_plugin_gates_is_gated_without_being_named(
    simulated: Project, story: Story
) -> None:
    del story
    simulated.write(METRICS.format(gated=True), "conftest.py")
    _write(simulated)
    simulated.run("--nsys-update").assert_outcomes(passed=2)
    _write(simulated, ', tolerance={"sync.count": 5}', waits=2)
    result = simulated.run("--nsys-baseline")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["ours.calls +1, limit 0*"])
    _write(simulated, ', tolerance={"sync.count": 5, "ours.calls": 1}', waits=2)
    simulated.run("--nsys-baseline").assert_outcomes(passed=2)


def test_the_ini_file_can_name_a_projects_own_metric(simulated: Project, story: Story) -> None:
    simulated.ini("nsys_tolerance = ours.longest=10%")
    simulated.write(METRICS.format(gated=False), "conftest.py")
    _write(simulated)
    simulated.run("--nsys-update").assert_outcomes(passed=2)
    _write(simulated, ', tolerance={"gpu.kernel_time": "90%"}', us=150)
    result = simulated.run("--nsys-baseline")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["ours.longest +50.0%, limit 10%*"])
    story.lines()
    simulated.run().assert_outcomes(passed=2)
    assert story.lines() == ["controller: asked"]


def test_the_hook_of_a_folders_own_conftest_counts_wherever_its_tests_are_run(
    simulated: Project, story: Story
) -> None:
    del story
    simulated.write(METRICS.format(gated=False), "deep/conftest.py")
    marked = MEASURED.format(arguments=', tolerance={"ours.longest": "10%"}', us=100, waits=1)
    simulated.write(marked, "deep/test_deep.py")
    for options in ((), ("--nsys",), ("--nsys", "deep"), ("--nsys", "deep/test_deep.py")):
        simulated.run(*options).assert_outcomes(passed=2)


@pytest.mark.usefixtures("own_process")
def test_a_run_without_marked_tests_asks_nobody(simulated: Project, story: Story) -> None:
    simulated.write(
        """
        from story import tell

        def pytest_nsys_metrics():
            tell("asked")
        """,
        "conftest.py",
    )
    simulated.write(
        """
        import sys

        def test_plain():
            loaded = {name for name in sys.modules if name.startswith("pytest_nsys.")}
            assert not {"pytest_nsys.metrics.custom", "pytest_nsys.catalogue"} & loaded
        """
    )
    simulated.run().assert_outcomes(passed=1)
    assert story.lines() == []


def test_a_replay_without_the_plugin_judges_the_rest(simulated: Project, story: Story) -> None:
    del story
    simulated.write(METRICS.format(gated=True), "conftest.py")
    _write(simulated)
    simulated.run("--nsys-update", "--nsys-record=recording").assert_outcomes(passed=2)
    _write(simulated, waits=2)
    simulated.run("--nsys", "--nsys-record=slower").assert_outcomes(failed=1, passed=1)
    replay = simulated.run("--nsys-baseline", "--nsys-replay=slower")
    replay.stdout.fnmatch_lines(["*ours.calls*"])
    (simulated.path / "conftest.py").unlink()
    simulated.run("--nsys-baseline", "--nsys-replay=recording").assert_outcomes(passed=2)
    result, tests = simulated.results(
        "--nsys-baseline", "--nsys-replay=slower", "--nsys-html=x.html"
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["sync.count +1, limit 0*"])
    keys = metric_keys(tests["test_decode"])
    assert not {key for key in keys if key.startswith("ours.")}
    _write(simulated, ', tolerance={"ours.longest": "10%"}')
    result = simulated.run("--nsys-baseline", "--nsys-replay=recording")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*there is no metric 'ours.longest'*"])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            "[CustomMetric(Metric('gpu.busy', '1', 'exact', 'x'), len)]",
            "a metric 'gpu.busy' already",
        ),
        ("[1]", "pytest_nsys_metrics returned 1"),
        ("2", "pytest_nsys_metrics returned 2"),
    ],
)
@pytest.mark.parametrize("mode", [(), ("--nsys",)])
def test_what_is_no_metric_or_is_taken_is_a_usage_error(
    simulated: Project, returned: str, message: str, mode: tuple[str, ...]
) -> None:
    simulated.write(
        f"""
        from pytest_nsys import CustomMetric, Metric

        def pytest_nsys_metrics():
            return {returned}
        """,
        "conftest.py",
    )
    _write(simulated)
    result = simulated.run(*mode)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}*", "*What to do: *"])


@pytest.mark.parametrize(
    ("compute", "evidence"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("[1.0]", "shape (1,) for * windows, 0 infinite"),
        ("3.0", "shape () for * windows, 0 infinite"),
        ("'fast'", "ValueError: could not convert string to float: 'fast'"),
        ("[float('inf')] * len(cut)", "shape (*,) for * windows, * infinite"),
    ],
)
def test_a_metric_that_cannot_be_computed_fails_the_tests_with_its_name(
    simulated: Project, compute: str, evidence: str
) -> None:
    simulated.write(
        f"""
        from pytest_nsys import CustomMetric, Metric

        def pytest_nsys_metrics():
            return [CustomMetric(Metric("ours.odd", "1", "exact", "x"), lambda cut: {compute})]
        """,
        "conftest.py",
    )
    _write(simulated)
    result = simulated.run("--nsys")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*the metric ours.odd *", f"*{evidence}*", "*What to do: *"])


def test_metrics_are_forgotten_at_the_end_of_the_run(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        from pytest_nsys import CustomMetric, Metric

        def pytest_nsys_metrics():
            return [CustomMetric(Metric("ours.one", "1", "exact", "x"), len)]
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.nsys(tolerance={"ours.one": 0})
        def test_it():
            from pytest_nsys.catalogue import lookup, metric_names
            assert lookup("ours.one").about == "x"
            assert "ours.one" in metric_names()
        """
    )
    for _ in range(2):
        pytester.runpytest_inprocess().assert_outcomes(passed=1)
        assert added_metrics() == {}
        with pytest.raises(UnknownMetric):
            lookup("ours.one")


RANGES = """
    import nvtx, pytest, simgpu

    @pytest.mark.nsys(rounds=3, tolerance={{
        "range[for*].gpu.kernel_time": "5%",
        "range[forward].kernel[gemm*].count": 0,
        "range[forward].gpu.kernel_time.per_token": "5%",
    }}, budget={{"range[forward].memcpy.h2d.count": 0}})
    def test_step(nsys):
        nsys.units(tokens=10)
        with nvtx.annotate("forward"):
            simgpu.launch("gemm", {us})
            simgpu.launch("softmax", 50)
            {more}
        simgpu.launch("optimizer", {rest})
"""


def test_metrics_of_the_programs_own_ranges_are_judged(simulated: Project) -> None:
    simulated.write(RANGES.format(us=100, rest=20, more="pass"))
    result, tests = simulated.results("--nsys-update", "--nsys-html=out.html")
    result.assert_outcomes(passed=1)
    assert samples(tests["test_step"], "range[for*].gpu.kernel_time") == [150_000.0] * 3
    assert samples(tests["test_step"], "range[forward].kernel[gemm*].count") == [1.0] * 3
    result, tests = simulated.results("--nsys-baseline")
    result.assert_outcomes(passed=1)
    key = "range[forward].gpu.kernel_time.per_token"
    assert samples(tests["test_step"], key) == [15_000.0] * 3
    # As much longer in the range as it is shorter elsewhere.
    simulated.write(RANGES.format(us=115, rest=5, more="pass"))
    result = simulated.run("--nsys-baseline")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["range?for*?.gpu.kernel_time +10.0%, limit 5%*"])
    simulated.write(RANGES.format(us=100, rest=20, more="simgpu.copy('h2d', 64)"))
    result = simulated.run("--nsys-baseline")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*range?forward?.memcpy.h2d.count is 1, over its budget of 0*"])


def test_the_programs_ranges_are_in_the_baseline_and_the_page(simulated: Project) -> None:
    simulated.write(RANGES.format(us=100, rest=20, more="pass"))
    simulated.run("--nsys-update").assert_outcomes(passed=1)
    window = simulated.baseline("test_step")["windows"]["test"]
    assert window["ranges"] == {"forward": {"count": 1, "ns": 150_000}}
    simulated.run("--nsys-baseline", "--nsys-html=out.html").assert_outcomes(passed=1)
    assert "NVTX ranges" in (simulated.path / "out.html").read_text()


def test_a_range_that_never_comes_was_not_measured(simulated: Project) -> None:
    simulated.write(
        """
        import pytest, simgpu

        @pytest.mark.nsys(tolerance={"range[backward].gpu.busy": "5%"})
        def test_step():
            simgpu.launch("gemm", 10)
        """
    )
    result = simulated.run("--nsys")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*range?backward?.gpu.busy has a tolerance and was not measured*"])


def test_memory_of_a_range_is_a_usage_error(simulated: Project) -> None:
    simulated.write(
        """
        import pytest

        @pytest.mark.nsys(tolerance={"range[forward].mem.peak": "5%"})
        def test_step():
            pass
        """
    )
    result = simulated.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*memory is measured over all rounds of a test*"])


def test_unified_memory_that_was_asked_for_and_never_used_is_zero(simulated: Project) -> None:
    simulated.write(
        """
        import pytest, simgpu

        @pytest.mark.nsys(
            rounds=2, nsys_args=["--cuda-um-gpu-page-faults=true"], budget={"um.bytes": 0}
        )
        def test_asked():
            simgpu.launch("gemm", 10)

        @pytest.mark.nsys(rounds=2)
        def test_not_asked():
            simgpu.launch("gemm", 10)
        """
    )
    result, tests = simulated.results("--nsys")
    result.assert_outcomes(passed=2)
    assert samples(tests["test_asked"], "um.faults") == [0.0] * 2
    keys = metric_keys(tests["test_not_asked"])
    assert "um.faults" not in keys


@pytest.mark.parametrize(
    "hook",
    [
        *("pytest_nsys_metrics()", "pytest_nsys_kernel_name()", "pytest_nsys_kernel_category()"),
        *("pytest_nsys_device_key()", "pytest_nsys_release_memory()", "pytest_nsys_verdict()"),
    ],
)
def test_what_a_hook_raises_ends_the_run_and_is_shown(
    simulated: Project, story: Story, hook: str
) -> None:
    simulated.write(f"def {hook}:\n    raise ValueError('no idea')\n", "conftest.py")
    simulated.write(TEST.format(version=1, us=100))
    result = simulated.run("--nsys")
    assert result.ret in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.INTERRUPTED)
    assert "ValueError: no idea" in result.stdout.str() + result.stderr.str()
