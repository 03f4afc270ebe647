"""What plugins that are not installed here keep for one call: their fixtures, as far as it goes."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from _pytest.doctest import DoctestItem

from pytest_nsys.worker.renewal import Renewal


def of_kind(name: str, **values: Any) -> Any:
    """An object whose type has this name."""
    module, _, qualname = name.rpartition(".")
    made = type(qualname, (), {"__module__": module, "__qualname__": qualname})()
    vars(made).update(values)
    return made


def item(plugins: dict[str, object] | None = None, **fixtures: object) -> Any:
    """A test with these fixtures, beside these plugins."""
    modules = [one for name, one in (plugins or {}).items() if name != "allure_listener"]
    return SimpleNamespace(
        user_properties=[],
        funcargs=fixtures,
        config=SimpleNamespace(
            pluginmanager=SimpleNamespace(
                get_plugin=(plugins or {}).get, get_plugins=lambda: modules
            ),
            hook=mock.Mock(),
        ),
    )


def test_fixtures_that_are_used_once_are_used_once_a_call() -> None:
    benchmark = of_kind("pytest_benchmark.fixture.BenchmarkFixture", _mode=None)
    codspeed = of_kind("pytest_codspeed.plugin.BenchmarkFixture", _called=False)
    snapshot = of_kind("syrupy.assertion.SnapshotAssertion", _executions=0, _execution_results={})
    renewal = Renewal(item(benchmark=benchmark, codspeed=codspeed, snapshot=snapshot, other=3))
    benchmark._mode, codspeed._called = "benchmark(...)", True
    snapshot._executions, snapshot._execution_results[0] = 1, "x"
    renewal.before_part()
    assert codspeed._called, "the body goes on"
    renewal.before_call()
    assert (benchmark._mode, codspeed._called) == (None, False)
    assert (snapshot._executions, snapshot._execution_results) == (0, {})


def test_mocks_of_the_body_are_undone_and_those_of_fixtures_count_from_zero() -> None:
    early, late, patch = mock.Mock(), mock.Mock(), mock.Mock()
    cache = [SimpleNamespace(mock=early, patch=None)]
    mocker = of_kind("pytest_mock.plugin.MockerFixture", _mock_cache=SimpleNamespace(cache=cache))
    own = mock.Mock()
    called = mock.Mock()
    called()
    renewal = Renewal(item(mocker=mocker, own=own, called=called))
    cache.append(SimpleNamespace(mock=late, patch=patch))
    early()
    own()
    renewal.before_call()
    assert [one.mock for one in cache] == [early]
    early.assert_not_called()
    own.assert_not_called()
    called.assert_called_once_with()
    patch.stop.assert_called_once_with()


@pytest.mark.parametrize("limit", [3.0, 0, None])
def test_a_limit_is_that_of_a_call(limit: float | None) -> None:
    settings = SimpleNamespace(timeout=limit)
    timeout = SimpleNamespace(__name__="pytest_timeout", _get_item_settings=lambda item: settings)
    test = item({"timeout": timeout})
    Renewal(test).before_part()
    hook = test.config.hook
    assert hook.pytest_timeout_set_timer.call_count == bool(limit)
    assert hook.pytest_timeout_cancel_timer.call_count == bool(limit)


def test_seeds_are_set_and_what_allure_was_told_is_forgotten() -> None:
    result = SimpleNamespace(steps=["of a fixture"], attachments=[])
    logger = SimpleNamespace(get_test=lambda uuid: result)
    randomly = mock.Mock(__name__="pytest_randomly")
    test = item({"randomly": randomly, "allure_listener": SimpleNamespace(allure_logger=logger)})
    renewal = Renewal(test)
    result.steps.append("of the first call")
    renewal.before_call()
    assert result.steps == ["of a fixture"]
    randomly.pytest_runtest_call.assert_called_once_with(test)


VALUES = {"name": "plain"}


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patch that is older than the body."""
    monkeypatch.setitem(VALUES, "name", "fixture's")


def test_what_pytest_keeps_for_a_test_is_that_of_one_call(
    named: None,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    request: pytest.FixtureRequest,
) -> None:
    (tmp_path / "of a fixture").mkdir()
    record_property("of a fixture", 1)
    here, paths = Path.cwd(), [*sys.path]
    renewal = Renewal(request.node)
    for _ in range(3):
        print("printed")
        logging.getLogger().warning("logged")
        warnings.warn("warned", stacklevel=1)
        record_property("of the body", 2)
        (tmp_path / "of a fixture/new").mkdir()
        (tmp_path / "file").touch()
        monkeypatch.setitem(VALUES, "name", "body's")
        monkeypatch.setattr(sys, "argv", [])
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        assert len(recwarn) == len(caplog.records) == 1
        renewal.before_call()
        assert [path.name for path in tmp_path.rglob("*")] == ["of a fixture"]
        assert (Path.cwd(), sys.path, VALUES["name"]) == (here, paths, "fixture's")
        assert request.node.user_properties == [("of a fixture", 1)]
        assert capsys.readouterr().out == ""
        assert sys.argv


def test_levels_that_the_body_sets_are_set_back_and_those_of_fixtures_stay(
    caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    caplog.set_level(logging.ERROR, "of a fixture")
    renewal = Renewal(request.node)
    disabled, handler = logging.root.manager.disable, caplog.handler.level
    for _ in range(2):
        assert logging.getLogger("of a fixture").level == logging.ERROR
        assert logging.getLogger("of the body").level == logging.NOTSET
        assert (logging.root.manager.disable, caplog.handler.level) == (disabled, handler)
        caplog.set_level(logging.DEBUG, "of a fixture")
        caplog.set_level(logging.DEBUG, "of the body")
        logging.disable(logging.CRITICAL)
        renewal.before_call()


def test_a_doctest_has_the_names_that_it_began_with() -> None:
    names = {"f": 1}
    test = mock.Mock(spec=DoctestItem, dtest=SimpleNamespace(globs=names), user_properties=[])
    test.config.pluginmanager.get_plugins.return_value = []
    test.config.pluginmanager.get_plugin.return_value = None
    test.funcargs = {}
    renewal = Renewal(test)
    names.clear()
    names["n"] = 2
    renewal.before_call()
    assert names == {"f": 1}
