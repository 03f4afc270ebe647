"""``pytest-nsys judge``: a recording gated without its test modules, as a replay does."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.plugin.conftest import Judge
from tests.support.formats import check_bencher, check_github
from tests.support.harness import ROOT, Project

EXAMPLES = [
    ROOT / "examples" / folder / "recordings" / name
    for folder, names in (("", ("h200", "h200-slips")), ("servers", ("h200", "h200-slip")))
    for name in names
]

TEST = """
    import pytest
    import simgpu

    pytestmark = pytest.mark.nsys(rounds=3, warmup=0)

    @pytest.mark.parametrize("size", ["a[b]", "c"])
    def test_ok(size):
        simgpu.launch("gemm", 100)

    def test_regressed():
        simgpu.launch("gemm", {us})

    @pytest.mark.nsys(tolerance={{"gpu.kernel_time": ("90%", "1 us")}})
    def test_tolerated():
        simgpu.launch("gemm", {us})

    def test_improved():
        simgpu.launch("gemm", 350 - 2 * {us})

    @pytest.mark.nsys(expected={{"metric": "gpu.*", "until": "2999-01-01", "reason": "known"}})
    def test_accepted():
        simgpu.launch("gemm", {us})

    @pytest.mark.nsys(budget={{"gpu.kernel_time": "120 us"}})
    def test_over_budget():
        simgpu.launch("gemm", 100 if {us} == 100 else 121)

    @pytest.mark.nsys(forbid=["norm*"])
    def test_violated():
        simgpu.launch("gemm" if {us} == 100 else "norm", 100)

    @pytest.mark.nsys(allow_empty=True)
    def test_nothing():
        pass

    def test_parts(nsys):
        with nsys.range("part"):
            simgpu.launch("gemm", {us})
        nsys.units(tokens=4)

    def test_fails():
        simgpu.launch("gemm", 100)
        assert {us} == 100, "no good"

    def test_skips():
        if {us} != 100:
            pytest.skip("not now")
        simgpu.launch("gemm", 100)

    @pytest.mark.xfail(reason="known")
    def test_known():
        simgpu.launch("gemm", 100)
        assert False

    @pytest.mark.xfail(strict=True, reason="slow")
    def test_strictly_slow():
        simgpu.launch("gemm", {us})

    @pytest.mark.xfail(strict=True, reason="was broken")
    def test_strictly_broken():
        simgpu.launch("gemm", 100)

    @pytest.mark.xfail(raises=ValueError, reason="a bug", strict=False)
    def test_slow_with_a_bug():
        simgpu.launch("gemm", {us})
"""

NEW = """

    def test_new():
        simgpu.launch("gemm", 100)
"""


def judged(path: Path) -> dict[str, Any]:
    """What a report in JSON says, but for how its run was started and how long it took."""
    document: dict[str, Any] = json.loads(path.read_text())
    return {key: value for key, value in document.items() if key not in ("command", "seconds")}


def markdown(path: Path) -> list[str]:
    """What a report in Markdown says, but for how its run was started."""
    lines = path.read_text().splitlines()
    return [line for line in lines if "<code>pytest" not in line or "measure" in line.lower()]


def cases(path: Path) -> list[Any]:
    """What a JUnit file says of each test, but for how long it took."""
    return [
        (
            case.get("classname"),
            case.get("name"),
            sorted((one.get("name"), one.get("value")) for one in case.iter("property")),
            [(one.tag, one.get("message"), one.text) for one in case if one.tag != "properties"],
        )
        for case in ET.parse(path).iter("testcase")
    ]


def exported(folder: Path, name: str) -> tuple[Any, dict[str, Any]]:
    """What was exported for Bencher, and for github-action-benchmark by the name of the list."""
    lists = {path.stem: json.loads(path.read_text()) for path in (folder / name).iterdir()}
    return json.loads((folder / f"{name}.bmf").read_text()), lists


def assert_both_agree(judge: Judge, replayed: int, folder: Path, recording: object) -> str:
    """That the command says what the replay did, which wrote its reports into the folder."""
    reports = ("json", "html", "markdown", "junit")
    files = {name: folder / f"judged.{name}" for name in reports}
    exports = (
        f"--export=bencher:{folder}/judged.bmf",
        f"--export=github-benchmark:{folder}/judged",
    )
    options = (f"--{name}={path}" for name, path in files.items())
    code, out, err = judge(recording, *options, *exports)
    assert (code, err) == (replayed, "")
    assert judged(files["json"]) == judged(folder / "replayed.json")
    assert cases(files["junit"]) == cases(folder / "replayed.junit")
    assert markdown(files["markdown"]) == markdown(folder / "replayed.markdown")
    assert files["html"].stat().st_size > 10_000
    bencher, lists = exported(folder, "judged")
    assert (bencher, lists) == exported(folder, "replayed")
    check_bencher(bencher)
    for entries in lists.values():
        check_github(entries)
    assert sum(map(len, lists.values())) == sum(map(len, bencher.values())) > 0
    return out


def replay(project: Project, recording: object, *options: str) -> int:
    """Judge it with pytest, and keep the reports."""
    result = project.run(
        *("--nsys-baseline", f"--nsys-replay={recording}", "--nsys-json=replayed.json"),
        *("--nsys-markdown=replayed.markdown", "--junitxml=replayed.junit", *options),
        *("--nsys-export=bencher:replayed.bmf", "--nsys-export=github-benchmark:replayed"),
    )
    return int(result.ret)


@pytest.mark.parametrize("recording", EXAMPLES, ids=lambda path: "/".join(path.parts[-3::2]))
def test_it_agrees_with_a_replay_of_the_examples(
    project: Project, judge: Judge, recording: Path
) -> None:
    source = recording.parents[1]
    for path in source.glob("test_*.py"):
        shutil.copy(path, project.path)
    baselines = source / "baselines" if "servers" in source.parts else ROOT / "baselines"
    (project.path / "baselines").symlink_to(baselines)
    expected = replay(project, recording)
    assert expected == ("slip" in recording.name)
    assert_both_agree(judge, expected, project.path, recording)
    served = (project.path / "judged/customBiggerIsBetter.json").exists()
    assert served == ("servers" in source.parts), "tokens per second are better the more they are"


@pytest.fixture
def recorded(simulated: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with baselines and a recording of a run that got worse, and no nsys."""
    simulated.ini("nsys_tolerance = gpu.kernel_time=30%", "nsys_skipped = fail")
    simulated.write(TEST.format(us=100))
    simulated.run("--nsys-update")
    simulated.write(TEST.format(us=150) + NEW)
    simulated.run("--nsys-baseline", "--nsys-record=recording")
    (simulated.path / "bin/nsys").unlink()
    monkeypatch.delenv("PYTHONPATH")
    return simulated


def test_it_agrees_with_a_replay_on_every_status(recorded: Project, judge: Judge) -> None:
    module = recorded.path / "test_it.py"
    text = module.read_text().replace("import simgpu\n", "")
    module.write_text(text)
    assert replay(recorded, "recording") == 1
    statuses = {test["status"] for test in judged(recorded.path / "replayed.json")["tests"]}
    assert statuses >= {"ok", "improved", "expected", "new", "violated", "over budget", "regressed"}
    (recorded.path / "pytest.ini").unlink()
    module.write_text("raise RuntimeError('it was imported')")
    recorded.write("raise RuntimeError('it was imported')", "conftest.py")
    out = assert_both_agree(judge, 1, recorded.path, "recording")
    assert "(where its GPU is): pytest --nsys test_it.py::test_regressed" in out
    assert "FAILED test_it.py::test_fails - " in out
    assert "FAILED test_it.py::test_skips" in out, "nsys_skipped = fail was in force"
    command = json.loads((recorded.path / "judged.json").read_text())["command"]
    assert command.startswith("pytest-nsys judge ... --json=...")

    code, out, _ = judge("recording", "--tolerance=60%", "-v")
    assert code == 1
    assert "test_it.py::test_regressed PASSED" in out


CODE = """
    import pytest
    import simgpu

    def right(measured):
        return True

    @pytest.mark.nsys(check=right)
    def test_checked():
        simgpu.launch("gemm", 100)

    @pytest.mark.nsys(check=right)
    def test_checked_and_fails():
        assert False, "no good"

    @pytest.mark.nsys(check=right)
    def test_checked_and_skips():
        pytest.skip("not now")

    @pytest.mark.nsys(check=right)
    @pytest.mark.xfail(reason="known")
    def test_checked_and_xfails():
        assert False
"""


def test_a_check_is_code_and_says_that_it_needs_pytest(simulated: Project, judge: Judge) -> None:
    simulated.write(CODE)
    simulated.run("--nsys-update", "--nsys-record=recording").assert_outcomes(
        passed=1, failed=1, skipped=1, xfailed=1
    )
    code, out, _ = judge("recording", "--json=judged.json")
    assert code == 1
    lines = out.splitlines()
    assert lines[-1].startswith("2 failed, 1 skipped, 1 xfailed in ")
    what = "it is not judged: check= of its marker is code, which a recording does not keep"
    assert what in lines
    assert (
        "What to do: judge it with pytest and the test modules: "
        "pytest --nsys-baseline --nsys-replay=recording" in lines
    )
    assert f"not measured: test_it.py::test_checked: {what}" in lines
    unmeasured = {one["nodeid"].partition("::")[2] for one in unmeasured_in(simulated.path)}
    assert unmeasured >= {"test_checked", "test_checked_and_fails"}


def unmeasured_in(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = judged(folder / "judged.json")["unmeasured"]
    return found


HOOKS = """
    def pytest_nsys_kernel_name(name):
        return "a gemm" if name.startswith("gemm") else None
"""


def test_hooks_of_the_project_are_needed_and_may_be_in_a_plugin(
    simulated: Project, judge: Judge
) -> None:
    simulated.write(TEST.format(us=100).partition("def test_regressed")[0])
    simulated.write(HOOKS, "conftest.py")
    simulated.run("--nsys-update", "--nsys-record=recording").assert_outcomes(passed=2)
    code, _, err = judge("recording")
    assert code == 4
    assert "were measured with hooks of their project\n  pytest_nsys_kernel_name\n" in err
    assert "--nsys-replay=recording" in err
    simulated.write(HOOKS, "names_of_kernels.py")
    code, _, err = judge("recording", "-p", "names_of_kernels", "--json=judged.json")
    assert (code, err) == (0, "")
    assert "a gemm" in (simulated.path / "judged.json").read_text()


def test_what_cannot_be_judged(simulated: Project, judge: Judge) -> None:
    code, _, err = judge("nowhere")
    assert code == 4
    assert err.startswith("pytest-nsys: there is no recording in nowhere\n")

    folder = simulated.path / "recording"
    shutil.copytree(EXAMPLES[0], folder)
    for given, name in {"": "baselines", "--baseline-dir=elsewhere": "elsewhere"}.items():
        code, _, err = judge("recording", *filter(None, [given]))
        assert code == 4
        where = simulated.path / name
        assert err.startswith(f"pytest-nsys: there is no folder of baselines {where}\n")
        assert "What to do: name it with --baseline-dir" in err
    (simulated.path / "baselines").mkdir()
    index = folder / "recording.json"
    data = json.loads(index.read_text())
    index.write_text(json.dumps({key: value for key, value in data.items() if key != "marks"}))
    code, _, err = judge("recording")
    assert code == 4
    assert "recording/recording.json does not say how its tests are to be judged\n" in err
    assert "pytest --nsys-baseline --nsys-replay=recording" in err

    index.write_text(json.dumps({**data, "tests": [], "marks": {}}))
    code, _, err = judge("recording")
    assert code == 4
    assert "recording is a recording without tests\n" in err

    marks = data["marks"]
    marks["test_examples.py::test_gemm"]["arguments"]["tolerance"] = {"gpu.kernel_tim": "3%"}
    index.write_text(json.dumps(data))
    code, _, err = judge("recording")
    assert code == 4
    assert "test_examples.py::test_gemm: @pytest.mark.nsys has tolerance={'gpu.kernel_tim'" in err
    assert "did you mean 'gpu.kernel_time'?" in err
    code, _, err = judge("recording", "--tolerance=wrong")
    assert code == 4

    for option, value in {"addopts": "-p evil", "nsys_html": "evil", "log_file": "evil"}.items():
        index.write_text(json.dumps({**data, "options": {option: value}}))
        code, _, err = judge("recording")
        assert code == 4
        assert f"has options that do not say how to judge\n  {option}\n" in err
    assert not (simulated.path / "evil").exists()
    for name in ("test_it.py::test\x1b[2J", "test_it.py::test\n3 passed", "::error::no"):
        index.write_text(json.dumps({**data, "marks": {name: {}}}))
        code, _, err = judge("recording")
        assert code == 4
        assert f"names a test by what is no name\n  {name!a}\n" in err


def test_an_empty_name_is_no_recording(
    project: Project, judge: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        judge("")
    assert "RECORDING: it is empty (is a variable not set?)" in capsys.readouterr().err
