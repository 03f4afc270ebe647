"""Running nsys somewhere else: in a pod, in a container, on another machine.

What leads there is a launcher: see `pytest_nsys.capture.command.launcher`. Nothing of ours has to
be installed there, and no shell is asked for: only nsys, and mktemp, find, ls, wc, cat and rm.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pytest_nsys.capture.command.launcher import Launcher
from pytest_nsys.capture.nsys import INSTALL_PATTERNS, NsysTool, newest_first, read_version
from pytest_nsys.errors import FetchFailed, LauncherFailed, NsysError, NsysNotFound
from pytest_nsys.process.environment import marked_environment
from pytest_nsys.process.processes import Finished, end_trees, run_program
from pytest_nsys.support.own import own

_ANSWER_S = 60.0
_SHOWN = 1000
_FOLDER = re.compile(r"/(?:[\w.+@-]+/)*pytest-nsys-\w{8,}")
_SIZE = re.compile(r"^\s*(\d+)\b", re.MULTILINE)
_DEEPEST = 4  # from the folders that are searched for an nsys, to where installers put it


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
                f"{PurePosixPath(words[0]).name} did not end within {deadline_s:g} s where "
                "--launcher leads",
                evidence=f"{shlex.join(command)}\n{done.printed[-_SHOWN:]}",
                remedy="run it by hand; what asks for a password or for leave cannot be used",
            )
        return done

    @contextmanager
    def temporary_folder(self, say: Callable[[str], object]) -> Iterator[str]:
        """A private folder there, which is removed at the end; ``say`` is told if it cannot be.

        Raises:
            LauncherFailed: it cannot be made.
        """
        done = self.ask(["mktemp", "-d", "-t", "pytest-nsys-XXXXXXXXXX"])
        found = _FOLDER.findall(done.printed)
        if done.code != 0 or not found:
            raise LauncherFailed(
                "the launcher does not run programs, or makes no folder where it leads",
                evidence=f"{self.launcher.text} mktemp -d\nexit code {done.code}\n"
                f"{done.printed[-_SHOWN:]}",
                remedy="run this by hand, and correct --launcher",
            )
        folder: str = found[-1]
        try:
            yield folder
        finally:
            self._remove(folder, say)

    def _remove(self, folder: str, say: Callable[[str], object]) -> None:
        try:
            done = self.ask(["rm", "-rf", folder])
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

    def end(self, nsys: NsysTool, session: str, *, keep: bool, deadline_s: float) -> str:
        """End a session of nsys there, and its program; returns what went wrong.

        A signal to the launcher here would not reach them.

        Args:
            nsys: the one that runs it.
            session: its name.
            keep: whether nsys is to make a report of what it has collected.
            deadline_s: how long each of nsys's commands may take.
        """
        commands = [["shutdown", "--kill=sigterm"]]
        if keep:
            commands.insert(0, ["stop"])
        failures = []
        for command in commands:
            words = [str(nsys.path), *command, f"--session={session}"]
            try:
                done = self.ask(words, deadline_s)
            except NsysError as error:
                failures.append(error.what)
                continue
            if done.code != 0:
                failures.append(f"nsys {command[0]}: {done.printed.strip()[-_SHOWN:]}")
        return "\n".join(failures)


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
