"""``@pytest.mark.nsys``: its arguments, their checks, and how marks combine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.catalogue import METRICS, lookup
from pytest_nsys.errors import MarkerError
from pytest_nsys.plan.expected import ExpectedChange
from pytest_nsys.plan.marker import Spec, read_spec
from pytest_nsys.plan.options import MARKER_LINE
from pytest_nsys.plan.settings import Settings
from pytest_nsys.support.units import Tolerance

SETTINGS = Settings("profile", Path("/"), Path("/baselines"))


class MarkedItem:
    """What `read_spec` looks at of an item: its name, and its marks from the closest on."""

    nodeid = "t.py::test"

    def __init__(self, *marks: pytest.MarkDecorator) -> None:
        self._marks = marks

    def iter_markers(self, name: str) -> Any:
        assert name == "nsys"
        return iter(decorator.mark for decorator in self._marks)


async def _waits(m: object) -> bool:
    return False


def _yields(m: object) -> Iterator[bool]:
    yield False


class _Async:
    async def __call__(self, m: object) -> bool:
        return False


def _read(*marks: pytest.MarkDecorator, settings: Settings = SETTINGS) -> Spec:
    item: Any = MarkedItem(*marks)
    return read_spec(item, settings)


def _mark(**arguments: Any) -> pytest.MarkDecorator:
    return pytest.mark.nsys(**arguments)


def test_a_bare_mark_takes_everything_from_the_settings() -> None:
    settings = Settings(
        "profile",
        Path("/"),
        Path("/b"),
        rounds=9,
        warmup=4,
        timeout_s=60.0,
        tolerance=(("*", Tolerance(0.2)),),
    )
    assert _read(pytest.mark.nsys, settings=settings) == Spec(
        warmup=4, rounds=9, timeout_s=60.0, tolerance={"*": Tolerance(0.2)}
    )


def test_the_command_line_comes_before_the_marks_and_the_ini_file_after_them() -> None:
    values = {
        "rounds": 9,
        "warmup": 4,
        "processes": 3,
        "timeout_s": 60.0,
        "tolerance": (("*", Tolerance(0.2)), ("mem.peak", Tolerance(0.3))),
    }
    mark = _mark(
        rounds=3,
        warmup=0,
        processes=2,
        timeout=5,
        tolerance={"*": "1%", "gpu.kernel_time": "2%", "mem.peak": "3%", "api.count": 4},
    )
    ini = Settings("profile", Path("/"), Path("/b"), **values)  # type: ignore[arg-type]
    spec = _read(mark, settings=ini)
    assert (spec.rounds, spec.warmup, spec.processes, spec.timeout_s) == (3, 0, 2, 5.0)
    assert spec.tolerance == {
        "*": Tolerance(0.01),
        "gpu.kernel_time": Tolerance(0.02),
        "mem.peak": Tolerance(0.03),
        "api.count": Tolerance(0, 4),
    }
    options = {"nsys_rounds", "nsys_warmup", "nsys_processes", "nsys_timeout", "nsys_tolerance"}
    spec = _read(mark, settings=replace(ini, overriding=frozenset(options)))
    assert (spec.rounds, spec.warmup, spec.processes, spec.timeout_s) == (9, 4, 3, 60.0)
    assert spec.tolerance == {
        "*": Tolerance(0.2),
        "mem.peak": Tolerance(0.3),
        "api.count": Tolerance(0, 4),
    }
    auto = replace(ini, auto=True, overriding=frozenset({"nsys_rounds"}))
    assert (_read(mark, settings=auto).rounds, _read(mark, settings=auto).most_rounds) == (9, 50)
    update = replace(ini, mode="update", processes=1, overriding=frozenset({"nsys_processes"}))
    assert _read(mark, settings=update).processes == 1
    with pytest.raises(MarkerError, match="has rounds=0"):
        _read(_mark(rounds=0), settings=auto)


def test_every_argument_is_read() -> None:
    def check(m: object) -> bool:
        return True

    spec = _read(
        _mark(
            warmup=0,
            rounds=3,
            tolerance={"gpu.kernel_time": "3%", "mem.peak": ("2%", "16 MiB")},
            budget={"gpu.kernel_time": "2.5 ms", "memcpy.h2d.count": 0},
            require=["flash*"],
            forbid="cudaMalloc*",
            check=check,
            isolate=True,
            timeout=2.5,
            nsys_args=("--gpu-metrics-devices=all",),
            allow_empty=True,
            processes=2,
            expected={"metric": "mem.peak", "reason": "a cache", "until": "2026-12-31"},
        )
    )
    assert spec == Spec(
        warmup=0,
        rounds=3,
        timeout_s=2.5,
        tolerance={"gpu.kernel_time": Tolerance(0.03), "mem.peak": Tolerance(0.02, 2**24)},
        budget={"gpu.kernel_time": 2.5e6, "memcpy.h2d.count": 0.0},
        require=("flash*",),
        forbid=("cudaMalloc*",),
        check=check,
        isolate=True,
        nsys_args=("--gpu-metrics-devices=all",),
        allow_empty=True,
        named=frozenset({"gpu.kernel_time", "mem.peak"}),
        processes=2,
        expected=(ExpectedChange("a cache", date(2026, 12, 31), metric="mem.peak"),),
    )


def test_a_bare_tolerance_is_that_of_every_timed_metric() -> None:
    spec = _read(_mark(tolerance="5%"))
    assert spec.tolerance == {"*": Tolerance(0.05)}
    assert spec.tolerance_of(lookup("gpu.kernel_time")) == Tolerance(0.05)
    assert spec.tolerance_of(lookup("gpu.kernel_count")) == Tolerance()


def test_the_closest_mark_wins_argument_by_argument_and_key_by_key() -> None:
    settings = Settings(
        "profile",
        Path("/"),
        Path("/b"),
        tolerance=(("*", Tolerance(0.5)), ("mem.peak", Tolerance(0.4))),
    )
    spec = _read(
        _mark(rounds=2, tolerance={"gpu.kernel_time": "1%"}, budget={"sync.count": 1}),
        _mark(rounds=3, warmup=7, tolerance={"gpu.kernel_time": "2%", "sync.count": 2}),
        _mark(tolerance="9%", budget={"sync.count": 5, "memcpy.h2d.count": 6}, require="a"),
        settings=settings,
    )
    assert (spec.rounds, spec.warmup, spec.require) == (2, 7, ("a",))
    assert spec.tolerance == {
        "*": Tolerance(0.09),
        "mem.peak": Tolerance(0.4),
        "gpu.kernel_time": Tolerance(0.01),
        "sync.count": Tolerance(absolute=2),
    }
    assert spec.budget == {"sync.count": 1.0, "memcpy.h2d.count": 6.0}


def test_marks_on_modules_classes_functions_and_parameters_combine(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    items = pytester.getitems(
        """
        import pytest

        pytestmark = pytest.mark.nsys(rounds=2, warmup=9, tolerance={"sync.count": 1})

        @pytest.mark.nsys(rounds=3)
        class TestIt:
            @pytest.mark.nsys(tolerance={"gpu.kernel_time": "7%"})
            @pytest.mark.parametrize(
                "x", [1, pytest.param(2, marks=pytest.mark.nsys(rounds=4, warmup=0))]
            )
            def test(self, x): pass
        """
    )
    one, two = (read_spec(item, SETTINGS) for item in items)
    assert (one.rounds, one.warmup) == (3, 9)
    assert (two.rounds, two.warmup) == (4, 0)
    tolerance = {"sync.count": Tolerance(absolute=1), "gpu.kernel_time": Tolerance(0.07)}
    assert {key: value.absolute for key, value in one.tolerance.items()} == {
        key: value.absolute for key, value in tolerance.items()
    }
    assert one.tolerance == two.tolerance


@pytest.mark.parametrize(
    ("arguments", "message", "remedy"),
    [
        ({"round": 3}, "has no argument 'round'", "did you mean 'rounds'?"),
        ({"timeout_s": 3}, "has no argument 'timeout_s'", "did you mean 'timeout'?"),
        ({"qqqq": 3}, "has no argument 'qqqq'", "valid names: allow_empty, "),
        ({"rounds": 0}, "has rounds=0", "whole number from 1 on"),
        ({"rounds": 2.5}, "has rounds=2.5", "whole number"),
        ({"rounds": True}, "has rounds=True", "whole number"),
        ({"rounds": "many"}, "has rounds='many'", 'whole number from 1 on or "auto"'),
        ({"processes": 0}, "has processes=0", "whole number from 1 on"),
        ({"processes": "auto"}, "has processes='auto'", "whole number from 1 on"),
        ({"most_rounds": 9}, "has no argument 'most_rounds'", "did you mean 'rounds'?"),
        ({"expected": 3}, "has expected=3", "write a dictionary"),
        ({"expected": {"reason": "x"}}, "until is missing", "until = "),
        ({"expected": {"test": "x"}}, "no key 'test'", "valid names: "),
        ({"warmup": -1}, "has warmup=-1", "whole number from 0 on"),
        ({"warmup": "3"}, "has warmup='3'", "whole number"),
        ({"timeout": 0}, "has timeout=0", "seconds above zero"),
        ({"timeout": float("nan")}, "has timeout=nan", "seconds above zero"),
        ({"timeout": "5 s"}, "has timeout='5 s'", "seconds above zero"),
        ({"timeout": True}, "has timeout=True", "seconds above zero"),
        ({"tolerance": "-3%"}, "has tolerance='-3%': ", "write "),
        ({"tolerance": {"gpu.kernel_tme": "3%"}}, "no metric", "did you mean 'gpu.kernel_time'?"),
        ({"tolerance": {"gpu.kernel_time": "3 MiB"}}, "the unit 'MiB'", "write "),
        ({"tolerance": {"gpu.kernel_time": None}}, "is not a tolerance", "write "),
        ({"tolerance": {3: "5%"}}, "has tolerance={3: '5%'}", "name"),
        ({"budget": 3}, "has budget=3", "write a dictionary"),
        ({"budget": {"sync.cnt": 3}}, "no metric", "did you mean 'sync.count'?"),
        ({"budget": {"sync.count": -3}}, "negative", "write "),
        ({"budget": {"*": 3}}, "no metric '*'", "valid names"),
        ({"require": [3]}, "has require=[3]", "list of strings"),
        ({"require": [""]}, "has require=['']", "list of strings"),
        ({"require": ""}, "has require=''", "list of strings"),
        ({"forbid": {"a"}}, "has forbid={'a'}", "list of strings"),
        ({"forbid": ["memcpy HtoD"]}, "'memcpy HtoD', which can never match", "*memcpy*HtoD*"),
        ({"require": "cudaMaloc*"}, "'cudaMaloc*', which can never match", "'cudaMalloc*'?"),
        ({"budget": {"api[cudaMaloc].count": 0}}, "never matches: no CUDA function", "cudaMalloc"),
        ({"tolerance": "3"}, "has tolerance='3': 3 has no unit", '"3%" or "3 us"'),
        ({"tolerance": 3}, "3 has no unit", '"3%" or "3 us" or "3 ms"'),
        ({"budget": {"gpu.kernel_time": 5}}, "5 has no unit", '"5 us" or "5 ms"'),
        ({"nsys_args": 3}, "has nsys_args=3", "list of strings"),
        ({"check": "x"}, "has check='x'", "function of one argument"),
        ({"check": _waits}, "has check=_waits, which is async", "without async"),
        ({"check": partial(_waits)}, ", which is async", "without async"),
        ({"check": _Async()}, ", which is async", "without async"),
        ({"check": _yields}, "has check=_yields, which yields", "that returns"),
        ({"check": lambda: True}, ">(): too many positional arguments", "of one argument"),
        ({"check": lambda m, n: True}, ">(m, n): missing a required argument: 'n'", "of one"),
        ({"isolate": 1}, "has isolate=1", "True or False"),
        ({"allow_empty": None}, "has allow_empty=None", "True or False"),
    ],
)
def test_a_wrong_argument_names_the_test_the_argument_and_what_would_be_right(
    arguments: dict[str, Any], message: str, remedy: str
) -> None:
    with pytest.raises(MarkerError) as caught:
        _read(_mark(**arguments))
    assert caught.value.what.startswith("t.py::test: @pytest.mark.nsys ")
    assert message in caught.value.what
    assert remedy in caught.value.remedy


def test_positional_arguments_are_refused() -> None:
    with pytest.raises(MarkerError, match=r"takes no positional arguments, got \(3,\)"):
        _read(pytest.mark.nsys(3))


@given(
    st.dictionaries(
        st.sampled_from(["warmup", "rounds", "tolerance", "budget", "require", "timeout", "x"]),
        st.one_of(
            st.none(),
            st.integers(),
            st.floats(),
            st.text(max_size=5),
            st.lists(st.text(max_size=3), max_size=2),
            st.dictionaries(
                st.one_of(st.sampled_from([m.key for m in METRICS]), st.text(), st.integers()),
                st.one_of(st.integers(), st.text(max_size=5), st.none()),
                max_size=2,
            ),
        ),
        max_size=3,
    )
)
def test_any_arguments_are_a_spec_or_the_error(arguments: dict[str, Any]) -> None:
    try:
        spec = _read(_mark(**arguments))
    except MarkerError:
        with pytest.raises(MarkerError, match=r"^t\.py::test: "):
            _read(_mark(**arguments))
    else:
        assert spec.rounds >= 1
        assert spec.warmup >= 0
        assert spec.timeout_s > 0


@given(
    st.sampled_from(METRICS),
    st.dictionaries(
        st.sampled_from(["*", *[metric.key for metric in METRICS]]),
        st.builds(Tolerance, st.floats(0, 1), st.floats(0, 100)),
    ),
)
def test_what_is_named_is_gated_and_what_is_gated_by_default_always_is(
    metric: Any, tolerance: dict[str, Tolerance]
) -> None:
    found = Spec(1, 5, 1.0, tolerance=tolerance).tolerance_of(metric)
    if metric.key in tolerance:
        assert found == tolerance[metric.key]
    elif not metric.gated:
        assert found is None
    elif metric.kind == "timed" and "*" in tolerance:
        assert found == tolerance["*"]
    else:
        assert found == metric.tolerance


def test_a_marks_bare_tolerance_is_put_over_the_settings_of_timed_metrics() -> None:
    settings = Settings(
        "profile",
        Path("/"),
        Path("/b"),
        tolerance=(("gpu.kernel_time", Tolerance(0.05)), ("mem.peak", Tolerance(0.1))),
    )
    spec = _read(_mark(tolerance="20%"), settings=settings)
    assert spec.tolerance_of(lookup("gpu.kernel_time")) == Tolerance(0.2)
    assert spec.tolerance_of(lookup("mem.peak")) == Tolerance(0.1)
    assert _read(_mark(), settings=settings).tolerance == dict(settings.tolerance)


def _settings(**values: Any) -> Settings:
    return Settings("profile", Path("/"), Path("/b"), **values)


@pytest.mark.parametrize(
    ("mark", "settings", "rounds", "most"),
    [
        ({}, {}, 5, None),
        ({"rounds": "auto"}, {}, 5, 50),
        ({"rounds": "auto"}, {"rounds": 8, "max_rounds": 20}, 8, 20),
        ({"rounds": "auto"}, {"rounds": 30, "max_rounds": 20}, 30, 30),
        ({}, {"auto": True, "max_rounds": 9}, 5, 9),
        ({"rounds": 3}, {"auto": True}, 3, None),
    ],
)
def test_rounds_are_a_number_or_as_many_as_are_needed(
    mark: dict[str, Any], settings: dict[str, Any], rounds: int, most: int | None
) -> None:
    spec = _read(_mark(**mark), settings=_settings(**settings))
    assert (spec.rounds, spec.most_rounds) == (rounds, most)
    assert (spec.precision is None) is (most is None)


@pytest.mark.parametrize(
    ("tolerance", "precision"),
    [
        ({}, 0.01),  # a third of the 3 % of gpu.kernel_time
        ("6%", 0.02),
        ({"wall.time": "1.5%"}, 0.005),
        ({"wall.time": "90%"}, 0.01),
        ({"kernel[gemm].time": "0.3%"}, 0.001),
        ({"sync.count": "0.1%"}, 0.01),  # nothing timed
        ({"gpu.kernel_time": "5 us"}, 0.01),  # no share of anything
    ],
)
def test_a_median_is_to_be_known_to_a_third_of_the_narrowest_tolerance(
    tolerance: Any, precision: float
) -> None:
    spec = _read(_mark(rounds="auto", tolerance=tolerance))
    assert spec.precision == pytest.approx(precision)


@pytest.mark.parametrize(
    ("mode", "own", "asked", "processes"),
    [
        ("profile", None, 1, 1),
        ("profile", 4, 1, 4),
        ("gate", 1, 3, 1),
        ("update", 1, 3, 3),  # a baseline is to know the spread between processes
        ("update-new", 5, 3, 5),
        ("update", None, 3, 3),
    ],
)
def test_the_marker_says_how_many_sessions_but_baselines_have_what_is_asked_for(
    mode: Any, own: int | None, asked: int, processes: int
) -> None:
    settings = Settings(mode, Path("/"), Path("/b"), processes=asked)
    mark = _mark() if own is None else _mark(processes=own)
    assert _read(mark, settings=settings).processes == processes


def test_the_line_of_help_names_every_argument() -> None:
    arguments = {"timeout"} | {name for name in vars(SPEC) if name not in NOT_ARGUMENTS}
    named = set(MARKER_LINE.partition("(")[2].partition(")")[0].split(", "))
    assert named == arguments


SPEC = Spec(1, 5, 1.0)
NOT_ARGUMENTS = {"timeout_s", "most_rounds", "named"}
