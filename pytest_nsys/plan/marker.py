"""``@pytest.mark.nsys``: its arguments, checked at collection and merged into a frozen `Spec`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_nsys.catalogue import (
    Gates,
    Metric,
    default_tolerance,
    lookup,
    plain_metrics,
)
from pytest_nsys.errors import MarkerError, NsysError
from pytest_nsys.plan.expected import ExpectedChange, parse_expected
from pytest_nsys.plan.patterns import instead_of, is_function, known_metric
from pytest_nsys.plan.settings import Settings
from pytest_nsys.support.text import suggest
from pytest_nsys.support.units import Tolerance, parse_amount, parse_tolerance

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Spec:
    """How one test is measured and judged.

    Attributes:
        warmup: calls of the body before the measured ones.
        rounds: measured calls in a process; of "auto", which takes as many as the tolerance needs,
            the fewest.
        most_rounds: the most there may be where their number is automatic; None where it is not.
        processes: processes that measure it, one after another; where a baseline is recorded at
            least as many as the settings ask for.
        tolerance: how far a metric may get worse, by metric; one for all (``*``) is that of every
            timed metric.
        budget: absolute upper limits per metric (lower limits where down is worse).
        require: patterns of kernels, copies or API calls that the body must contain.
        forbid: patterns of kernels, copies or API calls that no window may contain.
        check: called with the measurement of the body in the controller; False or an
            AssertionError fails the test.
        isolate: whether the test gets a worker and a capture of its own.
        timeout_s: longest time for the test with all its rounds, s.
        nsys_args: further arguments of ``nsys profile``; tests share a capture only with tests of
            the same arguments.
        allow_empty: whether a test without any CUDA activity is all right.
        named: the metrics that the marker itself gives a tolerance, and that must be measured.
        expected: changes of this test that are expected for a while.
        cold_l2: whether the L2 cache is emptied before each round.
        gpus: how many GPUs it needs; with more than one it is measured alone.
    """

    warmup: int
    rounds: int
    timeout_s: float
    most_rounds: int | None = None
    processes: int = 1
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)
    budget: Mapping[str, float] = field(default_factory=dict)
    require: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    check: Callable[[Any], object] | None = None
    isolate: bool = False
    nsys_args: tuple[str, ...] = ()
    allow_empty: bool = False
    named: frozenset[str] = frozenset()
    expected: tuple[ExpectedChange, ...] = ()
    gpus: int = 1
    cold_l2: bool = False

    def tolerance_of(self, metric: Metric, gates: Gates = "test") -> Tolerance | None:
        """The tolerance the metric is gated with; None where it is not gated.

        Args:
            metric: the metric.
            gates: what is gated by default in the window that it is of.
        """
        if metric.key in self.tolerance:
            return self.tolerance[metric.key]
        default = default_tolerance(metric, gates)
        if default is not None and metric.kind == "timed" and "*" in self.tolerance:
            return self.tolerance["*"]
        return default

    @property
    def precision(self) -> float | None:
        """To what fraction the median is to be known, where the number of rounds is automatic.

        A third of the smallest relative tolerance of a timed metric that gates the test.
        """
        if self.most_rounds is None:
            return None
        gates = [
            self.tolerance_of(metric)
            for metric in (*plain_metrics(), *map(lookup, self.named))
            if metric.kind == "timed"
        ]
        parts = [gate.relative for gate in gates if gate is not None and gate.relative]
        return min(parts, default=_PRECISE) / 3


_PRECISE = 0.03
_ARGUMENTS = {f.name for f in fields(Spec)} - {"timeout_s", "named", "most_rounds"} | {"timeout"}


def merged_arguments(item: pytest.Item) -> dict[str, Any]:
    """The arguments of a test's marks: the closest wins, argument by argument and key by key.

    What the command line says comes before all of them, and what the ini file says after.

    Raises:
        MarkerError: an argument is unknown; the test, the argument and the nearest valid name are
            named.
    """
    merged: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers("nsys"))):
        if mark.args:
            raise _error(item, f"takes no positional arguments, got {mark.args!r}")
        for name, value in mark.kwargs.items():
            if name not in _ARGUMENTS:
                raise _error(
                    item, f"has no argument {name!r}", remedy=suggest(name, sorted(_ARGUMENTS))
                )
            if name in ("tolerance", "budget"):
                merged[name] = {**merged.get(name, {}), **_as_mapping(item, name, value)}
            else:
                merged[name] = value
    return merged


def read_spec(item: pytest.Item, settings: Settings) -> Spec:
    """What a test's marks and the settings say together.

    Raises:
        MarkerError: an argument is unknown or its value cannot be read; the test, the argument
            and the nearest valid name are named.
    """
    merged = merged_arguments(item)
    own_tolerance = _read(item, "tolerance", merged.get("tolerance", {}), parse_tolerance)

    def asked(name: str, default: Any, read: Callable[[Any], Any]) -> Any:
        """The command line's value, else the marker's (which is read anyway), else the ini's."""
        own = read(merged.get(name, default))
        return default if f"nsys_{name}" in settings.overriding else own

    rounds = asked("rounds", "auto" if settings.auto else settings.rounds, partial(_rounds, item))
    auto = rounds == "auto"
    processes = asked("processes", settings.processes, partial(_whole, item, "processes", least=1))
    return Spec(
        warmup=asked("warmup", settings.warmup, partial(_whole, item, "warmup", least=0)),
        rounds=settings.rounds if auto else rounds,
        most_rounds=max(settings.max_rounds, settings.rounds) if auto else None,
        processes=max(processes, settings.processes) if settings.records else processes,
        timeout_s=asked("timeout", settings.timeout_s, partial(_timeout, item)),
        tolerance=_tolerance(settings, own_tolerance),
        budget=_read(item, "budget", merged.get("budget", {}), parse_amount),
        named=frozenset(own_tolerance.keys() - {"*"}),
        require=_operations(item, "require", merged.get("require", ())),
        forbid=_operations(item, "forbid", merged.get("forbid", ())),
        check=_check(item, merged.get("check")),
        isolate=_flag(item, "isolate", merged.get("isolate", False)),
        nsys_args=_patterns(item, "nsys_args", merged.get("nsys_args", ())),
        allow_empty=_flag(item, "allow_empty", merged.get("allow_empty", False)),
        expected=_expected(item, merged.get("expected", ())),
        cold_l2=asked("cold_l2", settings.cold_l2, partial(_flag, item, "cold_l2")),
        gpus=_whole(item, "gpus", merged.get("gpus", 1), least=1),
    )


def _tolerance(settings: Settings, own: Mapping[str, Tolerance]) -> dict[str, Tolerance]:
    """The tolerances of the settings and the marker, one put over the other."""
    layers = [dict(settings.tolerance), own]
    if "nsys_tolerance" in settings.overriding:
        layers.reverse()
    return {**_beneath(*layers), **layers[1]}


def _beneath(
    lower: Mapping[str, Tolerance], upper: Mapping[str, Tolerance]
) -> dict[str, Tolerance]:
    """Tolerances without those that a bare one is put over."""
    return {
        key: tolerance
        for key, tolerance in lower.items()
        if key == "*" or "*" not in upper or lookup(key).kind != "timed"
    }


def _error(item: pytest.Item, message: str, *, remedy: str = "") -> MarkerError:
    return MarkerError(f"{item.nodeid}: @pytest.mark.nsys {message}", remedy=remedy)


def _as_mapping(item: pytest.Item, name: str, value: object) -> dict[str, object]:
    if isinstance(value, Mapping):
        return dict(value)
    if name == "tolerance":
        return {"*": value}
    raise _error(
        item,
        f"has budget={value!r}",
        remedy='write a dictionary such as budget={"gpu.kernel_time": "2.5 ms"}',
    )


def _read(
    item: pytest.Item, name: str, values: Mapping[str, Any], parse: Callable[[Any, Any], Any]
) -> dict[str, Any]:
    read = {}
    for key, value in values.items():
        if not isinstance(key, str):
            raise _error(
                item, f"has {name}={{{key!r}: {value!r}}}", remedy="name metrics by their keys"
            )
        try:
            unit = "ns" if key == "*" and name == "tolerance" else known_metric(key).unit
            read[key] = parse(value, unit)
        except NsysError as error:
            shown = repr(value) if key == "*" else f"{{{key!r}: {value!r}}}"
            raise _error(item, f"has {name}={shown}: {error.what}", remedy=error.remedy) from None
    return read


def _whole(item: pytest.Item, name: str, value: object, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        remedy = f"give a whole number from {least} on"
        raise _error(
            item,
            f"has {name}={value!r}",
            remedy=remedy + (' or "auto"' if name == "rounds" else ""),
        )
    return value


def _rounds(item: pytest.Item, value: object) -> object:
    return value if value == "auto" else _whole(item, "rounds", value, least=1)


def _timeout(item: pytest.Item, value: object) -> float:
    seconds = 0.0
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        with suppress(OverflowError):  # an int may be larger than any float
            seconds = float(value)
    if not math.isfinite(seconds) or seconds <= 0:
        raise _error(item, f"has timeout={value!r:.40}", remedy="give seconds above zero")
    return seconds


def _patterns(item: pytest.Item, name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) and value:
        return (value,)
    if isinstance(value, (list, tuple)) and all(isinstance(part, str) and part for part in value):
        return tuple(value)
    raise _error(item, f"has {name}={value!r}", remedy="give a string or a list of strings")


def _operations(item: pytest.Item, name: str, value: object) -> tuple[str, ...]:
    """Patterns of kernels, copies and calls; one that can never match is refused."""
    patterns = _patterns(item, name, value)
    for pattern in patterns:
        instead = instead_of(pattern)
        if instead:
            raise _error(
                item,
                f"has {name}={pattern!r}, which can "
                + ("match no copy" if is_function(pattern) else "never match"),
                remedy=f"did you mean {instead}?",
            )
    return patterns


def _expected(item: pytest.Item, value: object) -> tuple[ExpectedChange, ...]:
    try:
        return parse_expected(value)
    except NsysError as error:
        raise _error(
            item, f"has expected={value!r:.80}: {error.what}", remedy=error.remedy
        ) from None


def _check(item: pytest.Item, value: Any) -> Callable[[Any], object] | None:
    """The function of ``check``; one whose answer nobody would see is none."""
    if value is None:
        return None
    remedy = "give a function of one argument"
    if not callable(value):
        raise _error(item, f"has check={value!r:.80}", remedy=remedy)
    name = getattr(value, "__qualname__", repr(value))[:80]
    called = (value, type(value).__call__)
    if any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in called):
        raise _error(item, f"has check={name}, which is async", remedy=f"{remedy}, without async")
    if any(map(inspect.isgeneratorfunction, called)):
        raise _error(item, f"has check={name}, which yields", remedy=f"{remedy} that returns")
    with suppress(TypeError, ValueError):  # of what Python knows no signature
        signature = inspect.signature(value)
        try:
            signature.bind(item)
        except TypeError as error:
            raise _error(item, f"has check={name}{signature}: {error}", remedy=remedy) from None
    return value  # type: ignore[no-any-return]


def _flag(item: pytest.Item, name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _error(item, f"has {name}={value!r}", remedy="give True or False")
