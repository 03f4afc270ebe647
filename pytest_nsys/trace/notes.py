"""What the summary of a run says of captures that were read though not all was right with them."""

from __future__ import annotations

from pytest_nsys.trace.tables import Trace

_MOST = 3
_LONGEST = 300


def defect_notes(trace: Trace) -> tuple[str, ...]:
    """A line for each defect of the trace that was mended, and how; the many in short.

    They are about the whole capture, not about one of its tests. Empty for a capture that is as
    it should be. ``pytest-nsys stats`` shows all of a capture that was kept.
    """
    defects = tuple(dict.fromkeys(trace.defects))
    notes = [f"in the capture, {_shortened(defect)}" for defect in defects[:_MOST]]
    if len(defects) > _MOST:
        notes.append(f"in the capture, {len(defects) - _MOST} more defects were found")
    return tuple(notes)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
