"""A picture with a line for each model, whatever its confidence."""

import numpy as np
from matplotlib import colors, image

from scmultimodal.evaluation import figures


def test_models_have_lines_in_both_panels(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    sure = np.where(np.eye(3)[labels] > 0, 0.9, 0.05)
    flat = np.full((200, 3), 1 / 3)
    path = figures.calibration_curves(
        {"sure": sure, "flat_one": flat}, labels, tmp_path / "picture.png", title="a"
    )
    assert path.stat().st_size > 5_000
    pixels = image.imread(path)[..., :3]
    for colour in figures.palette(2):
        near = np.abs(pixels - colors.to_rgb(colour)).max(-1) < 0.02
        assert near.sum() > 100
