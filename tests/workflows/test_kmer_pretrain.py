"""Masked k-mers of a FASTA: learnt beyond composition, held-out ends never shown."""

import dataclasses
import hashlib
import json
import math
from collections import Counter

import jax
import numpy as np
import pytest

from scmultimodal.data.sampling import WHOLE
from scmultimodal.data.sequence_windows import Stretch, WindowSampler
from scmultimodal.genome.composition import reverse_complement
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.models import GenomeModel
from scmultimodal.schemas.errors import InputError
from scmultimodal.training.metrics import read_metrics
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.workflows import kmer_pretrain
from scmultimodal.workflows.kmer_pretrain import KmerPretrainConfig
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

CONFIG = KmerPretrainConfig(
    shape=builders.dna_encoder_config(dim=16, hidden=16),
    k=2,
    window_bp=20,
    mask_share=0.2,
    reverse_complement=False,
    held_out=0.2,
    validation_windows=50,
    table_windows=200,
    steps=150,
    batch_size=16,
    evaluate_every=50,
    checkpoint_every=60,
    optimizer=OptimizerConfig(learning_rate=0.02, weight_decay=0.0),
)
REPEAT = "ACGTTGACCATCAGG"
"""Seven 2-mers and a half: read on, they come in both frames."""
RANDOM = {f"chr{i}": builders.dna(300, seed=i) for i in (1, 2)} | {
    "chrM": builders.dna(30, seed=3)
}


def write(path, records):
    path.write_bytes(builders.fasta(records))
    return path


@pytest.fixture(scope="module")
def repetitive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genome")
    return write(folder / "repeats.fa", {"chr1": REPEAT * 40, "chr2": REPEAT * 20})


@pytest.fixture(scope="module")
def pretrained(repetitive, tmp_path_factory):
    """(folder, what the training returned)."""
    folder = tmp_path_factory.mktemp("kmers") / "run"
    return folder, kmer_pretrain.run(repetitive, CONFIG, folder)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Says what a training would ask of the loop, batches included."""

    def ask(fasta, config=CONFIG, **options):
        kept = []

        def fit(task, *, train_batches, validation_batches, **keywords):
            kept.append([train_batches(step, WHOLE) for step in range(40)])
            kept.append(list(validation_batches(WHOLE)))
            kept.append(task)
            raise InterruptedError

        with monkeypatch.context() as patch:
            patch.setattr(kmer_pretrain.loop, "fit", fit)
            with pytest.raises(InterruptedError):
                kmer_pretrain.run(fasta, config, tmp_path / "asked", **options)
        return kept

    return ask


def leaves(params):
    return jax.tree.leaves(params)


# What comes of it.


def test_more_is_learnt_than_composition(pretrained):
    folder, found = pretrained
    assert found.losses == json.loads((folder / "losses.json").read_text())
    losses = found.losses
    assert set(losses) == {"model", "unigram", "unigram by GC"}
    kmers = Counter((2 * REPEAT)[place : place + 2] for place in range(15))
    entropy = -sum(n / 15 * math.log(n / 15) for n in kmers.values())
    assert losses["unigram"] == pytest.approx(entropy, abs=0.02)
    assert losses["model"] < 0.5 * min(losses["unigram"], losses["unigram by GC"])
    validated = [
        r for r in read_metrics(folder / "metrics.jsonl") if r["split"] == "validation"
    ]
    assert [r["step"] for r in validated] == [50, 100, 150]
    assert losses["model"] == validated[-1]["hidden_loss"] < validated[0]["hidden_loss"]
    table = kmer_pretrain.format_losses(losses)
    assert table.splitlines() == [
        f"model          {losses['model']:.4f} nats",
        f"unigram        {losses['unigram']:.4f} nats",
        f"unigram by GC  {losses['unigram by GC']:.4f} nats",
    ]


def test_the_model_is_an_encoder_with_its_lm_head(pretrained, repetitive):
    folder, found = pretrained
    model = GenomeModel.load(folder)
    assert model.self_check() <= 1e-6
    assert (model.config.tokens, model.config.k) == ("v2", 2)
    assert (model.config.scorer, model.config.num_tokens) == (None, None)
    assert any("lm_head" in name for name in model._stored.params)
    provenance = model.config.provenance
    assert provenance["stage"] == "masked k-mers"
    assert provenance["losses"] == found.losses
    content = repetitive.read_bytes()
    assert provenance["fasta"] == {
        "name": "repeats.fa",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def test_killed_and_resumed_equals_undisturbed(
    pretrained, repetitive, tmp_path, monkeypatch
):
    _, found = pretrained
    batch = WindowSampler.batch

    def dying(self, step, size, share):
        if step == 110:  # after a validation that is newer than the checkpoint
            raise OSError("the power went")
        return batch(self, step, size, share)

    with monkeypatch.context() as patch:
        patch.setattr(WindowSampler, "batch", dying)
        with pytest.raises(OSError, match="power"):
            kmer_pretrain.run(repetitive, CONFIG, tmp_path)
    assert not (tmp_path / "losses.json").exists()
    resumed = kmer_pretrain.run(repetitive, CONFIG, tmp_path)
    for one, other in zip(
        leaves(resumed.model.params), leaves(found.model.params), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert resumed.losses == found.losses
    stretches = {"train": [Stretch("chr1", 0, 300)]}
    with pytest.raises(InputError, match=r"run\.train"):
        kmer_pretrain.run(repetitive, CONFIG, tmp_path, **stretches)


BRIEF = dataclasses.replace(
    CONFIG, steps=2, validation_windows=4, table_windows=4, batch_size=2
)


@pytest.mark.parametrize(("vocabulary", "k"), [("v2", 3), ("v1", 3), ("v1", 6)])
def test_the_encoder_knows_the_tokens_whatever_its_shape_says(
    repetitive, tmp_path, vocabulary, k
):
    shape = builders.dna_encoder_config(vocabulary_size=4_107, pad_id=5, mask_id=7)
    tokens = {"vocabulary": vocabulary, "k": k, "window_bp": 24}
    config = dataclasses.replace(BRIEF, shape=shape, **tokens)
    kmer_pretrain.run(repetitive, config, tmp_path)
    model = GenomeModel.load(tmp_path)
    tokenizer = KmerTokenizer(vocabulary, k)
    assert model.tokenizer == tokenizer
    encoder = model.config.encoder
    assert encoder == dataclasses.replace(
        shape, vocabulary_size=tokenizer.vocabulary_size, pad_id=1, mask_id=2
    )
    embeddings = model.encode(tokenizer.encode_batch([REPEAT], 16).ids)
    assert np.isfinite(embeddings).all()


def test_another_genome_of_the_same_name_is_not_resumed_on(repetitive, tmp_path):
    fasta, out = tmp_path / "genome.fa", tmp_path / "run"
    text = repetitive.read_bytes()
    fasta.write_bytes(text)
    kmer_pretrain.run(fasta, BRIEF, out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    fasta.write_bytes(text.replace(b"ACGTTG", b"ACGTTC", 1))
    with pytest.raises(InputError, match=r"run\.fasta\.sha256 = '[0-9a-f]{64}', not"):
        kmer_pretrain.run(fasta, BRIEF, out)
    assert before == {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    fasta.write_bytes(text)
    kmer_pretrain.run(fasta, BRIEF, out)


# What is shown.


def decoded(batches, k=2):
    tokenizer = KmerTokenizer("v2", k)
    return {
        tokenizer.decode(ids)
        for batch in batches
        for ids in np.asarray(batch.token_ids)[np.asarray(batch.sequence_mask)]
    }


def windows(*parts):
    """All windows of 20 bp of parts of the random genome."""
    return {
        RANDOM[chrom][place : place + 20]
        for chrom, start, end in parts
        for place in range(start, end - 19)
    }


@pytest.mark.parametrize("both", [False, True])
def test_the_end_of_each_record_is_held_out(tmp_path, asked, monkeypatch, both):
    fasta = write(tmp_path / "random.fa", RANDOM)
    tables = []
    monkeypatch.setattr(
        WindowSampler,
        "tokens",
        lambda self, seed, size, share=WHOLE, read=WindowSampler.tokens: (
            tables.append((seed, read(self, seed, size, share))) or tables[-1][1]
        ),
    )
    config = dataclasses.replace(CONFIG, reverse_complement=both)
    trained, validated, _ = asked(fasta, config)
    # A fifth of 300 bp; of chrM, 20 bp at least, and what is left holds no window.
    ends = windows(("chr1", 240, 300), ("chr2", 240, 300), ("chrM", 10, 30))
    starts = windows(("chr1", 0, 240), ("chr2", 0, 240))
    assert not ends & starts
    if both:
        ends |= set(map(reverse_complement, ends))
        starts |= set(map(reverse_complement, starts))
    shown, judged = decoded(trained), decoded(validated)
    assert len(shown) > 300 * (1 + both) / 2
    assert shown <= starts
    assert len(judged) > 20
    assert judged <= ends
    assert judged & windows(("chrM", 10, 30)) or both
    # The frequency tables are made of what is trained on.
    of_tables = [ids for seed, ids in tables if len(ids) == CONFIG.table_windows]
    (table,) = of_tables
    texts = {KmerTokenizer("v2", 2).decode(ids) for ids in table}
    assert len(texts) > 100
    assert texts <= starts


def test_windows_that_are_validated_on_come_once(tmp_path, asked):
    fasta = write(tmp_path / "random.fa", RANDOM)
    _, validated, _ = asked(fasta)
    assert [len(batch.row) for batch in validated] == [16] * 4
    assert np.concatenate([b.row for b in validated]).tolist() == list(range(64))
    mask = np.concatenate([b.sequence_mask for b in validated])
    assert mask.tolist() == [True] * 50 + [False] * 14
    again = asked(fasta)[1]
    for one, other in zip(validated, again, strict=True):
        np.testing.assert_array_equal(one.token_ids, other.token_ids)


def test_stretches_of_the_callers_choice(tmp_path, asked):
    fasta = write(tmp_path / "random.fa", RANDOM)
    parts = {
        "train": [Stretch("chr1", 100, 150)],
        "validation": [Stretch("chr1", 150, 200), Stretch("chr2", 0, 25)],
    }
    trained, validated, _ = asked(fasta, **parts)
    assert decoded(trained) == windows(("chr1", 100, 150))
    assert decoded(validated) <= windows(("chr1", 150, 200), ("chr2", 0, 25))
    # The end of a stretch, where nothing else is said.
    trained, validated, _ = asked(fasta, train=[Stretch("chr2", 100, 200)])
    assert decoded(trained) <= windows(("chr2", 100, 180))
    assert decoded(validated) == windows(("chr2", 180, 200))


@pytest.mark.parametrize(("vocabulary", "size"), [("v1", 25), ("v2", 27)])
def test_kmers_are_hidden_and_nothing_else(tmp_path, asked, vocabulary, size):
    record = (RANDOM["chr1"][:7] + "N") * 30
    fasta = write(tmp_path / "with_n.fa", {"chr1": record})
    shape = builders.dna_encoder_config(vocabulary_size=size)
    config = dataclasses.replace(
        CONFIG, shape=shape, vocabulary=vocabulary, mask_share=1.0
    )
    (batch, *_), _, task = asked(fasta, config)
    _, where = task.mask(jax.random.PRNGKey(0), batch)
    tokens = np.array(KmerTokenizer(vocabulary, 2).vocabulary)[batch.token_ids]
    is_kmer = np.char.str_len(tokens) == 2
    assert 0.5 < is_kmer.mean() < 0.9
    np.testing.assert_array_equal(where, is_kmer)


# What cannot be.


@pytest.mark.parametrize(
    "parts",
    [
        {"validation": [Stretch("chr1", 0, 40)]},
        {"train": [Stretch("chr1", 0, 41)], "validation": [Stretch("chr1", 40, 90)]},
        {"train": [Stretch("chr1", 0, 90), Stretch("chr1", 60, 200)]},
    ],
)
def test_nothing_is_both_trained_and_validated_on(tmp_path, parts):
    fasta = write(tmp_path / "random.fa", RANDOM)
    with pytest.raises(InputError, match=r"chr1:.* both trained and validated on"):
        kmer_pretrain.run(fasta, CONFIG, tmp_path / "run", **parts)
    assert not (tmp_path / "run").exists()


def test_records_too_short_for_a_window(tmp_path):
    fasta = write(tmp_path / "short.fa", {"chr1": RANDOM["chr1"][:39]})
    with pytest.raises(InputError, match="holds a window of 20 bp"):
        kmer_pretrain.run(fasta, CONFIG, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_something_is_held_out_and_something_left(share):
    with pytest.raises(InputError, match=f"held_out: is {share}"):
        dataclasses.replace(CONFIG, held_out=share)
