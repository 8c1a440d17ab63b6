"""Vectors of the DNA of peaks: what they are, and how tokens of peaks come by them."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest
import safetensors

from scmultimodal import cli
from scmultimodal.data import peak_dna
from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.genome.fasta import Genome
from scmultimodal.models import CellModel, GenomeModel
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.weights import genome_model
from scmultimodal.workflows import (
    encode_peaks,
    finetune,
    pretrain,
)
from scmultimodal.workflows.finetune_config import FinetuneConfig
from scmultimodal.workflows.peak_path import GeneFromPeaksOptions, PeakPathConfig
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

ENCODER = "cell_encoder/peak_encoder"
OFF = GeneFromPeaksOptions()
WINDOW = 60


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return builders.peak_store(tmp_path_factory.mktemp("peaks") / "data")


@pytest.fixture(scope="module")
def dna_model():
    return builders.segmenter_model()


@pytest.fixture(scope="module")
def fasta(store, tmp_path_factory):
    """All chromosomes of the peaks but the last, the first a little too short."""
    peaks = store.peaks
    ends = [int(peaks.ends[peaks.chrom == c].max()) for c in range(len(peaks.chroms))]
    ends[0] -= 10
    records = {
        str(name): builders.dna(end, seed=seed)
        for seed, (name, end) in enumerate(zip(peaks.chroms, ends, strict=True))
    }
    del records[str(peaks.chroms[-1])]
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    path.write_bytes(builders.fasta(records))
    return path


@pytest.fixture(scope="module")
def made(store, dna_model, fasta, tmp_path_factory):
    """The file, by the command."""
    folder = tmp_path_factory.mktemp("dna")
    genome_model.save(dna_model, folder / "model")
    command = ["encode-peaks", "--model", str(folder / "model"), "--fasta", str(fasta)]
    command += ["--data", str(store.path), "--window-bp", str(WINDOW)]
    out = folder / "dna.safetensors"
    assert cli.main([*command, "--out", str(out), "--batch-size", "7"]) == 0
    return out


def test_a_vector_is_the_mean_over_the_letters_around_the_middle(
    store, dna_model, fasta, made
):
    """Of all peaks that the genome holds; each number has mean 0 and SD 1."""
    model, peaks, rows = GenomeModel(dna_model), store.peaks, []
    held = peaks.chrom < len(peaks.chroms) - 1
    with Genome.open(fasta) as genome:
        for peak in np.flatnonzero(held):
            chrom = str(peaks.chroms[peaks.chrom[peak]])
            start = int(peaks.starts[peak] + peaks.ends[peak] - WINDOW) // 2
            start = max(0, min(start, genome.chromosomes[chrom] - WINDOW))
            letters = genome.fetch(chrom, start, start + WINDOW)
            ids = np.array([model.tokenizer.encode(letters)])
            rows.append(model.encode(ids)[0, 1:].mean(0))
    rows = np.array(rows, np.float64)
    expected = (rows - rows.mean(0)) / rows.std(0)
    found = peak_dna.read(made, peaks)
    np.testing.assert_allclose(found[held], expected, atol=2e-4)
    assert not held.all()
    assert not found[~held].any()
    with safetensors.safe_open(made, "np") as file:
        assert file.metadata()["window_bp"] == str(WINDOW)


def trained(store, made, tmp_path, **fields):
    path = builders.peak_pretraining().peaks
    config = builders.peak_pretraining(
        peaks=dataclasses.replace(path, dna=made), steps=2, **fields
    )
    return pretrain.run(store, config, tmp_path / "pretrain")


def test_tokens_know_it_from_pretraining_to_what_is_stored(store, made, tmp_path):
    model = trained(store, made, tmp_path)
    vectors = peak_dna.read(made, store.peaks)
    assert model.config.encoder.peaks.dna_dim == vectors.shape[1]
    np.testing.assert_array_equal(model.network_state[ENCODER]["dna"], vectors)
    data = builders.simulated_cells(num_cells=200, num_genes=40)["atac"]
    loaded = CellModel.load(tmp_path / "pretrain")
    np.testing.assert_allclose(
        loaded.embed(data), CellModel(model).embed(data), atol=1e-6
    )
    other = {**model.network_state, ENCODER: {"dna": vectors[::-1].copy()}}
    changed = CellModel(dataclasses.replace(model, network_state=other))
    assert np.abs(changed.embed(data) - loaded.embed(data)).max() > 1e-3


@pytest.mark.parametrize("from_scratch", [False, True])
def test_fine_tuning_keeps_it(store, made, tmp_path, from_scratch):
    start = trained(store, made, tmp_path)
    config = FinetuneConfig(epochs=1, batch_size=64, hidden=(4,))
    out = tmp_path / "tuned"
    tuned = finetune.run(
        store, start, config, Regime.ATAC, out, from_scratch=from_scratch
    )
    np.testing.assert_array_equal(
        tuned.network_state[ENCODER]["dna"], start.network_state[ENCODER]["dna"]
    )


def test_a_resume_asks_what_the_file_holds_not_where_it_lies(store, made, tmp_path):
    first = trained(store, made, tmp_path)
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(made.read_bytes())
    again = trained(store, moved, tmp_path)
    assert jax.tree.all(jax.tree.map(np.array_equal, first.params, again.params))
    dna = peak_dna.read(made, store.peaks)
    peak_dna.write(moved, dna + 1, store.peaks, {})
    with pytest.raises(InputError, match="peaks"):
        trained(store, moved, tmp_path)


def test_what_is_no_file_of_these_peaks(store, made, tmp_path):
    def width(path):
        return peak_dna.width(path, store.peaks)

    with pytest.raises(InputError, match=r"none.safetensors: does not exist"):
        width(tmp_path / "none.safetensors")
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(made.read_bytes()[:100])
    with pytest.raises(InputError, match=r"torn.safetensors: cannot be read"):
        width(torn)
    moved = dataclasses.replace(store.peaks, origin={"how": "a BED of the same"})
    assert peak_dna.width(made, moved) == width(made)
    other = builders.peak_store(tmp_path / "other", num_genes=30).peaks
    assert other.digest() != store.peaks.digest()
    with pytest.raises(InputError, match="is of other peaks than the dataset"):
        peak_dna.width(made, other)
    config = builders.peak_pretraining(peaks=PeakPathConfig(dna=torn))
    with pytest.raises(InputError, match="cannot be read"):
        pretrain.untrained(store, config)
    with pytest.raises(InputError, match=r"peaks.dna: is given, and atac_path"):
        dataclasses.replace(
            config, atac_path="gene", gene_from_peaks=OFF, mask_weight=1.0
        )


def test_what_cannot_be_encoded(store, dna_model, fasta, tmp_path):
    def run(**fields):
        given = {"fasta": fasta, "out": tmp_path / "dna.safetensors"} | fields
        return encode_peaks.run(store.peaks, dna_model, **given)

    with pytest.raises(InputError, match=r"window_bp: is 510, and the model reads"):
        run()
    with pytest.raises(InputError, match="would take the place of"):
        run(out=fasta, window_bp=WINDOW, overwrite=True)
    elsewhere = tmp_path / "elsewhere.fa"
    short = {str(c): builders.dna(500) for c in store.peaks.chroms}
    for records in ({"chr99": builders.dna(500)}, short):
        elsewhere.write_bytes(builders.fasta(records))
        with pytest.raises(InputError, match=r"holds no peak. Is it of the assembly"):
            run(fasta=elsewhere, window_bp=WINDOW)
    assert list(tmp_path.iterdir()) == [elsewhere]


def test_peaks_beyond_their_chromosome_and_of_n_alone_have_none(dna_model, tmp_path):
    """The rest of a window is read, however many N there are before it."""
    places = [(0, 100), (300, 400), (520, 540), (700, 760), (5_000, 5_100)]
    rows = [("chr1", *place) for place in places]
    peaks = PeakVocabulary.from_frame(
        pd.DataFrame(rows, columns=["chrom", "start", "end"])
    )
    letters = builders.dna(800)
    letters = letters[:495] + "N" * 70 + letters[565:695] + "N" * 50 + letters[745:]
    (tmp_path / "genome.fa").write_bytes(builders.fasta({"chr1": letters}))
    out = tmp_path / "dna.safetensors"
    with pytest.warns(UserWarning, match="1 peaks lie beyond the end"):
        found = encode_peaks.run(
            peaks, dna_model, tmp_path / "genome.fa", out, window_bp=WINDOW
        )
    assert found.without == 2
    vectors = peak_dna.read(out, peaks)
    assert vectors.any(1).tolist() == [True, True, False, True, False]
    model = GenomeModel(dna_model)
    windows = [letters[s:e] for s, e in ((20, 80), (320, 380), (700, 760))]
    rows = []
    for window in windows:
        ids = np.array([model.tokenizer.encode(window)])
        rows.append(model.encode(ids)[model.tokenizer.is_kmer(ids)].mean(0))
    expected = (rows - np.mean(rows, 0)) / np.std(rows, 0)
    np.testing.assert_allclose(vectors[[0, 1, 3]], expected, atol=2e-4)
