"""What is said of an engine that was tried: as text, and as a document.

The document, for tools, has the schema 1, which rises when a key goes or changes its meaning. ::

    {"schema": 1,
     "engine": text, "compared": text,            the preset, and what it was compared with
     "started": [text, ...],                      as may be handed on; "..." for what may not
     "good": bool,
     "versions": {"pytest-nsys": text, "nsys": text, ENGINE: text},
     "findings": [as of the machine's],
     "stages": [{"stage": text, "seconds": number}, ...],
     "metrics": {KEY: number, ...}}
"""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

from pytest_nsys.catalogue import lookup
from pytest_nsys.doctor.engine import REQUESTS, ROUNDS, TOKENS, EngineCheck
from pytest_nsys.doctor.run import SCHEMA, result_lines
from pytest_nsys.support.text import table, wrapped
from pytest_nsys.support.units import format_amount


def engine_document(found: EngineCheck) -> dict[str, Any]:
    """The document, as JSON values."""
    stages = found.stages.items()
    return {
        "schema": SCHEMA,
        "engine": found.engine,
        "compared": found.compared,
        "started": [*found.started],
        "good": found.good,
        "versions": {**found.versions},
        "findings": [asdict(result) for result in found.results],
        "stages": [{"stage": name, "seconds": round(took, 3)} for name, took in stages],
        "metrics": {**found.metrics},
    }


def engine_lines(found: EngineCheck) -> list[str]:
    """The text, for 80 columns, to be reported as it is."""
    how = "can be measured here" if found.good else "cannot be measured here as it is known"
    lines = [f"pytest-nsys doctor: {found.engine} {how}", ""]
    facts = {
        **found.versions,
        "compared with": found.compared or "nothing",
        "started as": shlex.join(found.started),
    }
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        lines += wrapped(value, f"{name:{width}}", " " * width)
    lines += ["", *result_lines(found.results)]
    if found.stages:
        lines += ["", "Its start took:"]
        lines += [f"  {took:6.1f} s  {name}" for name, took in found.stages.items()]
    if found.metrics:
        lines += [
            "",
            f"{ROUNDS} rounds of {REQUESTS} requests, one at a time, {TOKENS} tokens each:",
        ]
        rows = [
            (key, format_amount(value, lookup(key).unit)) for key, value in found.metrics.items()
        ]
        lines += [f"  {line}" for line in table(rows)]
    return lines
