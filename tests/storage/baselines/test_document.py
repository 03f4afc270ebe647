"""Baseline files as text: what is written, what is read, and what is refused."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_nsys.catalogue import Breakdown
from pytest_nsys.errors import BaselineDamaged
from pytest_nsys.kernels.configuration import Configuration
from pytest_nsys.kernels.occupancy import Occupancy
from pytest_nsys.measure.measurement import Launched, Measurement, Part, Parts, WindowMeasurement
from pytest_nsys.storage.baselines.document import parse, render, to_json
from tests.support import made
from tests.support.mutations import paths

Path = tuple[str | int, ...]

EXAMPLE = made.measurement(
    made.window(
        {"gpu.kernel_time": [100.5, 101, 99.25], "gpu.kernel_count": [3, 3, 3]},
        Part("gemm_kernel", 2, ns=90, category="gemm"),
        Part("norm", 1, ns=10, category="norm", raw=("void norm<int>(T1)",)),
        units={"token": 8},
    )
)


@given(made.measurements)
def test_what_was_written_is_read_back(measurement: Measurement) -> None:
    assert parse(render(measurement), "x.json") == measurement


@given(made.measurements)
def test_the_text_of_what_was_read_is_the_text_that_was_read(measurement: Measurement) -> None:
    text = render(measurement)
    assert render(parse(text, "x.json")) == text
    assert json.loads(text) == to_json(measurement)
    assert text.endswith("}\n")


def test_an_older_baseline_has_the_version_of_cuda_as_one_number() -> None:
    environment = replace(EXAMPLE.environment, cuda="13000")
    text = render(replace(EXAMPLE, environment=environment))
    assert parse(text, "x.json").environment.cuda == "13.0"


def test_the_text_does_not_depend_on_the_order_of_anything() -> None:
    window = EXAMPLE.windows["test"]
    turned = replace(window, samples=dict(reversed(list(window.samples.items()))))
    both = (replace(window, name="a"), turned)
    one = made.measurement(*both)
    other = made.measurement(*reversed(both))
    assert render(one) == render(other)


def test_a_baseline_is_laid_out_for_people() -> None:
    long = made.window({"gpu.kernel_time": range(1000, 1100), "sync.count": [0] * 5})
    text = render(made.measurement(long, nodeid="t.py::tést"))
    assert "tést" in text
    (line,) = (line for line in text.splitlines() if "1099" in line)
    assert line.strip().startswith("[1000, 1001, ")
    assert '"sync.count": [[0, 0, 0, 0, 0]]' in text


def test_numbers_are_rounded_to_three_decimals_and_whole_ones_written_whole() -> None:
    text = render(made.measurement(made.window({"wall.time": [1 / 3, 2.0, 1e15]})))
    assert "[[0.333, 2, 1000000000000000]]" in text


def test_changing_one_sample_changes_one_line() -> None:
    samples = {"gpu.kernel_time": list(range(1000, 1020)), "wall.time": list(range(2000, 2020))}
    before = render(made.measurement(made.window(samples))).splitlines()
    samples["gpu.kernel_time"][3] = 7777
    after = render(made.measurement(made.window(samples))).splitlines()
    assert len(before) == len(after)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_every_breakdown_is_written_and_read_back() -> None:
    parts = Parts((Part("one", 2, ns=300.5, bytes=4), Part("two", 1, ns=100)))
    every = dict.fromkeys(get_args(Breakdown), parts)
    measurement = made.measurement(WindowMeasurement("test", {}, {}, every))
    assert parse(render(measurement), "x.json") == measurement


def test_how_kernels_were_launched_is_kept() -> None:
    ways = (
        Launched(Configuration((8, 8), (256,), 96, 4096, 16), 2.5, 300, Occupancy(50, "registers")),
        Launched(Configuration((64,), (128,), 32), 1, 100, variant="gemm_64x64"),
    )
    part = Part("gemm", 4, ns=400, launched=ways)
    window = WindowMeasurement("test", {}, {}, {"kernels": Parts((part,))})
    text = render(made.measurement(window))
    assert parse(text, "x").windows["test"].kernels.parts == (part,)
    assert len(text.splitlines()) < len(render(EXAMPLE).splitlines()) + 10


def test_raw_names_and_empty_breakdowns_are_not_kept() -> None:
    window = WindowMeasurement("test", {}, {}, {"kernels": Parts(), "copies": Parts()})
    read = parse(render(made.measurement(window)), "x").windows["test"]
    assert read.breakdown == {}
    kernels = parse(render(EXAMPLE), "x").windows["test"].kernels
    assert [part.raw for part in kernels] == [(), ()]
    assert [part.label for part in kernels] == ["gemm_kernel", "norm"]


@pytest.mark.parametrize("marker", ["<<<<<<< HEAD", "=======", ">>>>>>> main", "||||||| base"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_merge_conflict_is_named_with_its_line(marker: str, ending: str) -> None:
    lines = render(EXAMPLE).splitlines()
    lines.insert(3, marker)
    with pytest.raises(BaselineDamaged, match=r"x\.json:4: a merge conflict") as caught:
        parse(ending.join(lines), "x.json")
    assert caught.value.evidence == marker
    assert "--nsys-update" in caught.value.remedy


def test_what_only_resembles_a_conflict_marker_is_none() -> None:
    odd = made.measurement(EXAMPLE.windows["test"], nodeid="t.py::t[<<<<<<< x\n=======\n]")
    assert parse(render(odd), "x.json") == parse(render(odd), "y.json")


@pytest.mark.parametrize(
    ("text", "line"),
    [("", 1), ("{", 1), ("{}\n\n x", 3), ('{\n "a": 1,\n "b": }\n', 3), ("\x00", 1)],
)
def test_what_is_no_json_is_named_with_its_line(text: str, line: int) -> None:
    with pytest.raises(BaselineDamaged, match=rf"^x\.json:{line}: this is not JSON"):
        parse(text, "x.json")


@given(st.integers(0, len(render(EXAMPLE)) - 3))
def test_a_file_that_was_cut_off_is_damaged(length: int) -> None:
    with pytest.raises(BaselineDamaged, match=r"^x\.json:\d+: "):
        parse(render(EXAMPLE)[:length], "x.json")


@pytest.mark.parametrize("schema", [2, 99, 2**70])
def test_a_newer_schema_asks_for_an_upgrade(schema: int) -> None:
    text = json.dumps({"schema": schema, "whatever": 1})
    with pytest.raises(BaselineDamaged, match="newer pytest-nsys") as caught:
        parse(text, "x.json")
    assert caught.value.remedy == "upgrade pytest-nsys"


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "[]",
        "3",
        '"x"',
        "{}",
        "[" * 100_000,
        '{"schema": ' + "9" * 5000 + "}",
        '{"schema": 0}',
        '{"schema": "1"}',
        '{"schema": NaN}',
    ],
    ids=lambda text: text[:12],
)
def test_json_that_is_no_baseline_is_damaged(text: str) -> None:
    with pytest.raises(BaselineDamaged):
        parse(text, "x.json")


def _changed(path: Path, value: Any) -> str:
    data = copy.deepcopy(to_json(EXAMPLE))
    place: Any = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(data)


def _without(path: Path) -> str:
    data = copy.deepcopy(to_json(EXAMPLE))
    place: Any = data
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return json.dumps(data)


PATHS = [path for path in paths(to_json(EXAMPLE)) if path]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
def test_a_value_of_the_wrong_kind_is_damage_at_every_level(path: Path) -> None:
    for value in (None, True, "text", [[]], {"a": 1}, 1.5):
        present: Any = to_json(EXAMPLE)
        for key in path:
            present = present[key]
        number = isinstance(present, (int, float)) and type(value) is float
        whole = path in (("schema",), ("plan", "warmup"), ("plan", "rounds"))
        if (number and not whole) or type(value) is type(present):
            continue
        with pytest.raises(BaselineDamaged, match="missing or of the wrong kind"):
            parse(_changed(path, value), "x.json")


REQUIRED = [
    ("schema",),
    ("nodeid",),
    ("device",),
    ("plan",),
    ("plan", "rounds"),
    ("environment",),
    ("environment", "trace"),
    ("environment", "versions"),
    ("windows",),
    ("windows", "test", "samples"),
    ("windows", "test", "units"),
    ("windows", "test", "kernels", "norm", "count"),
]


@pytest.mark.parametrize("path", REQUIRED, ids=lambda path: ".".join(map(str, path)))
def test_a_value_that_is_missing_is_damage(path: Path) -> None:
    with pytest.raises(BaselineDamaged, match="missing") as caught:
        parse(_without(path), "x.json")
    assert str(path[-1]) in caught.value.evidence


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("windows", "test", "samples", "gpu.kernel_time"), []),
        (("windows", "test", "samples", "gpu.kernel_time"), [[]]),
        (("windows", "test", "samples", "gpu.kernel_time", 0, 0), float("nan")),
        (("windows", "test", "samples", "gpu.kernel_time", 0, 0), float("-inf")),
        (("windows", "test", "samples", "gpu.kernel_time", 0, 0), 10**400),
        (("windows", "test", "samples", "gpu.kernel_time", 0, 0), -5),
        (("windows", "test", "samples", "kernel[gemm*].time.per_token"), [[1, -5]]),
        (("windows", "test", "samples", "api.count"), [[-1]]),
        (("windows", "test", "kernels", "norm", "count"), -1),
        (("windows", "test", "kernels", "gemm_kernel", "ns"), -1),
        (("windows", "test", "units", "token"), 0),
        (("windows", "test", "units", "token"), -1),
    ],
)
def test_numbers_that_nothing_can_be_compared_with_are_damage(path: Path, value: Any) -> None:
    with pytest.raises(BaselineDamaged):
        parse(_changed(path, value), "x.json")


@pytest.mark.parametrize("key", ["launch.latency", "mem.live_end", "gpu.temperature", "ours.one"])
def test_what_may_be_below_zero_is_read(key: str) -> None:
    read = parse(_changed(("windows", "test", "samples", key), [[-5]]), "x.json")
    assert read.windows["test"].samples[key] == ((-5.0,),)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(PATHS), json_values)
@example(("windows", "test", "units", "token"), 4e-193)
def test_whatever_stands_in_a_file_it_is_read_or_damaged(path: Path, value: Any) -> None:
    text = _changed(path, value)
    try:
        read = parse(text, "x.json")
    except BaselineDamaged:
        with pytest.raises(BaselineDamaged, match=r"^x\.json:1: .*\n.*\n?What to do: "):
            parse(text, "x.json")
    else:
        assert parse(render(read), "x.json") is not None


@given(st.text())
def test_any_text_at_all_is_damaged(text: str) -> None:
    with pytest.raises(BaselineDamaged):
        parse(text, "x.json")
