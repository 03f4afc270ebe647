"""Reading and writing quantities and tolerances."""

from __future__ import annotations

import contextlib
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import QuantityError
from pytest_nsys.support.units import (
    Tolerance,
    Unit,
    format_amount,
    format_change,
    format_count,
    format_tolerance,
    parse_amount,
    parse_tolerance,
)

UNITS: tuple[Unit, ...] = ("ns", "B", "1", "%", "B/s", "FLOP", "FLOP/s", "Hz", "°C", "W")
units = st.sampled_from(UNITS)
amounts = st.floats(0, 1e15)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("7 ns", "ns", 7),
        ("2.5 ms", "ns", 2.5e6),
        ("200us", "ns", 2e5),
        ("200 µs", "ns", 2e5),
        ("200 μs", "ns", 2e5),
        ("1 s", "ns", 1e9),
        (" 1_000 ns ", "ns", 1000),
        (".5 us", "ns", 500),
        ("1e3 us", "ns", 1e6),
        ("30 min", "ns", 1.8e12),
        ("12", "1", 12),
        ("12", "%", 12),
        ("5 B", "B", 5),
        ("4 kB", "B", 4000),
        ("4 KB", "B", 4000),
        ("4 MB", "B", 4e6),
        ("4 GB", "B", 4e9),
        ("4 KiB", "B", 4096),
        ("16 MiB", "B", 16 * 2**20),
        ("2 GiB", "B", 2 * 2**30),
        ("3", "1", 3),
        ("3 %", "%", 3),
        ("3 pp", "%", 3),
        ("20 GB/s", "B/s", 2e10),
        ("1 GiB/s", "B/s", 2**30),
        ("9 B/s", "B/s", 9),
        ("1.98 GHz", "Hz", 1.98e9),
        ("1600 MHz", "Hz", 1.6e9),
        ("3.35 TB/s", "B/s", 3.35e12),
        ("600 TFLOP/s", "FLOP/s", 6e14),
        ("2 GFLOP", "FLOP", 2e9),
        ("3 kHz", "Hz", 3000),
        ("80 °C", "°C", 80),
        ("80 C", "°C", 80),
        ("412 W", "W", 412),
        ("0.7 kW", "W", 700),
        ("500 mW", "W", 0.5),
        (4, "1", 4),
        (0, "B", 0),
        (0, "ns", 0),
        ("0", "Hz", 0),
        (51200, "B", 51200),
    ],
)
def test_an_amount_is_read_in_the_unit_of_its_metric(
    text: str | float, unit: Unit, value: float
) -> None:
    assert parse_amount(text, unit) == value


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "fast",
        "-1",
        "+1",
        "- 1 ms",
        "1 parsec",
        "1 m s",
        "nan",
        "inf",
        "1e999",
        "0x10",
        "1,5 ms",
        "1.2.3",
        -1,
        -0.5,
        math.nan,
        math.inf,
        pytest.param(10**400, id="huge"),
        True,
        None,
        [],
        b"1",
        1j,
    ],
)
def test_what_is_no_amount_is_refused_with_an_example_of_one(value: object, unit: Unit) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_amount(value, unit)  # type: ignore[arg-type]
    assert caught.value.remedy.startswith("write ")
    assert repr(value)[:20] in str(caught.value)


@pytest.mark.parametrize(
    ("value", "unit", "meant"),
    [
        (5, "ns", '"5 us" or "5 ms"'),
        ("2.5", "ns", '"2.5 us" or "2.5 ms"'),
        (16, "B", '"16 B" or "16 MiB"'),
        (1.98, "Hz", '"1.98 Hz"'),
        (20, "B/s", '"20 GB/s"'),
        (600, "FLOP/s", '"600 TFLOP/s"'),
        (2, "FLOP", '"2 TFLOP"'),
        (80, "°C", '"80 °C"'),
        (400, "W", '"400 W"'),
    ],
)
def test_a_number_without_its_unit_is_refused_with_what_may_be_meant(
    value: str | float, unit: Unit, meant: str
) -> None:
    for parse, share in ((parse_amount, ""), (parse_tolerance, f'"{value}%" or ')):
        with pytest.raises(QuantityError) as caught:
            parse(value, unit)
        assert caught.value.what == f"{float(value):g} has no unit"
        assert caught.value.remedy == f"add the unit that is meant, such as {share}{meant}"
    with pytest.raises(QuantityError, match="has no unit"):
        parse_tolerance(("2%", value), unit)


def test_points_and_shares_of_a_percentage_are_told_apart_in_tolerances() -> None:
    assert parse_amount(80, "%") == 80
    with pytest.raises(QuantityError) as caught:
        parse_tolerance(3, "%")
    assert caught.value.remedy == 'add the unit that is meant, such as "3%" or "3 pp"'


@pytest.mark.parametrize(
    ("text", "unit"),
    [("3 ms", "B"), ("3 MiB", "ns"), ("3 s", "1"), ("3 GB", "B/s"), ("1 B", "%"), ("2 W", "Hz")],
)
def test_a_unit_of_another_kind_is_refused_by_name(text: str, unit: Unit) -> None:
    with pytest.raises(QuantityError, match="does not fit here") as caught:
        parse_amount(text, unit)
    assert repr(text.split()[1]) in caught.value.what


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.binary()), units)
def test_reading_an_amount_gives_a_finite_number_or_the_error(value: object, unit: Unit) -> None:
    with contextlib.suppress(QuantityError):
        amount = parse_amount(value, unit)  # type: ignore[arg-type]
        assert math.isfinite(amount)
        assert amount >= 0


@given(amounts, units)
def test_a_written_amount_is_read_back_to_four_digits(value: float, unit: Unit) -> None:
    text = format_amount(value, unit).replace(",", "")
    assert parse_amount(text, unit) == pytest.approx(value, rel=6e-4)


@given(st.floats(0, 1e18), units)
def test_a_written_amount_is_short_and_free_of_exponents_above_one(
    value: float, unit: Unit
) -> None:
    text = format_amount(value, unit)
    assert len(text) < 40
    if value >= 1:
        assert not re.search(r"\de[+-]?\d", text)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "ns", "0 ns"),
        (999, "ns", "999 ns"),
        (1000, "ns", "1 us"),
        (89_342, "ns", "89.34 us"),
        (2.5e6, "ns", "2.5 ms"),
        (61e9, "ns", "61 s"),
        (9999.6e9, "ns", "10,000 s"),
        (0.5, "ns", "0.5 ns"),
        (-1500, "ns", "-1.5 us"),
        (1023, "B", "1023 B"),
        (4096, "B", "4 KiB"),
        (1.5 * 2**20, "B", "1.5 MiB"),
        (2**40, "B", "1024 GiB"),
        (3.35e12, "B/s", "3.35 TB/s"),
        (25e9, "B/s", "25 GB/s"),
        (999, "B/s", "999 B/s"),
        (494.7e12, "FLOP/s", "494.7 TFLOP/s"),
        (1.1e12, "FLOP", "1.1 TFLOP"),
        (4.5e18, "FLOP/s", "4500 PFLOP/s"),
        (12, "1", "12"),
        (2.5, "1", "2.5"),
        (12_345.5, "1", "12,346"),
        (9_999.7, "1", "10,000"),
        (3, "%", "3%"),
        (99.5, "%", "99.5%"),
        (1.98e9, "Hz", "1.98 GHz"),
        (345e6, "Hz", "345 MHz"),
        (61, "°C", "61 °C"),
        (-3.5, "°C", "-3.5 °C"),
        (412.3, "W", "412.3 W"),
        (0.5, "W", "0.5 W"),
        (math.nan, "ns", "-"),
        (math.inf, "ns", "-"),
    ],
)
def test_an_amount_is_written_in_a_unit_that_keeps_it_readable(
    value: float, unit: Unit, text: str
) -> None:
    assert format_amount(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "tolerance"),
    [
        ("5%", "ns", Tolerance(0.05)),
        (" 2.5 % ", "B", Tolerance(0.025)),
        ("200 us", "ns", Tolerance(absolute=2e5)),
        (3, "1", Tolerance(absolute=3)),
        (0, "B", Tolerance()),
        (("2%", "16 MiB"), "B", Tolerance(0.02, 16 * 2**20)),
        (["16 MiB", "2%"], "B", Tolerance(0.02, 16 * 2**20)),
        (("2%", 5), "1", Tolerance(0.02, 5)),
        (("3%", "2 pp"), "%", Tolerance(0.03, 2)),
        (Tolerance(0.1, 7), "ns", Tolerance(0.1, 7)),
    ],
)
def test_a_tolerance_is_relative_absolute_or_a_pair(
    value: object, unit: Unit, tolerance: Tolerance
) -> None:
    read = parse_tolerance(value, unit)
    assert read.relative == pytest.approx(tolerance.relative)
    assert read.absolute == tolerance.absolute


@pytest.mark.parametrize(
    "value",
    ["-5%", "5 %%", "%", "nan%", (), ("1%",), ("1%", 2, 3), None, {}, True, ("1%", "a"), -3, 1j],
)
def test_what_is_no_tolerance_is_refused(value: object) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_tolerance(value, "ns")
    assert caught.value.remedy


@pytest.mark.parametrize("value", [("1%", "2%"), (1, 2), ("1 us", "2 ms"), (("1%", 1), "3%")])
def test_a_pair_of_two_relative_or_two_absolute_parts_is_refused(value: object) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_tolerance(value, "ns")
    assert "pair" in caught.value.remedy


@given(st.floats(0, 10), amounts, st.floats(-1e12, 1e12))
def test_the_limit_is_the_larger_of_the_relative_and_the_absolute_part(
    relative: float, absolute: float, baseline: float
) -> None:
    limit = Tolerance(relative, absolute).limit(baseline)
    assert limit >= absolute
    assert limit >= relative * abs(baseline)
    assert limit in (absolute, relative * abs(baseline))


@pytest.mark.parametrize(
    ("baseline", "current", "unit", "text"),
    [
        (100, 100, "ns", "="),
        (0, 0, "1", "="),
        (1000, 1100, "ns", "+10.0%"),
        (1000, 900, "ns", "-10.0%"),
        (1000, 2500, "ns", "+150%"),
        (1, 12_346, "ns", "+1,234,500%"),
        (0, 1500, "ns", "+1.5 us"),
        (0, 4096, "B", "+4 KiB"),
        (10, 12, "1", "+2"),
        (12, 10, "1", "-2"),
        (10, 10.5, "1", "+0.5"),
        (1, 2_000_001, "1", "+200,000,000%"),
        (50, 53.5, "%", "+3.5 pp"),
        (53.5, 50, "%", "-3.5 pp"),
        (61, 64, "°C", "+3 °C"),
        (2e9, 1.9e9, "Hz", "-5.0%"),
        (400, 300, "W", "-25.0%"),
    ],
)
def test_a_change_is_relative_where_that_says_something(
    baseline: float, current: float, unit: Unit, text: str
) -> None:
    assert format_change(baseline, current, unit) == text


@pytest.mark.parametrize(
    ("count", "name", "text"),
    [
        (1, "token", "1 token"),
        (256, "token", "256 tokens"),
        (2.5, "request", "2.5 requests"),
        (1234.5, "token", "1234.5 tokens"),
        (12_345_678, "token", "12,345,678 tokens"),
        (0, "image", "0 images"),
        (2, "images", "2 images"),
    ],
)
def test_counts_are_of_one_or_of_several(count: float, name: str, text: str) -> None:
    assert format_count(count, name) == text


@given(amounts, amounts, units)
def test_the_sign_of_a_change_is_its_direction(then: float, now: float, unit: Unit) -> None:
    text = format_change(then, now, unit)
    assert text[0] == ("=" if now == then else "+" if now > then else "-")


@pytest.mark.parametrize(
    ("tolerance", "unit", "text"),
    [
        (Tolerance(), "ns", "0"),
        (Tolerance(0.03), "ns", "3%"),
        (Tolerance(0.03, 20e3), "ns", "3% or 20 us"),
        (Tolerance(0.02, 2**24), "B", "2% or 16 MiB"),
        (Tolerance(absolute=3), "1", "3"),
        (Tolerance(0.1, 3), "%", "10% or 3 pp"),
    ],
)
def test_a_tolerance_is_written_as_a_person_would(
    tolerance: Tolerance, unit: Unit, text: str
) -> None:
    assert format_tolerance(tolerance, unit) == text
