"""The cell model as a user meets it: AnnData in, arrays and annotations out."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float32, Int
from mudata import MuData

from scmultimodal.data import gene_lookup
from scmultimodal.models import arguments
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.singlecell import inputs
from scmultimodal.singlecell.fragments import CountChoice
from scmultimodal.singlecell.observations import merge_obs
from scmultimodal.singlecell.readers import split_modalities
from scmultimodal.singlecell.recipe import MIN_FEATURE_FRACTION
from scmultimodal.weights import export
from scmultimodal.workflows import (
    cell_inference,
    explanation,
    peak_links,
    perturbation,
    trained,
)
from scmultimodal.workflows.alignment import AlignedCells
from scmultimodal.workflows.cell_inference import Question
from scmultimodal.workflows.importance_tables import (
    GeneImportance,
    Importance,
    PeakImportance,
)
from scmultimodal.workflows.peak_link_tables import PeakGeneLinks
from scmultimodal.workflows.perturbation_changes import Kind, PerturbationConfig
from scmultimodal.workflows.perturbation_results import Perturbations


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

    @classmethod
    def fit(
        cls,
        data: MuData | AnnData,
        *,
        label: str,
        genes: str | os.PathLike | pd.DataFrame,
        out: str | os.PathLike,
        start: "CellModel | None" = None,
        preset: str = "small",
        modality: Regime | str | None = None,
        frozen: bool = False,
        counts: CountChoice = "auto",
        min_feature_fraction: float = MIN_FEATURE_FRACTION,
        seed: int = 0,
    ) -> "CellModel":
        """Trains and judges a model of cell types, as `scmultimodal finetune` does.

            model = CellModel.fit(
                mdata, label="cell_type", genes="genes.gtf.gz", out="runs/mine"
            )

        Args:
            data: raw counts in X, and the types in obs; cells without one are not
                learned from.
            label: column of obs with the types.
            genes: annotation, a GTF, BED or table; or one that was read.
            out: run folder, with scores beside logistic regression and a report. It
                goes on where it was ended.
            start: a model whose trunk is taken; None pre-trains on the training cells.
            preset: numbers: "small", "study", "best" or "aligned"; or "peaks", which
                goes on from a `start` that reads open peaks.
            modality: what the classifier sees: "rna", "atac" or "multiome"; None
                judges all that the data have and returns the last of these.
            frozen: trains the head alone.
            counts: what the ATAC counts count.
            min_feature_fraction: cells with a smaller share of non-zero genes, in any
                modality, are left out.
            seed: of split, parameters and batches.

        Raises:
            InputError: data, folder or an argument that break a rule.
        """
        # With what judges and draws, which a model that is loaded does without.
        from scmultimodal import genome
        from scmultimodal.workflows import cell_types, presets

        arguments.check("preset", preset, (*presets.PRESETS, "peaks"))
        if preset == "peaks" and (start is None or start._stored.peaks is None):
            raise InputError(
                "start",
                "is no model that reads open peaks, and preset is 'peaks'",
                "Pre-train one: scmultimodal pretrain --preset peaks",
            )
        if modality is not None:
            arguments.check("modality", modality, Regime)
        if not isinstance(genes, pd.DataFrame):
            genes = genome.read_genes(genes)
        config = presets.cell_types(
            presets.named(preset),
            label=label,
            counts=counts,
            min_feature_fraction=min_feature_fraction,
            regimes=None if modality is None else (Regime(modality),),
            frozen=frozen,
            from_scratch=False,
            seed=seed,
        )
        cell_types.run(
            data,
            genes,
            config,
            Path(out),
            name="data",
            command=f"CellModel.fit(data, label={label!r}, out={str(out)!r})",
            simulated="simulated" in data.uns,
            model=None if start is None else start._stored,
        )
        return cls.load(out)

    def save(self, path: str | os.PathLike) -> Path:
        """Writes the model as a folder of safetensors and JSON.

        An older model that stands there is replaced.

        Raises:
            InputError: the folder holds something else, or files beside the model.
        """
        return export.save(self._stored, path)

    @property
    def genes(self) -> pd.DataFrame:
        """The vocabulary (gene_id, symbol, chrom, start, end, strand)."""
        return self._stored.vocabulary.to_frame()

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that the model was trained on."""
        return tuple(Modality(m) for m in self._stored.config.modalities)

    @property
    def embedded(self) -> tuple[Modality, ...]:
        """The modalities whose genes it embeds: not those that it reads by peaks."""
        return explanation.embedded(self._stored)

    @property
    def classes(self) -> tuple[str, ...]:
        """The cell types it tells apart; none where it was not trained on any."""
        return self._stored.config.classes

    def coverage(self, data: MuData | AnnData) -> pd.DataFrame:
        """What the data have of the model's genes; reads no counts of a backed file.

            model.coverage(mdata).mean(numeric_only=True)

        Returns:
            A row for each gene of the model, indexed by gene_id: `symbol`; `rna`,
            whether the data measured its expression; `atac`, how many of their peaks
            serve it. What is not there is 0 to the model.

        Raises:
            InputError: `embed` would raise because of genes, peaks or modalities.
        """
        return self._align(data).coverage

    def embed(
        self,
        data: MuData | AnnData,
        *,
        layer: str | None = None,
        counts: CountChoice = "auto",
        batch_size: int | None = None,
        progress: bool = True,
    ) -> Float32[np.ndarray, "cells dim"]:
        """A vector for each cell, from whichever of the model's modalities it has.

        Cells of a backed object are read a block at a time.

        Args:
            data: raw counts of RNA, ATAC or both. Genes may stand in any order; ATAC
                has peaks, which are brought to the model's genes.
            layer: that holds the counts, where a modality has it; None takes X.
            counts: what the ATAC counts count; "auto" reads it off their histogram,
                which a handful of cells may not show.
            batch_size: cells per step; None takes as many as memory has room for, 256
                at most. It changes rounding alone.
            progress: shows a bar, in a terminal, where it takes long.

        Returns:
            float32 [cells, dim] in the order of the cells; none is ever dropped. A
            cell with nothing that the model knows is zero.

        Raises:
            InputError: data that break a rule, or share no modality or genes.
        """
        cells = self._align(data, layer, counts, progress)
        return self._answers(cells, self._embedding, batch_size, progress)

    def annotate(
        self,
        data: MuData | AnnData,
        *,
        layer: str | None = None,
        counts: CountChoice = "auto",
        batch_size: int | None = None,
        progress: bool = True,
    ) -> pd.DataFrame:
        """Names the type of each cell.

        Writes `obs["scmm_cell_type"]` and `obs["scmm_confidence"]` (the probability of
        that type) and returns them as a table; see `embed` for the arguments.

        Raises:
            InputError: the model knows no cell types, or `embed` would raise.
        """
        question = self._logits
        if data.is_view and data.isbacked:
            problem = "is a view of a backed file, whose obs cannot be written to"
            raise InputError("data", problem, "Give the whole, or .to_memory()")
        cells = self._align(data, layer, counts, progress)
        logits = self._answers(cells, question, batch_size, progress)
        found = cell_inference.name_types(logits, self._stored, cells.names)
        for column in found:
            data.obs[column] = found[column]
        return found

    def impute(
        self,
        data: MuData | AnnData,
        target: Modality | str,
        *,
        layer: str | None = None,
        counts: CountChoice = "auto",
        batch_size: int | None = None,
        progress: bool = True,
    ) -> AnnData:
        """What a modality of each cell is expected to be, measured or not.

        Told from the cell's vector alone: give cells without it to tell one modality
        from the other. See `embed` for the arguments.

        Args:
            target: what is told, "rna" or "atac" (gene-level).

        Returns:
            X, float32 [cells, genes], is what each gene is expected to have of 10,000
            counts of the cell. A model that was trained to tell RNA from open peaks
            (`gene_from_peaks`), and no counts, gives the probability that the gene is
            expressed, or, where it tells more than two bins, the expected bin. One that
            was fine-tuned to tell values (`finetune --task expression`) gives log1p of
            counts at the median depth of its training cells, where the gene is
            expressed, and not whether it is. `uns["scmm_values"]` says which. `obs` is
            a copy of the data's, `var` the vocabulary. `scmultimodal impute` writes the
            same to a file, block by block.

        Raises:
            InputError: the model was not trained to tell counts (`count_weight`), nor
                RNA from peaks; these are to be told, and no cell has ATAC; or `embed`
                would raise.
        """
        arguments.check("target", target, Modality)
        question = cell_inference.imputed(self._stored, Modality(target))
        cells = self._align(data, layer, counts, progress)
        return AnnData(
            X=self._answers(cells, question, batch_size, progress),
            obs=data.obs.copy(),
            var=self.genes.set_index("gene_id"),
            uns={cell_inference.VALUES: question.values},
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
        layer: str | None = None,
        counts: CountChoice = "auto",
        batch_size: int | None = None,
        progress: bool = True,
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
                ATAC value, that of the peaks near it, away, and these peaks themselves
                where the model reads them.
            modality: where to "delete" or "overexpress", if not in "rna".
            fold: "overexpress" multiplies the counts that a cell has by this instead,
                up to the highest bin; for models whose bins are counts.
            together: changes all genes at once, which gives one row.

        Returns:
            See `Perturbations`: the shift of the cells' vectors, and of what the model
            expects of all genes, if it was trained to tell counts (`count_weight`), or
            RNA from the open peaks that are closed (`gene_from_peaks`).

        Raises:
            InputError: genes that the model lacks, arguments that do not fit each
                other, cells or a model without the modality, values of it that the
                model reads by peaks alone, or `embed` would raise.
        """
        if modality is not None:
            arguments.check("modality", modality, Modality)
        config = PerturbationConfig(
            kind=kind,
            modality=None if modality is None else Modality(modality),
            fold=fold,
            together=together,
            batch_size=batch_size,
        )
        chosen = gene_lookup.positions(self._stored.vocabulary, genes)
        cells = self._align(data, layer, counts, progress)
        return perturbation.run(
            self._stored,
            cells.block(),
            cells.regime,
            chosen,
            config,
            cell_names=cells.names,
            progress=progress,
        )

    def gene_importance(
        self,
        data: MuData | AnnData,
        *,
        label: str | None = None,
        layer: str | None = None,
        counts: CountChoice = "auto",
        batch_size: int | None = None,
        progress: bool = True,
    ) -> GeneImportance:
        """What each gene adds to the logit of each cell type: gradient × input.

            model.gene_importance(mdata).top_genes(5)

        See `explain`, which says the same of peaks in one go.

        Raises:
            InputError: the model reads peaks alone of these cells, or `explain` would
                raise.
        """
        found = self.explain(
            data,
            label=label,
            layer=layer,
            counts=counts,
            batch_size=batch_size,
            progress=progress,
        )
        if found.genes is None:
            problem = "it reads peaks of these cells, and no values of genes"
            raise InputError("model", problem, "Call peak_importance")
        return found.genes

    def peak_importance(
        self,
        data: MuData | AnnData,
        *,
        label: str | None = None,
        layer: str | None = None,
        counts: CountChoice = "auto",
        batch_size: int | None = None,
        progress: bool = True,
    ) -> PeakImportance:
        """What each open peak adds to the logit of each cell type: gradient × input.

            found = model.peak_importance(atac)
            found.top_peaks(5)
            found.to_bed("peaks.bed.gz")

        See `explain`, which says the same of genes in one go.

        Raises:
            InputError: the model reads no peaks of these cells, or `explain` would
                raise.
        """
        found = self.explain(
            data,
            label=label,
            layer=layer,
            counts=counts,
            batch_size=batch_size,
            progress=progress,
        )
        if found.peaks is None:
            problem = "it reads no open peaks of these cells"
            remedy = "Call gene_importance, or give a model of peaks cells with ATAC"
            raise InputError("model", problem, remedy)
        return found.peaks

    def explain(
        self,
        data: MuData | AnnData,
        *,
        label: str | None = None,
        layer: str | None = None,
        counts: CountChoice = "auto",
        batch_size: int | None = None,
        progress: bool = True,
    ) -> Importance:
        """What the model tells cell types by: genes, open peaks, or both.

            genes, peaks = model.explain(mdata)

        See `explanation.importance` for what it is, and `embed` for the other
        arguments.

        Args:
            label: column of obs with the types to average over; cells of types that
                the model does not know are left out. None takes the types that the
                model gives them.

        Returns:
            `genes`, of values that the model reads of genes, and `peaks`, of open peaks
            that it reads; each None where it reads none of these cells.

        Raises:
            InputError: the model knows no cell types, there is no such column or no
                type in it that the model knows, or `embed` would raise.
        """
        explanation.require_classes(self._stored)
        types = None if label is None else self._types(data, label)
        cells = self._align(data, layer, counts, progress)
        return explanation.importance(
            self._stored,
            cells.block(),
            cells.regime,
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
            InputError: genes that the model lacks, a modality whose genes it does not
                embed (ATAC that is read by peaks), or k below 1.
        """
        chosen = gene_lookup.positions(self._stored.vocabulary, genes)
        arguments.check("modality", modality, Modality)
        return explanation.neighbours(self._stored, chosen, Modality(modality), k)

    def peak_to_gene(
        self,
        data: MuData | AnnData,
        genes: Sequence[str] | str | None = None,
        *,
        within_bp: int = peak_links.WITHIN_BP,
        layer: str | None = None,
        counts: CountChoice = "auto",
        batch_size: int | None = None,
        progress: bool = True,
    ) -> PeakGeneLinks:
        """What each open peak adds to what the model says of the genes near it.

            model.peak_to_gene(mdata, ["Gad1", "Mbp"]).to_bedpe("links.bedpe")

        Gradient × input: the derivative of the log odds that a gene is expressed, by a
        dial on the peak that is 1 where it is open and 0 where it is closed
        (`peak_dials`), mean over the cells in which it is open. See `embed` for the
        other arguments.

        Args:
            data: the cells to average over. RNA is for the column of correlations
                alone; the model sees none.
            genes: symbols or IDs; None takes all.
            within_bp: pairs on one chromosome, the peak nearer to the gene's start than
                this.

        Returns:
            See `PeakGeneLinks`. Where the model reads fewer peaks of a cell than are
            open, those that it reads count.

        Raises:
            InputError: a model that does not tell genes from peaks, genes that it
                lacks, data without ATAC, or `embed` would raise.
        """
        peak_links.require_gene_query(self._stored)
        vocabulary = self._stored.vocabulary
        chosen = np.arange(vocabulary.num_genes)
        if genes is not None:
            chosen = gene_lookup.positions(vocabulary, genes)
        dataset = inputs.from_data(data, "data", layer=layer)
        cells = AlignedCells(
            dataset,
            vocabulary,
            (Modality.ATAC,),
            peaks=self._stored.peaks,
            counts=counts,
            progress=progress,
        )
        expression = None
        if Modality.RNA in dataset.counts:
            expression = AlignedCells(dataset, vocabulary, (Modality.RNA,))
        return peak_links.run(
            self._stored,
            cells,
            chosen,
            within_bp=within_bp,
            expression=expression,
            batch_size=batch_size,
            progress=progress,
        )

    def self_check(self, *, tolerance: float = 1e-3) -> float:
        """Recomputes the stored reference; returns the largest difference.

        Raises:
            InputError: it exceeds `tolerance`: this machine or version of jax computes
                something else than the one that exported the model.
        """
        reference = self._stored.reference
        again = trained.outputs(self._stored, reference)
        # What is told of genes was not kept at first.
        again = {k: found for k, found in again.items() if k in reference}
        # numpy's maximum lets a NaN through, Python's may not.
        worst = float(np.max([np.max(np.abs(again[k] - reference[k])) for k in again]))
        if not worst <= tolerance:
            raise InputError(
                "model",
                f"its reference outputs differ by {worst:.2g} on this machine",
                "copy the model again, or use the versions in its config.json",
            )
        return worst

    # Kept from call to call: compiling takes longer than embedding a few cells.
    @functools.cached_property
    def _embedding(self) -> Question:
        return cell_inference.embedding(self._stored)

    @functools.cached_property
    def _logits(self) -> Question:
        return cell_inference.logits(self._stored)

    def _align(
        self,
        data: MuData | AnnData,
        layer: str | None = None,
        counts: CountChoice = "auto",
        progress: bool = False,
    ) -> AlignedCells:
        return AlignedCells(
            inputs.from_data(data, "data", layer=layer),
            self._stored.vocabulary,
            self.modalities,
            peaks=self._stored.peaks,
            counts=counts,
            progress=progress,
        )

    def _answers(
        self,
        cells: AlignedCells,
        question: Question,
        batch_size: int | None,
        progress: bool,
    ) -> Float32[np.ndarray, "cells width"]:
        found = np.empty((cells.num_cells, question.width), np.float32)
        for some, values in cell_inference.stream(
            self._stored, cells, question, batch_size=batch_size, progress=progress
        ):
            found[some] = values
        return found

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
