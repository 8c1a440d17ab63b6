import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.sampling import Share
from scmultimodal.data.sources import ArraySource, StoreSource, token_lengths
from scmultimodal.data.store import write_store
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import MODALITIES, Regime
from tests import builders

NUM_CELLS, NUM_GENES = 60, 40
FIELDS = (
    "rna",
    "atac",
    "rna_present",
    "atac_present",
    "gene_ids",
    "token_mask",
    "cell_mask",
    "row",
    "label",
    "cell_index",
)


@pytest.fixture(scope="module")
def cells():
    return builders.cell_table(NUM_CELLS, NUM_GENES)


@pytest.fixture(scope="module")
def bins(cells):
    """Dense bins by modality, the truth that batches are compared with."""
    return {
        name: builders.capped_bins(name, matrix).toarray()
        for name, matrix in cells.matrices.items()
    }


@pytest.fixture(scope="module")
def from_store(cells, tmp_path_factory):
    return StoreSource(
        write_store(
            tmp_path_factory.mktemp("data") / "store",
            cells=cells,
            vocabulary=builders.gene_vocabulary(NUM_GENES),
            bin_function=builders.capped_bins,
            provenance={},
            cells_per_shard=17,
        )
    )


@pytest.fixture(scope="module")
def from_arrays(cells, bins, from_store):
    return ArraySource(
        sparse.csr_matrix(bins["rna"]),
        sparse.csr_matrix(bins["atac"]),
        rna_present=cells.present["rna"],
        atac_present=cells.present["atac"],
        labels=from_store.labels,
    )


def assert_equal(one, other):
    for field in FIELDS:
        left, right = getattr(one, field), getattr(other, field)
        assert (left is None) == (right is None), field
        if left is not None:
            assert left.dtype == right.dtype, field
            np.testing.assert_array_equal(left, right, err_msg=field)


def expected_tokens(bins, cell, regime):
    """The union of non-zero genes, by a plain loop."""
    if cell < 0:
        return []
    return [
        gene
        for gene in range(NUM_GENES)
        if any(bins[modality][cell, gene] for modality in regime.modalities)
    ]


chosen_cells = st.lists(st.integers(-1, NUM_CELLS - 1), min_size=1, max_size=24)


@given(chosen_cells, st.sampled_from(Regime))
@settings(max_examples=80)
def test_nonzero_tokens_equal_a_loop(from_store, cells, bins, chosen, regime):
    builder = BatchBuilder(
        from_store, NUM_GENES, tokens="nonzero", buckets=(4, 8, 12, 16, 24, 32)
    )
    chosen = np.array(chosen)
    batch = builder.build(chosen, regime, with_labels=True)
    tokens = [expected_tokens(bins, cell, regime) for cell in chosen]
    longest = max(map(len, tokens))
    width = min(n for n in (4, 8, 12, 16, 24, 32, 40) if n >= longest)
    assert batch.gene_ids.shape == (len(chosen), width)
    for row, (cell, genes) in enumerate(zip(chosen, tokens, strict=True)):
        assert batch.gene_ids[row].tolist() == genes + [0] * (width - len(genes))
        assert batch.token_mask[row].tolist() == [t < len(genes) for t in range(width)]
        for modality in ("rna", "atac"):
            values = getattr(batch, modality)
            if modality not in regime.modalities:
                assert values is None
                continue
            assert values.dtype == np.uint8
            assert values[row, : len(genes)].tolist() == [
                bins[modality][cell, gene] for gene in genes
            ]
            assert not values[row, len(genes) :].any()
    check_cells(batch, cells, chosen, regime, from_store.labels)


@given(chosen_cells, st.sampled_from(Regime))
@settings(max_examples=40)
def test_all_genes_in_the_fixed_order(from_store, cells, bins, chosen, regime):
    chosen = np.array(chosen)
    builder = BatchBuilder(from_store, NUM_GENES)
    batch = builder.build(chosen, regime, with_labels=True)
    assert batch.gene_ids is None
    assert batch.token_mask is None
    for modality in ("rna", "atac"):
        values = getattr(batch, modality)
        if modality in regime.modalities:
            expected = bins[modality][chosen] * (chosen >= 0)[:, None]
            assert np.array_equal(values, expected)
            assert values.dtype == np.uint8
        else:
            assert values is None
    check_cells(batch, cells, chosen, regime, from_store.labels)


def check_cells(batch, cells, chosen, regime, labels):
    real = chosen >= 0
    for modality in ("rna", "atac"):
        shown = modality in regime.modalities
        expected = cells.present[modality][chosen] & real & shown
        assert np.array_equal(getattr(batch, f"{modality}_present"), expected)
    assert np.array_equal(batch.cell_mask, real)
    assert np.array_equal(batch.cell_index, chosen)
    assert np.array_equal(batch.row, np.arange(len(chosen)))
    assert np.array_equal(batch.label, np.where(real, labels[chosen], -1))
    assert {batch.row.dtype, batch.label.dtype, batch.cell_index.dtype} == {
        np.dtype(np.int32)
    }


@pytest.mark.parametrize("tokens", ["all", "nonzero"])
@pytest.mark.parametrize("regime", Regime)
def test_memory_and_disk_give_the_same_batches(from_store, from_arrays, tokens, regime):
    chosen = np.array([3, 59, -1, 0, 3, 16, 17])
    batches = [
        BatchBuilder(source, NUM_GENES, tokens=tokens).build(
            chosen, regime, with_labels=True
        )
        for source in (from_store, from_arrays)
    ]
    assert_equal(*batches)


@given(chosen_cells, st.integers(1, 4), st.sampled_from(Regime))
@settings(max_examples=40)
def test_hosts_together_see_the_global_batch(from_store, chosen, hosts, regime):
    chosen = np.array(chosen)
    chosen = np.resize(chosen, -(-len(chosen) // hosts) * hosts)
    for options in (
        {"tokens": "nonzero", "buckets": (4, 12, 24)},
        {"tokens": "all", "feature_order": "dynamic"},
    ):
        builder = BatchBuilder(from_store, NUM_GENES, seed=5, **options)
        whole = builder.build(chosen, regime, step=9, with_labels=True)
        parts = [
            builder.build(
                chosen, regime, step=9, with_labels=True, share=Share(host, hosts)
            )
            for host in range(hosts)
        ]
        for field in FIELDS:
            pieces = [getattr(part, field) for part in parts]
            if getattr(whole, field) is None:
                assert pieces == [None] * hosts
            else:
                assert np.array_equal(np.concatenate(pieces), getattr(whole, field))


def test_random_orders_permute_both_paths_alike(from_store, bins):
    chosen = np.array([4, 9, -1, 4])
    builder = BatchBuilder(from_store, NUM_GENES, feature_order="per_cell", seed=1)
    batch = builder.build(chosen, Regime.MULTIOME)
    assert batch.gene_ids.dtype == np.int32
    for row, cell in enumerate(chosen):
        assert sorted(batch.gene_ids[row]) == list(range(NUM_GENES))
        if cell >= 0:
            for modality in ("rna", "atac"):
                assert np.array_equal(
                    getattr(batch, modality)[row],
                    bins[modality][cell, batch.gene_ids[row]],
                )
    assert not batch.rna[2].any()
    assert not np.array_equal(batch.gene_ids[0], batch.gene_ids[1])
    assert np.array_equal(batch.gene_ids[0], batch.gene_ids[3])


def orders(source, feature_order, *, step, seed=1):
    builder = BatchBuilder(source, NUM_GENES, feature_order=feature_order, seed=seed)
    return builder.build(np.array([4, 9]), Regime.RNA, step=step).gene_ids


def test_orders_are_kept_or_drawn_anew(from_store):
    kept = orders(from_store, "per_cell", step=0)
    assert np.array_equal(orders(from_store, "per_cell", step=8), kept)
    assert not np.array_equal(orders(from_store, "per_cell", step=0, seed=2), kept)
    drawn = orders(from_store, "dynamic", step=3)
    assert np.array_equal(orders(from_store, "dynamic", step=3), drawn)
    assert not np.array_equal(orders(from_store, "dynamic", step=4), drawn)


def test_cells_without_any_nonzero_gene():
    empty = sparse.csr_matrix((3, NUM_GENES), dtype=np.uint8)
    source = ArraySource(empty, None)
    builder = BatchBuilder(source, NUM_GENES, tokens="nonzero", buckets=(8,))
    batch = builder.build(np.array([0, 1, -1]), Regime.RNA)
    assert batch.rna.shape == (3, 8)
    assert not batch.token_mask.any()
    assert batch.rna_present.tolist() == [True, True, False]


def test_the_structure_depends_on_the_source_not_on_the_cells(from_store, bins):
    builder = BatchBuilder(from_store, NUM_GENES, tokens="nonzero")
    without_atac = builder.build(np.array([1, 6]), Regime.MULTIOME)
    assert not without_atac.atac_present.any()
    assert without_atac.atac is not None
    rna_only = ArraySource(sparse.csr_matrix(bins["rna"]), None)
    batch = BatchBuilder(rna_only, NUM_GENES).build(np.array([1]), Regime.MULTIOME)
    assert batch.atac is None


@pytest.mark.parametrize("regime", Regime)
def test_token_lengths_equal_a_loop(from_store, from_arrays, bins, regime):
    expected = [len(expected_tokens(bins, c, regime)) for c in range(NUM_CELLS)]
    for source in (from_store, from_arrays):
        assert token_lengths(source, regime.modalities).tolist() == expected
        builder = BatchBuilder(source, NUM_GENES)
        assert builder.lengths(regime).tolist() == expected


def test_token_lengths_are_the_same_in_small_blocks(from_store, monkeypatch):
    whole = token_lengths(from_store, MODALITIES)
    monkeypatch.setattr("scmultimodal.data.sources._BLOCK", 7)
    assert np.array_equal(token_lengths(from_store, MODALITIES), whole)


def test_buckets_above_the_number_of_genes_are_kept(from_store):
    builder = BatchBuilder(from_store, NUM_GENES, tokens="nonzero", buckets=(128,))
    assert builder.build(np.array([0]), Regime.MULTIOME).rna.shape == (1, 40)


def test_array_source_cleans_a_copy(bins):
    dirty = sparse.csr_matrix(bins["rna"]).astype(np.int64)
    dirty.data[0] = 0
    before = dirty.nnz
    found = ArraySource(dirty, None).entries("rna", np.arange(NUM_CELLS))
    assert (len(found.genes), dirty.nnz) == (before - 1, before)
    assert found.values[0].dtype == np.uint8


def test_options_that_contradict_each_other(from_store):
    with pytest.raises(InputError, match="feature_order: is 'dynamic'"):
        BatchBuilder(from_store, 40, tokens="nonzero", feature_order="dynamic")
    with pytest.raises(InputError, match="buckets: are"):
        BatchBuilder(from_store, 40, tokens="nonzero", buckets=(0, 8))
    with pytest.raises(InputError, match="cells: have 40 genes, not 39"):
        BatchBuilder(from_store, 39)


def test_what_a_source_lacks_is_named(bins):
    source = ArraySource(sparse.csr_matrix(bins["rna"]), None)
    builder = BatchBuilder(source, NUM_GENES, tokens="nonzero")
    with pytest.raises(InputError, match="the cells have no atac"):
        builder.build(np.array([0]), Regime.ATAC)
    with pytest.raises(InputError, match="the cells have no labels"):
        builder.build(np.array([0]), Regime.RNA, with_labels=True)


@pytest.mark.parametrize(
    ("rna", "atac", "options", "message"),
    [
        (None, None, {}, "Give one shape"),
        ((4, 5), (4, 6), {}, r"\(4, 5\), \(4, 6\)"),
        ((4, 5), None, {"rna_present": np.zeros(4, bool)}, "absent has bins"),
    ],
)
def test_arrays_that_do_not_fit(rna, atac, options, message):
    ones = [s and sparse.csr_matrix(np.ones(s, np.uint8)) for s in (rna, atac)]
    with pytest.raises(InputError, match=message):
        ArraySource(*ones, **options)


class SeveralDatasets(ArraySource):
    """Cells of two datasets in turn; the second did not measure some genes."""

    def measured(self, modality, cells):
        absent = {"rna": slice(0, 5), "atac": slice(3, 9)}[modality]
        known = np.ones((2, NUM_GENES), bool)
        known[1, absent] = False
        return known[cells % 2]


@pytest.fixture(scope="module")
def several(cells, bins):
    return SeveralDatasets(
        sparse.csr_matrix(bins["rna"]),
        sparse.csr_matrix(bins["atac"]),
        rna_present=cells.present["rna"],
        atac_present=cells.present["atac"],
    )


def expected_mask(cells, chosen, regime):
    """Genes that a cell may show, by a plain loop."""
    mask = np.ones((len(chosen), NUM_GENES), bool)
    for row, cell in enumerate(chosen):
        for modality, absent in (("rna", range(5)), ("atac", range(3, 9))):
            shown = modality in regime.modalities and cells.present[modality][cell]
            if cell >= 0 and cell % 2 and shown:
                mask[row, list(absent)] = False
    return mask


@given(chosen_cells, st.sampled_from(Regime))
@settings(max_examples=40, deadline=None)
def test_genes_that_were_not_measured_are_hidden(several, cells, bins, chosen, regime):
    chosen = np.array(chosen)
    mask = expected_mask(cells, chosen, regime)
    batch = BatchBuilder(several, NUM_GENES).build(chosen, regime)
    np.testing.assert_array_equal(batch.token_mask, mask)
    moved = BatchBuilder(several, NUM_GENES, feature_order="per_cell", seed=2)
    batch = moved.build(chosen, regime)
    np.testing.assert_array_equal(
        batch.token_mask, np.take_along_axis(mask, batch.gene_ids, 1)
    )
    packed = BatchBuilder(several, NUM_GENES, tokens="nonzero").build(chosen, regime)
    for row, cell in enumerate(chosen):
        known = set(np.flatnonzero(mask[row]))
        genes = expected_tokens(bins, cell, regime)
        if len(regime.modalities) == 2:  # Else what is not zero was measured.
            genes = [gene for gene in genes if gene in known]
        assert packed.gene_ids[row][packed.token_mask[row]].tolist() == genes


def test_hosts_see_the_mask_of_their_cells(several):
    chosen = np.array([3, 8, -1, 1])
    builder = BatchBuilder(several, NUM_GENES)
    parts = [
        builder.build(chosen, Regime.RNA, share=Share(host, 2)).token_mask
        for host in range(2)
    ]
    whole = builder.build(chosen, Regime.RNA).token_mask
    assert np.array_equal(np.concatenate(parts), whole)
    # A mask even where this batch would need none: all hosts see one structure.
    assert builder.build(np.array([0, 2]), Regime.RNA).token_mask.all()


def test_genes_that_are_absent_are_no_silent_ones(several, from_arrays):
    with pytest.raises(InputError, match=r"tokens: are 'static_zeros'.* use 'all' or"):
        BatchBuilder(several, NUM_GENES, tokens="static_zeros")
    BatchBuilder(from_arrays, NUM_GENES, tokens="static_zeros")
