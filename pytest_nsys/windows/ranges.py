"""The program's own NVTX ranges as windows: which of them, and what belongs to each.

What a range holds is what its process launched in it, from any thread. nsys's own NVTX reports look
at the range's thread alone, and so miss what, for example, PyTorch's autograd threads launch; what
other processes did meanwhile is no part of it here or there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from pytest_nsys.errors import NotACapture
from pytest_nsys.support.arrays.rows import Flags, Ints
from pytest_nsys.support.text import listed
from pytest_nsys.trace.narrow import of_process, one_after_another, processes
from pytest_nsys.trace.schema import process_number
from pytest_nsys.trace.source import ABSENT
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.cut import Cut, whole
from pytest_nsys.windows.record import DOMAIN

_LISTED = 20


@dataclass(frozen=True)
class Selection:
    """What of a capture is looked at; nothing said is everything.

    Attributes:
        range: the NVTX ranges of this name alone; see `named`.
        skip: of each range, the first so many instances are left out, in each process.
        process: what the process with this number did alone.
        windows: names of the windows of tests that there are beside the ranges: who asks for a
            range that there is none of may mean one of them.
    """

    range: str | None = None
    skip: int = 0
    process: int | None = None
    windows: tuple[str, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether it is the whole capture."""
        return self.range is None and self.process is None


EVERYTHING = Selection()


def user_ranges(trace: Trace) -> pd.DataFrame:
    """The closed ranges of the program under test: those in other domains than the plugin's."""
    return trace.ranges[(trace.ranges["domain"] != DOMAIN) & (trace.ranges["end"] != ABSENT)]


def named(ranges: pd.DataFrame, pattern: str) -> Flags:
    """Which of the ranges have a name.

    A range has two names: its text, and ``domain:text`` as nsys prints it, ``:text`` in the default
    domain. The pattern is one of them, or has ``*``, ``?`` or ``[...]`` as in file names.
    """
    pairs = pd.MultiIndex.from_frame(ranges[["domain", "text"]])
    unique = pairs.unique()
    matching = [
        any(is_named(name, pattern) for name in _names(domain, text)) for domain, text in unique
    ]
    found: Flags = np.array(matching, dtype=np.bool_)[unique.get_indexer(pairs)]
    return found


def _names(domain: str, text: str) -> tuple[str, str]:
    return text, f"{domain}:{text}"


def cut_ranges(trace: Trace, rows: pd.DataFrame) -> Cut:
    """Windows from rows of ``trace.ranges``, each with what its process did.

    Where there are several processes, the trace of the cut is one in which they ran one after
    another.
    """
    apart, delays = one_after_another(trace)
    delay: Ints = np.array([delays.get(pid, 0) for pid in rows["pid"].tolist()], dtype=np.int64)
    start, end = (rows[side].to_numpy(np.int64) for side in ("start", "end"))
    return Cut(apart, start + delay, end + delay)


def select(trace: Trace, selection: Selection) -> Cut:
    """The selected ranges as windows, or one window that holds all that is selected.

    Raises:
        NotACapture: there is no such range, or no such process.
    """
    trace = of_selected_process(trace, selection)
    if selection.range is None:
        return whole(trace)
    return cut_ranges(trace, selected_ranges(trace, selection))


def of_selected_process(trace: Trace, selection: Selection) -> Trace:
    """The trace of the selected process; all of it where none is selected.

    Raises:
        NotACapture: there is no such process.
    """
    if selection.process is None:
        return trace
    known = dict.fromkeys([*processes(trace), *trace.ranges["pid"].tolist()])
    chosen = [pid for pid in known if process_number(pid) == selection.process]
    if not chosen:
        numbers = ", ".join(str(process_number(pid)) for pid in known) or "none"
        raise NotACapture(
            f"the capture has no process {selection.process} that used CUDA or NVTX",
            evidence=f"processes: {numbers}",
            remedy="name one of these",
        )
    return of_process(trace, chosen[0])


def selected_ranges(trace: Trace, selection: Selection) -> pd.DataFrame:
    """The rows of ``trace.ranges`` that are selected.

    Raises:
        NotACapture: there is none.
    """
    ranges = user_ranges(trace)
    pattern = selection.range
    rows = ranges if pattern is None else ranges[named(ranges, pattern)]
    if rows.empty:
        raise _no_such_range(ranges, pattern or "*", selection.windows)
    instance = rows.groupby(["pid", "domain", "text"], sort=False).cumcount()
    left = rows[instance.to_numpy() >= selection.skip]
    if left.empty:
        most = int(instance.max()) + 1
        raise NotACapture(
            f"nothing is left of the NVTX range {pattern!r} without its first "
            f"{selection.skip} instances",
            evidence=f"instances: {most}",
            remedy="leave out fewer",
        )
    return left


def is_named(name: str, pattern: str) -> bool:
    """Whether a pattern is that name, or matches it as patterns do file names."""
    return name == pattern or fnmatchcase(name, pattern)


def _no_such_range(ranges: pd.DataFrame, pattern: str, windows: Sequence[str]) -> NotACapture:
    pairs = ranges[["domain", "text"]].drop_duplicates().itertuples(index=False)
    known = sorted({*windows, *(name for pair in pairs for name in _names(*pair))})
    close = get_close_matches(pattern, known, n=1)
    evidence = f"ranges: {_listed(ranges['text'].unique())}"
    if windows:
        evidence += f"\nwindows: {_listed(windows)}"
    if any(is_named(window, pattern) for window in windows):
        remedy = "it is a window of tests: leave out --skip and --process"
    elif close:
        remedy = f"did you mean {close[0]!r}?"
    else:
        remedy = "name one of these; * and ? are wild" if known else "leave out --range"
    return NotACapture(
        f"the capture has no NVTX range {pattern!r}", evidence=evidence, remedy=remedy
    )


def _listed(names: Iterable[str]) -> str:
    return listed(sorted(map(repr, names)), _LISTED) or "none"
