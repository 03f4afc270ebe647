"""What is shown while a worker runs."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nsys.controller.progress import Progress, Told
from pytest_nsys.controller.runner import Step
from pytest_nsys.plan.batches import Batch, PlannedTest
from pytest_nsys.plan.marker import Spec
from pytest_nsys.support.own import own


class Screen:
    """What a terminal reporter is asked to show: lines that stay, and the one that changes."""

    def __init__(self, *, isatty: bool, fullwidth: int = 80) -> None:
        self.isatty = isatty
        self.fullwidth = fullwidth
        self._tw = self
        self._current_line = ""
        self.lines: list[str] = []
        self.shown: list[str] = []

    def ensure_newline(self) -> None: ...

    def write_line(self, line: str) -> None:
        self.lines.append(line)

    def rewrite(self, line: str, *, erase: bool) -> None:
        assert erase
        self.shown.append(line)

    def write(self, text: str) -> None:
        assert text == "\r"

    def flush(self) -> None: ...


class ConfigStub:
    """The little of a configuration that progress asks for."""

    def __init__(
        self, screen: Screen | None, verbose: int = 0, capture: str = "fd", dist: str = "no"
    ) -> None:
        self._screen = screen
        self._options = {"verbose": verbose, "capture": capture, "dist": dist, "tx": ["popen"]}
        self.pluginmanager = self

    def getplugin(self, name: str) -> Screen | None:
        return self._screen if name == "terminalreporter" else None

    def getoption(self, name: str, default: object = None) -> Any:
        return self._options.get(name, default)


def _progress(screen: Screen | None, **options: Any) -> Progress:
    config: Any = ConfigStub(screen, **options)
    return Progress(config)


def _run(progress: Progress, names: tuple[str, ...] = ("a", "b"), rounds: int = 2) -> None:
    tests = tuple(PlannedTest(f"t.py::{name}", Spec(1, rounds, 60.0)) for name in names)
    progress.begin(Step(Batch(tests), 1, 1))
    for test in tests:
        progress.event({"event": "start", "nodeid": test.nodeid})
        for number in range(-1, rounds):
            progress.event({"event": "round", "nodeid": test.nodeid, "round": number})
    progress.event({"event": "end"})
    progress.end()


@pytest.mark.parametrize("isatty", [False, True])
def test_lines_begin_where_dots_and_earlier_lines_have_ended(isatty: bool) -> None:
    screen = Screen(isatty=isatty)
    progress = _progress(screen, dist="load")
    screen._current_line = "...."
    progress.waiting("first")
    assert screen.lines == ["", "nsys: first"]
    screen._current_line = "....\r"
    progress.event({"event": "end"})
    progress.waiting("second")
    assert screen.lines[-1] == "nsys: second"
    assert "" not in screen.lines[1:]
    assert (screen.shown[-1:] == [""]) is isatty


def test_on_a_terminal_one_line_shows_test_round_and_how_many_there_are() -> None:
    screen = Screen(isatty=True)
    _run(_progress(screen))
    none, half = "-" * 20, "#" * 10 + "-" * 10
    assert screen.lines == ["nsys: measuring 2 tests in one capture"]
    assert screen.shown == [
        f"nsys [{none}] 1/2 t.py::a",
        f"nsys [{none}] 1/2 warm-up t.py::a",
        f"nsys [{none}] 1/2 round 1/2 t.py::a",
        f"nsys [{none}] 1/2 round 2/2 t.py::a",
        f"nsys [{half}] 2/2 t.py::b",
        f"nsys [{half}] 2/2 warm-up t.py::b",
        f"nsys [{half}] 2/2 round 1/2 t.py::b",
        f"nsys [{half}] 2/2 round 2/2 t.py::b",
        "nsys: writing the report and reading it",
        "",
    ]


def test_one_test_is_not_several() -> None:
    screen = Screen(isatty=True)
    _run(_progress(screen), names=("a",))
    assert screen.lines == ["nsys: measuring 1 test in one capture"]


def test_several_workers_are_told_apart() -> None:
    screen = Screen(isatty=True)
    progress = _progress(screen, dist="load")
    tests = tuple(PlannedTest(f"t.py::{name}", Spec(1, 2, 60.0)) for name in ("a", "b"))
    progress.begin(Step(Batch(tests), 1, 1))
    progress.event({"event": "start", "nodeid": "t.py::b"}, "gw1 (GPU 1)")
    progress.event({"event": "start", "nodeid": "t.py::a"}, "gw0 (GPU 0)")
    progress.event({"event": "round", "nodeid": "t.py::b", "round": 0}, "gw1 (GPU 1)")
    progress.event({"event": "end"}, "gw1 (GPU 1)")
    none, half = "-" * 20, "#" * 10 + "-" * 10
    assert screen.lines == ["nsys: measuring 2 tests"]
    assert screen.shown == [
        f"nsys [{none}] 1/2 gw1 (GPU 1) t.py::b",
        f"nsys [{half}] 2/2 gw0 (GPU 0) t.py::a",
        f"nsys [{none}] 1/2 gw1 (GPU 1) round 1/2 t.py::b",
        "nsys: writing the report of gw1 (GPU 1) and reading it",
    ]


def test_a_line_never_reaches_the_edge_of_a_terminal() -> None:
    screen = Screen(isatty=True, fullwidth=40)
    _run(_progress(screen), names=("x" * 200,))
    assert max(map(len, screen.shown)) == 39


def test_where_there_is_no_terminal_lines_are_plain_and_at_most_one_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(own, "clock", lambda: now[0])
    screen = Screen(isatty=False)
    progress = _progress(screen)
    tests = tuple(PlannedTest(f"t{number}", Spec(1, 1, 60.0)) for number in range(5))
    progress.begin(Step(Batch(tests), 1, 1))
    for test in tests:
        progress.event({"event": "start", "nodeid": test.nodeid})
        progress.event({"event": "round", "nodeid": test.nodeid, "round": 0})
        now[0] += 0.5
    progress.event({"event": "end"})
    progress.end()
    assert screen.shown == []
    assert screen.lines == [
        "nsys: measuring 5 tests in one capture",
        "nsys: 1/5 t0",
        "nsys: 3/5 t2",
        "nsys: 5/5 t4",
        "nsys: writing the report and reading it",
    ]


@pytest.mark.parametrize("isatty", [True, False])
def test_quiet_shows_nothing(isatty: bool) -> None:
    screen = Screen(isatty=isatty)
    _run(_progress(screen, verbose=-1))
    assert (screen.lines, screen.shown) == ([], [])


def test_without_a_terminal_reporter_nothing_is_shown() -> None:
    _run(_progress(None))


def test_output_is_passed_on_only_where_pytest_captures_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for capture, shown in (("fd", ("", "")), ("no", ("out\n", "err\n"))):
        progress = _progress(Screen(isatty=True), capture=capture)
        progress.stdout(b"out\n")
        progress.stderr(b"err\n")
        assert tuple(capsys.readouterr()) == shown


def test_where_output_is_passed_on_no_line_rewrites_itself() -> None:
    screen = Screen(isatty=True)
    _run(_progress(screen, capture="no"))
    assert screen.shown == []
    assert "nsys: 1/2 t.py::a" in screen.lines


def test_a_character_that_comes_in_two_pieces_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    progress = _progress(Screen(isatty=True), capture="no")
    for piece in (b"caf\xc3", b"\xa9 \xff!\n"):
        progress.stdout(piece)
        progress.stderr(piece)
    assert tuple(capsys.readouterr()) == ("café \ufffd!\n",) * 2


def test_unknown_events_are_ignored() -> None:
    screen = Screen(isatty=True)
    progress = _progress(screen)
    progress.begin(Step(Batch((PlannedTest("a", Spec(1, 1, 60.0)),)), 1, 1))
    progress.event({"event": "window", "nodeid": "a"})
    assert screen.shown == []


A, B = (PlannedTest(name, Spec(1, 5, 60.0)) for name in "ab")


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (Step(Batch((A, B)), 1, 1), "measuring 2 tests in one capture"),
        (Step(Batch((A, B)), 2, 3), "measuring 2 tests in one capture, process 2 of 3"),
        (
            Step(Batch((A,)), 2, 3, "confirm"),
            "measuring 1 test again that may have regressed, process 2 of at most 3",
        ),
        (
            Step(Batch((A, B)), 1, 2, arm="main (0123456789)"),
            "measuring 2 tests in one capture at main (0123456789), process 1 of 2",
        ),
    ],
)
def test_a_session_is_announced_with_what_it_is_for(step: Step, line: str) -> None:
    screen = Screen(isatty=True)
    _progress(screen).begin(step)
    assert screen.lines == [f"nsys: {line}"]


def test_where_the_number_of_rounds_is_automatic_the_most_there_may_be_is_shown() -> None:
    screen = Screen(isatty=True)
    progress = _progress(screen)
    test = PlannedTest("a", Spec(1, 5, 60.0, most_rounds=50))
    progress.begin(Step(Batch((test,)), 1, 1))
    progress.event({"event": "start", "nodeid": "a"})
    progress.event({"event": "round", "nodeid": "a", "round": 5})
    assert screen.shown[-1].endswith("round 6/50 a")


def test_what_the_run_waits_for_is_said() -> None:
    screen = Screen(isatty=True)
    _progress(screen).waiting("waiting for GPU 0")
    assert screen.lines == ["nsys: waiting for GPU 0"]


def _told(screen: Screen | None, **options: Any) -> Told:
    config: Any = ConfigStub(screen, **options)
    return Told(config)


def test_what_goes_on_in_a_test_is_shown_in_one_line_of_a_terminal() -> None:
    screen = Screen(isatty=True, fullwidth=30)
    told = _told(screen)
    told.show("vllm: loading weights (1 s)", news=True)
    told.show("vllm: loading weights (1 s)", news=False)
    told.show("vllm: compiling\x1b[2J with a long name", news=True)
    told.say("vllm: ready")
    told.say("done")
    told.show("", news=False)
    assert screen.shown == ["nsys: vllm: loading weights (", "nsys: vllm: compiling<U+001B>", ""]
    assert screen.lines == ["nsys: vllm: ready", "nsys: done"]


def test_where_lines_stay_there_is_one_for_news_and_one_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen, seconds = Screen(isatty=False), [0.0]
    monkeypatch.setattr(own, "clock", lambda: seconds[-1])
    told = _told(screen)
    for at, what, news in (
        *((1.0, "loading (1 s)", True), (30.0, "loading (30 s)", False)),
        *((62.0, "loading (62 s)", False), (63.0, "compiling (63 s)", True)),
        *((100.0, "compiling (100 s)", False), (101.0, "", False)),
    ):
        seconds.append(at)
        told.show(what, news)
    said = ["loading (1 s)", "loading (62 s)", "compiling (63 s)"]
    assert screen.lines == [f"nsys: {line}" for line in said]
    assert screen.shown == []


@pytest.mark.parametrize("quiet", [{"verbose": -1}, {"no_reporter": True}])
def test_a_quiet_run_is_told_nothing(quiet: dict[str, Any]) -> None:
    screen = Screen(isatty=True)
    told = _told(None) if quiet.pop("no_reporter", False) else _told(screen, **quiet)
    told.show("vllm: loading", news=True)
    told.say("vllm: ready")
    assert (screen.lines, screen.shown) == ([], [])
