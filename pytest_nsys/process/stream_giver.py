"""Gives its own stdin and stdout to a program that is started elsewhere, below nsys.

Who speaks with a program by its standard streams starts this in the program's place, because nsys
owns the streams of what it starts. The exec shim below nsys (`pytest_nsys.process.exec_shim`) finds
it by the files in the folder that both are told: it opens what this has open, and this then ends.

It is run by path with ``python -S -E`` and imports only the standard library.
"""

import os
import sys

GIVER = "giver.pid"
"""The file, in the folder, with the process id of what gives its streams."""

TAKEN = "streams-taken"
"""A named pipe: opened for reading it waits for who takes the streams, and ends when it has."""


def offer(folder: str) -> None:
    """Wait until somebody has taken the streams of this process.

    Raises:
        FileNotFoundError: nobody will.
    """
    with open(f"{folder}/{GIVER}", "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(str(os.getpid()))
    with open(f"{folder}/{TAKEN}", "rb") as taken:  # noqa: PTH123
        if not taken.read():
            raise FileNotFoundError(f"{folder}: the program was not started")


def take(folder: str) -> None:
    """Make the streams that are offered those of this process; wait until they are."""
    with open(f"{folder}/{TAKEN}", "wb") as taken:  # noqa: PTH123
        with open(f"{folder}/{GIVER}", encoding="utf-8") as file:  # noqa: PTH123
            giver = int(file.read())
        for fd, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY)):
            # A pipe, that is opened once more.
            stream = os.open(f"/proc/{giver}/fd/{fd}", mode)
            os.dup2(stream, fd)
            os.close(stream)
        taken.write(b"taken")


if __name__ == "__main__":
    try:
        offer(sys.argv[1])
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from None
