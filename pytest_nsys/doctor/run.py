"""The command: examine this machine, and print what was found."""

from __future__ import annotations

import json
from typing import TextIO

from pytest_nsys.capture.nsys import Nsys
from pytest_nsys.doctor.diagnosis import diagnose
from pytest_nsys.doctor.document import diagnosis_document
from pytest_nsys.doctor.machine import Machine
from pytest_nsys.doctor.text import diagnosis_lines
from pytest_nsys.doctor.this_machine import ThisMachine
from pytest_nsys.doctor.trial import Trial, run_trial

HEALTHY, ILL = 0, 1
"""Exit codes."""


def run_doctor(
    executable: str | None, as_json: bool, out: TextIO, machine: Machine | None = None
) -> int:
    """Examine, make a trial capture, and print what was found.

    Args:
        executable: the nsys that the user asked for, if any.
        as_json: print the document of `pytest_nsys.doctor.document`, rather than text.
        out: where to print.
        machine: what to examine; this machine if None.

    Returns:
        0 if captures can be made (there may be warnings), 1 if they will fail or be wrong.
    """
    diagnosis = diagnose(ThisMachine() if machine is None else machine, executable, _try)
    if as_json:
        print(json.dumps(diagnosis_document(diagnosis), indent=1), file=out)
    else:
        print("\n".join(diagnosis_lines(diagnosis)), file=out)
    return HEALTHY if diagnosis.healthy else ILL


def _try(nsys: Nsys, needs_gpu: bool) -> Trial:
    return run_trial(nsys, needs_gpu=needs_gpu)
