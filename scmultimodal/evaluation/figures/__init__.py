"""Pictures of a run as PNG files, drawn without any global state of matplotlib.

Every function writes `path` whole or not at all and returns it. `note` is printed in
the corner: a run on simulated data says so in every picture.
"""

from scmultimodal.evaluation import extra

with extra.required():
    import matplotlib  # noqa: F401

from scmultimodal.evaluation.figures.bars import (
    band_coverage,
    bin_histogram,
    results_bars,
)
from scmultimodal.evaluation.figures.calibration import calibration_curves
from scmultimodal.evaluation.figures.confusion import confusion
from scmultimodal.evaluation.figures.curves import learning_curves
from scmultimodal.evaluation.figures.scatter import umap_grid, umap_scatter
from scmultimodal.evaluation.figures.style import palette

__all__ = [
    "band_coverage",
    "bin_histogram",
    "calibration_curves",
    "confusion",
    "learning_curves",
    "palette",
    "results_bars",
    "umap_grid",
    "umap_scatter",
]
