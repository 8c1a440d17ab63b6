"""Times peaks to genes, and what follows it, against what a user would write.

    make bench
    python -m experiments.bench.preprocessing --cells 2000 --turns 3   # a glance

Random counts, a share of them not zero, times links of peaks to genes along a genome:
scipy's product of sparse matrices against ours; and that product with scanpy's
`normalize_total` and `log1p` after it against what `scmultimodal prepare` does. All in
one process, in turns; medians. Values must be equal to 1e-5. scanpy comes with the
extra `parity`.

Writes preprocessing.json, preprocessing.md and preprocessing.png to `--out`.
"""

import dataclasses
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import tyro
from anndata import AnnData

from experiments.bench import kept, pictures, report
from scmultimodal.data import atomic
from scmultimodal.singlecell import products, recipe

TOTAL = 10_000.0
NAMES = {
    "peaks_scipy": "peaks to genes, scipy",
    "peaks_ours": "peaks to genes, ours",
    "values_scanpy": "scipy, scanpy normalise and log1p",
    "values_ours": "the same, ours",
    "bins_ours": "with percentile bins, ours",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is computed, and how often.

    Attributes:
        cells: rows.
        peaks: columns.
        density: share of the counts that are not zero.
        genes: columns of the result.
        links_per_peak: genes that a peak serves, on average.
        turns: of each, after one that warms up.
        out: folder of the results.
        keep: also keeps the table for README and site (`bench.kept`).
    """

    cells: int = 10_000
    peaks: int = 100_000
    density: float = 0.02
    genes: int = 10_733
    links_per_peak: float = 2.0
    turns: int = 15
    out: Path = Path("build/bench")
    keep: bool = False


def main(config: Config) -> dict[str, Any]:
    """Runs all that is installed, checks it, and writes what came out."""
    counts, weights = random_counts(config), random_links(config)
    works: dict[str, Callable[[], sp.csr_matrix]] = {
        "peaks_scipy": lambda: sp.csr_matrix(counts @ weights),
        "peaks_ours": lambda: products.multiply(counts, weights),
        "values_scanpy": lambda: by_scanpy(counts, weights),
        "values_ours": lambda: our_values(counts, weights),
        "bins_ours": lambda: our_bins(counts, weights),
    }
    if importlib.util.find_spec("scanpy") is None:
        del works["values_scanpy"]
    check({name: work() for name, work in works.items()})
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(config.turns):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(turns) for name, turns in seconds.items()}
    results = {
        "ratios": ratios(medians),
        "median_seconds": medians,
        "seconds": seconds,
        "config": config,
        **report.circumstances(),
    }
    report.write(config.out / "preprocessing.json", results)
    words = markdown(medians)
    atomic.write_text(config.out / "preprocessing.md", words + "\n")
    panels = {"milliseconds": {NAMES[n]: s * 1e3 for n, s in medians.items()}}
    pictures.bars(panels, config.out / "preprocessing.png", pattern="{:,.0f}")
    print(words)
    if config.keep:
        kept.keep("preprocessing", words)
    return results


def random_counts(config: Config) -> sp.csr_matrix:
    """Small whole numbers, as fragments in peaks are: int32 [cells, peaks]."""
    rng = np.random.default_rng(0)
    matrix = sp.random(
        config.cells,
        config.peaks,
        config.density,
        format="csr",
        dtype=np.int32,
        random_state=rng,
        data_rvs=lambda size: np.minimum(rng.geometric(0.7, size), 9),
    )
    matrix.sort_indices()
    return matrix


def random_links(config: Config) -> sp.csr_matrix:
    """Weights 1 to 3 of neighbouring peaks, genes in their order: [peaks, genes]."""
    rng = np.random.default_rng(1)
    mean = config.links_per_peak * config.peaks / config.genes
    most = max(1, min(config.peaks, round(2 * mean)))
    reach = rng.integers(0, most + 1, config.genes)
    first = np.sort(rng.integers(0, config.peaks, config.genes))
    gene = np.repeat(np.arange(config.genes), reach)
    step = np.arange(len(gene)) - np.repeat(np.cumsum(reach) - reach, reach)
    peak = np.repeat(first, reach) + step
    inside = peak < config.peaks
    weights = rng.integers(1, 4, inside.sum()).astype(np.int32)
    shape = (config.peaks, config.genes)
    return sp.csr_matrix((weights, (peak[inside], gene[inside])), shape=shape)


def by_scanpy(counts: sp.csr_matrix, weights: sp.csr_matrix) -> sp.csr_matrix:
    """Product, common total and logarithm, as notebooks have them."""
    scanpy = importlib.import_module("scanpy")
    adata = AnnData(sp.csr_matrix(counts @ weights, dtype=np.float32))
    scanpy.pp.normalize_total(adata, target_sum=TOTAL)
    scanpy.pp.log1p(adata)
    return adata.X


def our_values(counts: sp.csr_matrix, weights: sp.csr_matrix) -> sp.csr_matrix:
    """The same by the library."""
    return recipe.log_normalize(products.multiply(counts, weights), TOTAL)


def our_bins(counts: sp.csr_matrix, weights: sp.csr_matrix) -> sp.csr_matrix:
    """And on to bins by percentiles of the cell."""
    return recipe.bin_counts(
        products.multiply(counts, weights),
        unit=1.0,
        target_sum=TOTAL,
        medians=np.ones(weights.shape[1], np.float32),
        strategy="gene_normalized",
        num_bins=5,
    )


def check(results: dict[str, sp.csr_matrix]) -> None:
    """Raises AssertionError where ours is not what theirs is."""
    if (results["peaks_ours"] != results["peaks_scipy"]).nnz:
        raise AssertionError("our product differs from scipy's")
    if "values_scanpy" in results:
        away = abs(results["values_ours"] - results["values_scanpy"]).max()
        if not away <= 1e-5:
            raise AssertionError(f"our values are up to {away} from scanpy's")


def ratios(medians: dict[str, float]) -> dict[str, float | None]:
    """How many times as fast ours is."""
    scanpy = medians.get("values_scanpy")
    return {
        "peaks_to_genes": medians["peaks_scipy"] / medians["peaks_ours"],
        "fused": scanpy and scanpy / medians["values_ours"],
    }


def markdown(medians: dict[str, float]) -> str:
    """The table."""
    found = ratios(medians)
    times = {"peaks_ours": "peaks_to_genes", "values_ours": "fused"}
    rows = [
        [
            NAMES[name],
            report.number(seconds * 1e3),
            report.number(found[times[name]] if name in times else None, ".1f"),
        ]
        for name, seconds in medians.items()
    ]
    left_out = "" if "values_scanpy" in medians else "\n\nLeft out: scanpy (absent)."
    return report.table(("work", "ms", "times as fast"), rows) + left_out


if __name__ == "__main__":
    main(
        tyro.cli(
            Config,
            description=__doc__,
            prog="python -m experiments.bench.preprocessing",
        )
    )
