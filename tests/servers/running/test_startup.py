"""What a server that starts is at: by lines that engines print, and by lines of any make."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.servers.engines.preset import StartStage
from pytest_nsys.servers.engines.presets import BUILT_IN, preset_named
from pytest_nsys.servers.running import startup as module
from pytest_nsys.servers.running.startup import Startup, time_words
from tests.support.engines.start_logs import LOGS

STAGES = (StartStage("load", "loading"), StartStage("graph", "capturing"))


class Ticking:
    """A clock that goes on by a second each time that it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "own", Ticking())


@pytest.mark.parametrize("preset", BUILT_IN, ids=lambda preset: preset.name)
def test_each_engine_goes_through_its_stages(preset: object, tmp_path: Path) -> None:
    name = preset.name  # type: ignore[attr-defined]
    stages = preset_named(name).stages
    log = tmp_path / "log"
    log.touch()
    seen = Startup(log, stages)
    assert seen.stage == ""
    said = []
    for line in LOGS[name]:
        with log.open("a") as file:
            file.write(line + "\n")
        seen.look()
        if seen.stage and seen.stage not in said:
            said.append(seen.stage)
    wanted = list(dict.fromkeys(stage.name for stage in stages))
    if name == "nim":  # either engine is inside
        wanted = [stage.name for stage in preset_named("vllm").stages]
    assert said == wanted
    assert list(seen.times) == ["starting", *wanted]


def test_a_stage_lasts_until_the_next_begins(tmp_path: Path, ticking: None) -> None:
    log = tmp_path / "log"
    seen = Startup(log, STAGES)  # at 1
    log.write_text("load a\n")
    seen.look()  # at 2
    log.write_text("load a\ngraph\nload b, of a slower rank\n")
    seen.look()  # at 3
    assert (seen.stage, seen.doing) == ("capturing", "capturing")
    seen.end()  # at 4
    assert seen.seconds == 3
    assert seen.times == {"starting": 1, "loading": 1, "capturing": 1}
    assert time_words(seen.times) == "starting 1.0 s, loading 1.0 s, capturing 1.0 s"
    assert time_words({"a": 1.0, "b": 9.0}, 2.0) == "b 9.0 s"


def test_stages_of_one_name_are_one(tmp_path: Path, ticking: None) -> None:
    log = tmp_path / "log"
    stages = (StartStage("a", "one"), StartStage("b", "two"), StartStage("c", "one"))
    seen = Startup(log, stages)
    log.write_text("a\nb\nc\n")
    seen.end()
    assert seen.times == {"starting": 1, "one": 2, "two": 1}


def test_a_bar_that_has_no_end_of_line_yet_is_seen(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\x1b[32mINFO\x1b[0m x\r  0%|   | gra")
    seen = Startup(log, STAGES)
    seen.look()
    assert seen.stage == ""
    log.write_bytes(log.read_bytes() + b"ph")
    seen.look()
    assert seen.stage == "capturing"


def test_of_an_unknown_engine_the_last_line_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    seen = Startup(log, ())
    seen.look()
    assert seen.doing == "starting"
    log.write_bytes(b"first\n\x1b[1m" + b"x" * 100 + b" the end\n\n")
    seen.look()
    assert seen.doing == "x" * 60 + "..."
    assert seen.stage == ""
    assert list(seen.times) == ["starting"]


@given(st.lists(st.sampled_from(["load", "graph", "x", "\r", "\n", "\n\n", "é"]), max_size=30))
def test_it_is_the_same_however_it_is_read(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    log = tmp_path_factory.mktemp("logs") / "log"
    whole, piecewise = Startup(log, STAGES), Startup(log, STAGES)
    for part in parts:
        with log.open("ab") as file:
            file.write(part.encode())
        piecewise.look()
    whole.look()
    assert whole.stage == piecewise.stage
    assert list(whole.times)[-1:] == list(piecewise.times)[-1:]
