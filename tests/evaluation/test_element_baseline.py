"""The simple baseline of segmentation: its features, its fit, and what it counts."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from scmultimodal.data.element_store import ElementStore
from scmultimodal.evaluation import element_baseline, segmentation
from scmultimodal.genome.elements import ELEMENTS
from scmultimodal.genome.letters import N, as_letters

ISLAND, CHANCE, UNKNOWN, NEVER = 0, 2, 3, 4
SIZE = 20_000
COMPLEMENT = str.maketrans("ACGT", "TGCA")


@pytest.fixture(scope="module")
def store():
    """Three stretches: GC-rich islands, and an element that is anywhere."""
    rng = np.random.default_rng(0)
    known = 1 << ISLAND | 1 << CHANCE | 1 << NEVER
    letters, labels, territories = [], [], []
    for number, split in enumerate(("train", "validation", "test")):
        island = np.repeat(rng.random(SIZE // 500) < 0.2, 500)
        rich = rng.choice(list(b"ACGT"), SIZE, p=[0.1, 0.4, 0.4, 0.1])
        poor = rng.choice(list(b"ACGT"), SIZE, p=[0.35, 0.15, 0.15, 0.35])
        bases = np.where(island, rich, poor).astype(np.uint8)
        bases[100:130] = N
        anywhere = rng.random(SIZE) < 0.05
        letters.append(bases)
        labels.append((island << ISLAND | anywhere << CHANCE).astype(np.uint16))
        territories.append(
            {
                "chrom": str(number),
                "start": 1_000,
                "end": 1_000 + SIZE,
                "group": 7 + number,
                "split": split,
                "known": known,
            }
        )
    return ElementStore(
        path=Path("made up"),
        manifest={"territories": territories},
        letters=np.concatenate(letters),
        labels=np.concatenate(labels),
    )


def test_features_by_hand():
    text = "".join(
        np.random.default_rng(1).choice(list("ACGTN"), 700, p=[0.24] * 4 + [0.04])
    )
    rows = np.array([0, 3, 350, 699])
    found = element_baseline.features(as_letters(text), rows)
    width_of_kmers = 136
    assert found.shape == (4, 3 * width_of_kmers + 4 * 17)
    every = ("".join(kmer) for kmer in itertools.product("ACGT", repeat=4))
    order = sorted({min(k, k.translate(COMPLEMENT)[::-1]) for k in every})
    assert len(order) == width_of_kmers
    for row, at in zip(found, rows, strict=True):
        for block, width in enumerate((32, 128, 512)):
            around = text[max(at - width // 2, 0) : at + width // 2]
            kmers = [around[i : i + 4] for i in range(len(around) - 3)]
            either = [min(k, k.translate(COMPLEMENT)[::-1]) for k in kmers]
            expected = [either.count(kmer) / width for kmer in order]
            part = row[block * width_of_kmers :][:width_of_kmers]
            np.testing.assert_allclose(part, expected, atol=1e-7)
        beside = row[3 * width_of_kmers :].reshape(17, 4)
        for offset, one in zip(range(-8, 9), beside, strict=True):
            there = text[at + offset] if 0 <= at + offset < len(text) else "N"
            assert "".join(np.array(list("ACGT"))[one > 0]) == there.replace("N", "")


def test_it_finds_islands_and_says_how_frequent_chance_is(store):
    fitted = element_baseline.fit(store, np.array([0]), np.array([1]), most=2_000)
    counts = fitted.judge(store, np.array([2]))
    assert list(counts) == [9]
    results = segmentation.judge(*(counts[9][name] for name in segmentation.COUNTS))
    assert results[ISLAND].mcc > 0.75
    assert results[ISLAND].auprc > 0.9
    # Half of the bases that were fitted are of it; it is as rare as in the genome.
    rows = np.arange(SIZE)
    margins = element_baseline.features(store.letters[:SIZE], rows) @ fitted.weights
    said = 1 / (1 + np.exp(-(margins + fitted.biases)[:, CHANCE]))
    np.testing.assert_allclose(said.mean(), 0.05, atol=0.01)
    assert results[CHANCE].auprc < 0.08
    # One element is not known, one is never there: neither is fitted, nor ever said.
    for element in (UNKNOWN, NEVER):
        assert np.isnan(fitted.penalties[element])
        assert not results[element].is_judged


def test_every_known_base_is_counted_once(store):
    fitted = element_baseline.fit(store, np.array([0]), np.array([1]), most=200)
    counts = fitted.judge(store, np.array([1, 2]))
    assert list(counts) == [8, 9]
    for group, found in counts.items():
        labels = store.labels[(group - 7) * SIZE :][:SIZE]
        labels = np.delete(labels, slice(100, 130))
        for element in range(len(ELEMENTS)):
            here = int((labels >> element & 1).sum())
            known = element in {ISLAND, CHANCE, NEVER}
            expected = [len(labels) - here, here] if known else [0, 0]
            scores = found["score_counts"][element].sum(-1)
            right, wrong, missed, rest = found["confusion"][element]
            assert scores.tolist() == [wrong + rest, right + missed] == expected


def test_the_test_part_changes_nothing(store):
    fitted = element_baseline.fit(store, np.array([0]), np.array([1]), most=200)
    labels = store.labels.copy()
    labels[2 * SIZE :] ^= 1
    letters = store.letters.copy()
    letters[2 * SIZE :] = ord("A")
    other = ElementStore(
        path=store.path, manifest=store.manifest, letters=letters, labels=labels
    )
    again = element_baseline.fit(other, np.array([0]), np.array([1]), most=200)
    np.testing.assert_array_equal(fitted.weights, again.weights)


def test_without_validation_the_strongest_penalty_is_taken(store):
    fitted = element_baseline.fit(store, np.array([0]), np.array([], int), most=200)
    assert fitted.penalties[ISLAND] == element_baseline.GRID[0]
