"""What a perturbation changes in cells: bins of genes, and open peaks."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int, Int64, Integer
from scipy import sparse

from scmultimodal.data.peak_tokens import PeakRows, PeakTokenConfig, PeakTokenizer
from scmultimodal.data.shards import ShardedMatrix
from scmultimodal.data.sources import ArraySource
from scmultimodal.ops import csr
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell import peaks as peak_bands
from scmultimodal.weights import export
from scmultimodal.workflows import batch_sizes, prepare

Kind = Literal["delete", "overexpress", "close"]
Members = Sequence[Int64[np.ndarray, " members"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerturbationConfig:
    """What is changed.

    Attributes:
        kind: "delete" takes a gene's counts away, "overexpress" gives it the highest
            bin, "close" takes the gene-level ATAC value away, and the open peaks that
            it is made of where the model reads these.
        modality: where; None takes ATAC for "close" and RNA else.
        fold: "overexpress" multiplies the counts by this instead, up to the highest
            bin; for models whose bins are counts.
        together: changes all genes in the same cells, and not one after the other.
        batch_size: cells per step; None takes as many as memory has room for.
    """

    kind: Kind | str = "delete"
    modality: Modality | None = None
    fold: float | None = None
    together: bool = False
    batch_size: int | None = None

    def __post_init__(self):
        """Raises InputError where they do not fit each other."""
        if self.kind not in get_args(Kind):
            known = ", ".join(get_args(Kind))
            raise InputError("kind", f"is {self.kind!r}", f"Give one of {known}")
        if self.kind == "close" and self.modality == Modality.RNA:
            problem = "is 'close', which changes atac, and modality is 'rna'"
            raise InputError("kind", problem, "Give 'delete', or leave modality out")
        if self.fold is not None and self.kind != "overexpress":
            problem = f"is {self.fold}, and kind is {self.kind!r}"
            raise InputError("fold", problem, "Leave it out, or give 'overexpress'")
        if self.fold is not None and not 1 < self.fold < float("inf"):
            raise InputError("fold", f"is {self.fold}", "Give a number above 1")
        batch_sizes.check(self.batch_size)

    @property
    def changed(self) -> Modality:
        """The modality that is changed."""
        if self.modality is not None:
            return self.modality
        return Modality.ATAC if self.kind == "close" else Modality.RNA

    def apply(
        self, bins: Integer[np.ndarray, "..."], highest: int
    ) -> Integer[np.ndarray, "..."]:
        """Bins after the change."""
        if self.kind != "overexpress":
            return np.zeros_like(bins)
        if self.fold is None:
            return np.full_like(bins, highest)
        return np.minimum(np.ceil(bins * self.fold), highest).astype(bins.dtype)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Which cells each group of genes changes: group after group."""

    group: Int64[np.ndarray, " pairs"]
    cell: Int64[np.ndarray, " pairs"]


class Changes:
    """Cells as a model reads them, and what a config makes of them.

    Attributes:
        source: the cells before; of more open peaks than the model reads of a cell,
            those that it reads, so that others do not take the place of closed ones.
    """

    def __init__(
        self,
        model: export.StoredModel,
        source: ArraySource,
        members: Members,
        config: PerturbationConfig,
    ):
        """Takes the cells as they are.

        Args:
            model: that reads them.
            source: bins of the cells, and their peaks where the model reads any.
            members: genes that are changed together, of each group.
            config: what is changed.
        """
        self._members, self._config = members, config
        self._highest = model.config.encoder.num_bins
        self._bins = {m: _bins(source, m) for m in source.modalities}
        self._present = {m: source.present(m) for m in source.modalities}
        self._changes_bins = not reads_peaks_alone(model, config.changed)
        self._vocabulary, self._opened, self._closed = model.peaks, None, None
        if source.peaks is not None:
            shape = model.config.peak_tokens or PeakTokenConfig()
            self._opened = PeakTokenizer(source.peaks, shape, seed=0).shown()
            if config.kind == "close":
                self._closed = _peaks_of(model, members)
        self.source = self._source(
            np.arange(source.num_cells), self._bins, self._opened
        )

    def pairs(self) -> Pairs:
        """The cells that have something to be changed, of each group."""
        shape = (self.source.num_cells, len(self._members))
        changes = np.zeros(shape, bool)
        if self._changes_bins:
            columns = self._bins[self._config.changed].tocsc()
            for number, genes in enumerate(self._members):
                old = columns[:, genes].toarray()
                new = self._config.apply(old, self._highest)
                changes[:, number] = (new != old).any(1)
        if self._closed is not None:
            columns = self._opened.tocsc()
            for number in range(len(self._members)):
                own = columns[:, self._closed[number].indices]
                changes[:, number] |= own.getnnz(axis=1) > 0
        changes &= self._present[self._config.changed][:, None]
        group, cell = np.nonzero(changes.T)
        return Pairs(group=group, cell=cell)

    def after(self, pairs: Pairs) -> ArraySource:
        """Cells after the change, in the order of the pairs."""
        bins = {m: values[pairs.cell] for m, values in self._bins.items()}
        genes = np.stack(self._members)[pairs.group]
        changed = self._config.changed
        bins[changed] = _changed_rows(bins[changed], genes, self._config, self._highest)
        opened = None if self._opened is None else self._opened[pairs.cell]
        if self._closed is not None:
            opened = opened - opened.multiply(self._closed[pairs.group])
        return self._source(pairs.cell, bins, opened)

    def _source(
        self,
        cells: Int64[np.ndarray, " rows"],
        bins: Mapping[Modality, sparse.csr_matrix],
        opened: sparse.csr_matrix | None,
    ) -> ArraySource:
        peaks = None
        if opened is not None:
            matrix = ShardedMatrix.in_memory("peaks", csr.canonical(opened))
            assert self._vocabulary is not None, "the model reads peaks"
            peaks = PeakRows(matrix=matrix, vocabulary=self._vocabulary)
        return ArraySource(
            bins.get(Modality.RNA),
            bins.get(Modality.ATAC),
            peaks=peaks,
            **{f"{m}_present": of[cells] for m, of in self._present.items()},
        )


def reads_peaks_alone(model: export.StoredModel, modality: Modality) -> bool:
    """Whether a model reads open peaks of a modality and no values of genes."""
    return modality is Modality.ATAC and model.config.encoder.atac_path == "peak"


def _peaks_of(model: export.StoredModel, members: Members) -> sparse.csr_matrix:
    """The peaks that each group's gene-level ATAC is made of: [groups, peaks], 1."""
    assert model.peaks is not None, "the model reads peaks"
    links = peak_bands.link_peaks(
        model.peaks.to_frame(),
        model.vocabulary.to_frame(),
        prepare.recipe_config(model.vocabulary).aggregation,
        "the model",
    ).tocsc()
    found = [np.unique(links[:, genes].indices) for genes in members]
    indptr = np.concatenate([[0], np.cumsum([len(peaks) for peaks in found])])
    ones = np.ones(indptr[-1], np.uint8)
    shape = (len(members), model.peaks.num_peaks)
    return csr.wrap(ones, np.concatenate(found), indptr, shape)


def _bins(source: ArraySource, modality: Modality) -> sparse.csr_matrix:
    """Bins [cells, genes]."""
    found = source.entries(modality, np.arange(source.num_cells))
    indptr = np.concatenate([[0], np.cumsum(found.lengths)])
    shape = (source.num_cells, source.num_genes)
    return csr.wrap(found.values[0], found.genes, indptr, shape)


def _changed_rows(
    rows: sparse.csr_matrix,
    genes: Int[np.ndarray, "rows members"],
    config: PerturbationConfig,
    highest: int,
) -> sparse.csr_matrix:
    """Rows with the bins of their genes changed."""
    row = np.repeat(np.arange(len(genes)), genes.shape[1])
    old = np.asarray(rows[row, genes.ravel()]).ravel().astype(np.int16)
    change = config.apply(old, highest) - old
    delta = sparse.csr_matrix((change, (row, genes.ravel())), shape=rows.shape)
    changed = sparse.csr_matrix(rows.astype(np.int16) + delta)
    changed.eliminate_zeros()
    return changed.astype(np.uint8)
