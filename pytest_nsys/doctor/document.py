"""A diagnosis as JSON, for tools.

Schema 1. A later version of this package may add keys and checks; it raises ``schema`` when a
key goes or changes its meaning. ::

    {"schema": 1,
     "tool": {"name": "pytest-nsys", "version": "..."},
     "healthy": bool,                             no finding is a problem
     "counts": {"ok", "warning", "problem", "skipped": findings},
     "findings": [{"check": text, "status": "ok" | "warning" | "problem" | "skipped",
                   "what", "evidence", "remedy": text}, ...],
     "trial": [{"step": text, "seconds": number}, ...]}        empty if none was made
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, get_args

from pytest_nsys import __version__
from pytest_nsys.doctor.diagnosis import Diagnosis
from pytest_nsys.doctor.finding import Status

SCHEMA = 1


def diagnosis_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """The document, as JSON values."""
    return {
        "schema": SCHEMA,
        "tool": {"name": "pytest-nsys", "version": __version__},
        "healthy": diagnosis.healthy,
        "counts": {status: diagnosis.count(status) for status in get_args(Status)},
        "findings": [asdict(finding) for finding in diagnosis.findings],
        "trial": [
            {"step": step.name, "seconds": round(step.seconds, 3)} for step in diagnosis.steps
        ],
    }
