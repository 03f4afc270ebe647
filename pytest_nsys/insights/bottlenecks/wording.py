"""Numbers and names as findings show them."""

from __future__ import annotations

NAME_MOST = 120
"""Characters of a kernel's name that are shown."""


def shortened(name: str) -> str:
    """A name of at most `NAME_MOST` characters; templates' arguments can be thousands long."""
    return name if len(name) <= NAME_MOST else f"{name[: NAME_MOST - 3]}..."


def percent(part: float, whole: float) -> str:
    """``part`` of ``whole``, for people; only nothing is "0%", only all of it "100%"."""
    if not whole or not part:
        return "0%"
    shown = f"{100 * part / whole:.0f}"
    if shown == "0":
        return "<1%"
    return ">99%" if shown == "100" and part < whole else f"{shown}%"
