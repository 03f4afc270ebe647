"""Prefixes: the words before a command that run it somewhere else, and what fetches files there.

Of ``kubectl exec POD --``, ``docker exec CONTAINER`` and ``ssh HOST`` it is known how each copies
files; any other prefix serves too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_nsys.errors import SettingsError

REMOTE, LOCAL = "{remote}", "{local}"
"""What stands for the two paths in the words of a command that fetches a file."""

_Option = tuple[str, "str | None"]


@dataclass(frozen=True)
class Launcher:
    """How a program is started somewhere else, and how a file is fetched from there.

    Attributes:
        prefix: the words before a command.
        fetch: the words of the command that copies a file, with `REMOTE` and `LOCAL` in them;
            none where the file is only to be printed by ``cat``.
        shells: how many shells read the command on its way, each of which takes one quoting off:
            ssh joins its words with spaces.
        chosen: whether the user has named ``fetch``, and nothing else is to be tried.
    """

    prefix: tuple[str, ...]
    fetch: tuple[str, ...] = ()
    shells: int = 0
    chosen: bool = False

    def command(self, words: Sequence[str]) -> list[str]:
        """What runs the command there."""
        for _ in range(self.shells):
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

    Without it, kubectl (and oc), docker (podman, nerdctl) and ssh copy files in their own way;
    what else a prefix may be, prints them.

    Raises:
        SettingsError: one of them cannot be read.
    """
    words = _words("--launcher", prefix)
    own, shells = _own_fetch(words)
    if fetch is None:
        return Launcher(words, own, shells)
    given = _words("--fetch", fetch)
    missing = [name for name in (REMOTE, LOCAL) if not any(name in word for word in given)]
    if missing:
        raise SettingsError(
            f"--fetch lacks {' and '.join(missing)}",
            evidence=fetch,
            remedy="write the command that copies a file here, such as 'scp host:{remote} {local}'",
        )
    return Launcher(words, given, shells, chosen=True)


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


def _own_fetch(words: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """The command that fetches from where a prefix leads, and the shells on the way there.

    A prefix that leads through several places has no such command.
    """
    at = next((at for at, word in enumerate(words) if _name(word) in _PLACES), None)
    if at is None:
        return (), 0
    program = words[at]
    fetch, further = _PLACES[_name(program)](program, words[at + 1 :])
    shells = 1 if _name(program) == "ssh" else 0
    beyond, beneath = _own_fetch(further)
    del beyond
    return (() if further or not fetch else (*words[:at], *fetch)), shells + beneath


def _name(word: str) -> str:
    return PurePosixPath(word).name


def _options(words: Sequence[str], valued: Collection[str]) -> tuple[list[_Option], list[str]]:
    """The leading options with their values, and the words after them."""
    found: list[_Option] = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
        word = rest.pop(0)
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            apart = name in valued and not equals and rest
            found.append((name, rest.pop(0) if apart else value if equals else None))
            continue
        for at, letter in enumerate(word[1:], 2):
            if f"-{letter}" in valued:
                value = word[at:].removeprefix("=") or (rest.pop(0) if rest else "")
                found.append((f"-{letter}", value))
                break
            found.append((f"-{letter}", None))
    return found, rest


def _written(options: Sequence[_Option]) -> list[str]:
    """Options as words again."""
    words = []
    for name, value in options:
        if value is None:
            words.append(name)
        elif name.startswith("--"):
            words.append(f"{name}={value}")
        else:
            words += [name, value]
    return words


_KUBECTL_VALUED = frozenset(
    """
    -n --namespace -c --container -s --server --as --as-group --as-uid --cache-dir
    --certificate-authority --client-certificate --client-key --cluster --context --kubeconfig
    --password --profile --request-timeout --tls-server-name --token --user --username -v
    -f --filename --pod-running-timeout
    """.split()
)
_KUBECTL_EXEC_ONLY = ("-f", "--filename", "--pod-running-timeout")


def _kubectl(program: str, words: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """``kubectl exec [options] POD [options] --``: a pod, to be copied from with ``kubectl cp``.

    See https://kubernetes.io/docs/reference/kubectl/generated/kubectl_exec/ and .../kubectl_cp/.
    """
    end = words.index("--") if "--" in words else len(words)
    further = list(words[end + 1 :])
    options, rest = _options(words[:end], _KUBECTL_VALUED)
    if rest[:1] != ["exec"]:
        return (), further
    targets = []
    rest = rest[1:]
    while rest:
        more, rest = _options(rest, _KUBECTL_VALUED)
        options += more
        targets += rest[:1]
        rest = rest[1:]
    pod = re.sub("^pods?/", "", targets[0]) if len(targets) == 1 else ""
    if not pod or "/" in pod:  # of deploy/NAME, kubectl picks a pod each time
        return (), further
    kept = [(n, value) for n, value in options if value is not None and n not in _KUBECTL_EXEC_ONLY]
    return (program, "cp", *_written(kept), f"{pod}:{REMOTE}", LOCAL), further


_DOCKER_VALUED = frozenset(
    "-H --host -c --context --config -l --log-level --tlscacert --tlscert --tlskey "
    "--url --connection --identity -n --namespace -a --address".split()
)
_DOCKER_EXEC_VALUED = frozenset(
    "-e --env --env-file -u --user -w --workdir --detach-keys --preserve-fds".split()
)


def _docker(program: str, words: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """``docker [options] exec [options] CONTAINER``, to be copied from with ``docker cp``.

    See https://docs.docker.com/reference/cli/docker/container/exec/ and .../container/cp/.
    """
    options, rest = _options(words, _DOCKER_VALUED)
    if rest[:1] == ["container"]:
        rest = rest[1:]
    if rest[:1] != ["exec"]:  # "compose exec SERVICE", for one
        return (), []
    _, rest = _options(rest[1:], _DOCKER_EXEC_VALUED)
    if not rest:
        return (), []
    return (program, *_written(options), "cp", f"{rest[0]}:{REMOTE}", LOCAL), rest[1:]


_SSH_VALUED = frozenset(f"-{letter}" for letter in "BbcDEeFIiJLlmOoPpQRSWw")
_SCP_KNOWS = {"-4", "-6", "-C", "-c", "-F", "-i", "-J", "-o"}


def _ssh(program: str, words: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """``ssh [options] HOST [options]``, to be copied from with scp.

    See https://man.openbsd.org/ssh and https://man.openbsd.org/scp.
    """
    options, rest = _options(words, _SSH_VALUED)
    if not rest:
        return (), []
    host = rest[0]
    more, further = _options(rest[1:], _SSH_VALUED)
    if further[:1] == ["--"]:
        further = further[1:]
    if "://" in host:
        return (), further
    kept: list[_Option] = []
    for name, value in [*options, *more]:
        if name == "-p":
            kept.append(("-P", value))
        elif name == "-l":
            kept.append(("-o", f"User={value}"))
        elif name in _SCP_KNOWS:
            kept.append((name, value))
    user, at, address = host.rpartition("@")
    if ":" in address:
        host = f"{user}{at}[{address}]"
    scp = str(PurePosixPath(program).with_name("scp"))
    return (scp, "-q", *_written(kept), f"{host}:{REMOTE}", LOCAL), further


_Place = Callable[[str, Sequence[str]], tuple[tuple[str, ...], list[str]]]

_PLACES: Mapping[str, _Place] = {
    **dict.fromkeys(("kubectl", "oc"), _kubectl),
    **dict.fromkeys(("docker", "podman", "nerdctl"), _docker),
    "ssh": _ssh,
}
"""By the program's name: from the words after it, what fetches, and the prefix further on."""
