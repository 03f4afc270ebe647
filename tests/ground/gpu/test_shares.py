"""Which GPUs workers are shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import NotEnoughGpus
from pytest_nsys.gpu.devices import Gpu
from pytest_nsys.gpu.shares import entries, shares


def gpus(*names: str, instances: dict[str, Any] | None = None) -> list[Gpu]:
    """The GPUs of a machine, of these models."""
    return [Gpu(index, f"GPU-{index}", None, name, instances) for index, name in enumerate(names)]


H200S = gpus(*["NVIDIA H200"] * 4)


@pytest.mark.parametrize(
    ("seen", "environ", "found"),
    [
        (H200S, {}, ("0", "1", "2", "3")),
        (H200S, {"CUDA_VISIBLE_DEVICES": "3, 1"}, ("3", "1")),
        (H200S, {"CUDA_VISIBLE_DEVICES": "3,9,1"}, ("3",)),
        (H200S, {"CUDA_VISIBLE_DEVICES": "GPU-2,0"}, ("GPU-2", "0")),
        (H200S, {"CUDA_VISIBLE_DEVICES": ""}, ()),
        (H200S, {"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        # CUDA counts the fastest first, NVML does not.
        (gpus("NVIDIA T4", "NVIDIA H200"), {}, ("GPU-0", "GPU-1")),
        (gpus("NVIDIA T4", "NVIDIA H200"), {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, ("0", "1")),
        (gpus("NVIDIA H200", instances={"MIG-a": 1, "MIG-b": 2}), {}, ("MIG-a", "MIG-b")),
        (None, {}, None),
        (None, {"CUDA_VISIBLE_DEVICES": "0,GPU-x,-1,2"}, ("0", "GPU-x")),
        (None, {"CUDA_VISIBLE_DEVICES": ""}, ()),
    ],
)
def test_each_visible_gpu_is_named_as_the_variable_would_name_it(
    seen: list[Gpu] | None, environ: dict[str, str], found: tuple[str, ...] | None
) -> None:
    assert entries(seen, environ) == found


@given(workers=st.integers(1, 9), visible=st.lists(st.text("0123", min_size=1), unique=True))
def test_each_worker_has_one_of_its_own_or_there_are_too_few(
    workers: int, visible: list[str]
) -> None:
    if not visible:
        assert shares(workers, visible) == (None,) * workers
    elif workers > len(visible):
        with pytest.raises(NotEnoughGpus):
            shares(workers, visible)
        assert {*shares(workers, visible, shared=True)} == {*visible}
    else:
        assert shares(workers, visible) == tuple(visible[:workers])


def test_where_gpus_are_not_known_nothing_is_shown_or_refused() -> None:
    assert shares(3, None, gpus=2) == (None, None, None)


def test_a_test_has_as_many_as_it_asks_for() -> None:
    assert shares(1, ("3", "1", "2"), gpus=2) == ("3,1",)
    with pytest.raises(NotEnoughGpus, match="the test asks for 2 GPUs, and 1 GPU is visible"):
        shares(1, ("3",), gpus=2, shared=True)
