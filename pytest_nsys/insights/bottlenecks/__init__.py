"""What keeps windows from being faster: bottlenecks by name, with their evidence."""

from pytest_nsys.insights.bottlenecks.bottleneck import Bottleneck
from pytest_nsys.insights.bottlenecks.rules import RULES, diagnose, diagnose_rounds

__all__ = ["RULES", "Bottleneck", "diagnose", "diagnose_rounds"]
