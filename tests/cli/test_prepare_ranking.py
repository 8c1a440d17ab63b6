"""`scmultimodal prepare-ranking`: what it prints, writes and refuses."""

import dataclasses
import gzip

import anndata
import numpy as np
import pytest

from scmultimodal import cli
from scmultimodal.cli.dna import PrepareRanking
from scmultimodal.data.region_store import RegionStore
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.genome.region_splits import ChromosomeSplit
from scmultimodal.genome.spans import SpanConfig
from scmultimodal.singlecell.pseudobulk import PseudobulkConfig
from scmultimodal.workflows import prepare_ranking, ranking_inputs
from scmultimodal.workflows.prepare_ranking import PrepareRankingConfig
from tests import builders

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


def test_cells_of_another_assembly_with_types_of_a_table(regions, tmp_path):
    """As they are published: peaks 500 bp off, and the types in a file of their own."""
    cells = anndata.read_h5ad(regions / "cells.h5ad")
    types = cells.obs.pop("cell_type").rename_axis("cell")
    types.to_csv(tmp_path / "types.csv")
    names = cells.var_names.str.extract(r"(.*):(.*)-(.*)")
    start, end = names[1].astype(int) + 500, names[2].astype(int) + 500
    cells.var_names = names[0] + ":" + start.astype(str) + "-" + end.astype(str)
    cells.write_h5ad(tmp_path / "old.h5ad")
    chain = "".join(
        f"chain 1 {name} {size + 500} + 500 {size + 500} {name} {size} + 0 {size} "
        f"{number}\n{size}\n\n"
        for number, (name, size) in enumerate(GENOME.items())
    )
    (tmp_path / "old.chain").write_text(chain)
    options = {"label": "cell_type", "seed": 4, "num_tokens": 99}
    old = {"cells": tmp_path / "types.csv", "chain": tmp_path / "old.chain"}
    new = ranking(regions, tmp_path / "new", atac=regions / "cells.h5ad", **options)
    lifted = ranking(
        regions, tmp_path / "lifted", atac=tmp_path / "old.h5ad", **options, **old
    )
    for command in (new, lifted):
        assert cli.main([*command, "--no-figures"]) == 0
    one, two = (RegionStore.open(tmp_path / name) for name in ("new", "lifted"))
    assert one.samples == two.samples
    np.testing.assert_array_equal(one.tokens, two.tokens)
    np.testing.assert_array_equal(one.values, two.values)
    (report,) = two.manifest["provenance"]["cells"].values()
    assert report["liftover"]["lifted"] == cells.n_vars
    names = [file["name"] for file in two.manifest["provenance"]["files"]]
    assert names == ["old.h5ad", "types.csv", "old.chain", "genome.fa.gz"]


def test_a_table_may_be_about_the_cells_of_one_file(regions, tmp_path, refused):
    """Of the study's three sources two have tables, and one has types of its own."""
    cells = anndata.read_h5ad(regions / "cells.h5ad")
    types = cells.obs.pop("cell_type").rename_axis("cell")
    halves = {"first": cells[:40], "second": cells[40:]}
    for name, half in halves.items():
        half.write_h5ad(tmp_path / f"{name}.h5ad")
        types[half.obs_names].to_csv(tmp_path / f"{name}.csv")
    own = anndata.read_h5ad(regions / "cells.h5ad")
    own.obs_names = "own" + own.obs_names
    own.write_h5ad(tmp_path / "own.h5ad")
    out = tmp_path / "out"
    options = {"label": "cell_type", "seed": 4, "num_tokens": 99}
    command = ranking(regions, out, **options)
    files = [str(tmp_path / f"{name}.h5ad") for name in (*halves, "own")]
    tables = [str(tmp_path / f"{name}.csv") for name in halves]
    command += ["--no-figures", "--atac", *files, "--cells", *tables]
    assert cli.main(command) == 0
    found = RegionStore.open(out).manifest["provenance"]["cells"]
    assert [found[path]["cells_per_type"] for path in files] == [
        {"T": 30, "B": 10},
        {"B": 20},
        {"B": 30, "T": 30},
    ]
    (tmp_path / "second.csv").write_text("cell,cell_type\nnobody,B\n")
    line = refused(tmp_path / "other", [*command, "--out", str(tmp_path / "other")])
    assert "second.csv: names no cell: none of its columns cell, cell_type" in line
    only = [*command, "--out", str(tmp_path / "other"), "--atac", files[2]]
    assert "first.csv: names no cell" in refused(tmp_path / "other", only)


def test_peaks_that_meet_in_the_other_assembly(tmp_path):
    """By hand: chr1 100-200 is inserted there, and 300 to 200 is left out here."""
    chain = tmp_path / "a.chain"
    chain.write_text(
        "chain 1 chr1 900 + 0 200 chr1 900 + 100 300 1\n200\n\n"
        "chain 1 chr1 900 + 300 500 chr1 900 + 250 450 2\n200\n\n"
    )
    names = [
        "chr1:320-360",
        "chr1:10-60",
        "chr1:160-199",
        "chr1:210-250",
        "chr1:400-420",
    ]
    atac = builders.annotated([[1, 2, 3, 4, 5]], names)
    moved, report = ranking_inputs._lift(atac, chain, tmp_path)
    assert moved.var_names.tolist() == [names[1], names[2], names[4]]
    assert moved.X.toarray().tolist() == [[2, 3, 5]]
    places = moved.var[["start", "end"]].to_numpy().tolist()
    assert places == [[110, 160], [260, 299], [350, 370]]
    assert report["liftover"]["overlapping"] == 1
    assert report["liftover"]["lost"] == 1


def test_a_file_to_lift_is_one_of_the_cells(regions, tmp_path, capsys):
    given = {"atac": regions / "cells.h5ad", "label": "cell_type"}
    command = ranking(regions, tmp_path / "out", lift=regions / "cells.h5ad", **given)
    assert cli.main(command) == 2
    assert "--lift: there is no chain. Give it by --chain" in capsys.readouterr().err
    command = ranking(regions, tmp_path / "out", lift="x", chain="y", **given)
    assert cli.main(command) == 2
    assert "x: is to be lifted, and is no --atac" in capsys.readouterr().err


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


def test_tokens_of_another_vocabulary(regions, tmp_path):
    out = tmp_path / "out"
    tracks = regions / "tracks.tsv"
    command = ranking(regions, out, tracks=tracks, vocabulary="v1", k=5, num_tokens=80)
    assert cli.main([*command, "--no-figures"]) == 0
    store = RegionStore.open(out)
    assert store.tokenizer == KmerTokenizer("v1", 5)
    sequence = builders.dna(30_000)
    (row,) = np.flatnonzero((store.spans.chrom_index == 0) & ~store.cut.any(axis=1))[:1]
    for ids, (start, end) in zip(store.tokens[row], store.intervals[row], strict=True):
        assert store.tokenizer.decode(ids.astype(int)) == sequence[start:end]


def test_numbers_of_spans_and_cells_arrive(regions, tmp_path, monkeypatch):
    asked = {"min_mean": 0.3, "min_cell_fraction": 0.4, "span_bp": 2_000}
    asked |= {"min_gap_bp": 150, "min_cells": 2}
    seen = []

    def record(tables, genome, config, out, **options):
        seen.append((config, options["provenance"]["cells"]))
        raise InterruptedError

    monkeypatch.setattr(prepare_ranking, "run", record)
    cells = {"atac": regions / "cells.h5ad", "label": "cell_type"}
    command = ranking(regions, tmp_path / "out", **cells, **asked)
    with pytest.raises(InterruptedError):
        cli.main([*command, "--no-figures"])
    ((config, read),) = seen
    (report,) = read.values()
    assert (config.spans.span_bp, config.spans.min_gap_bp) == (2_000, 150)
    assert report["means_set_to_zero"] == 0.3
    share = (anndata.read_h5ad(regions / "cells.h5ad").to_df() > 0).mean()
    assert report["peaks_seen_too_rarely"] == (share < 0.4).sum() > (share < 0.01).sum()


@pytest.mark.parametrize(
    "config", [PrepareRankingConfig, SpanConfig, ChromosomeSplit, PseudobulkConfig]
)
def test_defaults_are_those_of_the_library(config):
    def defaults(cls):
        return {
            field.name: field.default
            for field in dataclasses.fields(cls)
            if field.default is not dataclasses.MISSING
        }

    library, offered = defaults(config), defaults(PrepareRanking)
    assert library.items() <= offered.items()


def test_regions_and_types_may_be_left_out(regions, tmp_path, capsys, refused):
    header, *rows = (regions / "tracks.tsv").read_text().splitlines()
    lines = [f"{header}\tnone", *(f"{row}\t0" for row in rows), "chr3\t0\t9\t1\t1\t0"]
    tracks, out = tmp_path / "more.tsv", tmp_path / "out"
    tracks.write_text("\n".join(lines))
    command = ranking(regions, out, tracks=tracks, shift_factor=1)
    assert "`--outside drop`" in refused(out, command)
    command += ["--outside", "drop", "--no-figures"]
    assert "'none' has no open region" in refused(out, command)
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
def test_bad_tracks(regions, tmp_path, refused, rows, words):
    bad, out = write_tracks(rows, tmp_path / "bad.tsv"), tmp_path / "out"
    line = refused(out, ranking(regions, out, tracks=bad))
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
        ({"tracks": "tracks.tsv", "k": 8}, ["k: is 8", "Give 2 to 7"]),
        ({"tracks": "tracks.tsv", "span_bp": 2}, ["span_bp: is 2"]),
        (
            {"atac": "cells.h5ad", "label": "cell_type", "min_cell_fraction": 2},
            ["min_cell_fraction: is 2"],
        ),
        ({"tracks": "tracks.tsv", "workers": 0}, ["workers: is 0"]),
    ],
)
def test_bad_options_of_prepare_ranking(regions, tmp_path, refused, options, words):
    out = tmp_path / "out"
    files = {"atac", "tracks", "fasta", "regions"}
    options = {n: regions / v if n in files else v for n, v in options.items()}
    line = refused(out, ranking(regions, out, **options))
    for word in words:
        assert word in line


def test_a_genome_that_was_cut_short(regions, tmp_path, refused):
    cut, out = tmp_path / "cut.fa.gz", tmp_path / "out"
    whole = (regions / "genome.fa.gz").read_bytes()
    command = ranking(regions, out, tracks=regions / "tracks.tsv", fasta=cut)
    for share in (0.01, 0.5, 0.99):
        cut.write_bytes(whole[: int(share * len(whole))])
        line = refused(out, command)
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
