"""How kernels are named and classed: the built-in rules, or those with a site's own before them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_nsys.kernels import canonical, category


@dataclass(frozen=True)
class Naming:
    """Functions of a kernel's raw name.

    Attributes:
        canonical: the name under which runs are compared.
        category: the class of work it does.
    """

    canonical: Callable[[str], str] = canonical
    category: Callable[[str], str] = category
