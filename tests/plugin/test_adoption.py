"""What other tools measure calls with, in measured tests: the fixture ``benchmark``, ``do_bench``.

The real plugins are tried in ``tests/compat``; here stands one in that is no slower to load.
"""

from __future__ import annotations

import re

import pytest

from tests.support.harness import Project
from tests.support.seen import Story, samples

BENCHMARK = {
    "pytest_benchmark/__init__.py": "",
    "pytest_benchmark/fixture.py": """
        class Stats:
            def __init__(self, iterations):
                self.times = []

            def update(self, time):
                self.times.append(time)

        class BenchmarkFixture:
            def __init__(self, disabled, kept):
                self.disabled, self.stats, self.extra_info = disabled, None, {}
                self._add_stats = kept.append

            def __call__(self, function_to_benchmark, *args, **kwargs):
                return self._once(function_to_benchmark, args, kwargs)

            def pedantic(self, target, args=(), kwargs=None, setup=None, teardown=None, rounds=1,
                         warmup_rounds=0, iterations=1):
                if iterations > 1 and setup:
                    raise ValueError("iterations")
                args, kwargs = (setup and setup()) or (args, kwargs or {})
                return self._once(target, args, kwargs)

            def _once(self, function, args, kwargs):
                if not self.disabled:
                    self._make_stats(1)
                return function(*args, **kwargs)

            def _make_stats(self, iterations):
                self.stats = Stats(iterations)
                self._add_stats(self.stats)
                return self.stats
    """,
    "pytest_benchmark/plugin.py": """
        import pytest
        from pytest_benchmark.fixture import BenchmarkFixture

        KEPT = []

        def pytest_addoption(parser):
            parser.addoption("--benchmark-disable", action="store_true")

        @pytest.fixture
        def benchmark(request):
            return BenchmarkFixture(request.config.option.benchmark_disable, KEPT)

        def pytest_terminal_summary(terminalreporter):
            terminalreporter.write_line(f"their table: {len(KEPT)} benchmarks")
    """,
}

TESTS = """
    import os, pytest, simgpu
    from story import tell

    def work(us, times=1):
        tell("work")
        for _ in range(times):
            simgpu.launch("gemm", us)
        return us

    def test_call(benchmark):
        tell("body")
        tell(f"codspeed {os.environ.get('CODSPEED_ENV')}")
        simgpu.launch("before", 500)
        assert benchmark(work, 10, times=2) == 10
        simgpu.launch("after", 500)
        benchmark.extra_info["flops"] = 5
        benchmark.extra_info["kind"] = object
        assert len(benchmark.stats.times) in (0, 3)

    def test_decorator(benchmark):
        @benchmark
        def result():
            return work(20)
        assert result == 20

    def test_pedantic(benchmark):
        def setup():
            tell("setup")
            simgpu.launch("setup", 500)
            return (30,), {"times": 2}

        def teardown(us, times):
            tell(f"teardown {us} {times}")
            simgpu.launch("teardown", 500)

        assert benchmark.pedantic(work, setup=setup, teardown=teardown, rounds=7) == 30

    def test_pedantic_without_setup(benchmark):
        assert benchmark.pedantic(work, (40,), iterations=3, rounds=2) == 40

    @pytest.fixture
    def mine(benchmark):
        return lambda us: benchmark(work, us)

    def test_of_another_fixture(mine):
        mine(50)

    class TestMadeOfTheirs:
        @pytest.fixture
        def benchmark(self, benchmark):
            return lambda us: benchmark(work, us)

        def test_override(self, benchmark):
            benchmark(60)

    def test_refused(benchmark):
        with pytest.raises(ValueError, match="iterations"):
            benchmark.pedantic(work, setup=lambda: None, iterations=2)
        with pytest.raises(TypeError, match="its setup returned others"):
            benchmark.pedantic(work, (1,), setup=lambda: ((2,), {}))
        benchmark.disabled or work(1)

    def test_twice(benchmark):
        benchmark(work, 1)
        benchmark(work, 1)

    def test_both(benchmark, nsys):
        nsys(work, 1)
        benchmark(work, 1)

    async def coroutine(): ...

    def test_async(benchmark):
        benchmark(coroutine)

    class TestOwnFixture:
        @pytest.fixture
        def benchmark(self):
            return 1

        def test_no_benchmark(self, benchmark):
            tell(f"own {benchmark}")

    @pytest.mark.parametrize("benchmark", ["a"])
    def test_parameter(benchmark):
        pass
"""


@pytest.fixture
def beside(simulated: Project) -> Project:
    """A project beside the stand-in of pytest-benchmark."""
    for name, text in BENCHMARK.items():
        simulated.write(text, name)
    (simulated.path / "pytest_benchmark/__init__.py").touch()
    return simulated


PLUGIN = ("-p", "pytest_benchmark.plugin")
SET = ("nsys_adopt = benchmark", "nsys_rounds = 3", "nsys_warmup = 1")


def test_calls_of_the_fixture_are_measured(
    beside: Project, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODSPEED_ENV", "1")  # has pytest-codspeed measure
    beside.ini(*SET)
    beside.write(TESTS)
    result, tests = beside.results("--nsys", "--nsys-record=kept", "--junitxml=junit.xml", *PLUGIN)
    told = story.of("worker")
    assert told.count("body") == told.count("codspeed None") == 1
    assert told.count("setup") == told.count("teardown 30 2") == 1 + 3
    times = {name: samples(test, "gpu.kernel_time") for name, test in tests.items()}
    assert times == {
        "test_call": [20e3] * 3,
        "test_decorator": [20e3] * 3,
        "test_pedantic": [60e3] * 3,
        "test_pedantic_without_setup": [40e3] * 3,
        "test_of_another_fixture": [50e3] * 3,
        "TestMadeOfTheirs::test_override": [60e3] * 3,
    }
    result.assert_outcomes(passed=8, failed=4)
    result.stdout.fnmatch_lines(
        [
            "E *: benchmark(function, ...) was called twice in one test",
            "E *: benchmark(function, ...) was called after nsys(function, ...)",
            "E *: what was handed to benchmark(function, ...) has to be awaited, and was not run",
            "E * benchmark(lambda: asyncio.run(function()))",
            "their table: 0 benchmarks",
        ]
    )
    junit = (beside.path / "junit.xml").read_text()
    assert {*re.findall(r'"(extra_info.\w+)"', junit)} == {"extra_info.flops", "extra_info.kind"}

    _, replayed = beside.results("--nsys", "--nsys-replay=kept", *PLUGIN)
    assert {*replayed} == {*tests}


def test_plain_runs_leave_the_fixture_alone(beside: Project, story: Story) -> None:
    beside.ini(*SET)
    beside.write(TESTS)
    result = beside.run("-k", "call or own or setup", *PLUGIN)
    result.assert_outcomes(passed=3, deselected=9)
    result.stdout.fnmatch_lines(["their table: 2 benchmarks"])
    assert story.of("controller").count("work") == 2
    # Marks are there, so that -m knows what would be measured.
    result = beside.run("--collect-only", "-q", "-m", "not nsys", *PLUGIN)
    assert [line for line in result.outlines if "::" in line] == [
        "test_it.py::TestOwnFixture::test_no_benchmark",
        "test_it.py::test_parameter[a]",
    ]


def test_a_marked_test_hands_its_benchmark_over_without_the_setting(beside: Project) -> None:
    beside.write(
        """
        import pytest, simgpu

        @pytest.mark.nsys(rounds=2)
        def test_marked(benchmark):
            simgpu.launch("before", 500)
            benchmark(simgpu.launch, "gemm", 10)

        def test_unmarked(benchmark):
            benchmark(simgpu.launch, "gemm", 10)
        """
    )
    result, tests = beside.results("--nsys", *PLUGIN)
    assert {name: samples(test, "gpu.kernel_time") for name, test in tests.items()} == {
        "test_marked": [10e3] * 2
    }
    result.stdout.fnmatch_lines(["their table: 1 benchmarks"])


def test_without_their_plugins_the_fixture_is_not_found(simulated: Project) -> None:
    simulated.ini(*SET)
    simulated.write("def test_it(benchmark): pass")
    result = simulated.run("--nsys")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *fixture 'benchmark' not found"])


@pytest.mark.parametrize("options", [(), ("--nsys",)])
def test_what_cannot_be_adopted_is_a_usage_error(
    project: Project, options: tuple[str, ...]
) -> None:
    project.ini("nsys_adopt = benchmarks")
    result = project.run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: nsys_adopt names 'benchmarks'", "*did you mean*benchmark*"]
    )


TRITON = {
    "triton/__init__.py": "",
    "triton/testing.py": """
        from story import tell

        def do_bench(fn, warmup=25, rep=100, grad_to_none=None, quantiles=None):
            tell(f"do_bench {warmup} {rep}")
            for _ in range(1 + rep):
                fn()
            return 0.5 if quantiles is None else [0.5 for _ in quantiles]

        class Mark:
            def __init__(self, fn):
                self.fn = fn

            def run(self):
                return [self.fn(N=size, provider="torch", dtype=object) for size in (1, 2)]
    """,
    "triton/tuner.py": """
        from triton.testing import do_bench

        def tune(function):
            return do_bench(function, rep=2)
    """,
}

DO_BENCH = """
    import pytest, simgpu
    from story import tell
    from triton.testing import Mark, do_bench
    from triton.tuner import tune

    pytestmark = pytest.mark.nsys(rounds=2)

    class Tensor:
        grad = 1

    def test_one():
        simgpu.launch("randn", 500)
        tensor = Tensor()
        assert do_bench(lambda: simgpu.launch("mine", 10), grad_to_none=[tensor]) == 0.5
        tell(f"grad {tensor.grad}")

    def test_two(nsys):
        assert do_bench(lambda: simgpu.launch("mine", 10), rep=3, quantiles=[0.5, 0.2]) == [0.5] * 2
        assert do_bench(lambda: simgpu.launch("theirs", 20)) == 0.5

    @Mark
    def report(N, provider, dtype):
        return do_bench(lambda: simgpu.launch(provider, 10 * N))

    def test_report():
        assert report.run() == [0.5, 0.5]

    def test_tuned():
        tune(lambda: simgpu.launch("config", 1))
        simgpu.launch("kernel", 10)

    def test_inside(nsys):
        nsys(lambda: do_bench(lambda: simgpu.launch("mine", 10), rep=2))

    def test_caught():
        calls = iter((1, 2))
        do_bench(lambda: simgpu.launch("mine", 10))
        with pytest.raises(StopIteration):
            do_bench(lambda: next(calls))
"""


def test_calls_of_do_bench_are_measured(simulated: Project, story: Story) -> None:
    for name, text in TRITON.items():
        simulated.write(text, name)
    simulated.ini("nsys_adopt = do_bench")
    simulated.write(DO_BENCH)
    # Conftest files import it first.
    simulated.write("from triton.testing import do_bench", "conftest.py")
    result, tests = simulated.results("--nsys")
    times = {
        name: {
            window["name"]: samples(test, "gpu.kernel_time", window["name"])
            for window in test["windows"]
        }
        for name, test in tests.items()
    }
    assert times == {
        "test_one": {"do_bench": [10e3] * 2},
        "test_two": {"do_bench": [10e3] * 2, "do_bench 2": [20e3] * 2},
        "test_report": {"N=1, provider=torch": [10e3] * 2, "N=2, provider=torch": [20e3] * 2},
        "test_tuned": {"test": [13e3] * 2},
        "test_inside": {"test": [30e3] * 2},
    }
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*only 1 of its 2 rounds ended*"])
    # A short run of its own gives what it returns.
    told = story.of("worker")
    assert (told.count("do_bench 1 10"), told.count("do_bench 1 3")) == (5, 1)
    assert "grad None" in told

    result = simulated.run("-k", "one or report")
    result.assert_outcomes(passed=2, deselected=4)
    assert story.of("controller").count("do_bench 25 100") == 3


def test_without_triton_there_is_nothing_to_adopt(simulated: Project) -> None:
    simulated.ini("nsys_adopt = do_bench")
    simulated.write("raise RuntimeError('no driver')", "triton/testing.py")
    simulated.write(
        """
        import pytest, simgpu

        @pytest.mark.nsys
        def test_it():
            simgpu.launch("gemm", 10)
        """
    )
    result, tests = simulated.results("--nsys")
    result.assert_outcomes(passed=1)
    assert [*tests] == ["test_it"]
