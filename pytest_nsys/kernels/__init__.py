"""Which kernel a kernel is: pure functions of its name; and what its launch configuration allows.

A run knows its kernels by their demangled names, and these change when nothing that matters does:
a library picks another tile, a compiler counts its lambdas anew, a code generator numbers its
kernels.
"""

from pytest_nsys.kernels.canonical import canonical
from pytest_nsys.kernels.category import CATEGORIES, category
from pytest_nsys.kernels.match import KernelMatch, match

__all__ = ["CATEGORIES", "KernelMatch", "canonical", "category", "match"]
