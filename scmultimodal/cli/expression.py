"""`scmultimodal finetune --task expression`: values of genes from open peaks."""

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scmultimodal.cli.pretrain import OF_RAW_COUNTS
from scmultimodal.schemas.errors import InputError

if TYPE_CHECKING:
    from scmultimodal.cli.cells import Finetune
    from scmultimodal.data.store import Store
    from scmultimodal.weights import export

QUICK_EPOCHS = 2
_OF_CELL_TYPES = ("modality", "preset")


def run(command: "Finetune") -> None:
    """Goes on from a model that reads peaks."""
    import jax

    from scmultimodal.schemas import configs
    from scmultimodal.weights import export
    from scmultimodal.workflows import expression, gene_values_run, provenance
    from scmultimodal.workflows.gene_values_config import GeneValuesConfig

    _refuse(command, _OF_CELL_TYPES, "by --task expression")
    if command.model is None:
        raise InputError(
            "--model",
            "is missing, and --task expression goes on from a model that reads peaks",
            f"Pre-train one: {expression.HOW}",
        )
    start = export.load(command.model)
    config = GeneValuesConfig(frozen=command.frozen, seed=command.seed)
    if command.quick:
        config = dataclasses.replace(config, epochs=QUICK_EPOCHS)
    from_scratch = command.from_scratch and not command.quick
    gene_values_run.run(
        lambda: _cells(command, start),
        start,
        config,
        command.out,
        from_scratch=from_scratch,
        written={
            "command": shlex.join(["scmultimodal", *sys.argv[1:]]),
            "data": command.data.name,
            provenance.ADDRESS: str(command.data),
            "gene_values": configs.to_json(config),
            "control": from_scratch,
            "start_sha256": provenance.digest(*jax.tree.leaves(start.params)),
        },
    )


def _refuse(command: "Finetune", names: tuple[str, ...], where: str) -> None:
    """Raises InputError for a flag that is given and would not be read."""
    for field in dataclasses.fields(command):
        if field.name in names and getattr(command, field.name) != field.default:
            problem = f"is not read {where}"
            flag = f"--{field.name.replace('_', '-')}"
            raise InputError(flag, problem, f"Leave {flag} out")


def _cells(command: "Finetune", start: "export.StoredModel") -> "Store":
    """Prepared cells as they are, or raw counts prepared by the model's peaks."""
    from scmultimodal import genome
    from scmultimodal.data.store import Store
    from scmultimodal.singlecell import readers
    from scmultimodal.workflows import cell_types, presets

    if (folder := Store.find(command.data)) is not None:
        _refuse(command, OF_RAW_COUNTS, "where the data are prepared")
        return Store.open(folder)
    if command.genes is None:
        raise InputError(
            command.data,
            "is no prepared dataset, and raw counts come without gene places",
            "Name an annotation by --genes, or a folder that prepare made",
        )
    preparation = presets.preparation(
        presets.PEAKS,
        label=command.label,
        batch=command.batch,
        counts=command.counts,
        min_feature_fraction=command.min_feature_fraction,
        seed=command.seed,
    )
    return cell_types.prepare_cells(
        readers.read(command.data, layer=command.layer),
        genome.read_genes(command.genes),
        preparation,
        command.out / "data",
        name=Path(command.data).name,
        vocabulary=start.vocabulary,
        peaks=start.peaks,
    )
