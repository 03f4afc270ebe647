"""C++ names of kernels as the compiler has mangled them: CUPTI and ncu give these."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from pytest_nsys.support.own import own

_LIBRARY = "libstdc++.so.6"


@cache
def _demangler() -> Callable[[bytes], str | None]:
    """libstdc++'s, which every process with a framework has; of none, no name is demangled."""
    try:
        library, c = own.Library(_LIBRARY), own.Library(None)
    except OSError:
        return lambda _: None
    function: Any = library.__cxa_demangle
    function.restype = ctypes.c_void_p
    function.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    free: Any = c.free
    free.argtypes = (ctypes.c_void_p,)

    def demangle(name: bytes) -> str | None:
        found = function(name, None, None, None)
        if not found:
            return None
        text = ctypes.string_at(found).decode("utf-8", "replace")
        free(found)
        return text

    return demangle


def demangled(raw: str) -> str:
    """The name as a person writes it; what is no mangled name, or cannot be read, stays."""
    if not raw.startswith("_Z"):
        return raw
    return _demangler()(raw.encode("utf-8", "replace")) or raw
