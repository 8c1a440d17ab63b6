"""The path of open peaks: its numbers, and its shape for a dataset's peaks."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from scmultimodal.data import peak_dna
from scmultimodal.data.peak_tokens import PeakTokenConfig
from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.data.sampling import spread
from scmultimodal.data.store import Store
from scmultimodal.evaluation import paired
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.modules.heads.gene_query import GeneQueryConfig
from scmultimodal.modules.peak_encoder import PeakEncoderConfig, Pool
from scmultimodal.modules.performer import PerformerConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.tasks.gene_from_peaks import GeneFromPeaks, GeneFromPeaksConfig
from scmultimodal.weights import export

_LOADING_CELLS = 50_000
_ENCODER = "cell_encoder/peak_encoder"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeakPathConfig:
    """The path of open peaks.

    Attributes:
        path: shape of its Performer; as wide as those of genes.
        position: adds the place of a peak within its chromosome.
        pool: what the cell's vector is: CLS, or the mean of its peaks.
        tokens: how many peaks of a cell are shown.
        dna: a file of vectors of their DNA (`encode-peaks`), which tokens know then.
    """

    path: PerformerConfig = dataclasses.field(default_factory=PerformerConfig)
    position: bool = False
    pool: Pool = "cls"
    tokens: PeakTokenConfig = dataclasses.field(default_factory=PeakTokenConfig)
    dna: Path | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneFromPeaksOptions:
    """Telling expression from peaks; see `tasks.gene_from_peaks`.

    Attributes:
        weight: of the loss; above 0 needs a path of peaks.
        head: what answers about genes; `num_batches` is set by `tell_batch`.
        num_queries: genes that a cell is asked about in a step; None asks about all.
        mask_share: of the peaks of a cell without RNA, how many are hidden.
        peak_dropout: share of all open peaks hidden in training.
        cell_type_weight: of telling the type from the cell's vector.
        tell_batch: tells what answers which batch a cell is of.
        loadings: genes are asked about by vectors that begin as the loadings of so many
            principal components of the training cells' RNA; 0 draws them. Drawn
            vectors teach the base rate of genes for long before they teach cells.
    """

    weight: float = 0.0
    head: GeneQueryConfig = dataclasses.field(default_factory=GeneQueryConfig)
    num_queries: int | None = 256
    mask_share: float = 0.15
    peak_dropout: float = 0.0
    cell_type_weight: float = 0.0
    tell_batch: bool = False
    loadings: int = 0

    def __post_init__(self):
        """Raises InputError for values out of range."""
        if not 0 <= self.loadings <= min(self.head.gene_dim, self.head.query_dim):
            raise InputError(
                "gene_from_peaks.loadings",
                f"is {self.loadings} for vectors of {self.head.gene_dim}, projected to "
                f"{self.head.query_dim}",
                "Give 0 or more, up to the less of the two",
            )


def encoder_config(store: Store, config: PeakPathConfig) -> PeakEncoderConfig:
    """Shape of the path, for the peaks of a dataset.

    Raises:
        InputError: the dataset keeps none, or DNA is of others.
    """
    peaks = peaks_of(store)
    return PeakEncoderConfig(
        num_peaks=peaks.num_peaks,
        num_chroms=len(peaks.chroms),
        path=config.path,
        position=config.position,
        dna_dim=_dna_dim(peaks, config),
        pool=config.pool,
    )


def peaks_of(store: Store) -> PeakVocabulary:
    """The peaks that a dataset keeps.

    Raises:
        InputError: it keeps none.
    """
    if store.peaks is None:
        raise InputError(store.path, "keeps no peaks", "Prepare it with --peak-tokens")
    return store.peaks


def _dna_dim(peaks: PeakVocabulary, config: PeakPathConfig) -> int | None:
    return None if config.dna is None else peak_dna.width(config.dna, peaks)


def with_dna(state: export.Tree, store: Store, config: PeakPathConfig) -> export.Tree:
    """State in which every peak's DNA is told, where it is to be."""
    if config.dna is None:
        return state
    vectors = peak_dna.read(config.dna, peaks_of(store))
    return {**state, _ENCODER: {"dna": jnp.asarray(vectors)}}


def with_dna_of(state: export.Tree, trained: export.Tree) -> export.Tree:
    """The same, of a model whose trunk is not taken: its DNA was never learned."""
    dna = trained.get(_ENCODER)
    return state if dna is None else {**state, _ENCODER: dna}


def known_peaks(store: Store, encoder: CellEncoderConfig) -> PeakVocabulary | None:
    """The peaks that a trunk trained on a dataset knows; None where it reads none."""
    return None if encoder.peaks is None else store.peaks


def task(
    store: Store,
    encoder: CellEncoderConfig,
    options: GeneFromPeaksOptions,
    *,
    num_batches: int | None,
) -> GeneFromPeaks:
    """The objective for the cells of a dataset.

    Raises:
        InputError: types are asked for, and it has none; or it has genes that were not
            measured, which could not be told from silent ones.
    """
    weight = options.cell_type_weight
    if weight and len(store.label_names) < 2:
        raise InputError(
            store.path,
            f"has no cell types, and gene_from_peaks.cell_type_weight is {weight}",
            "Prepare it with --label COLUMN, or give 0",
        )
    if encoder.tokens != "all" and store.measured(Modality.RNA) is not None:
        raise InputError(
            store.path,
            "has genes that some datasets did not measure, and tokens are "
            f"{encoder.tokens!r}",
            "Give --tokens all, by which they are told from silent ones",
        )
    return GeneFromPeaks(
        GeneFromPeaksConfig(
            encoder=encoder,
            head=dataclasses.replace(options.head, num_batches=num_batches),
            num_queries=options.num_queries,
            mask_share=options.mask_share,
            peak_dropout=options.peak_dropout,
            cell_type_weight=weight,
            num_classes=len(store.label_names) if weight else None,
        )
    )


def with_loadings(
    params: export.Tree, store: Store, options: GeneFromPeaksOptions
) -> export.Tree:
    """Begins the queries about genes as what their RNA has in common.

    Raises:
        InputError: there are fewer genes, or no training cell with RNA.
    """
    cells = store.split("train")
    cells = spread(cells[store.present(Modality.RNA)[cells]], _LOADING_CELLS)
    if not options.loadings < min(store.num_genes, len(cells)):
        raise InputError(
            store.path,
            f"has {len(cells)} training cells with RNA of {store.num_genes} genes, and "
            f"gene_from_peaks.loadings is {options.loadings}",
            "Give fewer, or 0",
        )
    counts = store.rows(Modality.RNA, cells, "counts")
    found = paired.loadings(counts, options.loadings)
    shape = (store.num_genes, options.head.gene_dim)
    vectors = np.zeros(shape, np.float32)
    vectors[:, : options.loadings] = found * np.sqrt(store.num_genes)
    width = options.head.query_dim
    projection = np.eye(options.head.gene_dim, width, dtype=np.float32)
    return {
        **params,
        "gene_query_head/gene": {"embeddings": jnp.asarray(vectors)},
        "gene_query_head/query": {
            "w": jnp.asarray(projection),
            "b": jnp.zeros(width, jnp.float32),
        },
    }


def check_peaks(store: Store, model: export.StoredModel) -> None:
    """Checks that the peaks of a dataset are those of a model.

    Raises:
        InputError: they are others, or none are kept.
    """
    if model.peaks is None:
        return
    if store.peaks is None or store.peaks.digest() != model.peaks.digest():
        found = "keeps no peaks" if store.peaks is None else "has other peaks"
        raise InputError(
            store.path,
            f"{found}, and the model reads {model.peaks.num_peaks:,} of its own",
            "Prepare it with --peak-tokens and the data that the model was trained on",
        )
