"""Every planned test is accounted for: what has no report of its end fails."""

from __future__ import annotations

from tests.support.harness import Project

TESTS = """
    import pytest, simgpu

    @pytest.mark.nsys(rounds=1)
    @pytest.mark.parametrize("name", ["fine", "swallowed", "renamed", "passed over", "last"])
    def test_it(name):
        simgpu.launch("k", 10)
        assert name != "renamed"

    @pytest.mark.nsys(rounds=1)
    def test_taken():
        simgpu.launch("k", 10)
"""
PLUGIN = """
    import pytest
    from _pytest.runner import runtestprotocol

    def in_worker(config):
        return hasattr(config, "workerinput")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(item, nextitem):
        if in_worker(item.config) and item.name == "test_it[swallowed]":
            runtestprotocol(item, log=False, nextitem=nextitem)
            return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        if item.name == "test_it[renamed]" and call.when == "call":
            report.nodeid = "another"
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(session):
        if in_worker(session.config):
            session.items = [item for item in session.items if "passed over" not in item.name]

    class Takes:
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(self, item, nextitem):
            if item.name == "test_taken":
                runtestprotocol(item, nextitem=nextitem)
                return True

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(session):
        if not in_worker(session.config):
            session.config.pluginmanager.register(Takes())
"""


def test_a_test_without_a_report_fails(simulated: Project) -> None:
    simulated.write(TESTS)
    simulated.write(PLUGIN, "conftest.py")
    result = simulated.run("--nsys", "--junitxml=junit.xml")
    assert result.ret == 1
    result.assert_outcomes(passed=3, failed=1, errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "ERROR *swallowed* - the worker ended well (exit*",
            "FAILED *renamed* - the worker ended well (exit*",
            "ERROR *passed over* - the worker ended well (exit*",
            "not measured: *swallowed*and sent no report of its set-up",
            "not measured: *renamed*and sent no report of its call",
            "not measured: *passed over*and never came to this test",
            "not measured: *::test_taken: another plugin ran it*",
        ]
    )
    assert (simulated.path / "junit.xml").read_text().count("<testcase") == 6


def test_a_test_that_another_plugin_took_fails_the_run(simulated: Project) -> None:
    simulated.write(TESTS)
    simulated.write(PLUGIN, "conftest.py")
    result = simulated.run("--nsys", "-k", "taken or last")
    result.assert_outcomes(passed=2, deselected=4)
    assert result.ret == 1
