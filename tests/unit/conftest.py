"""How many examples hypothesis tries here (enough to find what there is, within a minute), and
the command.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings

from pytest_nsys.cli.main import main

settings.register_profile("unit", max_examples=60)
settings.load_profile("unit")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs ``pytest-nsys``; returns exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run
