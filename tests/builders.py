"""The one place that fakes data for tests."""

import dataclasses
import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import anndata
import jax
import numpy as np
import orbax.checkpoint as ocp
import pandas as pd
import scipy.sparse as sp
from mudata import MuData
from scipy import sparse

from scmultimodal import datasets
from scmultimodal.data.cell_table import CellTable
from scmultimodal.data.region_chunks import RegionChunk
from scmultimodal.data.region_store import RegionStore, write_region_store
from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.genome.regions import RegionTable
from scmultimodal.genome.span_table import SpanTable
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.modules.heads.counts import CountDecoderConfig
from scmultimodal.modules.heads.segmentation import SegmentationHeadConfig
from scmultimodal.modules.nucleotide_transformer import NucleotideTransformerConfig
from scmultimodal.modules.peak_encoder import PeakEncoderConfig
from scmultimodal.modules.performer import PerformerConfig
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import (
    AtacPath,
    CellBatch,
    PeakTokens,
    RegionBatch,
    SegmentationBatch,
    TokenBatch,
    Tokens,
)
from scmultimodal.schemas.modality import MODALITIES, Modality
from scmultimodal.singlecell import inputs
from scmultimodal.singlecell.recipe import RecipeConfig
from scmultimodal.tasks.cell_type import CellTypeClassification, CellTypeConfig
from scmultimodal.tasks.region_ranking import RegionRanking, RegionRankingConfig
from scmultimodal.tasks.segmentation import Segmentation, SegmentationConfig
from scmultimodal.training.metrics import read_metrics
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.weights import export
from scmultimodal.weights.genome_model import (
    GenomeModelConfig,
    SegmenterConfig,
    StoredGenomeModel,
)
from scmultimodal.workflows import (
    genome_inference,
    peak_path,
    prepare,
    pretrain,
    pretrain_batches,
    trained,
)
from scmultimodal.workflows.alignment import AlignedCells
from scmultimodal.workflows.peak_path import GeneFromPeaksOptions, PeakPathConfig
from scmultimodal.workflows.pretrain_config import PretrainConfig


def checkpoint_arrays(run: Path, kind: str = "checkpoints") -> dict[int, Any]:
    """{step: arrays} of a run's checkpoints, or of its "best", as Orbax reads them."""
    whole = (run / kind).absolute().glob("*/manifest.json")
    steps = sorted((int(path.parent.name), path.with_name("state")) for path in whole)
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        return {step: reader.restore(folder) for step, folder in steps}


def records_without_times(run: Path) -> list[dict]:
    """What a training recorded, but for the times, which differ between equal runs."""
    records = read_metrics(run / "metrics.jsonl")
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records]


def annotated(
    matrix: Any, features: list[str], cells: list[str] | None = None
) -> anndata.AnnData:
    """An AnnData with a CSR copy of `matrix`, cells named c0, c1 … by default."""
    matrix = sp.csr_matrix(matrix)
    cells = cells or [f"c{i}" for i in range(matrix.shape[0])]
    return anndata.AnnData(
        X=matrix, obs=pd.DataFrame(index=cells), var=pd.DataFrame(index=features)
    )


def gene_table(*rows: tuple[str, str, int, int, str]) -> pd.DataFrame:
    """An annotation of (gene_id, chrom, start, end, strand); the ID is the symbol."""
    genes = pd.DataFrame(rows, columns=["gene_id", "chrom", "start", "end", "strand"])
    genes.insert(1, "symbol", genes["gene_id"])
    return genes


def gene_vocabulary(num_genes: int = 40) -> GeneVocabulary:
    """Genes every 1,000 bp on chr1, with medians that all differ."""
    starts = 1_000 * np.arange(num_genes)
    genes = pd.DataFrame(
        {
            "gene_id": [f"ENSG{i:05d}" for i in range(num_genes)],
            "symbol": [f"Gene{i}" for i in range(num_genes)],
            "chrom": "chr1",
            "start": starts,
            "end": starts + 500,
            "strand": np.where(np.arange(num_genes) % 2, "-", "+"),
        }
    )
    medians = 1 + np.arange(num_genes) / 7
    return GeneVocabulary.from_frame(
        genes,
        rna_medians=medians,
        atac_medians=medians[::-1],
        recipe={"num_bins": 5, "bands_bp": [10_000, 20_000]},
    )


def sparse_counts(
    num_cells: int, num_genes: int, *, seed: int, density: float = 0.3, most: int = 9
) -> sparse.csr_matrix:
    """Counts 1…`most` at random places; every row may be empty."""
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, most + 1, (num_cells, num_genes))
    dense *= rng.random((num_cells, num_genes)) < density
    return sparse.csr_matrix(dense.astype(np.int32))


def cell_table(num_cells: int = 60, num_genes: int = 40, *, seed: int = 0) -> CellTable:
    """Labelled cells in three batches; every fifth lacks ATAC, every seventh RNA."""
    number = np.arange(num_cells)
    present = {"rna": number % 7 != 3, "atac": number % 5 != 1}
    counts = {
        name: sparse.csr_matrix(
            sparse_counts(num_cells, num_genes, seed=seed + i, most=most).multiply(
                present[name][:, None]
            )
        )
        for i, (name, most) in enumerate([("rna", 9), ("atac", 700)])
    }
    obs = pd.DataFrame(
        {
            "label": np.array(["T", "B", "NK", "rare"])[
                np.where(number == 5, 3, number % 3)
            ],
            "batch": np.array(["a", "b", "c"])[number % 3],
            "split": np.where(
                number == 5,
                "left_out",
                np.array(["train", "train", "test", "validation"])[number % 4],
            ),
            "depth": number / 3,
        },
        index=[f"cell{i}" for i in number],
    )
    return CellTable(rna=counts["rna"], atac=counts["atac"], present=present, obs=obs)


def capped_bins(modality: str, counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Bins 1…5: the count where it is small."""
    bins = counts.copy()
    bins.data = np.minimum(counts.data, 5).astype(np.uint8)
    return bins


def cell_batch(
    *,
    num_cells: int = 6,
    num_genes: int = 12,
    num_tokens: int | None = None,
    modalities: tuple[str, ...] = ("rna", "atac"),
    num_classes: int | None = None,
    seed: int = 0,
) -> CellBatch:
    """Random bins: all genes, or `num_tokens` of them with padding at the end."""
    rng = np.random.default_rng(seed)
    width = num_tokens or num_genes
    shape = (num_cells, width)
    mask = gene_ids = None
    if num_tokens is not None:
        order = np.argsort(rng.random((num_cells, num_genes)), axis=1)[:, :width]
        lengths = rng.integers(1, width + 1, num_cells)
        mask = np.arange(width) < lengths[:, None]
        gene_ids = np.where(mask, np.sort(order, axis=1), 0).astype(np.int32)
    values = {
        m: rng.integers(0, 6, shape).astype(np.uint8) * (1 if mask is None else mask)
        for m in modalities
    }
    labels = None
    if num_classes is not None:
        labels = rng.integers(0, num_classes, num_cells).astype(np.int32)
    return CellBatch(
        rna=values.get("rna"),
        atac=values.get("atac"),
        rna_present=np.full(num_cells, "rna" in modalities),
        atac_present=np.full(num_cells, "atac" in modalities),
        gene_ids=gene_ids,
        token_mask=mask,
        cell_mask=np.ones(num_cells, bool),
        row=np.arange(num_cells, dtype=np.int32),
        label=labels,
        cell_index=np.arange(num_cells, dtype=np.int32),
    )


def peak_tokens(
    *, num_cells: int = 6, num_peaks: int = 30, width: int = 9, seed: int = 0
) -> PeakTokens:
    """Open peaks of three chromosomes; the last cell has none, the first is full."""
    rng = np.random.default_rng(seed)
    ids = np.sort(np.argsort(rng.random((num_cells, num_peaks)), 1)[:, :width], 1)
    lengths = rng.integers(1, width + 1, num_cells)
    lengths[0], lengths[-1] = width, 0
    mask = np.arange(width) < lengths[:, None]
    ids = np.where(mask, ids, 0).astype(np.int32)
    return PeakTokens(
        ids=ids,
        chroms=np.where(mask, ids % 3, 0).astype(np.int32),
        positions=np.where(mask, 10_000 * ids, 0).astype(np.int32),
        mask=mask,
    )


def peak_batch(*, num_peaks: int = 30, **fields: Any) -> CellBatch:
    """As `cell_batch`, with open peaks too; the last cell has no ATAC."""
    batch = cell_batch(**fields)
    peaks = peak_tokens(num_cells=len(batch.row), num_peaks=num_peaks)
    has = batch.atac_present & (np.arange(len(batch.row)) < len(batch.row) - 1)
    if batch.atac is not None:
        batch.atac[~has] = 0
    return batch.replace(peaks=peaks, atac_present=has)


def peak_encoder_config(
    num_genes: int = 12, atac_path: AtacPath = "peak", num_peaks: int = 30, **more: Any
) -> CellEncoderConfig:
    """A cell encoder with a path of peaks."""
    encoder = encoder_config(num_genes)
    peaks = PeakEncoderConfig(num_peaks=num_peaks, num_chroms=3, path=encoder.path)
    return dataclasses.replace(encoder, atac_path=atac_path, peaks=peaks, **more)


def encoder_config(num_genes: int = 12, **path: Any) -> CellEncoderConfig:
    """A cell encoder small enough for a test."""
    shape = {"dim": 8, "num_layers": 2, "num_heads": 2, "key_size": 4} | path
    return CellEncoderConfig(num_genes=num_genes, path=PerformerConfig(**shape))


def typed_counts(
    num_cells: int, num_genes: int, num_classes: int, *, seed: int
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Poisson counts of cells whose types differ, faintly, in their gene profiles."""
    random = np.random.default_rng(seed)
    profiles = np.exp(random.normal(-0.5, 0.7, size=(num_classes, num_genes)))
    labels = random.integers(num_classes, size=num_cells)
    return sparse.csr_matrix(random.poisson(profiles[labels])), labels


def simulated_cells(num_cells: int = 300, num_genes: int = 40, seed: int = 1) -> MuData:
    """Linked multiome cells of three types."""
    return datasets.simulate_multiome(
        num_cells=num_cells, num_genes=num_genes, num_cell_types=3, seed=seed
    )


def simulated_store(path: Path, **size: int) -> Store:
    """A prepared dataset of simulated cells, with labels, batches and a split."""
    data = simulated_cells(**size)
    config = prepare.PrepareConfig(
        label="cell_type", batch="batch", recipe=RecipeConfig(target_sum=None)
    )
    genes = datasets.simulated_genes(data)
    provenance = {"name": "simulated", "simulated": True}
    return prepare.run(data, genes, config, path, provenance=provenance)


def aligned(data: Any, genes: pd.DataFrame) -> AlignedCells:
    """Cells in the genes of a table, as a model of the study's recipe has them."""
    recipe = RecipeConfig()
    totals = dict.fromkeys(("rna", "atac"), recipe.target_sum)
    vocabulary = GeneVocabulary.from_frame(
        genes, recipe=configs.to_json(recipe) | {"totals": totals}
    )
    return AlignedCells(inputs.from_data(data, "data"), vocabulary)


def gene_counts(
    data: MuData, vocabulary: GeneVocabulary
) -> tuple[np.ndarray, np.ndarray]:
    """Counts of RNA and gene-level ATAC of fragments, dense, as a model aligns them."""
    cells = AlignedCells(inputs.from_data(data, "data"), vocabulary, counts="fragments")
    every = slice(0, cells.num_cells)
    rna, atac = (cells.counts(m, every).toarray() for m in MODALITIES)
    return rna, atac


def counts_store(path: Path, **size: int) -> Store:
    """As `simulated_store`, with counts for bins."""
    return counts_store_of(simulated_cells(**size), path)


def counts_store_of(data: MuData, path: Path) -> Store:
    """Simulated cells, prepared with counts for bins."""
    config = prepare.PrepareConfig(
        label="cell_type", recipe=RecipeConfig(target_sum=None, strategy="counts")
    )
    genes = datasets.simulated_genes(data)
    provenance = {"name": "simulated", "simulated": True}
    return prepare.run(data, genes, config, path, provenance=provenance)


def peak_store(
    path: Path,
    *,
    num_cells: int = 200,
    num_genes: int = 40,
    label: str | None = "cell_type",
) -> Store:
    """As `simulated_store`, with counts for bins, and with the peaks themselves."""
    data = simulated_cells(num_cells=num_cells, num_genes=num_genes)
    config = prepare.PrepareConfig(
        label=label,
        batch="batch",
        recipe=RecipeConfig(target_sum=None, strategy="counts"),
        peak_tokens="consensus",
    )
    genes = datasets.simulated_genes(data)
    provenance = {"name": "simulated", "simulated": True}
    return prepare.run(data, genes, config, path, provenance=provenance)


def peak_pretraining(**fields: Any) -> PretrainConfig:
    """A pre-training by peaks alone: one narrow layer, CLS, genes as the target."""
    config = small_pretraining(tokens="nonzero")
    numbers = {
        "mask_weight": 0.0,
        "atac_path": "peak",
        "peaks": PeakPathConfig(path=config.path),
        "gene_from_peaks": GeneFromPeaksOptions(weight=1.0, num_queries=16),
        "batch_size": 32,
    }
    return dataclasses.replace(config, **(numbers | fields))


def random_cell_model(
    store: Store,
    *,
    tokens: Tokens = "all",
    num_layers: int = 0,
    decodes: bool = True,
    head: CellTypeHeadConfig | None = None,
) -> export.StoredModel:
    """A model of random numbers that tells counts, and cell types if it has a head."""
    fields = {"count_weight": 1.0, "mask_weight": 0.0} if decodes else {}
    config = small_pretraining(tokens=tokens, **fields)
    path = dataclasses.replace(config.path, num_layers=num_layers, dim=8)
    decoder = CountDecoderConfig(hidden=6, by_token=True)
    config = dataclasses.replace(config, path=path, decoder=decoder)
    model = pretrain.untrained(store, config)
    params = dict(model.params)
    if head is not None:
        shape = CellTypeConfig(encoder=model.config.encoder, head=head)
        batch = pretrain_batches.make_builder(store, config).build(
            np.arange(2), trained.regime_of(store.modalities)
        )
        init = jax.jit(CellTypeClassification(shape).init)
        params |= jax.device_get(init(jax.random.PRNGKey(0), batch)[0])
    rng = np.random.default_rng(3)
    params = jax.tree.map(
        lambda a: rng.normal(0, 0.5, np.shape(a)).astype(np.float32), params
    )
    names = () if head is None else tuple(store.label_names)
    shape = dataclasses.replace(model.config, head=head, classes=names)
    return dataclasses.replace(model, config=shape, params=params)


def cell_type_model(
    store: Store,
    *,
    modalities: tuple[str, ...] = ("rna", "atac"),
    head: dict[str, Any] | None = None,
    path: dict[str, Any] | None = None,
    **encoder: Any,
) -> export.StoredModel:
    """A model of random numbers of any shape, with a head and without a reference."""
    layers = {"dim": 8, "num_layers": 2, "num_heads": 2, "key_size": 4} | (path or {})
    shape = export.ModelConfig(
        encoder=CellEncoderConfig(
            num_genes=store.num_genes, path=PerformerConfig(**layers), **encoder
        ),
        head=CellTypeHeadConfig(
            num_classes=len(store.label_names), hidden=(6,), **(head or {})
        ),
        classes=tuple(store.label_names),
        modalities=modalities,
    )
    task = CellTypeClassification(
        CellTypeConfig(encoder=shape.encoder, head=shape.head)
    )
    regime = trained.regime_of(tuple(map(Modality, modalities)))
    builder = trained.builder_for(StoreSource(store), shape)
    batch = builder.build(np.arange(2), regime)
    rng = np.random.default_rng(3)
    params, state = jax.tree.map(
        lambda a: rng.normal(0, 0.5, a.shape).astype(np.float32),
        jax.eval_shape(task.init, jax.random.PRNGKey(0), batch),
    )
    return export.StoredModel(
        config=shape,
        vocabulary=store.vocabulary,
        params=params,
        network_state=state,
        peaks=peak_path.known_peaks(store, shape.encoder),
    )


def peak_classifier(
    store: Store,
    atac_path: AtacPath = "peak",
    *,
    modalities: tuple[str, ...] = ("atac",),
    head: dict[str, Any] | None = None,
    path: dict[str, Any] | None = None,
    peaks: dict[str, Any] | None = None,
    **encoder: Any,
) -> export.StoredModel:
    """As `cell_type_model`, of one that reads the peaks of a `peak_store`."""
    shape = {"dim": 8, "num_layers": 1, "num_heads": 2, "key_size": 4} | (path or {})
    of_peaks = PeakEncoderConfig(
        num_peaks=store.peaks.num_peaks,
        num_chroms=len(store.peaks.chroms),
        path=PerformerConfig(**shape),
        **(peaks or {}),
    )
    return cell_type_model(
        store,
        modalities=modalities,
        head={"reads": "vector"} | (head or {}),
        path=shape,
        tokens="nonzero",
        atac_path=atac_path,
        peaks=of_peaks,
        **encoder,
    )


def small_pretraining(**fields: Any) -> PretrainConfig:
    """A pre-training for tests: one narrow layer, all genes."""
    path = PerformerConfig(dim=32, num_layers=1, num_heads=2, key_size=8)
    optimizer = OptimizerConfig(learning_rate=5e-3, warmup_steps=2)
    return PretrainConfig(path=path, optimizer=optimizer, **fields)


def dna_encoder_config(**fields: Any) -> NucleotideTransformerConfig:
    """An encoder of DNA small enough for a test; k-mers are ids 6…21 of 27."""
    shape = {"dim": 8, "num_layers": 1, "num_heads": 2, "hidden": 12}
    return NucleotideTransformerConfig(**({"vocabulary_size": 27} | shape | fields))


def segmenter_model(
    *,
    attends: bool = True,
    window_bp: int = 240,
    elements: tuple[str, ...] = ("exon", "intron", "3UTR"),
    seed: int = 0,
    **fields: Any,
) -> StoredGenomeModel:
    """A random model that tells elements, for k-mers of 2; windows are 8 n bp long.

    Without `attends` its layers add nothing: each base sees what the U-Net sees.
    """
    encoder = dna_encoder_config(max_tokens=64)
    head = SegmentationHeadConfig(num_elements=len(elements))
    config = GenomeModelConfig(
        encoder=encoder,
        k=2,
        segmenter=SegmenterConfig(head=head, elements=elements, window_bp=window_bp),
        **fields,
    )
    task = Segmentation(SegmentationConfig(encoder=encoder, head=head, k=2))
    batch = segmentation_batch(num_elements=len(elements))
    params, _ = jax.device_get(jax.jit(task.init)(jax.random.PRNGKey(seed), batch))
    if config.scorer is not None:
        ranking = RegionRanking(
            RegionRankingConfig(encoder=encoder, scorer=config.scorer)
        )
        regions = region_batch(num_tokens=config.num_tokens)
        scored, _ = jax.jit(ranking.init)(jax.random.PRNGKey(seed), regions)
        params |= {
            name: leaves
            for name, leaves in jax.device_get(scored).items()
            if name.startswith("accessibility_head")
        }
    if not attends:
        for name, leaves in params.items():
            for leaf in leaves if "/layer_" in name else ():
                if leaf in ("output", "output_bias", "feed_forward_out"):
                    leaves[leaf] = np.zeros_like(leaves[leaf])
    return genome_inference.with_reference(config, params)


def segmentation_batch(
    *, num_windows: int = 3, num_bases: int = 16, num_elements: int = 3, seed: int = 0
) -> SegmentationBatch:
    """Random k-mers of 2 with random labels; all elements are known everywhere."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(6, 22, (num_windows, num_bases // 2))
    known = 2**num_elements - 1
    return SegmentationBatch(
        token_ids=np.pad(tokens, ((0, 0), (1, 0)), constant_values=3).astype(np.int32),
        labels=rng.integers(0, known + 1, (num_windows, num_bases)).astype(np.uint16),
        known=np.full(num_windows, known, np.uint16),
        sequence_mask=np.ones(num_windows, bool),
        row=np.arange(num_windows, dtype=np.int32),
    )


def token_batch(
    *, num_sequences: int = 6, num_tokens: int = 12, seed: int = 0
) -> TokenBatch:
    """CLS, k-mers, single bases or N, then padding, of tokens 0…26."""
    rng = np.random.default_rng(seed)
    token_ids = rng.integers(6, 27, (num_sequences, num_tokens))
    token_ids[:, 0] = 3
    lengths = rng.integers(num_tokens // 2, num_tokens + 1, num_sequences)
    token_ids[np.arange(num_tokens) >= lengths[:, None]] = 1
    return TokenBatch(
        token_ids=token_ids.astype(np.int32),
        sequence_mask=np.ones(num_sequences, bool),
        row=np.arange(num_sequences, dtype=np.int32),
    )


def region_batch(
    *, num_spans: int = 6, num_regions: int = 3, num_tokens: int = 12, seed: int = 0
) -> RegionBatch:
    """Spans of random sequences whose values all differ."""
    rng = np.random.default_rng(seed)
    sequences = token_batch(
        num_sequences=num_spans * num_regions, num_tokens=num_tokens, seed=seed
    )
    order = rng.permuted(np.tile(np.arange(num_regions), (num_spans, 1)), axis=1)
    return RegionBatch(
        token_ids=sequences.token_ids.reshape(num_spans, num_regions, num_tokens),
        values=(order * rng.uniform(0.5, 2, (num_spans, 1))).astype(np.float32),
        output=np.zeros(num_spans, np.int32),
        span_mask=np.ones(num_spans, bool),
        row=np.arange(num_spans, dtype=np.int32),
        span_index=np.arange(num_spans, dtype=np.int32),
    )


def fasta(records: dict[str, str], *, width: int = 60, newline: str = "\n") -> bytes:
    """FASTA text of named sequences, in lines of one width."""
    lines = []
    for name, sequence in records.items():
        starts = range(0, len(sequence), width)
        lines += [f">{name}", *(sequence[at : at + width] for at in starts)]
    return "".join(line + newline for line in lines).encode()


def bgzip(text: bytes, *, member: int = 100) -> bytes:
    """The text in gzip members that state their size, and an empty one at the end."""
    starts = [*range(0, len(text), member), len(text)]
    return b"".join(_bgzip_member(text[at : at + member]) for at in starts)


def _bgzip_member(text: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = deflate.compress(text) + deflate.flush()
    head = bytes.fromhex("1f8b0804 00000000 00ff 0600 42430200")
    size = struct.pack("<H", len(body) + 25)
    return head + size + body + struct.pack("<II", zlib.crc32(text), len(text))


def region_table(
    *rows: tuple[str, int, int, float], source: str = "regions"
) -> RegionTable:
    """Regions of (chrom, start, end, value) with one sample, "cells"."""
    frame = pd.DataFrame(rows, columns=["chrom", "start", "end", "value"])
    values = frame[["value"]].to_numpy(float)
    return RegionTable.build(source, frame, values, ["cells"])


def open_regions(
    length: int, *, samples: int = 2, seed: int = 0, chrom: str = "chr1", gap: int = 400
) -> RegionTable:
    """Regions of some hundred bp along a chromosome; about a third is closed."""
    rng = np.random.default_rng(seed)
    size = max(2, length // (2 * gap))
    start, end = np.sort(rng.choice(length, 2 * size, replace=False)).reshape(-1, 2).T
    values = rng.gamma(2.0, 1.0, (size, samples)) * (rng.random((size, samples)) < 0.7)
    frame = pd.DataFrame({"chrom": chrom, "start": start, "end": end})
    names = [f"type{number}" for number in range(samples)]
    return RegionTable.build(f"{chrom}.tsv", frame, values, names)


def dna(length: int, *, seed: int = 0) -> str:
    """Random letters A, C, G and T."""
    letters = np.frombuffer(b"ACGT", np.uint8)
    chosen = np.random.default_rng(seed).integers(0, 4, length)
    return letters[chosen].tobytes().decode()


def region_chunks(*sizes: int, num_tokens: int = 9, seed: int = 0) -> list[RegionChunk]:
    """Chunks of random spans on two chromosomes; their splits go 0, 1, 2, 3, 0 …"""
    rng = np.random.default_rng(seed)
    return [_region_chunk(size, num_tokens, rng) for size in sizes]


def _region_chunk(size: int, num_tokens: int, rng: np.random.Generator) -> RegionChunk:
    number = np.arange(size)
    start = 3_000 * np.sort(rng.integers(0, 1_000, size))
    edges = np.sort(rng.permuted(np.tile(np.arange(3_000), (size, 1)), axis=1)[:, :6])
    spans = SpanTable(
        intervals=start[:, None, None] + edges.reshape(size, 3, 2),
        values=rng.gamma(1, 1, (size, 3)).astype(np.float32) * np.float32([1, 1, 0]),
        chrom_index=(number % 2).astype(np.int16),
        start=start,
        sample_index=(number % 2).astype(np.int16),
        offset=(number % 3 * 300).astype(np.int32),
        group=(number % 5).astype(np.int32),
        split=(number % 4).astype(np.uint8),
    )
    return RegionChunk(
        spans=spans,
        tokens=rng.integers(0, 4_107, (size, 3, num_tokens)).astype(np.uint16),
        features=rng.random((size, 3, 4)).astype(np.float32),
        cut=rng.random((size, 3)) < 0.1,
        unknown=size,
    )


def accessible_genome(
    folder: Path, *, regions: int = 6, bins: int = 400, tracks: int = 2
) -> datasets.AccessibleGenome:
    """Random DNA with peaks of signal where a motif was planted, between flanks."""
    rng, bin_bp, flank = np.random.default_rng(0), 32, 6_400
    length = bins * bin_bp + 2 * flank
    signal = rng.random((regions, bins, tracks), np.float32) / 10
    records, rows = {}, []
    for region in range(regions):
        start = 10_000 + region * 2 * length
        letters = list(dna(length, seed=region))
        for place in rng.choice(np.arange(5, bins - 5, 9), bins // 25, replace=False):
            height = 1 + 4 * rng.random()
            signal[region, place : place + 3] += np.float32(height)
            first = flank + int(place) * bin_bp
            letters[first : first + 12 * int(height)] = "GGAACC" * 2 * int(height)
        records[f"chr1:{start}-{start + length}"] = "".join(letters)
        split = ("train", "train", "validation", "test")[region % 4]
        rows.append(("chr1", start, start + length, split, start + flank))
    (folder / "genome.fa.gz").write_bytes(gzip.compress(fasta(records)))
    table = pd.DataFrame(rows, columns=["chrom", "start", "end", "split", "target"])
    table["target_end"] = table["target"] + bins * bin_bp
    return datasets.AccessibleGenome(
        name="made up",
        fasta=folder / "genome.fa.gz",
        regions=table.rename(columns={"target": "target_start"}),
        signal=signal,
        bin_bp=bin_bp,
        tracks=tuple(f"track{number}" for number in range(tracks)),
    )


def region_store(
    path: Path,
    sequences: list[list[str]],
    values: Any,
    *,
    num_tokens: int,
    version: str = "v1",
    vocabulary: str = "v2",
    split: Any = 0,
    samples: tuple[str, str] = ("T", "B"),
) -> RegionStore:
    """A store of given sequences, three to a span; every span is its own group."""
    tokens = KmerTokenizer(vocabulary).encode_batch(
        [sequence for span in sequences for sequence in span],
        num_tokens,
        padding="random" if version == "v2" else "end",
    )
    (chunk,) = region_chunks(len(sequences), num_tokens=num_tokens)
    columns = chunk.spans.columns() | {
        "values": np.asarray(values, np.float32),
        "group": np.arange(len(sequences), dtype=np.int32),
        "split": np.full(len(sequences), split, np.uint8),
    }
    shape = (len(sequences), 3, num_tokens)
    chunk = dataclasses.replace(
        chunk,
        spans=SpanTable(**columns),
        tokens=tokens.ids.astype(np.uint16).reshape(shape),
    )
    return write_region_store(
        path,
        [chunk],
        num_tokens=num_tokens,
        chromosomes=["chr1", "chr2"],
        samples=samples,
        config={"spans": {"version": version}, "vocabulary": vocabulary},
        provenance={"source": "tests"},
    )
