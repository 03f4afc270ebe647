"""Mangled C++ names, as linkers and ncu have them, demangled."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


def demangled(name: str) -> str:
    """The name as c++filt writes it; the name itself where it is none of C++.

    The C++ library knows how: every CUDA library needs it. Without it, names stay as they are.
    """
    demangle = _demangler() if name.startswith("_Z") else None
    return name if demangle is None else demangle(name)


@functools.cache
def _demangler() -> Callable[[str], str] | None:
    try:
        library = ctypes.CDLL("libstdc++.so.6")
    except OSError:
        return None
    free = ctypes.CDLL(None).free
    free.argtypes, free.restype = (ctypes.c_void_p,), None
    # char* __cxa_demangle(const char* name, char* buffer, size_t* length, int* status), of which
    # the caller frees what is returned (Itanium C++ ABI, 3.4).
    function = library.__cxa_demangle
    function.argtypes = (ctypes.c_char_p, *[ctypes.c_void_p] * 3)
    function.restype = ctypes.c_void_p

    def demangle(name: str) -> str:
        found = function(name.encode(), None, None, None)
        if not found:
            return name
        try:
            return ctypes.string_at(found).decode()
        finally:
            free(found)

    return demangle
