"""Patterns of kernels, copies and API calls: those that can never match are mistakes.

A pattern that is nothing known may still be the name of a kernel, or of a function of a newer CUDA.
It is refused only where it is all but one of those names: a word of a function misspelt, a copy
called by half its name, a function where a kernel should be.
"""

from __future__ import annotations

import difflib
import re
from fnmatch import fnmatchcase
from functools import cache

from pytest_nsys.catalogue import Breakdown, Metric, inner_family, lookup
from pytest_nsys.cuda.names import COPY_TEXTS, MEMSET_TEXT, UNIFIED_COPIES, api_name, functions
from pytest_nsys.errors import UnknownMetric, UnknownPattern
from pytest_nsys.kernels.category import CATEGORIES

_WILD = re.compile(r"[*?]|\[[^]]*\]")
_FUNCTION = re.compile(r"cu(da)?[A-Z]", re.ASCII)
_WORD = re.compile(r"[A-Z][a-z]*|[a-z]+|[0-9]+")
# What begins a pattern, or is the whole of it, is compared more freely than what is somewhere in
# it: there it may as well be a part of a kernel's name.
_ALIKE, _ALIKE_WITHIN = 0.75, 0.85
_LONG = 8
_GRAPHICS = "EGL"

_DIRECTIONS = {
    "htod": "h2d", "h2d": "h2d", "host-to-device": "h2d",
    "dtoh": "d2h", "d2h": "d2h", "device-to-host": "d2h",
    "dtod": "d2d", "d2d": "d2d", "device-to-device": "d2d",
    "ptop": "p2p", "p2p": "p2p", "peer-to-peer": "p2p",
}  # fmt: skip
_OF_COPIES = ("memcpy", "memset", "cuda", "pageable", "unified")


def known_metric(key: str) -> Metric:
    """The metric of this key, if the pattern in it can match something.

    Raises:
        UnknownMetric: there is no such metric, or its pattern is all but a name that there is.
    """
    metric = lookup(key)
    family = inner_family(key)
    instead = _INSTEAD[family.family](family.pattern, family.measure) if family else ""
    if family is not None and instead:
        what = {"kernel": "kernel", "api": "CUDA function", "category": "category"}[family.family]
        raise UnknownMetric(
            f"{key!r} never matches: no {what} is called {family.pattern!r}",
            remedy=f"did you mean {instead}?",
        )
    return metric


def instead_of(pattern: str) -> str:
    """What was meant by a pattern of kernels, copies and calls that can never match; else ""."""
    bare = pattern.strip()
    if bare != pattern and bare:  # no name begins or ends with a blank
        return instead_of(bare) or _quoted(bare)
    if _matches_copy(pattern):
        return ""
    if is_function(pattern):
        # "*HtoD" is a function of the driver's, too, which hardly anybody has in mind.
        return _quoted(_copies(_direction(pattern)) if _direction(pattern) else "")
    return _quoted(_copy_meant(pattern) or _function_meant(pattern) or _closed(pattern))


def _closed(pattern: str) -> str:
    """A pattern that is a list of characters without its end; "" if it is none."""
    is_open = pattern.startswith("[") and "]" not in pattern and not pattern.startswith("[CUDA ")
    return f"{pattern}]" if is_open else ""


def look_for(pattern: str, kind: Breakdown) -> None:
    """Whether a pattern may match anything of a breakdown.

    Raises:
        UnknownPattern: it never does.
    """
    if kind == "kernels":
        direction = _direction(pattern)
        meant = f"m.copies with {_copies(direction)!r}" if direction else ""
        if not meant and (function := _function_of_kernel(pattern)):
            meant = f"m.calls with {function!r}"
    elif kind == "copies":
        meant = _instead_of_copy(pattern)
    else:
        meant = _instead_of_function(pattern)
    if meant:
        raise UnknownPattern(
            f"{pattern!r} can never match any of the {kind}", remedy=f"did you mean {meant}?"
        )


def _instead_of_copy(pattern: str) -> str:
    if pattern.startswith(("memset ", "memset*")) or fnmatchcase(MEMSET_TEXT, pattern.strip("*")):
        return "m['memset.count']"
    if _matches_copy(pattern):
        return ""
    meant = _copy_meant(pattern)
    if meant or not is_function(pattern):
        return _quoted(meant)
    return f"m.calls with {pattern!r}"


def _function_of_kernel(pattern: str) -> str:
    """The function that is meant by a pattern of kernels; "" if none is."""
    if not _FUNCTION.match(pattern):
        return ""
    is_name = is_function(pattern) and not _WILD.search(pattern)
    return pattern if is_name else _function_meant(pattern)


def _instead_of_kernel(pattern: str, measure: str) -> str:
    direction = _direction(pattern)
    if direction:
        return f"memcpy.{direction}.{measure}"
    meant = _function_of_kernel(pattern)
    return f"api[{meant}].count" if meant else ""


def _instead_of_function(pattern: str, measure: str = "count") -> str:
    if is_function(pattern):
        return ""
    direction = _direction(pattern)
    if direction:
        return f"memcpy.{direction}.{measure}"
    wider = (pattern.strip(), f"*{pattern}", f"{pattern}*")
    return _quoted(next(filter(is_function, wider), "") or _function_meant(pattern))


def _instead_of_category(pattern: str, _measure: str) -> str:
    if any(fnmatchcase(name, pattern) for name in CATEGORIES):
        return ""
    word = pattern.lower().strip("*? ")
    close = difflib.get_close_matches(word, CATEGORIES, n=1, cutoff=_ALIKE)
    close += [name for name in CATEGORIES if len(word) > 2 and _is_short_for(word, name)]
    return _quoted(close[0] if close else "")


def _is_short_for(word: str, name: str) -> bool:
    """Whether a word has letters of the name in their order, from its first on: attn."""
    rest = iter(name)
    return word[0] == name[0] and all(letter in rest for letter in word)


_INSTEAD = {
    "kernel": _instead_of_kernel,
    "api": _instead_of_function,
    "category": _instead_of_category,
}


def _quoted(text: str) -> str:
    return repr(text) if text else ""


# Functions


def is_function(pattern: str) -> bool:
    """Whether a pattern matches a function that there is; one of graphics only if it says so, for
    cuda*Sync is not meant to be cudaEventCreateFromEGLSync."""
    bare = api_name(pattern)
    found = (name for name in functions() if fnmatchcase(name, bare))
    return any(_GRAPHICS in bare or _GRAPHICS not in name for name in found)


@cache
def _words() -> frozenset[str]:
    return frozenset(word for name in functions() for word in _WORD.findall(name))


def _function_meant(pattern: str) -> str:
    """A pattern that matches functions, of which this is a misspelling; "" if it is none."""
    return (
        _called(pattern)
        or _half(pattern)
        or _without_beginning(pattern)
        or _in_other_case(pattern)
        or _misspelt(pattern)
    )


def _called(pattern: str) -> str:
    """Of a function with the brackets of a call."""
    name = pattern.partition("(")[0].strip()
    return name if name != pattern and _FUNCTION.match(name) and is_function(name) else ""


def _half(pattern: str) -> str:
    """Of what functions' names begin with."""
    is_one = re.match(r"cu(da)?[A-Z*?]", pattern, re.ASCII)
    return f"{pattern}*" if is_one and is_function(f"{pattern}*") else ""


def _without_beginning(pattern: str) -> str:
    """Of two words and more, all of them CUDA's, whose beginning was left out."""
    words, whole = _WORD.findall(pattern), f"*{pattern}"
    if _FUNCTION.match(pattern) or _WILD.match(pattern) or sum(len(w) > 2 for w in words) < 2:
        return ""
    return _named(pattern, whole) if _words().issuperset(words) else ""


def _in_other_case(pattern: str) -> str:
    is_one = re.match(r"cuda\w\w", pattern, re.IGNORECASE)
    return _named(pattern, pattern.lower()) if is_one else ""


def _named(pattern: str, lower: str) -> str:
    """The functions that a pattern matches whatever the case: the first, or as a pattern."""
    folded = api_name(lower).lower()
    found = [name for name in functions() if fnmatchcase(name.lower(), folded)]
    first = min(found, key=lambda name: (not name.startswith("cuda"), len(name)), default="")
    return f"{first}*" if first and _WILD.search(pattern) else first


def _misspelt(pattern: str) -> str:
    anchored = _FUNCTION.match(pattern) is not None
    begins = _FUNCTION.match(pattern.lstrip("*?")) is not None
    for word in dict.fromkeys(_WORD.findall(_WILD.sub(" ", pattern))):
        if word in _words() or not (begins or len(word) >= _LONG):
            continue
        cutoff = _ALIKE if anchored else _ALIKE_WITHIN
        for near in difflib.get_close_matches(word, sorted(_words()), n=3, cutoff=cutoff):
            # A kernel may well have another form of the word in its name.
            is_form = word.lower().startswith(near.lower())
            mended = pattern.replace(word, near)
            if (anchored or not is_form) and is_function(mended):
                return mended
    return ""


# Copies and memory sets


def _matches_copy(pattern: str) -> bool:
    texts = [*COPY_TEXTS.values(), MEMSET_TEXT]
    texts += [f"{name} 4 MiB" for name in (*COPY_TEXTS, *UNIFIED_COPIES, "memset")]
    # A size is whatever was copied.
    begun = pattern.startswith(tuple(f"{name} " for name in (*COPY_TEXTS, "unified", "memset")))
    return begun or any(fnmatchcase(text, pattern) for text in texts)


def _of_copies(pattern: str) -> tuple[list[str], list[str]]:
    """The words of a pattern, and those of copies that they are, or are misspellings of; of the
    latter there are fewer where one is something else."""
    words = re.split(r"[\s*?\[\]_]+", pattern.lower().strip("[]*? "))
    known = [*_DIRECTIONS, *_OF_COPIES]
    close = (difflib.get_close_matches(word, known, n=1, cutoff=_ALIKE) for word in words)
    return words, [found[0] for found in close if found]


def _direction(pattern: str) -> str:
    """The direction of the copies that the pattern means; "" if it means none."""
    words, meant = _of_copies(pattern)
    if len(meant) < len(words):
        return ""
    return next((_DIRECTIONS[word] for word in meant if word in _DIRECTIONS), "")


def _copy_meant(pattern: str) -> str:
    """The pattern of the copies or memory sets that are meant; "" if there are none."""
    words, meant = _of_copies(pattern)
    certain = set(words) & ({*_DIRECTIONS, *_OF_COPIES} - {"cuda", "pageable", "unified"})
    if len(meant) < len(words) or not certain:
        return ""
    if "memset" in meant:
        return "*memset*"
    return _copies(next((_DIRECTIONS[word] for word in meant if word in _DIRECTIONS), ""))


def _copies(direction: str) -> str:
    """The pattern of the copies of a direction; of all where it is ""."""
    kind = COPY_TEXTS[direction].partition("]")[0].rpartition(" ")[2] if direction else ""
    return f"*memcpy*{kind}*" if kind else "*memcpy*"
