"""Times one streamed layer against performer-pytorch, forward and backward.

    make bench
    python -m experiments.bench.streaming_performer --tokens 10733 --repeats 9

Both run float32 on the CPU, all cores, one cell as wide as the study's vocabulary, on
random weights of the same shapes; that they compute the same is the business of
tests/parity. The runs take turns, so that a noisy machine disturbs all of them alike;
only the ratios count. 8 heads, not the study's 10: performer-pytorch wants the width
(128) to be a multiple of their number. Three runs on two cores shared with strangers,
2026-11: 1.9, 1.4 and 1.2 times as fast.
"""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import tyro

from scmultimodal.ops import favor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the layer and of the measurement.

    Attributes:
        tokens: genes of the cell.
        cells: cells of the batch.
        dim: width of the residual stream.
        heads: attention heads; must divide `dim` (performer-pytorch).
        key_size: width of a head.
        repeats: timed runs of each contestant, after one that warms up.
    """

    tokens: int = 10_733
    cells: int = 1
    dim: int = 128
    heads: int = 8
    key_size: int = 64
    repeats: int = 5

    def __post_init__(self):
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be a multiple of heads {self.heads}")
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, not {self.repeats}")


def main(config: Config) -> None:
    """Prints a Markdown table of median times and ratios."""
    contestants = {
        "performer-pytorch": performer_pytorch(config),
        "ours, exact GELU": streaming_layer(config, approximate_gelu=False),
        "ours, tanh GELU (default)": streaming_layer(config, approximate_gelu=True),
    }
    seconds = take_turns(contestants, config.repeats)
    reference = statistics.median(seconds["performer-pytorch"])
    print(
        f"\nOne layer, forward + backward, median of {config.repeats} turns: {config}\n"
    )
    print("| layer | ms | times as fast |\n|---|---:|---:|")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"| {name} | {1e3 * median:,.0f} | {reference / median:.2f} |")


def take_turns(
    contestants: dict[str, Callable[[], Any]], repeats: int
) -> dict[str, list[float]]:
    """Seconds of each run; the contestants alternate."""
    for run in contestants.values():
        run()
    seconds = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def streaming_layer(config: Config, *, approximate_gelu: bool) -> Callable[[], Any]:
    """Our layer: a call computes the gradients of weights and input."""
    dim, hidden = config.dim, 4 * config.dim
    by_head = (dim, config.heads, config.key_size)
    shapes = favor.LayerParameters(
        attention_norm_scale=(dim,),
        attention_norm_offset=(dim,),
        query=by_head,
        key=by_head,
        value=by_head,
        output=(config.heads, config.key_size, dim),
        output_bias=(dim,),
        feed_forward_norm_scale=(dim,),
        feed_forward_norm_offset=(dim,),
        feed_forward_in=(dim, hidden),
        feed_forward_in_bias=(hidden,),
        feed_forward_out=(hidden, dim),
        feed_forward_out_bias=(dim,),
    )
    keys = jax.random.split(jax.random.key(0), len(shapes) + 2)
    parameters = favor.LayerParameters(
        *(
            0.1 * jax.random.normal(key, shape)
            for key, shape in zip(keys, shapes, strict=False)
        )
    )
    x = jax.random.normal(keys[-1], (config.cells, config.tokens, dim))
    num_features = favor.default_num_features(config.key_size)
    projection = favor.orthogonal_projection(keys[-2], num_features, config.key_size)

    def loss(parameters: favor.LayerParameters, x: jax.Array) -> jax.Array:
        y = favor.layer(parameters, projection, x, approximate_gelu=approximate_gelu)
        return jnp.square(y).mean()

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    return lambda: jax.block_until_ready(gradient(parameters, x))


def performer_pytorch(config: Config) -> Callable[[], Any]:
    """Its layer of the same shape, doing the same work."""
    # Threads that spin between turns would steal the cores from us.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch  # pyright: ignore[reportMissingImports]  (extra: parity)
    from performer_pytorch import Performer  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    performer = Performer(
        dim=config.dim,
        depth=1,
        heads=config.heads,
        dim_head=config.key_size,
        qkv_bias=False,
    ).eval()
    x = torch.randn(config.cells, config.tokens, config.dim, requires_grad=True)

    def run() -> None:
        performer.zero_grad()
        x.grad = None
        performer(x).square().mean().backward()

    return run


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
