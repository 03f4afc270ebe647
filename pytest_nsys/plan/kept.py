"""How the tests of a run were to be judged, as data: what recordings keep of it, and the way back.

A recording that has it can be judged without the test modules (`pytest-nsys judge`). What is code
cannot be kept, and neither can what only looks like data; it is known to have been there.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from pytest_nsys.catalogue import lookup
from pytest_nsys.plan.marker import Spec, merged_arguments
from pytest_nsys.plan.options import OPTIONS
from pytest_nsys.plan.settings import option_value
from pytest_nsys.support.json_values import Maybe
from pytest_nsys.support.units import Tolerance

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEPT = frozenset(
    "warmup rounds processes tolerance budget require forbid expected allow_empty".split()
)
_CODE = frozenset({"check"})
_JUDGING_HOOKS = (
    "pytest_nsys_metrics",
    "pytest_nsys_kernel_name",
    "pytest_nsys_kernel_category",
    "pytest_nsys_device_key",
)
"""Hooks that what is measured, or its baseline, depends on."""


@dataclass(frozen=True)
class KeptXfail:
    """That a test was expected to fail.

    Attributes:
        reason: why.
        raises: names of the exceptions that it was expected to raise; empty for any.
        strict: whether it fails if it passes; None where the project's settings say.
    """

    reason: Maybe[str] = ""
    raises: Maybe[tuple[str, ...]] = ()
    strict: bool | None = None


@dataclass(frozen=True)
class KeptMarks:
    """How a test was marked.

    Attributes:
        arguments: of the marker ``nsys``, those that say how to judge: of all its marks together.
        code: the arguments that cannot be kept.
        xfail: that it was expected to fail.
        parameters: what it was parametrised with, by the parameters' names.
    """

    arguments: Maybe[Mapping[str, Any]] = field(default_factory=dict)
    code: Maybe[tuple[str, ...]] = ()
    xfail: KeptXfail | None = None
    parameters: Maybe[Mapping[str, str]] = field(default_factory=dict)


class _NoData(TypeError):
    """A value that is more than data."""


def kept_marks(item: pytest.Item, spec: Spec) -> KeptMarks:
    """The marks of a test, of which ``spec`` was made; what is automatic by the settings, too."""
    arguments: dict[str, Any] = {}
    code = []
    for name, value in merged_arguments(item).items():
        if name in _CODE and value is not None:
            code.append(name)
        elif name in _KEPT:
            try:
                arguments[name] = _data(value)
            except _NoData:
                code.append(name)
    if spec.most_rounds is not None:
        arguments["rounds"] = "auto"
    return KeptMarks(arguments, tuple(code), _kept_xfail(item), _kept_parameters(item))


def _kept_parameters(item: pytest.Item) -> dict[str, str]:
    """The test's parameters in the words of its id.

    A value that its project gave another word in the id is not published, but the word is; where it
    cannot be told which word that is, all that are left over.
    """
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return {}
    words = f"-{callspec.id}-"
    found: dict[str, str] = {}
    for name, value in callspec.params.items():
        word = str(getattr(value, "__name__", value))
        if f"-{word}-" in words:
            found[name] = word
            words = words.replace(f"-{word}-", "-", 1)
    rest = words.strip("-")
    unknown = [name for name in callspec.params if name not in found]
    each = rest.split("-")
    named = each if len(each) == len(unknown) else [rest] * len(unknown)
    found |= zip(unknown, named, strict=True)
    return {name: found[name] for name in callspec.params}


def _data(value: object, key: str = "*") -> Any:
    """An argument of a mark as JSON values, which mean the same in it."""
    if isinstance(value, Tolerance):
        return _written_tolerance(value, key)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise _NoData
        return {key: _data(item, key) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_data(item, key) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise _NoData


def _written_tolerance(tolerance: Tolerance, key: str) -> Any:
    """A tolerance as a marker has it in words."""
    unit = "ns" if key == "*" else lookup(key).unit
    absolute = f"{tolerance.absolute!r} {unit}" if unit != "1" else tolerance.absolute
    if not tolerance.relative:
        return absolute
    relative = f"{tolerance.relative * 100!r}%"
    return [relative, absolute] if tolerance.absolute else relative


def _kept_xfail(item: pytest.Item) -> KeptXfail | None:
    mark = item.get_closest_marker("xfail")
    if mark is None:
        return None
    raises = mark.kwargs.get("raises") or ()
    kinds = raises if isinstance(raises, tuple) else (raises,)
    strict = mark.kwargs.get("strict")
    return KeptXfail(
        reason=str(mark.kwargs.get("reason") or ""),
        raises=tuple(getattr(kind, "__name__", str(kind)) for kind in kinds),
        strict=strict if isinstance(strict, bool) else None,
    )


def marks_of(kept: KeptMarks) -> Iterable[pytest.MarkDecorator]:
    """The marks that were kept; without the arguments that could not be."""
    yield pytest.mark.nsys(**kept.arguments)
    if kept.xfail is not None:
        arguments: dict[str, Any] = {"reason": kept.xfail.reason}
        if kept.xfail.raises:
            arguments["raises"] = tuple(map(_exception, kept.xfail.raises))
        if kept.xfail.strict is not None:
            arguments["strict"] = kept.xfail.strict
        yield pytest.mark.xfail(**arguments)


def _exception(name: str) -> type[BaseException]:
    """The built-in exception of this name; else one that nothing raises."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return kind
    return type(name if name.isidentifier() else "Unknown", (Exception,), {})


def kept_options(config: pytest.Config) -> dict[str, str]:
    """The options of a run that say how to judge, as an ini file has them."""
    found = {
        option.name: option_value(config, option) for option in OPTIONS if option.judging == "rule"
    }
    return {
        name: "\n".join(value) if isinstance(value, list) else str(value)
        for name, value in found.items()
        if value is not None
    }


def judging_hooks(config: pytest.Config) -> tuple[str, ...]:
    """The hooks of the project, or of other plugins, by which its tests are measured."""
    return tuple(name for name in _JUDGING_HOOKS if getattr(config.hook, name).get_hookimpls())
