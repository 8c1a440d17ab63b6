"""One look for all pictures: canvas, palette, fonts, saving."""

import io
import os
from pathlib import Path
from typing import Any

from scmultimodal.data import atomic
from scmultimodal.evaluation import extra
from scmultimodal.evaluation.palettes import COLOURS
from scmultimodal.schemas.errors import InputError

with extra.required():
    from matplotlib import colors
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

DPI = 150
INK, FAINT, ALARM = "#222222", "#8A8A8A", "#B3261E"
SMALL, NORMAL, LARGE = 8, 9, 11
"""Font sizes in points."""


def palette(num_categories: int) -> list[str]:
    """Colours of categories 0, 1, …; beyond 40 they repeat."""
    return [COLOURS[index % len(COLOURS)] for index in range(num_categories)]


def ink_on(colour: Any) -> str:
    """The ink that is read better on a colour: dark or white."""
    red, green, blue = colors.to_rgb(colour)
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def canvas(width: float, height: float) -> Figure:
    """An empty figure of the given size in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def tidy(axes: Axes, *, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Names the axes and takes away what carries no information."""
    axes.set_title(title, fontsize=LARGE, color=INK, loc="left")
    axes.set_xlabel(xlabel, fontsize=NORMAL, color=INK)
    axes.set_ylabel(ylabel, fontsize=NORMAL, color=INK)
    axes.tick_params(labelsize=SMALL, colors=INK, length=3)
    axes.spines[["top", "right"]].set_visible(False)


def mark(label: str, colour: str, shape: str, *, joined: bool, **looks: Any) -> Line2D:
    """What a legend shows for points of a colour and a shape, on a line or not."""
    ends = "-" if joined else ""
    return Line2D([], [], ls=ends, marker=shape, label=label, color=colour, **looks)


def save(figure: Figure, path: str | os.PathLike[str], note: str = "") -> Path:
    """Writes a PNG, with a note in its own line above the picture.

    Raises:
        InputError: the file's name does not end in .png.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise InputError(path, "pictures are PNG files", "Name it *.png")
    if note:
        figure.suptitle(note, fontsize=NORMAL, color=ALARM, weight="bold")
    # A cell type may hold dollar signs; nothing here is a formula.
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    atomic.write_bytes(path, buffer.getvalue())
    return path
