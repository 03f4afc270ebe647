"""Several recordings judged as one run: parts of a suite, further processes, several devices."""

from __future__ import annotations

import json
import shutil
import weakref
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.storage.recordings import replay
from pytest_nsys.storage.recordings.recording import RecordedCapture, load_capture
from pytest_nsys.trace import Trace
from tests.plugin.conftest import Judge
from tests.support.harness import Project

A100 = "nvidia-a100-sxm4-80gb"

TEST = """
    import pytest
    import simgpu

    pytestmark = pytest.mark.nsys(rounds=2, warmup=0)

    @pytest.mark.parametrize("size", [1, 2])
    def test_gemm(size):
        simgpu.launch("gemm", size * {us})

    def test_norm():
        simgpu.launch("norm", {us})
"""


def change(recording: Path, **values: Any) -> None:
    """Change what the index of a recording says."""
    index = recording / "recording.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), **values}))


def names(path: Path) -> dict[str, str]:
    """The test cases of a JUnit file, and what each failed by."""
    return {
        case.get("name", ""): "".join(
            one.text or "" for one in case if one.tag in ("failure", "error")
        ).split("\n")[0]
        for case in ET.parse(path).iter("testcase")
    }


def rows_of(path: Path) -> list[Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return [
        (test["nodeid"].partition("::")[2], test["device"], test["status"], test["recordings"])
        for test in document["tests"]
    ]


@pytest.fixture
def parts(simulated: Project) -> Project:
    """A project with baselines and a suite that two jobs recorded."""
    simulated.write(TEST.format(us=100))
    simulated.run("--nsys-update")
    for number, chosen in enumerate(("gemm", "norm")):
        options = (f"--nsys-record=recordings/{number}", f"--nsys-part={number}/2")
        simulated.run("--nsys", "-k", chosen, *options)
    return simulated


def test_parts_of_a_suite_are_judged_as_one(parts: Project, judge: Judge) -> None:
    named = ("--nsys-replay=recordings/0", "--nsys-replay=recordings/1")
    for given in (("--nsys-replay=recordings",), named):
        result = parts.run("--nsys-baseline", *given)
        result.assert_outcomes(passed=3)
        assert "judged as one" not in result.stdout.str(), "parts say so themselves"
    for recordings in (("recordings",), ("recordings/1", "recordings/0")):
        code, out, err = judge(*recordings, "--json=out.json", "--junit=out.xml")
        assert (code, err) == (0, ""), out
    assert sorted(rows_of(parts.path / "out.json")) == [
        ("test_gemm[1]", "nvidia-h200", "ok", ["recordings/0"]),
        ("test_gemm[2]", "nvidia-h200", "ok", ["recordings/0"]),
        ("test_norm", "nvidia-h200", "ok", ["recordings/1"]),
    ]
    found = [
        (one.get("name"), one.get("value"))
        for case in ET.parse(parts.path / "out.xml").iter("testcase")
        for one in case.iter("property")
        if one.get("name") in ("nsys.recording", "nsys.device") and case.get("name") == "test_norm"
    ]
    assert found == [("nsys.device", "nvidia-h200"), ("nsys.recording", "recordings/1")]


def test_a_part_that_is_missing_fails_the_gate(parts: Project, judge: Judge) -> None:
    capture = parts.path / "recordings/1/capture-1.sqlite.xz"
    capture.write_bytes(capture.read_bytes()[:200])
    code, out, _ = judge("recordings")
    assert code == 1
    assert "1 failed, 2 passed" in out
    assert "capture-1.sqlite.xz cannot be unpacked" in out

    shutil.rmtree(parts.path / "recordings/1")
    what = "1 of 2 parts are there: 0"
    reports = ("--json=out.json", "--junit=out.xml", "--markdown=out.md", "--html=out.html")
    code, out, _ = judge("recordings", *reports)
    assert code == 1
    assert "FAILED recordings::complete - 1 of 2 parts are there: 0" in out
    assert f"not measured: recordings::complete: {what}" in out
    assert names(parts.path / "out.xml") == {
        "test_gemm[1]": "",
        "test_gemm[2]": "",
        "complete": what,
    }
    document = json.loads((parts.path / "out.json").read_text())
    assert document["unmeasured"] == [
        {"nodeid": "recordings::complete", "reason": what, "baselines": []}
    ]
    assert "GPU performance: 2 ok, 1 unmeasured" in (parts.path / "out.md").read_text()
    assert what in (parts.path / "out.html").read_text()

    gate = parts.run("--nsys-baseline", "--nsys-replay=recordings")
    gate.assert_outcomes(passed=2, failed=1, errors=1)  # here it is known which test is missing
    looked = parts.run("--nsys", "--nsys-replay=recordings")
    looked.assert_outcomes(passed=2, skipped=1)
    looked.stdout.fnmatch_lines([f"not measured: recordings::complete: {what}"])


def test_what_does_not_belong_together_is_refused(parts: Project, judge: Judge) -> None:
    first, second = (parts.path / "recordings" / name for name in "01")
    copy = parts.path / "copy"
    shutil.copytree(second, copy)

    def refused(*recordings: str) -> str:
        code, out, err = judge(*recordings)
        assert code == 4
        result = parts.run("--nsys-baseline", *(f"--nsys-replay={one}" for one in recordings))
        assert result.ret == 4
        assert "Traceback" not in out + err + result.stderr.str()
        return out + err

    assert "recordings/1 is named twice" in refused("recordings", "recordings/1")
    (first.parent / "2").symlink_to("1")
    assert "it is the folder that recordings/1 is, too" in refused("recordings")
    (first.parent / "2").unlink()
    assert "recordings/1 and copy are the same part" in refused("recordings", "copy")
    change(second, part={"number": 2, "of": 2})
    assert "recordings/0: part 0 of 2\n  recordings/1: part 2 of 2\n" in refused("recordings")
    change(second, part={"number": 1, "of": 2})
    change(copy, part={"number": 2, "of": 3})
    assert "parts of several wholes" in refused("recordings", "copy")
    index = json.loads((copy / "recording.json").read_text())
    del index["part"]
    (copy / "recording.json").write_text(json.dumps(index))
    assert "copy have a process of test_it.py::test_norm in common" in refused("recordings", "copy")
    shutil.rmtree(copy)
    change(first, commit="a" * 40)
    change(second, commit="b" * 40)
    assert f"recordings/1: {'b' * 40}" in refused("recordings")
    change(second, commit="a" * 40, schema=3)
    assert "newer pytest-nsys" in refused("recordings")
    change(second, schema=1)  # what an older version wrote is taken as what it is
    assert judge("recordings")[0] == 0
    (second / "recording.json").unlink()
    assert "there is no recording in" in refused("recordings")
    (second / "recording.json").write_text("{")
    assert "is damaged" in refused("recordings")


def test_recordings_that_are_to_be_judged_otherwise_need_a_word(
    parts: Project, judge: Judge
) -> None:
    second = parts.path / "recordings/1"
    change(second, options={"nsys_tolerance": "50%"})
    code, _, err = judge("recordings")
    assert code == 4
    assert "recordings/0 and recordings/1 contradict each other in how to judge" in err
    assert "the option nsys_tolerance: None there, 50% here" in err
    assert judge("recordings", "--tolerance=5%")[0] == 0


def test_an_empty_part_is_one_too(simulated: Project, judge: Judge) -> None:
    simulated.write(TEST.format(us=100))
    simulated.run("--nsys-update", "--nsys-record=recordings/1", "--nsys-part=1/2")
    nothing = simulated.run(
        "--nsys", "-k", "nothing", "--nsys-record=recordings/2", "--nsys-part=2/2"
    )
    assert nothing.ret == 5
    code, out, _ = judge("recordings")
    assert code == 0, out
    code, _, err = judge("recordings/2")
    assert code == 4
    assert "recordings/2 is a recording without tests" in err


UNFINISHED = """
    import pytest
    import simgpu

    pytestmark = pytest.mark.nsys(rounds=1, warmup=0)

    def test_first():
        simgpu.launch("gemm", 100)

    def test_fails():
        assert False

    def test_third():
        simgpu.launch("gemm", 100)
"""


def test_a_recording_of_a_run_that_did_not_end_says_what_is_missing(
    simulated: Project, judge: Judge
) -> None:
    simulated.write(UNFINISHED)
    simulated.run("--nsys-update", "--nsys-record=recording", "-x")
    code, out, _ = judge("recording", "--junit=out.xml")
    assert code == 1
    assert names(simulated.path / "out.xml") == {
        "test_first": "",
        "test_fails": "test_it.py:11: assert False",
        "test_third": "it is not in the recording",
        "complete": "its run did not come to its end: stopping after 1 failures",
    }

    simulated.write(UNFINISHED.replace("assert False", "pass"))
    simulated.write("import no_such_module", "test_broken.py")
    result = simulated.run("--nsys", "--nsys-record=recording", "--continue-on-collection-errors")
    assert result.ret == 1
    code, out, _ = judge("recording")
    assert code == 1
    assert "its run did not come to its end: 1 file could not be collected" in out


def test_a_run_that_dies_leaves_no_earlier_recording(simulated: Project) -> None:
    simulated.write(TEST.format(us=100))
    simulated.run("--nsys", "--nsys-record=recording", "-k", "norm")
    assert (simulated.path / "recording/recording.json").exists()
    simulated.run("--nsys", "--nsys-record=recording", "--collect-only")
    assert (simulated.path / "recording/recording.json").exists()
    (simulated.path / "bin/nsys").unlink()
    assert simulated.run("--nsys", "--nsys-record=recording", "-k", "norm").ret == 4
    assert not (simulated.path / "recording/recording.json").exists()


def test_processes_of_several_recordings_are_those_of_one_test(
    simulated: Project, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated.write(TEST.format(us=100))
    for name in "ab":
        simulated.run("--nsys", f"--nsys-record={name}", "-k", "norm", "--nsys-processes=2")
    simulated.run("--nsys", "--nsys-record=c", "-k", "gemm")
    made = simulated.run("--nsys-update", *(f"--nsys-replay={name}" for name in "abc"))
    made.assert_outcomes(passed=3)
    made.stdout.fnmatch_lines(["note: baselines were made from the recordings a, b, c"])
    samples = simulated.baseline("test_norm")["windows"]["test"]["samples"]["gpu.kernel_time"]
    assert samples == [[100000, 100000]] * 4
    traces: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def load(folder: Path, capture: RecordedCapture) -> Trace:
        alive.append(sum(one() is not None for one in traces))
        trace = load_capture(folder, capture)
        traces.append(weakref.ref(trace.ranges))  # which stays where the trace is completed
        return trace

    monkeypatch.setattr(replay, "load_capture", load)
    code, out, _ = judge("a", "b", "c", "--json=out.json")
    assert code == 0, out
    assert "note: 3 recordings judged as one: a, b, c" in out
    assert len(alive) == 5  # each is read once
    assert max(alive) == 1  # and the one before it is let go
    assert ("test_norm", "nvidia-h200", "ok", ["a", "b"]) in rows_of(simulated.path / "out.json")

    index = json.loads((simulated.path / "b/recording.json").read_text())
    for capture in index["captures"]:
        capture["options"].append("--cuda-graph-trace=graph")
    change(simulated.path / "b", captures=index["captures"])
    code, out, _ = judge("a", "b", "c")
    assert code == 1
    assert "its processes cannot be put together: they differ in the options of nsys" in out
    assert "test_norm" in out
    assert "2 passed" in out


def test_recordings_of_two_projects_are_no_processes_of_one_test(
    simulated: Project, judge: Judge
) -> None:
    simulated.write(TEST.format(us=100))
    simulated.run("--nsys-update", "--nsys-record=all/one")
    simulated.write(TEST.format(us=100).replace('"norm"', '"other"'))
    simulated.run("--nsys", "--nsys-record=all/two")
    code, out, _ = judge("all")
    assert code == 1
    assert "note: 2 recordings judged as one: all/one, all/two" in out
    assert "1 failed, 2 passed" in out
    assert "its processes cannot be put together: they have no kernel in common" in out
    assert "all/one: norm" in out
    assert "all/two: other" in out
    one = simulated.run("--nsys-baseline", "--nsys-replay=all/one")
    assert "judged as one" not in one.stdout.str()


def test_a_test_of_several_devices_is_judged_on_each(
    simulated: Project, judge: Judge, install: Callable[..., Path]
) -> None:
    simulated.write(TEST.format(us=100))
    simulated.run("--nsys-update", "--nsys-record=recordings/h200", "-k", "gemm")
    install(gpus=["NVIDIA A100-SXM4-80GB"])
    simulated.run("--nsys-update", "-k", "gemm")
    simulated.write(TEST.format(us=200))
    simulated.run("--nsys", "--nsys-record=recordings/a100", "-k", "gemm")
    reports = ("json", "junit", "markdown", "html")
    files = {name: simulated.path / f"out.{name}" for name in reports}
    code, out, _ = judge("recordings", "-v", *(f"--{name}={path}" for name, path in files.items()))
    assert code == 1
    assert "2 failed, 2 passed" in out
    assert "[100%]" in out
    assert "[150%]" not in out
    assert sorted(rows_of(files["json"])) == sorted(
        (f"test_gemm[{size}]", device, status, [f"recordings/{name}"])
        for size in (1, 2)
        for device, status, name in ((A100, "regressed", "a100"), ("nvidia-h200", "ok", "h200"))
    )
    assert {name: bool(why) for name, why in names(files["junit"]).items()} == {
        f"test_gemm[{size}-{device}]": device == A100
        for size in (1, 2)
        for device in ("nvidia-h200", A100)
    }
    assert f"FAILED test_it.py::test_gemm[1-{A100}] - gemm +100 us" in out
    # What commands name is the test, and the recording that has it.
    command = "pytest --nsys-replay=recordings/a100 --nsys-update 'test_it.py::test_gemm[1]'"
    assert command in out
    assert f"Measured 2 rounds on {A100} (recordings/a100)" in files["html"].read_text()
    assert f"<code>recordings/a100</code> ({A100}): " in files["markdown"].read_text()

    result = simulated.run("--nsys-update", "--nsys-replay=recordings", "-k", "gemm")
    result.assert_outcomes(passed=4)
    assert judge("recordings")[0] == 0
