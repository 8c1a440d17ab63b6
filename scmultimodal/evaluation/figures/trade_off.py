"""What a score costs: accuracy against the time of a step."""

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scmultimodal.evaluation.figures import style


def draw(
    seconds: Mapping[str, float],
    scores: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    *,
    score: str = "accuracy",
    title: str = "",
) -> Path:
    """Draws every model at its cost, one colour a modality, one dot a seed.

    Args:
        seconds: of a step, by model; models without are not drawn.
        scores: rows with "model", "modality" and the score.
        path: the PNG.
        score: the column to draw.
        title: of the picture.
    """
    figure = style.canvas(6.0, 3.8)
    axes = figure.subplots()
    modalities = list(dict.fromkeys(row["modality"] for row in scores))
    for modality, colour in zip(
        modalities, style.palette(len(modalities)), strict=True
    ):
        mine = [
            row
            for row in scores
            if row["modality"] == modality and row["model"] in seconds
        ]
        axes.scatter(
            [seconds[row["model"]] for row in mine],
            [row[score] for row in mine],
            s=14,
            color=colour,
            alpha=0.5,
        )
        models = sorted({row["model"] for row in mine}, key=seconds.__getitem__)
        means = [
            statistics.mean(row[score] for row in mine if row["model"] == model)
            for model in models
        ]
        times = [seconds[model] for model in models]
        axes.plot(times, means, marker="_", markersize=16, color=colour, label=modality)
    axes.set_xscale("log")
    axes.set_xticks(
        list(seconds.values()), [f"{m}\n{s:.2g} s" for m, s in seconds.items()]
    )
    axes.minorticks_off()
    style.tidy(axes, title=title, xlabel="time of a step", ylabel=score)
    axes.legend(
        loc="upper left", bbox_to_anchor=(1, 1), fontsize=style.SMALL, frameon=False
    )
    return style.save(figure, path)
