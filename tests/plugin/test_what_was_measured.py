"""What was measured stays measured: no later process, round or expectation makes it pass."""

from __future__ import annotations

import json

from tests.support.harness import Project

COUNTED = """
    import os
    from pathlib import Path

    import pytest, simgpu

    COUNT = Path("count")
    PROCESS = int(COUNT.read_text()) + 1 if COUNT.exists() else 1
    if "PYTEST_NSYS_WORKER" in os.environ:
        COUNT.write_text(str(PROCESS))
    BAD = Path("bad").exists()
    FIRST = BAD and PROCESS == 1
    pytestmark = pytest.mark.nsys

    def work(slow=False, copies=False):
        simgpu.launch("gemm", 200 if slow else 100)
        if copies:
            simgpu.copy("h2d", 1 << 28)
        simgpu.synchronize()
"""
SUSPECTS = """
    def test_skips_again():
        if BAD and PROCESS > 1:
            pytest.skip("not enough free memory")
        work(slow=BAD)

    def test_xfails_again():
        if BAD and PROCESS > 1:
            pytest.xfail("not today")
        work(slow=BAD)

    def test_copies_once():
        work(slow=FIRST, copies=FIRST)

    rounds = []

    def test_copies_in_some_rounds():
        rounds.append(1)
        work(copies=BAD and len(rounds) in (3, 5))

    def test_part_in_one_round(nsys):
        rounds.append(1)
        work()
        if not BAD or len(rounds) % 6 == 0:
            with nsys.range("part"):
                work()
"""


def test_later_processes_and_rounds_take_nothing_back(simulated: Project) -> None:
    simulated.write(COUNTED + SUSPECTS)
    assert simulated.run("--nsys-update").ret == 0
    (simulated.path / "count").unlink()
    (simulated.path / "bad").touch()
    result, tests = simulated.results("--nsys-baseline", "-o", "nsys_confirm=2")
    result.assert_outcomes(failed=3, passed=2)
    result.stdout.fnmatch_lines(
        [
            "note: it could not be measured again: it was skipped",
            "note: it could not be measured again: it xfailed",
            "  memcpy.h2d.bytes: so in process 1 of 3, and one is enough",
            "warning: *::test_copies_in_some_rounds",
            "  * left the baseline's range in 2 of 5 rounds: up to *",
            "warning: *::test_part_in_one_round",
            "  range 'part' was entered in 1 of 5 rounds, and is judged by those",
        ],
        consecutive=False,
    )
    assert tests["test_copies_once"]["status"] == "regressed"
    assert tests["test_copies_in_some_rounds"]["status"] == "ok"
    assert len(tests["test_copies_in_some_rounds"]["warnings"]) == 2


def test_a_baseline_whose_processes_disagree_is_said_to_be_one(simulated: Project) -> None:
    simulated.write(
        COUNTED
        + """
    def test_copies():
        work(copies=PROCESS == 2)

    def test_slow():
        work(slow=PROCESS == 2)

    def test_steady():
        work()
    """
    )
    result = simulated.run("--nsys-update", "--nsys-processes=3")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "warning: *::test_copies",
            "  *differs between processes, 0 B to 256 MiB: no change in this range will be seen",
            "warning: *::test_slow",
            "  gpu.kernel_time differs between processes by +100%*100 us, 200 us, 100 us*",
        ]
    )
    assert "warning: test_it.py::test_steady" not in result.stdout.str()


def test_an_expectation_covers_what_it_expects_alone(simulated: Project) -> None:
    text = """
    @pytest.mark.xfail(strict=True, reason="slow")
    def test_strict():
        work({slow})

    @pytest.mark.xfail(reason="slow")
    def test_loose():
        work({slow})

    @pytest.mark.xfail(raises=ValueError, reason="a bug")
    def test_raises():
        work({slow})

    @pytest.mark.xfail
    @pytest.mark.nsys(budget={{"gpu.kernel_time": "150 us"}})
    def test_budget():
        work({slow})
    """
    simulated.write(COUNTED + text.format(slow=""))
    # No baseline is no failure that anybody expected.
    simulated.run("--nsys-baseline").assert_outcomes(failed=4)
    simulated.run("--nsys-update", "-k", "not strict").assert_outcomes(xpassed=3, deselected=1)
    simulated.write(COUNTED + text.format(slow="slow=True"))
    options = ("--nsys-baseline", "-k", "not strict", "-rfx", "--nsys-markdown=r.md")
    result, tests = simulated.results(*options)
    result.assert_outcomes(xfailed=2, failed=1, deselected=1)
    result.stdout.fnmatch_lines(["FAILED *::test_raises - * us (1x): gpu.kernel_time *"])
    # What pytest calls expected, all reports do.
    told = {name: (test["status"], test["failed"]) for name, test in tests.items()}
    assert told == {
        "test_loose": ("expected", False),
        "test_raises": ("regressed", True),
        "test_budget": ("expected", False),
    }
    markdown = (simulated.path / "r.md").read_text()
    assert "2 expected, 1 regressed" in markdown
    assert "**1 of 3 measured tests failed by it.**" in markdown
    result.stdout.fnmatch_lines(
        [
            "2 expected, 1 regressed",
            "expected: test_it.py::test_loose",
            "  gpu.kernel_time +100%*",
            "    *the test is marked xfail",
            "expected: test_it.py::test_budget",
            "  gpu.kernel_time is 200 us, over its budget of 150 us",
        ]
    )


def test_a_body_that_fails_in_a_later_call_says_so(simulated: Project) -> None:
    simulated.write(
        COUNTED
        + """
    made, calls = [], []

    def test_once():
        work()
        assert not made
        made.append(1)

    def test_skips_later():
        work()
        calls.append(1)
        if len(calls) > 3:
            pytest.skip("full")

    def test_fails_at_once():
        assert not "at once"

    def test_handed(nsys):
        calls = iter([1, 2])
        nsys(lambda: work(slow=next(calls)))

    def test_after_the_rounds(nsys):
        nsys(work)
        assert not "after the rounds"

    def test_swallows(nsys):
        calls = iter([1, 2])
        try:
            nsys(lambda: work(slow=next(calls)))
        except StopIteration:
            pass
    """
    )
    result = simulated.run("--nsys", "-rs")
    result.assert_outcomes(failed=5, skipped=1)
    said = [line for line in result.outlines if line.startswith("This was")]
    assert said == [
        "This was call 2 of 6 of the body; the calls before it passed.",
        "This was call 3 of 6 of what was handed to nsys(function, ...); the calls before it "
        "passed.",
    ]
    result.stdout.fnmatch_lines(
        [
            "can be repeated, measure that alone with nsys(function, ...)*",
            "the test passed, and only 1 of its 5 rounds ended",
            "SKIPPED * full (in call 4 of 6 of the body: earlier ones did not skip)",
        ]
    )


def test_a_recorded_test_without_a_capture_or_a_report_fails(simulated: Project) -> None:
    simulated.write(
        COUNTED
        + "\n    @pytest.mark.parametrize('n', [1, 2, 3])\n    def test_n(n):\n        work()\n"
    )
    assert simulated.run("--nsys-record=rec", "--nsys-update").ret == 0
    index = simulated.path / "rec/recording.json"
    recording = json.loads(index.read_text())
    recording["tests"][0]["captures"] = []
    recording["tests"][1]["reports"] = []
    index.write_text(json.dumps(recording))
    result = simulated.run("--nsys-replay=rec", "--nsys-baseline")
    result.assert_outcomes(failed=1, errors=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "not measured: *::test_n[[]1]: the test passed, and there is no capture of it",
            "not measured: *::test_n[[]2]: the recording has no report of its set-up",
        ]
    )


LATE = """
    import unittest

    @pytest.fixture
    def unclean():
        yield
        if BAD:
            pytest.skip("cannot be cleaned up")

    @pytest.fixture
    def doubtful():
        yield
        if BAD:
            pytest.xfail("cannot be cleaned up")

    @pytest.fixture
    def broken():
        yield
        assert not BAD, "cannot be cleaned up"

    def test_skips_late(unclean):
        work(slow=BAD)

    def test_fails_late(broken):
        work(slow=BAD)

    def test_is_good_and_fails_late(broken):
        work()

    def test_xfails_late(doubtful):
        work(slow=BAD)

    @pytest.mark.nsys(budget={"gpu.kernel_time": "150 us"})
    def test_has_a_budget(unclean):
        work(slow=BAD)

    def test_is_no_slower(unclean):
        work()

    class TestCase(unittest.TestCase):
        def test_skips_late(self):
            work(slow=BAD)

        def tearDown(self):
            if BAD:
                self.skipTest("cannot be cleaned up")
"""


def test_what_becomes_of_the_tear_down_takes_nothing_back(simulated: Project) -> None:
    simulated.write(COUNTED + LATE)
    assert simulated.run("--nsys-update").ret == 0
    (simulated.path / "bad").touch()
    result, tests = simulated.results("--nsys-baseline", "-o", "nsys_confirm=1")
    result.assert_outcomes(failed=5, passed=2, skipped=4, xfailed=1, errors=2)
    assert {name: test["status"] for name, test in tests.items()} == {
        "test_skips_late": "regressed",
        "test_fails_late": "regressed",
        "test_xfails_late": "regressed",
        "test_has_a_budget": "regressed",
        "test_is_no_slower": "ok",
        "TestCase::test_skips_late": "regressed",
    }
    assert result.stdout.str().count("current   200 us, 200 us") == 5, "measured again, too"
    alone = simulated.run("--nsys-baseline", "-k", "no_slower")
    assert alone.ret == 0, "it was measured"
