"""Ports: one that is free, who holds one that is not, and waiting until it is free again."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import psutil

from pytest_nsys.errors import PortTaken
from pytest_nsys.support.own import own

_POLL_S = 0.05
_LOWEST, _HIGHEST = 10_000, 65_000
_TRIES = 100
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL = (32768, 60999)


def free_port(host: str) -> int:
    """A port that nobody listens on, and that the kernel gives to nobody else meanwhile.

    An engine opens its port long after it was started. Until then the kernel may give a port of
    its own choice to any connection, even to the one that asks whether the engine is ready; so the
    port is none of those that the kernel chooses from.
    """
    first, last = _kernels_own()
    others = [port for port in range(_LOWEST, _HIGHEST + 1) if not first <= port <= last]
    for port in random.sample(others, min(_TRIES, len(others))):
        if is_free(host, port):
            return port
    with socket.create_server((host, 0)) as listener:
        chosen: int = listener.getsockname()[1]
        return chosen


def _kernels_own() -> tuple[int, int]:
    """The first and the last of the ports that the kernel chooses from."""
    try:
        first, last = _RANGE.read_text(encoding="ascii").split()
        return int(first), int(last)
    except (OSError, ValueError):
        return _USUAL


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    try:
        with socket.create_server((host, port)):
            return True
    except OSError:
        return False


def demand_free(host: str, port: int) -> None:
    """A server can listen there.

    Raises:
        PortTaken: it cannot; the process that does is named where it can be seen.
    """
    if is_free(host, port):
        return
    raise PortTaken(
        f"port {port} of {host} is taken",
        evidence=holder(port),
        remedy="end that process, ask for another port, or leave the choice to the plugin "
        "(no port=)",
    )


def holder(port: int) -> str:
    """Who listens on a port, in words."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        connections = []
    for one in connections:
        if one.status != psutil.CONN_LISTEN or not one.laddr or one.laddr.port != port:
            continue
        if one.pid is None:  # somebody else's
            break
        return f"process {one.pid} listens there: {_command(one.pid)}"
    return "it cannot be seen who listens there: a process of another user, or no port of a server"


def _command(pid: int) -> str:
    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        return "(it has ended meanwhile)"
    return " ".join(words)[:200]


def wait_until_free(host: str, port: int, within_s: float) -> bool:
    """Wait until nobody listens there; returns whether that is so."""
    deadline = own.clock() + within_s
    while not is_free(host, port):
        if own.clock() >= deadline:
            return False
        own.sleep(_POLL_S)
    return True
