"""A jitted training step in JAX, memory not preallocated."""

from __future__ import annotations

import os

os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
os.environ["XLA_FLAGS"] = "--xla_gpu_autotune_level=0"

import jax
import jax.numpy as jnp
import numpy
import nvtx


def loss(parameters: list[jax.Array], inputs: jax.Array, targets: jax.Array) -> jax.Array:
    hidden = inputs
    for weight in parameters[:-1]:
        hidden = jax.nn.gelu(hidden @ weight)
    return jnp.mean((hidden @ parameters[-1] - targets) ** 2)


@jax.jit
def step(parameters: list[jax.Array], inputs: jax.Array, targets: jax.Array) -> list[jax.Array]:
    gradients = jax.grad(loss)(parameters, inputs, targets)
    return [weight - 1e-3 * change for weight, change in zip(parameters, gradients, strict=True)]


def main() -> None:
    draw = numpy.random.default_rng(0)
    shapes = [(512, 1024), (1024, 1024), (1024, 256)]
    parameters = [jnp.asarray(draw.normal(size=s).astype("float32")) / 32 for s in shapes]
    inputs = jnp.asarray(draw.normal(size=(256, 512)).astype("float32"))
    targets = jnp.asarray(draw.normal(size=(256, 256)).astype("float32"))
    with nvtx.annotate("compile"):
        jax.block_until_ready(step(parameters, inputs, targets))
    with nvtx.annotate("train"):
        for number in range(10):
            with nvtx.annotate(f"step {number}"):
                parameters = step(parameters, inputs, targets)
        jax.block_until_ready(parameters)
    with nvtx.annotate("unjitted"):
        value = loss(parameters, inputs, targets)
        numpy.asarray(value)
    with nvtx.annotate("to host"):
        [numpy.asarray(weight) for weight in parameters]


if __name__ == "__main__":
    main()
