"""A kernel that is launched otherwise: what a whole run says of it."""

from __future__ import annotations

from tests.support.harness import Project

TEST = """
    import pytest, simgpu

    calls = []

    @pytest.mark.nsys(warmup=1)
    def test_step():
        calls.append(1)
        if len(calls) == 2:
            simgpu.api("cuLibraryLoadData", 20)
            simgpu.launch("tried", 5)
        simgpu.launch("scale", {us}, grid={grid}, block={block}, registers={registers})
        simgpu.launch("void add<float>", 50)
"""
FAST = {"us": 100, "grid": 1024, "block": 256, "registers": 64}
SLOW = {"us": 300, "grid": 4096, "block": 64, "registers": 128}


def test_a_culprit_says_how_it_is_launched_otherwise(simulated: Project) -> None:
    simulated.write(TEST.format(**FAST))
    assert simulated.run("--nsys-update").ret == 0
    launched = simulated.baseline("test_step")["windows"]["test"]["kernels"]["scale"]["launched"]
    assert launched[0]["configuration"] == {"grid": [1024], "block": [256], "registers": 64}
    assert launched[0]["occupancy"] == {"percent": 50, "limiter": "registers"}

    simulated.write(TEST.format(**SLOW))
    options = ("--nsys-baseline", "--nsys-html=report.html", "--nsys-markdown=report.md")
    result, tests = simulated.results(*options)
    assert result.ret == 1
    said = "registers 64 -> 128: theoretical occupancy 50% -> 25%"
    text = " ".join(" ".join(result.outlines).split())
    assert f"another configuration was chosen: grid 1024 -> 4096, block 256 -> 64, {said}" in text
    loaded = "compiled or loaded in round 1 (cuLibraryLoadData 1x; 20 us): raise the warm-up"
    assert f"{loaded} (warmup=2)" in text
    assert "1 kernel ran in round 1 alone (tried; 5 us), as when an autotuner tries" in text
    assert all(len(line) <= 80 for line in result.outlines if "occupancy" in line)
    for name in ("report.html", "report.md"):
        assert "4096, block 256" in (simulated.path / name).read_text(encoding="utf-8"), name
    (window,) = tests["test_step"]["windows"]
    worse = [part for part in window["metrics"] if part["status"] == "regressed"]
    (culprit,) = worse[0]["culprits"]
    assert culprit["current_launch"]["occupancy_pct"] == 25
    assert culprit["current_launch"]["limited_by"] == "registers"
    assert culprit["baseline_launch"]["block"] == [256]
