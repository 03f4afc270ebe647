"""A baseline file: measurement to JSON and back; stable, so that a diff shows what changed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import starmap
from typing import Annotated, Any

from pytest_nsys.catalogue import Breakdown, is_never_negative
from pytest_nsys.cuda.names import cuda_version
from pytest_nsys.errors import BaselineDamaged
from pytest_nsys.measure.measurement import (
    Environment,
    Launched,
    Measurement,
    Part,
    Parts,
    Samples,
    WindowMeasurement,
    largest_first,
    shared,
)
from pytest_nsys.ncu.counters import KernelCounters
from pytest_nsys.support.json_values import (
    Amount,
    Check,
    Count,
    Maybe,
    Misread,
    Positive,
    load_written,
    read,
    read_keys,
    shown,
    written,
)

SCHEMA = 1

CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |\r?$)", re.MULTILINE)
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
    data: dict[str, Any] = written(
        {
            "schema": SCHEMA,
            "nodeid": measurement.nodeid,
            "device": measurement.device,
            "plan": _Plan(measurement.warmup, measurement.rounds, measurement.cold_l2),
            "environment": measurement.environment,
            "windows": {name: _window(window) for name, window in measurement.windows.items()},
            **({"counters": measurement.counters} if measurement.counters else {}),
        },
        _DECIMALS,
    )
    return data


def recording_digest(measurement: Measurement) -> str:
    """What a recording is known by: of the test, the day, and its samples as they are written.

    The same before it is written and after it is read, and by other versions.
    """
    windows = measurement.windows.items()
    known = {
        "nodeid": measurement.nodeid,
        "device": measurement.device,
        "date": measurement.environment.date,
        "samples": written({name: one.samples for name, one in windows}, _DECIMALS),
    }
    text = json.dumps(known, sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def _window(window: WindowMeasurement) -> dict[str, Any]:
    breakdown: dict[str, Any] = {
        kind: {
            one.label: _Part(one.count, one.ns, one.bytes, one.category, one.launched)
            for one in parts
        }
        for kind, parts in window.breakdown.items()
        if len(parts)
    }
    precision = {"precision": window.precision} if window.precision else {}
    return {"samples": window.samples, "units": window.units, **precision, **breakdown}


def parse(text: str, where: str) -> Measurement:
    """The measurement in the text of a baseline file.

    Args:
        text: the file's content.
        where: the file, for errors.

    Raises:
        BaselineDamaged: it is no JSON, holds conflict markers, or is of a newer schema.
    """
    conflict = CONFLICT.search(text)
    if conflict is not None:
        line = text.count("\n", 0, conflict.start()) + 1
        raise BaselineDamaged(
            f"{where}:{line}: a merge conflict is unresolved",
            evidence=text.splitlines()[line - 1],
            remedy="resolve it, or delete the file and record it anew with --nsys-update",
        )
    try:
        data = load_written(text)
    except json.JSONDecodeError as error:
        raise BaselineDamaged(
            f"{where}:{error.lineno}: this is not JSON: {error.msg}",
            remedy=_REMEDY,
        ) from None
    except ValueError as error:
        raise _damaged(where, error) from None
    try:
        schema = read_keys({"schema": Positive}, data)["schema"]
        if schema <= SCHEMA:
            return _measurement(read(_Document, data))
    except ValueError as error:
        raise _damaged(where, error) from None
    raise BaselineDamaged(
        f"{where}:1: the baseline was written by a newer pytest-nsys (schema {schema}, "
        f"this one reads {SCHEMA})",
        remedy="upgrade pytest-nsys",
    )


def _damaged(where: str, error: ValueError) -> BaselineDamaged:
    return BaselineDamaged(
        f"{where}:1: a value is missing or of the wrong kind", evidence=str(error), remedy=_REMEDY
    )


_Samples = Annotated[Samples, Check(any, "holds no samples")]
_Units = Annotated[float, Check(lambda count: round(count, _DECIMALS) > 0, "is not above zero")]


@dataclass(frozen=True)
class _Plan:
    warmup: Count
    rounds: Positive
    cold_l2: Maybe[bool] = False


@dataclass(frozen=True)
class _Part:
    count: Amount
    ns: Maybe[Amount] = 0.0
    bytes: Maybe[Amount] = 0.0
    category: Maybe[str] = ""
    launched: Maybe[tuple[Launched, ...]] = ()


@dataclass(frozen=True)
class _Window:
    samples: Mapping[str, _Samples]
    units: Mapping[str, _Units]
    precision: Maybe[str] = ""


@dataclass(frozen=True)
class _Document:
    nodeid: str
    device: str
    plan: _Plan
    environment: Environment
    windows: Mapping[str, Annotated[WindowMeasurement, _read_window]]
    counters: Maybe[tuple[KernelCounters, ...]] = ()


def _measurement(document: _Document) -> Measurement:
    environment = document.environment
    return Measurement(
        nodeid=document.nodeid,
        device=document.device,
        warmup=document.plan.warmup,
        cold_l2=document.plan.cold_l2,
        rounds=document.plan.rounds,
        windows={name: replace(one, name=name) for name, one in document.windows.items()},
        environment=replace(environment, cuda=cuda_version(environment.cuda)),
        counters=document.counters,
    )


def _read_window(value: object) -> WindowMeasurement:
    window, data = read(_Window, value), read(Mapping[str, Any], value)
    rest = {kind: data[kind] for kind in sorted(data.keys() - vars(window).keys())}
    breakdown = {
        kind: Parts(tuple(sorted(starmap(_read_part, parts.items()), key=largest_first)))
        for kind, parts in read(Mapping[Breakdown, Mapping[str, _Part]], rest).items()
    }
    for key, processes in window.samples.items():
        least = min(map(min, filter(None, processes)))
        if least < 0 and is_never_negative(key):
            raise Misread(f"{shown(least)} is out of range", f".samples[{shown(key)}]")
    samples = {key: shared(one) for key, one in window.samples.items()}
    return WindowMeasurement("", samples, window.units, breakdown, window.precision)


def _read_part(label: str, part: _Part) -> Part:
    return Part(label, part.count, part.ns, part.bytes, part.category, launched=part.launched)
