"""The kernels of one run found again in another."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from pytest_nsys.kernels.canonical import canonical as _canonical
from pytest_nsys.kernels.category import category as _category
from pytest_nsys.kernels.likeness import contradict, gist, likeness, replaced

_HOW = ("same", "retuned", "renamed", "new", "gone")

# Names less alike than this are not taken for one kernel renamed; nor is a pair when another
# partner of either is alike but for the margin.
_ALIKE = 0.6
_MARGIN = 0.05

# Comparing every name with every other is for diffs that people look at.
_MOST_PAIRS = 10_000

# Where a library picks the kernel, another library version may pick one with an altogether other
# name.
_PICKED = frozenset({"gemm", "attention", "conv", "comm"})

_Pair = tuple[str, str]


@dataclass(frozen=True)
class KernelMatch:
    """A kernel of two runs.

    Attributes:
        baseline: its raw name in the baseline; None if it is new.
        current: its raw name now; None if it is gone.
        how: how the two were found to be one: by the raw name (same), by the canonical name
            (retuned), or by being alike (renamed). New and gone ones have no counterpart.
    """

    baseline: str | None
    current: str | None
    how: Literal["same", "retuned", "renamed", "new", "gone"]


def match(
    baseline: Mapping[str, object],
    current: Mapping[str, object],
    *,
    canonical: Callable[[str], str] = _canonical,
    category: Callable[[str], str] = _category,
) -> tuple[KernelMatch, ...]:
    """Every kernel of two runs, each in exactly one match.

    1. *same*: the raw name is in both.
    2. *retuned*: of the rest, the canonical name is in both.
    3. *renamed*: of the rest, two canonical names of one category are alike, and each is the
       other's best counterpart by far. They must not say that precision, layout, or pass differs,
       nor differ in numbers only, nor have other words for the operation. A library that picks its
       kernels (gemm, attention, conv, comm) may use other words; and there a pair is also what has
       no other counterpart of the same precision, layout, and pass.
    4. The rest is *new* or *gone*.

    Where several raw names share a canonical name that is retuned or renamed, those most alike are
    paired first (among equals, the first by name), each once. One that is left over is a variant
    that came or went, so it is *new* or *gone*, and no other step takes it.

    The order of the mappings does not matter.

    Args:
        baseline: anything by raw name.
        current: the same.
        canonical: the canonical name of a raw name.
        category: the category of a raw name.

    Returns:
        In the order of these steps, then by name.
    """
    same = baseline.keys() & current.keys()
    before = _by(canonical, baseline.keys() - same)
    after = _by(canonical, current.keys() - same)

    retuned = [
        pair
        for name in before.keys() & after.keys()
        for pair in _variants(before[name], after[name])
    ]

    settled = {canonical(name) for name in same} | (before.keys() & after.keys())
    lost = _by(lambda name: category(before[name][0]), before.keys() - settled)
    found = _by(lambda name: category(after[name][0]), after.keys() - settled)
    renamed = [
        pair
        for kind in lost.keys() & found.keys()
        for old, new in _renamed(lost[kind], found[kind], kind in _PICKED)
        for pair in _variants(before[old], after[new])
    ]

    gone = baseline.keys() - same - {old for old, _ in retuned + renamed}
    came = current.keys() - same - {new for _, new in retuned + renamed}
    matches = [
        *(KernelMatch(name, name, "same") for name in same),
        *(KernelMatch(old, new, "retuned") for old, new in retuned),
        *(KernelMatch(old, new, "renamed") for old, new in renamed),
        *(KernelMatch(None, name, "new") for name in came),
        *(KernelMatch(name, None, "gone") for name in gone),
    ]
    matches.sort(key=lambda one: (_HOW.index(one.how), one.baseline or "", one.current or ""))
    return tuple(matches)


def _by(key: Callable[[str], str], names: Collection[str]) -> dict[str, list[str]]:
    groups = defaultdict(list)
    for name in sorted(names):
        groups[key(name)].append(name)
    return dict(groups)


def _variants(before: list[str], after: list[str]) -> list[_Pair]:
    """Counterparts among raw names; as many as the shorter list has names."""
    if len(before) * len(after) > _MOST_PAIRS:
        return list(zip(before, after, strict=False))
    olds = {name: gist(name) for name in before}
    news = {name: gist(name) for name in after}
    ranked = sorted((-likeness(olds[old], news[new]), old, new) for old in before for new in after)
    pairs: dict[str, str] = {}
    taken: set[str] = set()
    for _, old, new in ranked:
        if old not in pairs and new not in taken:
            pairs[old] = new
            taken.add(new)
    return list(pairs.items())


def _renamed(lost: list[str], found: list[str], picked: bool) -> list[_Pair]:
    """Counterparts among canonical names of one category."""
    if len(lost) * len(found) > _MOST_PAIRS:
        return []
    gists = {name: gist(name) for name in (*lost, *found)}

    def score(old: str, new: str) -> float:
        one, other = gists[old], gists[new]
        if contradict(one, other) or (replaced(one, other) and not picked):
            return 0.0
        return likeness(one, other)

    scores = {(old, new): score(old, new) for old in lost for new in found}
    pairs: list[_Pair] = []
    while certain := _certain(lost, found, scores):
        pairs += certain
        lost = [name for name in lost if name not in {old for old, _ in certain}]
        found = [name for name in found if name not in {new for _, new in certain}]
    if picked:
        possible = [(a, b) for a in lost for b in found if not contradict(gists[a], gists[b])]
        choices = Counter(name for pair in possible for name in pair)
        pairs += [(a, b) for a, b in possible if choices[a] == choices[b] == 1]
    return pairs


def _certain(lost: list[str], found: list[str], scores: Mapping[_Pair, float]) -> list[_Pair]:
    """Pairs in which each is the other's best counterpart, by the margin."""
    best_new = {old: _best({new: scores[old, new] for new in found}) for old in lost}
    best_old = {new: _best({old: scores[old, new] for old in lost}) for new in found}
    return [(old, new) for old, new in best_new.items() if new is not None and best_old[new] == old]


def _best(scores: Mapping[str, float]) -> str | None:
    ranked = sorted(scores, key=lambda name: (-scores[name], name))
    if not ranked or scores[ranked[0]] < _ALIKE:
        return None
    if len(ranked) > 1 and scores[ranked[0]] - scores[ranked[1]] < _MARGIN:
        return None
    return ranked[0]
