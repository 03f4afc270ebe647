"""GPUs as names of folders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.gpu.names import default_device_key, device_slug


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("NVIDIA H200", "nvidia-h200"),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", "nvidia-a100-sxm4-80gb-mig-1g.10gb"),
        ("  Tesla T4  ", "tesla-t4"),
        ("..", "unknown"),
        ("", "unknown"),
        ("日本", "unknown"),
    ],
)
def test_a_device_is_a_folder_name(name: str, slug: str) -> None:
    assert device_slug(name) == slug


@given(st.text())
def test_a_device_slug_is_its_own_slug(name: str) -> None:
    slug = device_slug(name)
    assert device_slug(slug) == slug


@pytest.mark.parametrize(
    ("gpus", "key"),
    [
        ((), "no-gpu"),
        (("NVIDIA H200",), "nvidia-h200"),
        (("NVIDIA H200", "NVIDIA H200"), "nvidia-h200-x2"),
        (("NVIDIA H200", "NVIDIA L4"), "nvidia-h200-nvidia-l4-x2"),
    ],
)
def test_the_device_is_the_model_and_how_many(gpus: tuple[str, ...], key: str) -> None:
    assert default_device_key(gpus) == key
