"""The doctor's probes of Python and packages, on machines made up for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_nsys.doctor.probes import python
from tests.support.fake_machine import HEALTHY, made, probed, statuses


def test_python_is_told() -> None:
    [result] = python.python(probed(HEALTHY))
    assert (result.status, result.what) == ("ok", "Python 3.11.7")


@pytest.mark.parametrize(
    ("nvtx", "nsys", "status"),
    [
        ("0.2.11", (2022, 4, 2), "ok"),
        ("0.2.11", (2025, 3, 1), "ok"),
        ("0.2.12", (2023, 4, 4), "problem"),
        ("0.2.13.post1", (2022, 4, 2), "problem"),
        ("0.3rc1", (2023, 4, 4), "problem"),
        ("0.2.12", (2024, 1, 1), "ok"),
        ("0.2.17", (2025, 3, 1), "ok"),
        ("unknown", (2023, 4, 4), "ok"),
    ],
)
def test_nvtx_and_nsys_must_understand_each_other(
    nvtx: str, nsys: tuple[int, int, int], status: str
) -> None:
    [result] = python.nvtx(probed(made(packages={"nvtx": nvtx}), nsys))
    assert result.status == status
    assert nvtx in result.evidence
    if status == "problem":
        assert "pip install 'nvtx<0.2.12'" in result.remedy


def test_without_nvtx_or_with_nvtx_disabled_nothing_is_measured() -> None:
    [result] = python.nvtx(probed(replace(HEALTHY, packages={})))
    assert (result.status, result.remedy) == ("problem", "pip install nvtx")
    [result] = python.nvtx(probed(made(environ={"NVTX_DISABLE": "1"})))
    assert (result.status, result.remedy) == ("problem", "unset NVTX_DISABLE")
    assert statuses(python.nvtx(probed(made(environ={"NVTX_DISABLE": ""})))) == ["ok"]


def test_without_nsys_nvtx_is_told_all_the_same() -> None:
    [result] = python.nvtx(probed(made(used=None)))
    assert (result.status, result.what) == ("ok", "nvtx 0.2.13")


def test_pyarrow_is_good_to_have_and_not_needed() -> None:
    [result] = python.pyarrow(probed(HEALTHY))
    assert (result.status, result.remedy) == ("ok", "")
    [result] = python.pyarrow(probed(replace(HEALTHY, packages={})))
    assert (result.status, result.remedy) == ("ok", "pip install 'pytest-nsys[parquet]'")
