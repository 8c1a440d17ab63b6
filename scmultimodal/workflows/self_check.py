"""A small model, from simulated counts to vectors: does the package work here?"""

import tempfile
from pathlib import Path

import numpy as np

from scmultimodal.modules.performer import PerformerConfig
from scmultimodal.singlecell import simulation
from scmultimodal.weights import export
from scmultimodal.workflows import prepare, pretrain, trained
from scmultimodal.workflows.prepare_config import PrepareConfig
from scmultimodal.workflows.pretrain_config import PretrainConfig

CELLS, GENES = 60, 30
TOLERANCE = 1e-5


def run() -> int:
    """Prepares cells, keeps a model of them, loads it, and asks it the same again.

    Returns:
        How many cells there were.

    Raises:
        ArithmeticError: it does not say what it said before, or no number.
    """
    data = simulation.simulate_multiome(num_cells=CELLS, num_genes=GENES)
    path = PerformerConfig(dim=8, num_layers=1, num_heads=1, key_size=4)
    config = PretrainConfig(path=path)
    with tempfile.TemporaryDirectory() as folder:
        store = prepare.run(
            data,
            simulation.simulated_genes(data),
            PrepareConfig(),
            Path(folder) / "data",
            provenance={"name": "simulated", "simulated": True},
        )
        made = pretrain.untrained(store, config)
        model = Path(folder) / "model"
        trained.save(model, store, made.config, made.params, made.network_state)
        loaded = export.load(model)
        found = trained.outputs(loaded, loaded.reference)["embedding"]
    if not np.isfinite(found).all() or not found.any():
        raise ArithmeticError("vectors of cells are not finite, or zero")
    if np.abs(found - loaded.reference["embedding"]).max() > TOLERANCE:
        raise ArithmeticError("a model that was loaded says something else than before")
    return store.num_cells
