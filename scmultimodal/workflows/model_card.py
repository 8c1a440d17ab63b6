"""The card of an exported model: what it is, what it was measured by, how to load it.

Says what the model's files and the run beside it tell, and "not recorded" otherwise.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from scmultimodal.data.peak_tokens import PeakTokenConfig
from scmultimodal.evaluation.comparison import DIGITS, Score, title_of
from scmultimodal.schemas import configs
from scmultimodal.weights import evaluate
from scmultimodal.weights.export import StoredModel
from scmultimodal.weights.genome_model import StoredGenomeModel
from scmultimodal.workflows import expression, genome_inference
from scmultimodal.workflows.runs import Run

NOT_RECORDED = "not recorded"
_SHOWN = 20
"""Cell types that are named."""
_CELLS_FOR = """Vectors of cells, to cluster, compare and draw{types}, from raw counts
of {modalities} over the genes of `vocabulary.json`. For research."""
_CELLS_LIMITS = """- Nothing here is validated for diagnosis or treatment.
- It knows the genes of its vocabulary alone; a gene that the data lack counts as zero.
- Cells of tissues, species or protocols that it was not trained on have vectors too:
  nothing in these says that they are meaningless.
- {types}"""
_PEAKS_LIMITS = """- It reads peaks of one assembly: a peak of the data is the one of
  `peaks.json` that it shares most with; what overlaps none of them is not read."""
_GENOME_FOR = """Vectors of DNA{heads}. For research."""
_GENOME_LIMITS = """- Nothing here is validated for diagnosis or treatment.
- It was trained on the genome and the cell types of its data, and may not hold for
  others.
- Scores are relative: only differences between sequences mean something."""
_CELLS_JAX = """from evaluate import Model  # this folder's: counts to batches
from jax import export
from safetensors.numpy import load_file

model = Model(".")
counts = {align}
with open("embed.jax_export", "rb") as file:
    embed = export.deserialize(bytearray(file.read()))
vectors = embed.call(load_file("model.safetensors"), model.batch({modality}=counts))"""
_GENOME_JAX = """import numpy as np
from jax import export
from safetensors.numpy import load_file

token_ids = np.full((1, {tokens}), {pad}, np.int32)  # a row for each sequence, of PAD
token_ids[0, :3] = {cls}, {kmer}, {kmer}  # CLS, then k-mers: places in tokens.json
with open("encode.jax_export", "rb") as file:
    encode = export.deserialize(bytearray(file.read()))
vectors = encode.call(load_file("model.safetensors"), token_ids)"""
_NUMPY = """from evaluate import Model

model = Model(".")
model.check()  # recomputes the reference
counts = {align}
vectors = model.embed({modality}=counts)"""
_TOLD = {
    _CELLS_JAX: """
with open("express.jax_export", "rb") as file:
    express = export.deserialize(bytearray(file.read()))
told = express.call(load_file("model.safetensors"), model.batch(peaks=counts))""",
    _NUMPY: """
told = model.express(counts)""",
}
"""Further lines, of models that tell genes from open peaks: [cells, genes]."""

_CHECK = """`scmultimodal export --check .` compares every file but this card with its
sha256, and recomputes the reference and what the programs make of it."""
_CHECK_NUMPY = """`python evaluate.py` recomputes the reference with numpy alone, and
prints the largest difference; it compares the files beside config.json first, and runs
no program."""


def write(
    model: StoredModel | StoredGenomeModel,
    *,
    name: str,
    license: str | None,
    run: Run | None,
) -> str:
    """The card as Markdown, with the front matter of the Hugging Face hub.

    Args:
        model: what the folder holds.
        name: heads the card; where it can be fetched from, if it is owner/name.
        license: identifier of the hub, as "cc-by-4.0"; None where nobody said.
        run: what trained the model, if its folder is at hand.
    """
    is_cells = isinstance(model, StoredModel)
    tags = ["biology", "jax", *(["single-cell"] if is_cells else ["genomics", "dna"])]
    head: dict[str, Any] = {"library_name": "scmultimodal", "tags": tags}
    if license is not None:
        head["license"] = license
    front = "\n".join(f"{key}: {json.dumps(value)}" for key, value in head.items())
    provenance = model.config.provenance
    about = _of_cells(model) if is_cells else _of_genome(model)
    sections = {
        "Data": _data(provenance, run),
        "Licence": _licence(license, provenance),
        "How well it does": _metrics(model, run),
        "What it is for": _purpose(model),
        "Limits": _limits(model),
        "Load it": _loading(model, name),
        "Check it": _checking(model),
        "Where it comes from": _table(
            {
                "scmultimodal": provenance.get("scmultimodal"),
                "revision": provenance.get("revision"),
                **provenance.get("versions", {}),
            }
        ),
    }
    text = f"---\n{front}\n---\n\n# {name}\n\n{_banner(run)}{_table(about)}\n"
    for title, content in sections.items():
        text += f"\n## {title}\n\n{content}\n"
    return text


def scores_of(
    model: StoredModel | StoredGenomeModel, run: Run | None
) -> Mapping[str, Sequence[Score]]:
    """What a run measured of this model, by part of the data, baselines beside it.

    A run of cell types trains a model for each of RNA, ATAC and both, and keeps one;
    it measures none that tells no types.
    """
    if run is None:
        return {}
    if run.kind != "cell_types" or not isinstance(model, StoredModel):
        return run.scores
    if model.config.head is None:
        return {}
    modalities = model.config.modalities
    own = "multiome" if len(modalities) == 2 else modalities[0]
    return {part: of for part, of in run.scores.items() if part == own}


def _banner(run: Run | None) -> str:
    if run is None or not run.simulated:
        return ""
    return "**Simulated data: nothing that this model says is biology.**\n\n"


def _of_cells(model: StoredModel) -> dict[str, Any]:
    config = model.config
    path, genes = config.encoder.path, model.vocabulary.gene_ids
    types = ", ".join(config.classes[:_SHOWN])
    more = len(config.classes) - _SHOWN
    if more > 0:
        types += f" and {more} more"
    return {
        "what": f"cell model: {_read(model)} to cell vectors",
        "modalities": ", ".join(config.modalities),
        "genes": f"{len(genes):,}, the first {genes[0]}",
        "tokens of a cell": _tokens(model),
        "encoder": f"{path.num_layers} layers of {path.dim}, "
        f"{path.attention} attention",
        "parameters": f"{_size(model.params):,}",
        "cell types": types or "none: it was not trained on any",
        "tells counts": "no" if config.decoder is None else "yes",
        "tells genes from open peaks": expression.values(model)
        if expression.tells_genes(config)
        else "no",
    }


def _read(model: StoredModel) -> str:
    if model.peaks is None:
        return "value bins of genes"
    alone = _reads_peaks_alone(model)
    return "open peaks" if alone else "value bins of genes and open peaks"


def _reads_peaks_alone(model: StoredModel) -> bool:
    config = model.config
    return config.modalities == ("atac",) and config.encoder.atac_path == "peak"


def _tokens(model: StoredModel) -> str:
    """Of genes and of peaks, whichever it reads."""
    encoder, peaks = model.config.encoder, model.peaks
    genes = f"{encoder.tokens} genes"
    if peaks is None:
        return genes
    most = (model.config.peak_tokens or PeakTokenConfig()).most
    opened = (
        f"open peaks, of {peaks.num_peaks:,} in peaks.json, {most:,} of a cell at most"
    )
    return opened if _reads_peaks_alone(model) else f"{genes}, {opened}"


def _of_genome(model: StoredGenomeModel) -> dict[str, Any]:
    config, segmenter = model.config, model.config.segmenter
    encoder = config.encoder
    return {
        "what": "genome model: DNA to vectors",
        "tokens": f"{config.k}-mers of Nucleotide Transformer {config.tokens}",
        "encoder": f"{encoder.num_layers} layers of {encoder.dim}",
        "parameters": f"{_size(model.params):,}",
        "scores accessibility": "no"
        if config.scorer is None
        else ", ".join(config.cell_types) or "one score",
        "tells elements": "no"
        if segmenter is None
        else ", ".join(segmenter.learned) or "none was learned",
    }


def _data(provenance: Mapping[str, Any], run: Run | None) -> str:
    simulated = None if run is None else ("yes" if run.simulated else "no")
    facts = {"data": provenance.get("data"), "simulated": simulated}
    known = {
        "training_cells": "sha256 of the names of the training cells",
        "stage": "stage",
        "converted_from": "converted from",
    }
    facts |= {said: provenance[n] for n, said in known.items() if n in provenance}
    return _table(facts)


def _licence(license: str | None, provenance: Mapping[str, Any]) -> str:
    text = f"Weights: {license or NOT_RECORDED}."
    if provenance.get("converted_from"):
        text += " They were converted from published weights, whose licence holds."
    return f"{text} `evaluate.py` and scmultimodal: Apache-2.0."


def _metrics(model: StoredModel | StoredGenomeModel, run: Run | None) -> str:
    parts = scores_of(model, run)
    if not parts:
        return f"{NOT_RECORDED.capitalize()}."
    return "\n\n".join(
        f"Part “{part}” of the data, as the run that trained the model measured it:\n\n"
        + _score_table(scores)
        for part, scores in parts.items()
    )


def _score_table(scores: Sequence[Score]) -> str:
    metrics = list(dict.fromkeys(metric for s in scores for metric in s.values))
    shown = map(title_of, metrics)
    lines = [
        f"| model | {' | '.join(shown)} |",
        f"|---|{'---:|' * len(metrics)}",
    ]
    for score in scores:
        values = [score.values.get(metric, math.nan) for metric in metrics]
        cells = ["–" if math.isnan(v) else f"{v:.{DIGITS}f}" for v in values]
        name = f"*{score.model}* (baseline)" if score.is_baseline else score.model
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _purpose(model: StoredModel | StoredGenomeModel) -> str:
    config = model.config
    if isinstance(model, StoredModel):
        types = ", and their types" if model.config.classes else ""
        modalities = " and ".join(m.upper() for m in model.config.modalities)
        return _CELLS_FOR.format(types=types, modalities=modalities)
    heads = ", and how accessible it is" if config.scorer is not None else ""
    heads += ", and which elements it holds" if config.segmenter is not None else ""
    return _GENOME_FOR.format(heads=heads)


def _limits(model: StoredModel | StoredGenomeModel) -> str:
    if not isinstance(model, StoredModel):
        return _GENOME_LIMITS
    names = model.config.classes
    types = "It tells no cell types."
    if names:
        types = f"It gives every cell one of {len(names)} types, whatever the cell is."
    limits = _CELLS_LIMITS.format(types=types)
    return limits if model.peaks is None else f"{limits}\n{_PEAKS_LIMITS}"


def _loading(model: StoredModel | StoredGenomeModel, name: str) -> str:
    is_cells = isinstance(model, StoredModel)
    face, call = (
        ("CellModel", "embed(mdata)") if is_cells else ("GenomeModel", "encode")
    )
    place = f"hf://{name}" if "/" in name else "."
    if not is_cells:
        call = 'encode(model.tokenizer.encode_batch(["ACGT"], length=12).ids)'
    ours = (
        f'from scmultimodal import {face}\n\nmodel = {face}.load("{place}")\n'
        f"vectors = model.{call}"
    )
    text = (
        f"With scmultimodal:\n\n{_code(ours)}\n\nWith jax alone (`pip install jax "
        "flatbuffers safetensors`), on CPU, GPU or TPU, for any number of rows. jax "
        "reads such programs for about half a year after they were written:\n\n"
        f"{_code(_jax(model))}"
    )
    if not is_cells:
        return text
    if (reason := _refused(model)) is not None:
        return f"{text}\n\n`evaluate.py` does not compute this model: {reason}."
    return f"{text}\n\nWith numpy alone:\n\n{_code(_of_modality(_NUMPY, model))}"


def _refused(model: StoredModel) -> str | None:
    """Why `evaluate` does not compute a model; None where it does."""
    settings = {"model": configs.to_json(model.config)}
    try:
        evaluate.refuse_unknown(settings, evaluate.COMPUTABLE, evaluate.FIELDS)
    except NotImplementedError as error:
        return str(error)
    return None


def _jax(model: StoredModel | StoredGenomeModel) -> str:
    if isinstance(model, StoredModel):
        return _of_modality(_CELLS_JAX, model)
    tokenizer = model.config.tokenizer
    return _GENOME_JAX.format(
        tokens=genome_inference.functions(model)["encode"][1],
        pad=tokenizer.pad_id,
        cls=tokenizer.cls_id,
        kmer=tokenizer.encode("A" * tokenizer.k)[1],
    )


def _of_modality(text: str, model: StoredModel) -> str:
    """The lines of code for the first modality that a model knows."""
    modality = model.config.modalities[0]
    align = "align(matrix, gene_names)  # raw counts [cells, genes]"
    if modality == "atac":
        align = "align_peaks(matrix, peak_names)  # raw counts [cells, peaks]"
        if model.config.encoder.atac_path == "peak":
            modality = "peaks"
            align = "open_peaks(matrix, peak_names)  # raw counts [cells, peaks]"
    code = text.format(modality=modality, align=f"model.{align}")
    told = modality == "peaks" and expression.tells_genes(model.config)
    return code + _TOLD[text] if told else code


def _checking(model: StoredModel | StoredGenomeModel) -> str:
    known = isinstance(model, StoredModel) and _refused(model) is None
    return f"{_CHECK} {_CHECK_NUMPY}" if known else _CHECK


def _table(facts: Mapping[str, Any]) -> str:
    lines = ["| | |", "|---|---|"]
    lines += [
        f"| {name} | {NOT_RECORDED if value in (None, '') else value} |"
        for name, value in facts.items()
    ]
    return "\n".join(lines)


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _size(params: Mapping[str, Mapping[str, Any]]) -> int:
    return sum(a.size for leaves in params.values() for a in leaves.values())
