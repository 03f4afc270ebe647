"""What other tools measure calls with, handed to a recorder: the arguments, in whatever form."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

import pytest

from pytest_nsys.worker.adopted import Adopted


class Recorder:
    """Calls what it is handed in two rounds, and notes how."""

    def __init__(self) -> None:
        self.is_in_call = False
        self.times_s = (1.0, 2.0)
        self.noted: list[Any] = []
        self.cold: list[bool] = []

    def repeat(
        self,
        function: Callable[..., Any],
        prepare: Callable[[], Any],
        teardown: Callable[..., object] | None = None,
        *,
        name: str = "test",
        by: str = "nsys",
        cold_l2: bool = False,
    ) -> Any:
        """As the real one's, without windows."""
        self.noted.append((by, name))
        self.cold.append(cold_l2)
        for _ in range(2):
            args, kwargs = prepare()
            result = function(*args, **kwargs)
            if teardown is not None:
                teardown(*args, **kwargs)
        return result


class Stage:
    """A recorder, and what stands in for other tools."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.adopted = Adopted()
        self.recorder = Recorder()
        self.item: Any = SimpleNamespace(user_properties=[("own", 1)])

    def module(self, name: str, **names: Any) -> Any:
        """A module that is imported."""
        module = ModuleType(name)
        vars(module).update(names)
        for part in (name.partition(".")[0], name):
            self.patch.setitem(sys.modules, part, module)
        return module

    @contextmanager
    def body(self) -> Iterator[list[Any]]:
        """A test's body runs in this block."""
        with self.adopted.body(self.item, self.recorder):  # type: ignore[arg-type]
            yield self.recorder.noted

    def do_bench(self, **names: Any) -> Any:
        """Triton's module, adopted, whose ``do_bench`` returns how long it was to measure."""

        def do_bench(fn: Any, warmup: int = 25, rep: int = 100, grad_to_none: Any = None) -> Any:
            fn()
            return warmup, rep

        module = self.module("triton.testing", do_bench=do_bench, **names)
        self.adopted.adopt_do_bench()
        return module


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Nothing of other tools is imported, unless the test says so."""
    for name in ("pytest_benchmark.fixture", "pytest_codspeed.plugin", "triton.testing"):
        monkeypatch.setitem(sys.modules, name, None)
    return Stage(monkeypatch)


class Fixture:
    """As pytest-codspeed's: it is disabled, and hands the arguments to ``setup``."""

    def __init__(self) -> None:
        self.extra_info: dict[str, object] = {}

    def __call__(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        return target(*args, **kwargs)

    def pedantic(
        self,
        target: Any,
        args: Any = (),
        kwargs: Any = MappingProxyType({}),
        setup: Any = None,
        teardown: Any = None,
        rounds: int = 1,
    ) -> Any:
        assert rounds > 0
        if setup is not None:
            setup(*args, **kwargs)
        return target(*args, **kwargs)


def test_the_fixture_hands_over_calls_and_arguments(stage: Stage) -> None:
    kind = type("BenchmarkFixture", (Fixture,), {})
    stage.module("pytest_codspeed.plugin", BenchmarkFixture=kind)
    stage.adopted.adopt_fixtures()
    fixture = kind()
    assert fixture(int, "5") == 5
    assert fixture.pedantic(int, args=("5",), kwargs={"base": 8}) == 5
    given: list[Any] = []
    with stage.body() as noted:
        assert fixture(int, "11", base=2) == 3
        assert fixture.pedantic(int, ("5",)) == 5
        assert fixture.pedantic(target=int, kwargs={"base": 8}, args=["11"], rounds=3) == 9
        # pytest-codspeed's setup is given the arguments, and one that returns some is given none.
        assert fixture.pedantic(int, ("5",), setup=given.append, teardown=given.append) == 5
        assert fixture.pedantic(int, setup=lambda: (("7",), {"base": 8})) == 7
        fixture.extra_info["flops"] = 5
    assert given == ["5"] * 4
    assert noted == [("benchmark", "test")] * 5
    assert stage.item.user_properties == [("own", 1), ("extra_info.flops", 5)]
    assert fixture.pedantic(int, ("5",)) == 5
    assert len(noted) == 5, "outside of bodies it is theirs"


def test_arguments_of_two_kinds_and_those_that_are_not_known_are_refused(stage: Stage) -> None:
    kind = type("BenchmarkFixture", (Fixture,), {})
    stage.module("pytest_benchmark.fixture", BenchmarkFixture=kind)
    stage.adopted.adopt_fixtures()
    fixture = kind()
    with stage.body():
        with pytest.raises(TypeError, match="its setup returned others"):
            fixture.pedantic(int, ("5",), setup=lambda: (("6",), {}))
        with pytest.raises(TypeError, match="unexpected keyword argument 'round'"):
            fixture.pedantic(int, ("5",), round=3)
        with pytest.raises(AssertionError):
            fixture.pedantic(int, ("5",), rounds=0)


def test_statistics_are_of_the_rounds_and_in_no_report(stage: Stage) -> None:
    kept: list[Any] = []

    class BenchmarkFixture(Fixture):
        stats: Any = None
        _add_stats = kept.append

        def _make_stats(self, iterations: int) -> Any:
            self.stats = SimpleNamespace(data=[], iterations=iterations)
            self.stats.update = self.stats.data.append
            self._add_stats(self.stats)
            return self.stats

    stage.module("pytest_benchmark.fixture", BenchmarkFixture=BenchmarkFixture)
    stage.adopted.adopt_fixtures()
    fixture = BenchmarkFixture()
    with stage.body():
        fixture(int)
    assert (fixture.stats.data, fixture.stats.iterations, kept) == ([1.0, 2.0], 1, [])


def test_do_bench_is_named_by_its_number_and_returns_what_a_short_run_gives(stage: Stage) -> None:
    triton = stage.do_bench(do_bench_cudagraph=lambda fn, rep=20: rep)
    calls: list[int] = []

    def function() -> None:
        calls.append(1)
        triton.do_bench(int)  # in a call that is measured, or in their own run

    assert triton.do_bench(int) == (25, 100)
    with stage.body() as noted:
        stage.recorder.is_in_call = True
        assert triton.do_bench(int) == (25, 100)
        stage.recorder.is_in_call = False
        assert triton.do_bench(int) == (1, 10)
        assert triton.do_bench(fn=int, rep=3) == (1, 3)
        assert triton.do_bench_cudagraph(int, 5) == 5
        assert noted == [("do_bench", name) for name in ("do_bench", "do_bench 2", "do_bench 3")]
        with pytest.raises(RecursionError):
            triton.do_bench(lambda: triton.do_bench(stop))
    with stage.body() as noted:
        assert triton.do_bench(int) == (1, 10)
    assert noted[-1] == ("do_bench", "do_bench")


def stop() -> None:
    """As a function that fails."""
    raise RecursionError


TUNER = """
def tune(function):
    return testing.do_bench(function)

def run(function, *args, **kwargs):
    return function(*args, **kwargs)
"""


@pytest.mark.parametrize("package", ["triton.runtime.autotuner", "torch._inductor.runtime"])
def test_what_tuners_time_is_left_to_them(stage: Stage, package: str) -> None:
    names = {"__name__": package, "testing": stage.do_bench()}
    exec(TUNER, names)
    tune: Any = names["tune"]
    with stage.body() as noted:
        assert tune(int) == (25, 100)
    assert noted == []


def test_what_perf_report_calls_is_named_by_its_arguments(stage: Stage) -> None:
    triton = stage.do_bench()
    names = {"__name__": "triton.testing"}
    exec(TUNER, names)
    run: Any = names["run"]

    def report(size: int, provider: str, *, scale: float = 0.5, dtype: object = None) -> Any:
        local = 3
        return triton.do_bench(lambda: (size, provider, scale, dtype, local))

    with stage.body() as noted:
        run(report, 128, provider="triton", dtype=object())
        run(report, 128, "triton")
        run(report, 128, "triton", dtype=type("dtype", (), {"__str__": lambda _: "bf16"})())
        run(lambda: triton.do_bench(int))
    expected = "size=128, provider=triton, scale=0.5"
    names = [expected, f"{expected} 2", f"{expected}, dtype=bf16", "do_bench"]
    assert [name for _, name in noted] == names


def test_the_cache_is_emptied_as_they_do_and_gradients_are_dropped(stage: Stage) -> None:
    triton = stage.do_bench(do_bench_cudagraph=lambda fn, rep=20: rep)
    tensor = SimpleNamespace(grad=1)
    told: list[str] = []
    with stage.body():
        triton.do_bench(lambda: told.append(f"grad {tensor.grad}"), grad_to_none=[tensor])
        triton.do_bench_cudagraph(int)
    assert told == ["grad None"] * 3
    assert stage.recorder.cold == [True, False]


def test_a_triton_that_cannot_be_imported_is_left_to_those_who_need_it(stage: Stage) -> None:
    stage.adopted.adopt_do_bench()
    assert sys.modules["triton.testing"] is None
