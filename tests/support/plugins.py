"""Which of pytest's plugins the runs inside tests load.

The environment of the tests has all that the tests themselves need. To load them all takes longer
than the rest of a run's start.
"""

from __future__ import annotations

from importlib.metadata import entry_points


def without_others() -> str:
    """A line of an ini file: of the installed plugins, ours alone."""
    others = {entry.name for entry in entry_points(group="pytest11")} - {"nsys"}
    return f"addopts = {' '.join(f'-p no:{name}' for name in sorted(others))}"
