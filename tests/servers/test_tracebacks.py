"""What a test's report shows of an error that came from deep inside this package."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest

from pytest_nsys.servers.context import ServerContext
from pytest_nsys.servers.engines.presets import preset_named
from pytest_nsys.servers.factory import NsysServer
from pytest_nsys.servers.tracebacks import end_in_users_code


def caught(function: Callable[[], Any]) -> BaseException:
    with pytest.raises(Exception) as error:  # noqa: PT011 - any
        function()
    return error.value


def names(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def test_it_ends_where_the_users_code_called() -> None:
    def user() -> None:
        preset_named("nosuch")

    error = caught(user)
    assert names(error)[-1] == "preset_named"
    assert error.__traceback__ is not None
    end_in_users_code(error.__traceback__)
    assert names(error)[-1] == "user"


def test_the_standard_library_between_is_left_out(tmp_path: Any) -> None:
    context = ServerContext(folder=tmp_path)

    def user() -> None:
        with context.capturing(None), NsysServer(None, context).nosuch:  # type: ignore[arg-type]
            pass

    def other() -> None:
        with context.capturing(None):  # type: ignore[arg-type]
            raise KeyError("of the user")

    error = caught(user)
    assert error.__traceback__ is not None
    end_in_users_code(error.__traceback__)
    assert names(error)[-1] == "user"
    error = caught(other)
    assert error.__traceback__ is not None
    before = names(error)
    end_in_users_code(error.__traceback__)
    assert names(error) == before
