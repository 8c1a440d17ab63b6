"""`python -m tpu.scaling.measuring`: measures what `tpu.scaling` reckons with.

    python -m tpu.scaling.measuring --preset study   # a minute on two cores
    python -m tpu.scaling.measuring --store DATASET  # that `scmultimodal prepare` made

Of a preset, the step of pre-training is compiled for one device, on made-up cells with
RNA and ATAC of as many genes as the study has, and XLA is asked what it needs: by the
code behind `--dry-run`. Of a store, files are weighed. What is found goes into
footprint.json.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import tyro
from scipy import sparse

from scmultimodal.data import writing
from scmultimodal.data.cell_table import CellTable
from scmultimodal.data.store import Store, write_store
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.ops import flop
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import MODALITIES, Modality, Regime
from scmultimodal.schemas.status import Status
from scmultimodal.workflows import (
    presets,
    pretrain,
    pretrain_batches,
    pretrain_tasks,
    provenance,
)
from scmultimodal.workflows.dry_run import Plan
from scmultimodal.workflows.pretrain_config import PretrainConfig
from tpu.scaling import footprint
from tpu.scaling.footprint import Cells, Network, PresetName

GENES = 10_733
DENSITY = 0.1
READ = ("indices", "bins")
"""Arrays of a shard that a step reads of each cell."""
COUNT_BYTES = 2
"""Of a count of a corpus: a single one above 255 makes all of its modality as wide."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What is measured."""

    preset: PresetName | None = None
    """Size of the network."""
    batches: tuple[int, ...] = (1, 2, 4)
    """Cells on the device; at least two numbers."""
    store: Path | None = None
    """Prepared cells with RNA and ATAC."""

    def __post_init__(self):
        if len(set(self.batches)) < 2 or min(self.batches) < 1:
            raise InputError(
                "--batches", f"are {self.batches}", "Give two numbers above 0, or more"
            )
        if self.preset is None and self.store is None:
            raise InputError("measuring", "has nothing to do", "Give --preset, --store")


def main(arguments: list[str] | None = None) -> int:
    """Measures what is asked for and keeps it; returns a `Status`."""
    try:
        command = tyro.cli(
            Command,
            args=arguments,
            description=__doc__,
            prog="python -m tpu.scaling.measuring",
        )
        if command.preset is not None:
            config = presets.PRESETS[command.preset].pretrain
            found = measure_network(config, GENES, command.batches)
            footprint.keep_network(command.preset, found)
            print(found)
        if command.store is not None:
            weighed = measure_cells(Store.open(command.store))
            footprint.keep_cells(weighed)
            print(weighed)
    except InputError as error:
        print(f"tpu: {error}", file=sys.stderr)
        return Status.GIVE_UP
    return Status.DONE


def measure_network(
    config: PretrainConfig, genes: int, batches: Sequence[int]
) -> Network:
    """Compiles the step for batches of several sizes on one device."""
    with tempfile.TemporaryDirectory() as folder:
        store = made_up_store(Path(folder) / "cells", genes)
        plans = {cells: _plan(store, config, cells) for cells in batches}
        regimes = list(pretrain_batches.regimes_of(store, "train"))
        traffic = _traffic(store, config, regimes[-1])
    modalities = [len(regime.modalities) for regime in regimes]
    average = float(np.mean(modalities))
    first = next(iter(plans.values()))
    if first.devices != 1:
        raise InputError(
            "measuring", f"sees {first.devices} devices", "show it one of them"
        )
    return Network(
        genes=genes,
        parameters=sum(first.parameters.values()),
        flop=first.flop / first.batch,
        traffic=traffic * average / max(modalities),
        tokens=genes * average,
        batch_size=config.batch_size,
        steps=config.steps,
        memory={
            str(cells): (plan.bytes["state and batch"], plan.bytes["besides"])
            for cells, plan in plans.items()
        },
        device=first.device,
        jax=jax.__version__,
        revision=provenance.git_revision(),
    )


def _plan(store: Store, config: PretrainConfig, cells: int) -> Plan:
    return pretrain.plan(store, dataclasses.replace(config, batch_size=cells))


def _traffic(store: Store, config: PretrainConfig, regime: Regime) -> int:
    """Of the products of a step on one cell of this kind."""
    task = pretrain_tasks.make_task(store, config)
    cell = pretrain_batches.make_builder(store, config).build(np.arange(1), regime)
    rng = jax.random.PRNGKey(0)
    params, network_state = jax.eval_shape(task.init, rng, cell)

    def gradient(params: Any, network_state: Any) -> Any:
        def total(params: Any) -> jax.Array:
            return task.loss(params, network_state, rng, cell, is_training=True)[0][0]

        return jax.grad(total)(params)

    return flop.bytes_of_products(jax.make_jaxpr(gradient)(params, network_state))


def made_up_store(path: Path, genes: int, cells: int = 8) -> Store:
    """Cells of random ones, with RNA and ATAC; only their shapes are of use."""
    rng = np.random.default_rng(0)

    def ones() -> sparse.csr_matrix:
        return sparse.csr_matrix(
            (rng.random((cells, genes)) < DENSITY).astype(np.int32)
        )

    starts = 1_000 * np.arange(genes)
    names = [f"g{number}" for number in range(genes)]
    places = {"chrom": "chr1", "start": starts, "end": starts + 500, "strand": "+"}
    vocabulary = GeneVocabulary.from_frame(
        pd.DataFrame({"gene_id": names, "symbol": names, **places}),
        rna_medians=np.ones(genes),
        atac_medians=np.ones(genes),
        recipe=configs.to_json(presets.STUDY.recipe),
    )
    everyone = np.ones(cells, bool)
    table = CellTable(
        rna=ones(),
        atac=ones(),
        present=dict.fromkeys(MODALITIES, everyone),
        obs=pd.DataFrame(
            {"split": "train"}, index=[f"c{number}" for number in range(cells)]
        ),
    )
    return write_store(
        path,
        cells=table,
        vocabulary=vocabulary,
        bin_function=lambda _, counts: counts,
        provenance={"name": "made up", "simulated": True},
    )


def measure_cells(store: Store) -> Cells:
    """Weighs the files of a prepared dataset; every cell must have RNA and ATAC."""
    everyone = np.arange(store.num_cells)
    if not all(store.present(modality).all() for modality in MODALITIES):
        raise InputError(
            store.path, "has cells without RNA or ATAC", "weigh cells that have both"
        )
    placed = store.vocabulary.chroms != ""
    rows = {m: store.rows(m, everyone) for m in MODALITIES}
    read = {m: _bytes(store, m, READ) / rows[m].nnz for m in MODALITIES}
    counts = {m: _bytes(store, m, ("counts",)) / rows[m].nnz for m in MODALITIES}
    return Cells(
        name=str(store.manifest["provenance"].get("name", store.path.name)),
        nonzero={
            m.value: rows[m][:, placed].nnz / store.num_cells / int(placed.sum())
            for m in MODALITIES
        },
        stored={m.value: read[m] + max(counts[m], COUNT_BYTES) for m in MODALITIES},
        read={m.value: read[m] for m in MODALITIES},
        other=_other_bytes(store) / store.num_cells,
    )


def _bytes(store: Store, modality: Modality, arrays: Sequence[str]) -> int:
    """Of some arrays of a modality, over all shards."""
    ends = tuple(f"/{modality.value}.{name}.npy" for name in arrays)
    return _sum_of(store, lambda name: name.endswith(ends))


def _other_bytes(store: Store) -> int:
    """Of what grows with the cells, and not with their genes."""

    def grows(name: str) -> bool:
        return name == writing.OBS or name.startswith("present.") or "indptr" in name

    return _sum_of(store, grows)


def _sum_of(store: Store, chosen: Any) -> int:
    files = store.manifest["files"]
    return sum(facts["bytes"] for name, facts in files.items() if chosen(name))


if __name__ == "__main__":
    sys.exit(main())
