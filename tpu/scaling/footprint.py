"""What a cell takes, as it was measured: memory, arithmetic, bytes on disk.

`python -m tpu.scaling.measuring` measures, and keeps what it found in `footprint.json`.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError

FILE = Path(__file__).with_name("footprint.json")
PresetName = Literal["study", "small"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A step of pre-training on cells with RNA and ATAC, as `dry_run.plan` tells it.

    Attributes:
        genes: of the vocabulary.
        parameters: numbers that are learned.
        flop: of a cell, averaged over the kinds of batches in turn.
        traffic: bytes of what the products of a cell and step read and write,
            recomputed ones too, averaged likewise.
        tokens: of a cell, averaged likewise.
        batch_size: of the preset.
        steps: of the preset.
        memory: {cells: (bytes of state and batch, bytes besides)} of a device.
        device: that the step was compiled for.
        jax: version.
        revision: of our code.
    """

    genes: int
    parameters: int
    flop: float
    traffic: float
    tokens: float
    batch_size: int
    steps: int
    memory: Mapping[str, tuple[int, int]]
    device: str
    jax: str
    revision: str | None

    @property
    def per_cell(self) -> float:
        """Bytes of each further cell, from the fewest cells measured to the most."""
        return _slope(self._sizes(sum))

    @property
    def fixed(self) -> float:
        """Bytes of a device without any cell."""
        return _intercept(self._sizes(sum))

    @property
    def state(self) -> float:
        """Bytes of parameters, two moments and what else a checkpoint holds."""
        return _intercept(self._sizes(lambda sizes: sizes[0]))

    @property
    def reduced(self) -> float:
        """Bytes that a step adds up over devices: the gradient, and the network state.

        The state without its two moments; metrics and votes are a few bytes more.
        """
        return self.state - 2 * 4 * self.parameters

    def _sizes(self, of: Any) -> list[tuple[int, float]]:
        return sorted((int(cells), of(sizes)) for cells, sizes in self.memory.items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cells:
    """Prepared cells, of which shares and sizes are means.

    Attributes:
        name: of the dataset.
        nonzero: of each modality, the share of the genes with a known place that is
            not zero in a cell.
        stored: of each modality, bytes of a non-zero gene on disk; of its count two,
            also where those that were weighed fit one.
        read: the same, of what training reads of it.
        other: bytes of a cell besides: its row in `obs.json`, pointers, flags.
    """

    name: str
    nonzero: Mapping[str, float]
    stored: Mapping[str, float]
    read: Mapping[str, float]
    other: float

    def nonzeros(self, genes: int) -> dict[str, float]:
        """Of each modality, non-zero genes of a cell of a vocabulary of so many."""
        return {modality: genes * share for modality, share in self.nonzero.items()}


def network(preset: PresetName) -> Network:
    """What was measured of a preset.

    Raises:
        InputError: nothing was.
    """
    found = _read().get("networks", {})
    if preset not in found:
        raise InputError(
            FILE.name,
            f"has nothing of {preset!r}",
            f"run `python -m tpu.scaling.measuring --preset {preset}`",
        )
    return configs.from_json(Network, found[preset], source=FILE.name)


def cells() -> Cells:
    """What was measured of prepared cells.

    Raises:
        InputError: nothing was.
    """
    found = _read().get("cells")
    if found is None:
        raise InputError(
            FILE.name,
            "has no prepared cells",
            "run `python -m tpu.scaling.measuring --store DATASET`",
        )
    return configs.from_json(Cells, found, source=FILE.name)


def keep_network(preset: PresetName, found: Network) -> None:
    """Puts what was measured of a preset into the file."""
    content = _read()
    networks = content.setdefault("networks", {})
    networks[preset] = configs.to_json(found)
    _write(content)


def keep_cells(found: Cells) -> None:
    """Puts what was measured of prepared cells into the file."""
    _write(_read() | {"cells": configs.to_json(found)})


def _write(content: Mapping[str, Any]) -> None:
    FILE.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def _read() -> dict[str, Any]:
    return json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}


def _slope(sizes: list[tuple[int, float]]) -> float:
    (few, least), (many, most) = sizes[0], sizes[-1]
    return (most - least) / (many - few)


def _intercept(sizes: list[tuple[int, float]]) -> float:
    few, least = sizes[0]
    return least - few * _slope(sizes)
