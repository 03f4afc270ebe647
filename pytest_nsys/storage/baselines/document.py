"""A baseline file: measurement to JSON and back; stable, so that a diff shows what changed."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, cast, get_args

from pytest_nsys.catalogue import Breakdown
from pytest_nsys.errors import BaselineDamaged
from pytest_nsys.measure.measurement import (
    Environment,
    Measurement,
    Part,
    Parts,
    WindowMeasurement,
    largest_first,
)
from pytest_nsys.support.json_values import listing, load, mapping, number, text_of, whole

SCHEMA = 1

_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |\r?$)", re.MULTILINE)
_REMEDY = "restore the file from git, or delete it and record it anew with --nsys-update"
_DECIMALS = 3
_WIDTH = 98


def render(measurement: Measurement) -> str:
    """The text of a baseline file: sorted keys, fixed rounding, samples on one line a process."""
    return _layout(to_json(measurement), "", top=True) + "\n"


def _layout(value: Any, indent: str, *, top: bool = False) -> str:
    """JSON with what fits on one line on one line, and a list of values always.

    So a process whose samples changed is one changed line.
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
            **({"gpu_digests": list(digests)} if (digests := environment.gpu_digests) else {}),
        },
        "windows": {name: _window(window) for name, window in measurement.windows.items()},
    }


def recording_digest(measurement: Measurement) -> str:
    """What a recording is known by: of the test, the day, and its samples as they are written.

    The same before it is written and after it is read, and by other versions.
    """
    data = to_json(measurement)
    known = {
        "nodeid": data["nodeid"],
        "device": data["device"],
        "date": data["environment"]["date"],
        "samples": {name: window["samples"] for name, window in data["windows"].items()},
    }
    text = json.dumps(known, sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def _window(window: WindowMeasurement) -> dict[str, Any]:
    return {
        "samples": {
            key: [[_number(value) for value in process] for process in processes]
            for key, processes in window.samples.items()
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
        data = load(text)
    except json.JSONDecodeError as error:
        raise BaselineDamaged(
            f"{where}:{error.lineno}: this is not JSON: {error.msg}",
            remedy=_REMEDY,
        ) from None
    except ValueError as error:
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
    top = mapping(data)
    if whole(top["schema"]) < 1:
        raise ValueError(f"schema {top['schema']}")
    plan, environment = mapping(top["plan"]), mapping(top["environment"])
    versions = mapping(environment["versions"])
    return Measurement(
        nodeid=text_of(top["nodeid"]),
        device=text_of(top["device"]),
        warmup=whole(plan["warmup"], 0),
        rounds=whole(plan["rounds"], 1),
        windows={
            name: _read_window(name, window) for name, window in mapping(top["windows"]).items()
        },
        environment=Environment(
            gpu=text_of(environment["gpu"]),
            driver=text_of(environment["driver"]),
            cuda=text_of(environment["cuda"]),
            nsys=text_of(environment["nsys"]),
            trace=tuple(map(text_of, listing(environment["trace"]))),
            versions={name: text_of(version) for name, version in versions.items()},
            date=text_of(environment["date"]),
            gpu_digests=tuple(map(text_of, listing(environment.get("gpu_digests", [])))),
        ),
    )


def _read_window(name: str, value: object) -> WindowMeasurement:
    data = mapping(value)
    unknown = data.keys() - {"samples", "units", *get_args(Breakdown)}
    if unknown:
        raise ValueError(f"a window has no {min(unknown)[:80]!r}")
    breakdown = {
        cast(Breakdown, kind): Parts(
            tuple(sorted((_read_part(*item) for item in mapping(parts).items()), key=largest_first))
        )
        for kind, parts in data.items()
        if kind not in ("samples", "units")
    }
    samples = {
        key: tuple(tuple(map(number, listing(process))) for process in listing(processes))
        for key, processes in mapping(data["samples"]).items()
    }
    for key, processes in samples.items():
        if not any(processes):
            raise ValueError(f"no samples of {key}")
    units = {unit: number(count) for unit, count in mapping(data["units"]).items()}
    if not all(_number(count) > 0 for count in units.values()):
        raise ValueError("units that are not above zero")
    return WindowMeasurement(name=name, samples=samples, units=units, breakdown=breakdown)


def _read_part(label: str, value: object) -> Part:
    data = mapping(value)
    return Part(
        label,
        count=number(data["count"]),
        ns=number(data.get("ns", 0)),
        bytes=number(data.get("bytes", 0)),
        category=text_of(data.get("category", "")),
    )
