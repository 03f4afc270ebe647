"""What the rounds of a test did that only first calls do: load code, try variants of kernels."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from pytest_nsys.cuda.names import api_name
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.support.arrays.grouping import are_among
from pytest_nsys.support.units import format_amount, format_count
from pytest_nsys.windows.cut import Cut

_LOADS = re.compile(
    r"cu(da)?(Library|Module)Load\w*|cuLinkComplete|cuModuleGetFunction|cu(da)?LibraryGetKernel"
)
"""Calls that load code, or ask for what was loaded. They are made as a kernel is first used (by
Triton, Inductor and NVRTC, and where libraries are loaded lazily); what compiles it is no call of
CUDA's, and not in the capture."""

_NAMED = 3
_LEAST_ROUNDS = 3
"""Of two rounds none is the usual one."""


@dataclass
class _Loaded:
    """The calls of a round that loaded code."""

    calls: Counter[str] = field(default_factory=Counter)
    ns: int = 0


@dataclass(frozen=True)
class FirstUses:
    """What is to be said of the rounds of tests.

    Attributes:
        cut: windows, rounds of tests among them.
        naming: how kernels are named.
    """

    cut: Cut
    naming: Naming

    def told(self, rounds: Sequence[Collection[int]], warmup: int) -> Iterator[str]:
        """Of one test, in sentences, with what to do.

        Args:
            rounds: of each of its rounds, the numbers of its windows in the cut.
            warmup: calls before the first of them.
        """
        loads = self._loads(rounds)
        if loads:
            calls = sum((one.calls for one in loads.values()), Counter[str]())
            named = ", ".join(f"{name} {count}x" for name, count in calls.most_common(_NAMED))
            time = format_amount(sum(one.ns for one in loads.values()), "ns")
            yield (
                f"kernels were compiled or loaded in {_which(loads, len(rounds))} "
                f"({named}; {time}): {_remedy(loads, len(rounds), warmup)}"
            )
        alone = self._of_the_first_alone(rounds)
        if alone:
            names = ", ".join([*alone][:_NAMED])
            more = f" and {len(alone) - _NAMED} more" if len(alone) > _NAMED else ""
            time = format_amount(sum(alone.values()), "ns")
            yield (
                f"{format_count(len(alone), 'kernel')} ran in round 1 alone "
                f"({names}{more}; {time}), as when an autotuner tries variants: "
                f"{_remedy({0}, len(rounds), warmup)}"
            )

    @cached_property
    def _by_window(self) -> Mapping[int, _Loaded]:
        trace = self.cut.trace
        wanted = [key for key, name in trace.strings.items() if _LOADS.fullmatch(api_name(name))]
        if not wanted:
            return {}
        found = trace.calls[are_among(trace.calls["name"].to_numpy(), wanted)]
        members = self.cut.members(found["start"])
        names = [api_name(trace.strings[key]) for key in found["name"].tolist()]
        times = (found["end"] - found["start"]).tolist()
        by_window: dict[int, _Loaded] = defaultdict(_Loaded)
        for window, row in zip(members.window.tolist(), members.row.tolist(), strict=True):
            by_window[window].calls[names[row]] += 1
            by_window[window].ns += times[row]
        return by_window

    def _loads(self, rounds: Sequence[Collection[int]]) -> dict[int, _Loaded]:
        """By round, what loaded code in it."""
        found: dict[int, _Loaded] = {}
        for number, windows in enumerate(rounds):
            for one in (self._by_window[window] for window in windows if window in self._by_window):
                of_round = found.setdefault(number, _Loaded())
                of_round.calls += one.calls
                of_round.ns += one.ns
        return found

    def _of_the_first_alone(self, rounds: Sequence[Collection[int]]) -> dict[str, int]:
        """The kernels that ran in the first round and in none after it: their time, ns."""
        if len(rounds) < _LEAST_ROUNDS:
            return {}
        lines, strings = self.cut.kernel_names, self.cut.trace.strings
        first, rest = (
            np.isin(lines.window, [*windows])
            for windows in (rounds[0], [window for one in rounds[1:] for window in one])
        )
        if not rest.any():
            return {}
        usual = {
            self.naming.canonical(strings[key]) for key in np.unique(lines.name[rest]).tolist()
        }
        found: Counter[str] = Counter()
        for key, ns in zip(lines.name[first].tolist(), lines.ns[first].tolist(), strict=True):
            label = self.naming.canonical(strings[key])
            if label not in usual:
                found[label] += ns
        return dict(found.most_common())


def _which(found: Collection[int], rounds: int) -> str:
    if len(found) == rounds > 1:
        return "every round"
    numbers = [str(number + 1) for number in sorted(found)[:_NAMED]]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"round{'s' * (len(found) > 1)} {', '.join(numbers)}{more}"


def _remedy(found: Collection[int], rounds: int, warmup: int) -> str:
    """What to do: more calls before the rounds, where it was the first ones of these."""
    if sorted(found) == list(range(len(found))) and len(found) < rounds:
        return f"raise the warm-up (warmup={warmup + len(found)})"
    return "the body builds kernels anew, or has new shapes; keep what it compiles"
