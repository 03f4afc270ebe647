"""What people and scripts write into options, ini files and markers: a value, or one error."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import MarkerError, QuantityError, SettingsError
from pytest_nsys.plan.marker import read_spec
from pytest_nsys.plan.options import OPTIONS, Option
from pytest_nsys.plan.privacy import published_command, published_options
from pytest_nsys.plan.settings import Settings, read_settings, read_tolerances
from pytest_nsys.support.text import line_without_folders
from pytest_nsys.support.units import Tolerance, Unit, format_amount, parse_amount, parse_tolerance
from tests.support.mutations import STRANGE, check_refusal, check_start

UNITS = get_args(Unit)

quantities = st.one_of(
    st.text(max_size=12),
    st.text(st.sampled_from("0123456789.eE+-_ %nusmBKiGp/٣²\n"), max_size=12),
    st.integers(),
    st.floats(),
    st.sampled_from(STRANGE),
    st.just("9" * 5000),
    st.just("1e999"),
    st.just("1" + "_" * 5000),
)


@given(quantities, st.sampled_from(UNITS))
def test_a_quantity_is_finite_or_refused(value: Any, unit: Unit) -> None:
    try:
        amount = parse_amount(value, unit)
    except QuantityError as error:
        check_refusal(error, most=20_000)
        return
    assert math.isfinite(amount)
    assert amount >= 0
    assert format_amount(amount, unit)


@given(quantities | st.lists(quantities, max_size=3).map(tuple), st.sampled_from(UNITS))
def test_a_tolerance_is_finite_or_refused(value: Any, unit: Unit) -> None:
    try:
        tolerance = parse_tolerance(value, unit)
    except QuantityError as error:
        check_refusal(error, most=20_000)
        return
    assert isinstance(tolerance, Tolerance)
    assert math.isfinite(tolerance.relative)
    assert math.isfinite(tolerance.absolute)
    assert tolerance.limit(1.0) >= 0


lines = st.one_of(
    st.text(max_size=20),
    st.builds(
        "{}={}".format,
        st.sampled_from(["gpu.kernel_time", "mem.peak", "kernel[a=b].time", "*", "", "nothing"]),
        st.text(st.sampled_from("0123456789.e%nusmBKi, =-"), max_size=10),
    ),
)


@given(st.lists(lines, max_size=3))
def test_lines_of_tolerances_are_read_or_refused(given: list[str]) -> None:
    try:
        tolerances = read_tolerances(given)
    except SettingsError as error:
        check_refusal(error, "nsys_tolerance")
        return
    assert len(tolerances) == len(given)


@given(st.text())
def test_a_published_line_is_one_line_and_names_no_folder(text: str) -> None:
    line = line_without_folders(text)
    assert "\n" not in line
    assert line_without_folders(f"'/home/me/{text.replace(chr(39), '')}/x'").count("/home/me") == 0


WORD = "hunter2"


@given(st.permutations(["--password", WORD, f"--token={WORD}", f"{WORD}.py::t", "-k", WORD]))
def test_a_published_command_holds_only_what_is_ours(args: list[str]) -> None:
    own = ["--nsys-update", "--nsys-record", f"/home/{WORD}/recording", "--nsys-tolerance=5%"]
    own += [f"--nsys-keep=/home/{WORD}/kept", "--nsys-args", f"-e A={WORD}"]
    command = published_command([*args, *own, *args])
    assert WORD not in command
    words = "--nsys-update --nsys-record ... --nsys-tolerance=5% --nsys-keep=... --nsys-args ..."
    assert command == f"pytest ... {words}"


def test_published_options_hold_no_values_of_variables() -> None:
    given = (
        "--trace=cuda,nvtx",
        f"--env-var=A={WORD}",
        "-e",
        f"A={WORD}",
        f"-eA={WORD}",
        "--env-var",
        f"A={WORD}",
        f"--env=A={WORD}",
        f"--e=A={WORD}",
        "--env-v",
        f"A={WORD}",
        f"--output=/home/{WORD}/x",
        "-o",
        f"/home/{WORD}/x",
        f"--new-in-2031={WORD}",
        "--export=none",
        "--samp=process-tree",
        "-t",
        "cuda",
        "-snone",
    )
    assert published_options(given) == (
        "--trace=cuda,nvtx",
        "--env-var=...",
        "--env-var",
        "...",
        "--env-var=...",
        "--env-var",
        "...",
        "--env-var=...",
        "--e=...",
        "--env-var",
        "...",
        "--output=...",
        "--output",
        "...",
        "--new-in-2031=...",
        "--export=none",
        "--samp=...",
        "--trace",
        "cuda",
        "--sample=none",
    )


class Item:
    """As much of a test as its marks need."""

    nodeid = "t.py::test"

    def __init__(self, marks: list[dict[str, Any]]) -> None:
        self._marks = marks

    def iter_markers(self, name: str) -> list[pytest.Mark]:
        """The marks, the closest first."""
        return [pytest.Mark(name, (), kwargs, _ispytest=True) for kwargs in self._marks]


ARGUMENTS = (
    "warmup rounds tolerance budget require forbid check isolate timeout nsys_args allow_empty no"
).split()
strange = st.sampled_from(STRANGE) | st.sampled_from(["5%", "1 MiB", ("2%", "16 MiB"), ["k*"], 3])
values = strange | st.dictionaries(
    st.sampled_from(["gpu.kernel_time", "mem.peak", "*", "kernel[x].time", "none", "", 7]),
    strange,
    max_size=2,
)


@given(st.lists(st.dictionaries(st.sampled_from(ARGUMENTS), values, max_size=3), max_size=2))
def test_marks_are_read_or_refused(marks: list[dict[str, Any]]) -> None:
    item: Any = Item(marks)
    try:
        spec = read_spec(item, Settings("profile", Path("/"), Path("/baselines")))
    except MarkerError as error:
        check_start(error, "t.py::test: @pytest.mark.nsys ")
        return
    assert spec.rounds >= 1
    assert spec.warmup >= 0
    assert 0 < spec.timeout_s < math.inf
    assert all(math.isfinite(limit) for limit in spec.budget.values())


class Config:
    """As much of pytest's configuration as the settings need: one option, in the ini file."""

    rootpath = Path("/project")
    inipath = Path("/project/pytest.ini")
    invocation_params = pytest.Config.InvocationParams(args=(), plugins=None, dir=Path("/project"))

    def __init__(self, option: Option, value: object) -> None:
        self._option, self._value = option, value

    def getoption(self, name: str) -> object:
        """Nothing is given on the command line."""
        return None

    def getini(self, name: str) -> object:
        """The one option's value."""
        return self._value if name == self._option.name else None


@given(
    st.sampled_from([option for option in OPTIONS if option.kind != "flag"]),
    st.text(max_size=20)
    | st.sampled_from(["~nobody-of-this-name/x", "a\0b", "\ud800", "x" * 5000, "9" * 5000, "'"]),
)
def test_an_option_is_read_or_refused(option: Option, text: str) -> None:
    config: Any = Config(option, [text] if option.is_list else text)
    try:
        settings = read_settings(config)
    except SettingsError as error:
        check_refusal(error, most=20_000)
        return
    assert settings.rounds >= 1
    assert 0 < settings.timeout_s < math.inf
