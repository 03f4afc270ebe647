"""A plugin for the suites of benchmarks: marks tests from outside, shuffles them, and says what the
run took.

    python -m pytest -p suite_plugin ...        with benchmarks/ on PYTHONPATH

What it does is in environment variables, which workers inherit: SUITE_TESTS (so many tests are
marked, those with parameters first, and the others left out), SUITE_SEED (the order is shuffled
by it), SUITE_METER (the file to write what this process took to).
"""

from __future__ import annotations

import json
import os
import random
import resource
import time
from pathlib import Path

import pytest

_BEGAN = time.monotonic()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose and mark: the same tests in each process and whatever the order."""
    wanted = int(os.environ.get("SUITE_TESTS", "0"))
    if wanted:
        # A test of an id that another has cannot be told from it.
        unique = {item.nodeid: item for item in items}
        ranked = sorted(unique.values(), key=lambda item: not hasattr(item, "callspec"))
        chosen = {item.nodeid for item in ranked[:wanted]}
        left = [item for item in items if item.nodeid not in chosen]
        items[:] = [item for item in unique.values() if item.nodeid in chosen]
        config.hook.pytest_deselected(items=left)
        for item in items:
            if item.get_closest_marker("nsys") is None:
                item.add_marker(pytest.mark.nsys)
    if "SUITE_SEED" in os.environ:
        random.Random(int(os.environ["SUITE_SEED"])).shuffle(items)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Say what the controller itself took: processor, memory, and seconds on the clock."""
    path = os.environ.get("SUITE_METER")
    if path is None or hasattr(config, "workerinput"):
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    took = {
        "processor_s": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": used.ru_maxrss // 1024,
        "clock_s": round(time.monotonic() - _BEGAN, 1),
    }
    Path(path).write_text(json.dumps(took), encoding="utf-8")
