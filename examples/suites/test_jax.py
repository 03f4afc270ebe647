"""JAX: a step that is compiled as a whole, and data that stays on the GPU."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pytest_nsys import Nsys

pytestmark = pytest.mark.nsys


@pytest.fixture(scope="module")
def jax() -> Any:
    # Or JAX takes three quarters of the GPU's memory, and tests of others have too little.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    module = pytest.importorskip("jax")
    if module.default_backend() != "gpu":
        pytest.skip("needs a GPU")
    return module


def test_step(jax: Any, nsys: Nsys, slip: bool) -> None:
    """The slip: the step has lost its jit, and each operation is a kernel."""
    jnp = jax.numpy
    keys = jax.random.split(jax.random.key(0), 3)
    weights = [0.02 * jax.random.normal(keys[0], (1024, 4096))]
    weights += [0.02 * jax.random.normal(keys[1], (4096, 1024))]
    batch = jax.random.normal(keys[2], (256, 1024))

    def loss(weights: Any, batch: Any) -> Any:
        hidden = jax.nn.gelu(batch @ weights[0])
        return jnp.mean(jnp.square(hidden @ weights[1] - batch))

    def step(weights: Any, batch: Any) -> Any:
        gradients = jax.grad(loss)(weights, batch)
        return [old - 1e-3 * gradient for old, gradient in zip(weights, gradients, strict=True)]

    run = step if slip else jax.jit(step)
    # JAX returns before the GPU is done, or has even begun: a round waits for what it started.
    nsys(lambda: jax.block_until_ready(run(weights, batch)))


@pytest.mark.nsys(budget={"memcpy.h2d.bytes": 0})
def test_prediction(jax: Any, nsys: Nsys, slip: bool) -> None:
    """The slip: weights as they were read from a file, copied to the GPU in each call."""
    import numpy as np

    from_file = np.full((4096, 4096), 0.01, dtype=np.float32)
    weights = from_file if slip else jax.device_put(from_file)
    batch = jax.numpy.ones((256, 4096))
    predict = jax.jit(lambda weights, batch: jax.nn.relu(batch @ weights))
    nsys(lambda: jax.block_until_ready(predict(weights, batch)))
