"""Figures that are kept: the tables of README and site, each with what made it.

    python -m experiments.bench.kept

writes README's tables anew from `experiments/bench/results.json`, where a
benchmark puts its own by `--keep`.
"""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tyro

from experiments.bench import report
from experiments.evaluation import readme
from scmultimodal.schemas.errors import InputError

ROOT = Path(__file__).parents[2]
PATH = ROOT / "experiments" / "bench" / "results.json"


def keep(name: str, printed: str, path: Path = PATH) -> None:
    """Takes the table of what a benchmark prints; those of others stay.

    Args:
        name: of the table.
        printed: Markdown that begins with it.
        path: where figures are kept.
    """
    tables = read(path) if path.exists() else {}
    header, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in printed.strip().partition("\n\n")[0].splitlines()
    )
    tables[name] = {
        "command": shlex.join(["python", "-m", _module(), *sys.argv[1:]]),
        **report.circumstances(),
        "header": header,
        "rows": rows,
    }
    report.write(path, tables)


def read(path: Path = PATH) -> dict[str, Any]:
    """Tables by name.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})", "Run --keep") from error


def markdown(kept: Mapping[str, Any]) -> str:
    """A table that is kept, as the benchmark printed it."""
    return report.table(kept["header"], kept["rows"])


def fill(path: Path = ROOT / "README.md", figures: Path = PATH) -> None:
    """Writes the tables to their places in a Markdown file.

    Raises:
        InputError: there is no place for one, or several.
    """
    tables = read(figures)
    for name in tables:
        readme.check(path, name)
    for name, kept in tables.items():
        readme.fill(path, name, markdown(kept))


def _module() -> str:
    return f"experiments.bench.{Path(sys.argv[0]).stem}"


if __name__ == "__main__":
    tyro.cli(fill, description=__doc__, prog="python -m experiments.bench.kept")
