"""`prepare-segmentation`, `segment` and `score-variants`, one after the other."""

import dataclasses
import gzip

import pytest

from scmultimodal import cli, datasets
from scmultimodal.data.element_store import ElementStore
from scmultimodal.genome.elements import ELEMENTS, ElementRules
from scmultimodal.genome.region_splits import ChromosomeSplit
from scmultimodal.weights import genome_model
from tests import builders


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genome")
    return datasets.simulate_genome(folder, chromosomes=3, length_bp=10_000)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A run folder with a random model of all elements."""
    folder = tmp_path_factory.mktemp("run")
    found = builders.segmenter_model(elements=ELEMENTS)
    genome_model.save(found, folder / "model")
    return folder


def words(command, **options):
    given = [command]
    for name, value in options.items():
        given.append(f"--{name.replace('_', '-')}")
        values = value if isinstance(value, tuple) else (value,)
        given += [str(v) for v in values if v is not True]
    return given


def prepare(made, out, **options):
    return words(
        "prepare-segmentation",
        fasta=made.fasta,
        gtf=made.gtf,
        out=out,
        train="1",
        validation="2",
        test="3",
        **options,
    )


def test_prepare_end_to_end(made, tmp_path, capsys):
    out = tmp_path / "elements"
    command = prepare(
        made,
        out,
        polya=made.polya,
        regulatory=made.regulatory,
        invariant=made.invariant,
        splice_bp=3,
    )
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert f"elements {out}" in printed
    assert "not known" not in printed
    store = ElementStore.open(out, verify=True)
    assert store.manifest["config"]["rules"]["splice_bp"] == 3
    assert [t.split for t in store.territories] == ["train", "validation", "test"]
    files = {f["name"] for f in store.manifest["provenance"]["files"]}
    assert files == {
        *("genes.gtf", "polya.gtf", "regulatory.bed", "invariant.bed", "genome.fa")
    }


def test_without_a_track_its_elements_are_not_known(made, tmp_path, capsys):
    assert cli.main(prepare(made, tmp_path / "elements")) == 0
    lines = capsys.readouterr().out.splitlines()
    unknown = {line.split()[0] for line in lines if "not known" in line}
    assert unknown == set(ELEMENTS[8:])


def test_segment_and_score_variants(made, model, tmp_path, capsys):
    bed, vcf = tmp_path / "loci.bed", tmp_path / "variants.vcf"
    bed.write_text("chr1\t1000\t3000\n")
    letters = "".join(made.fasta.read_text().split(">chr2")[0].splitlines()[1:])
    vcf.write_text(f"chr1\t2001\trs1\t{letters[2000]}\t{letters[2000]}A\n")
    out = tmp_path / "tracks"
    command = words(
        "segment",
        model=model,
        fasta=made.fasta,
        regions=bed,
        gtf=made.gtf,
        elements=("exon", "3UTR"),
        out=out,
    )
    assert cli.main(command) == 0
    assert "2,000 bp in 1 regions" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        *("exon.bedgraph.gz", "3UTR.bedgraph.gz", "segments.json"),
        "chr1_1000_3000.png",
    }
    assert gzip.decompress((out / "exon.bedgraph.gz").read_bytes()).startswith(
        b"chr1\t1000\t"
    )
    effects = tmp_path / "effects.tsv"
    command = words(
        "score-variants", model=model, vcf=vcf, fasta=made.fasta, out=effects
    )
    assert cli.main(command) == 0
    assert f"effects {effects}" in capsys.readouterr().out
    assert effects.read_text().splitlines()[1].startswith("chr1\t2001\trs1\t")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("prepare-segmentation", "genome.fa: cannot be read"),
        ("segment", "it has no head that tells elements"),
        ("score-variants", "neither a head"),
    ],
)
def test_what_is_wrong_is_one_line(made, tmp_path, refused, command, message):
    bare = builders.segmenter_model()
    config = dataclasses.replace(bare.config, segmenter=None)
    genome_model.save(dataclasses.replace(bare, config=config), tmp_path / "bare")
    (tmp_path / "x.vcf").write_text("chr1\t1\t.\tA\tC\n")
    out = tmp_path / "out"
    given = {
        "prepare-segmentation": {"fasta": tmp_path / "genome.fa", "gtf": made.gtf},
        "segment": {"model": tmp_path / "bare", "fasta": made.fasta},
        "score-variants": {
            "model": tmp_path / "bare",
            "vcf": tmp_path / "x.vcf",
            "fasta": made.fasta,
        },
    }[command]
    assert message in refused(out, words(command, out=out, **given))


def test_defaults_are_those_of_the_library():
    from scmultimodal.cli.segmentation import PrepareSegmentation

    fields = {f.name: f.default for f in dataclasses.fields(PrepareSegmentation)}
    for config in (ElementRules(), ChromosomeSplit()):
        for name, value in vars(config).items():
            assert fields[name] == value
