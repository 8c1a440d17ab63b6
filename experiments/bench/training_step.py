"""Times one training step of the cell model against what others would run.

    make bench                                       # torch included, up to 20 minutes
    make bench ARGS="--tokens 300 --turns 1"         # a glance
    python -m experiments.bench.training_step        # what is not installed is left out

A step is forward, backward and AdamW of pre-training on RNA: the hidden value bins of
one cell as wide as the study's vocabulary. Ours is the library's own task, optimiser
and parallelism; it computes the last layer at the tokens to be predicted alone. Beside
it: scBERT's model in torch on performer-pytorch (float32, and bfloat16 by autocast),
the same translated to JAX without a thought of memory, and softmax attention in both,
at fewer tokens since its time grows with their square. JAX_PLATFORMS may name an
accelerator; torch's softmax attention runs there in bfloat16 too.

Ratios are median times over ours in the same precision. Peak temporary memory is XLA's
plan for JAX and the growth of the process for torch. `matmul_share` is the arithmetic
that the step needs per second, over the rate of 2048 × 2048 products in the same turns:
that of the layers forward and twice as much backward, nothing recomputed, and of the
last layer no row that is left out. The file has two other counts beside it: that of
whole layers, and all products that are executed, recomputed ones too.

Writes training_step.json and training_step.png to `--out`.
"""

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from experiments.bench import kept, pictures, report, turns
from experiments.bench.report import Players
from experiments.bench.shape import Shape, step_flop
from experiments.bench.turns import Player

MEMORY_CELLS = (1, 2, 4)
"""Cells of the batches whose memory XLA is asked for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured, and for how long.

    Attributes:
        shape: of the step.
        turns: of each contestant, after one that warms up.
        minutes: no turn is begun that would end later; the first always is.
        threads: of torch on a CPU; None tries half of the cores and all.
        product_width: of the square matrices that the machine's rate is taken from.
        out: folder of the results.
        keep: also keeps the table for README and site (`bench.kept`).
    """

    shape: tyro.conf.OmitArgPrefixes[Shape] = dataclasses.field(default_factory=Shape)
    turns: int = 7
    minutes: float = 18
    threads: int | None = None
    product_width: int = 2048
    out: Path = Path("build/bench")
    keep: bool = False

    def __post_init__(self):
        if self.turns < 1:
            raise ValueError(f"turns must be at least 1, got {self.turns}")


def main(config: Config) -> dict[str, Any]:
    """Measures, prints, writes, and returns what it wrote."""
    begun = time.monotonic()
    memory = temporary_mb(config.shape)
    with turns.starting() as start:
        players = start_all(config, start)
        left = config.minutes - (time.monotonic() - begun) / 60
        taken = turns.take_turns(list(players.values()), config.turns, minutes=left)
    results = summarise(config.shape, players) | {"temporary_mb": memory}
    print(f"\n{markdown(players)}\n\n{headline(results)}\n")
    results |= {"config": config, "turns": taken, **report.circumstances()}
    report.write(config.out / "training_step.json", results)
    print(f"Wrote {draw(players, config.out / 'training_step.png')}")
    if config.keep:
        kept.keep("training_step", markdown(players))
    return results


def start_all(config: Config, start: Callable[..., Player]) -> Players:
    """Contestants by their key in the results, in the order of their turns."""
    shape, width = config.shape, config.product_width
    product = start("matrix product, float32", "product", width=width)
    accelerated = product.facts.get("platform", "cpu") != "cpu"
    torch = {
        "platform": product.facts.get("platform", "cpu"),
        "threads": config.threads,
    }

    def resized(tokens: int) -> dict[str, Shape]:
        return {"shape": dataclasses.replace(shape, tokens=max(tokens, 1))}

    low = {"dtype": "bfloat16"}
    half, double = resized(shape.tokens // 2), resized(2 * shape.tokens)
    fewer = resized(shape.tokens if accelerated else shape.tokens // 4)
    players = {
        "product_float32": product,
        "product_bfloat16": start(
            "matrix product, bfloat16", "product", width=width, **low
        ),
        "ours": start("ours, float32", "ours", shape=shape),
        "ours_bfloat16": start("ours, bfloat16", "ours", shape=shape, **low),
        "literal_jax": start("literal port to JAX", "literal", shape=shape),
    }
    for dtype in ("float32", "bfloat16"):
        players[f"performer_pytorch_{dtype}"] = start(
            f"performer-pytorch, {dtype}",
            "torch_performer",
            shape=shape,
            dtype=dtype,
            **torch,
        )
    players["ours_half"] = start("ours, half the tokens", "ours", **half)
    players["ours_double"] = start("ours, twice the tokens", "ours", **double)
    if not accelerated:
        players["ours_fewer"] = start("ours, a fourth of the tokens", "ours", **fewer)
    exact = fewer | {"attention": "exact"}
    players["exact_jax"] = start("softmax attention, JAX (ours)", "ours", **exact)
    players["sdpa_float32"] = start(
        "softmax attention, torch", "torch_performer", **exact, **torch
    )
    if accelerated:
        players["sdpa_bfloat16"] = start(
            "softmax attention, torch, bfloat16",
            "torch_performer",
            **exact,
            **torch,
            **low,
        )
    return players


def temporary_mb(shape: Shape) -> dict[str, Any]:
    """XLA's temporaries of our step, and how they grow with the batch."""
    sizes = {}
    for cells in MEMORY_CELLS:
        batch = dataclasses.replace(shape, cells=cells)
        sizes[cells] = turns.facts("ours", shape=batch).get("temporary_mb")
    fewest, most = sizes[MEMORY_CELLS[0]], sizes[MEMORY_CELLS[-1]]
    growth = None
    if fewest is not None and most is not None:
        growth = (most - fewest) / (MEMORY_CELLS[-1] - MEMORY_CELLS[0])
    return {"batch_1": fewest, "per_further_cell": growth, "by_cells": sizes}


def summarise(shape: Shape, players: Players) -> dict[str, Any]:
    """Ratios and rates."""
    ratios = {
        key: report.ratio_to_ours(player, players.values())
        for key, player in players.items()
        if player.module != "product" and not report.is_ours(player)
    }
    asked = ("performer_pytorch_float32", "performer_pytorch_bfloat16", "literal_jax")
    shares = {
        dtype: matmul_shares(shape, ours, players.get(f"product_{dtype}"))
        for dtype, ours in (
            ("float32", players["ours"]),
            ("bfloat16", players["ours_bfloat16"]),
        )
    }
    sizes = [players[key] for key in ("ours_half", "ours", "ours_double")]
    return {
        "ratios": {key: ratios.pop(key) for key in asked}
        | {"matmul_share": shares["float32"]["needed"]},
        "ratios_of_softmax_attention": ratios,
        "matmul_shares": shares,
        "exponents": {
            "ours": report.exponent(
                [player.settings["shape"].tokens for player in sizes],
                [player.median for player in sizes],
            )
        },
        "compile_seconds": {
            key: player.facts["compile_seconds"]
            for key, player in players.items()
            if "compile_seconds" in player.facts
        },
        "contestants": {key: report.record(player) for key, player in players.items()},
    }


def matmul_shares(
    shape: Shape, ours: Player | None, product: Player | None
) -> dict[str, float | None]:
    """Share of the rate of large products, by what is counted of the step."""
    counts = {
        "needed": step_flop(shape, last_layer_rows=shape.predicted),
        "whole_layers": step_flop(shape),
        "executed": ours and ours.facts.get("executed_flop"),
    }
    return {name: report.share(flop, ours, product) for name, flop in counts.items()}


def markdown(players: Players) -> str:
    """The table of contestants."""
    rows = []
    for key, player in players.items():
        if player.module == "product":
            continue
        own = players.get("product_bfloat16") if "bfloat16" in key else None
        product = own or players["product_float32"]
        ratio = report.ratio_to_ours(player, players.values())
        used = report.share(report.needed_flop(player), player, product)
        rows.append(
            [
                player.name,
                f"{player.settings['shape'].tokens:,}",
                report.milliseconds(player),
                report.number(ratio, ".2f"),
                report.number(player.memory_mb),
                report.number(used, ".0%"),
            ]
        )
    columns = (
        "one training step|tokens|ms|time / ours|peak temporary MB|of product rate"
    )
    return report.table(columns.split("|"), rows)


def headline(results: dict[str, Any]) -> str:
    """The numbers that are asked for, in lines."""
    lines = {
        f"ratio, {name}": report.number(value, ".2f")
        for name, value in results["ratios"].items()
    }
    memory, compiling = results["temporary_mb"], results["compile_seconds"].get("ours")
    growth = report.number(memory["per_further_cell"])
    lines |= {
        "temporaries, one cell": f"{report.number(memory['batch_1'])} MB",
        "temporaries, each further cell": f"{growth} MB",
        "exponent in tokens": report.number(results["exponents"]["ours"], ".2f"),
        "compiling": f"{report.number(compiling, '.1f')} s",
    }
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines.items())


def draw(players: Players, path: Path) -> Path:
    """Time and memory of each contestant as bars."""
    shown = [player for player in players.values() if player.module != "product"]
    panels = {
        "seconds per step": {player.name: player.median for player in shown},
        "peak temporary memory, GB": {
            player.name: player.memory_mb and player.memory_mb / 1e3 for player in shown
        },
    }
    return pictures.bars(panels, path, pattern="{:.2f}")


if __name__ == "__main__":
    prog = "python -m experiments.bench.training_step"
    results = main(tyro.cli(Config, description=__doc__, prog=prog))
    if results["ratios"]["matmul_share"] is None:
        sys.exit("ours or the matrix product did not run")
