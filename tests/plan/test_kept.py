"""What recordings keep of marks, and what marks are made of it."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_nsys.plan.kept import KeptMarks, KeptXfail, kept_marks, marks_of
from pytest_nsys.plan.marker import Spec, read_spec
from pytest_nsys.plan.settings import Settings
from pytest_nsys.support.json_values import read, written
from pytest_nsys.support.units import Tolerance
from tests.support.harness import ROOT

SETTINGS = Settings(mode="gate", rootdir=ROOT, baseline_dir=ROOT)
SPEC = Spec(warmup=1, rounds=5, timeout_s=1)


def marked(*marks: pytest.MarkDecorator) -> pytest.Item:
    """A test with these marks, the closest first."""

    def iter_markers(name: str) -> list[pytest.Mark]:
        return [mark.mark for mark in marks if mark.name == name]

    def closest(name: str) -> pytest.Mark | None:
        return next(iter(iter_markers(name)), None)

    item = SimpleNamespace(nodeid="a::b", iter_markers=iter_markers, get_closest_marker=closest)
    return cast("pytest.Item", item)


def kept(*marks: pytest.MarkDecorator, spec: Spec = SPEC) -> KeptMarks:
    """What a recording keeps, as it is read from its file."""
    return read(KeptMarks, written(kept_marks(marked(*marks), spec)))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"rounds": 7, "warmup": 0, "processes": 2, "allow_empty": True},
        {"rounds": "auto"},
        {"tolerance": "5%"},
        {"tolerance": ("2%", "5 us")},
        {"tolerance": {"mem.peak": ("2%", "16 MiB"), "gpu.kernel_count": 3, "*": "1%"}},
        {"tolerance": Tolerance(0.0123, 456)},
        {"tolerance": {"gpu.kernel_time": Tolerance(0.05), "mem.peak": Tolerance(0, 4096)}},
        {"tolerance": {"gpu.kernel_count": Tolerance(0.1, 2), "sync.count": Tolerance()}},
        {"budget": {"gpu.kernel_time": "2.5 ms", "sync.count": 0}},
        {"require": "gemm*", "forbid": ("cudaMalloc*", "norm")},
        {"expected": {"until": date(2030, 1, 2), "reason": "known", "limit": "5%"}},
        {"expected": [{"until": "2030-01-02", "reason": "known", "metric": "mem.*"}]},
    ],
)
def test_what_is_data_means_the_same_when_it_is_read_again(arguments: dict[str, Any]) -> None:
    own = marked(pytest.mark.nsys(**arguments))
    found = kept(pytest.mark.nsys(**arguments))
    assert found.code == ()
    assert read_spec(marked(*marks_of(found)), SETTINGS) == read_spec(own, SETTINGS)


def test_marks_are_kept_together_and_only_what_says_how_to_judge() -> None:
    found = kept(
        pytest.mark.nsys(tolerance={"mem.peak": "1%"}, nsys_args=["--env-var=TOKEN=secret"]),
        pytest.mark.nsys(tolerance="2%", isolate=True, timeout=5),
    )
    assert found == KeptMarks({"tolerance": {"*": "2%", "mem.peak": "1%"}})


def test_what_is_code_is_known_to_have_been_there() -> None:
    class Odd:
        pass

    mark = pytest.mark.nsys(check=lambda _: True, budget={"sync.count": Odd()}, forbid=[3, Odd()])
    found = kept(mark)
    assert (dict(found.arguments), found.code) == ({}, ("check", "budget", "forbid"))
    assert kept(pytest.mark.nsys(check=None)).code == ()
    assert kept(pytest.mark.nsys(tolerance={3: "1%"})).code == ("tolerance",)


def test_rounds_that_are_automatic_by_the_settings_stay_so() -> None:
    spec = Spec(warmup=1, rounds=5, timeout_s=1, most_rounds=50)
    assert kept(pytest.mark.nsys, spec=spec).arguments == {"rounds": "auto"}


class Own(Exception):
    """An exception of a project."""


@pytest.mark.parametrize(
    ("mark", "xfail"),
    [
        (pytest.mark.xfail, KeptXfail()),
        (pytest.mark.xfail(True, reason="slow", strict=True), KeptXfail("slow", (), True)),
        (pytest.mark.xfail(raises=ValueError), KeptXfail("", ("ValueError",))),
        (pytest.mark.xfail(raises=(Own, KeyError)), KeptXfail("", ("Own", "KeyError"))),
    ],
)
def test_an_expected_failure_is_kept(mark: pytest.MarkDecorator, xfail: KeptXfail) -> None:
    found = kept(mark)
    assert found.xfail == xfail
    again = [*marks_of(found)][1]
    assert again.name == "xfail"
    names = [kind.__name__ for kind in again.kwargs.get("raises", ())]
    assert names == list(xfail.raises)
    assert all(issubclass(kind, Exception) for kind in again.kwargs.get("raises", ()))
    assert again.kwargs.get("strict") == xfail.strict


def test_what_was_kept_of_an_exception_names_a_class_whatever_it_is() -> None:
    for name in ("", "\0", "a b", "print"):
        (_, again) = marks_of(KeptMarks({}, (), KeptXfail("", (name,))))
        (kind,) = again.kwargs["raises"]
        assert issubclass(kind, Exception)


def test_parameters_are_kept_in_the_words_of_the_id(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    items = pytester.getitems(
        """
        import enum
        import pytest

        class Kind(enum.Enum):
            SMALL = 1

        @pytest.fixture(params=["eager", "graphs"])
        def mode(request):
            return request.param

        @pytest.mark.parametrize(("engine", "batch"), [("vllm", 8), ("sglang-0.5", 16)])
        def test_two(mode, engine, batch): ...

        @pytest.mark.parametrize("dtype", [float, None, Kind.SMALL, 1.5, True])
        def test_word(dtype): ...

        @pytest.mark.parametrize("size", [pytest.param({"n": 3}, id="small"), object()])
        @pytest.mark.parametrize("other", [1])
        def test_custom(size, other): ...

        @pytest.mark.parametrize("a", [pytest.param("sekrit-1", id="x"), pytest.param(5, id="y")])
        @pytest.mark.parametrize("b", [pytest.param("sekrit-2", id="z")])
        def test_unknown(a, b): ...

        @pytest.mark.parametrize(("a", "b"), [pytest.param("sekrit-1", {}, id="one-of-many")])
        def test_together(a, b): ...

        def test_plain(): ...
        """
    )
    found = {
        item.name: dict(read(KeptMarks, written(kept_marks(item, SPEC))).parameters)
        for item in items
    }
    two = [value for name, value in found.items() if name.startswith("test_two")]
    assert {tuple(sorted(one.items())) for one in two} == {
        (("batch", batch), ("engine", engine), ("mode", mode))
        for engine, batch in (("vllm", "8"), ("sglang-0.5", "16"))
        for mode in ("eager", "graphs")
    }
    words = [value["dtype"] for name, value in found.items() if name.startswith("test_word")]
    assert words == ["float", "None", "Kind.SMALL", "1.5", "True"]
    assert found["test_custom[1-small]"] == {"other": "1", "size": "small"}
    assert found["test_custom[1-size1]"] == {"other": "1", "size": "size1"}
    assert found["test_unknown[z-x]"] == {"b": "z", "a": "x"}
    assert found["test_unknown[z-y]"] == {"b": "z", "a": "y"}
    together = {"a": "one-of-many", "b": "one-of-many"}
    assert found["test_together[one-of-many]"] == together
    assert found["test_plain"] == {}
