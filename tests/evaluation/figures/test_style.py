"""The common look."""

import itertools

import numpy as np
import pytest
from matplotlib import colors, image

from scmultimodal.evaluation import palettes
from scmultimodal.evaluation.figures import style
from scmultimodal.schemas.errors import InputError

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}
LMS = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
LAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]


def oklab(names, vision):
    rgb = np.array([colors.to_rgb(name) for name in names])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(VISIONS[vision]), 0, 1)
    return np.cbrt(seen @ np.transpose(LMS)) @ np.transpose(LAB)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize(("size", "least"), [(12, 0.075), (23, 0.07), (40, 0.05)])
def test_colours_stay_apart_for_every_eye(vision, size, least):
    places = oklab(style.palette(size), vision)
    apart = [np.linalg.norm(a - b) for a, b in itertools.combinations(places, 2)]
    assert min(apart) >= least


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize(("size", "least"), [(12, 0.075), (23, 0.06), (40, 0.044)])
def test_colours_on_a_dark_ground_stay_apart_and_are_light(vision, size, least):
    places = oklab(palettes.COLOURS_ON_DARK[:size], vision)
    apart = [np.linalg.norm(a - b) for a, b in itertools.combinations(places, 2)]
    assert min(apart) >= least
    assert oklab(palettes.COLOURS_ON_DARK, "normal")[:, 0].min() > 0.5


def test_colours_repeat_beyond_forty():
    assert style.palette(42) == [*style.COLOURS, *style.COLOURS[:2]]


def test_ink_is_read_on_its_ground():
    assert style.ink_on("#004868") == "white"
    assert style.ink_on("#E8D070") == style.INK


def test_a_note_is_printed_above_the_picture(tmp_path):
    plain, noted = (
        image.imread(
            style.save(style.canvas(2.0, 2.0), tmp_path / f"a{note}.png", note)
        )
        for note in ("", "simulated")
    )
    alarm = np.array(colors.to_rgb(style.ALARM))
    reddish = [np.abs(p[..., :3] - alarm).max(-1).min() < 0.05 for p in (plain, noted)]
    assert reddish == [False, True]


def test_only_png_is_written(tmp_path):
    with pytest.raises(InputError, match=r"Name it \*\.png"):
        style.save(style.canvas(1.0, 1.0), tmp_path / "a.pdf")
    assert not list(tmp_path.iterdir())
