"""Outcomes, reports and output are those of a run without the plugin."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.support.harness import Project
from tests.support.seen import Story, section, short_summary

OUTCOMES = """
    import sys, warnings
    import pytest, simgpu
    from story import tell

    pytestmark = pytest.mark.nsys(rounds=2, warmup=1)

    @pytest.fixture(autouse=True)
    def work():
        yield

    @pytest.fixture
    def broken_setup():
        print("printed in the set-up")
        raise RuntimeError("the fixture is broken")

    @pytest.fixture
    def broken_teardown():
        yield
        print("printed in the teardown", file=sys.stderr)
        raise RuntimeError("the teardown is broken")

    def gpu():
        simgpu.launch("kernel", 10)

    def test_passes():
        gpu()

    def test_fails():
        print("printed by the body")
        tell("failing")
        value = 41
        assert value == 42, "not the answer"

    def test_raises():
        raise KeyError("lost")

    def test_needs_a_broken_fixture(broken_setup):
        gpu()

    def test_ends_badly(broken_teardown):
        gpu()

    def test_skips():
        pytest.skip("not here")

    @pytest.mark.skip(reason="not today")
    def test_skipped():
        gpu()

    @pytest.mark.skipif("sys.version_info > (3, 0)", reason="too new")
    def test_skipped_if():
        gpu()

    def test_imports():
        pytest.importorskip("no_such_module", reason="no such module")

    @pytest.mark.xfail(reason="known")
    def test_known():
        assert False

    @pytest.mark.xfail(reason="thought so")
    def test_unknown():
        gpu()

    @pytest.mark.xfail(strict=True, reason="surely")
    def test_strict():
        gpu()

    @pytest.mark.xfail(raises=ValueError, reason="only so")
    def test_other_error():
        raise TypeError("another")

    def test_xfails_itself():
        pytest.xfail("as I say")

    def test_warns():
        warnings.warn("this is old", DeprecationWarning)
        gpu()

    def test_fails_without_traceback():
        pytest.fail("plainly", pytrace=False)

    def test_several(subtests):
        gpu()
        for number in range(3):
            with subtests.test(f"part {number}"):
                assert number != 1
"""


def junit(path: Path) -> dict[str, object]:
    """The totals of a JUnit file and, for each test, what is said of it."""
    suite = ElementTree.parse(path).getroot()[0]
    totals: dict[str, object] = {
        name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")
    }
    cases = [
        (
            case.get("name"),
            [
                (part.tag, part.get("message"))
                for part in case
                if part.tag[:3] != "sys" and part.tag != "properties"  # those say what was measured
            ],
        )
        for case in suite.iter("testcase")
    ]
    return {**totals, "cases": sorted(cases, key=str)}


@pytest.mark.usefixtures("all_plugins")
def test_every_outcome_is_the_one_of_a_run_without_the_plugin(
    simulated: Project, story: Story
) -> None:
    simulated.write(OUTCOMES)
    plain = simulated.run(
        "-rA",
        "--junitxml=plain.xml",
        "-p",
        "no:nsys",
        "-W",
        "ignore::pytest.PytestUnknownMarkWarning",
        "-W",
        "ignore::pytest.PytestConfigWarning",
    )
    assert plain.ret == 1
    assert story.lines() == ["controller: failing"]
    profiled = simulated.run("-rA", "--junitxml=profiled.xml", "--nsys")
    assert profiled.ret == 1
    assert story.lines() == ["worker: failing"]

    assert profiled.parseoutcomes() == plain.parseoutcomes()
    assert short_summary(profiled) == short_summary(plain)
    assert junit(simulated.path / "profiled.xml") == junit(simulated.path / "plain.xml")

    shown, expected = (section(result.outlines, "test_fails") for result in (profiled, plain))
    assert shown == expected
    assert "printed by the body" in shown
    assert profiled.stdout.str().count(">       assert value == 42") == 1
    for title in ("ERROR at setup of test_needs_a_broken", "ERROR at teardown of test_ends_badly"):
        assert section(profiled.outlines, title) == section(plain.outlines, title)
        assert section(profiled.outlines, title)
    warned, expected = (section(result.outlines, "warnings") for result in (profiled, plain))
    assert warned == expected
    assert any("DeprecationWarning: this is old" in line for line in warned)


@pytest.mark.usefixtures("all_plugins")
def test_a_regression_fails_in_every_report_with_its_headline(simulated: Project) -> None:
    text = """
        import pytest, simgpu

        @pytest.mark.nsys
        def test_decode(record_property):
            record_property("model", "small")
            print("printed")
            simgpu.launch("gemm", {us})

        @pytest.mark.nsys
        @pytest.mark.xfail(reason="being worked on")
        def test_known():
            simgpu.launch("gemm", {us})

        @pytest.mark.nsys
        @pytest.mark.xfail(strict=True, reason="being worked on")
        def test_strict():
            simgpu.launch("gemm", {us})

        def test_other():
            pass
    """
    simulated.write(text.format(us=400))
    first = simulated.run("--nsys-update")
    first.assert_outcomes(passed=2, xpassed=1, failed=1)
    known = simulated.path / "baselines/nvidia-h200/test_it.py/test_known.json"
    # A strict xfail that passes has failed, and has no baseline of its own making.
    strict = known.with_name("test_strict.json")
    assert not strict.exists()
    strict.write_text(known.read_text().replace("test_known", "test_strict"))

    simulated.write(text.format(us=600))
    result = simulated.run(
        "--nsys-baseline",
        "-rA",
        "--junitxml=junit.xml",
        "--html=page.html",
        "--self-contained-html",
        "--cov=.",
        "--cov-report=term",
    )
    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1, xfailed=2)
    headline = "gpu.kernel_time +50.0%, limit 3% or 5 us: gemm +200 us (1x); 400 us -> 600 us"
    result.stdout.fnmatch_lines(
        [
            "*= FAILURES =*",
            "_* test_decode _*",
            headline,
            "",
            "the test's body:",
            "  metric *baseline *current *change *limit*",
            "  gpu.kernel_time *400 us *600 us *+50.0% *3% or 5 us *<- worse",
            "to measure it again: pytest --nsys test_it.py::test_decode",
            "to accept it: *pytest --nsys-update test_it.py::test_decode",
            "-* Captured stdout call -*",
            "printed",
            "*= nsys summary =*",
            "2 expected, 1 regressed",
            "XFAIL test_it.py::test_known - being worked on*",
        ]
    )
    result.stdout.fnmatch_lines(
        ["FAILED test_it.py::test_decode - gemm +200 us (1x): gpu.kernel_time*"]
    )
    assert result.stdout.str().count("_ test_decode _") == 1
    suite = ElementTree.parse(simulated.path / "junit.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "2")
    failure = suite.find(".//failure")
    assert failure is not None
    brief = "gemm +200 us (1x): gpu.kernel_time +50.0%, limit 3% or 5 us; 400 us -> 600 us"
    assert failure.get("message") == brief
    assert "to measure it again" in str(failure.text)
    assert headline.split(";")[0] in (simulated.path / "page.html").read_text()
    result.stdout.fnmatch_lines(["test_it.py *%"])


def test_warnings_of_the_worker_are_shown_once_and_can_be_errors(
    simulated: Project, story: Story
) -> None:
    simulated.write(
        """
        import warnings
        import pytest, simgpu

        class Mine(UserWarning):
            pass

        @pytest.mark.nsys(rounds=1)
        @pytest.mark.parametrize("category", [Mine, DeprecationWarning, RuntimeWarning])
        def test_warns(category):
            warnings.warn("the text", category)
            simgpu.launch("kernel", 10)
        """
    )
    result = simulated.run("--nsys")
    result.assert_outcomes(passed=3, warnings=3)
    for name in ("Mine", "DeprecationWarning", "RuntimeWarning"):
        result.stdout.fnmatch_lines([f"*test_it.py:11: {name}: the text"])
    result = simulated.run("--nsys", "-W", "error", "-W", "ignore::pytest.PytestConfigWarning")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["E *Mine: the text"])


def test_output_is_captured_or_shown_as_asked(simulated: Project) -> None:
    simulated.write(
        """
        import sys
        import pytest, simgpu

        @pytest.mark.nsys(rounds=2, warmup=0)
        def test_prints():
            print("to stdout")
            print("to stderr", file=sys.stderr)
            simgpu.launch("kernel", 10)
        """
    )
    shown = simulated.run("--nsys", "-s", "-v")
    shown.assert_outcomes(passed=1)
    assert shown.outlines.count("to stdout") == 2
    assert shown.errlines.count("to stderr") == 2
    shown.stdout.fnmatch_lines(
        ["nsys: measuring 1 test in one capture", "test_it.py::test_prints PASSED*"]
    )
    silent = simulated.run("--nsys", "-q")
    silent.assert_outcomes(passed=1)
    assert "to stdout" not in silent.stdout.str()
    assert "nsys: measuring" not in silent.stdout.str()
    assert silent.outlines[0].startswith(".")
