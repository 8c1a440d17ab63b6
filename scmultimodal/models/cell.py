"""The cell model as a user meets it: AnnData in, arrays and annotations out."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float32, Int
from mudata import MuData

from scmultimodal.data import gene_lookup
from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.sources import ArraySource
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import MODALITIES, Modality, Regime
from scmultimodal.singlecell import recipe
from scmultimodal.singlecell.fragments import CountChoice
from scmultimodal.singlecell.observations import merge_obs
from scmultimodal.singlecell.readers import split_modalities
from scmultimodal.weights import export
from scmultimodal.workflows import (
    explanation,
    inference,
    perturbation,
    prepare,
    trained,
)
from scmultimodal.workflows.explanation import GeneImportance
from scmultimodal.workflows.perturbation import Kind, PerturbationConfig, Perturbations


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

        Args:
            path: the folder; or "hf://owner/name", or "hf://owner/name@revision", on
                the Hugging Face hub (extra `hub`).

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
        explanation.require_classes(self._stored)
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

    def perturb(
        self,
        data: MuData | AnnData,
        genes: Sequence[str] | str,
        *,
        kind: Kind | str,
        modality: Modality | str | None = None,
        fold: float | None = None,
        together: bool = False,
        counts: CountChoice = "auto",
        batch_size: int = 256,
        progress: bool = False,
    ) -> Perturbations:
        """What the model makes of cells in which a gene is changed (in silico).

            found = model.perturb(mdata, ["Gad1", "Slc17a7"], kind="delete")
            found.table  # cells, shift of their vectors, the genes that change most

        The change is made in the bins of the cells, after they were brought to the
        model's genes; the data stay as they are. A cell that a change leaves as it is
        does not count: one that lacks the gene to be deleted or closed, or has as much
        of it as "overexpress" would give it. See `embed` for the other arguments.

        Args:
            genes: symbols or IDs, changed one after the other.
            kind: "delete" takes a gene's counts away, "overexpress" gives it the
                highest bin, in cells that lack it too, "close" takes the gene-level
                ATAC value, that of the peaks near it, away.
            modality: where to "delete" or "overexpress", if not in "rna".
            fold: "overexpress" multiplies the counts that a cell has by this instead,
                up to the highest bin; for models whose bins are counts.
            together: changes all genes at once, which gives one row.

        Returns:
            See `Perturbations`: the shift of the cells' vectors, and of what the model
            expects of all genes, if it was trained to tell counts (`count_weight`).

        Raises:
            InputError: genes that the model lacks, arguments that do not fit each
                other, cells or a model without the modality, or `embed` would raise.
        """
        where = None if modality is None else _modality(modality)
        config = PerturbationConfig(
            kind=kind,
            modality=where,
            fold=fold,
            together=together,
            batch_size=batch_size,
        )
        chosen = gene_lookup.positions(self._stored.vocabulary, genes)
        source, regime = self._align(data, counts)
        return perturbation.run(
            self._stored,
            source,
            regime,
            chosen,
            config,
            cell_names=data.obs_names,
            progress=progress,
        )

    def gene_importance(
        self,
        data: MuData | AnnData,
        *,
        label: str | None = None,
        counts: CountChoice = "auto",
        batch_size: int = 256,
        progress: bool = False,
    ) -> GeneImportance:
        """What each gene adds to the logit of each cell type: gradient × input.

            model.gene_importance(mdata).top_genes(5)

        See `explanation.importance` for what it is, and `embed` for the other
        arguments.

        Args:
            label: column of obs with the types to average over; cells of types that
                the model does not know are left out. None takes the types that the
                model gives them.

        Raises:
            InputError: the model was only pre-trained, there is no such column or no
                type in it that the model knows, or `embed` would raise.
        """
        explanation.require_classes(self._stored)
        types = None if label is None else self._types(data, label)
        source, regime = self._align(data, counts)
        return explanation.importance(
            self._stored,
            source,
            regime,
            types=types,
            batch_size=batch_size,
            progress=progress,
        )

    def gene_neighbours(
        self, genes: Sequence[str] | str, modality: Modality | str = "rna", k: int = 10
    ) -> pd.DataFrame:
        """The genes that are most alike to the model, by cosine of token embeddings.

        Args:
            genes: symbols or IDs.
            modality: whose tokens: "rna" or "atac".
            k: neighbours of each gene.

        Returns:
            gene_id, symbol, rank from 1, neighbour_id, neighbour, cosine.

        Raises:
            InputError: genes or a modality that the model lacks, or k below 1.
        """
        chosen = gene_lookup.positions(self._stored.vocabulary, genes)
        return explanation.neighbours(self._stored, chosen, _modality(modality), k)

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
        """Counts to batches of the model's genes."""
        source, regime = self._align(data, counts_are)
        builder = trained.builder_for(source, self._stored.config)
        return builder, regime, np.arange(source.num_cells)

    def _align(
        self, data: MuData | AnnData, counts_are: CountChoice
    ) -> tuple[ArraySource, Regime]:
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
        return source, trained.regime_of(tuple(known))

    def _types(self, data: MuData | AnnData, label: str) -> Int[np.ndarray, " cells"]:
        """Class of each cell by a column of obs; −1 where the model has no such."""
        obs = merge_obs(data, split_modalities(data))
        if label not in obs:
            known = ", ".join(obs.columns[:10])
            raise InputError("label", f"obs has no column {label!r}", f"Have: {known}")
        types = pd.Index(self.classes).get_indexer(obs[label].astype(str))
        if (types < 0).all():
            raise InputError(
                f"obs[{label!r}]",
                "holds no type that the model knows",
                f"Name them as in model.classes: {', '.join(self.classes[:5])}",
            )
        return types


def _modality(name: Modality | str) -> Modality:
    try:
        return Modality(name)
    except ValueError:
        raise InputError(
            "modality", f"is {name!r}", f"Give one of {', '.join(Modality)}"
        ) from None
