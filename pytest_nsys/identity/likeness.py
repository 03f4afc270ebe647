"""How alike two kernel names are, apart from what most names have in common."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

_WORD = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+")

# Words that say how a kernel is built, or nothing. With them any two elementwise kernels would look
# alike.
_COMMONPLACE = frozenset(
    "at native std array char int unsigned long const void kernel cuda impl detail functor lambda "
    "operator gpu nocast vectorized unrolled elementwise manual unroll aligned contig trivial "
    "offset calculator memory load store with without cast cutlass cute cub thrust device tuple"
    .split()
)

_PRECISION = re.compile(
    r"(?P<bf16>(?i:bfloat16|bf16)|(?<=^nvjet_)t)"
    r"|(?P<tf32>(?i:tf32))"
    r"|(?P<f8>(?i:float8|fp8|e4m3|e5m2)|(?<=^nvjet_)q)"
    r"|(?P<f16>(?i:half|float16|fp16|f16)|(?<=^nvjet_)h|(?<![A-Za-z])h(?=gemm))"
    r"|(?P<f32>(?i:float|fp32|f32)|(?<=^nvjet_)s|(?<![A-Za-z])s(?=gemm))"
    r"|(?P<f64>(?i:double|fp64|f64)|(?<=^nvjet_)d|(?<![A-Za-z])d(?=gemm))"
)


def gist(name: str) -> Counter[str]:
    """The words of a name that tell it from others, each with how often it is there."""
    words = Counter(word.lower() for word in _WORD.findall(name))
    telling = Counter({word: count for word, count in words.items() if word not in _COMMONPLACE})
    return telling or words


def likeness(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """The share of words that two gists have in common: 1 if all, 0 if none."""
    both = sum(one.values()) + sum(other.values())
    common = sum(min(count, other.get(word, 0)) for word, count in one.items())
    return 2 * common / both if both else 1.0


def precision(name: str) -> str | None:
    """The data type named first, which is that of the operands; None if none is."""
    found = _PRECISION.search(name)
    return found.lastgroup if found else None
