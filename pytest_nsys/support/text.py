"""Text for people: made safe to look at and to hand on, and the name that was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and newline
    "\u00ad\u200b\u2060-\u2064\ufeff"  # characters without width
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # direction of writing
    "\u2028\u2029\ufff9-\ufffb\ufffe\uffff"  # separators, annotations, no characters
    "\ud800-\udfff\U000e0000-\U000e007f]"  # halves of a pair, tags
)

_QUOTED_PATH = re.compile(r"(?P<quote>['\"])/(?:[^'\"\n]*/)?(?P<last>[^'\"/\n]*)(?P=quote)")
_PATH = re.compile(r"(?<![\w.])/(?:[^/\s'\"]+/)+")


def visible(value: Any) -> Any:
    """Text with its invisible characters, and those that reorder what is read, spelled out.

    What is no text, or markup already (it has ``__html__``), stays as it is.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return _UNSEEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", value)


def suggest(name: str, valid: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the nearest of ``valid``, else the whole list."""
    names = list(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "valid names: " + ", ".join(names)


def without_folders(text: str) -> str:
    """A text with the last part of the absolute paths in it.

    A path with spaces is known as one only where it is in quotes, as in Python's messages.
    """
    return _PATH.sub("", _QUOTED_PATH.sub(r"\g<quote>\g<last>\g<quote>", text))


def line_without_folders(text: str) -> str:
    """The first line of a text, and of absolute paths in it their last part."""
    return without_folders(text.partition("\n")[0])
