"""What the doctor prints: text, JSON, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys import __version__
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.cli import main as cli
from pytest_nsys.doctor import run
from pytest_nsys.doctor.checkup import Checkup, examine
from pytest_nsys.doctor.context import CheckResult
from pytest_nsys.doctor.machine import Driver, Volume
from pytest_nsys.doctor.run import checkup_document, checkup_lines
from pytest_nsys.doctor.trial import Trial, TrialStep
from tests.simgpu.standin import write_standin
from tests.support.fake_machine import HEALTHY, NSYS, made

GOOD = Trial(CheckResult("trial capture", "ok", "all is there"), (TrialStep("running", 1.25),))
BAD = Trial(
    CheckResult("trial capture", "problem", "failed while making the report", "", "see above"),
    (TrialStep("running", 1.25),),
)
NO_GPU = Driver(error="NVML Shared Library Not Found")


def good(nsys: NsysTool, needs_gpu: bool) -> Trial:
    assert (nsys, needs_gpu) == (NSYS, True)
    return GOOD


def test_a_healthy_machine_has_nothing_but_fine_results() -> None:
    checkup = examine(HEALTHY, None, good)
    assert checkup.healthy
    assert {result.status for result in checkup.results} == {"ok"}
    lines = checkup_lines(checkup)
    assert lines[0] == ("pytest-nsys doctor: captures can be made here (no problems, no warnings)")
    assert max(map(len, lines)) <= 80
    assert lines[-2:] == ["The trial capture took:", "    1.25 s  running"]


def test_every_check_is_made_and_named_once_on_a_healthy_machine() -> None:
    checks = [result.check for result in examine(HEALTHY, None, good).results]
    assert checks == [
        "nsys",
        "importer",
        "libraries",
        "GPU",
        "nsys and driver",
        "GPU metrics",
        "cupti",
        "ncu",
        "Python",
        "nvtx",
        "pyarrow",
        "temporary files",
        "shared memory",
        "home folder",
        "CPU sampling",
        "sessions",
        "other tools",
        "trial capture",
    ]


def test_problems_come_first_then_warnings_and_all_say_what_to_do() -> None:
    machine = made(
        said=NO_GPU,
        volumes={"/tmp": Volume("ext4", 1 << 30, 1 << 30)},
        missing={"libdw.so.1": "libdw.so.1: cannot open"},
    )
    checkup = examine(machine, None, lambda nsys, needs_gpu: BAD)
    lines = checkup_lines(checkup)
    text = "\n".join(lines)
    assert lines[0] == (
        "pytest-nsys doctor: captures will fail or be wrong (3 problems, 1 warning)"
    )
    first_words = [line.split(" ")[0] for line in lines if line[:1].strip()]
    assert first_words[1:5] == ["PROBLEM", "PROBLEM", "PROBLEM", "warning"]
    assert set(first_words[5:-1]) == {"ok"}
    assert text.count("What to do: ") == 4
    assert max(map(len, lines)) <= 80


def test_a_trial_that_went_well_disproves_what_would_have_made_it_fail() -> None:
    machine = made(
        missing={"libdw.so.1": "libdw.so.1: cannot open"},
        volumes={"/tmp": Volume("ext4", 1, 1 << 30)},
    )
    by = {result.check: result for result in examine(machine, None, good).results}
    assert by["libraries"].status == "warning"
    assert by["libraries"].what.endswith("; yet the trial went well")
    assert by["temporary files"].status == "problem"
    by = {result.check: result for result in examine(machine, None, lambda *_: BAD).results}
    assert by["libraries"].status == "problem"


def test_without_nsys_there_is_no_trial() -> None:
    def never(nsys: NsysTool, needs_gpu: bool) -> Trial:
        raise AssertionError

    checkup = examine(made(used=None, nsys={}), None, never)
    assert checkup.results[0].status == "problem"
    assert checkup.results[-1].status == "skipped"
    assert checkup.steps == ()
    assert "trial capture took" not in "\n".join(checkup_lines(checkup))


TEXT = st.text(alphabet="ab c-/\n", max_size=200)
FINDINGS = st.lists(
    st.builds(
        CheckResult,
        st.just("a check"),
        st.sampled_from(["ok", "warning", "problem", "skipped"]),
        TEXT,
        TEXT,
        TEXT,
    ),
    max_size=6,
)


@given(FINDINGS)
def test_every_word_is_printed_whole_and_lines_break_between_words(
    results: list[CheckResult],
) -> None:
    checkup = Checkup(tuple(results))
    lines = checkup_lines(checkup)
    printed = " ".join(lines).split()
    for result in results:
        for word in f"{result.what} {result.evidence} {result.remedy}".split():
            assert any(word in other for other in printed)
    for line in lines:
        assert len(line) <= 80 or " " not in line.strip().removeprefix("ok").strip()
        assert line == line.rstrip()


@given(FINDINGS, st.floats(0, 100))
def test_the_document_holds_everything(results: list[CheckResult], seconds: float) -> None:
    checkup = Checkup(tuple(results), (TrialStep("running", seconds),))
    document = json.loads(json.dumps(checkup_document(checkup)))
    assert document["schema"] == 1
    assert document["tool"] == {"name": "pytest-nsys", "version": __version__}
    assert document["healthy"] is all(f.status != "problem" for f in results)
    assert sum(document["counts"].values()) == len(results)
    assert [CheckResult(**result) for result in document["findings"]] == results
    assert document["trial"] == [{"step": "running", "seconds": pytest.approx(seconds, abs=0.001)}]


@pytest.mark.parametrize(("machine", "healthy"), [(HEALTHY, True), (made(said=NO_GPU), False)])
def test_a_machine_is_examined(
    machine: Any, healthy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "run_trial", lambda nsys, needs_gpu: GOOD)
    assert run.examine_here(None, machine).healthy is healthy


@pytest.fixture
def doctor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Runs the command with a trial that makes no capture."""
    monkeypatch.setattr(run, "run_trial", lambda nsys, needs_gpu: GOOD)

    def command(*arguments: object) -> tuple[int, str]:
        code = cli.main(["doctor", *map(str, arguments)])
        printed = capsys.readouterr()
        assert printed.err == ""
        return code, printed.out

    return command


def test_the_command_examines_the_nsys_that_it_is_given(
    doctor: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    nsys = write_standin(tmp_path, version="2025.3.1")
    code, printed = doctor("--nsys-executable", nsys, "--format=json")
    document = json.loads(printed)
    assert code == (0 if document["healthy"] else 1)
    assert document["findings"][0]["what"] == "nsys 2025.3.1 is used"
    assert document["findings"][0]["evidence"].splitlines()[0] == str(nsys)
    assert document["trial"] == [{"step": "running", "seconds": 1.25}]
    code, printed = doctor("--nsys-executable", tmp_path / "none")
    assert code == 1
    assert "PROBLEM  nsys: there is no program" in printed
    assert "--nsys-executable" in printed


def test_a_wrong_command_line_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor", "--xml"])
    assert caught.value.code == 2
