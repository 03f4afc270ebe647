"""Reports as the worker sends them: what JSON does not have is sent as it would have been shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pytest_nsys.support.simple_values import as_shown

_CONTEXT = "_subtest.context"


def sent_report(config: pytest.Config, report: pytest.TestReport) -> dict[str, Any]:
    """A report in JSON form."""
    hook = config.hook.pytest_report_to_serializable
    data: dict[str, Any] = dict(hook(config=config, report=report))
    data["user_properties"] = [
        [str(name), as_shown(value)] for name, value in report.user_properties
    ]
    if isinstance(data.get(_CONTEXT), Mapping):
        # pytest makes texts of the parameters of subtests, pytest-subtests shows their texts.
        show = str if type(report).__module__.startswith("_pytest.") else repr
        context = data[_CONTEXT]
        shown = {str(name): show(value) for name, value in context["kwargs"].items()}
        data[_CONTEXT] = {**context, "kwargs": shown}
    return data


class Shown(str):
    """The text of a value of another process, which looks like the value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def received_report(config: pytest.Config, data: Mapping[str, Any]) -> pytest.TestReport:
    """The inverse of `sent_report`."""
    fields = dict(data)
    # JSON has no tuples, and pytest insists on some.
    if isinstance(fields.get("longrepr"), list):
        fields["longrepr"] = tuple(fields["longrepr"])
    fields["location"] = tuple(fields["location"])
    for name in ("sections", "user_properties"):
        fields[name] = [tuple(pair) for pair in fields.get(name, ())]
    if isinstance(fields.get(_CONTEXT), Mapping):
        context = fields[_CONTEXT]
        shown = {name: Shown(value) for name, value in context["kwargs"].items()}
        fields[_CONTEXT] = {**context, "kwargs": shown}
    report: pytest.TestReport = config.hook.pytest_report_from_serializable(
        config=config, data=fields
    )
    return report
