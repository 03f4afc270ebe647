"""What CI reads of a run: Markdown, the job's summary, and properties in JUnit files."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.support.harness import Project

TEST = """
    import pytest, simgpu

    @pytest.mark.nsys
    def test_decode(nsys, record_property):
        record_property("mine", "kept")
        with nsys.range("pre\\x1bfill"):
            simgpu.launch("gemm", 400)
        for _ in range({launches}):
            simgpu.launch("softmax", 50)
"""


def properties(path: Path) -> dict[str, str]:
    (case,) = ElementTree.parse(path).iter("testcase")
    found = [(node.get("name", ""), node.get("value", "")) for node in case.iter("property")]
    ours = [name for name, _ in found if name.startswith("nsys")]
    assert len(ours) == len(set(ours)), "each once"
    return dict(found)


def test_markdown_the_job_summary_and_junit_tell_of_a_regression(
    simulated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = simulated.path / "summary.md"
    summary.write_text("what another step wrote\n")
    simulated.write(TEST.format(launches=2))
    simulated.run("--nsys-update").assert_outcomes(passed=1)

    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    simulated.write(TEST.format(launches=4))
    simulated.ini("nsys_report_url = https://ci.example/1/nsys.html", "junit_family = xunit1")
    result = simulated.run("--nsys-baseline", "--nsys-markdown=nsys.md", "--junitxml=junit.xml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Markdown: *nsys.md"])
    text = (simulated.path / "nsys.md").read_text()
    assert text.startswith("<!-- pytest-nsys -->\n## GPU performance: 1 regressed\n")
    assert "[full report](<https://ci.example/1/nsys.html>)" in text
    assert "softmax +100 us (2x -> 4x)" in text
    assert "pytest --nsys test_it.py::test_decode" in text
    assert summary.read_text() == "what another step wrote\n\n" + text

    seen = properties(simulated.path / "junit.xml")
    assert seen["mine"] == "kept"
    assert seen["nsys.status"] == "regressed"
    assert seen["nsys.headline"].startswith("gpu.kernel_time +20.0%")
    assert float(seen["nsys.gpu.kernel_time"]) == pytest.approx(600_000, rel=0.01)
    assert seen["nsys.gpu.kernel_count"] == "5"
    assert float(seen["nsys[pre\\x1bfill].gpu.kernel_time"]) == pytest.approx(400_000, rel=0.01)
    assert not any(name.startswith("nsys.wall") for name in seen), "only what is gated"

    summary.write_text("")
    simulated.ini("nsys_job_summary = false", "junit_family = xunit2")
    simulated.run("--nsys", "--junitxml=junit.xml").assert_outcomes(failed=1)
    assert summary.read_text() == ""
    assert properties(simulated.path / "junit.xml")["nsys.status"] == "regressed"


def test_a_summary_that_cannot_be_written_is_told_and_fails_nothing(
    simulated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(simulated.path / "none" / "summary.md"))
    simulated.write(TEST.format(launches=1))
    result = simulated.run("--nsys", "--nsys-json=run.json")
    result.assert_outcomes(passed=1)
    # A path is whole, to be copied, however long it is.
    result.stdout.fnmatch_lines(["note: the job summary*", "*/none/summary.md*", "*cannot*"])
    result = simulated.run("--nsys", "-o", "nsys_job_summary=maybe")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*nsys_job_summary is 'maybe'*"])


def test_a_run_that_measures_nothing_writes_no_summary(
    simulated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = simulated.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    simulated.write("def test_plain(): pass")
    simulated.run("--nsys").assert_outcomes(passed=1)
    simulated.run().assert_outcomes(passed=1)
    assert not summary.exists()


def test_pytest_html_shows_measured_tests(
    all_plugins: None,
    simulated: Project,
) -> None:
    simulated.write(TEST.format(launches=1))
    result = simulated.run("--nsys", "--html=page.html", "--self-contained-html")
    result.assert_outcomes(passed=1)
    assert "test_decode" in (simulated.path / "page.html").read_text()
