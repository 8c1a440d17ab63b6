"""The labelled sets that models are judged on, prepared once for each seed and recipe.

The sets of `FILES` are read from the folder that SCMULTIMODAL_DATA names, and left out
where it lacks them.
"""

import dataclasses
import hashlib
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Literal

import numpy as np
from mudata import MuData
from scipy import sparse

from scmultimodal import datasets
from scmultimodal.data import locks, manifest
from scmultimodal.data.store import Store
from scmultimodal.datasets.files import VARIABLE
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.singlecell import readers
from scmultimodal.singlecell.recipe import RecipeConfig
from scmultimodal.workflows import prepare, prepare_files, runners
from scmultimodal.workflows.prepare_config import PrepareConfig

SetName = Literal[
    "mouse_cortex",
    "mouse_cortex_without_mis",
    "bmmc",
    "granja",
    "simulated",
    "simulated_distal",
    "zheng68k",
    "bmmc_neurips",
]
ABOUT: dict[SetName, str] = {
    "mouse_cortex": "SNARE-seq, 10,309 cells, RNA and ATAC, 23 types",
    "mouse_cortex_without_mis": 'the same without the label "Mis", 11 % of the cells',
    "bmmc": "10x Multiome of bone marrow, 500 cells, RNA and ATAC",
    "granja": "scATAC-seq of bone marrow, 14,125 cells, lifted from hg19",
    "simulated": "made-up cells whose peaks follow their genes",
    "simulated_distal": "made-up cells, peaks of half of the genes beyond 50 kb",
    "zheng68k": "blood, RNA, 68,450 cells, 11 types, as scBERT gives it",
    "bmmc_neurips": "10x Multiome of bone marrow, 69,249 cells (GSE194122)",
}
MIXED = "Mis"
"""Label of the cells of mouse cortex that their authors could not name."""
LABEL, BATCH = "cell_type", "batch"
GENES = "gene_annotation_hg38/CollapsedGeneBounds.hg38.intGENCODEv43.bed.gz"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Files:
    """Where a set is read from, under the folder of data.

    Attributes:
        path: of its counts, on hg38 unless there is a chain.
        kind: of cells.
        label: column of obs with the cell types.
        batch: column of obs with the batches.
        chain: from its assembly to hg38.
    """

    path: str
    kind: prepare_files.Kind
    label: str = LABEL
    batch: str | None = BATCH
    chain: str | None = None


FILES: dict[SetName, Files] = {
    "bmmc": Files(path="bmmc_multiome/bmmc_multiome_A.h5mu", kind="multiome"),
    "granja": Files(
        path="granja_bmmc_scatac/granja_bmmc_scatac.h5ad",
        kind="atac",
        chain="liftover/hg19ToHg38.over.chain.gz",
    ),
    "zheng68k": Files(
        path="zheng68k/zheng68k.h5ad", kind="rna", label="celltype", batch=None
    ),
    "bmmc_neurips": Files(path="bmmc_neurips/bmmc_neurips.h5ad", kind="multiome"),
}


def regimes(name: SetName) -> tuple[Regime, ...]:
    """What cells of a set can be judged by."""
    kind = FILES[name].kind if name in FILES else "multiome"
    return {"rna": (Regime.RNA,), "atac": (Regime.ATAC,)}.get(kind, tuple(Regime))


def can_draw(name: SetName) -> bool:
    """Whether some cells of a set can be taken alone; sets of files are taken whole."""
    return name not in FILES


def has_batches(name: SetName) -> bool:
    """Whether a set has enough batches to split by: some for each part."""
    return name in ("mouse_cortex", "mouse_cortex_without_mis")


def has_distal_links(name: SetName) -> bool:
    """Whether links of peaks and genes are known, some of them beyond 50 kb."""
    return name == "simulated_distal"


def missing(name: SetName) -> str | None:
    """Which file of a set is not there and cannot be downloaded; None where all are."""
    if name not in FILES:
        return None
    if not (folder := os.environ.get(VARIABLE)):
        return f"{VARIABLE} names no folder"
    needed = [FILES[name].path, GENES, *filter(None, [FILES[name].chain])]
    lacking = [path for path in needed if not (Path(folder) / path).is_file()]
    return f"{VARIABLE} has no {lacking[0]}" if lacking else None


def prepared(
    name: SetName,
    recipe: RecipeConfig,
    seed: int,
    folder: Path,
    *,
    across_batches: bool = False,
    cells: int | None = None,
    peaks: bool = False,
) -> Store:
    """A set as a prepared dataset, split by the seed; made where it is not there.

    Args:
        name: of the set.
        recipe: how counts become bins.
        seed: of the split, and of the draw of `cells`.
        folder: that prepared sets are kept in.
        across_batches: the split holds out whole batches.
        cells: so many of them; None, or more than there are, takes all. Sets that are
            read from files are taken whole alone.
        peaks: keeps the peaks themselves too; a set of known links always does.

    Raises:
        InputError, DataUnavailableError: its files are missing or damaged.
    """
    numbers = json.dumps(configs.to_json(recipe), sort_keys=True).encode()
    short = hashlib.sha256(numbers).hexdigest()[:8]
    chosen = "-batches" if across_batches else ""
    chosen += "" if cells is None else f"-{cells}"
    peaks |= has_distal_links(name)
    chosen += "-peaks" if peaks else ""
    out = folder / "data" / f"{name}-{seed}{chosen}-{short}"
    with locks.held(out.with_suffix(".lock"), wait=True):
        if (out / manifest.FILE_NAME).is_file():
            return Store.open(out)
        config = PrepareConfig(
            recipe=recipe,
            label=LABEL,
            batch=BATCH,
            split_by=BATCH if across_batches else None,
            peak_tokens="consensus" if peaks else None,
            seed=seed,
        )
        return _prepare(name, config, out, cells)


def _prepare(
    name: SetName, config: PrepareConfig, out: Path, cells: int | None
) -> Store:
    seed = config.seed
    if name in FILES:
        if cells is not None:
            raise InputError("cells", f"is {cells}", f"Leave it out for {name}")
        return _from_files(name, config, out)
    made_up = name in ("simulated", "simulated_distal")
    if made_up:
        data = distal_cells(seed) if has_distal_links(name) else _simulated(seed)
        genes = datasets.simulated_genes(data)
    else:
        data, genes = datasets.mouse_cortex(), datasets.mouse_cortex_genes()
    if name == "mouse_cortex_without_mis":
        data = data[data.obs[LABEL] != MIXED].copy()
    if cells is not None and cells < data.n_obs:
        rows = np.random.default_rng(seed).permutation(data.n_obs)[:cells]
        data = data[np.sort(rows)].copy()
    facts = {"name": name, "simulated": made_up}
    return prepare.run(data, genes, config, out, provenance=facts)


def _simulated(seed: int) -> MuData:
    return datasets.simulate_multiome(num_cells=3_000, seed=seed)


def distal_cells(seed: int) -> MuData:
    """Cells with planted links, of few genes: a model learns them in minutes."""
    return datasets.simulate_multiome(
        num_cells=2_000, num_genes=60, distal=0.5, seed=seed
    )


def peaks(name: SetName, store: Store) -> sparse.csr_matrix:
    """Counts of the peaks themselves [cells of the store, peaks], as published."""
    if name == "simulated_distal":
        data = distal_cells(store.manifest["provenance"]["prepare"]["seed"])
    elif name == "simulated":
        data = _simulated(store.manifest["provenance"]["prepare"]["seed"])
    elif name in FILES:
        data = readers.read(Path(os.environ[VARIABLE]) / FILES[name].path)
    else:
        data = datasets.mouse_cortex()
    atac = readers.split_modalities(data)[Modality.ATAC]
    rows = atac.obs_names.get_indexer(store.obs.index)
    if (rows < 0).any():
        raise InputError(store.path, f"has cells that {name} lacks", "prepare it again")
    return sparse.csr_matrix(atac.X)[rows]


def _from_files(name: SetName, config: PrepareConfig, out: Path) -> Store:
    root = Path(os.environ.get(VARIABLE, "."))
    files = FILES[name]
    sources = prepare_files.Sources(
        files=[(root / files.path, files.kind)],
        annotation=root / GENES,
        chain=None if files.chain is None else root / files.chain,
    )
    return prepare_files.run(
        sources,
        dataclasses.replace(config, label=files.label, batch=files.batch),
        out,
        runner=runners.Here(),
        command=shlex.join(sys.argv),
    )
