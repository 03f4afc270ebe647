"""A baseline file: measurement to JSON and back; stable, so that a diff shows what changed."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from pytest_nsys.catalogue import Breakdown
from pytest_nsys.errors import BaselineDamaged
from pytest_nsys.measurement import (
    Environment,
    Measurement,
    Part,
    Parts,
    WindowMeasurement,
    largest_first,
)

SCHEMA = 1

_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |\r?$)", re.MULTILINE)
_LARGEST = 2**1000
_REMEDY = "restore the file from git, or delete it and record it anew with --nsys-update"
_DECIMALS = 3
_WIDTH = 98


def render(measurement: Measurement) -> str:
    """The text of a baseline file: sorted keys, fixed rounding, samples on one line a session."""
    return _layout(to_json(measurement), "", top=True) + "\n"


def _layout(value: Any, indent: str, *, top: bool = False) -> str:
    """JSON with what fits on one line on one line, and a list of values always.

    So a session whose samples changed is one changed line.
    """
    line = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if (len(indent) + len(line) <= _WIDTH and not top) or not value:
        return line
    inner = indent + " "
    if isinstance(value, dict):
        parts = [
            f"{inner}{json.dumps(key, ensure_ascii=False)}: {_layout(value[key], inner)}"
            for key in sorted(value)
        ]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    if isinstance(value, list) and isinstance(value[0], list):
        parts = [inner + _layout(part, inner) for part in value]
        return "[\n" + ",\n".join(parts) + f"\n{indent}]"
    return line


def to_json(measurement: Measurement) -> dict[str, Any]:
    """The measurement as JSON values."""
    environment = measurement.environment
    return {
        "schema": SCHEMA,
        "nodeid": measurement.nodeid,
        "device": measurement.device,
        "plan": {"warmup": measurement.warmup, "rounds": measurement.rounds},
        "environment": {
            "gpu": environment.gpu,
            "driver": environment.driver,
            "cuda": environment.cuda,
            "nsys": environment.nsys,
            "trace": list(environment.trace),
            "versions": dict(environment.versions),
            "date": environment.date,
        },
        "windows": {name: _window(window) for name, window in measurement.windows.items()},
    }


def _window(window: WindowMeasurement) -> dict[str, Any]:
    return {
        "samples": {
            key: [[_number(value) for value in session] for session in sessions]
            for key, sessions in window.samples.items()
        },
        "units": {name: _number(count) for name, count in window.units.items()},
        **{
            kind: {part.label: _part(part) for part in parts}
            for kind, parts in window.breakdown.items()
            if len(parts)
        },
    }


def _part(part: Part) -> dict[str, Any]:
    data: dict[str, Any] = {"count": _number(part.count)}
    if part.ns:
        data["ns"] = _number(part.ns)
    if part.bytes:
        data["bytes"] = _number(part.bytes)
    if part.category:
        data["category"] = part.category
    return data


def _number(value: float) -> float | int:
    rounded = round(value, _DECIMALS)
    return int(rounded) if rounded == int(rounded) else rounded


def parse(text: str, where: str) -> Measurement:
    """The measurement in the text of a baseline file.

    Args:
        text: the file's content.
        where: the file, for errors.

    Raises:
        BaselineDamaged: it is no JSON, holds conflict markers, or is of a newer schema.
    """
    conflict = _CONFLICT.search(text)
    if conflict is not None:
        line = text.count("\n", 0, conflict.start()) + 1
        raise BaselineDamaged(
            f"{where}:{line}: a merge conflict is unresolved",
            evidence=text.splitlines()[line - 1],
            remedy="resolve it, or delete the file and record it anew with --nsys-update",
        )
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise BaselineDamaged(
            f"{where}:{error.lineno}: this is not JSON: {error.msg}",
            remedy=_REMEDY,
        ) from None
    except (ValueError, RecursionError) as error:
        raise _damaged(where, error) from None
    schema = data.get("schema") if isinstance(data, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise BaselineDamaged(
            f"{where}:1: the baseline was written by a newer pytest-nsys (schema {schema}, "
            f"this one reads {SCHEMA})",
            remedy="upgrade pytest-nsys",
        )
    try:
        return from_json(data)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(where, error) from None


def _damaged(where: str, error: Exception) -> BaselineDamaged:
    return BaselineDamaged(
        f"{where}:1: a value is missing or of the wrong kind",
        evidence=f"{type(error).__name__}: {error}",
        remedy=_REMEDY,
    )


def from_json(data: object) -> Measurement:
    """The inverse of `to_json`, but for raw names, which are not kept.

    Raises:
        KeyError, TypeError, ValueError: the data is something else.
    """
    top = _mapping(data)
    if _whole(top["schema"]) < 1:
        raise ValueError(f"schema {top['schema']}")
    plan, environment = _mapping(top["plan"]), _mapping(top["environment"])
    versions = _mapping(environment["versions"])
    return Measurement(
        nodeid=_text(top["nodeid"]),
        device=_text(top["device"]),
        warmup=_whole(plan["warmup"]),
        rounds=_whole(plan["rounds"]),
        windows={
            name: _read_window(name, window) for name, window in _mapping(top["windows"]).items()
        },
        environment=Environment(
            gpu=_text(environment["gpu"]),
            driver=_text(environment["driver"]),
            cuda=_text(environment["cuda"]),
            nsys=_text(environment["nsys"]),
            trace=tuple(map(_text, _list(environment["trace"]))),
            versions={name: _text(version) for name, version in versions.items()},
            date=_text(environment["date"]),
        ),
    )


def _read_window(name: str, value: object) -> WindowMeasurement:
    data = _mapping(value)
    breakdown = {
        cast(Breakdown, kind): Parts(
            tuple(
                sorted((_read_part(*item) for item in _mapping(parts).items()), key=largest_first)
            )
        )
        for kind, parts in data.items()
        if kind not in ("samples", "units")
    }
    samples = {
        key: tuple(tuple(map(_number_in, _list(session))) for session in _list(sessions))
        for key, sessions in _mapping(data["samples"]).items()
    }
    for key, sessions in samples.items():
        if not any(sessions):
            raise ValueError(f"no samples of {key}")
    units = {unit: _number_in(count) for unit, count in _mapping(data["units"]).items()}
    if not all(_number(count) > 0 for count in units.values()):
        raise ValueError("units that are not above zero")
    return WindowMeasurement(name=name, samples=samples, units=units, breakdown=breakdown)


def _read_part(label: str, value: object) -> Part:
    data = _mapping(value)
    return Part(
        label,
        count=_number_in(data["count"]),
        ns=_number_in(data.get("ns", 0)),
        bytes=_number_in(data.get("bytes", 0)),
        category=_text(data.get("category", "")),
    )


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} where there should be an object")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} where there should be a list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where there should be a text")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} where there should be a whole number")
    return value


def _number_in(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} where there should be a number")
    if not abs(value) <= _LARGEST:  # NaN is not, either
        raise ValueError("a number that is not finite")
    return float(value)
