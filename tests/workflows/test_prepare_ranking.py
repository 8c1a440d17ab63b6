"""Regions and a genome in, spans out: what is written is what the genome holds."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from scmultimodal.data.region_store import RegionStore
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.genome.region_splits import ChromosomeSplit
from scmultimodal.genome.regions import RegionTable
from scmultimodal.genome.spans import SpanConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import prepare_ranking
from scmultimodal.workflows.prepare_ranking import PrepareRankingConfig
from tests import builders

LENGTHS = {"chr1": 40_000, "chr20": 20_000, "chr2": 15_000, "chr22": 20_000}
SEQUENCES = {
    name: builders.dna(length, seed=length + int(name[3:]))
    for name, length in LENGTHS.items()
}
# Letters as a genome has them: lower case, gaps, an ambiguity code.
SEQUENCES["chr1"] = (
    SEQUENCES["chr1"][:9_000].lower()
    + "N" * 2_000
    + SEQUENCES["chr1"][11_000:11_500]
    + "R"
    + SEQUENCES["chr1"][11_501:]
)
FAST = SpanConfig(shift_factor=3)


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    path.write_bytes(builders.fasta(SEQUENCES))
    return path


def table(samples=2, seed=0, source="tracks.tsv"):
    """Regions on all chromosomes."""
    parts = [
        builders.open_regions(length, samples=samples, seed=seed + place, chrom=chrom)
        for place, (chrom, length) in enumerate(LENGTHS.items())
    ]
    frame = pd.concat([part.regions for part in parts])
    values = np.concatenate([part.values for part in parts])
    return RegionTable.build(source, frame, values, parts[0].samples)


def prepare(fasta, out, *tables, regions=None, **options):
    fields = {f.name for f in dataclasses.fields(PrepareRankingConfig)}
    config = {"spans": FAST, "num_tokens": 201}
    config |= {name: options.pop(name) for name in fields & set(options)}
    with Genome.open(fasta) as genome:
        return prepare_ranking.run(
            tables or [table()],
            genome,
            PrepareRankingConfig(**config),
            out,
            regions=regions,
            fasta=fasta,
            provenance={"source": "tests"},
            **options,
        )


def refusal(fasta, out, *tables, **options):
    with pytest.raises(InputError) as error:
        prepare(fasta, out, *tables, **options)
    assert not out.exists()
    (line,) = str(error.value).splitlines()
    return line


def files(store):
    return {f.name: f.read_bytes() for f in sorted(store.path.glob("*.npy"))}


@pytest.fixture(scope="module", params=["v1", "v2"])
def store(request, fasta, tmp_path_factory):
    spans = dataclasses.replace(FAST, version=request.param)
    out = tmp_path_factory.mktemp("store") / request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare_ranking, "CHUNK", 5)
        return prepare(fasta, out, spans=spans)


def version_of(store):
    return store.manifest["config"]["spans"]["version"]


# What is written.


def sequences_of(store):
    """Row, region and letters of every region, straight from the text."""
    for row, chrom in enumerate(store.spans.chrom_index):
        for place, (start, end) in enumerate(store.intervals[row]):
            yield row, place, SEQUENCES[store.chromosomes[chrom]][start:end]


def test_the_tokens_are_the_letters_of_the_genome(store):
    tokenizer = KmerTokenizer("v2")
    assert store.num_spans > 20
    cut = 0
    for row, place, letters in sequences_of(store):
        tokens = store.tokens[row, place].astype(int)
        expected = letters.upper().replace("R", "N")
        written = tokens[tokens != tokenizer.pad_id]
        assert written[0] == tokenizer.cls_id
        found = tokenizer.decode(written[1:])
        if store.cut[row, place]:
            cut += 1
            assert expected.startswith(found)
            assert len(tokenizer.encode(expected)) > 201
        else:
            assert found == expected
    assert cut > 0
    assert store.manifest["letters_read_as_n"] == sum(
        letters.count("R") for *_, letters in sequences_of(store)
    )


def test_padding_stands_at_the_end_or_on_both_sides(store):
    tokenizer = KmerTokenizer("v2")
    tokens = store.tokens.reshape(-1, 201)
    real = tokens != tokenizer.pad_id
    front, back = real.argmax(axis=1), real[:, ::-1].argmax(axis=1)
    # One stretch of tokens, with CLS in front.
    assert (real.sum(axis=1) + front + back == 201).all()
    assert (tokens[np.arange(len(tokens)), front] == tokenizer.cls_id).all()
    if version_of(store) == "v1":
        assert not front.any()
    else:
        padding = front + back
        share = (front / np.maximum(padding, 1))[padding > 20]
        assert 0.4 < share.mean() < 0.6
        assert len(np.unique(front)) > 20


def test_features_are_those_of_the_letters(store):
    for row, place, letters in sequences_of(store):
        letters = letters.upper()
        known = {letter: letters.count(letter) for letter in "ACGT"}
        total = sum(known.values())
        expected = [
            len(letters),
            (known["C"] + known["G"]) / max(total, 1),
            sum(letters[i : i + 2] == "CG" for i in range(len(letters) - 1)),
            1 - total / len(letters),
        ]
        np.testing.assert_allclose(store.features[row, place], expected, atol=1e-6)


def test_v2_uses_no_base_twice_and_v1_does(store):
    uses = {name: np.zeros(length, int) for name, length in LENGTHS.items()}
    for row, chrom in enumerate(store.spans.chrom_index):
        for start, end in store.intervals[row]:
            uses[store.chromosomes[chrom]][start:end] += 1
    most = max(u.max() for u in uses.values())
    assert most == 1 if version_of(store) == "v2" else most > 1


def test_chromosomes_are_split_as_in_the_study(store):
    part = {"chr1": "train", "chr2": "train", "chr22": "validation", "chr20": "test"}
    assert store.chromosomes == ("chr1", "chr20", "chr2", "chr22")
    for name in ("train", "validation", "test", "none"):
        rows = store.split(name)
        chroms = [store.chromosomes[c] for c in store.spans.chrom_index[rows]]
        assert set(chroms) == {c for c, p in part.items() if p == name}
    np.testing.assert_array_equal(store.group, store.spans.chrom_index)


def test_a_chromosome_of_no_part_gives_nothing(fasta, tmp_path):
    split = ChromosomeSplit(train=("2",), validation=("chr22",), test=())
    store = prepare(fasta, tmp_path / "out", split=split)
    assert store.chromosomes == ("chr2", "chr22")
    assert set(store.spans.chrom_index.tolist()) == {0, 1}
    assert len(store.split("test")) == 0


def test_regions_with_a_split_take_the_place_of_chromosomes(fasta, tmp_path):
    rows = [
        ("chr1", 500, 20_000, "test"),
        ("chr22", 0, 20_000, "train"),
        ("chr1", 20_000, 38_000, "validation"),
        ("chr2", 1_000, 15_000, "none"),
    ]
    regions = pd.DataFrame(rows, columns=["chrom", "start", "end", "split"])
    store = prepare(fasta, tmp_path / "out", regions=regions)
    assert set(store.group.tolist()) == {0, 1, 2, 3}
    for row, group in enumerate(store.group):
        chrom, start, end, split = rows[group]
        assert store.chromosomes[store.spans.chrom_index[row]] == chrom
        assert start <= store.spans.start[row]
        assert store.spans.start[row] + 3_000 <= end
        assert row in store.split(split)
    within = store.manifest["report"]["tables"][0]["regions_within_split"]
    frame = table().regions
    assert within == sum(
        any(c == chrom and s < high and e > low for chrom, low, high, _ in rows)
        for c, s, e in zip(frame["chrom"], frame["start"], frame["end"], strict=True)
    )
    assert within < len(frame)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_windows_of_fixed_length_hide_the_length(fasta, tmp_path, version):
    spans = dataclasses.replace(FAST, version=version, fixed_length=300)
    store = prepare(fasta, tmp_path / "out", spans=spans)
    assert (store.features[:, :, 0] == 300).all()
    known = store.features[:, :, 3].sum(axis=1) == 0
    assert not store.cut[known].any()
    counts = (store.tokens[known] != 1).sum(axis=2)
    assert set(counts.ravel().tolist()) == {51}
    judged = store.manifest["report"]["splits"]["train"]["one_feature"]["length"]
    assert judged == pytest.approx(1 / 6, abs=1e-4)


def test_several_tables_are_numbered_through(fasta, tmp_path):
    one, other = table(1, source="a/x.tsv"), table(2, seed=9, source="b/y.tsv")
    store = prepare(fasta, tmp_path / "out", one, other)
    assert store.samples == ("x.tsv:type0", "y.tsv:type0", "y.tsv:type1")
    assert set(store.spans.sample_index.tolist()) == {0, 1, 2}
    with pytest.raises(InputError, match="two have the same name"):
        prepare(fasta, tmp_path / "no", one, table(1, source="b/x.tsv"))


@pytest.mark.parametrize("style", ["chr", ""])
def test_genome_and_regions_may_name_chromosomes_in_two_ways(tmp_path, style):
    path = tmp_path / "genome.fa"
    records = {n.replace("chr", style): s for n, s in SEQUENCES.items()}
    path.write_bytes(builders.fasta(records))
    plain = table().renamed("plain" if style else "chr")
    store = prepare(path, tmp_path / "out", plain)
    assert store.chromosomes == (f"{style}1", f"{style}20", f"{style}2", f"{style}22")
    assert store.num_spans > 20


# Seed, workers.


def test_the_result_depends_on_the_seed_and_not_on_the_workers(
    fasta, tmp_path, monkeypatch
):
    monkeypatch.setattr(prepare_ranking, "CHUNK", 5)
    one = prepare(fasta, tmp_path / "one")
    two = prepare(fasta, tmp_path / "two", workers=2)
    assert files(one) == files(two)
    for name in ("report", "splits", "config", "letters_read_as_n"):
        assert one.manifest[name] == two.manifest[name]
    other = prepare(fasta, tmp_path / "other", spans=dataclasses.replace(FAST, seed=1))
    for name in ("tokens.npy", "intervals.npy"):
        assert files(other)[name] != files(one)[name]


def test_what_a_worker_refuses_is_said(fasta, tmp_path):
    with Genome.open(fasta) as genome, pytest.raises(InputError) as error:
        prepare_ranking.run(
            [table()],
            genome,
            PrepareRankingConfig(spans=FAST),
            tmp_path / "out",
            provenance={},
            fasta=tmp_path / "gone.fa",
            workers=2,
        )
    assert "gone.fa: cannot be read" in str(error.value)
    assert not list(tmp_path.iterdir())


# The report, by hand.

BY_HAND = [
    # Span 0: lengths 100 and 200, in the order of their values.
    ("chr1", 100, 200, 1.0),
    ("chr1", 500, 700, 4.0),
    # Span 1: cut at 6,000, so 1.5 of 3 stay; no gap of 100 bp.
    ("chr1", 3_050, 4_500, 1.0),
    ("chr1", 4_550, 7_450, 2.9),
    # Span 2: the rest of it, 1.45, and another of the same value.
    ("chr1", 8_000, 8_100, 1.45),
    # Span 3: one open region.
    ("chr1", 9_000, 9_100, 1.0),
    ("chr1", 9_200, 9_300, 0.0),
    # Span 4: lengths 200 and 100, a closed region of 50.
    ("chr1", 12_000, 12_200, 1.0),
    ("chr1", 12_300, 12_400, 4.0),
    ("chr1", 12_500, 12_550, 0.0),
    # No sequence, and no part.
    ("chr1", 60_000, 60_100, 1.0),
    ("chr7_alt", 0, 100, 1.0),
]


def test_the_report_by_hand(fasta, tmp_path, capsys):
    store = prepare(
        fasta,
        tmp_path / "out",
        builders.region_table(*BY_HAND, source="hand.tsv"),
        spans=SpanConfig(version="v1", shift_factor=1),
        outside="drop",
    )
    assert store.spans.start.tolist() == [0, 6_000, 12_000]
    report = store.manifest["report"]
    (given,) = report["tables"]
    # Where there is no sequence nothing is measured; chr7_alt is of the data set.
    lengths = [end - start for _, start, end, _ in BY_HAND if start != 60_000]
    assert given == {
        "source": "hand.tsv",
        "regions": 12,
        "regions_without_sequence": 1,
        "regions_within_split": 10,
        "mean_length_bp": pytest.approx(np.mean(lengths)),
        "sd_length_bp": pytest.approx(np.std(lengths)),
        "open_regions": {"cells": 9},
    }
    assert report["spans_dropped"] == {
        "cells": {"gap_too_short": 1, "windows_overlap": 0, "used_before": 0}
    }
    assert list(report["splits"]) == ["train"]
    train = report["splits"]["train"]
    numbers = ("spans", "regions", "ties", "regions_with_n", "regions_cut")
    # 1,450 bp make 242 tokens of 6 and 1, of which 201 fit with CLS.
    cut = int((store.features[:, :, 0] > 1_200).sum())
    assert [train[name] for name in numbers] == [3, 9, 1, 0, cut]
    assert train["value_open"]["p50"] == pytest.approx(1.45)
    assert train["length_bp_open"]["p50"] == 150
    assert set(train["one_feature"]) == {"length", "gc", "cpg", "n_share"}
    assert train["one_feature"]["n_share"] == pytest.approx(1 / 6, abs=1e-4)
    assert report["samples"] == {"cells": {"train": 3}}
    printed = capsys.readouterr().out
    assert "1 regions without a sequence are left out" in printed
    assert (
        "3 spans; 10 of 12 regions lie in a part; spans left out: 1 gap too short"
        in printed
    )


def test_shares_of_a_region_that_a_boundary_cuts_add_up(fasta, tmp_path):
    store = prepare(
        fasta,
        tmp_path / "out",
        builders.region_table(
            ("chr1", 2_000, 2_100, 1.0),
            ("chr1", 2_700, 3_200, 5.0),
            ("chr1", 4_000, 4_100, 1.0),
        ),
        spans=SpanConfig(version="v1", shift_factor=1),
    )
    found = {
        tuple(place): float(value)
        for places, values in zip(store.intervals, store.values, strict=True)
        for place, value in zip(places.tolist(), values, strict=True)
    }
    assert found[2_700, 3_000] == 3
    assert found[3_000, 3_200] == 2


CHROM = builders.dna(9_100, seed=7)
"""A chromosome with a piece after its last whole span."""
BEYOND = [
    ("chr1", 100, 300, 1.0),
    ("chr1", 600, 1_000, 2.0),
    ("chr1", 6_200, 6_300, 1.0),
    ("chr1", 6_500, 6_700, 3.0),
    ("chr1", 8_500, 9_500, 9.0),
]
WHOLE = pd.DataFrame(
    [("chr1", 0, 9_100, "train")], columns=["chrom", "start", "end", "split"]
)


@pytest.mark.parametrize("regions", [None, WHOLE], ids=["chromosomes", "regions"])
def test_a_region_beyond_the_end_is_refused_or_gone(tmp_path, capsys, regions):
    fasta, out = tmp_path / "short.fa", tmp_path / "out"
    fasta.write_bytes(builders.fasta({"chr1": CHROM}))
    given = builders.region_table(*BEYOND, source="far.tsv")
    line = refusal(fasta, out, given, regions=regions)
    assert "short.fa: chr1:8500-9500 ends beyond the 9,100 bp of chr1" in line
    assert "so it is with 1 regions of far.tsv" in line
    assert "--outside drop" in line
    spans = SpanConfig(version="v1", shift_factor=10)
    options = {"regions": regions, "spans": spans, "outside": "drop"}
    dropped = prepare(fasta, out, given, **options)
    assert "1 regions without a sequence are left out" in capsys.readouterr().out
    # None of it is left: neither open, nor closed.
    assert set(dropped.spans.start.tolist()) >= {0, 6_000}
    assert dropped.intervals.max() <= 8_500
    assert dropped.values.max() <= 3
    table = dropped.manifest["report"]["tables"][0]
    assert (table["regions"], table["regions_without_sequence"]) == (5, 1)
    lengths = [end - start for _, start, end, _ in BEYOND[:-1]]
    assert table["mean_length_bp"] == pytest.approx(np.mean(lengths))
    assert table["sd_length_bp"] == pytest.approx(np.std(lengths))
    assert table["open_regions"] == {"cells": 4}


def test_a_table_of_another_assembly_is_not_dropped_whole(fasta, tmp_path):
    far = builders.region_table(("chr1", 60_000, 60_100, 1.0), source="far.tsv")
    line = refusal(fasta, tmp_path / "out", table(), far, outside="drop")
    assert "far.tsv: has no region that the genome holds" in line


def test_regions_outside_the_pieces_of_a_genome(tmp_path):
    fasta, out = tmp_path / "pieces.fa", tmp_path / "out"
    fasta.write_bytes(builders.fasta({"chr1:3000-9000": CHROM[3_000:9_000]}))
    piece = WHOLE.assign(start=3_000, end=9_000)
    inside = builders.region_table(*BEYOND[2:4], ("chrUn_1", 0, 50, 1.0))
    assert prepare(fasta, out, inside, regions=piece).num_spans > 0
    everywhere = builders.region_table(*BEYOND[:4])
    line = refusal(fasta, tmp_path / "no", everywhere, regions=piece)
    assert "so it is with 2 regions" in line
    store = prepare(
        fasta, out, everywhere, regions=piece, outside="drop", overwrite=True
    )
    assert store.intervals.min() >= 3_000


def test_the_report_is_drawn(store, tmp_path):
    paths = prepare_ranking.draw(store, tmp_path / "report")
    assert len(paths) == 4
    for path in paths:
        assert image.imread(path)[..., :3].std() > 0.02


# Refusing.


def test_what_does_not_fit_together(fasta, tmp_path):
    out = tmp_path / "out"
    far = builders.region_table(
        ("chr1", 0, 100, 1.0), ("chr1", 39_950, 40_050, 1.0), source="far.tsv"
    )
    line = refusal(fasta, out, far)
    for word in ["genome.fa", "chr1:39950-40050", "1 regions of far.tsv", "40000"]:
        assert word in line.replace(",", "")
    assert "--outside drop" in line
    line = refusal(fasta, out, builders.region_table(("chr3", 0, 9, 1.0)))
    assert "genome.fa: has no 'chr3'" in line
    line = refusal(fasta, out, builders.region_table(("chrUn_1", 0, 9, 1.0)))
    assert "has no region in any part of the split (['chrUn_1'] against" in line
    lone = builders.region_table(("chr1", 0, 9, 1.0), source="lone.tsv")
    line = refusal(fasta, out, lone, skip_empty=True)
    assert "lone.tsv: 'cells' has no span (1 of 1 such); 1 of 1 regions lie" in line
    assert "--skip-empty" not in line
    line = refusal(fasta, out, workers=0)
    assert line == "workers: is 0. Give 1 or more."
    assert not list(tmp_path.iterdir())


def test_a_sample_without_a_span_is_refused_or_skipped(fasta, tmp_path, capsys):
    full = table(2)
    values = full.values.copy()
    values[:, 1] = 0
    closed = dataclasses.replace(full, values=values.copy())
    line = refusal(fasta, tmp_path / "out", closed)
    assert "tracks.tsv: 'type1' has no open region at all (1 such)" in line
    assert "`--skip-empty` leaves them out" in line
    values[0, 1] = 1
    line = refusal(fasta, tmp_path / "out", dataclasses.replace(full, values=values))
    assert "'type1' has no span (1 of 2 such)" in line
    store = prepare(fasta, tmp_path / "out", closed, skip_empty=True)
    assert store.samples == ("type0", "type1")
    assert set(store.spans.sample_index.tolist()) == {0}
    assert "none of type1" in capsys.readouterr().out


def test_a_sample_whose_spans_were_all_used_before_is_not_empty(fasta, tmp_path):
    full = table(1)
    twice = dataclasses.replace(
        full, values=np.repeat(full.values, 2, axis=1), samples=("a", "b")
    )
    spans = SpanConfig(shift_factor=1)
    store = prepare(fasta, tmp_path / "out", twice, spans=spans)
    dropped = store.manifest["report"]["spans_dropped"]
    assert dropped["b"]["used_before"] > 0


@pytest.mark.parametrize("k", [1, 8])
def test_tokens_must_fit_into_sixteen_bits(k):
    with pytest.raises(InputError, match=f"k: is {k}. Give 2 to 7"):
        PrepareRankingConfig(k=k)
    assert KmerTokenizer("v2", 7).vocabulary_size < 2**16


def test_what_stands_at_the_target(fasta, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is not a prepared dataset"):
        prepare(fasta, out, overwrite=True)
    assert [f.name for f in out.iterdir()] == ["thesis.txt"]
    out = tmp_path / "mine"
    first = prepare(fasta, out)
    manifest = json.loads((out / "manifest.json").read_text())
    with pytest.raises(InputError, match="already holds a prepared dataset"):
        prepare(fasta, out)
    again = dataclasses.replace(FAST, seed=5)
    second = prepare(fasta, out, spans=again, overwrite=True)
    assert second.manifest["digest"] != manifest["digest"]
    assert RegionStore.open(out, verify=True).num_spans == second.num_spans
    assert first.num_spans > 0
