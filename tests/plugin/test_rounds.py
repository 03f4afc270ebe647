"""Rounds and warm-ups, the ``nsys`` fixture, and how marks and settings combine."""

from __future__ import annotations

from tests.support.harness import Project
from tests.support.seen import Story, samples


def test_the_body_is_called_as_often_as_asked_and_the_closest_mark_wins(
    simulated: Project, story: Story
) -> None:
    simulated.ini("nsys_rounds = 3", "nsys_warmup = 2")
    simulated.write(
        """
        import pytest, simgpu
        from story import tell

        class Base:
            def test_inherited(self, request):
                body(request)

        def body(request):
            tell(request.node.name)
            simgpu.launch("kernel", 10)

        @pytest.mark.nsys
        def test_ini(request):
            body(request)

        @pytest.mark.nsys(rounds=2, budget={"gpu.kernel_time": "20 us", "gpu.kernel_count": 1})
        class TestClass(Base):
            def test_class(self, request):
                body(request)

            @pytest.mark.nsys(warmup=0, budget={"gpu.kernel_time": "5 us"})
            def test_own(self, request):
                body(request)
                simgpu.launch("other", 10)

        @pytest.mark.parametrize("n", [
            1, pytest.param(2, marks=pytest.mark.nsys(warmup=0)),
        ])
        @pytest.mark.nsys(rounds=4)
        def test_parameter(n, request):
            body(request)
        """
    )
    result, tests = simulated.results("--nsys")
    calls = story.of("worker")
    assert {name: calls.count(name) for name in calls} == {
        "test_ini": 2 + 3,
        "test_inherited": 2 + 2,
        "test_class": 2 + 2,
        "test_own": 0 + 2,
        "test_parameter[1]": 2 + 4,
        "test_parameter[2]": 0 + 4,
    }
    assert samples(tests["test_ini"], "gpu.kernel_count") == [1, 1, 1]
    # The budget of the class and that of the test are merged key by key.
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        [
            "gpu.kernel_time is 20 us, over its budget of 5 us (and 1 more)",
            "  gpu.kernel_count is 2, over its budget of 1",
        ]
    )


FIXTURE = """
    import pytest, simgpu
    from story import tell

    pytestmark = pytest.mark.nsys(rounds=3, warmup=1)

    def work(*sizes, scale=1):
        tell("work")
        for us in sizes:
            simgpu.launch("kernel", us * scale)
        return sum(sizes) * scale

    def test_call(nsys):
        tell("body")
        simgpu.launch("before", 500)
        assert nsys(work, 10, 20, scale=2) == 60
        simgpu.launch("after", 500)

    def test_ranges(nsys):
        with nsys.range("outer"):
            work(10)
            for _ in range(3):
                with nsys.range("inner"):
                    work(10)
        with nsys.range("outer"):
            work(10)

    def test_ranges_in_call(nsys):
        def call():
            with nsys.range("part"):
                work(10)
            work(10)
        with nsys.range("not in a round"):
            nsys(call)

    @pytest.mark.nsys(tolerance={"gpu.kernel_time.per_token": "1%"})
    def test_units(nsys):
        nsys.units(requests=5)
        nsys.units(tokens=10, images=2)
        work(100)

    @pytest.mark.nsys(budget={"gpu.kernel_time.per_image": "40 us"})
    def test_unit_budget(nsys):
        nsys.units(tokens=10, images=2)
        work(100)

    def test_active(nsys, request):
        tell(f"active {nsys.active}")
        work(10)

    def test_raises_in_a_range(nsys):
        with pytest.raises(ValueError, match="inside"), nsys.range("part"):
            raise ValueError("inside")
        work(10)
"""


def test_the_fixture_measures_calls_ranges_and_units(simulated: Project, story: Story) -> None:
    simulated.write(FIXTURE)
    result, tests = simulated.results("--nsys-update")
    result.assert_outcomes(passed=6, failed=1)
    told = story.of("worker")
    assert told.count("body") == 1
    assert told.count("active True") == 4

    assert samples(tests["test_call"], "gpu.kernel_count") == [2, 2, 2]
    assert samples(tests["test_call"], "gpu.kernel_time") == [60e3] * 3
    ranges = tests["test_ranges"]
    assert [window["name"] for window in ranges["windows"]] == ["test", "outer", "inner"]
    counts = [samples(ranges, "gpu.kernel_count", name) for name in ("test", "outer", "inner")]
    assert counts == [[5] * 3, [5] * 3, [3] * 3]
    in_call = tests["test_ranges_in_call"]
    assert [window["name"] for window in in_call["windows"]] == ["test", "part"]
    assert samples(in_call, "gpu.kernel_count") == [2] * 3
    assert samples(in_call, "gpu.kernel_count", "part") == [1] * 3
    assert samples(tests["test_raises_in_a_range"], "gpu.kernel_count", "part") == [0] * 3

    assert simulated.baseline("test_units")["windows"]["test"]["units"] == {"image": 2, "token": 10}
    result.stdout.fnmatch_lines(["gpu.kernel_time.per_image is 50 us, over its budget of 40 us"])

    # 4% more is within the tolerance of the whole, and not within that of one token.
    simulated.write(FIXTURE.replace("work(100)", "work(104)"))
    result = simulated.run("--nsys-baseline", "-k", "test_units")
    result.assert_outcomes(failed=1, deselected=6)
    result.stdout.fnmatch_lines(["gpu.kernel_time.per_token +4.0%, limit 2.0% (noise): *"])


def test_the_fixture_is_inert_in_plain_runs_and_clear_about_misuse(
    simulated: Project, story: Story
) -> None:
    simulated.write(FIXTURE)
    simulated.run().assert_outcomes(passed=7)
    told = story.of("controller")
    assert told.count("body") == 1
    assert "active False" in told

    simulated.write(
        """
        import pytest, simgpu

        pytestmark = pytest.mark.nsys(rounds=2)

        def test_twice(nsys):
            nsys(simgpu.launch, "kernel", 10)
            nsys(simgpu.launch, "kernel", 10)

        def test_no_name(nsys):
            with nsys.range(""):
                pass

        def test_no_number(nsys):
            nsys.units(tokens=0)

        def test_name_of_the_body(nsys):
            with nsys.range("test"):
                pass

        def test_raises_in_a_call(nsys):
            nsys(int, "x")

        @pytest.mark.usefixtures("nsys")
        def test_moves_nothing():
            simgpu.launch("kernel", 10)
        """
    )
    result = simulated.run("--nsys")
    result.assert_outcomes(passed=1, failed=5)
    result.stdout.fnmatch_lines(
        [
            "E *nsys(function, ...) was called twice in one test",
            'E *What to do: measure several parts with "with nsys.range(name):"',
            "E *nsys.range takes a name, not ''",
            "E *nsys.units(tokens=0): give a number above zero",
            "E *nsys.range('test'): the test's body is called so; take another",
            "E *invalid literal for int() *",
        ]
    )


def test_rounds_that_differ_give_samples_of_their_own_and_failing_ones_end_the_test(
    simulated: Project, story: Story
) -> None:
    simulated.write(
        """
        import itertools
        import pytest, simgpu
        from story import tell

        pytestmark = pytest.mark.nsys(rounds=4, warmup=2)
        calls = itertools.count()

        def test_growing(nsys):
            for _ in range(next(calls)):
                simgpu.launch("kernel", 10)

        later = itertools.count()

        def test_fails_in_the_third_call():
            simgpu.launch("kernel", 10)
            call = next(later)
            tell(call)
            assert call != 2
        """
    )
    result, tests = simulated.results("--nsys-update")
    result.assert_outcomes(passed=1, failed=1)
    assert samples(tests["test_growing"], "gpu.kernel_count") == [2, 3, 4, 5]
    assert story.of("worker") == ["0", "1", "2"]
    assert not list(simulated.path.rglob("test_fails*.json"))


def test_a_test_whose_body_a_plugin_runs_elsewhere_is_not_taken_for_measured(
    simulated: Project,
) -> None:
    simulated.write("def pytest_pyfunc_call(pyfuncitem):\n    return True\n", "conftest.py")
    simulated.write("import pytest\n\n@pytest.mark.nsys\ndef test_it():\n    pass\n")
    simulated.ini("nsys_device = cpu")
    simulated.run().assert_outcomes(passed=1)
    result = simulated.run("--nsys")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["the test passed, and its body was never seen to run", "What to do: *"]
    )


def test_an_automatic_number_of_rounds_ends_when_the_median_is_known_or_at_its_most(
    simulated: Project,
) -> None:
    simulated.ini("nsys_max_rounds = 9")
    simulated.write(
        """
        import itertools, time
        import pytest, simgpu

        seconds = itertools.cycle([0.001, 0.01, 0.02])

        @pytest.mark.nsys(rounds="auto", tolerance="300%")
        def test_steady():
            time.sleep(0.01)
            simgpu.launch("gemm", 100)

        @pytest.mark.nsys(rounds="auto", tolerance="1%")
        def test_unsteady():
            time.sleep(next(seconds))
            simgpu.launch("gemm", 100)
        """
    )
    _, tests = simulated.results("--nsys")

    def rounds(name: str) -> int:
        (window,) = tests[name]["windows"]
        (metric,) = (m for m in window["metrics"] if m["key"] == "gpu.kernel_time")
        return len(metric["samples"][0])

    assert (rounds("test_steady"), rounds("test_unsteady")) == (6, 9)
    (note,) = tests["test_unsteady"]["notes"][-1:]
    assert note == (
        "9 rounds: gpu.kernel_time is known to 0.00%, within a third of the tolerance (0.33%)"
    )
