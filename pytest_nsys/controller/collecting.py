"""A run of pytest that writes to a file what it collected; see `collected.collect`.

python -m pytest_nsys.controller.collecting FILE [ARG ...]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pytest_nsys.controller.collected import Collected


class _Writer(Collected):
    """Writes what was collected to a file."""

    def __init__(self, target: Path) -> None:
        super().__init__()
        self._target = target

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write it."""
        found = self.collection(session)
        document = {
            "root": str(found.root),
            "nodeids": sorted(found.nodeids),
            "files": sorted(found.files),
            "folders": [str(folder) for folder in found.folders],
            "unmarked": sorted(found.unmarked),
            "skipped": dict(found.skipped),
        }
        self._target.write_text(json.dumps(document), encoding="utf-8")


if __name__ == "__main__":
    options = ["--collect-only", "-q", "--continue-on-collection-errors"]
    raise SystemExit(pytest.main([*options, *sys.argv[2:]], plugins=[_Writer(Path(sys.argv[1]))]))
