"""What can go wrong with a server, one exception per cause."""

from __future__ import annotations

from pytest_nsys.errors import CaptureError, NsysError


class ServerError(NsysError):
    """Base of every error about a server that is started or measured."""


class PresetError(ServerError):
    """A preset cannot be registered."""


class UnknownPreset(ServerError):
    """No preset has this name."""


class LaunchError(ServerError):
    """What a server is to be started with contradicts itself, or something is missing."""


class CommandMissing(ServerError):
    """The server's program is not installed here."""


class CommandFailed(ServerError):
    """A plain command ended with an exit code that says so."""


class PortTaken(ServerError):
    """Somebody else listens on the port."""


class ServerFailed(ServerError):
    """The server ended before it was ready."""


class ServerNotReady(ServerError):
    """The server was not ready in its time."""


class ServerDied(ServerError):
    """The server, or the nsys around it, ended after it had been ready."""


class EndpointFailed(ServerError):
    """The engine refused to start or stop its profiler."""


class WindowError(ServerError):
    """A window is asked for something that it has not, or opened where it cannot be."""


class SessionError(ServerError):
    """Base of the errors about sessions of nsys."""


class NsysTooOld(SessionError):
    """This nsys cannot start and stop collecting around a program that goes on."""


class SessionTaken(SessionError):
    """Another nsys has a session of this name."""


class SessionMissing(SessionError):
    """There is no session of this name, or no program in it."""


class SessionBusy(SessionError):
    """The session collects already."""


class CollectionFailed(CaptureError):
    """nsys did not begin or end a collection as it was told to."""
