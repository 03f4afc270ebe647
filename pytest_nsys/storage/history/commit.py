"""Which commit is measured: what git has checked out, and whether it is what is there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

_DEADLINE_S = 20.0
_DIRTY = "+dirty"


def head_commit(folder: Path, ignoring: Iterable[Path] = ()) -> str:
    """The commit that the folder's working tree is at; "" where git knows of none.

    ``+dirty`` follows where tracked files differ from it. A git that is missing, hangs or refuses
    is as good as none: a history is worth having without commits.

    Args:
        folder: a folder of the working tree.
        ignoring: folders in it whose changes do not count: what the run itself writes.
    """
    root = folder.resolve()
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if not commit:
        return ""
    written = [path.resolve() for path in ignoring]
    inside = [path.relative_to(root) for path in written if path.is_relative_to(root)]
    without = [f":(exclude,literal){path}" for path in inside if path.parts]
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", *without)
    if changed is None:
        return ""
    return commit + (_DIRTY if changed else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
            timeout=_DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None
