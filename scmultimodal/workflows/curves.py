"""The learning curves of a run, as a picture beside its model."""

from collections.abc import Mapping
from pathlib import Path

from scmultimodal.evaluation import extra
from scmultimodal.schemas.errors import InputError
from scmultimodal.training import hosts
from scmultimodal.training.metrics import FILE, read_metrics
from scmultimodal.training.step import FINGERPRINT

_NO_MEASURE = {
    *("step", "split", "seconds"),
    *("learning_rate", "grad_norm", FINGERPRINT),
}


def draw(out: Path, trainings: Mapping[str, Path]) -> None:
    """Draws `out/curves.png`, a column a training, and says where it is.

    Args:
        out: run folder.
        trainings: name -> folder with a `metrics.jsonl`.
    """
    if not hosts.is_main():
        return
    try:
        with extra.required():
            from scmultimodal.evaluation.figures import learning_curves
    except InputError as error:
        print(f"curves  none: {error}")
        return
    runs = {name: read_metrics(folder / FILE) for name, folder in trainings.items()}
    names = dict.fromkeys(name for run in runs.values() for r in run for name in r)
    path = learning_curves(
        runs,
        out / "curves.png",
        metrics=[name for name in names if name not in _NO_MEASURE],
    )
    print(f"curves  {path}")
