"""What open peaks cost a training: time and memory of one step against tokens.

    python -m experiments.bench.peak_tokens
    python -m experiments.bench.peak_tokens --sizes small --tokens 500 1000 --turns 1

A step is forward, backward and AdamW of telling 256 genes from the open peaks of one
cell (`tasks.gene_from_peaks`): of `small`, 64 wide with two layers, and of
EpiFoundation, 512 wide with six. FAVOR+ and softmax attention take turns at all numbers
of tokens, softmax up to `--exact-tokens`.
Memory is what XLA sets aside beside parameters, moments and batch: gradients are a part
of it. Larger batches of the longest cells are compiled for their memory, and not run.

Writes peak_tokens.json to `--out`.
"""

import dataclasses
import itertools
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np
import tqdm
import tyro

from experiments.bench import kept, report
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.modules.peak_encoder import PeakEncoderConfig
from scmultimodal.modules.performer import PerformerConfig
from scmultimodal.schemas.batches import CellBatch, PeakTokens
from scmultimodal.tasks.gene_from_peaks import GeneFromPeaks, GeneFromPeaksConfig
from scmultimodal.training import parallel
from scmultimodal.training.optimizers import OptimizerConfig, build_optimizer
from scmultimodal.training.state import begin
from scmultimodal.workflows import presets

Size = Literal["small", "EpiFoundation"]
Attention = Literal["favor", "exact"]
PATHS: dict[Size, PerformerConfig] = {
    "small": presets.SMALL.pretrain.path,
    "EpiFoundation": presets.EPIFOUNDATION.pretrain.peaks.path,
}
NAMES: dict[Attention, str] = {"favor": "FAVOR+", "exact": "softmax"}
CHROMS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured.

    Attributes:
        sizes: of the network.
        tokens: open peaks of a cell.
        exact_tokens: the most that softmax attention is timed at.
        cells: of larger batches whose memory is asked for, at the most tokens.
        peaks: that the model knows.
        genes: of the vocabulary.
        turns: steps timed of each, after one that is not.
        minutes: of each size; no turn is begun that would end later, but the first.
        out: folder of the results.
        keep: also keeps the tables for README and site (`bench.kept`).
    """

    sizes: tuple[Size, ...] = get_args(Size)
    tokens: tuple[int, ...] = (500, 1_000, 2_000, 4_000, 8_000, 12_000)
    exact_tokens: int = 4_000
    cells: tuple[int, ...] = (2, 4)
    peaks: int = 25_734
    genes: int = 1_677
    turns: int = 3
    minutes: float = 20
    out: Path = Path("build/bench")
    keep: bool = False


class Steps:
    """Compiled steps of one size and one attention, and the state they pass on."""

    def __init__(self, config: Config, size: Size, attention: Attention):
        """Draws parameters."""
        self._config = config
        path = dataclasses.replace(PATHS[size], attention=attention)
        peaks = PeakEncoderConfig(num_peaks=config.peaks, num_chroms=CHROMS, path=path)
        encoder = CellEncoderConfig(
            num_genes=config.genes, path=path, atac_path="peak", peaks=peaks
        )
        task = GeneFromPeaks(GeneFromPeaksConfig(encoder=encoder))
        batch = random_batch(config, 1, 8)
        params, network_state = jax.jit(task.init)(jax.random.PRNGKey(0), batch)
        optimizer = build_optimizer(OptimizerConfig(), params, num_steps=1_000)
        self._over = parallel.build("jit", jax.local_devices()[:1])
        self._step = self._over.train_step(task, optimizer)
        self._first = begin(params, network_state, optimizer, jax.random.PRNGKey(0))
        self._state = self._over.replicate(self._first)
        self._compiled: dict[int, Any] = {}
        self._placed: dict[int, Any] = {}

    def compile(self, cells: int, tokens: int) -> Any:
        """The program of a batch shape."""
        batch = random_batch(self._config, cells, tokens)
        return self._step.lower(*self._over.shapes(self._first, batch)).compile()

    def temporary_mb(self, cells: int, tokens: int) -> float:
        """What XLA sets aside for a step."""
        return self.compile(cells, tokens).memory_analysis().temp_size_in_bytes / 1e6

    def prepare(self, tokens: int) -> float:
        """Compiles for one cell and runs once; returns its temporary MB."""
        compiled = self.compile(1, tokens)
        self._compiled[tokens] = compiled
        self._placed[tokens] = self._over.place(random_batch(self._config, 1, tokens))
        self.seconds(tokens)
        return compiled.memory_analysis().temp_size_in_bytes / 1e6

    def seconds(self, tokens: int) -> float:
        """Of one step."""
        begun = time.perf_counter()
        done = self._compiled[tokens](self._state, self._placed[tokens])
        self._state, _ = jax.block_until_ready(done)
        return time.perf_counter() - begun


def main(config: Config) -> dict[str, Any]:
    """Measures size by size, prints the tables and writes them."""
    results: dict[str, Any] = {"config": config, **report.circumstances()}
    for size in config.sizes:
        found = measure(config, size)
        results[size] = found
        # After each: what was measured for long is not lost to the last size.
        report.write(config.out / "peak_tokens.json", results)
        print(f"\n{markdown(found)}\n")
        if config.keep:
            kept.keep(f"peak_tokens_{size.lower()}", markdown(found))
    return results


def measure(config: Config, size: Size) -> list[dict[str, Any]]:
    """Both attentions at all numbers of tokens, in turns; then larger batches."""
    steps = {attention: Steps(config, size, attention) for attention in NAMES}
    asked = [
        (attention, tokens)
        for attention, tokens in itertools.product(steps, config.tokens)
        if attention == "favor" or tokens <= config.exact_tokens
    ]
    memory, seconds = {}, {each: [] for each in asked}
    for attention, tokens in tqdm.tqdm(asked, desc=f"compile {size}"):
        memory[attention, tokens] = steps[attention].prepare(tokens)
    begun = time.monotonic()
    for turn in range(config.turns):
        spent = time.monotonic() - begun
        if turn and spent * (turn + 1) / turn > 60 * config.minutes:
            print(f"{turn} turns: the time is up", file=sys.stderr)
            break
        for attention, tokens in tqdm.tqdm(asked, desc=f"{size}, turn {turn + 1}"):
            seconds[attention, tokens].append(steps[attention].seconds(tokens))
    rows = [
        _row(attention, tokens, 1, memory[attention, tokens], each)
        for (attention, tokens), each in seconds.items()
    ]
    longest, steps_of = max(config.tokens), steps["favor"]
    return rows + [
        _row("favor", longest, cells, steps_of.temporary_mb(cells, longest), [])
        for cells in config.cells
    ]


def _row(
    attention: Attention, tokens: int, cells: int, mb: float, seconds: list[float]
) -> dict[str, Any]:
    return {
        "attention": attention,
        "tokens": tokens,
        "cells": cells,
        "seconds": seconds,
        "ms": 1e3 * statistics.median(seconds) if seconds else None,
        "temporary_mb": mb,
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """A row for each batch, then the straight line through those of one cell."""
    header = ["cells", "tokens"]
    columns = [(a, key) for a in NAMES for key in ("ms", "temporary_mb")]
    for name in NAMES.values():
        header += [f"{name}, ms", "MB"]
    found = {(r["attention"], r["cells"], r["tokens"]): r for r in rows}
    body = []
    for cells, tokens in sorted({(r["cells"], r["tokens"]) for r in rows}):
        values = [found.get((a, cells, tokens), {}).get(key) for a, key in columns]
        body.append([str(cells), f"{tokens:,}", *map(report.number, values)])
    fits = [
        fit([r for r in rows if (r["attention"], r["cells"]) == (a, 1)], key)
        for a, key in columns
    ]
    for name, what, pattern in (
        ("each further 1,000", "slope", ",.1f"),
        ("the line at none", "offset", ",.0f"),
        ("R² of the line", "r2", ".4f"),
        ("exponent", "exponent", ".2f"),
    ):
        body.append(["", name, *(report.number(f[what], pattern) for f in fits)])
    return report.table(header, body)


def fit(rows: list[dict[str, Any]], key: str) -> dict[str, float | None]:
    """A straight line through values against thousands of tokens."""
    tokens = np.array([row["tokens"] for row in rows]) / 1e3
    values = np.array([row[key] for row in rows])
    if len(tokens) < 3:
        return dict.fromkeys(("slope", "offset", "r2", "exponent"))
    slope, offset = np.polyfit(tokens, values, 1)
    residual = values - (slope * tokens + offset)
    return {
        "slope": float(slope),
        "offset": float(offset),
        "r2": float(1 - residual.var() / values.var()),
        "exponent": report.exponent(list(tokens), list(values)),
    }


def random_batch(config: Config, cells: int, tokens: int) -> CellBatch:
    """Cells with so many open peaks, and RNA of a tenth of the genes."""
    rng = np.random.default_rng(0)
    order = [rng.permutation(config.peaks)[:tokens] for _ in range(cells)]
    ids = np.sort(np.stack(order), axis=1).astype(np.int32)
    chroms = (ids * CHROMS // config.peaks).astype(np.int32)
    every = np.ones(cells, bool)
    return CellBatch(
        rna=(rng.random((cells, config.genes)) < 0.1).astype(np.uint8),
        atac=None,
        rna_present=every,
        atac_present=every,
        gene_ids=None,
        token_mask=None,
        cell_mask=every,
        row=np.arange(cells, dtype=np.int32),
        label=None,
        cell_index=np.arange(cells, dtype=np.int32),
        peaks=PeakTokens(
            ids=ids,
            chroms=chroms,
            positions=1_000 * ids,
            mask=np.ones(ids.shape, bool),
        ),
    )


if __name__ == "__main__":
    prog = "python -m experiments.bench.peak_tokens"
    main(tyro.cli(Config, description=__doc__, prog=prog))
