"""The functions of the standard library as they were before any code under test ran.

Tests replace what they like: ``os.getpid``, ``time.sleep``, ``builtins.open``; some forget to put
it back. What runs beside them calls these instead. They are attributes of a class because freezegun
and pyfakefs replace what they know in the globals of every module that is loaded.
"""

from __future__ import annotations

import ctypes
import gc
import io
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time


class own:  # noqa: N801  (read like a module: own.getpid())
    """Functions to call from what runs in one process with code under test."""

    # time-machine replaces what every reference to time.monotonic calls, and leaves this alone. On
    # Linux it is the same clock.
    clock = staticmethod(time.perf_counter)
    clock_ns = staticmethod(time.perf_counter_ns)
    time_ns = staticmethod(time.time_ns)
    sleep = staticmethod(time.sleep)

    getpid = staticmethod(os.getpid)
    getppid = staticmethod(os.getppid)
    kill = staticmethod(os.kill)
    open_fd = staticmethod(os.open)
    fdopen = staticmethod(os.fdopen)
    read = staticmethod(os.read)
    write = staticmethod(os.write)
    close = staticmethod(os.close)
    fstat = staticmethod(os.fstat)
    lstat = staticmethod(os.lstat)
    unlink = staticmethod(os.unlink)
    make_pipe = staticmethod(os.mkfifo)
    statvfs = staticmethod(os.statvfs)
    listdir = staticmethod(os.listdir)
    register_at_fork = staticmethod(os.register_at_fork)
    set_blocking = staticmethod(os.set_blocking)

    select = staticmethod(select.select)
    move = staticmethod(shutil.move)
    remove_tree = staticmethod(shutil.rmtree)
    make_folder = staticmethod(tempfile.mkdtemp)
    which = staticmethod(shutil.which)
    signal_of = staticmethod(signal.Signals)
    threads = staticmethod(threading.enumerate)
    collect_garbage = staticmethod(gc.collect)

    File = io.FileIO
    Popen = subprocess.Popen
    Library = ctypes.CDLL
    Thread = threading.Thread
    Timer = threading.Timer
    Event = threading.Event

    to_json = staticmethod(json.dumps)
    from_json = staticmethod(json.loads)


def read_bytes(path: str) -> bytes:
    """What a file holds.

    Raises:
        OSError: it cannot be read.
    """
    with own.File(path) as file:
        return file.read()
