"""Numbers where people look: the table of the summary, and the figure on each test's line."""

from __future__ import annotations

import pytest

from tests.support.harness import Project

TESTS = """
    import pytest, simgpu

    @pytest.mark.nsys
    @pytest.mark.parametrize("kind", ["a_kernel_of_the_first_kind", "a_kernel_of_the_other_kind"])
    def test_of_a_kernel_with_a_name(kind, nsys):
        with nsys.range("part"):
            simgpu.launch(kind, {us} if "other" in kind else 100)

    def test_plain():
        pass

    @pytest.mark.nsys
    @pytest.mark.xfail
    def test_known():
        simgpu.launch("gemm", {us})

    @pytest.mark.nsys
    def test_skips():
        pytest.skip("not now")
"""
LONG = "test_it.py::test_of_a_kernel_with_a_name[[]a_kernel_of_the_other_kind[]]"


@pytest.fixture
def recorded(simulated: Project) -> Project:
    simulated.write(TESTS.format(us=100))
    simulated.run("--nsys-update")
    return simulated


def test_a_run_that_passes_shows_its_numbers(recorded: Project) -> None:
    result = recorded.run("--nsys")
    result.stdout.fnmatch_lines(
        [
            "*= nsys summary =*",
            "* ok, 1 unmeasured",
            "   *kernel time  change  kernels  copies  syncs  peak",
            "  test_of_*first_kind?  100 us ±0.0%       =        1       0      0   0 B",
            "    part   * 100 us ±0.0%       =        1       0      0     -",
            "  test_known * 100 us ±0.0%       =        1       0      0   0 B",
        ]
    )
    assert max(map(len, result.outlines[result.outlines.index("") :])) <= 80


def test_the_gate_shows_them_on_demand_and_where_they_changed(recorded: Project) -> None:
    assert "kernel time" not in recorded.run("--nsys-baseline").stdout.str()
    assert "kernel time" in recorded.run("--nsys-baseline", "-v").stdout.str()
    assert "kernel time" in recorded.run("--nsys-baseline", "--nsys-table=all").stdout.str()
    assert "kernel time" not in recorded.run("--nsys", "-q").stdout.str()
    assert "kernel time" not in recorded.run("--nsys", "--nsys-table=off").stdout.str()
    recorded.write(TESTS.format(us=150))
    changed = recorded.run("--nsys-baseline", "--nsys-table=changed")
    changed.stdout.fnmatch_lines(["! test_of_*er_kind?  150 us ±0.0%  +50.0% *"])
    assert "first_kind" not in changed.stdout.str().partition("nsys summary")[2]


def test_metrics_can_be_chosen_and_one_that_there_is_not_is_named(recorded: Project) -> None:
    recorded.ini("nsys_columns =", "  gpu.busy, kernel[a_kernel*].time mem.live_end")
    result = recorded.run("--nsys")
    result.stdout.fnmatch_lines(
        [
            "   *  gpu.busy  change  kernel[[]a_kernel[*]].time  mem.live_end",
            "    part * 100 us ±0.0%       =                  100 us             -",
            "  test_known * 100 us ±0.0%       =                    0 ns           0 B",
        ]
    )
    # What is only shown is no part of what is judged.
    assert recorded.run("--nsys-baseline", "-q").ret == 0
    refused = recorded.run("--nsys", "--nsys-columns=gpu.kernel_tim")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(
        [
            "ERROR: nsys_columns: there is no metric 'gpu.kernel_tim'",
            "What to do: did you mean 'gpu.kernel_time'?",
        ]
    )


@pytest.mark.parametrize("more", [(), ("-p", "xdist", "-n2"), ("--color=yes", "-vv")])
def test_a_tests_own_line_says_its_figure(recorded: Project, more: tuple[str, ...]) -> None:
    recorded.run("--nsys", "--nsys-record=recording")
    recorded.in_process = False
    result = recorded.run("--nsys-baseline", "--nsys-replay=recording", "-v", *more)
    result.assert_outcomes(passed=2, skipped=1, xpassed=1, deselected=1)
    result.stdout.re_match_lines(
        [
            r".*first_kind\] .*PASSED 100 us.* \[ 25%\]",
            r".*test_known .*XPASS 100 us.*\[ 75%\]",
            r".*test_skips .*SKIPPED\S* \(not now\).*\[100%\]",
        ]
    )


def test_only_that_line_says_it(recorded: Project) -> None:
    recorded.write(TESTS.format(us=150))
    result = recorded.run("--nsys-baseline", "-v", "-rA")
    result.stdout.fnmatch_lines(
        [
            f"{LONG} FAILED *150 us +50.0%*",
            "test_it.py::test_plain PASSED *",
            "PASSED test_it.py::test_plain",
        ]
    )
    summary = result.stdout.str().partition("short test summary info")[2]
    assert "150 us" not in summary.replace("100 us -> 150 us", "")


def test_a_failure_is_told_once_in_full_and_once_in_a_line(
    recorded: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("BUILD_NUMBER", raising=False)
    recorded.write(TESTS.format(us=150))
    told = f"FAILED {LONG}"
    cut_off = recorded.run("--nsys-baseline")
    cut_off.stdout.fnmatch_lines(
        [
            "*= nsys summary =*",
            told,
            "  a_kerne* +50 us (1x): gpu.kernel_time +50.0%*",
            "*= short test summary info =*",
            told,
        ],
        consecutive=False,
    )
    monkeypatch.setenv("CI", "true")
    whole = recorded.run("--nsys-baseline")
    whole.stdout.fnmatch_lines([f"{told} - a_kerne* +50 us (1x): gpu.kernel_time +50.0%*"])
    assert whole.stdout.str().count("FAILED test_it.py") == 1
    monkeypatch.delenv("CI")
    short = "def test_short():\n    simgpu.launch('gemm', {})\n"
    text = "import pytest, simgpu\n\n@pytest.mark.nsys\n" + short
    recorded.write(text.format(100))
    recorded.run("--nsys-update")
    recorded.write(text.format(150))
    for options, times in (((), 1), (("-rN",), 1), (("--no-summary",), 1)):
        output = recorded.run("--nsys-baseline", *options).stdout.str()
        assert output.count("FAILED test_it.py::test_short") == times, options


def test_of_a_suite_of_many_tests_the_table_is_short(simulated: Project) -> None:
    simulated.write(
        """
        import pytest, simgpu

        @pytest.mark.nsys
        @pytest.mark.parametrize("number", range(40))
        def test_it(number):
            simgpu.launch("gemm", 10 + number)
        """
    )
    result = simulated.run("--nsys-update", "--nsys-processes=1", "--nsys-html=page.html")
    lines = result.outlines[result.outlines.index("40 recorded") :]
    assert sum(line.startswith("  test_it[") for line in lines) == 30
    result.stdout.fnmatch_lines(["  and 10 more, the worst new: *page.html"])
    shown = simulated.run("--nsys", "-vv")
    assert sum(line.startswith("  test_it[") for line in shown.outlines) == 40
