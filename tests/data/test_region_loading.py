"""Batches of regions: what is shown is a stretch of the region, on either strand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.data.region_loading import RegionBatchBuilder, Turning, View
from scmultimodal.data.sampling import FILLER, Share
from scmultimodal.genome.composition import reverse_complement
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.schemas.errors import InputError
from tests import builders

TOKENIZER = KmerTokenizer("v2")
NUM_TOKENS = 24
SHORT, WITH_N = (1, 2), (3, 0)
"""Regions out of the ordinary: their span and place."""
EVERYTHING = Turning(reverse_complement=True, crop_bp=12)


def regions():
    """Four spans of 60 to 110 bp, one of 10 bp, one with an N."""
    lengths = np.random.default_rng(0).integers(60, 111, (4, 3))
    lengths[SHORT] = 10
    spans = [
        [builders.dna(n, seed=3 * row + place) for place, n in enumerate(span)]
        for row, span in enumerate(lengths.tolist())
    ]
    spans[WITH_N[0]][WITH_N[1]] = builders.dna(31, seed=90) + "N" + "ACGT" * 17
    return spans


SEQUENCES = regions()
ORDINARY = [place for place in np.ndindex(4, 3) if place not in (SHORT, WITH_N)]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """{version: the same sequences, padded as that version does}."""
    values = np.arange(12.0).reshape(4, 3)
    return {
        version: builders.region_store(
            tmp_path_factory.mktemp("store") / version,
            SEQUENCES,
            values,
            num_tokens=NUM_TOKENS,
            version=version,
        )
        for version in ("v1", "v2")
    }


@pytest.fixture(scope="module")
def store(stores):
    return stores["v1"]


def builder(store, turning=None, seed=0):
    return RegionBatchBuilder(store, TOKENIZER, turning, seed=seed)


def spans(*rows):
    return np.array(rows)


def stretches(sequence, crop):
    """{what may be shown: (start, strand)} of a sequence."""
    length = len(sequence) - crop
    found = {}
    for start in range(crop + 1):
        text = sequence[start : start + length]
        found[text] = (start, False)
        found[reverse_complement(text)] = (start, True)
    return found


def everything_equal(one, other):
    for name, leaf in vars(one).items():
        np.testing.assert_array_equal(leaf, getattr(other, name), err_msg=name)


# As prepared.


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_without_turning_tokens_are_as_prepared(stores, version):
    store = stores[version]
    batch = builder(store).build(spans(2, 0, 3), step=5)
    np.testing.assert_array_equal(batch.token_ids, store.tokens[[2, 0, 3]])
    np.testing.assert_array_equal(batch.values, store.values[[2, 0, 3]])
    assert batch.token_ids.dtype == batch.row.dtype == batch.span_index.dtype == "int32"
    assert batch.values.dtype == "float32"
    assert batch.span_mask.tolist() == [True] * 3
    assert batch.row.tolist() == [0, 1, 2]
    assert batch.span_index.tolist() == [2, 0, 3]
    everything_equal(builder(store).build(spans(2, 0, 3)), batch)
    (only,) = builder(store).views(store.tokens[1])
    np.testing.assert_array_equal(only, store.tokens[1])


@pytest.mark.parametrize("turning", [None, EVERYTHING])
def test_rows_that_fill_up_hold_nothing(store, turning):
    filled = builder(store, turning).build(spans(1, FILLER, 3), step=2)
    assert filled.span_mask.tolist() == [True, False, True]
    assert filled.span_index.tolist() == [1, -1, 3]
    assert (filled.token_ids[1] == TOKENIZER.pad_id).all()
    assert (filled.values[1] == 0).all()
    whole = builder(store, turning).build(spans(1, 0, 3), step=2)
    np.testing.assert_array_equal(filled.token_ids[[0, 2]], whole.token_ids[[0, 2]])
    np.testing.assert_array_equal(filled.values[[0, 2]], whole.values[[0, 2]])
    nothing = builder(store, turning).build(spans(FILLER, FILLER), step=2)
    assert not nothing.span_mask.any()
    assert (nothing.token_ids == TOKENIZER.pad_id).all()


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("step", [None, 0, 7])
@pytest.mark.parametrize("hosts", [1, 2, 3])
def test_hosts_together_see_the_global_batch(stores, version, step, hosts):
    build = builder(stores[version], EVERYTHING, seed=4).build
    chosen = spans(2, FILLER, 0, 1, FILLER, 3)
    parts = [build(chosen, step=step, share=Share(i, hosts)) for i in range(hosts)]
    for name, leaf in vars(build(chosen, step=step)).items():
        pieces = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(pieces, leaf, err_msg=name)


# Turned.


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_every_stretch_is_shown_on_either_strand_and_nothing_else(stores, version):
    build = builder(stores[version], EVERYTHING).build
    shown = {place: set() for place in ORDINARY}
    allowed = {(i, j): stretches(SEQUENCES[i][j], 12) for i, j in ORDINARY}
    for step in range(250):
        batch = build(np.arange(4), step=step)
        assert batch.token_ids.shape == (4, 3, NUM_TOKENS - 2)
        np.testing.assert_array_equal(batch.values, np.arange(12.0).reshape(4, 3))
        for place in ORDINARY:
            text = TOKENIZER.decode(batch.token_ids[place])
            shown[place].add(allowed[place][text])
    everything = set(itertools.product(range(13), [False, True]))
    assert all(found == everything for found in shown.values())


def test_places_and_strands_are_drawn_for_each_region_by_itself(store):
    batch = builder(store, EVERYTHING).build(np.zeros(40, int), step=0)
    views = [
        [stretches(SEQUENCES[0][j], 12)[TOKENIZER.decode(ids)] for j, ids in rows]
        for rows in map(enumerate, batch.token_ids)
    ]
    assert len({tuple(span) for span in views}) > 35
    for j, other in itertools.permutations(range(3), 2):
        assert sum(span[j] == span[other] for span in views) < 8


@pytest.mark.parametrize("step", [0, 7])
def test_one_strand_alone_or_no_crop(store, step):
    forward = builder(store, Turning(crop_bp=6)).build(np.arange(4), step=step)
    whole = builder(store, Turning(reverse_complement=True))
    turned = whole.build(np.arange(4), step=step)
    assert whole.num_tokens == NUM_TOKENS
    strands = []
    for i, j in ORDINARY:
        sequence = SEQUENCES[i][j]
        assert not stretches(sequence, 6)[TOKENIZER.decode(forward.token_ids[i, j])][1]
        text = TOKENIZER.decode(turned.token_ids[i, j])
        strands.append([sequence, reverse_complement(sequence)].index(text))
    assert 0 < sum(strands) < len(strands)


def test_what_is_no_longer_than_the_crop_stays_whole(store):
    sequence = SEQUENCES[SHORT[0]][SHORT[1]]
    build = builder(store, EVERYTHING).build
    shown = {
        TOKENIZER.decode(build(np.arange(4), step=step).token_ids[SHORT])
        for step in range(12)
    }
    assert shown == {sequence, reverse_complement(sequence)}


def test_an_n_moves_the_frame_and_may_cost_the_end(store):
    sequence = SEQUENCES[WITH_N[0]][WITH_N[1]]
    build = builder(store, EVERYTHING).build
    lost = []
    for step in range(60):
        text = TOKENIZER.decode(build(np.arange(4), step=step).token_ids[WITH_N])
        (whole,) = [s for s in stretches(sequence, 12) if s.startswith(text)]
        lost.append(len(whole) - len(text))
    assert 0 == min(lost) < max(lost) < 6


def test_a_batch_is_a_function_of_seed_and_step(store):
    def build(step, seed=3, store=store):
        return builder(store, EVERYTHING, seed).build(np.arange(4), step=step)

    one = builder(store, EVERYTHING, 3)
    for step in (4, 0, 4):  # in whatever order they are asked for
        everything_equal(one.build(np.arange(4), step=step), build(step))
    for other in (build(5), build(4, seed=4)):
        assert (other.token_ids != build(4).token_ids).any(-1).sum() > 8


def test_padding_at_random_stays_at_random(stores):
    def fronts(version, step):
        build = builder(stores[version], EVERYTHING, seed=1).build
        return (build(np.arange(4), step=step).token_ids == TOKENIZER.cls_id).argmax(-1)

    assert not fronts("v1", 0).any()
    assert (fronts("v2", 0) > 0).sum() > 3
    assert (fronts("v2", 0) != fronts("v2", 1)).sum() > 3
    np.testing.assert_array_equal(fronts("v2", 1), fronts("v2", 1))


# Views.


@given(k=st.integers(2, 10), kmers=st.integers(0, 5), both=st.booleans())
def test_a_judgement_sees_every_frame_of_each_strand_once(k, kmers, both):
    crop = k * kmers
    views = Turning(reverse_complement=both, crop_bp=crop).views(k)
    assert all(0 <= view.start <= crop for view in views)
    frames = sorted((view.turned, view.start % k) for view in views)
    strands = (False, True)[: 1 + both]
    assert frames == sorted(itertools.product(strands, range(k if crop else 1)))
    # As much is left out before as behind, within a k-mer.
    assert abs(np.mean([view.start for view in views]) - crop / 2) <= k / 2


def test_views_show_what_they_say(store):
    views = EVERYTHING.views(6)
    assert views[:2] == (View(3), View(4))
    assert views[-1] == View(8, turned=True)
    tokens = store.tokens[0]
    found = list(builder(store, EVERYTHING).views(tokens))
    assert len(found) == len(views) == 12
    for view, ids in zip(views, found, strict=True):
        assert ids.shape == (3, NUM_TOKENS - 2)
        for sequence, row in zip(SEQUENCES[0], ids, strict=True):
            where = stretches(sequence, 12)[TOKENIZER.decode(row)]
            assert where == (view.start, view.turned)
    unvaried = builder(store, EVERYTHING).build(spans(0))
    np.testing.assert_array_equal(unvaried.token_ids[0], found[0])


# What cannot be.


@pytest.mark.parametrize("crop", [5, 7, 6 * (NUM_TOKENS - 1), 6_000])
def test_a_crop_that_is_no_number_of_kmers_or_leaves_nothing(store, crop):
    with pytest.raises(InputError, match=f"crop_bp: is {crop}. Give a multiple of 6"):
        builder(store, Turning(crop_bp=crop))


def test_a_crop_below_zero():
    with pytest.raises(InputError, match="crop_bp: is -6"):
        Turning(crop_bp=-6)
