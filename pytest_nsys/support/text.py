"""Text of unknown origin made safe to look at: nothing in it is unseen or reorders what is read."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and newline
    "\u00ad\u200b\u2060-\u2064\ufeff"  # characters without width
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # direction of writing
    "\u2028\u2029\ufff9-\ufffb\ufffe\uffff"  # separators, annotations, no characters
    "\ud800-\udfff\U000e0000-\U000e007f]"  # halves of a pair, tags
)


def visible(value: Any) -> Any:
    """Text with its invisible characters, and those that reorder what is read, spelled out."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _UNSEEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", value)
