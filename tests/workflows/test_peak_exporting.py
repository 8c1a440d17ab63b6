"""Exported models that read peaks: programs and loader say what the model says."""

import dataclasses
import re
import sys

import jax
import numpy as np
import pytest

from scmultimodal.data.peak_tokens import PeakTokenConfig
from scmultimodal.models import CellModel
from scmultimodal.modules.heads import gene_value
from scmultimodal.modules.heads.gene_query import (
    GeneQueryConfig,
    build_gene_query_head,
)
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.singlecell.peaks import peak_intervals
from scmultimodal.weights import evaluate, export
from scmultimodal.weights import folder as folders
from scmultimodal.workflows import exporting, finetune, pretrain, stablehlo, trained
from scmultimodal.workflows.finetune_config import FinetuneConfig
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

SIZE = {"num_cells": 60, "num_genes": 20}
SKIPS = {"skip": True, "root_skip": True}
BOTH = {"modalities": ("rna", "atac"), "head": SKIPS}
MODELS = {
    "peak": {"head": SKIPS, "peaks": {"position": True, "dna_dim": 3}},
    "beside_rna": {**BOTH, "path": {"num_layers": 0}, "peaks": {"pool": "mean"}},
    "both": {**BOTH, "path": {"attention": "exact"}, "atac_path": "both"},
    "crossed": {**BOTH, "atac_path": "both", "peak_joint": "cross_attention"},
    "drawn": {"head": {"skip": True}},
}
TOLD = {
    "five_bins": {"style": "inner_product", "num_bins": 5, "log_odds": -1.5},
    "summed": {"style": "summed", "num_batches": 3, "log_odds": 0.7},
    "concatenated": {"style": "concatenated"},
    "values": {"style": "inner_product", "num_bins": 1, "values": True},
    "values_by_batch": {
        "style": "concatenated",
        "num_bins": 1,
        "num_batches": 2,
        "values": True,
    },
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return builders.peak_store(tmp_path_factory.mktemp("store") / "data", **SIZE)


@pytest.fixture(scope="module")
def exported(store, tmp_path_factory, lightly_compiled):
    """Folder by name of a model, each with its programs."""
    place, made = tmp_path_factory.mktemp("models"), {}
    stored = {n: builders.peak_classifier(store, **of) for n, of in MODELS.items()}
    config = dataclasses.replace(
        stored["drawn"].config, peak_tokens=PeakTokenConfig(most=6)
    )
    stored["drawn"] = dataclasses.replace(stored["drawn"], config=config)
    stored["told"] = pretrain.untrained(store, builders.peak_pretraining())
    stored |= {name: asked(store, **of) for name, of in TOLD.items()}
    both = builders.peak_pretraining(atac_path="both", mask_weight=1.0)
    stored["of_rna"] = finetune.run(
        store,
        pretrain.untrained(store, both),
        FinetuneConfig(epochs=1, hidden=(8,)),
        Regime.RNA,
        place / "of_rna_training",
        from_scratch=True,
    )
    for name, of in stored.items():
        run = place / f"{name}_run"
        trained.save(run, store, of.config, of.params, of.network_state)
        made[name] = exporting.run(run, place / name).folder
    return made


def asked(store, *, values=False, log_odds=0.0, **shape):
    """Drawn at random: what tells genes, or their values, of this shape."""
    both = builders.peak_pretraining(atac_path="both", mask_weight=1.0)
    model = pretrain.untrained(store, both)
    head = GeneQueryConfig(query_dim=3, gene_dim=5, hidden=6, **shape)
    build = gene_value.build_gene_value_head if values else build_gene_query_head
    cells, one = np.zeros((2, model.config.encoder.path.dim)), np.zeros((2, 1), int)
    opened = (one[:, 0],) if values else ()
    fresh = build(head, store.num_genes).init(
        jax.random.key(0), cells, *opened, one, one[:, 0]
    )
    draw = np.random.default_rng(0).normal
    fresh = jax.tree.map(lambda x: draw(size=x.shape).astype(np.float32), fresh)
    told = export.GenesTold(head=head, log_odds=log_odds)
    config = dataclasses.replace(
        model.config,
        genes_told=None if values else told,
        values_told=export.ValuesTold(head=head, depth=1e4) if values else None,
    )
    trunk = {n: of for n, of in model.params.items() if "gene_query" not in n}
    return dataclasses.replace(model, config=config, params=trunk | fresh)


@pytest.fixture(scope="module")
def data():
    """Other cells, their peaks moved and in another order."""
    cells = builders.simulated_cells(num_cells=9, num_genes=20, seed=1)
    atac = cells["atac"]
    for column in ("start", "end"):
        atac.var[column] += 120
    places = peak_intervals(atac)
    atac.var_names = [f"{c}:{s}-{e}" for c, s, e in places.itertuples(index=False)]
    order = np.random.default_rng(0).permutation(atac.n_vars)
    cells.mod["atac"] = atac[:, order].copy()
    return cells


def given(loader, data):
    """What the loader makes of counts, by the names of its arguments."""
    rna, atac = data["rna"], data["atac"]
    found = {"rna": loader.align(rna.X, rna.var_names)}
    if loader.by_gene == ["rna", "atac"]:
        found["atac"] = loader.align_peaks(atac.X, atac.var_names, "fragments")
    found["peaks"] = loader.open_peaks(atac.X, atac.var_names)
    return {m: v for m, v in found.items() if m in (*loader.by_gene, "peaks")}


def cells_of(model, data):
    return data if "rna" in model.modalities else data["atac"].copy()


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=0, atol=3e-5)


@pytest.mark.parametrize("name", [*MODELS, "told", *TOLD])
def test_a_folder_is_whole(exported, name):
    said = exporting.check(exported[name])
    programs = {"embed", "annotate" if name in MODELS else "express"}
    assert set(said) == {*(f"{p}.jax_export" for p in programs), "evaluate.py"}
    assert max(of.difference for of in said.values()) < 1e-4
    assert CellModel.load(exported[name]).self_check() < 1e-5


def test_what_learned_of_rna_alone_reads_no_peaks(exported):
    """Its trunk had a path of peaks, which no cell without ATAC has taken."""
    said = exporting.check(exported["of_rna"])
    assert max(of.difference for of in said.values()) < 1e-4
    model = CellModel.load(exported["of_rna"])
    assert model.modalities == ("rna",)
    assert not (exported["of_rna"] / "peaks.json").exists()


@pytest.mark.parametrize("name", [*MODELS, "told"])
def test_programs_say_of_new_cells_what_the_model_says(exported, data, name):
    model, loader = CellModel.load(exported[name]), evaluate.Model(exported[name])
    tensors = folders.read_tensors(exported[name] / folders.TENSORS)
    batch, cells = loader.batch(**given(loader, data)), cells_of(model, data)

    def told(program):
        content = (exported[name] / f"{program}{stablehlo.SUFFIX}").read_bytes()
        return stablehlo.run(content, tensors, batch)

    expected = model.embed(cells, counts="fragments")
    assert np.ptp(expected, axis=0).max() > 1e-3
    close(told("embed"), expected)
    if name == "told":
        close(told("express"), model.impute(cells, "rna", counts="fragments").X)
        return
    found = model.annotate(cells.copy(), counts="fragments")
    codes = found["scmm_cell_type"].cat.codes
    assert told("annotate").argmax(1).tolist() == codes.tolist()


@pytest.mark.parametrize("name", ["told", *TOLD])
def test_the_loader_tells_genes_as_the_model_does(exported, data, name):
    model, loader = CellModel.load(exported[name]), evaluate.Model(exported[name])
    cells = cells_of(model, data)
    expected = np.asarray(model.impute(cells, "rna", counts="fragments").X)
    assert np.ptp(expected, axis=0).max() > 0.02
    told = loader.express(given(loader, data)["peaks"])
    np.testing.assert_allclose(told, expected, rtol=1e-5, atol=1e-5)
    reference = folders.read_tensors(exported[name] / folders.REFERENCE)
    assert reference["expression"].shape == (4, len(loader.genes))


def test_what_is_told_of_genes_is_proven(exported, tmp_path):
    """A head that says something else is noticed, by each of the checks."""
    stored = export.load(exported["summed"])
    moved = stored.reference["expression"] + np.float32(0.1)
    wrong = dataclasses.replace(
        stored, reference={**stored.reference, "expression": moved}
    )
    export.save(wrong, tmp_path / "wrong")
    with pytest.raises(ValueError, match=r"differs by 0\.1 from the reference"):
        evaluate.Model(tmp_path / "wrong").check()
    with pytest.raises(InputError, match=r"reference outputs differ by 0\.1 on"):
        CellModel.load(tmp_path / "wrong").self_check()
    older = {n: v for n, v in stored.reference.items() if n != "expression"}
    export.save(dataclasses.replace(stored, reference=older), tmp_path / "older")
    assert evaluate.Model(tmp_path / "older").check() < 1e-4
    assert CellModel.load(tmp_path / "older").self_check() < 1e-4
    run = exporting.run(tmp_path / "older", tmp_path / "again").folder
    assert exporting.check(run)["express.jax_export"].difference < 1e-4


def test_a_model_that_tells_no_genes_says_so(exported):
    with pytest.raises(ValueError, match="this model tells no genes"):
        evaluate.Model(exported["peak"]).express([np.zeros(0, int)])


@pytest.mark.parametrize("name", MODELS)
def test_the_loader_says_of_new_cells_what_the_model_says(exported, data, name):
    model, loader = CellModel.load(exported[name]), evaluate.Model(exported[name])
    counts, cells = given(loader, data), cells_of(model, data)
    close(loader.embed(**counts), model.embed(cells, counts="fragments"))
    found = model.annotate(cells.copy(), counts="fragments")
    logits = loader.logits(**counts).astype(np.float64)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares = shares.max(1) / shares.sum(1)
    np.testing.assert_allclose(shares, found["scmm_confidence"], rtol=0, atol=1e-3)
    if name == "drawn":
        assert max(map(len, counts["peaks"])) == 6 < (data["atac"].X > 0).sum(1).max()
    if "rna" not in counts:
        return
    rna = model.embed(data["rna"].copy())
    close(loader.embed(rna=counts["rna"]), rna)
    tensors = folders.read_tensors(exported[name] / folders.TENSORS)
    program = (exported[name] / "embed.jax_export").read_bytes()
    close(stablehlo.run(program, tensors, loader.batch(rna=counts["rna"])), rna)


def test_peaks_are_those_that_they_share_most_with(exported):
    """Of two that share as much the first; in whichever style of chromosomes."""
    loader = evaluate.Model(exported["peak"])
    loader.peaks = {
        "chroms": ["chr1", "chr2"],
        "chrom": np.array([0, 0, 0, 1]),
        "starts": np.array([100, 200, 260, 100]),
        "ends": np.array([200, 300, 400, 900]),
    }
    names = ["1:150-260", "chr1:290-310", "chr2:0-101", "chr1:400-500", "chr1:150-250"]
    counts = np.array([[1, 0, 0, 0, 0], [0, 2, 3, 1, 0], [0, 0, 0, 4, 1]])
    found = loader.open_peaks(counts, names)
    assert [peaks.tolist() for peaks in found] == [[1], [2, 3], [0]]
    with pytest.warns(UserWarning, match="only 1 of 3 peaks overlap one"):
        loader.open_peaks(counts[:, :3], ["chr1:1-150", "chr1:500-600", "chr3:1-9"])
    with pytest.raises(ValueError, match="no peak overlaps one of the model"):
        loader.open_peaks(counts[:, :1], ["chr1:500-600"])
    with pytest.raises(ValueError, match=r"value 0.5 of '1:150-260'"):
        loader.open_peaks(counts / 2, names)


def test_what_does_not_fit_is_refused(exported, data):
    alone, both = (evaluate.Model(exported[n]) for n in ("peak", "both"))
    counts = given(both, data)
    with pytest.raises(ValueError, match="reads open peaks: give open_peaks"):
        alone.embed(atac=counts["atac"])
    with pytest.raises(ValueError, match=r"9 of rna and 5 of peaks: give the same"):
        both.embed(rna=counts["rna"], peaks=counts["peaks"][:5])
    by_gene = evaluate.Model(exported["both"])
    by_gene.peaks = None
    with pytest.raises(ValueError, match="this model reads no peaks"):
        by_gene.open_peaks(data["atac"].X, data["atac"].var_names)


@pytest.mark.parametrize(
    "peaks", [[np.array([-1])], [np.array([10**9])], [np.array([0.5])], [np.int64(3)]]
)
def test_what_is_no_peak_of_the_model_is_refused(exported, peaks):
    loader = evaluate.Model(exported["peak"])
    for ask in (loader.embed, loader.logits):
        with pytest.raises(ValueError, match="peaks of cell 0 are no places 0 to"):
            ask(peaks=peaks)


def test_the_code_of_a_card_tells_genes(exported, store, data, monkeypatch):
    """By jax and by numpy, as it stands there, in the folder."""
    monkeypatch.chdir(exported["told"])
    monkeypatch.syspath_prepend(str(exported["told"]))
    card = (exported["told"] / "README.md").read_text()
    _, by_jax, by_numpy = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    atac, found = data["atac"], []
    for code in (by_jax, by_numpy):
        monkeypatch.delitem(sys.modules, "evaluate", raising=False)
        names = {"matrix": atac.X, "peak_names": atac.var_names}
        exec(code, names)
        found.append(np.asarray(names["told"]))
    assert found[0].shape == (atac.n_obs, store.num_genes)
    np.testing.assert_allclose(*found, atol=1e-4)
    monkeypatch.delitem(sys.modules, "evaluate", raising=False)


def test_the_card_says_which_peaks(exported, store):
    number = f"{store.peaks.num_peaks:,} in peaks.json, 8,192 of a cell at most |"
    alone, both, told = (
        (exported[n] / "README.md").read_text() for n in ("peak", "both", "told")
    )
    assert f"| tokens of a cell | open peaks, of {number}" in alone
    assert f"| tokens of a cell | nonzero genes, open peaks, of {number}" in both
    assert "vectors = model.embed(peaks=counts)" in alone
    assert "express" not in alone
    assert "model.open_peaks(matrix, peak_names)" in alone
    assert "It reads peaks of one assembly" in alone
    assert "| tells genes from open peaks | no |" in alone
    assert "| tells genes from open peaks | probability of expression |" in told
