"""Times loaders of random cells: dense uint8 batches of the study's 10,733 genes.

    make bench                                                   # what is installed
    python -m experiments.bench.loading --cells 4000 --turns 2   # a glance

With every contestant, which takes Python 3.12 or later (annbatch needs it):

    python3.13 -m venv build/venv-loading
    build/venv-loading/bin/pip install -e '.[eval]' scdataset 'annbatch[zarrs,numba]'
    build/venv-loading/bin/python -m experiments.bench.loading

and on Python 3.11, without annbatch:

    python3.11 -m venv build/venv-loading
    build/venv-loading/bin/pip install -e '.[eval]' scdataset
    build/venv-loading/bin/python -m experiments.bench.loading

A turn is an epoch, in one process: 50,000 cells, of whose genes a tenth is not zero, in
batches of 256. The files are made once, by seed, and lie in memory (the page cache)
after the first epoch. Ours hands out whole batches of the library, sampling included,
in truly random order on one thread; what the others shuffle and on how many threads
stands in the table. scDataset and annbatch run as they document it, and in truly random
order too; no batch is converted to a tensor.

Writes loading.json, loading.md and loading.png to `--out`.
"""

import dataclasses
from pathlib import Path
from typing import Any

import tyro

from experiments.bench import kept, pictures, random_cells, report, turns
from experiments.bench.report import Players
from experiments.bench.turns import Player
from scmultimodal.data import atomic

CONTESTANTS = {
    "ours": ("ours, dense", "random", {"tokens": "all"}),
    "ours_packed": ("ours, non-zero genes", "random", {"tokens": "nonzero"}),
    "in_numpy": ("NumPy on our files", "random", {}),
    "backed_h5ad": ("h5ad, backed", "random", {}),
    "sc_dataset": (
        "scDataset",
        "blocks of 16, mixed over 4,096 cells",
        {"block": 16, "fetch": 4_096},
    ),
    "sc_dataset_random": ("scDataset, rows", "random", {"block": 1, "fetch": 4_096}),
    "annbatch": (
        "annbatch",
        "shuffled once, then blocks of 32, mixed over 8,192 cells; all cores",
        {"block": 32, "fetch": 8_192},
    ),
    "annbatch_random": (
        "annbatch, rows",
        "random; all cores",
        {"block": 1, "fetch": 8_192},
    ),
}
"""Key → name in the table, what it shuffles, settings.

scDataset's blocks, and the 16 batches that it fetches at once, are those of its
examples; annbatch's blocks, and the cells that it mixes, those of its README.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured, and how often.

    Attributes:
        cells: of the dataset; at most those of one shard.
        genes: of a cell.
        density: share of the genes that are not zero.
        batch: cells of a batch.
        turns: epochs of each contestant, after one that warms up.
        minutes: no turn is begun that would end later; the first always is.
        out: folder of the results, and of the files in between.
        keep: also keeps the table for README and site (`bench.kept`).
    """

    cells: int = 50_000
    genes: int = 10_733
    density: float = 0.1
    batch: int = 256
    turns: int = 9
    minutes: float = 5
    out: Path = Path("build/bench")
    keep: bool = False

    def __post_init__(self):
        if not 1 <= self.batch <= self.cells <= 65_536:
            raise ValueError("1 ≤ batch ≤ cells ≤ 65,536 must hold")
        if self.genes < 1 or self.turns < 1 or not 0 < self.density < 1:
            raise ValueError("genes and turns must be above 0, density in (0, 1)")


def main(config: Config) -> dict[str, Any]:
    """Runs all that is installed, and writes what came out."""
    size = f"{config.cells}x{config.genes}x{config.density}"
    folder = config.out / "random_cells" / size
    random_cells.make(
        folder, cells=config.cells, genes=config.genes, density=config.density
    )
    shared = {"folder": str(folder), "cells": config.cells, "batch": config.batch}
    with turns.starting() as start:
        players = {
            key: start(name, "cells", loader=loader_of(key), **shared, **how)
            for key, (name, _, how) in CONTESTANTS.items()
        }
        turns.take_turns([*players.values()], config.turns, minutes=config.minutes)
    words, results = markdown(players), summarise(players)
    results |= {"config": config, **report.circumstances()}
    report.write(config.out / "loading.json", results)
    atomic.write_text(config.out / "loading.md", words + "\n")
    speeds = {p.name: speed(p) for p in players.values() if not p.absent}
    panels = {"random cells per second": speeds}
    pictures.bars(panels, config.out / "loading.png", pattern="{:,.0f}")
    print(words)
    if config.keep:
        kept.keep("loading", words)
    return results


def speed(player: Player) -> float | None:
    """Cells per second, by the median epoch."""
    return player.median and player.facts["cells"] / player.median


def summarise(players: Players) -> dict[str, Any]:
    """Speeds, and how many times as fast ours is."""
    speeds = {key: speed(player) for key, player in players.items()}
    ours = speeds["ours"]
    records = {key: report.record(player) for key, player in players.items()}
    for record in records.values():  # A process begins with the peak of its parent.
        del record["memory_mb"], record["peak_process_mb"]
    return {
        "cells_per_second": speeds,
        "ours_over": {
            key: ours and other and ours / other for key, other in speeds.items()
        },
        "contestants": records,
    }


def markdown(players: Players) -> str:
    """The table, and who is not in it."""
    ratios = summarise(players)["ours_over"]
    rows = [
        [
            player.name,
            report.number(speed(player)),
            report.number(ratios[key], ".1f"),
            CONTESTANTS[key][1],
        ]
        for key, player in players.items()
        if not player.absent
    ]
    columns = ("loader", "cells/s", "ours, dense / it", "order of cells")
    absent = [f"{p.name} ({p.absent})" for p in players.values() if p.absent]
    left_out = f"\n\nLeft out: {'; '.join(absent)}." if absent else ""
    return report.table(columns, rows) + left_out


def loader_of(key: str) -> str:
    """What of `cells.LOADERS` a contestant is."""
    return "ours" if key.startswith("ours") else key.removesuffix("_random")


if __name__ == "__main__":
    main(
        tyro.cli(
            Config, description=__doc__, prog="python -m experiments.bench.loading"
        )
    )
