"""Embeds simulated cells of a backed file: cells per second, and peak memory.

    python -m experiments.bench.embedding
    python -m experiments.bench.embedding --cells 2000 20000   # a glance

Random counts of 2,000 genes, of which a tenth is not zero in a cell, and an untrained
model of the small preset, which costs what a trained one does. Each size runs in a
process of its own, so that its peak is its own. Writes embedding.json to `--out`.
"""

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import tyro

from experiments.bench import random_cells, report

_GENES, _DENSITY = 2_000, 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured.

    Attributes:
        cells: of each run.
        out: folder of the result, and of the files in between.
    """

    cells: tuple[int, ...] = (10_000, 100_000)
    out: Path = Path("build/bench")


def main(config: Config) -> list[dict[str, float]]:
    """Measures all sizes, one after the other."""
    rows = []
    for cells in config.cells:
        folder = config.out / "random_cells" / f"{cells}x{_GENES}x{_DENSITY}"
        random_cells.make(folder, cells=cells, genes=_GENES, density=_DENSITY)
        rows.append(_in_a_process(folder))
        print(
            "{cells:>9,} cells  {rate:>7,.0f} a second  {seconds:>7,.1f} s  "
            "peak {peak_mb:>6,.0f} MB, {before_mb:,.0f} before".format(**rows[-1]),
            flush=True,
        )
    content = {"runs": rows, "config": config, **report.circumstances()}
    report.write(config.out / "embedding.json", content)
    return rows


def embed(folder: Path) -> dict[str, float]:
    """Embeds the cells of a folder, which its backed file holds."""
    import anndata

    from scmultimodal.data.store import Store
    from scmultimodal.models import CellModel
    from scmultimodal.workflows import memory, presets, pretrain

    store = Store.open(folder / random_cells.STORE)
    model = CellModel(pretrain.untrained(store, presets.SMALL.pretrain))
    data = anndata.read_h5ad(folder / random_cells.H5AD, backed="r")
    before, start = memory.peak(), time.monotonic()
    vectors = model.embed(data)
    seconds = time.monotonic() - start
    return {
        "cells": len(vectors),
        "rate": len(vectors) / seconds,
        "seconds": seconds,
        "before_mb": before / 2**20,
        "peak_mb": memory.peak() / 2**20,
    }


def _in_a_process(folder: Path) -> dict[str, float]:
    code = (
        "import json, pathlib, sys\n"
        "from experiments.bench import embedding\n"
        "print(json.dumps(embedding.embed(pathlib.Path(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main(
        tyro.cli(
            Config, description=__doc__, prog="python -m experiments.bench.embedding"
        )
    )
