"""Names and versions that CUDA's things have in captures."""

from __future__ import annotations

import pytest

from pytest_nsys.cuda.names import cuda_version


@pytest.mark.parametrize(
    ("raw", "version"),
    [
        ("13000", "13.0"),
        ("12080", "12.8"),
        ("11070", "11.7"),
        ("9020", "9.2"),
        ("13.0", "13.0"),
        ("0", ""),
        ("", ""),
        ("unknown", "unknown"),
    ],
)
def test_versions_of_cuda_are_as_people_write_them(raw: str, version: str) -> None:
    assert cuda_version(raw) == version
    assert cuda_version(version) == version
