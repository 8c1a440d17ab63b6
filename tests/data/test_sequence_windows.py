"""Windows of a genome: where they lie, on which strand, and nothing by chance."""

import itertools

import numpy as np
import pytest

from scmultimodal.data import sequence_windows
from scmultimodal.data.sampling import Share
from scmultimodal.data.sequence_windows import Stretch, WindowSampler
from scmultimodal.genome.composition import reverse_complement
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.schemas.errors import InputError
from tests import builders

TOKENIZER = KmerTokenizer("v2")
TEXTS = {
    "chr1": builders.dna(300, seed=1),
    "chr2": builders.dna(100, seed=2).lower(),
    "chrN": builders.dna(40, seed=3) + "N" * 20 + builders.dna(40, seed=4),
}
STRETCHES = [
    Stretch("chr1", 10, 37),  # 4 places for 24 bp
    Stretch("chr2", 0, 23),  # none
    Stretch("chr1", 250, 274),  # 1
    Stretch("chr2", 50, 78),  # 5
]
PLACES = [("chr1", 10 + i) for i in range(4)] + [("chr1", 250)]
PLACES += [("chr2", 50 + i) for i in range(5)]


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    path.write_bytes(builders.fasta(TEXTS))
    with Genome.open(path) as opened:
        yield opened


def sampler(genome, stretches=STRETCHES, window_bp=24, **options):
    return WindowSampler(genome, stretches, TOKENIZER, window_bp=window_bp, **options)


def windows(places, size=24):
    """{letters: (place, strand)} of windows at these places."""
    found = {}
    for chrom, start in places:
        text = TEXTS[chrom][start : start + size].upper()
        found[text] = ((chrom, start), False)
        found[reverse_complement(text)] = ((chrom, start), True)
    return found


def drawn(batch, places=PLACES):
    """Place and strand of each window of a batch."""
    known = windows(places)
    return [known[TOKENIZER.decode(ids)] for ids in batch.token_ids]


class Everything(np.random.Generator):
    """Draws 0, 1, 2, … instead of by chance."""

    def integers(self, low, high, size):
        """Each number equally often, from the first on."""
        return low + np.arange(size) % (high - low)


def test_every_place_stands_for_one_number_that_is_drawn(genome, monkeypatch):
    monkeypatch.setattr(sequence_windows.np.random, "Generator", Everything)
    one_strand = sampler(genome, reverse_complement=False)
    found = drawn(one_strand.batch(0, len(PLACES)))
    assert found == [(place, False) for place in PLACES]


def test_places_and_strands_are_equally_likely(genome):
    size = 8_000
    found = drawn(sampler(genome).batch(0, size))
    counts = dict.fromkeys(itertools.product(PLACES, [False, True]), 0)
    for key in found:
        counts[key] += 1
    expected = size / len(counts)
    deviation = (np.array(list(counts.values())) - expected) / np.sqrt(expected)
    # χ² of 19 degrees of freedom: mean 19, standard deviation 6.
    assert 5 < (deviation**2).sum() < 40


def test_one_strand_alone(genome):
    found = drawn(sampler(genome, reverse_complement=False).batch(0, 500))
    assert {strand for _, strand in found} == {False}
    assert {place for place, _ in found} == set(PLACES)


def test_a_batch_is_a_function_of_seed_and_step(genome):
    one = sampler(genome, seed=5)
    for step in (3, 0, 3):
        again = sampler(genome, seed=5).batch(step, 50)
        np.testing.assert_array_equal(one.batch(step, 50).token_ids, again.token_ids)
    np.testing.assert_array_equal(one.tokens((5, 3), 50), one.batch(3, 50).token_ids)
    for other in (one.batch(4, 50), sampler(genome, seed=6).batch(3, 50)):
        assert (other.token_ids != one.batch(3, 50).token_ids).any(1).mean() > 0.8


@pytest.mark.parametrize("hosts", [1, 2, 5])
def test_hosts_together_see_the_global_batch(genome, hosts):
    source = sampler(genome)
    parts = [source.batch(3, 20, Share(host, hosts)) for host in range(hosts)]
    for name, leaf in vars(source.batch(3, 20)).items():
        pieces = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(pieces, leaf, err_msg=name)


def test_a_batch_is_full_of_windows_without_padding(genome):
    batch = sampler(genome).batch(1, 7)
    assert batch.token_ids.shape == (7, 5)
    assert batch.token_ids.dtype == np.int32
    assert (batch.token_ids[:, 0] == TOKENIZER.cls_id).all()
    assert (batch.token_ids[:, 1:] > TOKENIZER.cls_id).all()
    assert batch.sequence_mask.tolist() == [True] * 7
    assert batch.row.tolist() == list(range(7))


def test_windows_with_n_lose_their_end(genome):
    found = sampler(genome, [Stretch("chrN", 0, 100)]).batch(0, 400)
    known = windows([("chrN", start) for start in range(77)])
    whole = [window for window in known if "N" not in window]
    assert found.token_ids.shape == (400, 5)
    assert (found.token_ids != TOKENIZER.pad_id).all()
    texts = [TOKENIZER.decode(ids) for ids in found.token_ids]
    assert all(any(w.startswith(text) for w in known) for text in texts)
    cut = [text for text in texts if len(text) < 24]
    assert "NNNN" in cut
    assert len(cut) + sum(text in whole for text in texts) == 400


@pytest.mark.parametrize("window_bp", [-6, 0, 5, 25])
def test_a_window_that_is_no_number_of_kmers(genome, window_bp):
    message = f"window_bp: is {window_bp}. Give a multiple of 6"
    with pytest.raises(InputError, match=message):
        sampler(genome, window_bp=window_bp)


@pytest.mark.parametrize("stretches", [[], STRETCHES[:2]])
def test_no_stretch_that_holds_a_window(genome, stretches):
    message = f"none of {len(stretches)} holds a window of 30 bp"
    with pytest.raises(InputError, match=message):
        sampler(genome, stretches, window_bp=30)


@pytest.mark.parametrize("stretch", [("chr1", 280, 310), ("chr9", 0, 30)])
def test_a_stretch_that_the_genome_has_not(genome, stretch):
    with pytest.raises(InputError, match=rf"genome\.fa: .*{stretch[0]}"):
        sampler(genome, [Stretch(*stretch)]).batch(0, 50)
