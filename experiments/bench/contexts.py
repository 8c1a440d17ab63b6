"""What longer windows cost a training in segmentation: time and memory of one step.

    python -m experiments.bench.contexts
    python -m experiments.bench.contexts --shapes study --windows 3000 30000 --turns 1

One window a batch: forward, backward, Adam; float32. `small` is the preset of two CPU
cores, `study` NT-v2 50M with SegmentNT's head, its layers recomputed in the backward
pass. Memory is what XLA sets aside beside parameters, moments and batch.
"""

import dataclasses
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from experiments.bench import report
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.schemas.batches import SegmentationBatch
from scmultimodal.training import parallel
from scmultimodal.training.optimizers import build_optimizer, trainable
from scmultimodal.training.state import begin
from scmultimodal.workflows import genome_presets, segmentation
from scmultimodal.workflows.presets import PresetName


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured.

    Attributes:
        windows: lengths in bp; multiples of 24.
        shapes: presets whose shapes are measured.
        turns: steps timed of each, after one that is not.
        out: folder of the results.
    """

    windows: tuple[int, ...] = (3_000, 10_008, 30_000)
    shapes: tuple[PresetName, ...] = ("small", "study")
    turns: int = 3
    out: Path = Path("build/bench")


def main(config: Config) -> int:
    """Measures, prints the table and writes it as JSON."""
    rows = []
    for shape in config.shapes:
        for window_bp in config.windows:
            print(f"{shape}, {window_bp:,} bp", file=sys.stderr, flush=True)
            rows.append(measure(shape, window_bp, config.turns))
            print(rows[-1], file=sys.stderr, flush=True)
    print(markdown(rows))
    content = {"rows": rows, **report.circumstances()}
    report.write(config.out / "contexts.json", content)
    return 0


def measure(shape: PresetName, window_bp: int, turns: int) -> dict[str, Any]:
    """Time of a step and the memory that it needs."""
    numbers = genome_presets.GENOME_PRESETS[shape].segmentation
    encoder = dataclasses.replace(numbers.shape, remat=shape == "study")
    numbers = dataclasses.replace(numbers, shape=encoder, window_bp=window_bp)
    task = segmentation.make_task(numbers, None)
    batch = random_window(window_bp)
    params, network_state = jax.jit(task.init)(jax.random.PRNGKey(0), batch)
    optimizer = segmentation.optimizer_of(numbers)
    adamw = build_optimizer(optimizer, params, numbers.steps)
    over = parallel.build()
    state = begin(params, network_state, adamw, jax.random.PRNGKey(1))
    state = jax.tree.map(np.asarray, state)
    step = over.train_step(
        task,
        adamw,
        trainable=trainable(optimizer, params),
        microbatches=1,
        skip_spikes=None,
    )
    vote = over.vote(None)
    begun = time.monotonic()
    compiled = step.lower(*over.shapes(state, batch), vote).compile()
    compile_s = time.monotonic() - begun
    state, placed = over.replicate(state), over.place(batch)
    seconds = []
    for _ in range(turns + 1):
        begun = time.monotonic()
        state, _ = jax.block_until_ready(step(state, placed, vote))
        seconds.append(time.monotonic() - begun)
    memory = compiled.memory_analysis()
    return {
        "shape": shape,
        "window_bp": window_bp,
        "tokens": window_bp // numbers.k + 1,
        "ms": 1e3 * statistics.median(seconds[1:]),
        "temporary_mb": memory.temp_size_in_bytes / 1e6,
        "compile_s": compile_s,
    }


def random_window(window_bp: int) -> SegmentationBatch:
    """One window of random letters and labels."""
    rng = np.random.default_rng(0)
    letters = rng.choice(np.frombuffer(b"ACGT", np.uint8), (1, window_bp))
    return SegmentationBatch(
        token_ids=KmerTokenizer().encode_frame(letters),
        labels=rng.integers(0, 2**14, (1, window_bp)).astype(np.uint16),
        known=np.full(1, 2**14 - 1, np.uint16),
        sequence_mask=np.ones(1, bool),
        row=np.zeros(1, np.int32),
    )


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table of the README."""
    lines = [
        "| shape | window, bp | tokens | ms per window | µs per bp | temporary MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r['shape']} | {r['window_bp']:,} | {r['tokens']:,} | {r['ms']:,.0f} | "
        f"{1e3 * r['ms'] / r['window_bp']:,.0f} | {r['temporary_mb']:,.0f} |"
        for r in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
