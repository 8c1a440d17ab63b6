"""The page of `report --open`: what a run's folder holds comes to stand in it."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from scmultimodal.data import remote
from scmultimodal.data.region_store import write_region_store
from scmultimodal.data.store import Store
from scmultimodal.evaluation import projection
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.weights import export
from scmultimodal.workflows import (
    inspection,
    judge,
    view,
    view_cells,
    view_loci,
)
from tests import builders, view_pages
from tests.workflows import run_folders


@pytest.fixture(autouse=True)
def no_umap(monkeypatch):
    """It compiles itself for most of a minute."""
    monkeypatch.setattr(projection.importlib.util, "find_spec", lambda name: None)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return builders.simulated_store(tmp_path_factory.mktemp("store") / "data")


@pytest.fixture(scope="module")
def model(store):
    head = CellTypeHeadConfig(num_classes=len(store.label_names), hidden=(4,))
    return builders.random_cell_model(store, head=head, decodes=False)


@pytest.fixture(scope="module")
def run(store, model, tmp_path_factory):
    """A run of cell types with its data, its model, and a model before it."""
    folder = run_folders.cell_types(tmp_path_factory.mktemp("runs") / "run")
    shutil.copytree(store.path, folder / "data")
    export.save(model, folder / "model")
    export.save(model, folder / "finetune" / "rna" / "model")
    before = builders.random_cell_model(store, decodes=False)
    export.save(before, folder / "pretrain" / "model")
    return folder


@pytest.fixture
def written(run):
    return view_pages.Written(view.run([run]))


def test_cells_are_those_of_the_store(run, written, store, model):
    cells = written.facts["cells"]
    assert written.array(cells["ids"]) == list(store.obs.index)
    everyone = np.arange(store.num_cells)
    names = [layout["name"] for layout in cells["layouts"]]
    assert names == ["fine-tuned vectors", "pre-trained vectors"]
    vectors = judge.embed(store, model, Regime.MULTIOME, everyone)
    assert cells["layouts"][0]["how"].startswith("PCA")
    places = projection.pca(vectors)
    assert np.array_equal(written.array(cells["layouts"][0]["x"]), places[:, 0])
    labels = written.field("type")
    assert labels["classes"] == list(store.label_names)
    assert np.array_equal(written.array(labels["codes"]), store.labels + 1)
    split = written.field("split")
    told = [split["classes"][code - 1] for code in written.array(split["codes"])]
    assert told == store.obs["split"].astype(str).tolist()
    logits = judge.predict(store, model, Regime.RNA, everyone)
    called = written.array(written.field("predicted type, rna")["codes"])
    assert np.array_equal(called, logits.argmax(1) + 1)
    right = written.array(written.field("right or wrong, rna")["codes"])
    assert np.array_equal(right == 1, logits.argmax(1) == store.labels)
    assert written.array(written.field("modality")["codes"]).tolist() == [3] * len(
        right
    )


def test_genes_have_the_values_of_the_store(written, store):
    genes = written.facts["cells"]["genes"]
    assert len(genes) == len({gene["id"] for gene in genes}) > 3
    assert {gene["of"] for gene in genes} == set(store.label_names)
    everyone = np.arange(store.num_cells)
    for modality in store.modalities:
        counts = store.rows(modality, everyone, "counts")
        expected = inspection.log_values(store, modality, counts).toarray()
        for gene in genes[:5]:
            column = store.vocabulary.gene_ids.tolist().index(gene["id"])
            level = gene["levels"][modality]
            assert level["top"] == pytest.approx(expected[:, column].max())
            found = written.array(level["bytes"]) / 255 * level["top"]
            assert found == pytest.approx(expected[:, column], abs=level["top"] / 255)


def test_the_same_run_gives_the_same_page(run, tmp_path):
    texts = [view.run([run], tmp_path / name).read_bytes() for name in "ab"]
    assert texts[0] == texts[1]


def test_markers_are_chosen_by_training_cells_alone(run, store, monkeypatch):
    """Whatever the other cells are said to be."""
    before = view_cells.of_run(run, {})
    obs = store.obs.copy()
    others = obs["split"] != "train"
    obs.loc[others, "label"] = obs.loc[others, "label"].to_numpy()[::-1]
    relabelled = dataclasses.replace(Store.open(run / "data"), obs=obs)
    monkeypatch.setattr(Store, "open", lambda path: relabelled)
    after = view_cells.of_run(run, {})
    assert not np.array_equal(before.fields[0].codes, after.fields[0].codes)
    assert [g.gene_id for g in before.genes] == [g.gene_id for g in after.genes]


def test_many_cells_are_sampled_and_it_says_so(run, monkeypatch):
    monkeypatch.setattr(view_cells, "MOST_CELLS", 50)
    cells = view_cells.of_run(run, {})
    assert len(cells.cell_ids) == 50
    assert cells.note == "250 more in the data"


def test_without_data_the_rest_is_shown(tmp_path, capsys):
    folder = run_folders.cell_types(tmp_path / "run")
    written = view_pages.Written(view.run([folder]))
    assert written.facts["cells"] is None
    said = "run/data: the prepared data of the run are not there"
    assert said in written.text
    assert said in capsys.readouterr().out
    assert written.text.count("logistic_regression") >= 2
    (before, after) = written.facts["curves"]
    assert before["name"] == "Pre-training"
    assert after["trainings"][0]["name"] == "fine-tuning, rna"
    (validation,) = (
        series["values"]
        for series in after["trainings"][0]["series"]
        if (series["metric"], series["split"]) == ("accuracy", "validation")
    )
    assert validation == [0.2, 0.5, 0.4]


@pytest.mark.parametrize(
    ("form", "given"),
    [
        ("{}", lambda address: {"data": "three", "address": address}),
        ("file://{}", lambda address: {"data": "three", "address": address}),
        ("file://{}", lambda address: {"data": {"dataset": address}}),
    ],
)
def test_cells_that_a_run_was_given_are_found_by_their_address(
    store, model, tmp_path, monkeypatch, form, given
):
    monkeypatch.setenv(remote.CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(view_cells, "MOST_CELLS", 50)
    folder = run_folders.pretraining(tmp_path / "run")
    export.save(model, folder / "model")
    config = json.loads((folder / "config.json").read_text())
    text = json.dumps(config | given(form.format(store.path)))
    (folder / "config.json").write_text(text)
    cells = view_pages.Written(view.run([folder])).facts["cells"]
    assert cells["count"] == 50
    assert (tmp_path / "cache").exists() == form.startswith("file://")


def test_confusions_are_kept_with_what_was_judged(tmp_path):
    folder = run_folders.cell_types(tmp_path / "run")
    (part, *_) = view_pages.Written(view.run([folder])).facts["confusions"]
    assert part["name"] == "rna"
    ours, _, baseline = part["models"]
    assert [ours["is_baseline"], baseline["is_baseline"]] == [False, True]
    place = [part["classes"].index(name) for name in run_folders.TYPES]
    counts = np.array(ours["counts"])[np.ix_(place, place)]
    assert counts.tolist() == [[20, 0, 0], [0, 10, 10], [20, 0, 0]]


def test_several_runs_share_a_page(tmp_path):
    runs = [run_folders.cell_types(tmp_path / name) for name in "ab"]
    facts = view_pages.Written(view.run(runs, tmp_path / "out")).facts
    names = [model["name"] for model in facts["confusions"][0]["models"]]
    assert names[0] == "a: scmultimodal"
    assert names[3] == "b: scmultimodal"
    assert [t["name"] for t in facts["curves"][1]["trainings"]] == [
        "a, fine-tuning, rna",
        "b, fine-tuning, rna",
    ]


@pytest.fixture
def scored(monkeypatch):
    """The model of a ranking run scores a region by its negative value."""
    stub = SimpleNamespace(config=SimpleNamespace(turning=None))
    monkeypatch.setattr(view_loci.genome_model, "load", lambda path: stub)
    monkeypatch.setattr(
        view_loci.ranking,
        "scores",
        lambda model, builder, rows: -builder.store.values[rows],
    )


def test_a_ranking_run_shows_values_and_scores(tmp_path, scored):
    folder = run_folders.ranking(tmp_path / "run")
    store = builders.region_store(
        folder / "data" / "wide",
        [["ACGTAC", "GGGTAC", "TTTTAC"]] * 2,
        np.arange(6).reshape(2, 3),
        num_tokens=3,
        split=2,
    )
    written = view_pages.Written(view.run([folder]))
    locus = written.facts["loci"][1]
    measured, score = locus["tracks"]
    assert (measured["low"], measured["high"], score["low"]) == (0, 5, -5)
    values = written.array(measured["values"])
    for region, (start, end) in enumerate(store.intervals[1] - locus["start"]):
        assert set(values[start:end]) == {round(250 * store.values[1, region] / 5)}


@pytest.mark.parametrize("most", [150_000, 100])
def test_of_a_whole_chromosome_the_fullest_stretch_is_shown(
    tmp_path, scored, monkeypatch, most
):
    monkeypatch.setattr(view_loci, "RANKED_BASES", most)
    (chunk,) = builders.region_chunks(4)
    far = np.array([9_000_000, 1_000, 2_000_000, 2_000_050])
    lie = chunk.spans.intervals - chunk.spans.intervals.min(axis=(1, 2), keepdims=True)
    none = np.zeros(4, np.int16)
    spans = dataclasses.replace(
        chunk.spans,
        intervals=lie + far[:, None, None],
        chrom_index=none,
        sample_index=none,
        group=none.astype(np.int32),
        split=np.full(4, 2, np.uint8),
    )
    store = write_region_store(
        tmp_path / "data" / "wide",
        [dataclasses.replace(chunk, spans=spans)],
        num_tokens=9,
        chromosomes=["chr1"],
        samples=["T"],
        config={"spans": {"version": "v1"}, "vocabulary": "v2"},
        provenance={},
    )
    (locus,) = view_loci.of_ranking(tmp_path, {})
    whole = int(store.intervals[2:].max())
    assert (locus.start, locus.end) == (2_000_000, min(whole, 2_000_000 + most))
    measured, score = locus.tracks
    assert len(measured.values) == len(score.values) == locus.end - locus.start
    first, last = store.intervals[2, 0] - locus.start
    alone = measured.values[first : min(50, last)]
    assert set(alone.tolist()) == {store.values[2, 0]}
    assert measured.ends == (store.values.min(), store.values.max())


def test_a_long_stretch_is_cut():
    places = [("chr1", 0, 10), ("chr1", 20, 90), ("chr2", 0, 5)]
    assert list(view_loci.first_places(places, 30)) == [
        ("chr1", 0, 10),
        ("chr1", 20, 40),
    ]


def test_without_a_screen_no_browser_is_started(monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr(
        view.webbrowser, "open", lambda uri: started.append(uri) or True
    )
    monkeypatch.setattr(view.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert not view.open_in_browser(tmp_path / "view.html")
    monkeypatch.setenv("DISPLAY", ":0")
    assert view.open_in_browser(tmp_path / "view.html")
    assert started == [(tmp_path / "view.html").as_uri()]


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="is missing"):
        view.run([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is no run folder"):
        view.run([tmp_path / "empty"])
    assert not list((tmp_path / "empty").iterdir())


def test_damaged_segments_are_named(tmp_path):
    (tmp_path / "segments.json").write_text("{")
    with pytest.raises(InputError, match=r"segments\.json: is damaged"):
        view.run([tmp_path])
