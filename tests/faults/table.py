"""The table of faults."""

from __future__ import annotations

from tests.faults import rows_capture, rows_many, rows_start, rows_stop, rows_tests
from tests.faults.fault import Fault

SECTIONS: dict[str, tuple[Fault, ...]] = {
    "Finding and starting nsys": rows_start.ROWS,
    "The tests and their worker": rows_tests.ROWS,
    "The capture": rows_capture.ROWS,
    "The run": rows_stop.ROWS,
    "Several workers": rows_many.ROWS,
}
"""The faults, under the headings of the page."""

FAULTS: tuple[Fault, ...] = tuple(fault for rows in SECTIONS.values() for fault in rows)
"""All faults."""
