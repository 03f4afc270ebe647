"""Reports that are held back: read from the worker's events, and changed by what a capture says."""

from __future__ import annotations

import builtins
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_nsys.capture.result import RanTest
    from pytest_nsys.verdict.verdict import Verdict


def make_report(item: pytest.Item, when: str, outcome: Any, longrepr: Any) -> pytest.TestReport:
    """A report of our own on one phase of a test."""
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome=outcome,
        longrepr=longrepr,
        when=when,  # type: ignore[arg-type]
    )


def lost_report(item: pytest.Item, ran: RanTest) -> pytest.TestReport:
    """The report of the phase in which the test's worker died."""
    from pytest_nsys.report.longrepr import explain_text

    done = [report["when"] for report in ran.reports]
    phase = "teardown" if "call" in done else "call" if "setup" in done else "setup"
    return make_report(item, phase, "failed", explain_text(ran.lost, item.location))


def failed_by(
    item: pytest.Item,
    reports: list[pytest.TestReport],
    longrepr: Any,
    *,
    expected: bool = False,
) -> list[pytest.TestReport]:
    """The reports with the call phase failed, or failed as expected."""
    calls = [report for report in reports if _is_call(report)]
    if not any(report.when == "call" for report in reports):
        return [*reports, make_report(item, "call", "failed", longrepr)]
    for report in calls:
        if expected:
            marker = item.get_closest_marker("xfail")
            report.outcome = "skipped"
            report.wasxfail = marker.kwargs.get("reason", "") if marker else ""
        else:
            report.outcome = "failed"
            vars(report).pop("wasxfail", None)
        report.longrepr = longrepr
    return reports


def _is_call(report: pytest.TestReport) -> bool:
    return report.when == "call" and not hasattr(report, "context")  # that of a subtest


_MEASURED_BAD = ("regressed", "over budget", "violated")


def is_expected(item: pytest.Item, reports: Sequence[pytest.TestReport], verdict: Verdict) -> bool:
    """Whether a test that fails by a verdict was expected to fail.

    It fails as expected by a verdict just as by its body, where any exception would do; but not by
    a capture that is no good or a baseline that is missing, which say nothing of the test.
    """
    from pytest_nsys.capture.result import is_strict_pass

    markers = [*item.iter_markers("xfail")]
    any_error = not markers or any(marker.kwargs.get("raises") is None for marker in markers)
    passed_unexpectedly = any(
        _is_call(report) and (is_strict_pass(report.longrepr) or hasattr(report, "wasxfail"))
        for report in reports
    )
    bad = verdict.failed and verdict.status in _MEASURED_BAD
    return bad and any_error and passed_unexpectedly


def with_properties(
    reports: list[pytest.TestReport], properties: Sequence[tuple[str, object]]
) -> list[pytest.TestReport]:
    """The reports with more properties on that of the call and, for junitxml, on later ones."""
    for report in reports:
        if report.when != "setup" and not hasattr(report, "context"):
            report.user_properties = [*report.user_properties, *properties]
    return reports


def with_figure(reports: list[pytest.TestReport], figure: str) -> None:
    """The figure on the report of the call, for the test's line."""
    for report in reports:
        if _is_call(report):
            report.nsys_figure = figure  # type: ignore[attr-defined]


def word_with_figure(report: object, status: Any) -> Any:
    """What pytest, or another plugin, calls a report's outcome, with the test's figure behind it.

    Args:
        report: a report.
        status: category, letter, and word, which may be a pair of a word and its colours.
    """
    figure = getattr(report, "nsys_figure", "")
    if not figure or not status:
        return status
    category, letter, word = status
    if isinstance(word, tuple):
        return category, letter, (f"{word[0]} {figure}", *word[1:])
    return category, letter, f"{word} {figure}"


_SEEN = 16
"""Characters of a culprit's name by which one may know it."""


def told_in_short(reporter: Any) -> frozenset[str]:
    """The tests of whose failure pytest's short summary shows enough, so that ours need not.

    Of a test with a long id it shows nothing but that, unless it is not to cut anything off.
    """
    option = reporter.config.option
    if not reporter.hasopt("f") or reporter.no_summary:
        return frozenset()
    in_full = option.verbose >= 2 or any(os.environ.get(name) for name in ("CI", "BUILD_NUMBER"))
    if in_full and not getattr(option, "force_short_summary", False):
        room = sys.maxsize
    else:
        room = reporter._tw.fullwidth - len("FAILED  - ...") - _SEEN
    failed = (report.nodeid for report in reporter.stats.get("failed", ()))
    return frozenset(nodeid for nodeid in failed if len(nodeid) <= room)


def expected_by(reports: list[pytest.TestReport], reason: str) -> list[pytest.TestReport]:
    """The reports with the call phase failed as expected: an expected regression."""
    for report in reports:
        if _is_call(report) and report.passed:
            report.outcome = "skipped"
            report.wasxfail = reason
            report.longrepr = reason
    return reports


def teardown_report(item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    """Tear down here what the next test does not need of what earlier, unmeasured tests set up.

    pytest does this in each test's teardown; a measured test has none in this process.
    """
    state = item.session._setupstate
    call = pytest.CallInfo.from_call(
        lambda: state.teardown_exact(nextitem),
        when="teardown",
        reraise=(KeyboardInterrupt, pytest.exit.Exception),
    )
    if call.excinfo is None:
        return []
    report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
    return [report]


def pass_on_warning(config: pytest.Config, event: Mapping[str, Any]) -> None:
    """Record a warning of the worker's as one of this process."""
    message = warnings.WarningMessage(
        message=event["text"],
        category=warning_category(event["category"]),
        filename=event["filename"],
        lineno=event["lineno"],
    )
    config.hook.pytest_warning_recorded.call_historic(
        kwargs={
            "warning_message": message,
            "when": event["when"],
            "nodeid": event["nodeid"],
            "location": event["location"],
        }
    )


def warning_category(name: str) -> type[Warning]:
    """The built-in category of this name, or one that looks like the worker's own."""
    category = getattr(builtins, name, None)
    if isinstance(category, type) and issubclass(category, Warning):
        return category
    try:
        return type(name, (UserWarning,), {})
    except ValueError:  # it has characters that no name has
        return UserWarning
