"""How alike two kernel names are, apart from what most names have in common."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

_WORD = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+")

# Words that say how a kernel is built, or nothing. With them any two elementwise kernels would look
# alike.
_COMMONPLACE = frozenset(
    "at native std array char int unsigned long const void kernel cuda impl detail functor "
    "lambda operator gpu nocast device vectorized unrolled elementwise manual unroll aligned "
    "contig trivial offset calculator memory load store with without cast cutlass cute cub "
    "thrust tuple".split()
)

_PRECISION = re.compile(
    r"(?P<bf16>(?i:bfloat16|bf16)|(?<=^nvjet_)t)"
    r"|(?P<tf32>(?i:tf32))"
    r"|(?P<f8>(?i:float8|fp8|e4m3|e5m2)|(?<=^nvjet_)q)"
    r"|(?P<f16>(?i:half|float16|fp16|f16)|(?<=^nvjet_)h|(?<![A-Za-z])h(?=gemm))"
    r"|(?P<f32>(?i:float|fp32|f32)|(?<=^nvjet_)s|(?<![A-Za-z])s(?=gemm))"
    r"|(?P<f64>(?i:double|fp64|f64)|(?<=^nvjet_)d|(?<![A-Za-z])d(?=gemm))"
    r"|(?P<i64>(?<![A-Za-z])(?:long|int64))"
    r"|(?P<i32>(?<![A-Za-z])(?:int|int32)(?![A-Za-z0-9]))"
    r"|(?P<bool>(?<![A-Za-z])bool(?![A-Za-z]))"
)
_LAYOUT = re.compile(r"(?:^|_)([nt]{2}|[NT]{3,4})(?=_|>|$)")
_PART = re.compile(
    r"(?i)(?P<dgrad>dgrad)|(?P<wgrad>wgrad)|(?P<backward>bwd|backward|bprop|grad)"
    r"|(?P<combine>combine)|(?P<prepare>prepare)|(?P<reduce>reduce)|(?P<gather>gather)"
    r"|(?P<scatter>scatter)|(?P<broadcast>broadcast)|(?P<send>send)|(?P<receive>recv)"
)


@dataclass(frozen=True)
class Gist:
    """What a kernel name says.

    Attributes:
        telling: the words that tell it from others, each with how often it is there.
        wording: all words but numbers.
        precision: the data type named first, which is that of the operands; None if none is.
        layout: which operands of a GEMM are transposed, such as "tn"; None if it does not say.
        parts: which part of a computation it does: the backward pass, the reduction, ...
    """

    telling: Counter[str]
    wording: Counter[str]
    precision: str | None
    layout: str | None
    parts: frozenset[str | None]


def gist(name: str) -> Gist:
    """What a canonical name says."""
    words = Counter(word.lower() for word in _WORD.findall(name))
    telling = Counter({word: count for word, count in words.items() if word not in _COMMONPLACE})
    precision = _PRECISION.search(name)
    layout = _LAYOUT.search(name)
    return Gist(
        telling or words,
        Counter({word: count for word, count in words.items() if not word.isdecimal()}),
        precision.lastgroup if precision else None,
        layout[1][:2].lower() if layout else None,
        frozenset(part.lastgroup for part in _PART.finditer(name)),
    )


def likeness(one: Gist, other: Gist) -> float:
    """The share of telling words that two names have in common: 1 if all, 0 if none."""
    both = one.telling.total() + other.telling.total()
    return 2 * (one.telling & other.telling).total() / both if both else 1.0


def contradict(one: Gist, other: Gist) -> bool:
    """Whether two names say that they are different kernels.

    They do if precisions, layouts, or parts differ, or nothing but numbers: then one template
    was instantiated with other constants.
    """
    return (
        _differ(one.precision, other.precision)
        or _differ(one.layout, other.layout)
        or one.parts != other.parts
        or one.wording == other.wording
    )


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def replaced(one: Gist, other: Gist) -> bool:
    """Whether each name has a word where the other has another: "add" for "fill"."""
    mine, others = (
        {word for word in words.telling if not word.isdecimal()} for words in (one, other)
    )
    return bool(mine - others) and bool(others - mine)
