"""The doctor's probes of Python and packages, on machines made up for them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_machine import HEALTHY, made, seen, statuses

from pytest_nsys.doctor.probes import python


def test_python_is_told() -> None:
    [finding] = python.python(seen(HEALTHY))
    assert (finding.status, finding.what) == ("ok", "Python 3.11.7")


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
    [finding] = python.nvtx(seen(made(packages={"nvtx": nvtx}), nsys))
    assert finding.status == status
    assert nvtx in finding.evidence
    if status == "problem":
        assert "pip install 'nvtx<0.2.12'" in finding.remedy


def test_without_nvtx_or_with_nvtx_disabled_nothing_is_measured() -> None:
    [finding] = python.nvtx(seen(replace(HEALTHY, packages={})))
    assert (finding.status, finding.remedy) == ("problem", "pip install nvtx")
    [finding] = python.nvtx(seen(made(environ={"NVTX_DISABLE": "1"})))
    assert (finding.status, finding.remedy) == ("problem", "unset NVTX_DISABLE")
    assert statuses(python.nvtx(seen(made(environ={"NVTX_DISABLE": ""})))) == ["ok"]


def test_without_nsys_nvtx_is_told_all_the_same() -> None:
    [finding] = python.nvtx(seen(made(used=None)))
    assert (finding.status, finding.what) == ("ok", "nvtx 0.2.13")


def test_pyarrow_is_good_to_have_and_not_needed() -> None:
    [finding] = python.pyarrow(seen(HEALTHY))
    assert (finding.status, finding.remedy) == ("ok", "")
    [finding] = python.pyarrow(seen(replace(HEALTHY, packages={})))
    assert (finding.status, finding.remedy) == ("ok", "pip install 'pytest-nsys[parquet]'")
