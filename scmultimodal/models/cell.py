"""The cell model as a user meets it: AnnData in, arrays and annotations out."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float32
from mudata import MuData

from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.sources import ArraySource
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import MODALITIES, Modality, Regime
from scmultimodal.singlecell import recipe
from scmultimodal.singlecell.fragments import CountChoice
from scmultimodal.weights import export
from scmultimodal.workflows import inference, prepare, trained


class CellModel:
    """A trained cell model.

        model = CellModel.load("runs/demo")
        mdata.obsm["X_scmm"] = model.embed(mdata)

    It brings its genes, medians and bins along, so raw counts are all it needs.
    """

    def __init__(self, stored: export.StoredModel):
        """Wraps a model that is in memory; see `load`."""
        self._stored = stored

    @classmethod
    def load(cls, path: str | os.PathLike) -> "CellModel":
        """Reads an exported model, or the model of a run folder.

        Raises:
            InputError: no model there, or a file of it is damaged.
        """
        return cls(export.load(path))

    def save(self, path: str | os.PathLike) -> Path:
        """Writes the model as a folder of safetensors and JSON."""
        return export.save(self._stored, path)

    @property
    def genes(self) -> pd.DataFrame:
        """The vocabulary: gene_id, symbol, chrom, start, end, strand."""
        return self._stored.vocabulary.to_frame()

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that the model was trained on."""
        return tuple(Modality(m) for m in self._stored.config.modalities)

    @property
    def classes(self) -> tuple[str, ...]:
        """The cell types it tells apart; none where it was only pre-trained."""
        return self._stored.config.classes

    def embed(
        self,
        data: MuData | AnnData,
        *,
        counts: CountChoice = "auto",
        batch_size: int = 256,
        progress: bool = False,
    ) -> Float32[np.ndarray, "cells dim"]:
        """A vector for each cell, from whichever of the model's modalities it has.

        Args:
            data: raw counts of RNA, ATAC or both. Genes may stand in any order; ATAC
                has peaks, which are brought to the model's genes.
            counts: what the ATAC counts count; "auto" reads it off their histogram,
                which a handful of cells may not show.
            batch_size: cells per step.
            progress: shows a bar.

        Returns:
            float32 [cells, dim] in the order of the cells; none is ever dropped. A
            cell with nothing that the model knows is zero.

        Raises:
            InputError: data that break a rule, or share no modality or genes.
        """
        builder, regime, cells = self._prepare(data, counts)
        return inference.over_cells(
            trained.embed_function(self._stored),
            builder,
            cells,
            regime,
            batch_size=batch_size,
            describe="embed" if progress else None,
        ).astype(np.float32)

    def annotate(
        self,
        data: MuData | AnnData,
        *,
        counts: CountChoice = "auto",
        batch_size: int = 256,
        progress: bool = False,
    ) -> pd.DataFrame:
        """Names the type of each cell.

        Writes `obs["scmm_cell_type"]` and `obs["scmm_confidence"]` (the probability of
        that type) and returns them as a table; see `embed` for the arguments.

        Raises:
            InputError: the model was only pre-trained, or `embed` would raise.
        """
        if not self.classes:
            raise InputError(
                "model",
                "it was only pre-trained and knows no cell types",
                "fine-tune it with `scmultimodal finetune`",
            )
        builder, regime, cells = self._prepare(data, counts)
        logits = inference.over_cells(
            trained.logits_function(self._stored),
            builder,
            cells,
            regime,
            batch_size=batch_size,
            describe="annotate" if progress else None,
        )
        probabilities = np.exp(logits - logits.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        found = pd.DataFrame(
            {
                "scmm_cell_type": pd.Categorical.from_codes(
                    probabilities.argmax(1), list(self.classes)
                ),
                "scmm_confidence": probabilities.max(1),
            },
            index=data.obs_names,
        )
        for column in found:
            data.obs[column] = found[column]
        return found

    def impute(
        self,
        data: MuData | AnnData,
        modality: Modality | str,
        *,
        counts: CountChoice = "auto",
        batch_size: int = 256,
        progress: bool = False,
    ) -> AnnData:
        """What a modality of each cell is expected to be, measured or not.

        Told from the cell's vector alone: give cells without it to tell one modality
        from the other. See `embed` for the arguments.

        Args:
            modality: "rna" or "atac" (gene-level).

        Returns:
            X, float32 [cells, genes], is what each gene is expected to have of 10,000
            counts of the cell; `var` is the vocabulary.

        Raises:
            InputError: the model was not trained to tell counts (`count_weight`), or
                `embed` would raise.
        """
        shares = trained.shares_function(self._stored, _modality(modality))
        builder, regime, cells = self._prepare(data, counts)
        found = inference.over_cells(
            shares,
            builder,
            cells,
            regime,
            batch_size=batch_size,
            describe="impute" if progress else None,
        )
        return AnnData(
            X=np.float32(10_000) * found,
            obs=pd.DataFrame(index=data.obs_names),
            var=self.genes.set_index("gene_id"),
        )

    def self_check(self, *, tolerance: float = 1e-3) -> float:
        """Recomputes the stored reference; returns the largest difference.

        Raises:
            InputError: it exceeds `tolerance`: this machine or version of jax computes
                something else than the one that exported the model.
        """
        reference = self._stored.reference
        again = trained.outputs(self._stored, reference)
        # numpy's maximum lets a NaN through, Python's may not.
        worst = float(np.max([np.max(np.abs(again[k] - reference[k])) for k in again]))
        if not worst <= tolerance:
            raise InputError(
                "model",
                f"its reference outputs differ by {worst:.2g} on this machine",
                "copy the model again, or use the versions in its config.json",
            )
        return worst

    def _prepare(
        self, data: MuData | AnnData, counts_are: CountChoice
    ) -> tuple[BatchBuilder, Regime, np.ndarray]:
        """Counts to bins of the model's genes."""
        vocabulary = self._stored.vocabulary
        fitted = dataclasses.replace(
            prepare.recipe_config(vocabulary), counts=counts_are
        )
        cells = recipe.align_to_genes(data, vocabulary.to_frame(), fitted)
        counts = {Modality.RNA: cells.rna, Modality.ATAC: cells.atac}
        known = [m for m in self.modalities if counts[m] is not None]
        if not known:
            had = " and ".join(m for m in MODALITIES if counts[m] is not None)
            raise InputError(
                "data",
                f"they have {had or 'no modality'}, the model knows "
                f"{' and '.join(self.modalities)}",
                "give data of a modality that the model was trained on",
            )
        source = ArraySource(
            **{
                m.value: prepare.bin_counts(vocabulary, m, counts[m])
                if m in known
                else None
                for m in MODALITIES
            },
            **{f"{m}_present": cells.present[m] for m in known},
        )
        builder = trained.builder_for(source, self._stored.config)
        return builder, trained.regime_of(tuple(known)), np.arange(source.num_cells)


def _modality(name: Modality | str) -> Modality:
    try:
        return Modality(name)
    except ValueError:
        raise InputError(
            "modality", f"is {name!r}", f"Give one of {', '.join(Modality)}"
        ) from None
