"""Fixtures and kinds of tests work as they do without the plugin."""

from __future__ import annotations

import pytest

from tests.support.harness import Project
from tests.support.seen import Story, samples

FIXTURES = """
    import pytest, simgpu
    from story import tell

    def told(scope, *needs):
        @pytest.fixture(scope=scope, name=scope + "_")
        def fixture():
            tell(f"{scope} up")
            yield
            tell(f"{scope} down")
        return fixture

    session, module, class_, function = map(told, ("session", "module", "class", "function"))

    def test_before(module_):
        tell("before")

    @pytest.mark.nsys(rounds=2, warmup=1)
    class TestMeasured:
        def test_one(self, session_, module_, class_, function_):
            tell("one")
            simgpu.launch("kernel", 10)

        def test_two(self, session_, module_, class_, function_):
            tell("two")
            simgpu.launch("kernel", 10)

    def test_after(module_):
        tell("after")
"""


def test_fixtures_are_set_up_once_in_the_process_that_runs_their_tests(
    simulated: Project, story: Story
) -> None:
    simulated.write(FIXTURES)
    simulated.run("--nsys").assert_outcomes(passed=4)
    lines = story.lines()
    measured = [line.removeprefix("worker: ") for line in lines if line.startswith("worker")]
    assert measured == [
        *("session up", "module up", "class up"),
        *("function up", "one", "one", "one", "function down"),
        *("function up", "two", "two", "two", "function down"),
        *("class down", "module down", "session down"),
    ]
    ours = [line.removeprefix("controller: ") for line in lines if line.startswith("controller")]
    assert ours == ["module up", "before", "after", "module down"]
    # The module's fixture of the tests that are not measured stays up around the measured ones.
    assert lines.index("controller: before") < lines.index("worker: session up")
    assert lines.index("controller: after") > lines.index("worker: session down")

    simulated.run().assert_outcomes(passed=4)
    plain = story.lines()
    assert plain.count("controller: one") == plain.count("controller: two") == 1
    assert plain.count("controller: session up") == plain.count("controller: module up") == 1


def test_what_a_fixture_does_is_not_measured_and_each_class_gets_its_own(
    simulated: Project, story: Story
) -> None:
    simulated.write(
        """
        import pytest, simgpu
        from story import tell

        @pytest.fixture(scope="module")
        def model():
            simgpu.copy("h2d", 1 << 20)
            simgpu.launch("load", 500)

        @pytest.fixture
        def batch(request):
            simgpu.launch("prepare", 100)
            request.addfinalizer(lambda: simgpu.launch("clean", 100))

        @pytest.fixture(scope="class", params=["fp16", "fp8"])
        def kind(request):
            tell(f"{request.param} up")
            yield request.param
            tell(f"{request.param} down")

        @pytest.mark.nsys(rounds=2)
        class TestModel:
            def setup_method(self):
                simgpu.launch("setup", 100)

            def test_decode(self, model, batch, kind):
                simgpu.launch(f"gemm_{kind}", 30)

            def test_prefill(self, model, batch, kind):
                simgpu.launch(f"gemm_{kind}", 40)
        """
    )
    result, tests = simulated.results("--nsys")
    result.assert_outcomes(passed=4)
    assert list(tests) == [
        f"TestModel::test_{name}[{kind}]"
        for kind in ("fp16", "fp8")
        for name in ("decode", "prefill")
    ]
    for test in tests.values():
        assert samples(test, "gpu.kernel_count") == [1, 1]
        assert samples(test, "memcpy.h2d.count") == [0, 0]
    assert story.lines() == [
        f"worker: {text}" for text in ("fp16 up", "fp16 down", "fp8 up", "fp8 down")
    ]


@pytest.mark.usefixtures("all_plugins")
def test_async_tests_and_those_of_unittest_run_in_rounds(simulated: Project, story: Story) -> None:
    simulated.write(
        """
        import asyncio, unittest
        import pytest, pytest_asyncio, simgpu
        from story import tell

        pytestmark = pytest.mark.nsys(rounds=3, warmup=1)

        @pytest_asyncio.fixture
        async def served():
            await asyncio.sleep(0)
            simgpu.launch("serve", 10)
            tell("served")
            yield 4

        @pytest.mark.asyncio
        async def test_async(served, nsys):
            with nsys.range("part"):
                await asyncio.gather(*(work() for _ in range(served)))

        async def work():
            await asyncio.sleep(0)
            simgpu.launch("work", 10)

        class TestCase(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                tell("class")

            def setUp(self):
                simgpu.launch("setup", 10)
                tell("setUp")

            def tearDown(self):
                simgpu.launch("teardown", 10)
                tell("tearDown")

            def test_case(self):
                tell("case")
                simgpu.launch("body", 10)

            @unittest.skip("not now")
            def test_skipped(self):
                tell("never")

            def test_failing(self):
                tell("failing")
                self.assertEqual(1, 2)

            @unittest.expectedFailure
            def test_expected(self):
                raise AssertionError

        class TestAsyncCase(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                simgpu.launch("setup", 10)

            async def test_async_case(self):
                await asyncio.sleep(0)
                simgpu.launch("body", 10)
        """
    )
    result, tests = simulated.results("--nsys")
    result.assert_outcomes(passed=3, skipped=1, failed=1, xfailed=1)
    result.stdout.fnmatch_lines(["*AssertionError: 1 != 2"])
    assert samples(tests["test_async"], "gpu.kernel_count", "part") == [4, 4, 4]
    assert samples(tests["TestCase::test_case"], "gpu.kernel_count") == [1, 1, 1]
    assert samples(tests["TestAsyncCase::test_async_case"], "gpu.kernel_count") == [1, 1, 1]
    told = [line.removeprefix("worker: ") for line in story.lines()]
    assert told.count("served") == told.count("class") == 1
    assert told.count("failing") == 1
    assert told.count("case") == 4
    assert told.count("setUp") == told.count("tearDown") == 4 + 1 + 1
    assert "never" not in told


def test_ids_of_any_characters_are_measured_and_have_baselines_of_their_own(
    simulated: Project,
) -> None:
    simulated.write(
        """
        import pytest, simgpu

        IDS = ["plain", "a/b", "../../up", "x::y", "[z]", "", "-k", "Größe é", "tab\\tline\\nend",
               "'quoted' \\"twice\\"", "n" * 300, "CON", "a b", "a-b", "50%", "$HOME", "\\x00"]

        @pytest.mark.nsys(rounds=1, warmup=0)
        @pytest.mark.parametrize("us", range(10, 10 + len(IDS)), ids=IDS)
        def test_id(us):
            simgpu.launch("kernel", us)

        @pytest.mark.nsys(rounds=1, warmup=0)
        @pytest.mark.parametrize("case", ["A", "a"])
        def test_case(case):
            simgpu.launch(case, 5)
        """
    )
    simulated.run("--nsys-update").assert_outcomes(passed=19)
    files = {path for path in simulated.path.rglob("*.json") if "baselines" in path.parts}
    assert len(files) == 19
    assert all(path.parent == simulated.path / "baselines/nvidia-h200/test_it.py" for path in files)
    assert all(len(path.name.encode()) < 200 for path in files)
    simulated.run("--nsys-baseline").assert_outcomes(passed=19)


def test_tests_of_the_same_name_in_different_files_keep_apart(simulated: Project) -> None:
    body = """
        import pytest, simgpu

        @pytest.mark.nsys(rounds=1, warmup=0)
        def test_same():
            simgpu.launch("kernel", {us})
    """
    for folder, us in (("a", 100), ("b", 200), ("b/c", 300)):
        simulated.write("", f"{folder}/__init__.py")
        simulated.write(body.format(us=us), f"{folder}/test_it.py")
    simulated.run("--nsys-update").assert_outcomes(passed=3)
    result = simulated.run("--nsys-baseline", "b/c", "a")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["b/c/test_it.py .*", "a/test_it.py .*"])
    root = simulated.path / "baselines/nvidia-h200"
    found = sorted(str(path.relative_to(root)) for path in root.rglob("*.json"))
    assert found == [f"{folder}/test_it.py/test_same.json" for folder in ("a", "b/c", "b")]


def test_built_in_fixtures_work_in_measured_tests(simulated: Project, story: Story) -> None:
    simulated.write(
        """
        import logging, os, pathlib, sys
        import pytest, simgpu
        from story import tell

        pytestmark = pytest.mark.nsys(rounds=2, warmup=1)

        @pytest.fixture(autouse=True)
        def used():
            yield
            simgpu.launch("kernel", 1)

        def test_capsys(capsys):
            print("out"); print("err", file=sys.stderr)
            assert capsys.readouterr() == ("out\\n", "err\\n")
            simgpu.launch("kernel", 1)

        def test_capfd(capfd):
            os.write(1, b"raw")
            assert capfd.readouterr().out == "raw"
            simgpu.launch("kernel", 1)

        def test_caplog(caplog):
            logging.getLogger("mine").warning("careful")
            assert caplog.messages[-1] == "careful"
            simgpu.launch("kernel", 1)

        def test_tmp_path(tmp_path, monkeypatch, request):
            tell(tmp_path)
            tell(request.config.rootpath)
            tell(request.node.nodeid)
            monkeypatch.chdir(tmp_path)
            monkeypatch.setenv("MINE", "set")
            assert os.environ["MINE"] == "set"
            simgpu.launch("kernel", 1)

        def test_changes_the_folder(tmp_path_factory):
            os.chdir(tmp_path_factory.mktemp("elsewhere"))
            simgpu.launch("kernel", 1)

        def test_after_the_folder_has_changed():
            simgpu.launch("kernel", 1)

        def test_recorded(record_property, cache):
            record_property("answer", 42)
            cache.set("mine/value", 1)
            simgpu.launch("kernel", 1)
        """
    )
    base = simulated.path / "base"
    result = simulated.run("--nsys-update", "--basetemp=base", "--junitxml=junit.xml")
    result.assert_outcomes(passed=7)
    told = {line.removeprefix("worker: ") for line in story.lines()}
    folders = [line for line in told if "test_tmp_path0" in line]
    assert len(folders) == 1
    assert folders[0].startswith(str(base))
    assert str(simulated.path) in told
    assert "test_it.py::test_tmp_path" in told
    assert '<property name="answer" value="42"' in (simulated.path / "junit.xml").read_text()
    assert (simulated.path / "baselines/nvidia-h200/test_it.py/test_recorded.json").is_file()
