"""Commands of the cell model: `demo`, `finetune`."""

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.singlecell.fragments import CountChoice
from scmultimodal.singlecell.recipe import MIN_FEATURE_FRACTION

QUICK_CELLS = 2_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo:
    """Train and judge the multimodal cell model on real paired RNA + ATAC.

    Mouse cortex (SNARE-seq, 10,309 cells): prepare, mixed pre-training, fine-tuning on
    RNA, ATAC and both, logistic regression beside it, report and exported model.

    Examples:
        scmultimodal demo
        scmultimodal demo --quick --simulated --out runs/try
    """

    out: Path = Path("runs/demo")
    """Folder for everything that the run writes."""
    quick: bool = False
    """A few minutes: fewer cells and steps. The figures mean little."""
    simulated: bool = False
    """Made-up cells instead of mouse cortex."""
    seed: int = 0
    """Of split, parameters and batches."""
    debug: bool = False
    """Show a traceback with an error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetune:
    """Fine-tune and judge cell-type models on your own counts.

    Without --model the training cells are pre-trained on first; without --modality all
    modalities of the file are judged. The test cells are opened once, at the end.

    --task expression goes on from a model that reads open peaks instead, and tells how
    much of each gene a cell has, where it has any: log1p at the median depth. `impute`
    answers by it. Needs paired cells; --data may be what `prepare` made.

    Examples:
        scmultimodal finetune --data my.h5mu --label cell_type \\
            --genes genes.gtf.gz --out runs/mine
        scmultimodal finetune --data my.h5ad --label cell_type \\
            --genes genes.bed --out runs/mine \\
            --model runs/demo/pretrain --modality rna --frozen
        scmultimodal finetune --task expression --data runs/peaks/seed_0/data \\
            --model runs/peaks/seed_0/pretrain --out runs/values
    """

    data: Path
    """Raw counts: .h5mu, .h5ad, .csv, .tsv, or an .h5 or a folder by Cell Ranger."""
    out: Path
    """Folder for everything that the run writes."""
    task: Literal["cell_type", "expression"] = "cell_type"
    """What is learned."""
    label: str | None = None
    """Column of obs with the cell types; needed to learn these."""
    genes: Path | None = None
    """Gene annotation: GTF, BED or a table like them, gzipped or not. Needed with raw
    counts."""
    model: Path | None = None
    """Run folder or exported model to start from."""
    modality: tyro.conf.EnumChoicesFromValues[Regime] | None = None
    """What the classifier sees; all that the file has if not given."""
    frozen: bool = False
    """Train the head alone."""
    counts: CountChoice = "auto"
    """What the ATAC counts count; "auto" reads it off their histogram."""
    batch: str | None = None
    """Column of obs with the batches, for the pictures."""
    layer: str | None = None
    """Layer that holds the raw counts, where X does not."""
    min_feature_fraction: float = MIN_FEATURE_FRACTION
    """Leave out cells with a smaller share of non-zero genes, in any modality."""
    preset: Literal["small", "study", "best", "peaks"] = "small"
    """Size of the model and length of the training; "peaks" goes on from a --model that
    reads open peaks."""
    from_scratch: bool = True
    """Also train each classifier without pre-training, as a control."""
    quick: bool = False
    """Fewer steps."""
    seed: int = 0
    """Of split, parameters and batches."""
    debug: bool = False
    """Show a traceback with an error."""


def run_demo(command: Demo) -> None:
    """`scmultimodal demo`."""
    data, genes, name, simulated = _demo_data(command)
    if command.quick:
        rng = np.random.default_rng(command.seed)
        chosen = rng.choice(data.n_obs, min(QUICK_CELLS, data.n_obs), replace=False)
        data = data[np.sort(chosen)].copy()
    _run(
        data,
        genes,
        command,
        name=name,
        label="cell_type",
        batch="batch",
        simulated=simulated,
    )


def run_finetune(command: Finetune) -> None:
    """`scmultimodal finetune`."""
    if command.task == "expression":
        from scmultimodal.cli import expression

        expression.run(command)
        return
    if command.label is None or command.genes is None:
        missing = "label" if command.label is None else "genes"
        problem = "is missing, and cell types are learned from raw counts with labels"
        raise InputError(f"--{missing}", problem, f"Give --{missing}")
    from scmultimodal import genome
    from scmultimodal.singlecell import readers
    from scmultimodal.weights import export

    model = None if command.model is None else export.load(command.model)
    if command.preset == "peaks" and (model is None or model.peaks is None):
        raise InputError(
            "--preset",
            "is peaks, and no --model that reads open peaks is given",
            "Pre-train one: scmultimodal pretrain --preset peaks",
        )
    genes = genome.read_genes(command.genes)
    data = readers.read(command.data, layer=command.layer)
    _run(
        data,
        genes,
        command,
        name=command.data.name,
        label=command.label,
        batch=command.batch,
        model=model,
        counts=command.counts,
        min_feature_fraction=command.min_feature_fraction,
        regimes=None if command.modality is None else (command.modality,),
        preset=command.preset,
        frozen=command.frozen,
        from_scratch=command.from_scratch,
    )


def _run(
    data: Any,
    genes: Any,
    command: Demo | Finetune,
    *,
    name: str,
    label: str,
    batch: str | None,
    simulated: bool = False,
    model: Any = None,
    counts: CountChoice = "auto",
    min_feature_fraction: float = MIN_FEATURE_FRACTION,
    regimes: tuple[Regime, ...] | None = None,
    preset: Literal["small", "study", "best", "peaks"] = "small",
    frozen: bool = False,
    from_scratch: bool = True,
) -> None:
    from scmultimodal.evaluation import summary
    from scmultimodal.workflows import cell_types, presets

    numbers = presets.named(preset)
    if command.quick:
        numbers = presets.quick(numbers)
    config = presets.cell_types(
        numbers,
        label=label,
        batch=batch,
        counts=counts,
        min_feature_fraction=min_feature_fraction,
        regimes=regimes,
        frozen=frozen,
        from_scratch=from_scratch and not command.quick,
        seed=command.seed,
    )
    outcome = cell_types.run(
        data,
        genes,
        config,
        command.out,
        name=name,
        command=shlex.join(["scmultimodal", *sys.argv[1:]]),
        simulated=simulated,
        model=model,
    )
    print(f"\nTest cells of {name}{' (SIMULATED)' if simulated else ''}")
    print(summary.format_table(outcome.results))
    print(f"\nreport  {outcome.report}\nmodel   {command.out / 'model'}")
    print(f"summary {command.out / 'summary.json'}")


def _demo_data(command: Demo) -> tuple[Any, Any, str, bool]:
    """Mouse cortex, or simulated cells where it cannot be had: data, genes, name."""
    from scmultimodal import datasets

    if not command.simulated:
        try:
            cortex, genes = datasets.mouse_cortex(), datasets.mouse_cortex_genes()
            return cortex, genes, "mouse_cortex", False
        except datasets.DataUnavailableError as error:
            print(
                f"\n*** {error}\n*** SIMULATED cells are used instead. ***\n",
                file=sys.stderr,
            )
    simulated = datasets.simulate_multiome(num_cells=3_000, seed=command.seed)
    genes = datasets.simulated_genes(simulated)
    return simulated, genes, "simulated_multiome", True
