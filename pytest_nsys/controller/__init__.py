"""The controller: the pytest that the user started, in a run that measures."""

from pytest_nsys.controller.checks import check_conflicts
from pytest_nsys.controller.hooks import Controller

__all__ = ["Controller", "check_conflicts"]
