"""What ``pytest-nsys stats`` says of a recording of tests: window by window, over all captures."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from pytest_nsys.errors import NotACapture
from pytest_nsys.offline.measured import measured_tests
from pytest_nsys.offline.stats import SCHEMA, finding, rows_of_tests
from pytest_nsys.storage.recordings.recording import read_recording


def recording_document(folder: Path, windows: Collection[str] = ()) -> dict[str, Any]:
    """What the tests of a recording take.

    Args:
        folder: the recording.
        windows: names of the only windows to look at; none for all.

    Returns:
        - schema: the version of this document, that of `stats_document`.
        - environment: gpu, driver, cuda, nsys.
        - tests: as in `stats_document`, all captures and processes together.
        - findings: likewise, with the nodeid and window that they are of; none where windows are
          named.
        - captures: names of its files, each of which has a document of its own.

    Raises:
        NsysError: it cannot be read, or holds no measured test.
    """
    measured = measured_tests(folder, in_full=not windows, timelines=False)
    if not measured:
        raise NotACapture(
            f"{folder} holds no measured test",
            remedy=f"name a capture of it, such as {folder / 'capture-1.sqlite.xz'}",
        )
    environment = next(iter(measured.values())).environment
    chosen = {
        nodeid: {n: window for n, window in test.windows.items() if not windows or n in windows}
        for nodeid, test in measured.items()
    }
    return {
        "schema": SCHEMA,
        "environment": {
            name: getattr(environment, name) for name in ("gpu", "driver", "cuda", "nsys")
        },
        "tests": rows_of_tests(chosen),
        "findings": [
            {"nodeid": nodeid, "window": one.window, **finding(one)}
            for nodeid, test in measured.items()
            for one in test.bottlenecks
        ],
        "captures": [capture.file for capture in read_recording(folder).captures],
    }
