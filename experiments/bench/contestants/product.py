"""A large matrix product: how fast the machine can be, by the same compiler."""

import jax
import jax.numpy as jnp

from experiments.bench.contestants import Contestant


def build(
    *, width: int = 2048, dtype: str = "float32", products: int = 8
) -> Contestant:
    """Multiplies random square matrices, several times a step."""
    left, right = jax.random.normal(jax.random.key(0), (2, width, width), dtype)
    # Sums in float32, as in our steps; on a CPU rounding them takes longer.
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b, preferred_element_type="float32"))

    def run() -> float:
        result = left
        for _ in range(products):
            result = multiply(left, right)
            # One after the other, as the products of a layer are.
            result.block_until_ready()
        return float(result[0, 0])

    device = jax.local_devices()[0]
    return Contestant(
        step=run,
        facts={
            "flop": products * 2 * width**3,
            "platform": device.platform,
            "device": device.device_kind,
            "jax": jax.__version__,
        },
    )
