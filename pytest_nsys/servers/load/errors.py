"""What can go wrong with a load."""

from __future__ import annotations

from pytest_nsys.errors import NsysError


class LoadError(NsysError):
    """A load cannot be sent as it is described: its schedule, target or dialect is wrong."""


class PromptsError(LoadError):
    """The prompts of a load, or the file that they are in, cannot be used."""


class HttpClientMissing(LoadError):
    """The HTTP client is not installed."""


class LoadStuck(LoadError):
    """A load did not end, although every request in it has a time limit."""


class LoadFailed(NsysError):
    """More of a load's requests failed than are allowed, or all of them."""
