"""A gate that has looked at nothing says so, and fails."""

from __future__ import annotations

import json

import pytest

from tests.support.harness import Project

WORK = "import pytest, simgpu\n\ndef work():\n    simgpu.launch('k', 10)\n\n"
PLAIN = "def test_plain():\n    work()\n\n"
MARKED = "@pytest.mark.nsys(rounds=1)\ndef test_marked():\n    work()\n\n"
SKIPS = "@pytest.mark.nsys\ndef test_skips():\n    pytest.skip('no memory')\n\n"
CAPITAL = "@pytest.mark.NSYS\ndef test_capital():\n    work()\n\n"
ASKS = "def test_asks(nsys):\n    nsys(work)\n\n"
TYPO = "@pytest.mark.nysy\ndef test_typo():\n    work()\n\n"


@pytest.mark.parametrize(
    ("tests", "args", "lines"),
    [
        (PLAIN, (), ["no test was measured: 1 test, none marked nsys"]),
        (
            PLAIN + TYPO,
            (),
            [
                "*: 2 tests, none marked nsys",
                "  is @pytest.mark.nysy meant to be @pytest.mark.nsys?",
            ],
        ),
        (
            CAPITAL + ASKS,
            (),
            [
                "*: 2 tests, none marked nsys",
                "  is @pytest.mark.NSYS meant to be @pytest.mark.nsys?",
                "  with the fixture nsys and no mark: 1 test",
            ],
        ),
        (
            PLAIN + MARKED,
            ("-k", "plain"),
            ["*: 2 tests, 1 marked nsys", "  1 marked and deselected by -k, -m or a plugin"],
        ),
        (PLAIN + SKIPS, (), ["*: 2 tests, 1 marked nsys", "  1 skipped: no memory"]),
        (
            PLAIN + MARKED,
            ("-k", "none"),
            ["*: 2 tests, 1 marked nsys", "  1 marked and deselected by -k, -m or a plugin"],
        ),
    ],
)
def test_the_gate_fails_where_nothing_was_measured(
    simulated: Project, tests: str, args: tuple[str, ...], lines: list[str]
) -> None:
    simulated.write(WORK + tests)
    result = simulated.run("--nsys-baseline", "-q", *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        [*lines, "  the gate fails*nsys_allow_none = true"], consecutive=True
    )
    result = simulated.run("--nsys-baseline", "-q", "-o", "nsys_allow_none=true", *args)
    assert result.ret == (pytest.ExitCode.NO_TESTS_COLLECTED if "none" in args else 0)
    result.stdout.fnmatch_lines(lines, consecutive=True)
    assert "the gate fails" not in result.stdout.str()


def test_what_pytest_says_itself_stays(simulated: Project) -> None:
    simulated.write(WORK + PLAIN)
    assert simulated.run("--nsys", "-q").ret == 0
    assert simulated.run("--nsys-baseline", "--collect-only", "-q").ret == 0
    for option in ("--setup-plan", "--setup-only"):
        looked = simulated.run("--nsys-baseline", option, "-q")
        assert looked.ret == 0
        looked.stdout.fnmatch_lines([f"no test was measured: with {option} none is run"])
    simulated.write(WORK + "def test_fails():\n    assert False\n")
    assert simulated.run("--nsys-baseline", "-q").ret == pytest.ExitCode.TESTS_FAILED
    (simulated.path / "test_it.py").unlink()
    assert simulated.run("--nsys-baseline", "-q").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_gate_of_a_recording_of_which_all_was_deselected_fails(simulated: Project) -> None:
    simulated.write(WORK + MARKED)
    assert simulated.run("--nsys", "-q", "--nsys-record=recording").ret == 0
    result = simulated.run("--nsys-baseline", "--nsys-replay=recording", "-k", "none")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        [
            "no test was measured: 1 test, 1 marked nsys",
            "  1 marked and deselected by -k, -m or a plugin",
            "  the gate fails*nsys_allow_none = true",
        ],
        consecutive=True,
    )


def test_a_test_with_a_baseline_that_was_skipped_is_listed(simulated: Project) -> None:
    def tests(skipped: str, xfailed: str) -> str:
        return (
            WORK
            + MARKED
            + f"@pytest.mark.nsys\ndef test_skipped():\n    {skipped}\n    work()\n\n"
            + f"@pytest.mark.nsys\ndef test_xfailed():\n    {xfailed}\n    work()\n\n"
            + SKIPS
        )

    simulated.write(tests("", ""))
    assert simulated.run("--nsys-update", "-q").ret == 0
    simulated.write(tests("pytest.skip('no memory')", "pytest.xfail('not now')"))
    result = simulated.run("--nsys-baseline", "--nsys-json=r.json", "--nsys-markdown=r.md")
    result.assert_outcomes(passed=1, skipped=2, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "3 unmeasured, 1 ok",
            "skipped, with a baseline: test_it.py::test_skipped",
            "xfailed, with a baseline: test_it.py::test_xfailed",
        ]
    )
    assert "baseline: test_it.py::test_skips" not in result.stdout.str()
    assert json.loads((simulated.path / "r.json").read_text())["unmeasured"] == [
        {"nodeid": f"test_it.py::{name}", "reason": reason, "baselines": devices}
        for name, reason, devices in (
            ("test_skipped", "skipped", ["nvidia-h200"]),
            ("test_xfailed", "xfailed", ["nvidia-h200"]),
            ("test_skips", "skipped", []),
        )
    ]
    markdown = (simulated.path / "r.md").read_text()
    assert "2 not measured, with a baseline" in markdown
    assert "memory" not in markdown

    failing = simulated.run("--nsys-baseline", "-o", "nsys_skipped=fail", "--junitxml=junit.xml")
    failing.assert_outcomes(passed=1, skipped=1, xfailed=1, failed=1)
    reason = "Skipped: no memory; it has a baseline (nvidia-h200), and nsys_skipped = fail"
    failing.stdout.fnmatch_lines([reason])
    assert simulated.run("--nsys", "-o", "nsys_skipped=fail").ret == 0


def test_what_was_skipped_before_it_was_collected_is_listed(simulated: Project) -> None:
    simulated.write(WORK + MARKED)
    some = "@pytest.mark.nsys\n@pytest.mark.parametrize('p', [{}])\ndef test_some(p):\n    work()\n"
    simulated.write(WORK + some.format(1), "test_some.py")
    simulated.write(WORK + MARKED, "test_module.py")
    simulated.write("", "package/__init__.py")
    simulated.write(WORK + MARKED, "package/test_inside.py")
    assert simulated.run("--nsys-update", "-q").ret == 0
    skips = "import pytest; pytest.importorskip('no_such_module')\n"
    simulated.write(WORK + some.format(""), "test_some.py")
    simulated.write(skips + WORK + MARKED, "test_module.py")
    simulated.write(skips, "package/__init__.py")
    names = ["package/test_inside.py::test_marked", "test_module.py::test_marked"]
    names.append("test_some.py::test_some[[]1]")

    result = simulated.run("--nsys-baseline", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"skipped, with a baseline: {name}" for name in names])
    assert "without a test" not in result.stdout.str()
    chosen = simulated.run("--nsys-baseline", "-q", "-k", "marked")
    assert "with a baseline" not in chosen.stdout.str(), "they may not have been chosen"

    failing = simulated.run("--nsys-baseline", "-q", "-o", "nsys_skipped=fail", "-o", "addopts=-rf")
    assert failing.ret == pytest.ExitCode.TESTS_FAILED
    assert failing.parseoutcomes()["failed"] == 3
    failing.stdout.fnmatch_lines(
        [
            "Skipped: could not import 'no_such_module'*; it has a baseline (nvidia-h200), and *",
            "Skipped: its set of parameters is empty; it has a baseline (nvidia-h200), and *",
            *(f"FAILED {name}*" for name in names),
        ]
    )
    for name in ("test_it.py", "test_some.py", "package/test_inside.py"):
        (simulated.path / name).unlink()
    alone = simulated.run("--nsys-baseline", "-q", "-o", "nsys_skipped=fail", "test_module.py")
    assert alone.ret == pytest.ExitCode.TESTS_FAILED
    alone.stdout.fnmatch_lines(["skipped, with a baseline: test_module.py::test_marked"])


def test_reports_say_that_nothing_was_measured(simulated: Project) -> None:
    simulated.write(WORK + MARKED)
    assert simulated.run("--nsys-update", "-q").ret == 0
    simulated.write("import pytest; pytest.importorskip('no_such_module')\n" + WORK + MARKED)
    result, _ = simulated.results("--nsys-baseline", "--nsys-markdown=r.md", "--nsys-record=r")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    document = json.loads((simulated.path / "results.json").read_text())
    assert document["tests"] == []
    assert [test["nodeid"] for test in document["unmeasured"]] == ["test_it.py::test_marked"]
    assert "1 not measured, with a baseline" in (simulated.path / "r.md").read_text()
    assert not (simulated.path / "r").exists()


@pytest.mark.parametrize("mode", ["--nsys", "--nsys-baseline"])
def test_a_recording_of_another_suite_is_refused_once(simulated: Project, mode: str) -> None:
    simulated.write(WORK + MARKED, "test_other.py")
    assert simulated.run("--nsys-record=rec", "--nsys", "-q").ret == 0
    (simulated.path / "test_other.py").unlink()
    simulated.write(WORK + MARKED + MARKED.replace("test_marked", "test_b"))
    result = simulated.run("--nsys-replay=rec", mode)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stderr.str()
    assert "rec has no test of the files that were collected" in said
    assert "recorded: test_other.py\n  collected: test_it.py\n" in said
    assert "name another recording, or run pytest where test_other.py is" in said
    assert "not in the recording" not in result.stdout.str()


def test_recorded_tests_that_nobody_ran_are_listed(simulated: Project) -> None:
    simulated.write(WORK + MARKED + MARKED.replace("test_marked", "test_b"))
    simulated.write(WORK + MARKED, "test_other.py")
    assert simulated.run("--nsys-record=rec", "--nsys-update", "-q").ret == 0
    result = simulated.run("--nsys-replay=rec", "--nsys-baseline", "test_it.py", "-k", "marked")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "not measured: test_other.py::test_marked: *recording, and was not collected",
            "note: 1 test of the recording: deselected",
        ]
    )
    chosen = simulated.run("--nsys-replay=rec", "--nsys-baseline", "test_it.py::test_marked")
    chosen.stdout.fnmatch_lines(["note: 2 tests of the recording: deselected"])
    assert "not measured" not in chosen.stdout.str()
    both = simulated.run("--nsys-replay=rec", "test_it.py", "test_other.py::test_marked")
    both.assert_outcomes(passed=3)
    assert "of the recording" not in both.stdout.str()
