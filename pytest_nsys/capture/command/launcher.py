"""Launchers: what starts programs elsewhere, such as ``kubectl exec POD --`` or ``ssh HOST``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from pytest_nsys.errors import SettingsError

REMOTE, LOCAL = "{remote}", "{local}"
"""What stands for the two paths in the words of a command that fetches a file."""


@dataclass(frozen=True)
class Launcher:
    """How a program is started somewhere else, and how a file is fetched from there.

    Attributes:
        prefix: the words before a command.
        fetch: the words of the command that copies a file, with `REMOTE` and `LOCAL` in them;
            none where the file is to be printed by ``cat``.
    """

    prefix: tuple[str, ...]
    fetch: tuple[str, ...] = ()

    def command(self, words: Sequence[str]) -> list[str]:
        """What runs the command there.

        ssh joins its words with spaces, and a shell there reads them: each ssh on the way takes
        one quoting off. It is told from a place of that name by the words after it.
        """
        for word, after in pairwise(self.prefix):
            if PurePosixPath(word).name == "ssh" and after != "--":
                words = [shlex.join(words)]
        return [*self.prefix, *words]

    def fetching(self, remote: str, local: Path) -> list[str]:
        """What copies a file here."""
        paths = {REMOTE: remote, LOCAL: str(local)}
        words = []
        for word in self.fetch:
            for name, path in paths.items():
                word = word.replace(name, path)
            words.append(word)
        return words

    @property
    def text(self) -> str:
        """The prefix as people write it."""
        return shlex.join(self.prefix)


def read_launcher(prefix: str, fetch: str | None = None) -> Launcher:
    """The launcher of ``--launcher``, and of ``--fetch`` if that is given.

    Raises:
        SettingsError: one of them cannot be read.
    """
    words = _words("--launcher", prefix)
    if fetch is None:
        return Launcher(words)
    given = _words("--fetch", fetch)
    missing = [name for name in (REMOTE, LOCAL) if not any(name in word for word in given)]
    if missing:
        raise SettingsError(
            f"--fetch lacks {' and '.join(missing)}",
            evidence=fetch,
            remedy="write the command that copies a file here, such as 'scp host:{remote} {local}'",
        )
    return Launcher(words, given)


def _words(option: str, text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise SettingsError(
            f"{option} cannot be read: {error}", evidence=text, remedy="correct its quotes"
        ) from None
    if not words:
        raise SettingsError(f"{option} is empty", remedy="name a command")
    return words
