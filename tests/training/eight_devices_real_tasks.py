"""Run as a child process: one SGD step of the real tasks on 1 and 8 CPU devices.

Writes what each saw as npz, named `<task>/<devices>/<what>`. The step is taken in
float64, where the order of a sum shows in the last digits alone. In float32 it shows
up to 6e-7 of a tensor's largest element (4e-6 of a bias whose terms cancel), which is
more than 1e-5 of an element that is next to nothing.
"""

import sys

import jax
import numpy as np
import optax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_disable_most_optimizations", True)  # compiles twice as fast

from scmultimodal.modules.heads.accessibility import ScorerConfig  # noqa: E402
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig  # noqa: E402
from scmultimodal.tasks.cell_type import (  # noqa: E402
    CellTypeClassification,
    CellTypeConfig,
)
from scmultimodal.tasks.masked_kmers import (  # noqa: E402
    MaskedKmers,
    MaskedKmersConfig,
)
from scmultimodal.tasks.masked_reconstruction import (  # noqa: E402
    MaskedReconstruction,
    MaskedReconstructionConfig,
)
from scmultimodal.tasks.region_ranking import (  # noqa: E402
    RegionRanking,
    RegionRankingConfig,
)
from scmultimodal.tasks.task import Task  # noqa: E402
from scmultimodal.training import parallel  # noqa: E402
from scmultimodal.training.state import begin  # noqa: E402
from tests import builders  # noqa: E402

CELLS, GENES, CLASSES = 16, 12, 3


def reconstruction():
    """Cells 0-1 have RNA alone, 2-3 ATAC alone, 4-5 nothing to mask, 10-11 fill up."""
    cell = np.arange(CELLS)
    batch = builders.cell_batch(num_cells=CELLS, num_genes=GENES)
    present = {"rna": (cell // 2 != 1) & (cell != 14), "atac": cell // 2 != 0}
    empty = cell // 2 == 2
    sparse = (cell >= 12)[:, None] & (np.arange(GENES) > 3)
    values = {
        m: np.where((has & ~empty)[:, None] & ~sparse, getattr(batch, m), 0)
        for m, has in present.items()
    }
    batch = batch.replace(
        **values,
        **{f"{m}_present": has for m, has in present.items()},
        cell_mask=cell // 2 != 5,
    )
    encoder = builders.encoder_config(GENES, num_layers=1)
    config = MaskedReconstructionConfig(encoder=encoder, mask_share=0.4)
    return MaskedReconstruction(config), batch


def cell_type():
    """Padded tokens; cells 2-3 and 7 have no label, 10-11 fill up."""
    cell = np.arange(CELLS)
    batch = builders.cell_batch(
        num_cells=CELLS, num_genes=GENES, num_tokens=9, num_classes=CLASSES
    )
    batch = batch.replace(
        label=np.where(np.isin(cell, [2, 3, 7]), -1, batch.label).astype(np.int32),
        cell_mask=cell // 2 != 5,
    )
    config = CellTypeConfig(
        encoder=builders.encoder_config(GENES, num_layers=1),
        head=CellTypeHeadConfig(num_classes=CLASSES, hidden=(16, 6), dropout=0.3),
        token_dropout=0.3,
    )
    return CellTypeClassification(config), batch


def region_ranking():
    """Span 4 is tied, the two of a device (10-11) fill up; L2 is in the loss."""
    span = np.arange(CELLS)
    batch = builders.region_batch(num_spans=CELLS, num_tokens=8)
    values = np.where(span[:, None] == 4, 1, batch.values).astype(np.float32)
    config = RegionRankingConfig(
        encoder=builders.dna_encoder_config(),
        scorer=ScorerConfig(name="linear"),
        l2=0.01,
    )
    return RegionRanking(config), batch.replace(values=values, span_mask=span // 2 != 5)


def masked_kmers():
    """Sequences 2-3 hold no k-mer, 10-11 fill up."""
    sequence = np.arange(CELLS)
    batch = builders.token_batch(num_sequences=CELLS)
    token_ids = np.where(sequence[:, None] // 2 == 1, 1, batch.token_ids)
    config = MaskedKmersConfig(
        encoder=builders.dna_encoder_config(), num_kmers=16, mask_share=0.4
    )
    batch = batch.replace(token_ids=token_ids, sequence_mask=sequence // 2 != 5)
    return MaskedKmers(config), batch


def step(task: Task, batch, params, network_state, num_devices: int):
    """Loss and metrics, and the gradient: what SGD at rate 1 takes off."""
    over = parallel.Mapped(jax.devices()[:num_devices])
    optimizer = optax.sgd(1.0)
    state = begin(params, network_state, optimizer, jax.random.PRNGKey(2))
    update = over.train_step(task, optimizer)
    state, metrics = update(over.replicate(state), over.place(batch))
    new, metrics = over.unreplicate((state.params, metrics))
    gradient = jax.tree.map(np.subtract, params, new)
    seen = {"gradient": gradient, "metrics": metrics}
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(seen)
    }


def main(path: str) -> None:
    """Every task, from the same parameters on 1 and on 8 devices."""
    seen = {}
    for make in (reconstruction, cell_type, region_ranking, masked_kmers):
        task, batch = make()
        start = jax.jit(task.init)(jax.random.PRNGKey(1), batch)
        start = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), start)
        with jax.enable_x64(True):
            for devices in (1, 8):
                for name, leaf in step(task, batch, *start, devices).items():
                    seen[f"{make.__name__}/{devices}/{name}"] = leaf
    np.savez(path, **seen)


if __name__ == "__main__":
    main(sys.argv[1])
