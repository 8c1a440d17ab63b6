"""The command `pretrain`: the cell model on one's own cells."""

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell.fragments import CountChoice
from scmultimodal.singlecell.recipe import MIN_FEATURE_FRACTION
from scmultimodal.workflows.presets import PeakPresetName

if TYPE_CHECKING:
    from scmultimodal.data.store import Store
    from scmultimodal.workflows.prepare_config import PrepareConfig

VALIDATIONS = 4
OF_RAW_COUNTS = (
    "genes",
    "label",
    "batch",
    "counts",
    "layer",
    "min_feature_fraction",
)
"""Flags that say how raw counts are prepared, which prepared ones were already."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Pre-train the cell model on your own counts, or on a prepared dataset.

    Cells with RNA, with ATAC and with both take turns; no labels are needed. Validation
    cells say how well hidden values are told; test cells are not looked at. After
    Ctrl-C the same command goes on. Every number is a flag of the study,
    in a clone: python -m experiments.train cell_model.pretraining.

    Examples:
        scmultimodal pretrain --data my.h5mu --genes genes.gtf.gz --out runs/pre
        scmultimodal pretrain --data data/three --preset best --out runs/three
        scmultimodal pretrain --data my.h5mu --genes genes.gtf.gz \\
            --label cell_type --out runs/pre
        scmultimodal pretrain --data my.h5mu --genes genes.gtf.gz \\
            --preset peaks --label cell_type --out runs/peaks
    """

    data: str
    """Raw counts: .h5mu, .h5ad, .csv, .tsv, or an .h5 or a folder by Cell Ranger; or
    what `prepare` made, in a bucket too (gs://…)."""
    out: Path
    """Folder for everything that the run writes."""
    genes: Path | None = None
    """Gene annotation: GTF, BED or a table like them, gzipped or not. Needed with raw
    counts."""
    label: str | None = None
    """Column of obs with the cell types, where the same cells are to be fine-tuned on:
    `finetune` with this label and seed tests on cells that were not pre-trained on."""
    batch: str | None = None
    """Column of obs with the batches."""
    counts: CountChoice = "auto"
    """What the ATAC counts count; "auto" reads it off their histogram."""
    layer: str | None = None
    """Layer that holds the raw counts, where X does not."""
    min_feature_fraction: float = MIN_FEATURE_FRACTION
    """Leave out cells with a smaller share of non-zero genes, in any modality."""
    preset: PeakPresetName = "small"
    """Size of the model and length of the training; "peaks" reads open peaks as tokens
    and learns to tell RNA from them, or hidden peaks where no cell has both. What is
    prepared already has to have counts for bins (prepare --strategy counts) for "best"
    and "aligned", and its peaks (--peak-tokens) for "peaks"."""
    quick: bool = False
    """Fewer steps."""
    seed: int = 0
    """Of split, parameters and batches."""
    debug: bool = False
    """Show a traceback with an error."""


def run_pretrain(command: Pretrain) -> None:
    """`scmultimodal pretrain`."""
    from scmultimodal.schemas import configs
    from scmultimodal.workflows import presets, pretraining, provenance

    preset = presets.named(command.preset)
    if command.quick:
        preset = presets.quick(preset)
    steps = preset.pretrain.steps
    config = dataclasses.replace(
        preset.pretrain, seed=command.seed, evaluate_every=-(-steps // VALIDATIONS)
    )
    asked = dataclasses.replace(preset, pretrain=config)
    preparation = presets.preparation(
        preset,
        label=command.label,
        batch=command.batch,
        counts=command.counts,
        min_feature_fraction=command.min_feature_fraction,
        seed=command.seed,
    )
    pretraining.run(
        lambda: _cells(command, preparation),
        config,
        command.out,
        written={
            "command": shlex.join(["scmultimodal", *sys.argv[1:]]),
            "data": Path(command.data).name,
            provenance.ADDRESS: command.data,
            "prepare": configs.to_json(preparation),
            "pretrain": configs.to_json(config),
        },
        fit=lambda store: presets.for_cells(asked, store).pretrain,
    )
    print(f"\nValidation cells of {Path(command.data).name}")
    print(pretraining.format_table(command.out))


def _cells(command: Pretrain, preparation: "PrepareConfig") -> "Store":
    """Prepared cells as they are, or raw counts prepared into the run folder."""
    from scmultimodal import genome
    from scmultimodal.data.store import Store
    from scmultimodal.singlecell import readers
    from scmultimodal.workflows import cell_types

    if (folder := Store.find(command.data)) is not None:
        _check_nothing_to_prepare(command)
        return Store.open(folder)
    if command.genes is None:
        raise InputError(
            command.data,
            "is no prepared dataset, and raw counts come without gene places",
            "Name an annotation by --genes, or a folder that prepare made",
        )
    genes = genome.read_genes(command.genes)
    data = readers.read(command.data, layer=command.layer)
    if preparation.peak_tokens and Modality.ATAC not in readers.split_modalities(
        data, command.data
    ):
        raise InputError(
            command.data,
            f"has no ATAC, and --preset {command.preset} reads open peaks",
            "Give cells with ATAC, or another --preset",
        )
    out, name = command.out / "data", Path(command.data).name
    return cell_types.prepare_cells(data, genes, preparation, out, name=name)


def _check_nothing_to_prepare(command: Pretrain) -> None:
    for field in dataclasses.fields(command):
        if field.name not in OF_RAW_COUNTS:
            continue
        if getattr(command, field.name) != field.default:
            flag = f"--{field.name.replace('_', '-')}"
            raise InputError(
                command.data,
                f"is prepared already, and {flag} was chosen then",
                f"Leave {flag} out, or give raw counts",
            )
