"""A pre-training as a run folder: what `pretrain` and the study of it both run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scmultimodal.data.store import Store
from scmultimodal.evaluation import text_table
from scmultimodal.training.metrics import FILE, read_metrics
from scmultimodal.workflows import (
    comparison,
    curves,
    judged,
    pretrain,
    provenance,
    run_scores,
)
from scmultimodal.workflows.pretrain_config import PretrainConfig


def run(
    take: Callable[[], Store],
    config: PretrainConfig,
    out: Path,
    *,
    written: Mapping[str, Any],
    fit: Callable[[Store], PretrainConfig] | None = None,
) -> Store:
    """Pre-trains into one self-contained folder; says where its parts are.

    Args:
        take: opens or prepares the cells, once the folder is known to serve.
        config: the training.
        out: run folder.
        written: all that the run depends on, for its `config.json`.
        fit: the training as it serves the cells; None takes it as it is. What it
            changes is written, as "fitted".

    Raises:
        InputError: data that break a rule, or a folder of another run.
    """
    provenance.check_config(out, written, resume=config.resume == "auto")
    store = take()
    taken = config if fit is None else fit(store)
    changed = provenance.fitted(config, taken)
    told = {provenance.FITTED: {"pretrain": changed}} if changed else {}
    provenance.write_config(out, {**written, **told})
    pretrain.run(store, taken, out)
    held_out = judged.cells(store, store.split("validation"))
    judged.write(out, {"validation": held_out})
    curves.draw(out, {"pre-training": out})
    comparison.write_page(out)
    print(f"model   {out / 'model'}")
    return store


def format_table(out: Path) -> str:
    """What validation cells said of a run: a line each time they were asked."""
    records = [r for r in read_metrics(out / FILE) if r["split"] == "validation"]
    if not records:
        return "none of them could be asked"
    # None is what no cell could be asked about.
    told = {name for r in records for name, value in r.items() if value is not None}
    names = sorted(filter(run_scores.is_measure, told & records[-1].keys()))
    rows = [["step", *(name.replace("_", " ") for name in names)]]
    rows += [[f"{r['step']:,}", *(f"{r[n]:.3f}" for n in names)] for r in records]
    return text_table.aligned(rows, names=0, ruled=True)
