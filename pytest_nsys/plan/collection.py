"""What a run of pytest collected: by it baselines without a test are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Collection:
    """What a collection saw, whatever of it was deselected or skipped later.

    Attributes:
        root: the folder that node ids start from.
        nodeids: every test that was collected.
        files: the test files that were collected as a whole, as in node ids.
        folders: the folders that were, with all that is in them; absolute.
        unmarked: the tests that would run and are not measured.
        skipped: why no test was collected where one may be, by how the node ids there begin: a
            module that skips itself, an empty set of parameters.
    """

    root: Path
    nodeids: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    folders: tuple[Path, ...] = ()
    unmarked: frozenset[str] = frozenset()
    skipped: Mapping[str, str] = field(default_factory=dict)

    def why_skipped(self, nodeid: str) -> str:
        """Why a test was not collected that may be there all the same; "" for any other."""
        if nodeid in self.nodeids:
            return ""
        found = (why for place, why in self.skipped.items() if nodeid.startswith(place))
        return next(found, "")
