"""The fixture ``nsys_server``: starts servers, and ends each with what it was started for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import pytest

from pytest_nsys.errors import LaunchError, ServerError
from pytest_nsys.servers.context import ServerContext, context_of
from pytest_nsys.servers.engines.preset import FailurePattern, ProfileEndpoints
from pytest_nsys.servers.engines.presets import preset_named
from pytest_nsys.servers.engines.spec import ServerSpec, spec_of, spec_of_command
from pytest_nsys.servers.load import Dialect, dialect_of
from pytest_nsys.servers.running.attached import attach
from pytest_nsys.servers.running.process import ServerDeadlines, ServerProcess, start_server
from pytest_nsys.servers.running.startup import STARTING, Startup, time_words
from pytest_nsys.servers.server import Server
from pytest_nsys.support.text import suggest

_WORTH = 0.1
"""The share of a start from which on a stage of it is said."""

Scope = Literal["function", "class", "module", "package", "session"]
"""What a server ends with, named as the scopes of fixtures are."""

_NODES: Mapping[str, type] = {
    "function": pytest.Item,
    "class": pytest.Class,
    "module": pytest.Module,
    "package": pytest.Package,
    "session": pytest.Session,
}


class NsysServer:
    """Starts servers: ``nsys_server.vllm(MODEL)`` and the like, or ``nsys_server(COMMAND)``."""

    def __init__(self, session: pytest.Session, context: ServerContext) -> None:
        """What starts them.

        Args:
            session: of pytest.
            context: what servers are started with in this run.
        """
        self._session = session
        self._context = context
        self._own: Server | None = None

    def __getattr__(self, name: str) -> Callable[..., Server]:
        """What starts a server of a preset: ``nsys_server.vllm(model, args, ...)``.

        It takes ``model`` (a name or path), ``args`` (further arguments of the engine's command),
        and by name alone ``own_endpoints`` (whether the engine's own profiler endpoints begin and
        end what is collected) and ``port``, ``env``, ``cwd``, ``nsys_args``, ``dialect``,
        ``headers``, ``ready_timeout``, ``scope`` as a command does. It raises what that raises.

        Raises:
            UnknownPreset: no engine is called so.
        """
        if name.startswith("_"):
            raise AttributeError(name)
        return functools.partial(self._preset, preset_named(name).name)

    def _preset(
        self,
        preset: str,
        model: str = "",
        args: Sequence[str] = (),
        *,
        port: int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        nsys_args: Sequence[str] = (),
        own_endpoints: bool = False,
        dialect: str | Dialect | None = None,
        headers: Mapping[str, str] | None = None,
        ready_timeout: float = 1800.0,
        scope: Scope = "function",
    ) -> Server:
        spec = spec_of(
            preset,
            model,
            args,
            port=port,
            environment=env,
            directory=cwd,
            nsys_args=nsys_args,
            own_endpoints=own_endpoints,
        )
        return self._start(spec, dialect or spec.dialect, headers, ready_timeout, scope)

    def __call__(
        self,
        command: Sequence[str] | str,
        *,
        ready: str = "/health",
        port: int | None = None,
        model: str = "",
        dialect: str | Dialect = "openai-completions",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        nsys_args: Sequence[str] = (),
        profile: ProfileEndpoints | None = None,
        failure_patterns: Sequence[FailurePattern] = (),
        headers: Mapping[str, str] | None = None,
        ready_timeout: float = 1800.0,
        scope: Scope = "function",
    ) -> Server:
        """A server that is any command, ready to be asked.

        Args:
            command: its words; ``{port}``, ``{host}`` and ``{model}`` in them are filled in.
            ready: path that answers 200 once it can serve.
            port: where it listens; None for a free port.
            model: what requests call the model.
            dialect: "openai-completions", "openai-chat", "tgi", "triton", or one of your own.
            env: variables put over pytest's.
            cwd: folder that it is started in.
            nsys_args: further arguments of ``nsys profile``.
            profile: the server's endpoints that begin and end its profiler, to collect by them.
            failure_patterns: how its log says why it failed.
            headers: sent with each request.
            ready_timeout: seconds until it must be ready.
            scope: what it ends with.

        Raises:
            ServerError: it cannot be started, or is not ready in time.
        """
        spec = spec_of_command(
            command,
            ready=ready,
            port=port,
            model=model,
            dialect=dialect if isinstance(dialect, str) else dialect.name,
            environment=env,
            directory=cwd,
            nsys_args=nsys_args,
            profile=profile,
            failure_patterns=failure_patterns,
        )
        return self._start(spec, dialect, headers, ready_timeout, scope)

    def attach(
        self,
        url: str,
        *,
        session: str,
        model: str = "",
        dialect: str | Dialect = "openai-completions",
        health: str = "/health",
        nsys_args: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Server:
        """A server that runs already, under ``nsys launch`` or ``nsys profile --start-later``.

        It goes on after the test, and is the same one in all processes.

        Args:
            url: its address.
            session: nsys's name for it (``nsys sessions list``).
            model: what requests call the model; "" to ask it.
            dialect: as for a command.
            health: path that answers 200 while it lives.
            nsys_args: further arguments of ``nsys start``.
            headers: sent with each request.

        Raises:
            ServerError: it does not answer, or nsys has no such session.
        """
        context = self._context
        process = attach(
            url,
            session,
            nsys=context.nsys,
            nsys_args=(*context.nsys_args, *nsys_args),
            health=health,
            model=model,
            deadline_s=context.deadline_s,
        )
        server = Server(process, context, dialect, None, headers or {})
        self._end_with("function", server.stop)
        return server

    def _start(
        self,
        spec: ServerSpec,
        dialect: str | Dialect,
        headers: Mapping[str, str] | None,
        ready_timeout: float,
        scope: Scope,
    ) -> Server:
        dialect_of(dialect)  # before the minutes that a model takes to load
        self._demand_one(scope)
        again = functools.partial(start_ready, self._context, spec, ready_timeout)
        server = Server(again(), self._context, dialect, again, headers or {})
        self._end_with(scope, server.stop)
        if scope == "function":
            self._own = server
        return server

    def _demand_one(self, scope: Scope) -> None:
        if scope not in _NODES:
            raise LaunchError(f"there is no scope {scope!r}", remedy=suggest(scope, _NODES))
        if scope == "function" and self._own is not None and self._own.running:
            raise ServerError(
                "this test has started a server already",
                evidence=f"it runs at {self._own.url}",
                remedy="stop it before the next one is started: servers that share a GPU disturb "
                "each other (with nsys_server.NAME(...) as server: ...)",
            )

    def _end_with(self, scope: Scope, stop: Callable[[], object]) -> None:
        """Have it stopped with the test, module, ... that is set up or runs at the moment."""
        # pytest has no public way to ask from a session's fixture which test is running.
        setup = self._session._setupstate
        nodes = [node for node in setup.stack if isinstance(node, _NODES[scope])]
        setup.addfinalizer(stop, nodes[-1] if nodes else self._session)


@contextmanager
def nsys_server_of(session: pytest.Session) -> Iterator[NsysServer]:
    """The fixture's value; without a run that measures, its servers run without nsys."""
    with context_of(session) as context:
        yield NsysServer(session, context)


def start_ready(context: ServerContext, spec: ServerSpec, ready_timeout: float) -> ServerProcess:
    """A server, started and waited for; what it is at meanwhile is shown.

    Args:
        context: what it is started with.
        spec: what to start.
        ready_timeout: seconds until it must be ready.

    Raises:
        ServerError: it cannot be started, or is not ready in time.
    """
    marked = context.current.nsys_args if context.current is not None else ()
    limit = context.deadline_s
    process = start_server(
        spec,
        context.folder,
        nsys=context.nsys,
        nsys_args=(*context.nsys_args, *marked),
        deadlines=ServerDeadlines(launch=limit, ready=ready_timeout, tool=limit),
    )
    seen = ""

    def watch(startup: Startup) -> None:
        nonlocal seen
        what = startup.stage or STARTING
        context.show(f"{spec.name}: {startup.doing} ({startup.seconds:.0f} s)", what != seen)
        seen = what

    try:
        process.wait_until_ready(watch=watch)
    except BaseException:
        process.stop()
        raise
    finally:
        context.show("", False)
    took = process.startup.seconds
    longest = time_words(process.startup.times, _WORTH * took) if process.startup.stage else ""
    context.say(f"{spec.name}: ready after {took:.1f} s" + (f" ({longest})" if longest else ""))
    if context.current is not None:
        for stage, seconds in process.startup.times.items():
            context.current.add_seconds(f"{spec.name}: {stage}", seconds)
    return process
