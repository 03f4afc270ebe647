"""Streams that a process gives to another, which is not its child."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_nsys.process.environment import private_environment
from pytest_nsys.process.shim_command import offer_streams, withdraw_streams, write_shim_command
from tests.support.harness import until


@pytest.fixture
def streams(tmp_path: Path) -> Path:
    """An empty folder, at the end of a path that is longer than a socket's may be."""
    folder = tmp_path / ("long" * 30) / "streams"
    folder.mkdir(parents=True)
    return folder


def give(command: list[str]) -> subprocess.Popen[bytes]:
    """Start what gives, with what comes behind it."""
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, "-u", "-c", "pass"], stdin=pipe, stdout=pipe, stderr=pipe)


@pytest.mark.parametrize("first", ["giver", "taker"])
def test_who_speaks_with_the_giver_speaks_with_the_command(
    tmp_path: Path, streams: Path, first: str
) -> None:
    command = offer_streams(streams)
    upper = "import sys; [print(line.upper(), end='', flush=True) for line in sys.stdin]"
    shim = write_shim_command(
        tmp_path,
        [sys.executable, "-c", upper],
        environment={},
        pid_file="pid",
        streams=str(streams),
    )

    def take() -> subprocess.Popen[bytes]:
        return subprocess.Popen(shim, env=private_environment(tmp_path), stdin=subprocess.DEVNULL)

    if first == "giver":
        giver = give(command)
        until(lambda: (streams / "giver.pid").exists())
        taker = take()
    else:
        taker = take()
        until(lambda: (tmp_path / "pid").exists())
        giver = give(command)
    assert giver.communicate(b"one\ntwo\n")[0] == b"ONE\nTWO\n"
    assert (giver.wait(), taker.wait()) == (0, 0)


@pytest.mark.parametrize("waits", [True, False])
def test_a_giver_whose_streams_nobody_takes_ends(streams: Path, waits: bool) -> None:
    command = offer_streams(streams)
    if waits:
        giver = give(command)
        until(lambda: (streams / "giver.pid").exists())
    withdraw_streams(streams)
    withdraw_streams(streams)
    if not waits:
        giver = give(command)
    assert giver.communicate()[0] == b""
    assert giver.returncode == 1
