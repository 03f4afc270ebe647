"""What drawings of GPU work look like: colours and patterns of categories, and their legend.

What something is shows in its pattern and label as well as in its colour. The colours are in
attributes, for the style sheet may be forbidden; ``templates/timeline.css`` has others by class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from markupsafe import escape

from pytest_nsys.kernels.category import CATEGORIES
from pytest_nsys.support.text import visible

WIDTH = 1000.0
"""Of a drawing; all lengths are in its own units."""

RANGE = "#565e68"
_HOLLOW = f' fill="#fff" stroke="{RANGE}" stroke-width=".75"'
COPIES = ("h2d", "d2h", "d2d", "p2p", "unified")
NAMES: Mapping[str, str] = {
    **{name: name for name in CATEGORIES},
    "copy": "moving data (kernel)",
    "comm": "communication",
    "other": "other kernels",
    **{name: f"copy {name}" for name in COPIES},
    "memset": "memset",
    "graph": "CUDA graph",
    "sync": "wait of the host",
    "range": "range",
}
"""What the legend calls a category, in its order; also the classes of elements."""

LOOKS: Mapping[str, tuple[str, str]] = {
    "gemm": ("#1f5fa8", ""),
    "attention": ("#7a3fa0", "M0 6L6 0"),
    "conv": ("#00695c", "M0 3H6M3 0V6"),
    "norm": ("#a3480a", "M0 3H6"),
    "elementwise": ("#56661b", "M3 0V6"),
    "reduce": ("#9c2a5f", "M0 0L6 6"),
    "copy": ("#6b5a3a", "M0 0L6 6M0 6L6 0"),
    "comm": ("#b3261e", "M1 3H5"),
    "sort": ("#3e5c76", "M3 1V5"),
    "other": ("#5f6670", "M2 2L4 4"),
    "h2d": ("#0b6e80", "M0 2L3 5L6 2"),
    "d2h": ("#855700", "M0 4L3 1L6 4"),
    "d2d": ("#4a6572", "M2 0L5 3L2 6"),
    "p2p": ("#a3324a", "M0 3H6M3 1V5"),
    "unified": ("#5d4a9c", "M0 1H6M0 4H6"),
    "memset": ("#6a685f", "M1 0V6M4 0V6"),
    "graph": ("#2b4c7e", "M0 0H6V6"),
    "sync": ("#646b76", "M0 6L6 0M-1 1L1 -1M5 7L7 5"),
}
"""Per category its colour on light paper, for the style sheet may be forbidden, and its pattern, a
path in a square of 6. White text on each has a contrast of 4.5 at least."""


def patterns(names: Iterable[str], ident: str) -> str:
    """The definitions of the patterns of categories; their ids begin with ``ident``."""
    return f"<defs>{''.join(_pattern(name, ident) for name in names if name in LOOKS)}</defs>"


def _pattern(name: str, ident: str) -> str:
    colour, path = LOOKS[name]
    mark = path and f'<path class="mark" d="{path}" stroke="#fff" stroke-opacity=".45"/>'
    return (
        f'<pattern id="{ident}-{name}" class="{name}" width="6" height="6" '
        f'patternUnits="userSpaceOnUse" fill="none" stroke="none">'
        f'<rect class="base" width="6" height="6" fill="{colour}"/>{mark}</pattern>'
    )


def fill(name: str, ident: str) -> str:
    """The attributes that fill an element of a category with its pattern."""
    return f' fill="url(#{ident}-{name})"' if name in LOOKS else _HOLLOW


def legend(names: Iterable[str], ident: str) -> tuple[str, float]:
    """The legend of categories at the top of a drawing, and how high it is; empty without any."""
    out, x, y = [], 0.0, 4.0
    for name in names:
        width = 36 + 6.7 * len(NAMES[name])
        if x + width > WIDTH:
            x, y = 0.0, y + 18
        out.append(
            f'<g class="op {name}"{fill(name, ident)}><rect x="{number(x)}" y="{number(y)}" '
            f'width="16" height="11"/></g>'
            f'<text x="{number(x + 21)}" y="{number(y + 10)}">{text_of(NAMES[name])}</text>'
        )
        x += width
    return (f'<g class="legend">{"".join(out)}</g>', y + 22) if out else ("", 0.0)


def axis(places: Sequence[tuple[float, str]], y: float) -> str:
    """The texts of an axis, by their places from the left; none is cut off at the right."""
    texts = []
    for x, text in places:
        end = min(x, WIDTH - 3.2 * len(text))
        texts.append(f'<text x="{number(end)}" y="{number(y)}">{text_of(text)}</text>')
    return f'<g class="axis" text-anchor="middle">{"".join(texts)}</g>'


def text_of(text: str) -> str:
    """Text that may hold names, as XML."""
    return str(escape(visible(text)))


def number(value: float) -> str:
    """A coordinate: to a hundredth, without zeros that say nothing."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
