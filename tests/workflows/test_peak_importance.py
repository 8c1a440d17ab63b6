"""Which open peaks a classifier looks at: by hand, and by closing a share of a peak."""

import dataclasses
import gzip

import jax
import numpy as np
import pandas as pd
import pytest

from scmultimodal.models import CellModel
from scmultimodal.modules import peak_dials
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.workflows import trained
from scmultimodal.workflows.importance_tables import BED, PeakImportance
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

CELLS, GENES = 60, 20
SKIPS = {"skip": True, "root_skip": True}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("importance") / "data"
    return builders.peak_store(folder, num_cells=CELLS, num_genes=GENES)


@pytest.fixture
def data(store):
    cells = builders.simulated_cells(num_cells=CELLS, num_genes=GENES)
    assert list(cells.obs_names) == list(store.obs.index)
    return cells


def linear(stored, *kept):
    """The same model, of which only some maps past the trunk are left."""
    head = stored.params["cell_type_head"]
    for name, leaves in stored.params["cell_type_head/logits"].items():
        stored.params["cell_type_head/logits"][name] = np.zeros_like(leaves)
    for name in set(head) - set(kept):
        head[name] = np.zeros_like(head[name])
    return CellModel(stored)


def opened(model, data):
    """[cells, peaks of the model], 1 where open."""
    rows = model._align(data).block().peaks.matrix
    return rows.dense(np.arange(data.n_obs)).astype(float)


def centred(values):
    return values - values.mean(1, keepdims=True)


def codes(model, data):
    return model.annotate(data)["scmm_cell_type"].cat.codes.to_numpy()


def places(table):
    return pd.MultiIndex.from_frame(table[["chrom", "start", "end"]])


@pytest.mark.parametrize("size", [7, None])
def test_of_a_linear_model_it_is_the_weights_of_open_peaks(store, data, size):
    """Mean over the cells of a type, less what types share; it sums to the logits."""
    stored = builders.peak_classifier(store, head={"skip": True})
    model, atac = linear(stored, "peak_skip"), data["atac"].copy()
    found = model.peak_importance(atac, batch_size=size)
    is_open, called = opened(model, atac), codes(model, atac)
    assert found.cells.tolist() == np.bincount(called, minlength=3).tolist()
    assert len(found.types) > 1
    weights = centred(stored.params["cell_type_head"]["peak_skip"])
    here = is_open.any(0)
    assert found.table.index.equals(places(stored.peaks.to_frame()[here]))
    logits = centred(is_open @ weights)
    for number, name in enumerate(model.classes):
        own = called == number
        if not own.any():
            assert found.table[name].isna().all()
            continue
        expected = is_open[own].mean(0) * weights[:, number]
        np.testing.assert_allclose(found.table[name], expected[here], atol=1e-4)
        np.testing.assert_allclose(
            found.table[name].sum(), logits[own, number].mean(), atol=1e-3
        )


def test_over_the_root_of_their_number_a_peak_takes_from_the_others(store, data):
    """Of n open peaks, S the sum of their weights: (w − S / 2n) / √n."""
    stored = builders.peak_classifier(store, head=SKIPS)
    model, atac = linear(stored, "peak_root_skip"), data["atac"].copy()
    atac.obs["mine"] = np.where(np.arange(CELLS) % 3 == 1, "type_2", "other")
    found = model.peak_importance(atac, label="mine")
    assert found.types == ["type_2"]
    is_open = opened(model, atac)[1::3]
    number = is_open.sum(1, keepdims=True)
    assert number.min() > 1
    weights = centred(stored.params["cell_type_head"]["peak_root_skip"])[:, 2]
    less = (is_open @ weights)[:, None] / (2 * number)
    expected = (is_open * (weights - less) / np.sqrt(number)).mean(0)
    kept = is_open.any(0)
    np.testing.assert_allclose(found.table["type_2"], expected[kept], atol=1e-4)


@pytest.mark.parametrize(
    ("atac_path", "shape"),
    [
        ("peak", {"path": {"attention": "exact"}}),
        ("peak", {"path": {"num_layers": 0}, "peaks": {"pool": "mean"}}),
        (
            "both",
            {
                "path": {"attention": "exact"},
                "peak_joint": "cross_attention",
                "modalities": ("rna", "atac"),
            },
        ),
    ],
)
def test_it_is_the_slope_where_a_share_of_a_peak_is_closed(
    store, data, atac_path, shape
):
    """Central differences of the logits of one cell, at all of its open peaks."""
    stored = builders.peak_classifier(store, atac_path, head=SKIPS, **shape)
    model = CellModel(stored)
    one = (data if atac_path == "both" else data["atac"])[:1].copy()
    found = model.peak_importance(one)
    (name,) = found.types
    cells = model._align(one)
    batch = trained.builder_for(cells.block(), stored.config).build(
        np.zeros(1, int), cells.regime
    )
    logits_of, which = trained.logits_function(stored), model.classes.index(name)

    @jax.jit
    def logit(dials):
        with peak_dials.dialled(dials):
            return centred(logits_of(batch))[0, which]

    ones, step = np.ones(batch.peaks.mask.shape, np.float32), 0.02
    slopes = []
    for token in np.flatnonzero(batch.peaks.mask[0]):
        turned = np.zeros_like(ones)
        turned[0, token] = step
        slopes.append((logit(ones + turned) - logit(ones - turned)) / (2 * step))
    found = found.table[name].to_numpy()
    np.testing.assert_allclose(found, slopes, atol=5e-3)
    assert np.abs(found).max() > 0.1


def test_genes_stand_beside_peaks_where_both_are_read(store, data):
    """The bins that a head of the vector reads past the trunk count too."""
    stored = builders.peak_classifier(
        store, "both", modalities=("rna", "atac"), head={"skip": True}
    )
    kept = ("rna_skip", "atac_skip", "peak_skip")
    model = linear(stored, *kept)
    data.obs["mine"] = "type_1"
    genes, peaks = model.explain(data, label="mine")
    source = model._align(data).block()
    head = {name: centred(stored.params["cell_type_head"][name])[:, 1] for name in kept}
    for modality in ("rna", "atac"):
        values = source.dense(modality, np.arange(CELLS)).astype(float).mean(0)
        part = genes.table.loc[modality, "type_1"]
        np.testing.assert_allclose(part, values * head[f"{modality}_skip"], atol=1e-4)
    is_open = opened(model, data)
    expected = (is_open.mean(0) * head["peak_skip"])[is_open.any(0)]
    np.testing.assert_allclose(peaks.table["type_1"], expected, atol=1e-4)
    assert genes.cells.equals(peaks.cells)


def test_what_is_not_read_is_refused(store, data):
    alone = CellModel(builders.peak_classifier(store))
    atac = data["atac"].copy()
    assert alone.explain(atac).genes is None
    with pytest.raises(InputError, match=r"reads peaks of these cells.*Call peak_imp"):
        alone.gene_importance(atac)
    both = CellModel(
        builders.peak_classifier(store, "both", modalities=("rna", "atac"))
    )
    with pytest.raises(InputError, match=r"no open peaks of these.*gene_importance"):
        both.peak_importance(data["rna"].copy())
    assert len(both.gene_importance(data["rna"].copy()).table) == GENES
    with pytest.raises(InputError, match=r"is atac, .* embeds none: it reads peaks"):
        alone.gene_neighbours("GENE1", "atac")
    assert (alone.embedded, both.embedded) == ((), ("rna", "atac"))


def test_a_depth_of_genes_says_nothing_of_peaks(store, data):
    deep = {"modalities": ("rna", "atac"), "depth": True}
    model = CellModel(builders.peak_classifier(store, "peak", **deep))
    assert model.peak_importance(data["atac"].copy()).cells.sum() == CELLS
    with pytest.raises(InputError, match="know the depth of their cell"):
        model.peak_importance(data)


def test_peaks_are_named_by_the_gene_whose_start_is_nearest(store, data):
    model = CellModel(builders.peak_classifier(store))
    genes = model.genes
    tss = np.where(genes["strand"] == "-", genes["end"], genes["start"])
    found = model.peak_importance(data["atac"].copy()).table
    assert found["distance_bp"].max() > 10_000
    for (chrom, start, end), row in found.iterrows():
        far = np.maximum(0, np.maximum(start - tss, tss - end))
        far = np.where(genes["chrom"] == chrom, far, 500_000)
        assert row["distance_bp"] == far.min()
        assert row["nearest_gene"] == genes["symbol"][far.argmin()]


def table():
    """Of three peaks: one speaks for A, one for B less, one for none."""
    index = pd.MultiIndex.from_tuples(
        [("chr1", 100, 300), ("chr1", 900, 950), ("chr2", 5, 80)],
        names=["chrom", "start", "end"],
    )
    values = {
        "nearest_gene": ["G1", "", "G2"],
        "distance_bp": [12_345, -1, 0],
        "A": [2.0, -1.0, -0.5],
        "B": [-1.0, 0.5, -0.25],
        "C": [np.nan] * 3,
    }
    cells = pd.Series([3, 4, 0], index=list("ABC"), name="cells")
    return PeakImportance(table=pd.DataFrame(values, index=index), cells=cells)


def test_top_peaks_by_hand():
    top = table().top_peaks(2)
    assert list(top)[:2] == ["cell_type", "rank"]
    assert top.values.tolist() == [
        ["A", 1, "chr1", 100, 300, "G1", 12_345, 2.0],
        ["B", 1, "chr1", 900, 950, "", -1, 0.5],
    ]
    lines = table().format_table().splitlines()
    assert lines[2].split() == ["A", "3", "chr1:100-300", "G1", "12", "kb"]
    assert lines[3].split() == ["B", "4", "chr1:900-950"]
    assert lines[4].split() == ["C", "0"]


def test_no_score_is_above_that_of_the_largest():
    """1,000 over a value, times that value, may round up."""
    whole = table()
    for most in np.random.default_rng(0).uniform(0.1, 3, 200).astype(np.float32):
        values = whole.table.assign(A=most * whole.table["A"] / 2)
        found = dataclasses.replace(whole, table=values)._bed()
        assert found["score"].max() == 1000


@pytest.mark.parametrize("name", ["peaks.bed", "peaks.bed.gz"])
def test_lines_of_bed_by_hand(tmp_path, name):
    path = table().to_bed(tmp_path / name)
    text = path.read_bytes()
    text = (gzip.decompress(text) if name.endswith("gz") else text).decode()
    header, *lines = (line.split("\t") for line in text.splitlines())
    assert header[0] == "#chrom"
    assert header[1:] == [*BED[1:], "nearest_gene", "distance_bp", "A", "B", "C"]
    assert lines == [
        ["chr1", "100", "300", "A", "1000", ".", "G1", "12345", "2", "-1", "."],
        ["chr1", "900", "950", "B", "250", ".", ".", "-1", "-1", "0.5", "."],
        ["chr2", "5", "80", ".", "0", ".", "G2", "0", "-0.5", "-0.25", "."],
    ]
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_the_regime_is_that_of_the_cells(store, data):
    """Cells that lack ATAC have no open peak, and count among those of their type."""
    stored = builders.peak_classifier(store, "both", modalities=("rna", "atac"))
    model = CellModel(stored)
    assert model._align(data).regime is Regime.MULTIOME
    whole = model.peak_importance(data).table
    assert len(whole) == opened(model, data).any(0).sum()
