"""Everything that one server is started with, from a preset or from any command."""

from __future__ import annotations

import itertools
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_nsys.errors import LaunchError
from pytest_nsys.plan.privacy import published_arguments
from pytest_nsys.servers.engines.ports import free_port
from pytest_nsys.servers.engines.preset import (
    FailurePattern,
    Preset,
    ProfileEndpoints,
    StartStage,
)
from pytest_nsys.servers.engines.presets import preset_named

LOCALHOST = "127.0.0.1"
_FOLDER = "{folder}"


@dataclass(frozen=True)
class ServerSpec:
    """Everything to start one server with.

    Attributes:
        name: of the preset or of the program.
        command: the words, filled in, but for ``{folder}``.
        host: where it listens.
        port: the same.
        ready: path that answers 200 once it can serve.
        health: path that answers 200 while it lives.
        dialect: how it is asked for text.
        model: what requests call the model; "" for what ``/v1/models`` names first.
        nsys_args: arguments of nsys that it needs.
        environment: variables put over those of pytest; filled in, but for ``{folder}``.
        directory: where it is started; "" for the current one.
        profile: the engine's endpoints, where collections are begun and ended by them.
        failure_patterns: how its log says why it failed.
        published: the engine and the arguments that were chosen for it, as may be handed on.
        stages: how its log says what it is at while it starts.
    """

    name: str
    command: tuple[str, ...]
    host: str
    port: int
    ready: str
    health: str
    dialect: str
    model: str = ""
    nsys_args: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str = ""
    profile: ProfileEndpoints | None = None
    failure_patterns: tuple[FailurePattern, ...] = ()
    published: tuple[str, ...] = ()
    stages: tuple[StartStage, ...] = ()

    @property
    def url(self) -> str:
        """Address of the server, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def in_folder(self, folder: Path) -> ServerSpec:
        """The same with the server's private folder filled in."""
        values = {_FOLDER: str(folder)}
        return replace(
            self,
            command=tuple(_fill(word, values) for word in self.command),
            environment={name: _fill(text, values) for name, text in self.environment.items()},
        )


def spec_of(
    preset: Preset | str,
    model: str = "",
    args: Sequence[str] = (),
    *,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    directory: str | None = None,
    host: str = LOCALHOST,
    nsys_args: Sequence[str] = (),
    own_endpoints: bool = False,
) -> ServerSpec:
    """A server of a known engine.

    Args:
        preset: the engine, or its name.
        model: name or path.
        args: further words of its command.
        port: where it is to listen; None for a free port.
        environment: variables put over pytest's and the preset's.
        directory: where it is started; None for the current one.
        host: address that it is to listen on.
        nsys_args: arguments of nsys, put over the preset's.
        own_endpoints: whether the engine's own endpoints begin and end collections.

    Raises:
        UnknownPreset: there is no such preset.
        LaunchError: the model is missing, an argument is said twice, or the engine has no
            endpoints.
    """
    if isinstance(preset, str):
        preset = preset_named(preset)
    _demand_words(args)
    if not model and preset.needs_model:
        raise LaunchError(
            f"{preset.name} needs a model", remedy=f"nsys_server.{preset.name}('NAME or PATH', ...)"
        )
    for option, given in _own_options(preset.command).items():
        if any(word == option or word.startswith(f"{option}=") for word in args):
            raise LaunchError(
                f"{option} in args: the plugin gives it itself",
                remedy=f"say {given}= instead",
            )
    profile = None
    if own_endpoints:
        profile = preset.profile
        if profile is None:
            raise LaunchError(
                f"{preset.name} has no endpoints for profiling",
                remedy="leave own_endpoints out: nsys then starts and stops by itself",
            )
    port = free_port(host) if port is None else port
    values = {
        "{model}": model,
        "{model_name}": Path(model).name if Path(directory or ".", model).is_dir() else model,
        "{host}": host,
        "{port}": str(port),
        "{python}": sys.executable,
    }
    variables = {
        **preset.environment,
        **({} if profile is None else profile.environment),
    }
    return ServerSpec(
        name=preset.name,
        command=(
            *(_fill(word, values) for word in preset.command),
            *(() if profile is None else profile.arguments),
            *args,
        ),
        host=host,
        port=port,
        ready=preset.ready,
        health=preset.health or preset.ready,
        dialect=preset.dialect,
        model=_served_name(preset, args) or _fill(preset.api_model, values),
        nsys_args=(*preset.nsys_args, *nsys_args),
        environment={
            **{name: _fill(text, values) for name, text in variables.items()},
            **(environment or {}),
        },
        directory=directory or "",
        profile=profile,
        failure_patterns=preset.failure_patterns,
        published=(preset.name, *published_arguments(args)),
        stages=preset.stages,
    )


def spec_of_command(
    command: Sequence[str] | str,
    *,
    ready: str = "/health",
    health: str | None = None,
    port: int | None = None,
    model: str = "",
    dialect: str = "openai-completions",
    environment: Mapping[str, str] | None = None,
    directory: str | None = None,
    host: str = LOCALHOST,
    nsys_args: Sequence[str] = (),
    profile: ProfileEndpoints | None = None,
    failure_patterns: Sequence[FailurePattern] = (),
) -> ServerSpec:
    """A server that is any command; ``{port}``, ``{host}`` and ``{model}`` in it are filled in.

    Args:
        command: its words, or a line that is split into words as a shell does.
        ready: path that answers 200 once it can serve.
        health: path that answers 200 while it lives; None for ``ready``.
        port: where it listens; None for a free port, which the command then must take.
        model: what requests call the model.
        dialect: how it is asked for text.
        environment: variables put over pytest's; filled in too.
        directory: where it is started; None for the current one.
        host: address that it listens on.
        nsys_args: arguments of nsys that it needs.
        profile: endpoints that begin and end its collections; None where nsys does.
        failure_patterns: how its log says why it failed.

    Raises:
        LaunchError: there is no command, or nothing tells it the port.
    """
    words = shlex.split(command) if isinstance(command, str) else command
    _demand_words(words)
    if not words:
        raise LaunchError("there is no command", remedy="name the server's program and arguments")
    extra = {**({} if profile is None else profile.environment), **(environment or {})}
    if port is None and not any("{port}" in text for text in (*words, *extra.values())):
        raise LaunchError(
            "nothing tells the server its port",
            evidence=shlex.join(words),
            remedy="write {port} where the command takes it, or say port= if it is always the same",
        )
    port = free_port(host) if port is None else port
    values = {"{model}": model, "{host}": host, "{port}": str(port), "{python}": sys.executable}
    return ServerSpec(
        name=_program_name(words),
        command=(
            *(_fill(word, values) for word in words),
            *(() if profile is None else profile.arguments),
        ),
        host=host,
        port=port,
        ready=ready,
        health=health or ready,
        dialect=dialect,
        model=model,
        nsys_args=tuple(nsys_args),
        environment={name: _fill(text, values) for name, text in extra.items()},
        directory=directory or "",
        profile=profile,
        failure_patterns=tuple(failure_patterns),
        published=published_arguments(words),
    )


def _fill(text: str, values: Mapping[str, str]) -> str:
    """The text with the values; other braces, as in JSON, stay."""
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _program_name(words: Sequence[str]) -> str:
    """What people call it: of Python's programs, the script or module."""
    name = Path(words[0]).name
    if name.startswith("python") or words[0] == "{python}":
        named = [word for word in words[1:] if not word.startswith("-")]
        return Path(named[0]).name if named else name
    return name


def _demand_words(words: Sequence[str]) -> None:
    if isinstance(words, str) or not all(isinstance(word, str) for word in words):
        raise LaunchError(
            "the arguments are no list of texts",
            evidence=repr(words),
            remedy='args=["--flag", "1"]',
        )


def _own_options(command: Sequence[str]) -> dict[str, str]:
    """The options whose values the plugin gives, with the names of its arguments for them."""
    pairs = itertools.pairwise(command)
    return {
        option: value.strip("{}")
        for option, value in pairs
        if option.startswith("-") and value in ("{host}", "{port}", "{model}")
    }


def _served_name(preset: Preset, args: Sequence[str]) -> str:
    """The name that the arguments give the model; "" if they do not."""
    for word, following in zip(args, [*args, ""][1:], strict=True):
        option, equals, value = word.partition("=")
        if option in preset.name_options:
            return value if equals else following
    return ""
