"""Numbers from turns, tables, files, and what must be known to read them."""

import dataclasses
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench.shape import step_flop
from experiments.bench.turns import Player
from scmultimodal.data import atomic
from scmultimodal.workflows import provenance

Players = Mapping[str, Player]


def is_ours(player: Player) -> bool:
    """Whether this is our streamed step, of whatever size."""
    favor = player.settings.get("attention", "favor") == "favor"
    return player.module == "ours" and favor


def ratio_to_ours(player: Player, players: Iterable[Player]) -> float | None:
    """How many times as fast ours is on the same shape; None if either has no time.

    Ours in the same precision, if it runs in it, else in float32.
    """
    shape, dtype = player.settings["shape"], player.settings.get("dtype", "float32")
    ours = {
        p.settings.get("dtype", "float32"): p
        for p in players
        if is_ours(p) and p.settings["shape"] == shape
    }
    reference = ours.get(dtype, ours.get("float32"))
    if reference is None or not reference.median or not player.median:
        return None
    return player.median / reference.median


def needed_flop(player: Player) -> int | None:
    """Arithmetic of a step with linear attention: see `step_flop`."""
    if player.settings.get("attention") == "exact" or "shape" not in player.settings:
        return None
    shape = player.settings["shape"]
    rows = shape.predicted if player.module == "ours" else None
    return step_flop(shape, last_layer_rows=rows)


def share(
    flop: float | None, player: Player | None, product: Player | None
) -> float | None:
    """Of the rate of large products, what so much arithmetic in a step comes to."""
    if not flop or not player or not player.median or not product or not product.median:
        return None
    return flop / player.median / (product.facts["flop"] / product.median)


def exponent(sizes: Sequence[float], values: Sequence[float | None]) -> float | None:
    """k of value ~ size^k, by a straight line through the logarithms."""
    points = [(n, v) for n, v in zip(sizes, values, strict=True) if v]
    if len(points) < 2:
        return None
    slope, _ = np.polyfit(*np.log(points).T, 1)
    return float(slope)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the first column is text, the others are numbers."""
    lines = [f"| {' | '.join(header)} |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def number(value: float | None, pattern: str = ",.0f") -> str:
    """A number as a table has it."""
    return "–" if value is None else format(value, pattern)


def milliseconds(player: Player) -> str:
    """The time of a step, or why there is none."""
    return (
        number(player.median and 1e3 * player.median)
        if not player.absent
        else (player.absent)
    )


def record(player: Player) -> dict[str, Any]:
    """All that is known of a player."""
    return {
        "name": player.name,
        "module": player.module,
        "settings": player.settings,
        "absent": player.absent,
        "median_seconds": player.median,
        "seconds": player.seconds,
        "losses": player.losses,
        "memory_mb": player.memory_mb,
        "peak_process_mb": player.peak_mb,
        "facts": player.facts,
    }


def circumstances() -> dict[str, Any]:
    """Machine, versions and revision."""
    return {
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gb": _memory_gb(),
            "load_average": os.getloadavg(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        **provenance.of_code(),
    }


def write(path: Path, results: Mapping[str, Any]) -> None:
    """Writes results as JSON, whole or not at all."""

    def default(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.asdict(value)
        return str(value)

    atomic.write_text(path, json.dumps(results, indent=1, default=default) + "\n")
    print(f"Wrote {path}")


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    return pages * size / 1e9
