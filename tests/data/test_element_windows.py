"""Windows of labelled letters: every base once to judge, all places to learn."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from scmultimodal.data.element_store import Territory, write_element_store
from scmultimodal.data.element_windows import ElementSampler
from scmultimodal.data.sampling import Share
from scmultimodal.genome.elements import ELEMENTS, Painter
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.genome.letters import reverse_complement
from scmultimodal.schemas.batches import UNJUDGED
from scmultimodal.schemas.errors import InputError
from tests import builders

K = 3
TOKENIZER = KmerTokenizer("v2", K)
SIZES = (50, 24, 7)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three territories; every base has a label of its own, the last one's is N."""
    folder = tmp_path_factory.mktemp("elements")
    letters = builders.dna(99, seed=3) + "N"
    (folder / "genome.fa").write_bytes(builders.fasta({"chr1": letters}))
    table = pd.DataFrame(
        [
            ("chr1", at, at + 1, name)
            for at in range(100)
            for i, name in enumerate(ELEMENTS)
            if at >> i & 1
        ],
        columns=["chrom", "start", "end", "element"],
    )
    edges = [(0, 50), (60, 84), (93, 100)]
    territories = [
        Territory(chrom="chr1", start=a, end=b, group=i, split="train", known=2**7 - 1)
        for i, (a, b) in enumerate(edges)
    ]
    with Genome.open(folder / "genome.fa") as genome:
        return write_element_store(
            folder / "store",
            territories,
            genome,
            Painter(table),
            config={},
            provenance={},
        )


def sampler(store, **fields):
    fields = {"window_bp": 12, "seed": 1} | fields
    return ElementSampler(store, np.arange(3), TOKENIZER, **fields)


def words(batch, row):
    return TOKENIZER.decode(batch.token_ids[row])


def test_tiles_judge_every_base_once(store):
    windows = sampler(store)
    tiles = windows.tiles()
    judged = []
    for batch in windows.in_order(tiles, 4):
        for row in np.flatnonzero(batch.sequence_mask):
            assert batch.known[row] == 2**7 - 1
            labels = batch.labels[row]
            judged += labels[labels != UNJUDGED].tolist()
    expected = [*range(50), *range(60, 84), *range(93, 99)]  # 99 is N
    assert sorted(judged) == expected


def test_a_short_territory_is_padded_and_n_hides_its_kmer(store):
    windows = sampler(store)
    tiles = windows.tiles()
    last = tiles.take(np.array([len(tiles) - 1]))
    (batch,) = windows.in_order(last, 1)
    ids = batch.token_ids[0].tolist()
    assert ids[0] == TOKENIZER.cls_id
    # 7 letters of 12: two k-mers, one cut off (its letter is the N), one of nothing.
    assert [ids[3], ids[4]] == [TOKENIZER.mask_id, TOKENIZER.pad_id]
    assert (batch.labels[0, 6:] == UNJUDGED).all()


def test_filling_rows_weigh_nothing(store):
    windows = sampler(store)
    *_, last = windows.in_order(windows.tiles(), 3)
    filled = ~last.sequence_mask
    assert filled.any()
    assert (last.known[filled] == 0).all()
    assert (last.token_ids[filled][:, 1:] == TOKENIZER.pad_id).all()
    assert (last.labels[filled] == UNJUDGED).all()


def test_fewer_tiles_are_evenly_spread(store):
    windows = sampler(store)
    some = windows.tiles(at_most=3)
    whole = windows.tiles()
    assert len(some) == 3
    assert some.territory.tolist() == [0, 0, 2]
    assert some.start[0] == whole.start[0]
    assert len(windows.tiles(at_most=99)) == len(whole)


def test_random_windows_are_places_of_the_territories(store):
    windows = sampler(store, reverse_complement=False)
    text = bytes(store.letters).decode()
    seen = set()
    for step in range(40):
        batch = windows.batch(step, 8)
        for row in range(8):
            first = int(batch.labels[row, 0])
            offset = first if first < 50 else first - 10
            assert words(batch, row) == text[offset : offset + 12]
            expected = np.arange(first, first + 12)
            np.testing.assert_array_equal(batch.labels[row], expected)
            seen.add(first)
    assert seen == {*range(39), *range(60, 73)}


def test_the_other_strand_turns_letters_and_labels(store):
    either = sampler(store)
    one = sampler(store, reverse_complement=False)
    turned = 0
    for step in range(10):
        a, b = either.batch(step, 8), one.batch(step, 8)
        for row in range(8):
            if (a.labels[row] == b.labels[row]).all():
                assert words(a, row) == words(b, row)
                continue
            turned += 1
            np.testing.assert_array_equal(a.labels[row], b.labels[row][::-1])
            letters = np.frombuffer(words(b, row).encode(), np.uint8)[None]
            assert words(a, row) == reverse_complement(letters).tobytes().decode()
    assert 20 < turned < 60


def test_a_batch_is_a_function_of_seed_and_step_and_its_parts_fit(store):
    whole = sampler(store).batch(3, 8)
    parts = [sampler(store).batch(3, 8, Share(i, 2)) for i in range(2)]
    for field in dataclasses.fields(whole):
        joined = np.concatenate([getattr(part, field.name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, field.name))
    again, other = sampler(store).batch(3, 8), sampler(store, seed=2).batch(3, 8)
    np.testing.assert_array_equal(again.labels, whole.labels)
    assert (other.labels != whole.labels).any()


def test_windows_that_cannot_be(store):
    with pytest.raises(InputError, match=r"window_bp: is 10\. Give a multiple of 3"):
        sampler(store, window_bp=10)
    long = sampler(store, window_bp=51)
    assert long.num_too_short == 3
    with pytest.raises(InputError, match="none of 3 territories holds a window"):
        long.batch(0, 1)
    # To judge, they are filled up.
    (batch,) = long.in_order(long.tiles(), 3)
    assert (batch.labels != UNJUDGED).sum() == sum(SIZES) - 1
