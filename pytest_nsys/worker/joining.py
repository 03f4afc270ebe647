"""The plugin by which a `WorkerSession` joins the pytest that xdist configures in a worker.

It is named in PYTEST_PLUGINS, and a module of its own, since pytest warns of plugins that have been
imported before.
"""

import pytest

from pytest_nsys.worker import distributed


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the session: early enough for all hooks that it has."""
    distributed.add_session(pluginmanager)
