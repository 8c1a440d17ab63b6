"""Files as they come, several at once, to one prepared dataset."""

import gzip
from pathlib import Path

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest

from scmultimodal import datasets
from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.sources import StoreSource
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.singlecell import medians
from scmultimodal.singlecell.recipe import RecipeConfig
from scmultimodal.weights import export
from scmultimodal.workflows import (
    prepare,
    prepare_files,
    prepare_plan,
    pretrain_batches,
    runners,
)
from tests import builders

SEVERAL = {"c.h5mu": "multiome", "a.h5ad": "rna", "b.h5ad": "rna", "d.h5ad": "atac"}
DATASETS = ("c", "a", "b", "d")
GENES = 40
ALL_CELLS = {"min_feature_fraction": 0.0, "target_sum": None}


@pytest.fixture(scope="module")
def data():
    with mudata.set_options(pull_on_update=False):
        data = builders.simulated_cells()
    number = np.arange(300)
    donors = np.array([f"donor{number}" for number in range(6)])
    for adata in data.mod.values():
        adata.obs["donor"] = donors[number * 7 % 40 // 7]
    return data


@pytest.fixture(scope="module")
def files(data, tmp_path_factory):
    return write(data, tmp_path_factory.mktemp("files"))


def write(data, folder):
    """Both: 120 cells. RNA: 80 by ID, genes 0-29; 60 by symbol, 39-10. ATAC: 40."""
    datasets.simulated_genes(data).to_csv(folder / "genes.tsv", sep="\t", index=False)
    with mudata.set_options(pull_on_update=False):
        data[:120].copy().write_h5mu(folder / "c.h5mu")
    rna, atac = data["rna"], data["atac"]
    by_id = rna[120:200, :30].copy()
    by_id.obs["only here"] = np.arange(80)
    by_id.obs["dataset"] = "of the file"
    by_id.write_h5ad(folder / "a.h5ad")
    by_symbol = rna[200:260, 39:9:-1].copy()
    by_symbol.var = pd.DataFrame(index=by_symbol.var["symbol"].to_numpy(str))
    del by_symbol.obs["cell_type"]
    by_symbol.obs["good"] = True
    by_symbol.obs_names = by_id.obs_names[:60]  # the same names, of other cells
    by_symbol.write_h5ad(folder / "b.h5ad")
    atac[260:].copy().write_h5ad(folder / "d.h5ad")
    return folder


def run(files, out, kinds=SEVERAL, *, vocabulary=None, runner=None, **fields):
    sources = prepare_files.Sources(
        files=[(files / name, kind) for name, kind in kinds.items()],
        annotation=files / "genes.tsv",
        vocabulary=vocabulary,
    )
    fields = {"recipe": RecipeConfig(**ALL_CELLS), "medians": "exact"} | fields
    return prepare_files.run(
        sources,
        prepare.PrepareConfig(**fields),
        out,
        runner=runner or runners.Here(),
        command="prepare",
    )


@pytest.fixture(scope="module")
def union(files, tmp_path_factory):
    return run(files, tmp_path_factory.mktemp("union") / "out", genes="union")


def counts_of(store, dataset, modality="rna"):
    cells = np.flatnonzero(store.obs["dataset"] == dataset)
    found = store.rows(modality, cells, "counts").toarray()
    return pd.DataFrame(found, columns=store.vocabulary.gene_ids)


def test_the_genes_that_all_have_in_the_order_of_the_first(files, data, tmp_path):
    store = run(files, tmp_path / "out")
    rna = data["rna"]
    assert store.vocabulary.gene_ids.tolist() == rna.var_names[10:30].tolist()
    of = {"c": slice(0, 120), "a": slice(120, 200), "b": slice(200, 260)}
    for name, cells in of.items():
        expected = rna[cells, 10:30].X.toarray()
        assert counts_of(store, name).to_numpy().tolist() == expected.tolist()
    assert not counts_of(store, "d").to_numpy().any()
    assert store.measured("rna") is None
    report = store.manifest["report"]
    assert report["vocabulary"] == {
        "how": "intersection",
        "genes": 20,
        "genes_of_datasets": {"c": 40, "a": 30, "b": 30},
        "kept_of_datasets": {"c": 20, "a": 20, "b": 20},
        "ids_of_several_symbols": [],
    }
    found = report["datasets"]["b"]["gene_alignment"]
    assert (found["features"], found["resolved"]) == (30, 30)
    assert found["identifiers"] == "ensembl"  # of the annotation, by symbol


def test_cells_are_of_what_was_measured_in_them(union):
    sizes = {"c": 120, "a": 80, "b": 60, "d": 40}
    assert union.dataset_names == DATASETS
    assert union.obs["dataset"].value_counts(sort=False).to_dict() == sizes
    name = np.array(DATASETS)[union.dataset_codes]
    assert (union.present("rna") == (name != "d")).all()
    assert (union.present("atac") == np.isin(name, ["c", "d"])).all()


def test_datasets_take_the_rows_that_their_weights_say(union):
    weights = {"c": 2.0, "a": 1.0, "b": 1.0, "d": 4.0}
    config = builders.small_pretraining(batch_size=16, dataset_weights=weights)
    builder = pretrain_batches.make_builder(union, config)
    batch = pretrain_batches.mixed_batches(union, builder, config)
    # Of RNA are c, a and b; of ATAC c and d; of both c alone.
    for step, rows in enumerate([[8, 4, 4, 0], [5, 0, 0, 11], [16, 0, 0, 0]] * 2):
        cells = batch(step).cell_index
        assert np.bincount(union.dataset_codes[cells], minlength=4).tolist() == rows
        assert (union.obs["split"].to_numpy()[cells] == "train").all()


@pytest.mark.parametrize(
    "weights", [{}, {"c": 1.0, "a": 1.0, "b": 1.0}, dict.fromkeys(DATASETS, 0.0)]
)
def test_weights_of_other_datasets_are_refused(union, weights):
    config = builders.small_pretraining(dataset_weights=weights)
    builder = pretrain_batches.make_builder(union, config)
    with pytest.raises(InputError, match=r"dataset_weights.*'c', 'a', 'b', 'd'"):
        pretrain_batches.mixed_batches(union, builder, config)


def test_names_of_cells_are_unique(union):
    assert union.obs.index.is_unique
    assert union.obs.index[120] == "a:cell_000120"
    assert union.obs.index[200] == "b:cell_000120"


def test_columns_of_some_datasets_alone_are_kept(union):
    obs = union.obs
    mine = (obs["dataset"] == "a").to_numpy()
    assert obs["only here"][mine].tolist() == [*range(80)]
    assert obs["only here"].isna().tolist() == (~mine).tolist()
    assert set(obs["dataset_in_file"][mine]) == {"of the file"}
    assert obs["good"].notna().sum() == 60
    assert set(obs["donor"]) == {f"donor{number}" for number in range(6)}


def test_genes_that_a_dataset_lacks_are_hidden_and_never_zero(union, data):
    ids = data["rna"].var_names
    assert union.vocabulary.gene_ids.tolist() == ids.tolist()
    has = {"c": ids, "a": ids[:30], "b": ids[10:], "d": ids}
    expected = [np.isin(ids, has[name]).tolist() for name in DATASETS]
    assert union.measured("rna").tolist() == expected
    assert union.measured("atac") is None
    builder = BatchBuilder(StoreSource(union), GENES, tokens="all")
    cells = np.array([0, 130, 210, 299, 199, -1])
    for regime in (Regime.RNA, Regime.MULTIOME):
        batch = builder.build(cells, regime)
        shown = [0, 1, 2, 3, 1, 3]  # of d and of none, RNA is absent as a whole
        assert batch.token_mask.tolist() == [expected[name] for name in shown]
        assert batch.rna_present.tolist() == [True, True, True, False, True, False]
    assert builder.build(cells, Regime.ATAC).token_mask is None
    with pytest.raises(InputError, match="take a gene that is absent for silent"):
        BatchBuilder(StoreSource(union), GENES, tokens="static_zeros")


def test_medians_are_those_of_the_cells_that_measured_a_gene(union, data):
    """Zeros do not count, whether true or false; the total is over what there is."""
    training = (union.obs["split"] == "train").to_numpy()[:260]
    assert training[200:].any()
    counts = data["rna"].X.toarray()[:260]
    counts[120:200, 30:] = 0
    counts[200:, :10] = 0
    depth = counts.sum(1, keepdims=True)
    total = union.vocabulary.recipe["totals"]["rna"]
    assert total == np.median(depth[training])
    values = np.log1p(counts * (total / depth))[training]
    expected = [np.median(gene[gene > 0]) for gene in values.T]
    np.testing.assert_allclose(union.vocabulary.rna_medians, expected, rtol=1e-6)


def test_cells_outside_training_touch_neither_medians_nor_totals(
    files, data, union, tmp_path
):
    outside = np.flatnonzero(union.obs["split"] != "train")
    changed = data.copy()
    for adata in changed.mod.values():
        counts = adata.X.tolil()
        counts[outside] = counts[outside] * 7
        adata.X = counts.tocsr()
    again = run(write(changed, tmp_path), tmp_path / "out", genes="union")
    assert again.vocabulary.digest() == union.vocabulary.digest()
    assert (again.obs["split"] == union.obs["split"]).all()
    cells = np.arange(300)
    changes = again.rows("rna", cells, "counts") != union.rows("rna", cells, "counts")
    assert changes.nnz


@pytest.mark.parametrize("cells_per_shard", [29, 70])
def test_shards_may_have_any_size(files, union, tmp_path, cells_per_shard):
    fields = {"genes": "union", "cells_per_shard": cells_per_shard}
    other = run(files, tmp_path / "out", **fields)
    assert len(other.manifest["shards"]) > 4
    small = ["obs.json", "vocabulary.json", "present.rna.npy", "present.atac.npy"]
    for name in [*small, "measured.rna.npy"]:
        assert (other.path / name).read_bytes() == (union.path / name).read_bytes()
    cells = np.arange(union.num_cells)
    for modality in union.modalities:
        for values in ("counts", "bins"):
            found = other.rows(modality, cells, values)
            assert (found != union.rows(modality, cells, values)).nnz == 0
    assert other.manifest["report"] == union.manifest["report"]


def test_the_order_of_files_is_that_of_cells_and_genes(files, union, tmp_path):
    kinds = dict(reversed(SEVERAL.items()))
    other = run(files, tmp_path / "out", kinds, genes="union")
    assert other.dataset_names == DATASETS[::-1]
    assert set(other.vocabulary.gene_ids) == set(union.vocabulary.gene_ids)
    assert other.vocabulary.gene_ids[0] == union.vocabulary.gene_ids[39]  # b's first
    for name in DATASETS[:3]:
        ours, theirs = counts_of(union, name), counts_of(other, name)
        pd.testing.assert_frame_equal(ours, theirs[ours.columns])


def test_a_list_of_genes(files, data, tmp_path):
    ids, symbols = data["rna"].var_names, data["rna"].var["symbol"]
    names = [ids[35] + ".7", symbols.iloc[3], ids[20], symbols.iloc[20], "unknown", ""]
    listed = tmp_path / "genes.txt.gz"
    listed.write_bytes(gzip.compress("\n".join(names).encode()))
    store = run(files, tmp_path / "out", vocabulary=listed)
    assert store.vocabulary.gene_ids.tolist() == ids[[35, 3, 20]].tolist()
    measured = [[True] * 3, [False, True, True], [True, False, True], [True] * 3]
    assert store.measured("rna").tolist() == measured
    expected = data["rna"].X.toarray()[:120, [35, 3, 20]]
    assert counts_of(store, "c").to_numpy().tolist() == expected.tolist()


def test_a_list_for_one_dataset_hides_what_it_lacks(files, data, tmp_path):
    """Its own column "dataset" is another matter."""
    listed = tmp_path / "genes.txt"
    listed.write_text("\n".join(data["rna"].var_names[28:32]))
    store = run(files, tmp_path / "out", {"a.h5ad": "rna"}, vocabulary=listed)
    assert store.measured("rna").tolist() == [[True, True, False, False]]
    assert set(store.obs["dataset"]) == {"of the file"}
    batch = BatchBuilder(StoreSource(store), 4).build(np.arange(9), Regime.RNA)
    assert batch.token_mask.tolist() == [[True, True, False, False]] * 9


def test_a_store_as_vocabulary(files, union, tmp_path):
    store = run(files, tmp_path / "out", {"b.h5ad": "rna"}, vocabulary=union.path)
    assert store.vocabulary.digest() == union.vocabulary.digest()
    cells = np.flatnonzero(union.obs["dataset"] == "b")
    expected = union.rows("rna", cells)
    assert (store.rows("rna", np.arange(60)) != expected).nnz == 0


def test_a_model_as_vocabulary(files, union, tmp_path):
    model = export.StoredModel(
        config=export.ModelConfig(
            encoder=builders.encoder_config(GENES), buckets=(GENES,)
        ),
        vocabulary=union.vocabulary,
        params={"cell_encoder/x": {"w": np.ones((3, 2), np.float32)}},
        network_state={},
        reference={"rna": np.ones((2, GENES), np.uint8)},
    )
    export.save(model, tmp_path / "model")
    kinds = {"b.h5ad": "rna", "d.h5ad": "atac"}
    store = run(files, tmp_path / "out", kinds, vocabulary=tmp_path / "model")
    assert store.vocabulary.digest() == union.vocabulary.digest()
    cells = np.flatnonzero(np.isin(union.dataset_codes, [2, 3]))
    for modality in union.modalities:
        expected = union.rows(modality, cells)
        assert (store.rows(modality, np.arange(100)) != expected).nnz == 0


@pytest.mark.parametrize(
    ("rename", "cause"),
    [
        (str.lower, r"another species \(the symbols differ in upper and lower case\)"),
        (lambda name: f"AC{name}", "another species or assembly, or names that are no"),
        (lambda name: name.replace("GENE", "ENSMUSG000000"), "another species {'data'"),
    ],
)
def test_genes_that_the_annotation_does_not_know(files, data, tmp_path, rename, cause):
    rna = data["rna"][:50].copy()
    symbols = rna.var["symbol"].to_numpy(str)
    known = 19
    names = [s if i < known else rename(s) for i, s in enumerate(symbols)]
    rna.var = pd.DataFrame(index=names)
    for path in (files / "genes.tsv", files / "c.h5mu"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    rna.write_h5ad(tmp_path / "x.h5ad")
    kinds = {"c.h5mu": "multiome", "x.h5ad": "rna"}
    with pytest.raises(InputError, match=f"only 19 of 40 genes.*cause: {cause}"):
        run(tmp_path, tmp_path / "out", kinds)
    assert not (tmp_path / "out").exists()
    assert list(tmp_path.glob(".*")) == []
    kept = run(tmp_path, tmp_path / "out", kinds, min_resolved=0.4)
    assert kept.num_genes == 19


def test_medians_by_histogram_keep_their_bound(files, union, tmp_path):
    exact = run(files, tmp_path / "exact", genes="union", medians="exact")
    rough = run(files, tmp_path / "rough", genes="union", medians="histogram")
    bound = medians.RELATIVE_ERROR
    cells = np.arange(union.num_cells)
    for modality in union.modalities:
        name = f"{modality}_medians"
        of_exact, of_rough = (getattr(s.vocabulary, name) for s in (exact, rough))
        error = np.abs(of_rough / of_exact - 1)
        assert 0 < error.max() <= bound
        ours, theirs = (store.rows(modality, cells).data for store in (exact, rough))
        assert np.abs(ours.astype(int) - theirs).max() <= 1
        assert (ours == theirs).mean() > 0.98


def test_whole_donors_are_split(files, data, tmp_path):
    store = run(files, tmp_path / "out", split_by="donor", label="cell_type")
    obs = store.obs
    left_out = obs["split"] == "left_out"
    assert set(obs["dataset"][left_out]) == {"b"}
    assert store.manifest["report"]["left_out"] == {"unlabelled": 60}
    parts = obs[~left_out].groupby("donor", observed=True)["split"].nunique()
    assert (parts == 1).all()
    sizes = obs["donor"].value_counts()
    assert len(sizes) == 6
    assert set(obs["split"][~left_out]) == {"train", "validation", "test"}


def test_splits_that_the_files_give(files, data, tmp_path):
    given = np.array(["train", "test", "validation", "left_out", "train"])
    for name, kind in (("a.h5ad", "rna"), ("d.h5ad", "atac")):
        file = anndata.read_h5ad(files / name)
        file.obs["part"] = given[np.arange(file.n_obs) % 5]
        file.write_h5ad(tmp_path / name)
        del kind
    (tmp_path / "genes.tsv").write_bytes((files / "genes.tsv").read_bytes())
    kinds = {"a.h5ad": "rna", "d.h5ad": "atac"}
    store = run(tmp_path, tmp_path / "out", kinds, split_by="part", seed=9)
    assert store.obs["split"].tolist() == given[np.arange(120) % 5].tolist()
    assert (store.obs["split"] == store.obs["part"]).all()


def test_labels_of_some_datasets(files, tmp_path):
    store = run(files, tmp_path / "out", label="cell_type", batch="only here")
    of_b = (store.obs["dataset"] == "b").to_numpy()
    assert (store.labels[of_b] == -1).all()
    assert (store.labels[~of_b] >= 0).all()
    assert store.label_names == ("type_0", "type_1", "type_2")
    assert set(store.obs["split"][of_b]) == {"left_out"}
    assert store.obs["batch"].isna().sum() == 220


def test_a_column_that_no_file_has(files, tmp_path):
    with pytest.raises(InputError, match="obs has no column 'clinic'"):
        run(files, tmp_path / "out", split_by="clinic")
    with pytest.raises(InputError, match="cell b:cell_000120 has no group"):
        run(files, tmp_path / "out", split_by="cell_type")


def test_names_of_datasets():
    paths = ["x/a.h5ad", "y/a.h5ad", "a_2.h5mu", "s.1.tsv.gz", "s.2.tsv", "a"]
    found = prepare_plan.name_datasets([Path(path) for path in paths])
    assert found == ["a", "a_2", "a_2_2", "s.1", "s.2", "a_3"]


def test_types_of_a_table_of_their_own(files, data, tmp_path):
    """Of two files at once: the table names the cells of both."""
    types = data["rna"].obs["cell_type"].rename_axis("barcode").astype(str)
    types.to_csv(tmp_path / "types.tsv", sep="\t")
    for name, rows in (("one", slice(0, 90)), ("two", slice(90, 180))):
        rna = data["rna"][rows].copy()
        rna.obs = pd.DataFrame(index=rna.obs_names)
        rna.write_h5ad(tmp_path / f"{name}.h5ad")
    store = prepare_files.run(
        prepare_files.Sources(
            files=[(tmp_path / "one.h5ad", "rna"), (tmp_path / "two.h5ad", "rna")],
            annotation=files / "genes.tsv",
            cells=(tmp_path / "types.tsv",),
        ),
        prepare.PrepareConfig(label="cell_type", recipe=RecipeConfig(**ALL_CELLS)),
        tmp_path / "out",
        runner=runners.Here(),
        command="",
    )
    names = np.array(store.label_names)[store.labels]
    assert names.tolist() == types[:180].tolist()
    named = {file["name"] for file in store.manifest["provenance"]["files"]}
    assert "types.tsv" in named
