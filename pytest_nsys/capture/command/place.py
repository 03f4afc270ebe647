"""Running nsys somewhere else: in a pod, in a container, on another machine.

What leads there is a launcher: see `pytest_nsys.capture.command.launcher`. Nothing of ours has to
be installed there: only nsys, and env, mktemp, find, ls, wc, cat and rm. Where nsys fails to make a
report, its importer is asked for by readlink, head and sh, too.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_nsys.capture.command.launcher import Launcher
from pytest_nsys.capture.nsys import INSTALL_PATTERNS, NsysTool, newest_first, read_version
from pytest_nsys.errors import FetchFailed, LauncherFailed, NsysError, NsysNotFound
from pytest_nsys.process.environment import marked_environment
from pytest_nsys.process.processes import Finished, end_trees, run_program
from pytest_nsys.process.run_folder import undone
from pytest_nsys.support.own import own

_ANSWER_S = 60.0
_SHOWN = 1000
_FOLDER = re.compile(r"^(?P<above>/(?:[^\r\n]*/)?)pytest-nsys-\w{10}(?=\r?$)", re.MULTILINE)
_SIZE = re.compile(r"^\s*(\d+)\b", re.MULTILINE)
_DEEPEST = 4  # from the folders that are searched for an nsys, to where installers put it


@dataclass(frozen=True)
class TemporaryFolder:
    """A private folder of another place.

    Attributes:
        path: its own.
        above: the folder that it is in: where programs there put what is temporary.
    """

    path: str
    above: str

    def nsys(self, nsys: NsysTool, *words: str) -> list[str]:
        """A command of nsys that puts what is temporary into the folder. It is of mode 0700; what
        nsys itself makes, anybody may read, and all environments there are in it."""
        return ["env", f"TMPDIR={self.path}", str(nsys.path), *words]

    def program(self, command: Sequence[str]) -> list[str]:
        """A command that is started below such an nsys, and puts it where it always does."""
        return ["env", f"TMPDIR={self.above}", *command]


@dataclass(frozen=True)
class Session:
    """A session of an nsys of another place.

    Attributes:
        folder: what it uses.
        nsys: the nsys.
        name: its own.
    """

    folder: TemporaryFolder
    nsys: NsysTool
    name: str

    @property
    def stop(self) -> list[str]:
        """What has nsys make a report of what it has collected."""
        return self.folder.nsys(self.nsys, "stop", f"--session={self.name}")

    @property
    def shutdown(self) -> list[str]:
        """What ends it, and its program."""
        return self.folder.nsys(self.nsys, "shutdown", "--kill=sigterm", f"--session={self.name}")


class Elsewhere:
    """Where a launcher leads: programs are asked there, each with a deadline.

    Args:
        launcher: what leads there.
        folder: a private folder here, by which what is started here is found and ended.
        deadline_s: the longest time that fetching a file may take.
    """

    def __init__(self, launcher: Launcher, folder: Path, deadline_s: float) -> None:
        self.launcher = launcher
        self._folder = folder
        self._deadline_s = deadline_s

    @property
    def environment(self) -> dict[str, str]:
        """What the launcher's program is started with: it may need anything of the user's."""
        return marked_environment(self._folder, os.environ)

    def ask(self, words: Sequence[str], deadline_s: float = _ANSWER_S) -> Finished:
        """Run a command there that ends by itself.

        Raises:
            LauncherFailed: the launcher's program cannot be started, or did not end in time.
        """
        command = self.launcher.command(words)
        try:
            done = run_program(command, environment=self.environment, deadline_s=deadline_s)
        except OSError as error:
            raise LauncherFailed(
                f"{self.launcher.prefix[0]} cannot be started",
                evidence=str(error),
                remedy="correct --launcher",
            ) from None
        if done.code is None:
            raise LauncherFailed(
                f"{_program(words)} did not end within {deadline_s:g} s where --launcher leads",
                evidence=f"{shlex.join(command)}\n{done.printed[-_SHOWN:]}",
                remedy="run it by hand; what asks for a password or for leave cannot be used",
            )
        return done

    @contextmanager
    def temporary_folder(self, say: Callable[[str], object]) -> Iterator[TemporaryFolder]:
        """A private folder there, which is removed at the end; ``say`` is told if it cannot be.

        It is removed also where this process comes to a sudden end.

        Raises:
            LauncherFailed: it cannot be made.
        """
        done = self.ask(["mktemp", "-d", "-t", "pytest-nsys-XXXXXXXXXX"])
        found = list(_FOLDER.finditer(done.printed))
        if done.code != 0 or not found:
            raise LauncherFailed(
                "the launcher does not run programs, or makes no folder where it leads",
                evidence=f"{self.launcher.text} mktemp -d\nexit code {done.code}\n"
                f"{done.printed[-_SHOWN:]}",
                remedy="run this by hand, and correct --launcher",
            )
        folder = TemporaryFolder(found[-1][0], found[-1]["above"].rstrip("/") or "/")
        remove = ["rm", "-rf", folder.path]
        with undone(self._folder, "2-folder", self.launcher.command(remove)):
            try:
                yield folder
            finally:
                self._remove(folder.path, remove, say)

    def _remove(self, folder: str, remove: Sequence[str], say: Callable[[str], object]) -> None:
        try:
            done = self.ask(remove)
            why = "" if done.code == 0 else done.printed.strip() or f"exit code {done.code}"
        except LauncherFailed as error:
            why = error.what
        if why:
            say(f"{folder} is left where {self.launcher.text} leads: {why}")

    def find_nsys(self, executable: str | None = None) -> NsysTool:
        """The nsys there: the one asked for, else the one on the PATH, else an installed one.

        Raises:
            NsysNotFound: there is none, or it does not say its version.
            LauncherFailed: nothing can be asked there.
        """
        asked = self.ask([executable or "nsys", "--version"])
        version = read_version(asked.printed)
        if version is not None:
            return NsysTool(Path(executable or "nsys"), version)
        if executable is None:
            for path in self._installed():
                version = read_version(self.ask([path, "--version"]).printed)
                if version is not None:
                    return NsysTool(Path(path), version)
        raise NsysNotFound(
            f"there is no {executable or 'nsys'} where --launcher leads, or it does not say its "
            "version",
            evidence=f"{self.launcher.text} {executable or 'nsys'} --version\n"
            f"exit code {asked.code}\n{asked.printed[-_SHOWN:]}",
            remedy="install Nsight Systems there, or name its nsys with --nsys-executable",
        )

    def _installed(self) -> list[str]:
        """Where NVIDIA's installers leave an nsys, the newest of each kind first."""
        roots = list(dict.fromkeys(_root(pattern) for pattern in INSTALL_PATTERNS))
        found = self.ask(["find", "-H", *roots, "-maxdepth", str(_DEEPEST), "-name", "nsys"])
        lines = found.printed.split()
        return [
            path
            for pattern in INSTALL_PATTERNS
            for path in newest_first(line for line in lines if PurePosixPath(line).match(pattern))
        ]

    def size(self, remote: str) -> int | None:
        """Bytes of a file there; None if there is none."""
        done = self.ask(["wc", "-c", remote])
        match = _SIZE.search(done.printed)
        return int(match[1]) if done.code == 0 and match is not None else None

    def fetch(self, remote: str, local: Path) -> None:
        """Copy a file here, and see that all of it came.

        Raises:
            FetchFailed: it did not.
            LauncherFailed: its size cannot be asked for.
        """
        size = self.size(remote)
        if self.launcher.fetch:
            failure = self._copy(self.launcher.fetching(remote, local))
        else:
            failure = self._print(self.launcher.command(["cat", remote]), local)
        arrived = local.stat().st_size if local.is_file() else 0
        if not failure and size is not None and arrived == size:
            return
        local.unlink(missing_ok=True)
        raise FetchFailed(
            f"{PurePosixPath(remote).name} cannot be fetched from where --launcher leads",
            evidence=failure or f"{arrived:,} of {size or 0:,} bytes arrived",
            remedy="leave out what makes the launcher use a terminal (-t, -it), or name a command "
            "that copies a file with --fetch, such as 'scp host:{remote} {local}'",
        )

    def _copy(self, command: Sequence[str]) -> str:
        try:
            done = run_program(command, environment=self.environment, deadline_s=self._deadline_s)
        except OSError as error:
            return f"{shlex.join(command)}: {error}"
        return _failure(command, done, self._deadline_s)

    def _print(self, command: Sequence[str], local: Path) -> str:
        errors = local.with_name(f"{local.name}.errors")
        with local.open("wb") as file, errors.open("w+b") as said:
            try:
                process = own.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=said,
                    env=self.environment,
                    start_new_session=True,
                )
            except OSError as error:
                return f"{shlex.join(command)}: {error}"
            code: int | None = None
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(self._deadline_s)
            finally:
                if process.poll() is None:
                    end_trees([process.pid])
                    process.wait()
            said.seek(0)
            printed = said.read().decode("utf-8", "replace")
        return _failure(command, Finished(code, printed), self._deadline_s)

    @contextmanager
    def ended(self, session: Session) -> Iterator[None]:
        """While the block runs, have a session there ended if this process comes to a sudden end:
        a signal to the launcher here would not reach it."""
        with undone(self._folder, "1-session", self.launcher.command(session.shutdown)):
            yield

    def end(self, session: Session, *, keep: bool, deadline_s: float) -> str:
        """End a session there, and its program; returns what went wrong.

        Args:
            session: it.
            keep: whether nsys is to make a report of what it has collected.
            deadline_s: how long each of nsys's commands may take.
        """
        commands = {"stop": session.stop} if keep else {}
        failures = []
        for name, words in {**commands, "shutdown": session.shutdown}.items():
            try:
                done = self.ask(words, deadline_s)
            except NsysError as error:
                failures.append(error.what)
                continue
            if done.code != 0:
                failures.append(f"nsys {name}: {done.printed.strip()[-_SHOWN:]}")
        return "\n".join(failures)


class FilesThere:
    """The `Files` of where a launcher leads.

    Raises (all methods):
        LauncherFailed: nothing can be asked there.
    """

    def __init__(self, elsewhere: Elsewhere) -> None:
        self._elsewhere = elsewhere

    def glob(self, pattern: str) -> list[str]:
        root = _root(pattern)
        depth = len(PurePosixPath(pattern).relative_to(root).parts)
        words = ["find", root, "-mindepth", str(depth), "-maxdepth", str(depth), "-path", pattern]
        return sorted(self._elsewhere.ask(words).printed.splitlines())

    def resolve(self, path: str) -> str:
        if "/" not in path:  # only a shell knows where programs are
            path = self._said(["sh", "-c", 'command -v -- "$0"', path]) or path
        return self._said(["readlink", "-f", path]) or path

    def exists(self, path: str) -> bool:
        return self._elsewhere.ask(["ls", "-d", path]).code == 0

    def read(self, path: str) -> str | None:
        done = self._elsewhere.ask(["head", "-c", "4096", path])
        is_text = done.code == 0 and "".join(done.printed.split()).isprintable()
        return done.printed if is_text else None

    def _said(self, words: Sequence[str]) -> str:
        done = self._elsewhere.ask(words)
        return done.printed.strip() if done.code == 0 else ""


def _program(words: Sequence[str]) -> str:
    """The name of the program of a command, which may begin with ``env NAME=VALUE``."""
    return PurePosixPath(words[2] if words[0] == "env" else words[0]).name


def _root(pattern: str) -> str:
    """The folder above the first part of a pattern that is not fixed, or above the program."""
    parts = PurePosixPath(pattern).parts
    fixed = next((at for at, part in enumerate(parts) if "*" in part), len(parts) - 2)
    return str(PurePosixPath(*parts[:fixed]))


def _failure(command: Sequence[str], done: Finished, deadline_s: float) -> str:
    if done.code == 0:
        return ""
    why = f"exit code {done.code}" if done.code is not None else f"not done in {deadline_s:g} s"
    return f"{shlex.join(command)}: {why}\n{done.printed[-_SHOWN:]}".strip()
