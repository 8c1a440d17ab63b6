"""What variants change: the table is what the model says of both sequences."""

import gzip

import numpy as np
import pandas as pd
import pytest

from scmultimodal.genome.letters import as_letters
from scmultimodal.models import GenomeModel
from scmultimodal.modules.heads.accessibility import ScorerConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights.genome_model import GenomeModelConfig, StoredGenomeModel
from scmultimodal.workflows import segmentation_inference, variant_effects
from scmultimodal.workflows.segmentation_inference import StitchingConfig
from tests import builders

CHR1 = builders.dna(900, seed=1)
WINDOW, TOKENS = 240, 13
SCORED_BP = 2 * (TOKENS - 1)


@pytest.fixture(scope="module")
def model():
    """Scores and tells elements; both heads are random."""
    return builders.segmenter_model(
        scorer=ScorerConfig(name="linear"), num_tokens=TOKENS
    )


@pytest.fixture
def files(tmp_path):
    fasta, vcf = tmp_path / "genome.fa", tmp_path / "variants.vcf"
    fasta.write_bytes(builders.fasta({"chr1": CHR1}))
    other = "A" if CHR1[450] != "A" else "C"
    rows = [
        ("chr1", 451, "rs1", CHR1[450], other),
        ("chr1", 461, "ins", CHR1[460], CHR1[460] + "ACGTAC"),
        ("chr1", 471, "del", CHR1[470:475], CHR1[470]),
        ("chr1", 4, "end", CHR1[3], "T" if CHR1[3] != "T" else "G"),
        ("chr1", 481, "odd", CHR1[480], "<DEL>,*"),
        ("chr1", 491, "long", CHR1[490], "A" * 200),
    ]
    vcf.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return vcf, fasta


def test_the_table_by_hand(model, files, tmp_path):
    out = tmp_path / "effects.tsv"
    found = variant_effects.run(model, *files, out, radius_bp=10)
    assert (found.scored, found.no_letters, found.too_long) == (4, 2, 1)
    assert "no letters                2 left out" in found.format_table()
    table = pd.read_csv(out, sep="\t")
    assert table["id"].tolist() == ["rs1", "ins", "del", "end"]
    assert table["pos"].tolist() == [451, 461, 471, 4]
    user = GenomeModel(model)
    for row in table.iloc[:3].itertuples():
        start = row.pos - 1
        behind = start + len(row.ref)
        # The score, of 24 bp around the middle of the reference allele.
        low = start + len(row.ref) // 2 - SCORED_BP // 2
        ref = CHR1[low : low + SCORED_BP]
        alt = (CHR1[low:start] + row.alt + CHR1[behind:])[:SCORED_BP]
        scores = user.score([ref, alt])
        np.testing.assert_allclose([row.score_ref, row.score_alt], scores, atol=1e-5)
        np.testing.assert_allclose(row.score_change, scores[1] - scores[0], atol=1e-5)
        # Elements: mean over the allele and ten bases on both sides.
        low = start + len(row.ref) // 2 - WINDOW // 2
        texts = [CHR1[low : low + WINDOW]]
        texts.append((CHR1[low:start] + row.alt + CHR1[behind:])[:WINDOW])
        means = []
        for text, allele in zip(texts, (row.ref, row.alt), strict=True):
            values = segmentation_inference.segment(model, as_letters(text))
            at = start - low
            means.append(values[at - 10 : at + len(allele) + 10].mean(0))
        np.testing.assert_allclose(
            [row.exon_ref, row.exon_alt], [m[0] for m in means], atol=1e-5
        )
        np.testing.assert_allclose(
            row.intron_change, means[1][1] - means[0][1], atol=1e-5
        )
    assert (table["score_change"].abs() > 1e-6).all()


def test_no_change_changes_nothing(model, files, tmp_path):
    vcf, fasta = files
    vcf.write_text(f"chr1\t451\t.\t{CHR1[450]}\t{CHR1[450]}\n")
    variant_effects.run(model, vcf, fasta, tmp_path / "x.tsv")
    (row,) = pd.read_csv(tmp_path / "x.tsv", sep="\t").to_dict("records")
    assert all(value == 0 for name, value in row.items() if name.endswith("_change"))


def test_batches_and_packing_change_nothing(model, files, tmp_path, monkeypatch):
    plain, packed = tmp_path / "a.tsv", tmp_path / "b.tsv.gz"
    variant_effects.run(model, *files, plain)
    monkeypatch.setattr(variant_effects, "_AT_ONCE", 3)
    variant_effects.run(model, *files, packed, batch_size=1)
    one, other = (pd.read_csv(path, sep="\t") for path in (plain, packed))
    pd.testing.assert_frame_equal(one, other, atol=1e-5)
    assert gzip.decompress(packed.read_bytes()).startswith(b"chrom\tpos")


def test_strands(model, files, tmp_path):
    both, one = tmp_path / "both.tsv", tmp_path / "one.tsv"
    variant_effects.run(model, *files, both, both_strands=True)
    variant_effects.run(model, *files, one)
    found = pd.read_csv(both, sep="\t")
    assert (found["exon_ref"] != pd.read_csv(one, sep="\t")["exon_ref"]).all()
    values = segmentation_inference.windows(
        model,
        as_letters(CHR1[330:570])[None],
        StitchingConfig(both_strands=True),
    )[0]
    np.testing.assert_allclose(
        found["exon_ref"][0], values[70:171, 0].mean(), atol=1e-5
    )


def test_n_beside_a_variant_shortens_both_alleles_alike(model, files, tmp_path):
    vcf, fasta = files
    letters = CHR1[:455] + "N" + CHR1[456:]
    fasta.write_bytes(builders.fasta({"chr1": letters}))
    alt = "A" if CHR1[450] != "A" else "C"
    vcf.write_text(f"chr1\t451\t.\t{CHR1[450]}\t{alt}\n")
    found = variant_effects.run(model, vcf, fasta, tmp_path / "x.tsv")
    assert found.shortened == 1
    (row,) = pd.read_csv(tmp_path / "x.tsv", sep="\t").to_dict("records")
    low = 450 - SCORED_BP // 2
    ref = letters[low : low + SCORED_BP]
    user = GenomeModel(model)
    while len(user.tokenizer.encode(ref)) > TOKENS:
        ref = ref[:-1]
    other = ref[:12] + alt + ref[13:]
    expected = user.score([ref, other])
    np.testing.assert_allclose(
        [row["score_ref"], row["score_alt"]], expected, atol=1e-5
    )


def test_a_wrong_reference_names_the_line_and_leaves_nothing(model, files, tmp_path):
    vcf, fasta = files
    wrong = "A" if CHR1[599] != "A" else "C"
    vcf.write_text(vcf.read_text() + f"chr1\t600\t.\t{wrong}\tG\n")
    out = tmp_path / "effects.tsv"
    with pytest.raises(InputError, match=r"variants\.vcf: line 7: the reference"):
        variant_effects.run(model, vcf, fasta, out)
    assert {path.name for path in tmp_path.iterdir()} == {"genome.fa", "variants.vcf"}


def test_what_cannot_be_done(model, files, tmp_path):
    out = tmp_path / "effects.tsv"
    out.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        variant_effects.run(model, *files, out)
    assert out.read_text() == "mine"
    with pytest.raises(InputError, match="is a folder"):
        variant_effects.run(model, *files, tmp_path, overwrite=True)
    with pytest.raises(InputError, match="radius_bp: is 120"):
        variant_effects.run(model, *files, tmp_path / "x", radius_bp=120)
    config = GenomeModelConfig(encoder=builders.dna_encoder_config(), k=2)
    bare = StoredGenomeModel(config=config, params={}, reference={})
    with pytest.raises(InputError, match="neither a head that scores"):
        variant_effects.run(bare, *files, tmp_path / "x")


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_read_is_never_replaced(model, files, which):
    before = [path.read_bytes() for path in files]
    with pytest.raises(InputError, match="would take the place of"):
        variant_effects.run(model, *files, files[which], overwrite=True)
    assert [path.read_bytes() for path in files] == before
