"""What other plugins find in the worker, and what they see of measured tests here."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest
from coverage import CoverageData

from tests.support.harness import Project
from tests.support.seen import Story

MEASURED = """
    import pytest, simgpu
    from story import tell

    pytestmark = pytest.mark.nsys(rounds=1, warmup=0)

    @pytest.mark.parametrize("number", range(4))
    def test_chosen(number):
        tell(f"ran {number}")
        simgpu.launch("gemm", 10)
"""


@pytest.mark.usefixtures("own_process")
def test_the_worker_is_one_of_xdist_for_plugins_that_ask_whether_that_is_there(
    simulated: Project, story: Story
) -> None:
    simulated.write(MEASURED, "test_b.py")
    simulated.write("def test_unmeasured(): pass", "test_a.py")
    simulated.write(
        """
        import os
        import pytest
        from story import tell

        os.environ["IMPORTED"] = str(int(os.environ.get("IMPORTED", 0)) + 1)

        class Hooks:
            def pytest_configure_node(self, node):
                assert node.gateway.id == node.workerinput["workerid"] == "gw0"
                node.workerinput = {"seed": {1: (2, b"3")}}

            def pytest_testnodedown(self, node, error):
                output = node.workeroutput
                tell(f"{node!r} {error} {output['found']} {'lost' in output}")

        def pytest_configure(config):
            if config.pluginmanager.hasplugin("xdist"):
                config.pluginmanager.register(Hooks())
            assert config.getoption("dist") == "no" and not config.getoption("numprocesses")

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_collection_modifyitems(items):
            yield
            items[:] = items[: len(items) // 2 + 1]
            items.reverse()

        @pytest.fixture(scope="session", autouse=True)
        def elsewhere(tmp_path_factory, request):
            tell(f"in {os.path.basename(os.getcwd())}, imported {os.environ['IMPORTED']} times")
            os.chdir(tmp_path_factory.mktemp("elsewhere"))
            os.environ.clear()

        def pytest_sessionfinish(session):
            config = session.config
            if hasattr(config, "workerinput"):
                given = config.workerinput
                tell(f"{given['seed']} {given['workercount']} {len(given['testrunuid'])}")
                config.workeroutput.update(found={(1, 2)}, lost=object())
        """,
        "conftest.py",
    )
    ignored = "ignore::pytest.PytestConfigWarning"
    result = simulated.run("--nsys", "-p", "no:xdist", "-W", ignored)
    result.assert_outcomes(passed=3, warnings=1)
    result.stdout.fnmatch_lines(["*workeroutput?'lost'? was not sent to the controller: *"])
    folder = f"in {simulated.path.name}, imported 1 times"
    told = story.lines()
    ran = [line.partition(": ")[2] for line in told if ": ran " in line]
    assert ran == ["ran 1", "ran 0"] or len(ran) == 2
    assert [line.partition(": ")[2] for line in told if ": in " in line] == [folder] * 2
    assert any(line.endswith("{1: (2, b'3')} 1 32") for line in told)
    assert any(line.endswith("<WorkerNode gw0> None {(1, 2)} False") for line in told)


def test_what_cannot_be_sent_to_a_worker_fails_its_tests_and_is_named(simulated: Project) -> None:
    simulated.write(MEASURED.replace("from story import tell", "tell = print"))
    simulated.write(
        """
        import pytest

        @pytest.hookimpl(optionalhook=True)
        def pytest_configure_node(node):
            node.workerinput["lock"] = object()
        """,
        "conftest.py",
    )
    result = simulated.run("--nsys", "-k", "chosen and 1")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(["workerinput?'lock'? cannot be sent to the worker"])


ONE_CALL = """
    import logging, os, unittest, warnings
    import numpy, pytest, simgpu

    pytestmark = pytest.mark.nsys(rounds=2, warmup=1)
    VALUES = {"name": "plain"}

    @pytest.fixture
    def named(monkeypatch):
        monkeypatch.setitem(VALUES, "name", "fixture's")

    def test_one_call(
        named, capsys, caplog, recwarn, monkeypatch, tmp_path, record_property, request
    ):
        simgpu.launch("gemm", 10)
        print("printed")
        logging.getLogger().warning("logged")
        warnings.warn("warned")
        assert capsys.readouterr().out == "printed\\n"
        assert [record.message for record in caplog.records] == ["logged"]
        assert [str(one.message) for one in recwarn] == ["warned"]
        print("not read")
        assert VALUES["name"] == "fixture's"
        monkeypatch.setitem(VALUES, "name", "patched")
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/file").touch()
        monkeypatch.chdir(tmp_path / "folder")
        record_property("numpy", numpy.int64(7))
        record_property("pair", (1, 2))

    class Test(unittest.TestCase):
        def test_parts(self):
            simgpu.launch("gemm", 10)
            for part in (1, "two"):
                with self.subTest(part=part):
                    self.assertEqual(part, 1)

    @pytest.mark.nsys(allow_empty=True)
    def test_parts_of_a_fixture(subtests):
        with subtests.test(kind=numpy.float32, pair=(1, "b")):
            raise ValueError
"""


DOCTESTED = """
    def f(n):
        '''
        >>> m = n = 2
        >>> f(n)
        2
        '''
        return n
"""


@pytest.mark.usefixtures("own_process")
def test_state_of_one_call_is_that_of_one_call_and_values_are_shown_as_in_a_plain_run(
    simulated: Project,
) -> None:
    simulated.write(DOCTESTED, "doctested.py")
    simulated.write(ONE_CALL)
    simulated.write(
        """
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                if isinstance(item, pytest.DoctestItem):
                    item.add_marker(pytest.mark.nsys(allow_empty=True))
        """,
        "conftest.py",
    )
    arguments = ("--doctest-modules", "--junitxml=junit.xml", "-o", "junit_family=xunit1")
    seen = []
    for options in ((), ("--nsys",)):
        result = simulated.run(*arguments, *options)
        summary = result.stdout.str().partition("short test summary info")[2].splitlines()
        cases = ElementTree.parse(simulated.path / "junit.xml").iter("testcase")
        properties = [
            (case.get("name"), one.get("name"), one.get("value"))
            for case in cases
            for one in case.iter("property")
            if not str(one.get("name")).startswith("nsys.")
        ]
        seen.append((result.parseoutcomes(), summary[1:-1], properties))
    (plain, plain_summary, plain_properties), (outcomes, summary, found) = seen
    assert {**plain, "warnings": 0} == {**outcomes, "warnings": 0}
    assert plain_summary == summary
    assert (
        plain_properties
        == found
        == [
            ("test_one_call", "numpy", "7"),
            ("test_one_call", "pair", "(1, 2)"),
        ]
    )


def test_options_and_marks_that_cannot_be_had_are_refused_and_retries_are_noted(
    simulated: Project,
) -> None:
    simulated.write(
        """
        import pytest

        def pytest_addoption(parser):
            parser.addoption("--forked", action="store_true")
            parser.addoption("--parallel-threads", default=1)
            parser.addoption("--reruns", type=int)

        def pytest_configure(config):
            config.addinivalue_line("markers", "forked: in a child")
        """,
        "conftest.py",
    )
    simulated.write(
        """
        def pytest_configure(config):
            config.addinivalue_line("markers", "flaky(reruns=1): once more")

        def pytest_runtest_protocol(item):
            raise AssertionError("it is left out")
        """,
        "pytest_rerunfailures.py",
    )
    body = """
        import pytest, simgpu
        @pytest.mark.nsys(rounds=1, warmup=0)
        {}
        def test_it():
            simgpu.launch('gemm', 10)
    """
    simulated.write(body.format(""))
    for option, words in (
        ("--forked", "--forked (pytest-forked) cannot be used while tests are profiled: *"),
        ("--parallel-threads=4", "--parallel-threads (pytest-run-parallel) cannot be used *"),
    ):
        result = simulated.run("--nsys", option)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: {words}", "What to do: leave out *"])
    simulated.write(body.format("@pytest.mark.forked"))
    result = simulated.run("--nsys")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_it.py::test_it is marked forked and cannot be measured*"])
    simulated.write(body.format("@pytest.mark.flaky(reruns=2)"))
    result = simulated.run("--nsys", "--strict-markers", "-p", "pytest_rerunfailures")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "note: measured tests are not rerun when they fail: 1 would be",
            "  (pytest-rerunfailures)",
        ]
    )


def test_values_of_the_configuration_may_have_types(simulated: Project) -> None:
    simulated.write(MEASURED.replace("from story import tell", "tell = print"))
    (simulated.path / "pytest.ini").unlink()
    pyproject = """
        [tool.pytest]
        nsys = true
        nsys_rounds = 3
        nsys_timeout = 60.5
        nsys_timeline = false
        nsys_confirm = 0
        nsys_tolerance = "gpu.kernel_time=5%"
        {}
    """
    simulated.write(pyproject.format(""), "pyproject.toml")
    result, tests = simulated.results("-k", "chosen and 1")
    result.assert_outcomes(passed=1, deselected=3)
    assert len(tests) == 1
    for line, words in (
        ("nsys_baseline = 'perhaps'", "nsys_baseline is 'perhaps'"),
        ("nsys_device = {a = 1}", "nsys_device is {'a': 1}"),
        ("nsys_args = 1979-05-27", "nsys_args is datetime.date(1979, 5, 27)"),
    ):
        simulated.write(pyproject.format(line), "pyproject.toml")
        result = simulated.run("-k", "chosen and 1")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: {words}", "What to do: give *"])


def test_plugins_that_watch_reports_being_made_see_the_final_ones(simulated: Project) -> None:
    """Allure has one result a test; dependencies hold between measured tests and others."""
    simulated.write(
        """
        import allure, pytest, simgpu

        pytestmark = pytest.mark.nsys(rounds=2, warmup=0, budget={"gpu.kernel_time": "500 us"})

        @pytest.fixture
        def made():
            return 1

        @allure.title("with a title")
        @pytest.mark.parametrize("size", [1, 2])
        def test_slow(size, made):
            with allure.step("launch"):
                simgpu.launch("gemm", 400 * size)
            allure.attach("what it saw", "note", allure.attachment_type.TEXT)

        def test_broken():
            raise ValueError("broken")

        @pytest.mark.nsys(allow_empty=True)
        def test_needs_slow():
            pass
        """
    )
    simulated.write(
        """
        import pytest

        class Dependency:
            __name__ = "pytest_dependency"
            failed = set()

            @pytest.hookimpl(hookwrapper=True)
            def pytest_runtest_makereport(self, item):
                outcome = yield
                if outcome.get_result().failed:
                    self.failed.add(item.name)

            def pytest_runtest_setup(self, item):
                if "needs" in item.name and "test_slow[2]" in self.failed:
                    pytest.skip("test_slow[2] failed")

        def pytest_configure(config):
            if not hasattr(config, "workerinput"):
                config.pluginmanager.register(Dependency())
        """,
        "conftest.py",
    )
    result = simulated.run("--nsys", "-p", "allure_pytest", "--alluredir=allure")
    result.assert_outcomes(passed=1, failed=2, skipped=1)
    results = {}
    for path in (simulated.path / "allure").glob("*-result.json"):
        told = json.loads(path.read_text())
        key = told["fullName"].partition("#")[2], *(p["value"] for p in told.get("parameters", ()))
        assert key not in results
        results[key] = told
    status = {" ".join(key): told["status"] for key, told in results.items()}
    assert status == {
        "test_slow 1": "passed",
        "test_slow 2": "failed",
        "test_broken": "broken",
        "test_needs_slow": "skipped",
    }
    slow = results["test_slow", "2"]
    assert "over its budget" in slow["statusDetails"]["message"]
    assert (slow["name"], [step["name"] for step in slow["steps"]]) == ("with a title", ["launch"])
    (attached,) = slow["attachments"]
    assert (simulated.path / "allure" / attached["source"]).read_text() == "what it saw"
    containers = [
        json.loads(path.read_text())
        for path in (simulated.path / "allure").glob("*-container.json")
    ]
    assert any(slow["uuid"] in container["children"] for container in containers)


@pytest.mark.usefixtures("own_process")
def test_measured_tests_are_covered_as_in_a_plain_run_and_their_rounds_are_not_traced(
    simulated: Project,
) -> None:
    simulated.write("def used():\n    return 1\n\n\ndef unused():\n    return 2\n", "library.py")
    simulated.write(
        """
        import sys
        import library, pytest, simgpu

        pytestmark = pytest.mark.nsys(rounds=2, warmup=0)

        @pytest.fixture
        def made():
            return library.used()

        def test_covered(made):
            simgpu.launch("gemm", 10)
            library.used()

        def test_part(nsys):
            def part():
                simgpu.launch("gemm", 10)
                traced.append(sys.gettrace() is not None)
            traced = []
            nsys(part)
            assert not nsys.active or traced[:2] == [False, False]
        """
    )
    totals = []
    # The plugin by another of its names, and arguments that no option can be added to.
    for options in ((), ("--nsys", "--", "test_it.py")):
        measuring = ("--cov=library", "--cov-context=test", "--cov-branch", "--cov-report=json")
        result = simulated.run("-p", "pytest_cov.plugin", *measuring, *options)
        result.assert_outcomes(passed=2)
        covered = json.loads((simulated.path / "coverage.json").read_text())
        totals.append(covered["totals"]["percent_covered"])
        data = CoverageData(str(simulated.path / ".coverage"))
        data.read()
        contexts = data.contexts_by_lineno(str(simulated.path / "library.py"))[2]
        assert {"test_it.py::test_covered|run", "test_it.py::test_covered|setup"} <= {*contexts}
    assert totals[0] == totals[1] == 75
