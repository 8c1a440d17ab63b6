"""scBERT's language model in torch, on layers of performer-pytorch.

Sum of value and gene embedding, `Performer`, LayerNorm, linear head at all tokens,
cross-entropy of the hidden ones, AdamW. Two differences to scBERT's file: its embedding
of genes comes from gene2vec, and is trained here; and performer-pytorch refuses a width
that is no multiple of the number of heads (scBERT: 200 of 10), although nothing in it
needs that where the width of a head is given. So the layers are built with one head,
and their projections replaced by those of all heads.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import performer_pytorch  # pyright: ignore[reportMissingImports]  (extra: parity)
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]

from experiments.bench import shape as shapes
from experiments.bench.contestants import AbsentError, Contestant, peak_of_process
from experiments.bench.shape import Shape


def build(
    *,
    shape: Shape,
    attention: str = "favor",
    dtype: str = "float32",
    platform: str = "cpu",
    threads: int | None = None,
) -> Contestant:
    """The same step in torch.

    Args:
        shape: of the step.
        attention: "favor", or "exact" (`scaled_dot_product_attention`).
        dtype: "float32", or "bfloat16" by autocast.
        platform: what JAX computes on, "cpu" or "gpu"; torch does so too.
        threads: on a CPU; None tries half of the cores and all, and takes the faster.
    """
    cores = _usable_cores()
    numbers = sorted({max(cores // 2, 1), cores})
    torch.set_num_threads(threads or cores)
    on_gpu = platform == "gpu" and torch.cuda.is_available()
    if platform != "cpu" and not on_gpu:
        raise AbsentError(f"torch does not see the {platform}")
    # On a GPU, JAX takes float32 products to be TF32.
    torch.set_float32_matmul_precision("high" if on_gpu else "highest")
    device = torch.device("cuda" if on_gpu else "cpu")
    torch.manual_seed(0)
    model = Model(shape, exact=attention == "exact").to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    visible, labels = (
        torch.as_tensor(array, dtype=torch.long, device=device)
        for array in shapes.hide(shapes.random_bins(shape))
    )

    def run() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, dtype == "bfloat16"):
            logits = model(visible)
        loss = functional.cross_entropy(
            logits.float().flatten(0, 1),
            labels.flatten(),
            ignore_index=shapes.NOT_HIDDEN,
        )
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()  # Waits for the device.

    return Contestant(
        step=run,
        facts={"torch": torch.__version__, "threads": threads or cores},
        warm_up=None if on_gpu or threads else lambda: choose_threads(run, numbers),
        peak_bytes=torch.cuda.max_memory_allocated if on_gpu else peak_of_process,
    )


def choose_threads(run: Callable[[], float], numbers: Sequence[int]) -> dict[str, Any]:
    """Warms up, and leaves torch with the number of threads that is fastest."""
    seconds = {}
    run()
    for number in numbers:
        torch.set_num_threads(number)
        begun = time.perf_counter()
        run()
        seconds[number] = time.perf_counter() - begun
    best = min(seconds, key=seconds.__getitem__)
    torch.set_num_threads(best)
    return {"threads": best, "seconds_by_threads": seconds}


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Model(nn.Module):
    """Value bins to logits."""

    def __init__(self, shape: Shape, *, exact: bool):
        super().__init__()
        self.values = nn.Embedding(shapes.NUM_BINS + 2, shape.dim)
        self.genes = nn.Embedding(shape.tokens, shape.dim)
        self.performer = performer_pytorch.Performer(
            dim=shape.dim,
            depth=shape.layers,
            heads=1,
            dim_head=shape.key_size,
            ff_mult=shapes.FEED_FORWARD,
            qkv_bias=False,
        )
        for module in self.performer.modules():
            if isinstance(module, performer_pytorch.SelfAttention):
                give_heads(module, shape)
                if exact:
                    module.fast_attention = SoftmaxAttention()
        self.norm = nn.LayerNorm(shape.dim)
        self.head = nn.Linear(shape.dim, shapes.NUM_BINS)

    def forward(self, visible):
        x = self.values(visible) + self.genes.weight
        return self.head(self.norm(self.performer(x)))


def give_heads(attention, shape: Shape) -> None:
    """Makes an attention of one head one of all heads."""
    inner = shape.heads * shape.key_size
    attention.heads = attention.global_heads = shape.heads
    attention.to_q = nn.Linear(shape.dim, inner, bias=False)
    attention.to_k = nn.Linear(shape.dim, inner, bias=False)
    attention.to_v = nn.Linear(shape.dim, inner, bias=False)
    attention.to_out = nn.Linear(inner, shape.dim)


class SoftmaxAttention(nn.Module):
    """In the place of `FastAttention`."""

    def forward(self, queries, keys, values):
        return functional.scaled_dot_product_attention(queries, keys, values)
