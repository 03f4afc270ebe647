"""A test that is measured with a cold L2 cache: what a run without a real GPU can say of it."""

from __future__ import annotations

import json

from tests.support.harness import Project

TEST = """
    import pytest, simgpu

    @pytest.mark.nsys(warmup=1{more})
    def test_copy():
        simgpu.launch("copy", 100)
"""
STATES = "the baseline was recorded with a cold L2 cache, this run with a warm one"


def test_a_cache_that_could_not_be_emptied_is_told_and_a_plan_is_not_mixed_with_another(
    simulated: Project,
) -> None:
    simulated.write(TEST.format(more=", cold_l2=True"))
    assert simulated.run("--nsys-update").ret == 0
    path = simulated.path / "baselines/nvidia-h200/test_it.py/test_copy.json"
    data = json.loads(path.read_text())
    assert "cold_l2" not in data["plan"], "the simulated GPU has no driver to ask"

    data["plan"]["cold_l2"] = True
    path.write_text(json.dumps(data))
    result, tests = simulated.results("--nsys-baseline")
    assert result.ret == 1
    assert tests["test_copy"]["status"] == "incomparable"
    text = " ".join(" ".join(result.outlines).split())
    assert STATES in text
    assert "its rounds are no cold ones: the L2 cache could not be emptied" in text


def test_the_ini_value_has_to_be_true_or_false(simulated: Project) -> None:
    simulated.ini("nsys_cold_l2 = cold")
    simulated.write(TEST.format(more=""))
    result = simulated.run("--nsys")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*nsys_cold_l2*cold*"])


def test_the_marker_takes_true_or_false(simulated: Project) -> None:
    simulated.write(TEST.format(more=', cold_l2="yes"'))
    result = simulated.run("--nsys")
    assert "has cold_l2='yes'" in "\n".join([*result.outlines, *result.errlines])
    assert result.ret != 0
