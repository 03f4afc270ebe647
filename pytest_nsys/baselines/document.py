"""A baseline file: measurement to JSON and back; stable, so that a diff shows what changed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
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

_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |$)", re.MULTILINE)
_DECIMALS = 3
_WIDTH = 98


def render(measurement: Measurement) -> str:
    """The text of a baseline file: sorted keys, fixed rounding, samples on one line a session."""
    return _layout(to_json(measurement), "", top=True) + "\n"


def _layout(value: Any, indent: str, *, top: bool = False) -> str:
    """JSON with what fits on one line on one line: a changed sample is a changed line."""
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
    if isinstance(value, list):
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
            remedy="restore the file from git, or delete it and record it anew with --nsys-update",
        ) from None
    schema = data.get("schema") if isinstance(data, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise BaselineDamaged(
            f"{where}:1: the baseline was written by a newer pytest-nsys (schema {schema}, "
            f"this one reads {SCHEMA})",
            remedy="upgrade pytest-nsys",
        )
    try:
        return from_json(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BaselineDamaged(
            f"{where}:1: a value is missing or of the wrong kind",
            evidence=f"{type(error).__name__}: {error}",
            remedy="restore the file from git, or delete it and record it anew with --nsys-update",
        ) from None


def from_json(data: Mapping[str, Any]) -> Measurement:
    """The inverse of `to_json`, but for raw names, which are not kept.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the data is something else.
    """
    environment = data["environment"]
    windows = {
        str(name): _read_window(str(name), window) for name, window in data["windows"].items()
    }
    return Measurement(
        nodeid=str(data["nodeid"]),
        device=str(data["device"]),
        warmup=int(data["plan"]["warmup"]),
        rounds=int(data["plan"]["rounds"]),
        windows=windows,
        environment=Environment(
            gpu=str(environment["gpu"]),
            driver=str(environment["driver"]),
            cuda=str(environment["cuda"]),
            nsys=str(environment["nsys"]),
            trace=tuple(map(str, environment["trace"])),
            versions={str(k): str(v) for k, v in environment["versions"].items()},
            date=str(environment["date"]),
        ),
    )


def _read_window(name: str, data: Mapping[str, Any]) -> WindowMeasurement:
    breakdown = {
        cast(Breakdown, kind): Parts(
            tuple(sorted((_read_part(*item) for item in parts.items()), key=largest_first))
        )
        for kind, parts in data.items()
        if kind not in ("samples", "units")
    }
    samples = {
        str(key): tuple(tuple(float(value) for value in session) for session in sessions)
        for key, sessions in data["samples"].items()
    }
    for key, sessions in samples.items():
        if not any(sessions):
            raise ValueError(f"no samples of {key}")
    return WindowMeasurement(
        name=name,
        samples=samples,
        units={str(unit): float(count) for unit, count in data["units"].items()},
        breakdown=breakdown,
    )


def _read_part(label: str, data: Mapping[str, Any]) -> Part:
    return Part(
        str(label),
        count=float(data["count"]),
        ns=float(data.get("ns", 0)),
        bytes=float(data.get("bytes", 0)),
        category=str(data.get("category", "")),
    )
