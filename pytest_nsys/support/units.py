"""Reading and writing quantities: nanoseconds and bytes inside, units only for people."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from pytest_nsys.errors import QuantityError

Unit = Literal["ns", "B", "1", "%", "B/s", "1/s", "FLOP", "FLOP/s", "Hz", "°C", "W"]
"""Units of metrics: nanoseconds, bytes, a count, percent, bytes per second, a count per second,
floating-point operations, the same per second, hertz, degrees Celsius, watts."""

_TIME = {"ns": 1.0, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9, "min": 60e9}
_SIZE = {
    "B": 1.0,
    "kB": 1e3,
    "KB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "TB": 1e12,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
}
_FLOP = {"FLOP": 1.0, "kFLOP": 1e3, "MFLOP": 1e6, "GFLOP": 1e9, "TFLOP": 1e12, "PFLOP": 1e15}
_FACTORS: dict[Unit, dict[str, float]] = {
    "ns": _TIME,
    "B": _SIZE,
    "1": {},
    "%": {"%": 1.0, "pp": 1.0},
    "B/s": {f"{name}/s": factor for name, factor in _SIZE.items()},
    "1/s": {"1/s": 1.0, "/s": 1.0},
    "FLOP": _FLOP,
    "FLOP/s": {f"{name}/s": factor for name, factor in _FLOP.items()},
    "Hz": {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9},
    "°C": {"°C": 1.0, "C": 1.0},
    "W": {"mW": 1e-3, "W": 1.0, "kW": 1e3},
}
_NUMBER = re.compile(r"\s*([0-9][0-9_]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+)\s*(\S*)\s*")

_LARGEST = 2**1000  # well within what a float can hold; an int can be larger

Amount = str | int | float

SURELY_BYTES = 1024
"""A number without a unit is one of bytes from here on; fewer may have been meant in MiB."""

_MOST_DECIMALS = 7
"""Of two amounts to a thousandth, as floats, the difference may be 0.0009995."""


@dataclass(frozen=True)
class Tolerance:
    """How far a metric may move: the larger of a relative and an absolute part.

    Attributes:
        relative: fraction of the baseline (0.05 is 5 %).
        absolute: in the metric's own unit (ns, B, 1, percentage points).
    """

    relative: float = 0.0
    absolute: float = 0.0

    def limit(self, baseline: float) -> float:
        """The largest change, in the metric's unit, that is within tolerance of ``baseline``."""
        return max(self.relative * abs(baseline), self.absolute)


def parse_amount(value: Amount, unit: Unit) -> float:
    """``value`` in ``unit``: ``parse_amount("2.5 ms", "ns") == 2.5e6``.

    A number without a unit is a count, a percentage, or so many bytes that it can be nothing else
    (`SURELY_BYTES`): of nanoseconds nobody would think who writes ``5``.

    Raises:
        QuantityError: not a finite number at or above zero, one without its unit, or a unit of
            another kind.
    """
    amount, suffix = _read_amount(value, unit)
    if unit != "%" and _lacks_unit(amount, suffix, unit):
        raise QuantityError(f"{amount:g} has no unit", remedy=_with_unit(f"{amount:g}", unit))
    return amount


def _lacks_unit(amount: float, suffix: str, unit: Unit) -> bool:
    surely = unit == "1" or (unit == "B" and amount >= SURELY_BYTES)
    return bool(amount) and not suffix and not surely


def _read_amount(value: Amount, unit: Unit) -> tuple[float, str]:
    """The amount, and the unit that it was given in."""
    suffix = ""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise QuantityError(f"{value!r} is not a quantity", remedy=_examples(unit))
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        if match is None:
            raise QuantityError(f"{value!r} is not a quantity", remedy=_examples(unit))
        number, suffix = float(match[1].replace("_", "")), match[2]
        factors = _FACTORS[unit]
        if suffix and suffix not in factors:
            raise QuantityError(
                f"{value!r} has the unit {suffix!r}, which does not fit here",
                remedy=_examples(unit),
            )
        amount = number * factors.get(suffix, 1.0)
    else:
        amount = float(value) if abs(value) < _LARGEST else math.inf
    if not math.isfinite(amount) or amount < 0:
        raise QuantityError(f"{value!r} is negative or not finite", remedy=_examples(unit))
    return amount, suffix


def _with_unit(number: str, unit: Unit, *more: str) -> str:
    """What a number without its unit may have been meant to be."""
    units = {
        "ns": ("us", "ms"),
        "B": ("B", "MiB"),
        "B/s": ("GB/s",),
        "FLOP": ("TFLOP",),
        "FLOP/s": ("TFLOP/s",),
        "%": ("pp",),
        "W": ("W",),
    }
    names = units.get(unit, tuple(_FACTORS[unit])[:1])
    meant = [*more, *(f'"{number} {name}"' for name in names)]
    return f"add the unit that is meant, such as {' or '.join(meant)}"


def parse_tolerance(value: object, unit: Unit) -> Tolerance:
    """A tolerance from ``"5%"``, ``"200 us"``, ``3`` (of counts) or a pair of which the larger
    applies.

    Raises:
        QuantityError: neither of these, negative, without its unit, or two parts of the same kind.
    """
    if isinstance(value, Tolerance):
        return value
    if isinstance(value, (tuple, list)):
        nested = any(isinstance(part, (tuple, list, Tolerance)) for part in value)
        if nested or sorted(map(_is_relative, value)) != [False, True]:
            raise QuantityError(
                f"{value!r} is not a relative and an absolute tolerance",
                remedy='write a pair such as ("2%", "16 MiB")',
            )
        parts = [parse_tolerance(part, unit) for part in value]
        relative = max(part.relative for part in parts)
        return Tolerance(relative, max(part.absolute for part in parts))
    if _is_relative(value):
        return Tolerance(relative=parse_amount(str(value), "%") / 100.0)
    if not isinstance(value, (str, int, float)):
        raise QuantityError(f"{value!r} is not a tolerance", remedy=_examples(unit))
    amount, suffix = _read_amount(value, unit)
    if _lacks_unit(amount, suffix, unit):
        number = f"{amount:g}"
        remedy = _with_unit(number, unit, f'"{number}%"')
        raise QuantityError(f"{number} has no unit", remedy=remedy)
    return Tolerance(absolute=amount)


def _is_relative(value: object) -> bool:
    return isinstance(value, str) and value.strip().endswith("%")


def _examples(unit: Unit) -> str:
    examples = {
        "ns": '"2.5 ms" or "200 us"',
        "B": '"16 MiB" or "4 kB"',
        "1": "a count such as 3",
        "%": '"3%" or "3 pp"',
        "B/s": '"20 GB/s"',
        "1/s": '"1500/s"',
        "FLOP": '"2 TFLOP"',
        "FLOP/s": '"600 TFLOP/s"',
        "Hz": '"1.98 GHz" or "1600 MHz"',
        "°C": '"80 °C"',
        "W": '"400 W"',
    }
    return f"write {examples[unit]}; relative parts as 5%"


def _scaled(value: float, steps: Sequence[tuple[float, str]]) -> str:
    for factor, name in steps:
        if abs(value) >= factor:
            return f"{_digits(value / factor)} {name}"
    factor, name = steps[-1]
    return f"{_digits(value / factor)} {name}"


def _digits(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.4g}" if abs(value) < 9999.5 else f"{value:,.0f}"


_DECIMAL: Mapping[Unit, Sequence[tuple[float, str]]] = {
    # Sizes are powers of two, and rates are not: data sheets give bandwidths in GB/s.
    "B/s": [(1e12, "TB/s"), (1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")],
    "Hz": [(1e9, "GHz"), (1e6, "MHz"), (1e3, "kHz"), (1.0, "Hz")],
    **{
        unit: [(factor, name) for name, factor in reversed(_FACTORS[unit].items())]
        for unit in ("FLOP", "FLOP/s")
    },
}


def format_amount(value: float, unit: Unit) -> str:
    """``value`` for people, in a unit that keeps the number readable, to four digits."""
    if not math.isfinite(value):
        return "-"
    if unit == "ns":
        return _scaled(value, [(1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns")])
    if unit == "B":
        return _scaled(value, [(2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")])
    if unit in _DECIMAL:
        return _scaled(value, _DECIMAL[unit])
    if unit in ("%", "1/s"):
        return _digits(value) + unit.lstrip("1")
    return _digits(value) if unit == "1" else f"{_digits(value)} {unit}"


_AMOUNTS: Mapping[str, Unit] = {"flop": "FLOP", "byte": "B"}


def format_count(count: float, name: str) -> str:
    """So many of what a user has a name for, in the singular or not: ``256 tokens``."""
    if name in _AMOUNTS:
        return format_amount(count, _AMOUNTS[name])
    plural = name if count == 1 or name.endswith("s") else f"{name}s"
    exact = format_amount(count, "1") if float(count).is_integer() else f"{count:g}"
    return f"{exact} {plural}"


def format_change(baseline: float, current: float, unit: Unit) -> str:
    """The change from ``baseline`` to ``current``: relative where that says something."""
    difference = current - baseline
    if not difference:
        return "="
    sign = "+" if difference >= 0 else "-"
    # Of a temperature, a share says nothing: its zero is arbitrary.
    if baseline and unit not in ("%", "°C") and not (unit == "1" and abs(difference) < 1e6):
        percent = abs(difference / baseline) * 100
        shown = f"{percent:.1f}" if percent < 100 else f"{percent:,.0f}"
        return f"{sign}{shown}%"
    if unit == "%":
        return f"{sign}{_digits(abs(difference))} pp"
    return f"{sign}{format_amount(abs(difference), unit)}"


def format_full_change(baseline: float, current: float, unit: Unit) -> str:
    """The change in the unit, and as a share where that says something: ``+20 us (+4.0%)``."""
    change = format_change(baseline, current, unit)
    if unit in ("1", "%") or not baseline or current == baseline:
        return change
    sign = "+" if current > baseline else "-"
    return f"{sign}{format_amount(abs(current - baseline), unit)} ({change})"


def format_tolerance(tolerance: Tolerance, unit: Unit) -> str:
    """The tolerance as a person would write it: ``"3% or 20 us"``; "0" allows no change."""
    parts = []
    if tolerance.relative:
        parts.append(f"{_digits(tolerance.relative * 100)}%")
    if tolerance.absolute:
        parts.append(
            f"{_digits(tolerance.absolute)} pp"
            if unit == "%"
            else format_amount(tolerance.absolute, unit)
        )
    return " or ".join(parts) or "0"


@dataclass(frozen=True)
class Scale:
    """A unit and a number of decimals; amounts are whole numbers of its smallest step."""

    factor: float
    unit: str
    decimals: int

    @classmethod
    def of(cls, amount: float, unit: Unit, all_amounts: Sequence[float]) -> Scale:
        """The scale in which `format_amount` shows the amount: four digits, fewer if they do."""
        name = format_amount(abs(amount), unit).partition(" ")[2]
        factor = parse_amount(f"1 {name}", unit) if name else 1.0
        scaled = abs(amount) / factor
        most = min(_MOST_DECIMALS, max(0, 3 - math.floor(math.log10(scaled)))) if scaled else 0
        scales = [cls(factor, name, decimals) for decimals in range(most + 1)]
        exact = (s for s in scales if all(map(s.holds, all_amounts)))
        return next(exact, scales[-1])

    @property
    def _power(self) -> int:
        return int(10**self.decimals)

    def holds(self, amount: float) -> bool:
        """Whether the amount is shown without any rounding."""
        return float(amount / self.factor * self._power).is_integer()

    def steps(self, amount: float) -> int:
        """The amount in steps, rounded."""
        return round(amount / self.factor * self._power)

    def signed(self, steps: int) -> str:
        """So many steps as a change for people: ``+144.3 us``."""
        # Not as a float: a large change in small steps has more digits than that holds.
        amount = Decimal(steps).scaleb(-self.decimals)
        return f"{amount:+.{self.decimals}f} {self.unit}".rstrip()
