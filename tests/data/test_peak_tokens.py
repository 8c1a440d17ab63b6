"""Open peaks as tokens: which, of how many, and the same on any number of hosts."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.peak_tokens import PeakRows, PeakTokenConfig, PeakTokenizer
from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.data.sampling import Share
from scmultimodal.data.shards import ShardedMatrix
from scmultimodal.data.sources import ArraySource
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from tests import builders

CELLS, PEAKS, GENES = 30, 50, 12
FIELDS = ("ids", "chroms", "positions", "mask")


@pytest.fixture(scope="module")
def dense():
    """Which peaks are open in which cell; cell 7 has none."""
    found = builders.sparse_counts(CELLS, PEAKS, seed=3).toarray() > 0
    found[7] = False
    return found


@pytest.fixture(scope="module")
def rows(dense):
    number = np.arange(PEAKS)
    table = pd.DataFrame(
        {
            "chrom": np.where(number < 20, "chr1", "chrX"),
            "start": 1_000 * number,
            "end": 1_000 * number + 301,
        }
    )
    return rows_of(dense, PeakVocabulary.from_frame(table))


def rows_of(dense, vocabulary):
    matrix = ShardedMatrix.in_memory("peaks", sparse.csr_matrix(dense.astype(np.uint8)))
    return PeakRows(matrix=matrix, vocabulary=vocabulary)


def build(rows, cells, step=0, *, seed=0, longest=None, shown=None, **config):
    cells = np.array(cells)
    longest = config.get("most", PEAKS) if longest is None else longest
    tokenizer = PeakTokenizer(rows, PeakTokenConfig(**config), seed=seed)
    shown = np.ones(len(cells), bool) if shown is None else shown
    return tokenizer.build(cells, shown, longest=longest, step=step)


def ids_of(tokens):
    return [list(i[m]) for i, m in zip(tokens.ids, tokens.mask, strict=True)]


@given(st.lists(st.integers(-1, CELLS - 1), min_size=1, max_size=9))
def test_the_tokens_are_the_open_peaks(rows, dense, cells):
    found = build(rows, cells)
    expected = [[] if c < 0 else list(np.flatnonzero(dense[c])) for c in cells]
    assert ids_of(found) == expected
    assert not any(getattr(found, name)[~found.mask].any() for name in FIELDS)


def test_where_a_peak_lies(rows):
    found = build(rows, [0])
    ids, real = found.ids[0], found.mask[0]
    np.testing.assert_array_equal(found.chroms[0][real], (ids[real] >= 20).astype(int))
    np.testing.assert_array_equal(found.positions[0][real], 1_000 * ids[real] + 150)


def test_a_cell_whose_atac_is_not_shown_has_no_token(rows):
    found = build(rows, [0, 1], shown=np.array([True, False]))
    assert found.mask.any(1).tolist() == [True, False]


def test_a_subset_is_the_cells_own(rows, dense):
    """By seed, step and cell; in the order of the vocabulary; every peak in time."""
    most = 4
    first = ids_of(build(rows, [5, 9, 7], 3, most=most))
    assert [len(ids) for ids in first] == [4, 4, 0]
    assert all(ids == sorted(set(ids)) for ids in first)
    assert ids_of(build(rows, [9], 3, most=most)) == first[1:2]
    assert ids_of(build(rows, [9], 4, most=most)) != first[1:2]
    assert ids_of(build(rows, [9], 3, seed=1, most=most)) != first[1:2]
    seen = {i for s in range(60) for i in ids_of(build(rows, [9], s, most=most))[0]}
    assert seen == set(np.flatnonzero(dense[9]))
    alone = rows_of(dense[9:10], rows.vocabulary)
    assert ids_of(build(alone, [0], 3, most=most)) == first[1:2]


@pytest.mark.parametrize(
    ("longest", "width"), [(0, 8), (8, 8), (9, 16), (20, 40), (40, 40)]
)
def test_widths(rows, longest, width):
    """The least bucket that holds the longest cell of the global batch."""
    config = {"most": 40, "buckets": (8, 16)}
    assert build(rows, [7], longest=longest, **config).ids.shape == (1, width)


def test_above_the_buckets_given_the_ladder_goes_on(rows):
    """One cell with a peak more does not make its batch 16 times as wide."""
    config = {"most": 8_192, "buckets": (64, 512)}
    widths = [
        build(rows, [7], longest=longest, **config).ids.shape[1]
        for longest in (100, 513, 800, 6_200)
    ]
    assert widths == [512, 768, 1_024, 8_192]


def test_sizes_out_of_range():
    with pytest.raises(InputError, match="peak tokens: are at most 0"):
        PeakTokenConfig(most=0)
    with pytest.raises(InputError, match=r"buckets of \(8, 0\)"):
        PeakTokenConfig(buckets=(8, 0))


def source_of(rows, *, peaks=True):
    genes = [
        builders.capped_bins("", builders.sparse_counts(CELLS, GENES, seed=s))
        for s in (0, 1)
    ]
    present = ~np.isin(np.arange(CELLS), [2, 4])
    genes[1] = sparse.csr_matrix(genes[1].multiply(present[:, None]))
    return ArraySource(*genes, atac_present=present, peaks=rows if peaks else None)


def builder_of(rows, atac_path, **fields):
    return BatchBuilder(
        source_of(rows),
        GENES,
        atac_path=atac_path,
        seed=2,
        **{"tokens": "nonzero"} | fields,
    )


@pytest.mark.parametrize("regime", Regime)
def test_batches_show_genes_peaks_or_both(rows, regime):
    cells = np.array([0, 2, -1, 3])
    gene, peak, both = (
        builder_of(rows, path).build(cells, regime) for path in ("gene", "peak", "both")
    )
    assert gene.peaks is None
    assert peak.atac is None
    assert (peak.gene_ids is None) == (regime is Regime.ATAC)
    assert (both.atac is None) == (regime is Regime.RNA) == (both.peaks is None)
    if regime is not Regime.RNA:
        assert peak.atac_present.tolist() == [True, False, False, True]
        assert peak.peaks.mask.any(1).tolist() == [True, False, False, True]
        np.testing.assert_array_equal(both.peaks.ids, peak.peaks.ids)
        np.testing.assert_array_equal(both.atac, gene.atac)


@pytest.mark.parametrize("atac_path", ["peak", "both"])
def test_hosts_share_a_batch(rows, atac_path):
    """Each builds its part, as wide as the whole, with the same draws."""
    builder = builder_of(rows, atac_path, peaks=PeakTokenConfig(most=9, buckets=(3, 6)))
    cells = np.array([0, 5, 2, 7, 9, -1])
    whole = builder.build(cells, Regime.MULTIOME, step=4)
    parts = [
        builder.build(cells, Regime.MULTIOME, step=4, share=Share(index, 3))
        for index in range(3)
    ]
    for name in FIELDS:
        together = np.concatenate([getattr(part.peaks, name) for part in parts])
        np.testing.assert_array_equal(together, getattr(whole.peaks, name))
    together = np.concatenate([part.rna for part in parts])
    np.testing.assert_array_equal(together, whole.rna)


def test_lengths_are_of_genes_and_peaks(rows, dense):
    gene, peak, both = (
        builder_of(rows, path, peaks=PeakTokenConfig(most=10))
        for path in ("gene", "peak", "both")
    )
    few = np.minimum(dense.sum(1), 10)
    np.testing.assert_array_equal(peak.lengths(Regime.ATAC), few)
    np.testing.assert_array_equal(
        peak.lengths(Regime.MULTIOME), gene.lengths(Regime.RNA) + few
    )
    np.testing.assert_array_equal(
        both.lengths(Regime.MULTIOME), gene.lengths(Regime.MULTIOME) + few
    )
    assert (both.lengths(Regime.RNA) == gene.lengths(Regime.RNA)).all()


def test_batch_codes_come_along(rows):
    codes = np.arange(CELLS) % 3
    built = builder_of(rows, "peak", batches=codes).build(
        np.array([4, -1]), Regime.ATAC
    )
    assert built.batch_code.tolist() == [1, -1]
    assert builder_of(rows, "peak").build(np.array([4]), Regime.ATAC).batch_code is None


def test_cells_without_peaks_cannot_be_shown_by_them(rows):
    with pytest.raises(InputError, match=r"keep no peaks.*--peak-tokens"):
        BatchBuilder(source_of(rows, peaks=False), GENES, atac_path="both")
    rna = ArraySource(builders.sparse_counts(CELLS, GENES, seed=0), None)
    built = BatchBuilder(rna, GENES, atac_path="both").build(np.arange(3), Regime.RNA)
    assert built.peaks is None
    assert built.rna is not None
    short = rows_of(np.ones((2, PEAKS)), rows.vocabulary)
    with pytest.raises(InputError, match="peaks: of 2 cells for 30"):
        source_of(short)
