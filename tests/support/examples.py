"""How many examples hypothesis tries."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.support.harness import TESTS

# A first example imports what the others find imported: how long one takes says nothing.
settings.register_profile("usual", deadline=None)
settings.register_profile("fuzz", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", deadline=None, max_examples=10)
settings.load_profile("usual")


def pytest_collectstart(collector: pytest.Collector) -> None:
    """A module's tests have the profile that is loaded when it is imported."""
    if isinstance(collector, pytest.Module):
        usual = "fuzz" if collector.path.is_relative_to(TESTS / "fuzz") else "usual"
        settings.load_profile(collector.config.getoption("hypothesis_profile", None) or usual)
