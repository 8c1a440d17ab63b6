"""Tracks of a genome: what is written is what the model says, base by base."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from scmultimodal.data.element_store import Territory, write_element_store
from scmultimodal.evaluation.figures import locus
from scmultimodal.genome.elements import ELEMENTS, Painter
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.letters import as_letters
from scmultimodal.genome.transcripts import read_transcripts
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import genome_model
from scmultimodal.workflows import (
    segment_genome,
    segmentation_inference,
    tracks,
    view,
    view_loci,
)
from scmultimodal.workflows.segmentation_inference import StitchingConfig
from tests import builders, view_pages
from tests.workflows import run_folders

CHR1 = builders.dna(300, seed=1) + "N" * 30 + builders.dna(200, seed=2)
CHR2 = builders.dna(90, seed=3)
GTF = "".join(
    "\t".join(
        ["chr1", "x", feature, str(start), str(end), ".", strand, ".", attributes]
    )
    + "\n"
    for feature, start, end, strand, attributes in (
        ("gene", 50, 200, "+", 'gene_id "G1"; gene_type "lncRNA"; gene_name "One";'),
        ("exon", 50, 90, "+", 'gene_id "G1"; transcript_id "T1";'),
        ("gene", 60, 260, "-", 'gene_id "G2"; gene_type "protein_coding";'),
        ("CDS", 60, 100, "-", 'gene_id "G2"; transcript_id "T2";'),
    )
)


@pytest.fixture(scope="module")
def model():
    return builders.segmenter_model()


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_bytes(builders.fasta({"chr2": CHR2, "chr1": CHR1}))
    return path


def read(path):
    """{(chrom, base): value} of a bedGraph; no base may come twice."""
    found = {}
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        chrom, start, end, value = line.split("\t")
        for base in range(int(start), int(end)):
            assert (chrom, base) not in found
            found[chrom, base] = float(value)
    return found


def test_tracks_are_what_the_model_says(model, fasta, tmp_path):
    out = tmp_path / "tracks"
    result = segment_genome.run(model, fasta, out)
    assert (result.regions, result.bases, result.unknown) == (2, 620, 30)
    for column, name in enumerate(("exon", "intron", "3UTR")):
        expected = {}
        for chrom, text in (("chr2", CHR2), ("chr1", CHR1)):
            found = segmentation_inference.segment(model, as_letters(text))
            for base, value in enumerate(found[:, column]):
                if np.isfinite(value):
                    expected[chrom, base] = value
        track = read(out / f"{name}.bedgraph.gz")
        assert track.keys() == expected.keys()
        for place, value in expected.items():
            assert abs(track[place] - value) < 6e-4
    report = json.loads((out / "segments.json").read_text())
    assert report["bases"] == 620
    assert {p.name for p in out.iterdir()} == {
        *(f"{name}.bedgraph.gz" for name in ("exon", "intron", "3UTR")),
        *("segments.json", "chr1_0_530.png", "chr2_0_90.png"),
    }
    assert "620 bp in 2 regions, 30 of them N" in result.format_table()


def test_regions_are_joined_and_in_order(model, fasta, tmp_path):
    bed = tmp_path / "regions.bed"
    bed.write_text("1\t100\t200\n1\t150\t260\nchr2\t8\t48\n".replace("chr2", "2"))
    gtf = tmp_path / "genes.gtf"
    gtf.write_text(GTF)
    out = tmp_path / "tracks"
    result = segment_genome.run(
        model, fasta, out, regions=bed, elements=("intron",), gtf=gtf, figures=1
    )
    assert (result.regions, result.bases) == (2, 200)
    assert result.pictures == ["chr2_8_48.png"]
    track = read(out / "intron.bedgraph.gz")
    assert list(dict.fromkeys(chrom for chrom, _ in track)) == ["chr2", "chr1"]
    assert [b for c, b in track if c == "chr1"] == list(range(100, 260))
    assert {p.suffix for p in out.iterdir()} == {".gz", ".json", ".png"}


def test_a_region_is_seen_with_what_is_around_it(fasta, tmp_path):
    """The same values as in the whole genome, wherever it begins and ends."""
    model = builders.segmenter_model(attends=False)
    margin = StitchingConfig(margin_bp=96)
    segment_genome.run(model, fasta, tmp_path / "all", figures=0, stitching=margin)
    whole = read(tmp_path / "all" / "exon.bedgraph.gz")
    for number, (low, high) in enumerate([(100, 101), (7, 60), (120, 299), (340, 530)]):
        bed, out = tmp_path / f"{number}.bed", tmp_path / f"tracks{number}"
        bed.write_text(f"chr1\t{low}\t{high}\n")
        segment_genome.run(model, fasta, out, regions=bed, figures=0, stitching=margin)
        found = read(out / "exon.bedgraph.gz")
        assert found.keys() == {
            ("chr1", base) for base in range(low, high) if CHR1[base] != "N"
        }
        for place, value in found.items():
            assert abs(value - whole[place]) <= 1.1e-3


def test_pieces_of_a_chromosome_are_told_once(model, tmp_path):
    """Two that overlap, and two regions in records of their own."""
    fasta, bed = tmp_path / "pieces.fa", tmp_path / "regions.bed"
    records = {"chr1:0-100": CHR1[:100], "chr1:50-150": CHR1[50:150]}
    records["chr1:150-300"] = CHR1[150:300]
    fasta.write_bytes(builders.fasta(records))
    result = segment_genome.run(model, fasta, tmp_path / "all", figures=0)
    assert result.bases == 300
    found = read(tmp_path / "all" / "exon.bedgraph.gz")
    assert sorted(base for _, base in found) == list(range(300))
    bed.write_text("chr1\t120\t150\nchr1\t150\t200\n")
    result = segment_genome.run(model, fasta, tmp_path / "two", regions=bed, figures=0)
    assert (result.regions, result.bases) == (2, 80)


def test_genes_are_drawn_where_they_are(tmp_path):
    """Exons of all transcripts of a gene as one, rows in which none touches another."""
    gtf = tmp_path / "genes.gtf"
    gtf.write_text(GTF)
    rows = locus.gene_rows(read_transcripts(gtf))
    assert [[gene.label for gene in row] for row in rows] == [["One →"], ["G2 ←"]]
    one, two = rows[0][0], rows[1][0]
    assert (one.start, one.end) == (49, 200)
    assert one.boxes == {"exon": [(49, 90)], "CDS": []}
    assert two.boxes == {"exon": [], "CDS": [(59, 100)]}


def test_names_of_genes_do_not_touch(tmp_path):
    """A, at 100 to 120, has a name of three letters; B begins at 140."""
    gtf, exon = tmp_path / "genes.gtf", "chr1\tx\texon\t{}\t{}\t.\t+\t.\t"
    names = 'gene_id "{0}"; transcript_id "{0}1"; gene_name "{0}"; gene_type "x";\n'
    lines = [exon.format(101, 120) + names.format("A")]
    lines += [exon.format(141, 160) + names.format("B")]
    gtf.write_text("".join(lines))
    features = read_transcripts(gtf)

    def labels(*drawn):
        rows = locus.gene_rows(features, *drawn)
        return [[gene.label for gene in row] for row in rows]

    assert labels(0, 10.0) == [["A →", "B →"]]
    assert labels(0, 15.0) == [["A →"], ["B →"]]
    assert labels(115, 10.0) == [["A →"], ["B →"]]


def test_big_wig(model, fasta, tmp_path):
    import pyBigWig

    out, plain = tmp_path / "tracks", tmp_path / "plain"
    segment_genome.run(model, fasta, out, format="bigwig", figures=0)
    segment_genome.run(model, fasta, plain, figures=0)
    expected = read(plain / "intron.bedgraph.gz")
    with pyBigWig.open(str(out / "intron.bw")) as track:
        assert track.chroms() == {"chr2": 90, "chr1": 530}
        for chrom, size in track.chroms().items():
            for base, value in enumerate(track.values(chrom, 0, size)):
                known = expected.get((chrom, base), np.nan)
                np.testing.assert_allclose(value, known, atol=1e-6)


def test_without_big_wig(model, fasta, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyBigWig", None)
    with pytest.raises(InputError, match=r"pip install 'scmultimodal\[tracks\]'"):
        segment_genome.run(model, fasta, tmp_path / "x", format="bigwig")
    assert not (tmp_path / "x").exists()


def test_what_stands_there_is_kept(model, fasta, tmp_path):
    out = tmp_path / "tracks"
    segment_genome.run(model, fasta, out, figures=0)
    with pytest.raises(InputError, match="already holds tracks"):
        segment_genome.run(model, fasta, out)
    segment_genome.run(model, fasta, out, figures=0, overwrite=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("x")
    with pytest.raises(InputError, match="exists and holds no tracks"):
        segment_genome.run(model, fasta, other, overwrite=True)


@pytest.mark.parametrize(
    ("bed", "message"),
    [
        ("chr1\t0\t531\n", "ends beyond the 530 bp of chr1"),
        ("chr9\t0\t5\n", "has no 'chr9'"),
        ("chr1\t9\t5\n", "spans 9 to 5 bp"),
    ],
)
def test_bad_regions_leave_nothing(model, fasta, tmp_path, bed, message):
    path = tmp_path / "regions.bed"
    path.write_text(bed)
    with pytest.raises(InputError, match=message):
        segment_genome.run(model, fasta, tmp_path / "x", regions=path)
    assert {p.name for p in tmp_path.iterdir()} == {"genome.fa", "regions.bed"}


def test_an_element_that_the_model_does_not_tell(model, fasta, tmp_path):
    with pytest.raises(InputError, match="'hat' is none that the model has learned"):
        segment_genome.run(model, fasta, tmp_path / "x", elements=("hat",))


# On the page of `report --open`.


def test_a_segmentation_run_has_its_test_bases(model, tmp_path):
    folder = run_folders.segmented(tmp_path / "run")
    (tmp_path / "genome.fa").write_bytes(builders.fasta({"chr1": CHR1}))
    exon = pd.DataFrame([("chr1", 104, 108, "exon")])
    exon.columns = ["chrom", "start", "end", "element"]
    known = 1 << ELEMENTS.index("exon")
    places = (("train", 0, 100), ("test", 100, 340))
    territories = [
        Territory(chrom="chr1", start=a, end=b, group=0, split=s, known=known)
        for s, a, b in places
    ]
    with Genome.open(tmp_path / "genome.fa") as genome:
        write_element_store(
            folder / "labels" / "elements",
            territories,
            genome,
            Painter(exon),
            config={},
            provenance={},
        )
    genome_model.save(model, folder / "model")
    written = view_pages.Written(view.run([folder]))
    (locus,) = written.facts["loci"]
    assert (locus["start"], locus["end"]) == (100, 340)
    letters = as_letters(CHR1[100:340])
    said = segmentation_inference.segment(model, letters)
    track = locus["tracks"][0]
    expected = np.nan_to_num(250 * said[:, 0], nan=255)
    assert written.array(track["values"]) == pytest.approx(expected, abs=0.51)
    truth = written.array(track["truth"])
    assert np.flatnonzero(truth).tolist() == [4, 5, 6, 7]
    assert set(written.array(locus["tracks"][1]["truth"])) == {view_loci.UNKNOWN}


@pytest.mark.parametrize("format", ["bedgraph", "bigwig"])
def test_what_segment_wrote_is_shown_with_its_genes(model, tmp_path, format):
    if format == "bigwig":
        pytest.importorskip("pyBigWig")
    fasta, gtf, bed = (tmp_path / name for name in ("a.fa", "a.gtf", "a.bed"))
    fasta.write_bytes(builders.fasta({"chr2": CHR2, "chr1": CHR1}))
    gtf.write_text(GTF)
    bed.write_text("chr2\t8\t48\nchr1\t100\t350\n")
    out, plain = tmp_path / "tracks", tmp_path / "plain"
    segment_genome.run(model, fasta, out, regions=bed, gtf=gtf, format=format)
    path = view.run([out])
    assert path == out / "report" / "view.html"
    written = view_pages.Written(path)
    first, second = written.facts["loci"]
    assert (first["chrom"], second["start"], second["end"]) == ("chr2", 100, 350)
    segment_genome.run(model, fasta, plain, regions=bed, figures=0)
    values = read(plain / "exon.bedgraph.gz")
    expected = [round(250 * values.get(("chr1", b), 1.02)) for b in range(100, 350)]
    found = written.array(second["tracks"][0]["values"])
    assert found.tolist() == pytest.approx(expected, abs=1)
    unknown = [CHR1[base] == "N" for base in range(100, 350)]
    assert (found == 255).tolist() == unknown
    genes = {gene["symbol"]: gene for gene in second["genes"]}
    assert genes["One"]["strand"] == "+"
    assert genes["One"]["boxes"]["exon"] == []  # It ends before the region begins.
    assert genes["G2"]["end"] == 260


@pytest.mark.parametrize("harm", ["no bigWig", "cut short", "other chromosome"])
def test_a_damaged_bigwig_is_named(tmp_path, harm):
    opener = pytest.importorskip("pyBigWig")
    path = tmp_path / "exon.bw"
    chrom = "chr9" if harm == "other chromosome" else "chr1"
    with opener.open(str(path), "w") as file:
        file.addHeader([(chrom, 400)])
        file.addEntries(chrom, 0, values=[0.5] * 400, span=1, step=1)
    if harm == "no bigWig":
        path.write_bytes(b"x" * 99)
    elif harm == "cut short":
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"exon\.bw: is damaged, or lacks"):
        tracks.read(tmp_path, "exon", "bigwig", [("chr1", 0, 5)])


def test_segments_without_pictures_say_why(model, tmp_path):
    fasta = tmp_path / "a.fa"
    fasta.write_bytes(builders.fasta({"chr2": CHR2}))
    out = tmp_path / "tracks"
    segment_genome.run(model, fasta, out, figures=0)
    text = view.run([out]).read_text()
    assert "segments.json: names no region that was drawn" in text


def test_files_of_somebody_among_the_tracks_stay(model, fasta, tmp_path):
    out = tmp_path / "tracks"
    segment_genome.run(model, fasta, out, figures=1)
    segment_genome.run(model, fasta, out, format="bedgraph", overwrite=True)
    mine = out / "mine.bed"
    mine.write_text("chr1\t0\t100\n")
    with pytest.raises(InputError, match=r"mine.bed.*would be lost"):
        segment_genome.run(model, fasta, out, overwrite=True)
    with pytest.raises(InputError, match="would"):
        segment_genome.run(model, fasta, out, regions=mine, overwrite=True)
    assert mine.read_text() == "chr1\t0\t100\n"
