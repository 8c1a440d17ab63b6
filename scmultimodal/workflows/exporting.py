"""A trained model as a folder for people elsewhere, and the proof that it is whole."""

import dataclasses
import json
import math
import os
from pathlib import Path

import jax
import numpy as np

from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import evaluate, export, genome_model, hub
from scmultimodal.weights import folder as folders
from scmultimodal.workflows import (
    genome_inference,
    model_card,
    runs,
    stablehlo,
    trained,
)
from scmultimodal.workflows.runs import Run

LOADER, TOKENS = "evaluate.py", "tokens.json"
TOLERANCE = 1e-3
"""Of what programs and loader make of the reference."""
_SAID = {"embed": "embedding", "annotate": "logits", "express": "expression"}
"""Output of a program by its name in the reference."""

Model = export.StoredModel | genome_model.StoredGenomeModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        folder: where.
        model: what.
        metrics: where those of the card come from, or why there are none.
    """

    folder: Path
    model: Model
    metrics: str

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {p.name: p.stat().st_size for p in sorted(self.folder.iterdir())}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checked:
    """What became of a model or of a companion of it.

    Attributes:
        difference: the largest from the reference; None where nothing was computed.
        note: what else there is to say.
    """

    difference: float | None = None
    note: str = ""

    def __str__(self) -> str:
        """For people."""
        number = "" if self.difference is None else f"{self.difference:.1e}"
        return ", ".join(filter(None, (number, self.note)))


def load(source: str | os.PathLike) -> Model:
    """Reads a cell or a genome model, whichever a folder or an address holds.

    Raises:
        InputError: no model there, or a file of it is damaged.
    """
    folder = folders.find(source)
    if folders.read_json(folder / folders.CONFIG).get("format") == export.FORMAT:
        return export.load(folder)
    return genome_model.load(folder)


def run(
    source: str | os.PathLike,
    out: Path,
    *,
    license: str | None = None,
    name: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Writes a model with its programs, its loader and its card.

    Args:
        source: run folder, model folder, or address of the hub.
        out: folder to make.
        license: of the weights, as the hub names it.
        name: heads the card; the folder's if None.
        overwrite: replaces an older model of the same kind that stands there.

    Raises:
        InputError: no model at `source`, something at `out` that is to stay, or a
            model that is not to be exported (see `stablehlo.of_cells`).
    """
    model = load(source)
    is_cells = isinstance(model, export.StoredModel)
    kind = export if is_cells else genome_model
    folders.check_replaceable(out, kind.FORMAT, overwrite=overwrite)
    trained_by, metrics = _run_of(source)
    card = model_card.write(
        model, name=name or out.resolve().name, license=license, run=trained_by
    )
    companions = _companions(model) | {folders.CARD: card.encode()}
    if trained_by is not None and not model_card.scores_of(model, trained_by):
        metrics = f"{model_card.NOT_RECORDED}: {trained_by.path} measured nothing of it"
    folder = kind.save(model, out, companions)
    return Exported(folder=folder, model=model, metrics=metrics)


def check(source: str | os.PathLike) -> dict[str, Checked]:
    """Compares the companions of a folder with what the model itself says.

    Programs are run. The loader is not, for it is code that somebody gave: this
    package's is, in its place.

    Args:
        source: the folder, or its address on the hub.

    Returns:
        By companion.

    Raises:
        InputError: a companion is missing or damaged, or differs by more than
            `TOLERANCE`.
    """
    fetched = hub.download(source, ("*",)) if hub.is_address(source) else source
    folder = folders.find(fetched)
    model, said = load(folder), {}
    tensors = folders.read_tensors(folder / folders.TENSORS)
    for name in folders.check_companions(folder):
        if name == LOADER:
            said[name] = _check_loader(folder)
        elif name.endswith(stablehlo.SUFFIX):
            batch, expected = _expected(model, name.removesuffix(stablehlo.SUFFIX))
            again = stablehlo.run((folder / name).read_bytes(), tensors, batch)
            said[name] = _compared(folder / name, np.max(np.abs(again - expected)))
        else:
            said[name] = Checked(note="as in config.json")
    return said


def _check_loader(folder: Path) -> Checked:
    """What this package's loader makes of the reference."""
    try:
        worst = evaluate.Model(folder).check(tolerance=math.inf)
    except NotImplementedError as error:
        return Checked(note=f"refuses: {error}")
    said = _compared(folder / LOADER, worst)
    if (folder / LOADER).read_bytes() == loader():
        return said
    note = "by this version's loader; that in the folder is another: read it"
    return dataclasses.replace(said, note=note)


def _compared(path: Path, worst: float | np.floating) -> Checked:
    if not worst <= TOLERANCE:
        problem = f"differs by {worst:.2g} from what the model says"
        raise InputError(path, problem, folders.REMEDY)
    return Checked(difference=float(worst))


def _companions(model: Model) -> dict[str, bytes]:
    """Files by name."""
    if isinstance(model, export.StoredModel):
        programs, other = stablehlo.of_cells(model), {LOADER: loader()}
    else:
        programs = stablehlo.of_genome(model)
        tokens = json.dumps(model.config.tokenizer.vocabulary, indent=0)
        other = {TOKENS: f"{tokens}\n".encode()}
    named = {f"{name}{stablehlo.SUFFIX}": code for name, code in programs.items()}
    return named | other


def loader() -> bytes:
    """The text of `evaluate`, which goes along."""
    return Path(evaluate.__file__).read_bytes()


def _run_of(source: str | os.PathLike) -> tuple[Run | None, str]:
    """The run that trained a model, and where metrics come from or why not.

    It is that in whose folder model/ the model lies, or the same weights.
    """
    path = Path(source)
    within = (path / folders.TENSORS).exists()
    folder = path.resolve().parent if within else path
    try:
        run = runs.read(folder, folder.name)
    except InputError as error:
        return None, f"{model_card.NOT_RECORDED}: {error.source} {error.problem}"
    if within and not _same_weights(path, folder / "model"):
        return None, f"{model_card.NOT_RECORDED}: {folder} measured another model"
    return run, f"of {folder}"


def _same_weights(one: Path, other: Path) -> bool:
    """Whether two model folders hold the same tensors, to the byte."""
    first, second = one / folders.TENSORS, other / folders.TENSORS
    return second.exists() and (
        first.samefile(second) or folders.sha256(first) == folders.sha256(second)
    )


def _expected(model: Model, function: str) -> tuple[object, np.ndarray]:
    """A batch for a program, and what the model says of it."""
    if isinstance(model, export.StoredModel):
        source = trained.reference_source(model, model.reference)
        regime = trained.regime_of(source.modalities)
        builder = trained.builder_for(source, model.config)
        batch = builder.build(np.arange(source.num_cells), regime)
        given = stablehlo.program_batch(batch)
        said, kept = _SAID[function], model.reference
        # What is told of genes was not kept at first.
        known = kept if said in kept else trained.outputs(model, kept)
        return given, known[said]
    compute, length = genome_inference.functions(model)[function]
    ids = genome_inference.reference_tokens(model.config, length)
    return ids, np.asarray(compute(jax.device_put(model.params), ids))
