"""The event log that the simulated GPU and the simulated NVTX write: one JSON line per call.

The file is named by the environment variable ``SIMGPU_LOG``. Without that variable, and when the
file is gone because the capture is over, nothing is written. Each line is one ``write`` to a file
opened with ``O_APPEND``, so the lines of threads and of child processes never mix.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

LOG_VARIABLE = "SIMGPU_LOG"
_PF_FORKNOEXEC = 0x40  # the kernel's mark on a process that was forked and has not called exec


class own:  # noqa: N801
    """What this calls, however the code under test replaces it."""

    getpid = staticmethod(os.getpid)
    open_fd = staticmethod(os.open)
    write = staticmethod(os.write)
    thread = staticmethod(threading.get_native_id)
    to_json = staticmethod(json.dumps)
    # time-machine stops the other clocks; on Linux this one is CLOCK_MONOTONIC, too.
    clock_ns = staticmethod(time.perf_counter_ns)
    sleep = staticmethod(time.sleep)


_lock = threading.Lock()
_opened: tuple[str, int, int] | None = None  # (path, pid, file descriptor)


_file = ""


def _log() -> str:
    """The file, once it is known; as real libraries do, this asks no more from then on."""
    global _file
    _file = _file or os.environ.get(LOG_VARIABLE, "")
    return _file


def enabled() -> bool:
    """Whether a capture is running."""
    return bool(_log())


def emit(kind: str, **fields: object) -> None:
    """Append one record, with the process and the thread that it comes from."""
    path = _log()
    if not path:
        return
    descriptor = _descriptor(path, own.getpid())
    if descriptor is not None:
        _write(descriptor, kind, fields)


def _descriptor(path: str, pid: int) -> int | None:
    global _opened
    with _lock:
        if _opened is not None and _opened[:2] == (path, pid):
            return _opened[2]
        try:
            descriptor = own.open_fd(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError:
            return None
        _opened = (path, pid, descriptor)
        _write(descriptor, "process", {"name": sys.executable, "forked": _is_forked()})
        return descriptor


def _write(descriptor: int, kind: str, fields: dict[str, object]) -> None:
    record = {"kind": kind, "pid": own.getpid(), "tid": own.thread(), **fields}
    own.write(descriptor, (own.to_json(record) + "\n").encode())


def _is_forked() -> bool:
    """Whether this process is a fork that has not called exec (nsys does not see those)."""
    try:
        stat = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = stat.rpartition(")")[2].split()[6]
    return bool(int(flags) & _PF_FORKNOEXEC)


def _unlock_in_child() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock_in_child)
