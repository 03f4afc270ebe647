"""What ``pytest-nsys compare`` compares: captures, or tests of recordings by their parameters."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import count, product
from pathlib import Path
from string import ascii_uppercase

from pytest_nsys.catalogue import lookup, undivided
from pytest_nsys.errors import NotACapture, QuantityError, SettingsError
from pytest_nsys.insights.timeline import Timeline
from pytest_nsys.measure.measurement import Environment, Measurement, WindowMeasurement
from pytest_nsys.offline.measured import (
    kept_parameters,
    measured_capture,
    measured_tests,
    named_windows,
    window_names,
)
from pytest_nsys.offline.pairing import Case, Group, groups_of, read_case, with_parts, words
from pytest_nsys.storage.recordings.stored import check_captures, has_tests
from pytest_nsys.support.units import parse_amount
from pytest_nsys.windows.ranges import EVERYTHING, Selection
from pytest_nsys.windows.record import MAIN

_LONGEST_HEAD = 16
_UNIT = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

Units = Mapping[str, Sequence[float]]
"""Per unit, its count in each capture."""


@dataclass(frozen=True)
class Subject:
    """What is compared: a window of tests, or captures (or a range of them) as a whole.

    Attributes:
        name: the test, or its function; "" for a whole capture.
        window: name of the window.
        heads: what the sides are called in tables: letters, or values of parameters.
        measured: by side; None where it is not in one.
        parameters: those that all sides have in common.
        varied: names of those in which they differ.
        cases: the test of each side; None where it is not in one; empty for whole captures.
        timelines: by side, where they were asked for and are of this window.
        servers: by side, what a server was started with; empty where there is none, or it is not
            known.
        is_aligned: whether the sides are the captures.
    """

    name: str
    window: str
    heads: tuple[str, ...]
    measured: tuple[WindowMeasurement | None, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    varied: tuple[str, ...] = ()
    cases: tuple[Case | None, ...] = ()
    timelines: tuple[Timeline | None, ...] = ()
    servers: tuple[tuple[str, ...], ...] = ()
    is_aligned: bool = True

    @property
    def is_alone(self) -> bool:
        """Whether there is nothing to compare it with."""
        return len(self.heads) == 1


@dataclass(frozen=True)
class Side:
    """One capture.

    Attributes:
        path: as it was given.
        environment: where it was made.
        instances: how many instances of the range there are; None where none is named.
    """

    path: str
    environment: Environment
    instances: int | None = None


@dataclass(frozen=True)
class Compared:
    """What there is to compare.

    Attributes:
        sides: the captures.
        subjects: what of them is compared.
        notes: what is to be known of it, in sentences.
    """

    sides: tuple[Side, ...]
    subjects: tuple[Subject, ...]
    notes: tuple[str, ...] = ()


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
    selection: Selection = EVERYTHING,
    units: Units | None = None,
    metrics: Collection[str] = (),
    by: Sequence[str] = (),
    executable: str | None = None,
    in_full: bool = False,
) -> Compared:
    """The captures, and what there is to compare of them.

    Recordings of tests are compared test by test and window by window, one alone by the parameters
    of its tests; anything else as whole captures, and NVTX ranges by what one instance takes.

    Args:
        paths: the captures.
        selection: what of them; a range that is a window of tests is compared test by test, too.
        units: what each capture processed, in the place of what its tests declared.
        metrics: keys to measure besides the plain ones.
        by: names of parameters whose values are the sides.
        executable: the nsys that exports reports.
        in_full: whether timelines are made.

    Raises:
        NsysError: one of them cannot be read, has nothing to compare, or lacks what is selected.
    """
    check_captures(paths, executable)
    extra = {undivided(lookup(key).key) for key in metrics}
    windows = {name for path in paths for name in named_windows(path, selection)}
    if not (all(map(has_tests, paths)) and (selection.is_everything or windows)):
        if by or len(paths) == 1:
            if selection.range is not None and all(map(has_tests, paths)):
                names = {name for path in paths for name in window_names(path)}
                close = get_close_matches(selection.range, names, n=1)
                raise SettingsError(
                    f"tests are compared by their parameters, and none has a window "
                    f"{selection.range!r:.80}",
                    evidence=f"windows: {', '.join(sorted(names)) or 'none'}",
                    remedy=f"did you mean {close[0]!r}?"
                    if close
                    else "name one of these, or leave out --range; ranges of whole captures are "
                    "compared of two or more, without --by",
                )
            raise SettingsError(
                "only tests of recordings are compared by their parameters",
                remedy="name two captures or more, and no --by"
                if selection.is_everything
                else "leave out --range and --process, or name two captures or more, and no --by",
            )
        captures = [
            measured_capture(path, selection, extra, executable, in_full=in_full) for path in paths
        ]
        sides = [_side(*one, selection) for one in zip(paths, captures, strict=True)]
        subject = Subject(
            name="",
            window=MAIN,
            heads=letters(len(paths)),
            measured=tuple(
                _with_units(one.windows[MAIN], units or {}, side)
                for side, one in enumerate(captures)
            ),
            timelines=tuple(one.timeline for one in captures) if in_full else (),
        )
        return Compared(tuple(sides), (subject,), _remarks(captures))
    tests = [measured_tests(path, extra, in_full=in_full) for path in paths]
    for path, found in zip(paths, tests, strict=True):
        if not found:
            raise NotACapture(
                f"{path} holds no measured test",
                remedy="record tests that pass, and compare them",
            )
    kept = [kept_parameters(path) for path in paths]
    cases = [
        read_case(capture, nodeid, kept[capture].get(nodeid, {}))
        for capture, found in enumerate(tests)
        for nodeid in found
    ]
    groups = groups_of(with_parts(cases), len(paths), by)
    aligned = len(paths) > 1 and not by
    if len(paths) == 1 and all(len(group.cases) == 1 for group in groups):
        evidence = f"{len(cases)} tests were measured" if len(cases) > 1 else ""
        if by:
            raise NotACapture(
                f"{paths[0]} has no two tests that differ in {' and '.join(by)} alone",
                evidence=evidence,
                remedy="give all parameters in which they differ (--by NAME --by OTHER), or leave "
                "out --by",
            )
        raise NotACapture(
            f"{paths[0]} has no test with several parameters",
            evidence=evidence,
            remedy="name another recording to compare it with",
        )
    subjects = [
        subject
        for group in groups
        for subject in _subjects(group, tests, units or {}, aligned=aligned)
        if not windows or subject.window in windows
    ]
    sides = [
        _side(path, next(iter(found.values())), EVERYTHING)
        for path, found in zip(paths, tests, strict=True)
    ]
    return Compared(tuple(sides), tuple(subjects), tuple(_notes(paths, groups)))


def _remarks(captures: Sequence[Measurement]) -> tuple[str, ...]:
    """The remarks on captures, and of which they are where they are not on all."""
    named = zip(letters(len(captures)), captures, strict=True)
    sides: dict[str, list[str]] = {}
    for letter, capture in named:
        for remark in capture.remarks:
            sides.setdefault(remark, []).append(letter)
    return tuple(
        remark if len(of) == len(captures) else f"{', '.join(of)}: {remark}"
        for remark, of in sides.items()
    )


def _notes(paths: Sequence[Path], groups: Sequence[Group]) -> Iterator[str]:
    if len(paths) > 1 and all(len({case.capture for case in one.cases}) == 1 for one in groups):
        yield (
            "the recordings have no test in common: where their ids differ in a parameter, name it "
            "with --by"
        )
    nameless = {
        case.capture for group in groups if group.varied for case in group.cases if case.from_id
    }
    for capture in sorted(nameless):
        yield (
            f"{paths[capture]} keeps no names of parameters: they are parts of the tests' ids, "
            "in their order"
        )


def _subjects(
    group: Group, tests: Sequence[Mapping[str, Measurement]], units: Units, *, aligned: bool
) -> Iterator[Subject]:
    """The windows of a group.

    Args:
        group: tests.
        tests: by recording, what was measured.
        units: by recording, what was processed.
        aligned: whether each recording is a side, whether it has such a test or not.
    """
    cases: tuple[Case | None, ...] = group.cases
    if aligned:
        by_capture = {case.capture: case for case in group.cases}
        cases = tuple(by_capture.get(capture) for capture in range(len(tests)))
    measured = [tests[case.capture][case.nodeid] if case else None for case in cases]
    windows = dict.fromkeys(name for one in measured if one for name in one.windows)
    for window in windows:
        timelines = [
            one.timeline if one and next(iter(one.bodies), "") == window else None
            for one in measured
        ]
        yield Subject(
            name=group.name,
            window=window,
            heads=letters(len(cases)) if aligned else _heads(group, len(tests)),
            measured=tuple(
                _with_units(one.windows.get(window), units, case.capture) if one and case else None
                for one, case in zip(measured, cases, strict=True)
            ),
            parameters=group.parameters,
            varied=group.varied,
            cases=cases,
            timelines=tuple(timelines) if any(timelines) else (),
            servers=tuple(one.environment.server if one else () for one in measured),
            is_aligned=aligned,
        )


def _heads(group: Group, captures: int) -> tuple[str, ...]:
    """What tests are called by their parameters, where that is short and tells them apart."""
    named = letters(captures) if captures > 1 else ("",)
    heads = [f"{named[case.capture]} {words(case, group.varied)}".strip() for case in group.cases]
    short = all(0 < len(head) <= _LONGEST_HEAD for head in heads)
    return tuple(heads) if short and len({*heads}) == len(heads) else letters(len(heads))


def of_capture(subject: Subject, side: int) -> str:
    """`` (capture B)`` where tests of several captures stand beside each other by a parameter, for
    their values do not say of which they are; else ""."""
    captures = {case.capture for case in subject.cases if case}
    case = subject.cases[side] if len(captures) > 1 and not subject.is_aligned else None
    return f" (capture {letters(case.capture + 1)[-1]})" if case else ""


def letters(number: int) -> tuple[str, ...]:
    """``A``, ``B``, ... ``Z``, ``AA``, ...: what sides are called in a table."""
    names = ("".join(one) for size in count(1) for one in product(ascii_uppercase, repeat=size))
    return tuple(next(names) for _ in range(number))


def _side(path: Path, measured: Measurement, selection: Selection) -> Side:
    instances = None if selection.range is None else measured.rounds
    return Side(str(path), measured.environment, instances)


def _with_units(
    window: WindowMeasurement | None, units: Units, side: int
) -> WindowMeasurement | None:
    if window is None:
        return None
    given = {name: counts[side] for name, counts in units.items()}
    return replace(window, units={**window.units, **given})
