"""A cell model as a folder that needs no training code: no pickle, no Orbax.

config.json            what the model is, and the sha256 of the files beside it
vocabulary.json        genes, their places, medians, and how counts become bins
model.safetensors      "params/<module>/<name>" and "state/<module>/<name>"
reference.safetensors  bins of a few cells and what the model made of them
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from scmultimodal.data import atomic
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError

FORMAT_VERSION = 1
TENSORS, REFERENCE, VOCABULARY = (
    "model.safetensors",
    "reference.safetensors",
    "vocabulary.json",
)
_REMEDY = "copy the model folder again, or export it anew"

Tree = Mapping[str, Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What a stored model is.

    Attributes:
        encoder: shape of the trunk.
        head: shape of the cell-type head; None where the model was only pre-trained.
        classes: names of the cell types, in the order of the logits.
        modalities: the paths that were trained.
        tokens: "all" genes, or a cell's "nonzero" ones.
        feature_order: order of the genes where tokens are all genes.
        buckets: numbers of tokens that a batch may be padded to.
        provenance: data, revision and versions; for people.
    """

    encoder: CellEncoderConfig
    head: CellTypeHeadConfig | None = None
    classes: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ("rna", "atac")
    tokens: str = "nonzero"
    feature_order: str = "fixed"
    buckets: tuple[int, ...] | None = None
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.head is not None and self.head.num_classes != len(self.classes):
            raise ValueError(
                f"{self.head.num_classes} logits for {len(self.classes)} cell types"
            )
        if not set(self.modalities) <= {"rna", "atac"} or not self.modalities:
            raise ValueError(f"modalities must be rna, atac or both: {self.modalities}")
        if self.tokens not in ("all", "nonzero"):
            raise ValueError(f"tokens must be all or nonzero, got {self.tokens!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredModel:
    """A model in memory, as it is on disk.

    Attributes:
        config: what it is.
        vocabulary: its genes and how counts become bins.
        params: {module: {name: array}}.
        network_state: the same, for what was not learned.
        reference: "rna" and "atac" bins [cells, genes], and outputs by name.
    """

    config: ModelConfig
    vocabulary: GeneVocabulary
    params: Tree
    network_state: Tree
    reference: Mapping[str, np.ndarray]


def save(model: StoredModel, folder: str | os.PathLike) -> Path:
    """Writes a model folder, whole or not at all; an older model there is replaced.

    Raises:
        InputError: where `folder` holds something that is no model.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / TENSORS).exists():
        raise InputError(
            folder, "is not empty and holds no model", "choose another folder"
        )
    tensors = _flatten("params", model.params) | _flatten("state", model.network_state)
    with atomic.folder(folder) as new:
        safetensors_numpy.save_file(tensors, new / TENSORS)
        safetensors_numpy.save_file(_contiguous(model.reference), new / REFERENCE)
        model.vocabulary.save(new)
        content = {
            "format": "scmultimodal cell model",
            "format_version": FORMAT_VERSION,
            "model": configs.to_json(model.config),
            "sha256": {n: _sha256(new / n) for n in (TENSORS, REFERENCE, VOCABULARY)},
        }
        (new / "config.json").write_text(json.dumps(content, indent=1) + "\n")
    return folder


def load(folder: str | os.PathLike) -> StoredModel:
    """Reads a model folder and checks every file against its sha256.

    Args:
        folder: a model folder, or a run folder with one in it.

    Raises:
        InputError: a file that is missing, damaged or of another version.
    """
    folder = find(folder)
    content = _read_json(folder / "config.json")
    try:
        version, sums = content["format_version"], content["sha256"]
        fields = content["model"]
    except (KeyError, TypeError) as error:
        raise InputError(
            folder / "config.json", f"has no entry {error}", _REMEDY
        ) from None
    if version != FORMAT_VERSION:
        raise InputError(
            folder / "config.json",
            f"has format version {version}, this is {FORMAT_VERSION}",
            "read it with the scmultimodal version that wrote it",
        )
    for name in (TENSORS, REFERENCE, VOCABULARY):
        _check_sum(folder / name, sums.get(name))
    source = str(folder / "config.json")
    config = configs.from_json(ModelConfig, fields, source=source)
    vocabulary = GeneVocabulary.load(folder)
    if vocabulary.num_genes != config.encoder.num_genes:
        raise InputError(
            folder,
            f"has {vocabulary.num_genes} genes in its vocabulary and "
            f"{config.encoder.num_genes} in its encoder",
            _REMEDY,
        )
    tensors = _read_tensors(folder / TENSORS)
    return StoredModel(
        config=config,
        vocabulary=vocabulary,
        params=_unflatten("params", tensors),
        network_state=_unflatten("state", tensors),
        reference=_read_tensors(folder / REFERENCE),
    )


def find(folder: str | os.PathLike) -> Path:
    """The model folder at, or directly inside, a folder."""
    folder = Path(folder)
    for candidate in (folder, folder / "model"):
        if (candidate / "config.json").exists() and (candidate / TENSORS).exists():
            return candidate
    raise InputError(
        folder,
        "is no model: neither it nor its folder model/ has config.json and " + TENSORS,
        "give a run folder (such as runs/demo) or an exported model",
    )


def _flatten(prefix: str, tree: Tree) -> dict[str, np.ndarray]:
    return _contiguous(
        {
            f"{prefix}/{module}/{name}": leaf
            for module, leaves in tree.items()
            for name, leaf in leaves.items()
        }
    )


def _unflatten(prefix: str, tensors: Mapping[str, np.ndarray]) -> Tree:
    tree: dict[str, dict[str, np.ndarray]] = {}
    for key, leaf in tensors.items():
        kind, rest = key.split("/", 1)
        if kind == prefix:
            module, name = rest.rsplit("/", 1)
            tree.setdefault(module, {})[name] = leaf
    return tree


def _contiguous(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    # Not ascontiguousarray: it would make a vector of a scalar.
    return {k: np.asarray(v, order="C") for k, v in arrays.items()}


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    try:
        return safetensors_numpy.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})", _REMEDY) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})", _REMEDY) from error


def _check_sum(path: Path, expected: str | None) -> None:
    if not path.exists():
        raise InputError(path, "is missing", _REMEDY)
    if _sha256(path) != expected:
        raise InputError(path, "differs from the sha256 in config.json", _REMEDY)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
