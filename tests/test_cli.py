"""The command line: what it prints, what it writes, and what it refuses."""

import dataclasses
import gzip
import json

import numpy as np
import pytest
import scipy.sparse as sp

from scmultimodal import cli, datasets
from scmultimodal.data.region_store import RegionStore
from scmultimodal.evaluation import projection
from scmultimodal.models import CellModel, GenomeModel
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.readers import join_modalities
from scmultimodal.weights import export
from scmultimodal.workflows import cell_types, presets
from scmultimodal.workflows.finetune import FinetuneConfig
from tests import builders
from tests.weights import crafted_pickles, published_folders

SCORES = ["accuracy", "mcc", "macro_f1", "weighted_f1"]


def cells():
    """Cells as a file holds them, with labels that serve and one that does not."""
    data = builders.simulated_cells()
    data.obs["constant"] = "same"
    return data


def write_genes(data, path, *, gtf=False):
    """The annotation of simulated data as BED6, or as GTF."""
    lines = []
    for gene in datasets.simulated_genes(data).itertuples():
        place = f"{gene.start}\t{gene.end}"
        if gtf:
            names = f'gene_id "{gene.gene_id}.2"; gene_name "{gene.symbol}";'
            place = f"{gene.start + 1}\t{gene.end}\t.\t{gene.strand}\t.\t{names}"
            lines.append(f"{gene.chrom}\tmade\tgene\t{place}")
        else:
            lines.append(f"{gene.chrom}\t{place}\t{gene.symbol}\t0\t{gene.strand}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with my.h5mu, genes.bed and genes.gtf."""
    folder = tmp_path_factory.mktemp("inputs")
    data = cells()
    data.write_h5mu(folder / "my.h5mu")
    write_genes(data, folder / "genes.bed")
    write_genes(data, folder / "genes.gtf", gtf=True)
    return folder


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """The small preset, smaller; UMAP has tests of its own and is slow to compile."""
    small = dataclasses.replace(
        presets.SMALL,
        pretrain=builders.small_pretraining(steps=3, batch_size=32, tokens="nonzero"),
        finetune=FinetuneConfig(epochs=1, batch_size=64, hidden=(16,)),
    )
    monkeypatch.setitem(presets.PRESETS, "small", small)
    monkeypatch.setattr(projection, "umap", lambda vectors: vectors[:, :2])


def arguments(folder, out, **options):
    """A `finetune` command on the files of a folder, with other options in place."""
    options = {
        "data": folder / "my.h5mu",
        "label": "cell_type",
        "genes": folder / "genes.bed",
        "out": out,
    } | options
    named = [(f"--{name}", str(value)) for name, value in options.items()]
    return ["finetune", *(word for pair in named for word in pair)]


def refused(capsys, out, command):
    """The one line that a command which fails leaves behind."""
    assert cli.main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("scmultimodal: ")
    assert not out.exists()
    return line


# Bad data: (what is done to the cells, words of the message).


def value(number):
    def change(data):
        counts = data["rna"].X.astype(np.float64).tolil()
        counts[3, 2] = number
        data["rna"].X = counts.tocsr()

    return change


def empty_atac(data):
    data["atac"].X = sp.csr_matrix(data["atac"].shape, dtype=np.int32)


def mixed_chromosomes(data):
    atac = data["atac"]
    bare = [n.removeprefix("chr") if i < 3 else n for i, n in enumerate(atac.var_names)]
    atac.var = atac.var[[]].set_axis(bare)


def other_genes(data):
    data["rna"].var = data["rna"].var[[]].set_axis([f"X{i}" for i in range(40)])


def twice(kind):
    def change(data):
        names = getattr(data["rna"], f"{kind}_names").tolist()
        setattr(data["rna"], f"{kind}_names", [names[1], *names[1:]])

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            value(-1),
            ["[rna]", "value -1", "G00000000002", "cell_000003", "whole numbers"],
        ),
        (value(0.5), ["[rna]", "value 0.5", "is not a count", "Raw counts"]),
        (value(np.nan), ["[rna]", "value nan", "is not a count", "Raw counts"]),
        (value(np.inf), ["[rna]", "value inf", "is not a count", "Raw counts"]),
        (twice("var"), ["[rna]", "occurs 2 times", "unique"]),
        (twice("obs"), ["cell_000001", "occurs 2 times", "unique"]),
        (mixed_chromosomes, ["[peaks]", "chr", "'1'"]),
        (other_genes, ["[rna]", "only 0 of 40 genes", "X0", "Give the annotation"]),
        (empty_atac, ["[atac]", "holds no counts", "layer"]),
    ],
    ids=lambda x: getattr(x, "__name__", " "),
)
@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_bad_counts(inputs, tmp_path, capsys, change, words):
    data = builders.simulated_cells()
    parts = {key: adata.copy() for key, adata in data.mod.items()}
    change(parts)
    bad = tmp_path / "bad.h5mu"
    join_modalities(parts).write_h5mu(bad)
    out = tmp_path / "out"
    line = refused(capsys, out, arguments(inputs, out, data=bad))
    for word in ["bad.h5mu", *words]:
        assert word in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"label": "cel_type"}, ["my.h5mu", "no column 'cel_type'", "cell_type"]),
        ({"label": "constant"}, ["my.h5mu", "has 1 class (same)", "--label"]),
        ({"batch": "lane"}, ["my.h5mu", "no column 'lane'", "batch"]),
        ({"layer": "raw"}, ["my.h5mu", "no layer 'raw'"]),
        ({"data": "none.h5mu"}, ["none.h5mu", "does not exist", "Check the path"]),
        ({"data": "my.rds"}, ["my.rds", "is a .rds file", "Give .h5mu or .h5ad"]),
        ({"genes": "none.bed"}, ["none.bed", "cannot be read", "Check the file"]),
        ({"model": "none"}, ["none", "is no model", "run folder"]),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else " ",
)
def test_bad_options(inputs, tmp_path, capsys, options, words):
    out = tmp_path / "out"
    line = refused(capsys, out, arguments(inputs, out, **options))
    for word in words:
        assert word in line


def test_a_file_that_was_cut_short(inputs, tmp_path, capsys):
    cut, whole = tmp_path / "cut.h5mu", (inputs / "my.h5mu").read_bytes()
    out = tmp_path / "out"
    for share in (0.1, 0.5, 0.99):
        cut.write_bytes(whole[: int(share * len(whole))])
        line = refused(capsys, out, arguments(inputs, out, data=cut))
        assert "cut.h5mu" in line
        assert "Copy the file again" in line


@pytest.mark.parametrize("modality", ["atac", "multiome"])
def test_a_modality_that_the_file_lacks(inputs, tmp_path, capsys, modality):
    alone = tmp_path / "rna.h5ad"
    builders.simulated_cells()["rna"].write_h5ad(alone)
    out = tmp_path / "out"
    command = arguments(inputs, out, data=alone, modality=modality)
    line = refused(capsys, out, command)
    assert f"rna.h5ad: {modality} was asked for" in line
    assert "choose --modality rna." in line


def test_debug_shows_where_an_error_comes_from(inputs, tmp_path):
    out = tmp_path / "out"
    command = [*arguments(inputs, out, label="cel_type"), "--debug"]
    with pytest.raises(InputError, match="no column 'cel_type'"):
        cli.main(command)
    assert not out.exists()


# The whole way.


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    """The folder that a run of all modalities left, made by `ran`."""
    return tmp_path_factory.mktemp("runs") / "mine"


def test_finetune_end_to_end(inputs, finished, capsys):
    assert cli.main(arguments(inputs, finished, batch="batch", seed=3)) == 0
    printed = capsys.readouterr().out
    summary = json.loads((finished / "summary.json").read_text())
    required = {"dataset", "seed", "split", "left_out", "results"}
    assert set(summary) - required == {"simulated", "validation"}
    assert (summary["dataset"], summary["seed"]) == ("my.h5mu", 3)
    assert list(summary["split"]) == ["train", "validation", "test"]
    assert sum(summary["split"].values()) == 300
    assert summary["left_out"] == {}
    assert summary["simulated"] is False
    for row in summary["results"]:
        assert list(row) == ["model", "modality", *SCORES]
        assert all(-1 <= row[score] <= 1 for score in SCORES)
    judged = {(row["model"], row["modality"]) for row in summary["results"]}
    for modality in ("rna", "atac", "multiome"):
        assert ("scmultimodal", modality) in judged
        assert ("logistic_regression", modality) in judged
        assert ("scmultimodal_from_scratch", modality) in judged
        assert f"\nfine-tune {modality}" in printed
    assert "300 cells x 40 genes, 3 types; 210 / 30 / 60" in printed
    assert "in 0-10 / 10-20 / 20-50 kb" in printed
    assert "genes without a peak" in printed
    table = printed[printed.index("Test cells of my.h5mu") :]
    assert table.index("scmultimodal") < table.index("logistic_regression")
    assert "SIMULATED" not in printed

    page = (finished / "report" / "index.html").read_text()
    pictures = {path.name for path in (finished / "report").glob("*.png")}
    assert {"results.png", "bins.png", "bands.png", "umap_fine_tuned.png"} <= pictures
    assert {"umap_pre_trained_batch.png", "curves_pretraining.png"} <= pictures
    assert {f"confusion_{m}_scmultimodal.png" for m in ("rna", "atac")} <= pictures
    assert "logistic_regression" in page
    vectors = CellModel.load(finished).embed(builders.simulated_cells())
    assert vectors.shape == (300, 32)
    assert np.isfinite(vectors).all()


def test_a_folder_of_another_run_is_refused_and_stays(inputs, finished, capsys):
    if not (finished / "summary.json").exists():
        cli.main([*arguments(inputs, finished, seed=3), "--no-from-scratch"])
        capsys.readouterr()
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}
    assert cli.main(arguments(inputs, finished, seed=4)) == 2
    message = capsys.readouterr().err
    assert "config.json" in message
    assert "seed = 3, not 4" in message
    after = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}
    assert after == before


def test_the_trunk_of_a_given_model_can_be_frozen(inputs, finished, tmp_path, capsys):
    if not (finished / "summary.json").exists():
        cli.main([*arguments(inputs, finished, seed=3), "--no-from-scratch"])
        capsys.readouterr()
    out, gtf = tmp_path / "frozen", inputs / "genes.gtf"
    command = arguments(inputs, out, genes=gtf, model=finished, modality="rna")
    assert cli.main([*command, "--frozen", "--no-from-scratch"]) == 0
    given, tuned = export.load(finished), export.load(out)
    assert tuned.vocabulary.digest() == given.vocabulary.digest()
    trunk = [m for m in tuned.params if m.startswith("cell_encoder/rna")]
    assert len(trunk) > 2
    for module in trunk:
        for name, array in tuned.params[module].items():
            np.testing.assert_array_equal(array, given.params[module][name])
    for module, leaves in tuned.network_state.items():
        for name, array in leaves.items():
            np.testing.assert_array_equal(array, given.network_state[module][name])
    rows = json.loads((out / "summary.json").read_text())["results"]
    assert {row["modality"] for row in rows} == {"rna"}
    assert "scmultimodal_from_scratch" not in {row["model"] for row in rows}
    assert not (out / "pretrain").exists()
    assert "pre-train" not in capsys.readouterr().out


def simulate_few(monkeypatch, num_cells):
    """The demo's generator, at a size for tests."""
    simulate = datasets.simulate_multiome

    def few(**settings):
        sizes = {"num_cells": num_cells, "num_genes": 40, "num_cell_types": 3}
        return simulate(**settings | sizes)

    monkeypatch.setattr(datasets, "simulate_multiome", few)


def test_demo_without_network_says_loudly_that_its_cells_are_simulated(
    tmp_path, monkeypatch, capsys
):
    def unavailable():
        raise datasets.DataUnavailableError("example.org", "no route", "Use a cable")

    monkeypatch.setattr(datasets, "mouse_cortex", unavailable)
    simulate_few(monkeypatch, 120)
    assert cli.main(["demo", "--quick", "--out", str(tmp_path / "demo")]) == 0
    printed = capsys.readouterr()
    assert "*** example.org: no route. Use a cable." in printed.err
    assert "SIMULATED cells are used instead" in printed.err
    assert "Test cells of simulated_multiome (SIMULATED)" in printed.out
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert summary["simulated"] is True
    page = (tmp_path / "demo" / "report" / "index.html").read_text()
    assert "Simulated data" in page


def test_quick_demo_takes_a_sorted_draw_of_the_cells(tmp_path, monkeypatch):
    seen = []

    def record(data, *rest, **options):
        seen.append(data.obs_names.tolist())
        raise InterruptedError

    monkeypatch.setattr(cell_types, "run", record)
    monkeypatch.setattr(cli, "QUICK_CELLS", 50)
    simulate_few(monkeypatch, 120)
    command = ["demo", "--quick", "--simulated", "--out", str(tmp_path / "demo")]
    for seed in (0, 0, 1):
        with pytest.raises(InterruptedError):
            cli.main([*command, "--seed", str(seed)])
    assert [len(set(names)) for names in seen] == [50, 50, 50]
    assert seen[0] == sorted(seen[0]) == seen[1] != seen[2]


def test_stopped_by_hand(inputs, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cell_types, "run", interrupted)
    assert cli.main(arguments(inputs, tmp_path / "out")) == 130
    assert capsys.readouterr().err == "scmultimodal: stopped\n"


@pytest.mark.parametrize("command", ["demo", "finetune", "prepare-ranking", "convert"])
def test_help_shows_examples(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert f"Examples:\n    scmultimodal {command}" in printed


# Spans to be ranked.

GENOME = {"chr1": 30_000, "chr20": 15_000, "chr22": 15_000}


@pytest.fixture(scope="module")
def regions(tmp_path_factory):
    """A folder with genome.fa.gz, tracks.tsv and cells.h5ad: the same regions."""
    folder = tmp_path_factory.mktemp("regions")
    text = builders.fasta({name: builders.dna(size) for name, size in GENOME.items()})
    (folder / "genome.fa.gz").write_bytes(gzip.compress(text))
    places, values = [], []
    for chrom, size in GENOME.items():
        table = builders.open_regions(size, chrom=chrom)
        places += table.regions[["chrom", "start", "end"]].values.tolist()
        values += table.values.tolist()
    rows = [(*p, *v) for p, v in zip(places, values, strict=True)]
    write_tracks(rows, folder / "tracks.tsv")
    rates = np.repeat(np.array(values).T, 30, axis=0)
    cells = builders.annotated(
        np.random.default_rng(0).poisson(rates), [f"{c}:{s}-{e}" for c, s, e in places]
    )
    cells.obs["cell_type"] = np.repeat(["T", "B"], 30)
    cells.obs["missing"] = np.nan
    cells.write_h5ad(folder / "cells.h5ad")
    return folder


def write_tracks(rows, path):
    lines = ["chrom\tstart\tend\ttype0\ttype1"]
    lines += ["\t".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def ranking(folder, out, **options):
    """A `prepare-ranking` command on the files of a folder."""
    options = {"fasta": folder / "genome.fa.gz", "out": out} | options
    named = [(f"--{name.replace('_', '-')}", str(v)) for name, v in options.items()]
    return ["prepare-ranking", *(word for pair in named for word in pair)]


@pytest.mark.parametrize("given", ["tracks", "atac"])
def test_prepare_ranking_end_to_end(regions, tmp_path, capsys, given):
    out = tmp_path / "out"
    options = {"tracks": {"tracks": regions / "tracks.tsv"}}
    options["atac"] = {"atac": regions / "cells.h5ad", "label": "cell_type"}
    command = ranking(regions, out, num_tokens=99, seed=4, **options[given])
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    store = RegionStore.open(out, verify=True)
    assert store.samples == (("type0", "type1") if given == "tracks" else ("B", "T"))
    assert store.tokens.shape == (store.num_spans, 3, 99)
    assert min(len(store.split(n)) for n in ("train", "validation", "test")) > 0
    assert f"{store.num_spans} spans; " in printed
    table = printed.split("\n\n")[1].splitlines()
    assert table[0].split() == ["train", "validation", "test"]
    assert table[1].split()[1:] == [
        str(len(store.split(name))) for name in ("train", "validation", "test")
    ]
    assert any(line.startswith("ranked by length") for line in table)
    pictures = {path.name for path in (out / "report").glob("*.png")}
    assert pictures == {"lengths.png", "values.png", "one_feature.png", "samples.png"}
    config, provenance = store.manifest["config"], store.manifest["provenance"]
    assert (config["num_tokens"], config["spans"]["seed"]) == (99, 4)
    assert config["spans"]["version"] == "v2"
    names = [file["name"] for file in provenance["files"]]
    assert names == [options[given][given].name, "genome.fa.gz"]
    assert all(len(file["sha256"]) == 64 for file in provenance["files"])
    if given == "atac":
        (cells,) = provenance["cells"].values()
        assert cells["cells_per_type"] == {"B": 30, "T": 30}
        assert "60 cells, 2 types" in printed


def test_options_of_prepare_ranking_arrive(regions, tmp_path):
    out = tmp_path / "out"
    split = tmp_path / "split.tsv"
    split.write_text("chrom\tstart\tend\tsplit\nchr1\t0\t30000\tvalid\n")
    command = ranking(
        regions,
        out,
        tracks=regions / "tracks.tsv",
        regions=split,
        version="v1",
        fixed_length=120,
        shift_factor=2,
    )
    assert cli.main([*command, "--density", "--no-figures"]) == 0
    store = RegionStore.open(out)
    assert store.chromosomes == ("chr1",)
    assert len(store.split("validation")) == store.num_spans
    assert set(store.spans.offset.tolist()) == {0, 1_500}
    assert (store.features[:, :, 0] == 120).all()
    assert store.manifest["config"]["spans"]["density"] is True
    assert (store.tokens[:, :, 0] == 3).all()
    assert not (out / "report").exists()
    names = [file["name"] for file in store.manifest["provenance"]["files"]]
    assert names == ["tracks.tsv", "genome.fa.gz", "split.tsv"]
    again = ranking(regions, out, tracks=regions / "tracks.tsv", shift_factor=1)
    assert cli.main([*again, "--no-figures"]) == 2
    assert RegionStore.open(out).manifest == store.manifest
    assert cli.main([*again, "--no-figures", "--overwrite"]) == 0
    assert RegionStore.open(out).chromosomes == ("chr1", "chr20", "chr22")


def test_regions_and_types_may_be_left_out(regions, tmp_path, capsys):
    header, *rows = (regions / "tracks.tsv").read_text().splitlines()
    lines = [f"{header}\tnone", *(f"{row}\t0" for row in rows), "chr3\t0\t9\t1\t1\t0"]
    tracks, out = tmp_path / "more.tsv", tmp_path / "out"
    tracks.write_text("\n".join(lines))
    command = ranking(regions, out, tracks=tracks, shift_factor=1)
    assert "`--outside drop`" in refused(capsys, out, command)
    command += ["--outside", "drop", "--no-figures"]
    assert "'none' has no open region" in refused(capsys, out, command)
    assert cli.main([*command, "--skip-empty"]) == 0
    printed = capsys.readouterr().out
    assert "1 regions without a sequence are left out" in printed
    assert "none of none" in printed
    assert RegionStore.open(out).samples == ("type0", "type1", "none")


ROW = ("chr1", 100, 200, 1.0, 2.0)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], ["bad.tsv", "holds no region"]),
        (
            [(*ROW[:4], "high")] * 2,
            ["bad.tsv", "chr1:100-200 and chr1:100-200 overlap"],
        ),
        ([ROW, ("chr1", 300, 400, 1.0, -1)], ["bad.tsv", "-1", "'type1'", "from 0"]),
        ([ROW, ("chr1", 300, 400, 1.0, "")], ["value '' of 'type1' at chr1:300-400"]),
        ([ROW, ("chr1", 150, 400, 1.0, 2)], ["chr1:100-200 and chr1:150-400 overlap"]),
        ([ROW, ("chr3", 0, 100, 1.0, 2)], ["genome.fa.gz: has no 'chr3'", "bad.tsv"]),
        (
            [ROW, ("chr20", 14_990, 15_010, 1.0, 2)],
            ["genome.fa.gz", "chr20:14990-15010", "bad.tsv", "--outside drop"],
        ),
        ([ROW, ("2", 0, 100, 1.0, 2)], ["bad.tsv", "named in two ways"]),
        ([ROW], ["bad.tsv", "'type0' has no span", "two open regions"]),
    ],
)
def test_bad_tracks(regions, tmp_path, capsys, rows, words):
    bad, out = write_tracks(rows, tmp_path / "bad.tsv"), tmp_path / "out"
    line = refused(capsys, out, ranking(regions, out, tracks=bad))
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["neither cells nor tracks", "--atac or --tracks"]),
        ({"atac": "cells.h5ad"}, ["no column of their types", "--label"]),
        (
            {"atac": "cells.h5ad", "label": "type"},
            ["cells.h5ad: obs has no column 'type'", "cell_type"],
        ),
        (
            {"atac": "cells.h5ad", "label": "missing"},
            ["cells.h5ad: no type of 'missing' has 1 cells"],
        ),
        (
            {"atac": "cells.h5ad", "label": "cell_type", "batch": "lane"},
            ["cells.h5ad: obs has no column 'lane'"],
        ),
        ({"tracks": "none.tsv"}, ["none.tsv: cannot be read", "Check the file"]),
        ({"tracks": "tracks.tsv", "fasta": "none.fa"}, ["none.fa: cannot be read"]),
        ({"tracks": "tracks.tsv", "fasta": "tracks.tsv"}, ["tracks.tsv", "FASTA"]),
        ({"tracks": "tracks.tsv", "regions": "tracks.tsv"}, ["no column 'split'"]),
        (
            {"tracks": "tracks.tsv", "test": "chr1"},
            ["chromosome 'chr1' is named twice", "one part"],
        ),
        ({"tracks": "tracks.tsv", "fixed_length": 1_001}, ["fixed_length: is 1001"]),
        ({"tracks": "tracks.tsv", "num_tokens": 1}, ["num_tokens: is 1"]),
        ({"tracks": "tracks.tsv", "workers": 0}, ["workers: is 0"]),
    ],
)
def test_bad_options_of_prepare_ranking(regions, tmp_path, capsys, options, words):
    out = tmp_path / "out"
    files = {"atac", "tracks", "fasta", "regions"}
    options = {n: regions / v if n in files else v for n, v in options.items()}
    line = refused(capsys, out, ranking(regions, out, **options))
    for word in words:
        assert word in line


def test_a_genome_that_was_cut_short(regions, tmp_path, capsys):
    cut, out = tmp_path / "cut.fa.gz", tmp_path / "out"
    whole = (regions / "genome.fa.gz").read_bytes()
    command = ranking(regions, out, tracks=regions / "tracks.tsv", fasta=cut)
    for share in (0.01, 0.5, 0.99):
        cut.write_bytes(whole[: int(share * len(whole))])
        line = refused(capsys, out, command)
        assert "cut.fa.gz: cannot be read" in line
        assert "copy it again" in line


def test_spans_do_not_replace_what_is_no_spans(regions, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    command = ranking(regions, out, tracks=regions / "tracks.tsv")
    assert cli.main([*command, "--overwrite"]) == 2
    assert "is not a prepared dataset" in capsys.readouterr().err
    assert [file.name for file in out.iterdir()] == ["thesis.txt"]


# Published weights to ours.


@pytest.mark.parametrize("layout", ["jax", "torch"])
def test_convert_end_to_end(tmp_path, capsys, layout):
    write = getattr(published_folders, f"write_{layout}")
    folder = write(tmp_path / "nt", published_folders.weights())
    out = tmp_path / "models" / "nt"
    for _ in range(2):  # The second replaces the first.
        assert cli.main(["convert", "--model", str(folder), "--out", str(out)]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "2 layers of 8, 2-mers, 1,491 parameters",
            f"model {out}",
        ]
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "model.safetensors",
        "reference.safetensors",
    ]
    model = GenomeModel.load(out)
    assert model.self_check() <= 1e-6
    published = GenomeModel.from_nucleotide_transformer(folder)
    token_ids = model.tokenizer.encode_batch(["ACGTTGCANAC"], 9).ids
    np.testing.assert_array_equal(model.encode(token_ids), published.encode(token_ids))


def poisoned(folder):
    folder = published_folders.write_jax(folder, published_folders.weights())
    data = crafted_pickles.LIVE["builtins.exec"](str(folder.parent / "ran"))
    (folder / "jax_model" / "pytree_ckpt.joblib").write_bytes(data)


def incomplete(folder):
    arrays = published_folders.weights()
    del arrays["attention_layer_1/fc2"]
    published_folders.write_torch(folder, arrays)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (poisoned, ["pytree_ckpt.joblib", "'builtins.exec'", "nothing in it was run"]),
        (incomplete, ["model.safetensors", "lacks the arrays attention_layer_1/fc2/w"]),
        (lambda folder: folder.mkdir(), ["has neither model*.safetensors nor"]),
        (lambda folder: folder.touch(), ["is no folder", "Give the published folder"]),
    ],
    ids=["poisoned", "incomplete", "empty", "file"],
)
def test_convert_of_what_is_no_model(tmp_path, capsys, make, words):
    make(tmp_path / "nt")
    out = tmp_path / "out"
    command = ["convert", "--model", str(tmp_path / "nt"), "--out", str(out)]
    line = refused(capsys, out, command)
    for word in words:
        assert word in line
    assert [path.name for path in tmp_path.iterdir()] == ["nt"]


def test_convert_spares_the_published_folder(tmp_path, capsys):
    folder = published_folders.write_torch(tmp_path, published_folders.weights())
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert cli.main(["convert", "--model", str(folder), "--out", str(folder)]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in folder.iterdir()}
