"""Times the training step against its sizes, others beside it.

    make bench-all                                       # about an hour on two cores
    make bench-all ARGS="--axes chunk heads --turns 1"   # some of it
    make bench-all ARGS="--tokens 256 --turns 1"         # a glance

The step is that of `training_step`. Of each axis a Markdown table is printed and a PNG
written, time and peak temporary memory, with the exponent of time in the size:

    tokens   half, once and twice the tokens; ours and performer-pytorch
    exact    softmax attention up to all tokens; ours, and torch
    cells    a batch of 1, 2, 4 and 8 cells of a fourth of the tokens
    layers   2, 6 and 12 layers, a fourth of the tokens
    heads    heads of width 12, 13, 32 and 64
    chunk    tokens that ours works on at a time, 64 to 1,024
    devices  four cells of a fourth of the tokens on one device and on two; a CPU is
             made into two, as JAX_NUM_CPU_DEVICES=2 does for a training

Writes sweeps.json and sweep_AXIS.png to `--out`.
"""

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro

from experiments.bench import kept, pictures, report, turns
from experiments.bench.shape import Shape
from experiments.bench.turns import Player

Axis = Literal["tokens", "exact", "cells", "layers", "heads", "chunk", "devices"]
OURS, THEIRS = "ours", "performer-pytorch"
EXACT, SDPA = "softmax attention, JAX (ours)", "softmax attention, torch"
LABELS: dict[str, str] = {
    "tokens": "tokens",
    "exact": "tokens",
    "cells": "cells",
    "layers": "layers",
    "heads": "width of a head",
    "chunk": "tokens at a time",
    "devices": "devices",
}


Lines = dict[str, dict[int, Player]]
"""Name of a line → size → who was measured."""


class Entry(NamedTuple):
    """A contestant at one size."""

    line: str
    size: int
    settings: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured.

    Attributes:
        shape: of the step, where an axis does not say otherwise.
        axes: what is varied.
        turns: of each contestant, after one that warms up.
        threads: of torch on a CPU; None tries half of the cores and all.
        out: folder of the results.
        keep: also keeps the table for README and site (`bench.kept`).
    """

    shape: tyro.conf.OmitArgPrefixes[Shape] = dataclasses.field(default_factory=Shape)
    axes: tuple[Axis, ...] = typing.get_args(Axis)
    turns: int = 3
    threads: int | None = None
    out: Path = Path("build/bench")
    keep: bool = False


def main(config: Config) -> dict[str, Any]:
    """Measures axis by axis; returns what it wrote."""
    axes: dict[str, Any] = {}
    results = {"axes": axes, "config": config, **report.circumstances()}
    for axis in config.axes:
        lines = measure(list(entries(axis, config.shape)), config)
        axes[axis] = summarise(lines)
        print(f"\n{markdown(axis, lines)}\n")
        print(f"Wrote {draw(axis, lines, config.out / f'sweep_{axis}.png')}")
        if config.keep:
            kept.keep(f"sweep_{axis}", markdown(axis, lines))
        # After each: what was measured for an hour is not lost to the last axis.
        report.write(config.out / "sweeps.json", results)
    return results


def entries(axis: Axis, shape: Shape) -> Iterator[Entry]:
    """Who takes part in a sweep, and at which sizes."""
    tokens = shape.tokens
    few = dataclasses.replace(shape, tokens=max(tokens // 4, 1))
    if axis == "chunk":
        for chunk in (64, 128, 256, 512, 1024):
            yield Entry(OURS, chunk, {"shape": shape, "chunk": chunk})
        return
    if axis == "devices":
        batch = dataclasses.replace(few, cells=4)
        for devices in (1, 2):
            yield Entry(OURS, devices, {"shape": batch, "devices": devices})
        return
    sized = {
        "tokens": [
            (shape, "tokens", n) for n in (max(tokens // 2, 1), tokens, 2 * tokens)
        ],
        "exact": [(shape, "tokens", max(tokens // n, 1)) for n in (8, 4, 2, 1)],
        "cells": [(few, "cells", cells) for cells in (1, 2, 4, 8)],
        "layers": [(few, "layers", layers) for layers in (2, 6, 12)],
        "heads": [(shape, "key_size", width) for width in (12, 13, 32, 64)],
    }
    for base, field, size in sized[axis]:
        settings: dict[str, Any] = {"shape": dataclasses.replace(base, **{field: size})}
        if axis == "exact":
            settings["attention"] = "exact"
        yield Entry(EXACT if axis == "exact" else OURS, size, settings)
        yield Entry(SDPA if axis == "exact" else THEIRS, size, settings)


def measure(chosen: list[Entry], config: Config) -> Lines:
    """Lets all contestants of a sweep take turns; line → size → player."""
    lines: Lines = {}
    platform = turns.facts("product", width=8)["platform"]
    with turns.starting() as start:
        for line, size, settings in chosen:
            torch = line in (THEIRS, SDPA)
            module = "torch_performer" if torch else "ours"
            if torch:
                settings = settings | {"platform": platform, "threads": config.threads}
            player = start(f"{line}, {size:,}", module, **settings)
            lines.setdefault(line, {})[size] = player
        turns.take_turns(
            [p for line in lines.values() for p in line.values()], config.turns
        )
    return lines


def summarise(lines: Lines) -> dict[str, Any]:
    """Exponents, ratios and all that was measured."""
    return {
        "exponents": {name: _exponent(line) for name, line in lines.items()},
        "second_over_first": _ratios(lines),
        "contestants": {
            name: {size: report.record(player) for size, player in line.items()}
            for name, line in lines.items()
        },
    }


def markdown(axis: Axis, lines: Lines) -> str:
    """A row for each size, and one of exponents."""
    header, exponents = [LABELS[axis]], ["exponent"]
    for name, line in lines.items():
        header += [f"{name}, ms", "MB"]
        exponents += [report.number(_exponent(line), ".2f"), ""]
    rows = []
    for size in next(iter(lines.values())):
        row = [f"{size:,}"]
        for line in lines.values():
            row += [
                report.milliseconds(line[size]),
                report.number(line[size].memory_mb),
            ]
        rows.append(row)
    if ratios := _ratios(lines):
        header, exponents = [*header, "second / first"], [*exponents, ""]
        for row, ratio in zip(rows, ratios.values(), strict=True):
            row.append(report.number(ratio, ".2f"))
    return report.table(header, [*rows, exponents])


def draw(axis: Axis, lines: Lines, path: Path) -> Path:
    """Time and memory against the size."""
    seconds = {
        _with_exponent(name, line): [(n, p.median) for n, p in line.items()]
        for name, line in lines.items()
    }
    memory = {
        name: [(size, player.memory_mb) for size, player in line.items()]
        for name, line in lines.items()
    }
    panels = {"seconds per step": seconds, "peak temporary memory, MB": memory}
    return pictures.lines(panels, path, xlabel=LABELS[axis])


def _exponent(line: dict[int, Player]) -> float | None:
    return report.exponent(list(line), [player.median for player in line.values()])


def _with_exponent(name: str, line: dict[int, Player]) -> str:
    found = _exponent(line)
    return name if found is None else f"{name} (exponent {found:.2f})"


def _ratios(lines: Lines) -> dict[int, float | None]:
    """Size → time of the second line over that of the first; none of one line alone."""
    if len(lines) < 2:
        return {}
    first, second = lines.values()
    times = {size: (first[size].median, second[size].median) for size in first}
    return {size: b / a if a and b else None for size, (a, b) in times.items()}


if __name__ == "__main__":
    main(
        tyro.cli(Config, description=__doc__, prog="python -m experiments.bench.sweeps")
    )
