"""Measuring several stored captures, or recordings test by test, to show them side by side."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_nsys.catalogue import lookup, undivided
from pytest_nsys.errors import NotACapture, QuantityError
from pytest_nsys.measure.measurement import Measurement, WindowMeasurement
from pytest_nsys.offline.compare import Side, Subject
from pytest_nsys.offline.diff import measured_of
from pytest_nsys.storage.recordings.stored import has_tests
from pytest_nsys.support.units import parse_amount

Units = Mapping[str, Sequence[float]]
"""Per unit, its count in each capture."""

_UNIT = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def read_units(lines: Sequence[str], captures: int) -> Units:
    """What ``--per`` says: ``token=256`` or ``token=256,512,1024``; units are singular.

    Raises:
        QuantityError: it cannot be read, or has neither one count nor one for each capture.
    """
    found: dict[str, list[float]] = {}
    for line in lines:
        name, equals, text = line.partition("=")
        counts = [parse_amount(part, "1") for part in text.split(",")] if equals else []
        if not _UNIT.fullmatch(name) or not counts or not all(counts):
            raise QuantityError(
                f"--per is {line!r:.80}",
                remedy="write UNIT=COUNT, such as token=256, with counts above zero",
            )
        if len(counts) not in (1, captures):
            raise QuantityError(
                f"--per {line!r:.80} has {len(counts)} counts for {captures} captures",
                remedy="give one count for all captures, or one for each",
            )
        unit = name.removesuffix("s") or name
        found[unit] = counts if len(counts) == captures else counts * captures
    return found


def measure_sides(
    paths: Sequence[Path],
    *,
    range_name: str | None = None,
    units: Units | None = None,
    metrics: Collection[str] = (),
    executable: str | None = None,
) -> tuple[list[Side], list[Subject]]:
    """The captures, and what there is to compare of them.

    Recordings of tests are compared test by test and window by window; anything else, or one NVTX
    range of anything, as whole captures.

    Args:
        paths: the captures.
        range_name: the text of the range.
        units: what each capture processed, in the place of what its tests declared.
        metrics: keys to measure besides the plain ones.
        executable: the nsys that exports reports.

    Raises:
        NsysError: one of them cannot be read, has nothing to compare, or lacks the range.
    """
    extra = {undivided(lookup(key).key) for key in metrics}
    by_test = range_name is None and all(map(has_tests, paths))
    measured = [
        measured_of(
            path, by_test=by_test, range_name=range_name, extra=extra, executable=executable
        )
        for path in paths
    ]
    sides = [
        Side(str(path), next(iter(tests.values())).environment)
        for path, tests in zip(paths, measured, strict=True)
        if tests
    ]
    if len(sides) < len(paths):
        empty = [str(path) for path, tests in zip(paths, measured, strict=True) if not tests]
        raise NotACapture(
            f"{empty[0]} holds no measured test", remedy="record tests that pass, and compare them"
        )
    places = dict.fromkeys(
        (nodeid, window)
        for tests in measured
        for nodeid, test in tests.items()
        for window in test.windows
    )
    subjects = [
        Subject(
            nodeid,
            window,
            tuple(
                _with_units(_window(tests, nodeid, window), units or {}, side)
                for side, tests in enumerate(measured)
            ),
        )
        for nodeid, window in places
    ]
    return sides, subjects


def _window(tests: Mapping[str, Measurement], nodeid: str, window: str) -> WindowMeasurement | None:
    return tests[nodeid].windows.get(window) if nodeid in tests else None


def _with_units(
    window: WindowMeasurement | None, units: Units, side: int
) -> WindowMeasurement | None:
    if window is None:
        return None
    given = {name: counts[side] for name, counts in units.items()}
    return replace(window, units={**window.units, **given})
