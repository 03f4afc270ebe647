"""Tests that stay in one process, one after another, where pytest-xdist runs several.

Such a test has the mark ``xdist_group``, or one of the fixtures below. ``--dist=loadgroup`` alone
does not do it: pytest-xdist 3.8 writes the group into a test's id in a way that pytest 9.2 no
longer sees. So each process writes down which test is of which group, and the scheduler reads it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from pytest_nsys.support.files import replace_text
from tests.support.apart import move_apart

FIXTURES = ("captured", "scrubbed", "traces")
"""They take long to make: their tests stay together."""

ALONE = "alone"
"""Tests with this fixture stay together where real nsys of several processes would meet; elsewhere
in two groups, since on a busy machine nsys fails to start more often."""

_GROUPS = pytest.StashKey[Path]()
_APART = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Move one of several processes apart from the others."""
    config.stash[_APART] = hasattr(config, "workerinput") and move_apart()


def group_of(item: pytest.Item) -> str | None:
    """The group of a test, if it is in one."""
    marked = item.get_closest_marker("xdist_group")
    fixtures = getattr(item, "fixturenames", ())
    if marked:
        return str(marked.args[0])
    apart = item.config.stash[_APART]
    together = (*FIXTURES, ALONE) if apart else (ALONE, *FIXTURES)
    group = next((fixture for fixture in together if fixture in fixtures), None)
    half = crc32(item.nodeid.encode()) % 2
    return f"{group}-{half}" if group == ALONE and apart else group


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tell the scheduler of the groups."""
    path = getattr(config, "workerinput", {}).get("groups")
    if path is not None:
        groups = {item.nodeid: group for item in items if (group := group_of(item))}
        replace_text(Path(path), json.dumps(groups))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process where to write."""
    config = node.config
    if _GROUPS not in config.stash:
        folder = tempfile.TemporaryDirectory(prefix="groups-")
        config.add_cleanup(folder.cleanup)
        config.stash[_GROUPS] = Path(folder.name) / "groups.json"
    node.workerinput["groups"] = str(config.stash[_GROUPS])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    """The scheduler of ``--dist=loadgroup``."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        """Each group goes to one process, and so does each test without one."""

        groups: dict[str, str] | None = None

        def _split_scope(self, nodeid: str) -> str:
            if self.groups is None:  # every process has collected by now
                self.groups = json.loads(config.stash[_GROUPS].read_text())
            return self.groups.get(nodeid, nodeid)

    return Together(config, log)
