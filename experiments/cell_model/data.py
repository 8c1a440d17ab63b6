"""The data of a study: a public set, simulated cells, a file, or what is prepared."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from scmultimodal import datasets
from scmultimodal.data import manifest, mirror
from scmultimodal.data.store import Store
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.genome import read_genes
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import readers
from scmultimodal.singlecell.recipe import RecipeConfig
from scmultimodal.training import hosts
from scmultimodal.workflows import prepare as workflow


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which cells.

    Attributes:
        dataset: "mouse_cortex", "simulated", a file of counts, or a folder, also of a
            bucket (gs://…), that `scmultimodal prepare` made; its recipe and split
            are then taken.
        genes: gene annotation; needed with a file.
        label: column of obs with the cell types.
        batch: column of obs with the batches.
    """

    dataset: str = "mouse_cortex"
    genes: Path | None = None
    label: str | None = "cell_type"
    batch: str | None = "batch"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loaded:
    """Cells in memory: raw counts, annotation, and what to call them."""

    data: Any
    genes: pd.DataFrame
    name: str
    simulated: bool = False


def load(config: DataConfig, *, seed: int) -> Loaded:
    """Reads or makes the cells of a study."""
    if config.dataset == "mouse_cortex":
        return Loaded(
            data=datasets.mouse_cortex(),
            genes=datasets.mouse_cortex_genes(),
            name="mouse_cortex",
        )
    if config.dataset == "simulated":
        data = datasets.simulate_multiome(num_cells=3_000, seed=seed)
        genes = datasets.simulated_genes(data)
        return Loaded(data=data, genes=genes, name="simulated_multiome", simulated=True)
    if config.genes is None:
        raise InputError(
            config.dataset,
            "comes without gene places",
            "name an annotation by --data.genes",
        )
    return Loaded(
        data=readers.read(config.dataset),
        genes=read_genes(config.genes),
        name=Path(config.dataset).name,
    )


def on_all_hosts(
    given: Path | None, folder: Path, prepare: Callable[[], Store]
) -> Store:
    """The cells of a study, on every host of it.

    Args:
        given: cells that are prepared already.
        folder: where they are, if not.
        prepare: makes them there; the main host does, and the others open them.
    """

    def make() -> Store:
        if given is not None:
            return Store.open(given)
        store = prepare()
        mirror.share(folder, last=manifest.FILE_NAME)
        return store

    def take() -> Store:
        if given is None:
            mirror.take(folder, last=manifest.FILE_NAME)
        return Store.open(given or folder)

    return hosts.made_by_main(make, take)


def prepare(
    config: DataConfig,
    recipe: RecipeConfig,
    out: Path,
    *,
    seed: int,
    vocabulary: GeneVocabulary | None = None,
    peak_tokens: Literal["consensus", "tiles"] | None = None,
) -> Store:
    """The cells of a study as a prepared dataset, split by the seed.

    With the vocabulary of a model its genes, medians and recipe are used; with
    `peak_tokens` the peaks are kept too (`PrepareConfig`).
    """
    cells = load(config, seed=seed)
    return workflow.run(
        cells.data,
        cells.genes,
        workflow.PrepareConfig(
            recipe=recipe,
            label=config.label,
            batch=config.batch,
            peak_tokens=peak_tokens,
            seed=seed,
        ),
        out,
        provenance={"name": cells.name, "simulated": cells.simulated},
        vocabulary=vocabulary,
    )
