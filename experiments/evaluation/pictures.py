"""Pictures of the tables: every split a dot, the mean a line."""

from collections.abc import Sequence
from pathlib import Path

from experiments.evaluation.tables import Row, Section
from scmultimodal.evaluation.figures import style


def draw(section: Section, rows: Sequence[Row], path: Path) -> Path:
    """A panel for each metric of each group of rows; curves where there is a pivot."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        group = tuple(str(row[key]) for key in section.keys if key != "model")
        groups.setdefault(group, []).append(row)
    longest = max(len({row["model"] for row in group}) for group in groups.values())
    height = 2.8 if section.pivot else 0.6 + 0.24 * longest
    figure = style.canvas(3.6 * len(section.metrics) + 2.4, height * len(groups))
    panels = figure.subplots(len(groups), len(section.metrics), squeeze=False)
    for line, (group, mine) in zip(panels, groups.items(), strict=True):
        for axes, (metric, title) in zip(line, section.metrics.items(), strict=True):
            (_curves if section.pivot else _dots)(section, mine, metric, axes)
            style.tidy(axes, title=f"{', '.join(group)}: {title}")
        if section.pivot:
            line[-1].legend(
                loc="center left",
                bbox_to_anchor=(1, 0.5),
                fontsize=style.SMALL,
                frameon=False,
            )
    return style.save(figure, path)


def _dots(section: Section, rows: Sequence[Row], metric: str, axes) -> None:
    """Models one below the other, in the order of the table."""
    shown = [row for row in rows if row[metric] is not None]
    for place, row in enumerate(shown):
        other = row["model"] in section.references
        colour = style.COLOURS[1] if other else style.COLOURS[0]
        by_seed = row[f"{metric}_by_seed"]
        axes.plot(by_seed, [place] * len(by_seed), "o", color=colour, alpha=0.4, ms=4)
        axes.plot(row[metric], place, "|", color=colour, ms=14, mew=2)
    names = [row["model"].replace("_", " ") for row in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.set_ylim(max(len(shown), 1) - 0.5, -0.5)
    axes.grid(axis="x", color="#E6E6E6", linewidth=0.6)


def _curves(section: Section, rows: Sequence[Row], metric: str, axes) -> None:
    """A line for each model over the values of the pivot."""
    assert section.pivot is not None
    places = list(dict.fromkeys(row[section.pivot] for row in rows))
    models = list(dict.fromkeys(row["model"] for row in rows))
    for model, colour in zip(models, style.palette(len(models)), strict=True):
        mine = {row[section.pivot]: row for row in rows if row["model"] == model}
        at = [place for place in places if place in mine]
        x = [places.index(place) for place in at]
        label = model.replace("_", " ")
        means = [mine[place][metric] for place in at]
        axes.plot(x, means, color=colour, label=label, marker="o", ms=3)
    axes.set_xticks(range(len(places)), [section.head(place) for place in places])
