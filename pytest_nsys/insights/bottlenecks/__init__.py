"""Diagnosis: what keeps a window from being faster, as named findings with their evidence."""

from pytest_nsys.insights.bottlenecks.finding import Finding
from pytest_nsys.insights.bottlenecks.rules import RULES, diagnose

__all__ = ["RULES", "Finding", "diagnose"]
