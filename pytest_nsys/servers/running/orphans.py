"""Servers that an earlier run has left: their pytest is gone, and so is what guarded them.

A server's private folder is named after its session, "pytest-nsys-PID-N", with the process id of
its pytest, and every process of it carries the folder in its environment. So an orphan is found
without nsys, whose sessions can only be listed by who knows their TMPDIR.
"""

from __future__ import annotations

import re
from pathlib import Path

import psutil

from pytest_nsys.process.guard import end_marked, mark_of
from pytest_nsys.process.processes import is_running
from pytest_nsys.support.own import own

_OURS = re.compile(r"pytest-nsys-(\d+)-\d+")
_RUN_FOLDER = "pytest-nsys-"


def session_name(number: int) -> str:
    """The name of a session, and of its server's folder: nobody else's."""
    return f"pytest-nsys-{own.getpid()}-{number}"


def orphan_folders() -> list[Path]:
    """The folders of servers that still run although their pytest does not."""
    here = _namespace(own.getpid())
    found = set()
    for process in psutil.process_iter():
        folder = Path(mark_of(process.pid))
        match = _OURS.fullmatch(folder.name)
        if match is None or is_running(int(match[1])):
            continue
        # Process ids of a container mean something else outside of it.
        if _namespace(process.pid) == here:
            found.add(folder)
    return sorted(found)


def end_orphans() -> list[Path]:
    """End the servers that earlier runs have left, and remove their folders; returns these."""
    folders = orphan_folders()
    for folder in folders:
        end_marked(str(folder))
        run = folder.parent
        ours = run.name.startswith(_RUN_FOLDER)
        own.remove_tree(run if ours else folder, ignore_errors=True)
    return folders


def _namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""
