"""Where baselines lie: safe, stable and distinct paths for any node id."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_nsys.storage.baselines.location import baseline_path

parts = st.one_of(
    st.sampled_from(
        ["..", ".", "", "/", "tests", "Tests", "a b", "é", "日本", "~", "con", "x" * 300]
    ),
    st.text(max_size=12),
    st.text(alphabet="aA._-/:[]", max_size=8),
)
nodeids = st.one_of(
    st.text(),
    st.builds("/".join, st.lists(parts, max_size=4)),
    st.builds("{}::{}".format, st.builds("/".join, st.lists(parts, min_size=1, max_size=4)), parts),
    st.builds("{}::{}[{}]".format, parts, parts, st.text(max_size=400)),
    st.builds("{}::{}::{}".format, parts, parts, parts),
)


@given(nodeids, st.text())
@example("::", "..")
@example("../../etc/passwd::test", "../..")
@example("/etc/passwd::test", "/")
@example("a/b.py::test", "NVIDIA " * 60)
@example("\ud800::\udfff", "\ud800")
def test_a_path_stays_inside_the_root_and_suits_any_file_system(nodeid: str, device: str) -> None:
    path = baseline_path(device, nodeid)
    assert not path.is_absolute()
    assert path.suffix == ".json"
    for part in path.parts:
        assert part not in ("", ".", "..")
        assert len(part.encode()) < 255
        assert part.isascii()
        assert part.isprintable()
        assert not set(part) & set('<>:"/\\|?* ')


@given(nodeids, nodeids)
@example("a.py::A.b", "a.py::A::b")
@example("/a.py::b", "a.py::b")
@example("./a.py::b", "a.py::b")
@example("a//b.py::b", "a/b.py::b")
@example("a.py/::b", "a.py::b")
@example("a.py", "a.py::")
@example("a.py::", "a.py::::")
@example("a.py::t[1-2]", "a.py::t[1_2]")
@example("a.py::t[é]", "a.py::t[è]")
@example("a.py::" + "t" * 300, "a.py::" + "t" * 301)
@example("a.py::Test", "a.py::test")
@example("a/../b.py::t", "b.py::t")
def test_different_tests_have_different_paths(one: str, other: str) -> None:
    same = baseline_path("gpu", one) == baseline_path("gpu", other)
    assert same is (one == other)


@pytest.mark.parametrize(
    ("nodeid", "path"),
    [
        ("tests/test_x.py::test_z", "nvidia-h200/tests/test_x.py/test_z.json"),
        ("tests/test_x.py::TestY::test_z", "nvidia-h200/tests/test_x.py/TestY.test_z.json"),
        ("test_x.py::test_z[bf16-8]", "nvidia-h200/test_x.py/test_z-bf16-8-2ed7694b.json"),
        ("test_x.py::test_z[a/b]", "nvidia-h200/test_x.py/test_z-a-b-335bdad7.json"),
        ("../x/test_x.py::test_z", None),
    ],
)
def test_paths_are_readable_and_never_change(nodeid: str, path: str | None) -> None:
    found = baseline_path("NVIDIA H200", nodeid)
    assert found == baseline_path("nvidia-h200", nodeid)
    if path is not None:
        assert found == PurePosixPath(path)


def test_two_tests_whose_readable_names_agree_are_told_apart_by_a_digest() -> None:
    one, other = (baseline_path("gpu", f"test_x.py::test[{text}]").name for text in ("a/b", "a:b"))
    assert one != other
    assert one.rpartition("-")[0] == other.rpartition("-")[0] == "test-a-b"
