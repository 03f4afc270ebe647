"""Recordings: made where the GPU is, judged again where there is none, and safe to hand on."""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.harness import Project
from tests.support.seen import Story

TEST = """
    import pytest
    from story import tell

    def launch(*args):
        tell("ran")
        import simgpu
        simgpu.launch(*args)

    @pytest.mark.nsys
    def test_same():
        launch("gemm", {us})

    @pytest.mark.nsys(tolerance={{"gpu.kernel_time": "{tolerance}"}}, forbid=["memset*"])
    def test_slower(nsys):
        with nsys.range("part"):
            launch("gemm", {slower})

    @pytest.mark.nsys
    def test_fails():
        tell("ran")
        assert {us} == 0, "no good"

    @pytest.mark.nsys
    def test_skips():
        pytest.skip("not now")

    @pytest.mark.nsys(isolate=True)
    def test_dies():
        import os
        os._exit(5)

    @pytest.mark.nsys
    @pytest.mark.xfail(reason="known")
    def test_known():
        assert False

    def test_ordinary():
        tell("ordinary")
"""


@pytest.fixture
def recorded(simulated: Project, story: Story, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with baselines and a recording of a slower run, and neither nsys nor a GPU."""
    simulated.write(TEST.format(us=100, slower=100, tolerance="5%"))
    simulated.run("--nsys-update")
    simulated.write(TEST.format(us=100, slower=150, tolerance="5%"))
    live = simulated.run("--nsys-baseline", "--nsys-record=recording", "-rA")
    live.assert_outcomes(passed=2, failed=3, skipped=1, xfailed=1)
    (simulated.path / "bin/nsys").unlink()
    monkeypatch.delenv("PYTHONPATH")
    story.lines()
    return simulated


def test_a_recording_is_judged_again_without_nsys_or_gpu(
    recorded: Project, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = recorded
    result = project.run(
        "--nsys-baseline", "--nsys-replay=recording", "-rA", "--nsys-json=out.json"
    )
    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=3, skipped=1, xfailed=1, deselected=1)
    assert story.lines() == []
    result.stdout.fnmatch_lines_random(
        [
            "gpu.kernel_time +50.0%, limit 5%: gemm +50 us (1x); 100 us -> 150 us*",
            "*test_it.py:*: AssertionError: no good*",
            "*the worker ended suddenly with exit code 5*",
            "SKIPPED ?1? *test_it.py:*: not now",
            "XFAIL test_it.py::test_known - known",
            "PASSED test_it.py::test_same",
        ]
    )
    assert json.loads((project.path / "out.json").read_text())["tests"]
    # What to do fits a machine without a GPU, and pytest-xdist has nothing to distribute.
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{os.environ['PYTEST_ADDOPTS']} -p xdist")
    project.in_process = False
    spread = project.run("-n2", "--nsys-baseline", "--nsys-replay=recording")
    spread.assert_outcomes(passed=1, failed=3, skipped=1, xfailed=1, deselected=1)
    spread.stdout.fnmatch_lines(
        [
            "to measure it again (where its GPU is): pytest --nsys test_it.py::test_slower",
            "to accept it:",
            "  pytest --nsys-replay=recording --nsys-update test_it.py::test_slower",
        ]
    )
    baselines = project.path / "baselines"
    baselines.rename(project.path / "elsewhere")
    new = project.run("--nsys-replay=recording", "-k", "slower")
    new.stdout.fnmatch_lines(
        ["  record their baselines with: pytest --nsys-replay=recording --nsys-update-new"]
    )
    (project.path / "elsewhere").rename(baselines)
    project.in_process = True
    # Other tolerances, other verdict.
    project.write(TEST.format(us=100, slower=150, tolerance="60%"))
    result = project.run("--nsys-replay=recording", "-k", "same or slower")
    result.assert_outcomes(passed=2, deselected=5)
    # Baselines can be made from it too.
    result = project.run(
        "--nsys-update", "--nsys-replay=recording", "-k", "slower", "--nsys-processes=3"
    )
    result.assert_outcomes(passed=1, deselected=6)
    result.stdout.fnmatch_lines(
        [
            "note: baselines were made from the recording recording",
            "note: the baseline of test_it.py::test_slower is of 1 process in the place of 3:*",
            "updated test_it.py::test_slower",
        ]
    )

    project.write(TEST.format(us=100, slower=150, tolerance="5%").replace("_same", "_other"))
    noted = project.run("--nsys-replay=recording", "-k", "other", "-rs")
    assert noted.ret == 0
    noted.assert_outcomes(skipped=1, deselected=6)
    noted.stdout.fnmatch_lines(["SKIPPED *: it is not in the recording"])
    failed = project.run("--nsys-baseline", "--nsys-replay=recording", "-k", "other")
    assert failed.ret == 1
    failed.stdout.fnmatch_lines(["it is not in the recording"])
    assert story.lines() == []


def break_index(folder: Path) -> None:
    index = folder / "recording.json"
    index.write_text(index.read_text()[:-20])


def make_newer(folder: Path) -> None:
    index = folder / "recording.json"
    index.write_text(index.read_text().replace('"schema": 2', '"schema": 99'))


def break_capture(folder: Path) -> None:
    capture = folder / "capture-1.sqlite.xz"
    capture.write_bytes(capture.read_bytes()[:200])


def lead_astray(folder: Path) -> None:
    index = folder / "recording.json"
    index.write_text(index.read_text().replace("capture-1.sqlite.xz", "../secret.sqlite.xz"))


DAMAGES: dict[str, tuple[Callable[[Path], None], int, list[str]]] = {
    "missing": (
        lambda folder: (folder / "recording.json").unlink(),
        4,
        ["*there is no recording in *recording", "What to do: name a folder that *"],
    ),
    "damaged": (break_index, 4, ["*recording.json is damaged", "What to do: record *"]),
    "newer": (
        make_newer,
        4,
        ["*recording.json was written by a newer pytest-nsys", "What to do: upgrade pytest-nsys"],
    ),
    "capture damaged": (
        break_capture,
        1,
        ["*capture-1.sqlite.xz cannot be unpacked", "What to do: record the run again*"],
    ),
    "capture missing": (
        lambda folder: (folder / "capture-1.sqlite.xz").unlink(),
        1,
        ["*capture-1.sqlite.xz cannot be unpacked", "What to do: record the run again*"],
    ),
    "elsewhere": (
        lead_astray,
        1,
        ["*names a file outside its folder: '../secret.sqlite.xz'", "What to do: do not use *"],
    ),
}


def test_a_damaged_recording_is_one_clear_error(simulated: Project, story: Story) -> None:
    simulated.write(TEST.format(us=100, slower=100, tolerance="5%"))
    simulated.run("--nsys", "--nsys-record=recording", "-k", "same or slower")
    story.lines()
    folder = simulated.path / "recording"
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    for name, (damage, code, lines) in DAMAGES.items():
        damage(folder)
        result = simulated.run("--nsys", "--nsys-replay=recording", "-k", "same or slower")
        shown = result.stdout.str() + result.stderr.str()
        assert result.ret == code, (name, shown)
        assert "passed" not in shown.splitlines()[-1], name
        (result.stderr if code == 4 else result.stdout).fnmatch_lines(lines)
        assert "Traceback" not in shown
        for path, data in whole.items():
            path.write_bytes(data)
    assert story.lines() == []


def test_a_recording_holds_nothing_of_the_machine_it_was_made_on(
    simulated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "sekrit-variable")
    simulated.write(
        """
        import subprocess, sys
        import pytest, simgpu

        pytestmark = pytest.mark.nsys(rounds=1, warmup=0)

        def test_prints(nsys, record_property, caplog):
            print("sekrit-stdout")
            print("sekrit-stderr", file=sys.stderr)
            record_property("where", "sekrit-property")
            subprocess.run([sys.executable, "-c", "pass", "sekrit-argument"], check=True)
            simgpu.launch("gemm", 10)

        def test_fails():
            value = "sekrit-local"
            print("sekrit-stdout")
            assert value == ""[:0] or False, "it failed"

        def test_skips():
            pytest.skip("not now")

        def test_errors(tmp_path):
            (tmp_path / "missing-file").read_text()
        """
    )
    simulated.write(
        "def pytest_addoption(parser):\n    parser.addoption('--login')\n", "conftest.py"
    )
    result = simulated.run("--nsys", "--nsys-record=out/recording", "--login=sekrit-option")
    result.assert_outcomes(passed=1, failed=2, skipped=1)
    folder = simulated.path / "out/recording"
    assert {path.name for path in folder.iterdir()} == {"recording.json", "capture-1.sqlite.xz"}
    for path in folder.iterdir():
        data = path.read_bytes()
        if path.suffix == ".xz":
            data = lzma.decompress(data)
            assert b"gemm" in data
        for word in (
            b"sekrit-variable",
            b"sekrit-std",
            b"sekrit-property",
            b"sekrit-argument",
            b"sekrit-local",
            b"sekrit-option",
            b"API_TOKEN",
            bytes(simulated.path),
        ):
            assert word not in data, (path, word)


def test_a_recording_keeps_the_parameters_by_which_its_tests_are_compared(
    simulated: Project, command: Callable[..., tuple[int, str, str]]
) -> None:
    simulated.write(
        """
        import pytest
        import simgpu

        @pytest.mark.nsys
        @pytest.mark.parametrize("size", [1, 2])
        @pytest.mark.parametrize("dtype", [pytest.param("float16", id="fp-16"), "bf16"])
        def test_gemm(dtype, size):
            simgpu.launch("gemm", 100 * size)
        """
    )
    simulated.run("--nsys", "--nsys-record=recording").assert_outcomes(passed=4)
    code, out, err = command("compare", simulated.path / "recording", "--by", "size")
    assert (code, err) == (0, "")
    assert out.count("size 1 -> 2: kernel time +100%") == 2
    titles = [line for line in out.splitlines() if ", dtype" in line]
    assert [title.partition("::")[2] for title in titles] == [
        "test_gemm, dtype fp-16",
        "test_gemm, dtype bf16",
    ]
