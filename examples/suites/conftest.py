"""What the suites share.

Nothing here imports a framework before a test asks for it: a replay needs none.
"""

from __future__ import annotations

import os
from typing import Any

import pytest


@pytest.fixture(scope="session")
def torch() -> Any:
    module = pytest.importorskip("torch")
    if not module.cuda.is_available():
        pytest.skip("needs a GPU")
    module.manual_seed(0)
    return module


@pytest.fixture(scope="session")
def slip() -> bool:
    """Whether each test makes its mistake: EXAMPLES_REGRESSION=1. Leave it out of a copy."""
    return os.environ.get("EXAMPLES_REGRESSION") == "1"
