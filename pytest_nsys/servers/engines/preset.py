"""What is known of an inference engine: how it is started, asked, profiled, and how it fails."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pytest_nsys.errors import PresetError

Trigger = Literal["cudaProfilerApi", "nvtx"]
"""What in the server begins and ends a collection: calls of cudaProfilerStart and
cudaProfilerStop, or an NVTX range that ``--nvtx-capture`` names."""


@dataclass(frozen=True)
class FailurePattern:
    """A line of a server's log that tells why it failed.

    Attributes:
        pattern: a regular expression, searched for in the log.
        meaning: what has happened, a clause.
        remedy: what to do about it.
    """

    pattern: str
    meaning: str
    remedy: str


@dataclass(frozen=True)
class StartStage:
    """A stage of an engine's start, by the line of its log that it begins with.

    Attributes:
        pattern: a regular expression, searched for in each line.
        name: what the engine does from that line on, such as "loading weights".
    """

    pattern: str
    name: str


@dataclass(frozen=True)
class Endpoint:
    """A request that an engine acts on.

    Attributes:
        path: such as "/start_profile".
        method: of HTTP.
        body: sent as JSON; None for no body.
    """

    path: str
    method: str = "POST"
    body: Mapping[str, object] | None = None


@dataclass(frozen=True)
class ProfileEndpoints:
    """How an engine is told to call cudaProfilerStart and cudaProfilerStop.

    Attributes:
        start: the request that makes it begin.
        stop: the request that makes it end.
        arguments: what its command needs for that.
        environment: what its environment needs for that; ``{port}`` and the like are filled in.
        trigger: what it begins and ends its ranges with.
    """

    start: Endpoint
    stop: Endpoint
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    trigger: Trigger = "cudaProfilerApi"


@dataclass(frozen=True)
class Preset:
    """An inference engine.

    In ``command``, ``environment`` and ``api_model`` these are filled in: ``{model}``,
    ``{model_name}`` (the last part of it where it is a folder), ``{host}``, ``{port}``,
    ``{python}`` (the interpreter that runs pytest) and ``{folder}`` (private, gone afterwards).

    Attributes:
        name: an identifier; ``nsys_server`` has it as a method.
        command: the words that start it.
        ready: path that answers 200 once it can serve.
        dialect: how it is asked for text: a name that ``nsys_server`` takes as
            ``dialect``, or one that `pytest_nsys.register_dialect` made known.
        source: address of the engine's documentation of all this.
        health: path that answers 200 while it lives; None for ``ready``.
        api_model: what requests call the model; "" for what ``/v1/models`` names first.
        name_options: options of its command that change this.
        nsys_args: arguments of nsys that it needs, over our defaults.
        environment: variables that it needs.
        profile: its own endpoints for profiling; None if it has none.
        failure_patterns: how its log says why it failed.
        proven: whether this has run with the real engine.
        stages: of its start, in their order.
        version: path that answers the engine's version; "" if it has none.
        checked: the version of the engine whose sources or documentation all this was compared
            with, and the day.

    Raises:
        PresetError: it cannot work.
    """

    name: str
    command: tuple[str, ...]
    ready: str
    dialect: str
    source: str
    health: str | None = None
    api_model: str = "{model}"
    name_options: tuple[str, ...] = ()
    nsys_args: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    profile: ProfileEndpoints | None = None
    failure_patterns: tuple[FailurePattern, ...] = ()
    proven: bool = False
    stages: tuple[StartStage, ...] = ()
    version: str = ""
    checked: str = ""

    def __post_init__(self) -> None:
        if fault := self._fault():
            raise PresetError(
                f"the preset {self.name!r} {fault}", remedy="correct it where it is registered"
            )

    @property
    def needs_model(self) -> bool:
        """Whether its command names a model."""
        return any("{model}" in word for word in self.command)

    def _fault(self) -> str:
        if not self.name.isidentifier() or self.name.startswith("_"):
            return "has a name that is no identifier"
        if not self.command:
            return "has no command"
        if not any("{port}" in word for word in (*self.command, *self.environment.values())):
            return "has {port} neither in its command nor in its environment"
        for path in (self.ready, self.health, self.version):
            if path and not path.startswith("/"):
                return f"has a path that does not begin with a slash: {path!r}"
        for what, patterns in (("failure pattern", self.failure_patterns), ("stage", self.stages)):
            for one in patterns:
                try:
                    re.compile(one.pattern)
                except re.error as error:
                    shown = f"{one.pattern!r} that is no regular expression: {error}"
                    return f"has a {what} {shown}"
        return ""
