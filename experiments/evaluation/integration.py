"""Integration: types kept apart and batches mixed, on the test cells of each split.

Ours are vectors of models that saw no label: of one modality by count splitting, of
both by contrastive alignment too; `adversary` was told the batches, to keep them out.
Beside them components (of RNA, of ATAC, of both side by side), and either with batches
brought together by Harmony.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.evaluation import classifiers, sets, vectors
from experiments.evaluation.cases import Case
from experiments.evaluation.jobs import Job, NothingToJudgeError
from experiments.evaluation.tables import Entry, Section
from experiments.evaluation.variants import vary
from scmultimodal.evaluation import integration
from scmultimodal.schemas import configs
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows import finetune_cells
from scmultimodal.workflows.presets import ALIGNED, BEST

OURS = ("frozen", "frozen_adversary")
MODELS = (*OURS, "frozen_harmony", "components", "components_harmony")


def entries(case: Case, folder: Path) -> list[Entry]:
    """Ours and components, before and after Harmony."""
    own = _job(case, folder)
    return [Entry(row={"model": m}, job=own, within=(m,)) for m in MODELS]


def _job(case: Case, folder: Path) -> Job:
    preset = ALIGNED if case.regime is Regime.MULTIOME else BEST
    misled = vary(preset, {"pretrain.adversary": 1.0})
    starts = [classifiers.pretraining(case, p, folder) for p in (preset, misled)]
    needs = [
        *(vectors.frozen(case, preset, folder, start=start) for start in starts),
        vectors.components(case, preset, folder),
    ]

    def compute(place: Path, needed: Sequence[Path]) -> dict[str, Any]:
        store = case.store(preset.recipe, folder)
        rows = finetune_cells.cells_of(store, "test", case.regime)
        if len(rows) < integration.MIN_CELLS:
            raise NothingToJudgeError(f"{len(rows)} test cells")
        *own, components = (vectors.read(path)[rows] for path in needed)
        own = [(one - one.mean(0)) / (one.std(0) + 1e-6) for one in own]
        batches = np.unique(store.obs[sets.BATCH].to_numpy()[rows], return_inverse=True)
        found = dict(zip((*OURS, "components"), (*own, components), strict=True))
        found |= {
            f"{name}_harmony": integration.harmony(
                found[name], batches[1], seed=case.seed
            )
            for name in ("frozen", "components")
        }
        scores = integration.score(
            found, store.labels[rows], batches[1], before=components
        )
        return {name: configs.to_json(one) for name, one in scores.items()}

    return Job(
        section="integration", settings=case.settings(), compute=compute, needs=needs
    )


SECTION = Section(
    about="scib-metrics of test cells: types apart, batches mixed; gains over "
    "components",
    entries=entries,
    metrics={"biology": "biology", "batches": "batches", "total": "total"},
    references=("components",),
)
