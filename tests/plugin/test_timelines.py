"""Timelines through the plugin: made where something shows or keeps them, kept beside baselines."""

from __future__ import annotations

from pytest_nsys.insights.timeline import Timeline
from pytest_nsys.storage.baselines import BaselineStore
from tests.support.harness import Project

TEST = """
    import pytest, simgpu

    pytestmark = pytest.mark.nsys(rounds=3)

    def test_one(nsys):
        with nsys.range("part"):
            simgpu.launch("gemm", {us})
        simgpu.copy("h2d", 4096)
"""
KEPT = "baselines/nvidia-h200/test_it.py/test_one.timeline.json.gz"


def kept(project: Project) -> Timeline:
    """The timeline of the test's baseline."""
    store = BaselineStore(project.path / "baselines")
    baseline = store.read("nvidia-h200", "test_it.py::test_one")
    assert baseline is not None
    found = store.read_timeline(baseline)
    assert found is not None
    return found


def test_an_update_keeps_a_round_of_the_test(simulated: Project) -> None:
    simulated.write(TEST.format(us=100))
    simulated.run("--nsys-update").assert_outcomes(passed=1)
    found = kept(simulated)
    names: dict[str, set[str]] = {}
    for row in found.elements:
        kind, label = found.lanes[row.lane].kind, found.labels[row.label]
        names.setdefault(kind, set()).add(label.text)
    assert names["gpu"] == {"gemm", "h2d 4 KiB"}
    assert names["range"] == {"part"}
    assert {count for count, _ in found.sums().values()} == {1}  # of one round, not of all
    assert not list((simulated.path / "baselines").rglob("*.tmp"))


def test_where_it_is_not_wanted_none_is_kept(simulated: Project) -> None:
    simulated.write(TEST.format(us=100))
    simulated.run("--nsys-update", "-o", "nsys_timeline=false").assert_outcomes(passed=1)
    assert (simulated.path / KEPT.replace(".timeline.json.gz", ".json")).is_file()
    assert not (simulated.path / KEPT).exists()
    simulated.write(TEST.format(us=200))  # what has not changed is left as it is
    simulated.run("--nsys-update").assert_outcomes(passed=1)
    assert (simulated.path / KEPT).is_file()
    simulated.write(TEST.format(us=300))
    simulated.ini("nsys_timeline = false")
    html = f"--nsys-html={simulated.path / 'out.html'}"  # which has one to show
    simulated.run("--nsys-update", html).assert_outcomes(passed=1)
    assert not (simulated.path / KEPT).exists()


def test_a_page_says_that_a_timeline_cannot_be_read_and_no_test_fails_by_it(
    simulated: Project,
) -> None:
    simulated.write(TEST.format(us=100))
    simulated.run("--nsys-update").assert_outcomes(passed=1)
    (simulated.path / KEPT).write_bytes(b"damaged")
    simulated.run("--nsys-baseline", "--nsys-html=out.html").assert_outcomes(passed=1)
    page = (simulated.path / "out.html").read_text()
    assert "the timeline of the baseline is not shown: test_one.timeline.json.gz is no" in page
    (simulated.path / KEPT).unlink()
    simulated.run("--nsys-baseline", "--nsys-html=out.html").assert_outcomes(passed=1)
    assert "is not shown" not in (simulated.path / "out.html").read_text()


def test_a_page_shows_both_rounds(simulated: Project) -> None:
    simulated.write(TEST.format(us=100))
    simulated.run("--nsys-update").assert_outcomes(passed=1)
    simulated.write(TEST.format(us=200))
    simulated.run("--nsys-baseline", "--nsys-html=out.html").assert_outcomes(failed=1)
    page = (simulated.path / "out.html").read_text()
    assert "GPU timeline of one round: baseline, " in page
    assert "100 us from " in page
    assert "200 us from " in page
