"""The table of figures: its numbers, and the lines that a terminal shows of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.measure.measurement import Measurement, Part, WindowMeasurement
from pytest_nsys.plan.marker import Spec
from pytest_nsys.plan.options import Mode
from pytest_nsys.report.figures import Figure, figure_tables, scatter
from pytest_nsys.report.figures_text import changed_only, figure_lines, figure_word
from pytest_nsys.support.text import columns
from pytest_nsys.support.units import Tolerance
from pytest_nsys.verdict.judge import Policy, judge
from pytest_nsys.verdict.verdict import Verdict
from tests.support import made

SPEC = Spec(warmup=1, rounds=5, timeout_s=1800)
GEMM = Part("gemm", 2, ns=1e6)


def _test(name: str, *windows: WindowMeasurement) -> Measurement:
    return replace(made.measurement(*windows), nodeid=name)


def _verdict(now: Measurement, then: Measurement | None = None, mode: Mode = "gate") -> Verdict:
    return judge(SPEC, now, then, Policy(mode))


def _body(name: str, ns: float = 1e6, **more: list[float]) -> Measurement:
    samples = {"gpu.kernel_time": [ns] * 5, "gpu.kernel_count": [2.0] * 5, **more}
    return _test(name, made.window(samples, replace(GEMM, ns=ns)))


def _server(
    *names: str, per_token: float = 5e5, tokens: float = 100.0, busy: float = 42.0
) -> Measurement:
    samples = {
        "gpu.kernel_time": [per_token * 64] * 5,
        "client.ttft_p50": [1e7] * 5,
        "client.tokens_per_s": [tokens] * 5,
        "client.output_tokens": [64.0] * 5,
        "gpu.busy_pct": [busy] * 5,
        "gpu.kernel_count": [640.0] * 5,
    }
    windows = (replace(made.window(samples, name=name), units={"token": 64.0}) for name in names)
    return _test("test_serving.py::test_llama", *windows)


def test_a_row_has_what_was_measured_and_what_it_is_compared_with() -> None:
    now = _body("t.py::test", 1.5e6, **{"memcpy.h2d.count": [1.0], "memcpy.d2h.count": [2.0]})
    (table,) = figure_tables([_verdict(now, _body("t.py::test"))])
    (row,) = table.rows
    time, kernels, copies, syncs, peak = row.figures
    assert (row.window, row.status) == ("test", "regressed")
    assert time == Figure("ns", 1.5e6, 1e6, 0.0)
    assert (kernels.current, kernels.baseline) == (2, 2)
    assert (copies.current, copies.baseline) == (3, None)
    assert syncs.current is peak.current is None


def test_tests_and_servers_have_tables_of_their_own() -> None:
    verdicts = [_verdict(_server("load")), _verdict(_body("t.py::test"))]
    tests, servers = figure_tables(verdicts)
    assert (tests.shown, servers.shown) == ("test", "server")
    assert servers.rows[0].figures[0].current == 5e5
    assert figure_tables([]) == ()


def test_the_columns_can_be_chosen() -> None:
    (table,) = figure_tables([_verdict(_body("t.py::test"))], ["gpu.busy", "gpu.kernel_time"])
    assert [column.head for column in table.columns] == ["gpu.busy", "gpu.kernel_time"]
    assert [figure.current for figure in table.rows[0].figures] == [None, 1e6]


def test_a_window_has_the_worst_status_of_its_own() -> None:
    now, then = (
        _test(
            "t.py::test", made.kernels(replace(GEMM, ns=ns), name="a"), made.kernels(GEMM, name="b")
        )
        for ns in (2e6, 1e6)
    )
    (table,) = figure_tables([_verdict(now, then)])
    assert [(row.window, row.status) for row in table.rows] == [("a", "regressed"), ("b", "ok")]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ((), None),
        (((5.0,),), None),
        (((0.0, 0.0),), None),
        (((100.0, 101.0, 99.0),), 0.01),
        (((100.0, 100.0), (200.0, 200.0)), 0.0),
    ],
)
def test_scatter_is_that_within_processes(
    samples: tuple[tuple[float, ...], ...], expected: float | None
) -> None:
    assert scatter(samples) == expected


@given(st.lists(st.lists(st.floats(1, 1e9), max_size=6).map(tuple), max_size=4).map(tuple))
def test_scatter_is_a_share(samples: tuple[tuple[float, ...], ...]) -> None:
    found = scatter(samples)
    assert found is None or found >= 0
    doubled = tuple(tuple(2 * value for value in process) for process in samples)
    assert scatter(doubled) == pytest.approx(found)


def _texts(*verdicts: Verdict, width: int = 80, most: int | None = None) -> list[str]:
    return [line.text for line in figure_lines(figure_tables(verdicts), width, most)]


def test_the_lines_of_a_table() -> None:
    slow, calm = _body("t.py::test_slow", 1.5e6), _body("t.py::test_calm", 1.01e6)
    verdicts = [_verdict(one, _body(one.nodeid)) for one in (slow, calm)]
    assert _texts(*verdicts) == [
        "               kernel time  change  kernels",
        "! test_slow   1.5 ms ±0.0%  +50.0%        2",
        "  test_calm  1.01 ms ±0.0%   +1.0%        2",
    ]
    colours = [line.colour for line in figure_lines(figure_tables(verdicts))]
    assert colours == ["", "red", ""]


def test_the_lines_of_a_server() -> None:
    now, then = (_server("few", "many", tokens=n, busy=n / 2) for n in (90, 100))
    assert _texts(_verdict(now, then)) == [
        "          kernel/token  change     tokens/s  TTFT p50           busy",
        "  test_llama",
        "    few   500 us ±0.0%       =  90/s -10.0%     10 ms  45.0% -5.0 pp",
        "    many  500 us ±0.0%       =  90/s -10.0%     10 ms  45.0% -5.0 pp",
    ]
    assert _texts(_verdict(now, then), width=60) == [
        "          kernel/token  change  tokens/s  TTFT p50   busy",
        "  test_llama",
        "    few   500 us ±0.0%       =      90/s     10 ms  45.0%",
        "    many  500 us ±0.0%       =      90/s     10 ms  45.0%",
    ]


def test_tests_of_several_files_stand_under_these() -> None:
    verdicts = [_verdict(_body(f"tests/test_{file}.py::test_it")) for file in "ab"]
    assert _texts(*verdicts) == [
        "             kernel time  kernels",
        "  tests/test_a.py:",
        "    test_it   1 ms ±0.0%        2",
        "  tests/test_b.py:",
        "    test_it   1 ms ±0.0%        2",
    ]


def test_of_many_tests_those_are_shown_that_are_worst_or_moved_most() -> None:
    verdicts = [
        _verdict(_body(f"t.py::test_{n}", 1e6 + 2e3 * n), _body(f"t.py::test_{n}"))
        for n in range(40)
    ]
    lines = [line.text for line in figure_lines(figure_tables(verdicts), most=3, where="x.json")]
    assert [line.split()[:2] for line in lines[1:-1]] == [
        ["!", "test_37"],
        ["!", "test_38"],
        ["!", "test_39"],
    ]
    assert lines[-1] == "  and 37 more, the worst regressed: x.json"


def test_only_what_is_not_ok_can_be_asked_for() -> None:
    verdicts = [
        _verdict(_body(f"t.py::test_{n}", 1e6 * n), _body(f"t.py::test_{n}")) for n in (1, 2)
    ]
    (table,) = changed_only(figure_tables(verdicts))
    assert [row.nodeid for row in table.rows] == ["t.py::test_2"]
    assert changed_only(figure_tables(verdicts[:1])) == ()


def test_what_a_line_of_its_own_says_of_a_test() -> None:
    body = _body("t.py::test", 1.5e6)
    assert figure_word(_verdict(body)) == "1.5 ms"
    assert figure_word(_verdict(body, body)) == "1.5 ms"
    assert figure_word(_verdict(body, _body("t.py::test"))) == "1.5 ms +50.0%"
    assert figure_word(_verdict(body, _body("t.py::test", 1e4))) == "1.5 ms x150"
    assert figure_word(_verdict(body), ["gpu.kernel_count"]) == "2"
    assert figure_word(_verdict(body), ["gpu.busy"]) == ""
    assert figure_word(_verdict(_test("t.py::test"))) == ""


def test_where_something_else_got_worse_its_line_says_that() -> None:
    now = _body("t.py::test", **{"gpu.kernel_count": [4.0] * 5})
    assert figure_word(_verdict(now, _body("t.py::test"))) == "gpu.kernel_count +2"


def test_of_a_server_it_says_what_moved_most() -> None:
    now = _server("few", "many")
    slow = _server("many", per_token=6e5).windows["many"]
    moved = replace(now, windows={**now.windows, "many": slow})
    assert figure_word(_verdict(moved, now)) == "600 us/token +20.0%"


def test_a_failing_row_shows_what_failed_however_narrow_the_terminal() -> None:
    more = {"mem.peak": [2.0**33], "sync.count": [5.0] * 5}
    then = _body(
        "t.py::test_with_a_long_name_of_its_own", **more, **{"memcpy.h2d.count": [1.0] * 5}
    )
    now = _body("t.py::test_with_a_long_name_of_its_own", **more, **{"memcpy.h2d.count": [2.0] * 5})
    for width in (45, 50, 60, 80, 120):
        (row,) = (line for line in _texts(_verdict(now, then), width=width) if line[0] == "!")
        assert "2 +1" in row, width
        assert len(row) <= width
    then = _body("t.py::test", **{"gpu.max_gap": [10e3] * 5})
    now = _body("t.py::test", **{"gpu.max_gap": [90e3] * 5})
    spec = replace(SPEC, tolerance={"gpu.max_gap": Tolerance(0.1)})
    assert _texts(judge(spec, now, then, Policy("gate")))[2] == "    gpu.max_gap 90 us +800%"


def test_wide_characters_take_two_columns() -> None:
    names = [
        "t.py::test_\N{CJK UNIFIED IDEOGRAPH-6838}\N{CJK UNIFIED IDEOGRAPH-5FC3}",
        "t.py::test_e\u0301x",
    ]
    lines = _texts(*(_verdict(_body(name), _body(name)) for name in names))
    ends = {columns(line[: line.index(" ms")]) for line in lines[1:]}
    assert len(ends) == 1


_names = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=90)
# Times of nsys are whole, and a median of them may be a half.
_ns = st.just(0.0) | st.floats(0.5, 1e12)


@given(
    st.lists(st.tuples(_names, _ns, _ns), min_size=1, max_size=8),
    st.integers(45, 160),
)
def test_no_line_is_wider_than_the_terminal(
    tests: list[tuple[str, float, float]], width: int
) -> None:
    peak = {"mem.peak": [2.0**33], "sync.count": [10**6], "memcpy.h2d.count": [1e5]}
    verdicts = [
        _verdict(_body(f"t.py::{name}", now, **peak), _body(f"t.py::{name}", then))
        for name, now, then in tests
    ]
    assert max(map(columns, _texts(*verdicts, width=width))) <= width
