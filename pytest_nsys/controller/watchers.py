"""Plugins that watch tests in the process that runs them, shown here what became of measured ones.

Most plugins read the reports that are logged here, as they do beside pytest-xdist. A few watch how
reports are made, and never see one made of a measured test: they are shown the final ones.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.worker.node import plugin_module

_DEPENDENCY = "pytest_dependency"
_ALLURE = "allure_listener"


class _Giver:
    """What "makes" the report that watchers are to see."""

    def __init__(self, report: pytest.TestReport) -> None:
        self._report = report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self) -> pytest.TestReport:
        """The report."""
        return self._report


def decided_by_dependencies(item: pytest.Item) -> pytest.TestReport | None:
    """The report of a test that pytest-dependency skips; None where it does not.

    It decides here, where the outcomes of all tests are known: the worker ran the test whatever
    became of those that it did not run.
    """
    plugin = plugin_module(item.config, _DEPENDENCY)
    if plugin is None:
        return None
    setup = _only(item, "pytest_runtest_setup", [plugin])
    call = pytest.CallInfo.from_call(lambda: setup(item=item), when="setup")
    if call.excinfo is None:
        return None
    return pytest.TestReport.from_item_and_call(item, call)


def show(item: pytest.Item, reports: Sequence[pytest.TestReport], workers: Path | None) -> None:
    """Show the final reports of a measured test to those who watch.

    Args:
        item: the test.
        reports: as they will be logged.
        workers: the folder with the folders of the run's workers; None where the test ran here.
    """
    own = [report for report in reports if not hasattr(report, "context")]
    dependency = plugin_module(item.config, _DEPENDENCY)
    listener: Any = item.config.pluginmanager.get_plugin(_ALLURE)
    if dependency is not None:
        _make(item, own, dependency)
    if listener is not None and workers is None:
        _make(item, own, listener)
    elif listener is not None and workers is not None:
        _only(item, "pytest_runtest_setup", [listener])(item=item)
        _make(item, own, listener)
        _only(item, "pytest_runtest_teardown", [listener])(item=item, nextitem=None)
        result = listener.allure_logger.get_test(None)  # the one that was begun last
        if result is not None:
            _adopt(result, workers, Path(item.config.getoption("allure_report_dir")))


def _make(item: pytest.Item, reports: Sequence[pytest.TestReport], watcher: object) -> None:
    for report in reports:
        giver = _Giver(report)
        item.config.pluginmanager.register(giver)
        try:
            make = _only(item, "pytest_runtest_makereport", [watcher, giver])
            make(item=item, call=_call_of(report))
        finally:
            item.config.pluginmanager.unregister(giver)


def _only(item: pytest.Item, name: str, plugins: Sequence[object]) -> Any:
    """The hook with the implementations of these plugins alone."""
    manager = item.config.pluginmanager
    others = [one for one in manager.get_plugins() if not any(one is kept for kept in plugins)]
    return manager.subset_hook_caller(name, remove_plugins=others)


def _call_of(report: pytest.TestReport) -> pytest.CallInfo[None]:
    """The call that the report could be of."""

    def call() -> None:
        if report.failed:
            raise pytest.fail.Exception(_headline(report))
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            raise pytest.skip.Exception(str(reason))

    return pytest.CallInfo.from_call(call, when=report.when)


def _headline(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(getattr(crash, "message", "") or report.longreprtext)


# Allure

_ITS_OWN = (
    "name",
    "description",
    "descriptionHtml",
    "steps",
    "attachments",
    "parameters",
    "links",
    "labels",
    "start",
    "stop",
)
"""What a worker's result of Allure knows better: what the test has said while it ran."""


def _adopt(result: Any, workers: Path, folder: Path) -> None:
    """Put into a result what the worker's of the same test has, with the final verdict.

    Args:
        result: of the test, with its final status.
        workers: the folder with those of the workers.
        folder: Allure's, for attachments and for what is said of fixtures.
    """
    for file in sorted(workers.glob("worker-*/allure/*-result.json"), key=_age):
        told = json.loads(file.read_text(encoding="utf-8"))
        if told.get("fullName") == result.fullName and _has_parameters(told, result):
            break
    else:
        return
    for name in _ITS_OWN:
        if told.get(name):
            setattr(result, name, told[name])
    if result.status == "failed" and told.get("status") in ("failed", "broken"):
        result.status, result.statusDetails = told["status"], told.get("statusDetails")
    for attachment in file.parent.glob("*-attachment*"):
        shutil.copy(attachment, folder)
    for container in file.parent.glob("*-container.json"):
        _adopt_container(container, told["uuid"], result.uuid, folder)


def _age(file: Path) -> float:
    """The newest first: of several sessions the last."""
    return -file.stat().st_mtime


def _has_parameters(told: Mapping[str, Any], result: Any) -> bool:
    has = {parameter["name"]: parameter.get("value") for parameter in told.get("parameters", [])}
    return all(has.get(one.name) == one.value for one in result.parameters)


def _adopt_container(file: Path, theirs: str, ours: str, folder: Path) -> None:
    """What a container says of the fixtures of a test, under the test's name here."""
    target = folder / file.name
    told = json.loads((target if target.exists() else file).read_text(encoding="utf-8"))
    children = told.get("children", [])
    if theirs in children:
        told["children"] = [ours if child == theirs else child for child in children]
        target.write_text(json.dumps(told), encoding="utf-8")
