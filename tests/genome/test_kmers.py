"""Tokens against SPEC 3.5 and against a tokenizer that goes letter by letter."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.genome.kmers import KmerTokenizer, TokenizedBatch
from scmultimodal.schemas.errors import InputError

V1, V2 = KmerTokenizer(version="v1"), KmerTokenizer()
CLS, PAD = 3, 1

tokenizers = st.builds(
    KmerTokenizer, version=st.sampled_from(["v1", "v2"]), k=st.integers(2, 7)
)
letters = st.one_of(
    st.text("ACGT", max_size=60),
    st.text("ACGTN", max_size=60),
    st.text("acgtnACGTNRYKMSWBDHVUXx", max_size=60),
)


def spelled(sequence: str, k: int) -> Iterator[str]:
    """The tokens, read off one letter at a time."""
    held = ""
    for letter in sequence.upper():
        if letter in "ACGT":
            held += letter
        else:
            yield from held
            yield "N"
            held = ""
        if len(held) == k:
            yield held
            held = ""
    yield from held


def place(token: str, tokenizer: KmerTokenizer) -> int:
    """The id by the rule of the vocabulary: base 4 with A, T, C, G as digits."""
    special = 6 if tokenizer.version == "v2" else 4
    if len(token) == 1:
        return special + 4**tokenizer.k + "ATCGN".index(token)
    value = 0
    for letter in token:
        value = 4 * value + "ATCG".index(letter)
    return special + value


def slowly(sequence: str, tokenizer: KmerTokenizer) -> list[int]:
    tokens = spelled(sequence, tokenizer.k)
    return [CLS, *(place(token, tokenizer) for token in tokens)]


# Every rule of SPEC 3.5.


@pytest.mark.parametrize(
    ("tokenizer", "sequence", "ids"),
    [
        pytest.param(V2, "", [3], id="CLS alone, no EOS"),
        pytest.param(V2, "AAAAAA", [3, 6], id="first 6-mer"),
        pytest.param(V2, "AAAAAT", [3, 7], id="T comes second"),
        pytest.param(V2, "AAAAAC", [3, 8], id="C comes third"),
        pytest.param(V2, "AAAAAG", [3, 9], id="G comes last"),
        pytest.param(V2, "AAAATA", [3, 10], id="the last letter runs fastest"),
        pytest.param(V2, "GGGGGG", [3, 4101], id="last 6-mer"),
        pytest.param(V2, "A", [3, 4102], id="A alone"),
        pytest.param(V2, "T", [3, 4103], id="T alone"),
        pytest.param(V2, "C", [3, 4104], id="C alone"),
        pytest.param(V2, "G", [3, 4105], id="G alone"),
        pytest.param(V2, "N", [3, 4106], id="N alone"),
        pytest.param(V2, "AAAAAAAAAAAT", [3, 6, 7], id="no overlap"),
        pytest.param(V2, "AAAAAATC", [3, 6, 4103, 4104], id="the rest as letters"),
        pytest.param(V2, "TCGTC", [3, 4103, 4104, 4105, 4103, 4104], id="under k"),
        pytest.param(V2, "NAAAAAT", [3, 4106, 7], id="N restarts the frame"),
        pytest.param(V2, "ANAAAAAT", [3, 4102, 4106, 7], id="letters before an N"),
        pytest.param(V2, "AAAAAANN", [3, 6, 4106, 4106], id="each N by itself"),
        pytest.param(
            V2, "AAANAAA", [3, *[4102] * 3, 4106, *[4102] * 3], id="N splits a 6-mer"
        ),
        pytest.param(V2, "aaaaat", [3, 7], id="lower case"),
        pytest.param(V2, "AAAAAARAAAAAT", [3, 6, 4106, 7], id="IUPAC is N"),
        pytest.param(V2, "uU", [3, 4106, 4106], id="U is N"),
        pytest.param(V1, "AAAAAA", [3, 4], id="v1: first 6-mer"),
        pytest.param(V1, "GGGGGG", [3, 4099], id="v1: last 6-mer"),
        pytest.param(V1, "A", [3, 4100], id="v1: A alone"),
        pytest.param(V1, "N", [3, 4104], id="v1: N alone"),
        pytest.param(
            KmerTokenizer(k=2), "GGATA", [3, 21, 7, 22], id="another k: 6 + 4² letters"
        ),
    ],
)
def test_rules(tokenizer: KmerTokenizer, sequence: str, ids: list[int]):
    assert tokenizer.encode(sequence) == ids


def test_vocabulary_v2():
    assert V2.vocabulary[:8] == (
        *("<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>"),
        *("AAAAAA", "AAAAAT"),
    )
    assert V2.vocabulary[4101:] == ("GGGGGG", "A", "T", "C", "G", "N")
    assert len(V2.vocabulary) == V2.vocabulary_size == 4107


def test_vocabulary_v1_has_no_end_and_no_begin():
    assert V1.vocabulary[:5] == ("<unk>", "<pad>", "<mask>", "<cls>", "AAAAAA")
    assert len(V1.vocabulary) == V1.vocabulary_size == 4105


@pytest.mark.parametrize("tokenizer", [V1, V2, KmerTokenizer(k=3)])
def test_named_ids_are_those_of_the_vocabulary(tokenizer: KmerTokenizer):
    names = {name: i for i, name in enumerate(tokenizer.vocabulary)}
    assert len(names) == tokenizer.vocabulary_size
    assert tokenizer.unk_id == names["<unk>"]
    assert tokenizer.pad_id == names["<pad>"]
    assert tokenizer.mask_id == names["<mask>"]
    assert tokenizer.cls_id == names["<cls>"]


def test_number_of_tokens():
    sequence = "ACGTTGCA" * 375
    lengths = {n: len(V2.encode(sequence[:n])) for n in range(3001)}
    assert all(lengths[n] == n // 6 + n % 6 + 1 for n in lengths)
    too_long = [2981, 2986, 2987, 2991, 2992, 2993, 2996, 2997, 2998, 2999]
    assert [n for n in lengths if lengths[n] > 501] == too_long
    assert len(V2.encode("N" + sequence[:2999])) == 506


@given(tokenizers, letters)
def test_encoding_is_that_of_the_slow_tokenizer(tokenizer, sequence):
    assert tokenizer.encode(sequence) == slowly(sequence, tokenizer)


@given(tokenizers, letters)
def test_round_trip(tokenizer, sequence):
    read = "".join(c if c in "ACGT" else "N" for c in sequence.upper())
    assert tokenizer.decode(tokenizer.encode(sequence)) == read


def test_what_decoding_leaves_out():
    named = V2.vocabulary.index
    ids = [PAD, CLS, 6, V2.mask_id, named("<bos>"), V2.unk_id, 4106, named("<eos>")]
    assert V2.decode(ids) == "AAAAAA<mask><unk>N"
    assert V2.decode(np.array([CLS, 7, PAD], np.uint16)) == "AAAAAT"


@pytest.mark.parametrize("token_id", [-1, 4107])
def test_ids_outside_the_vocabulary(token_id: int):
    with pytest.raises(InputError, match=rf"{token_id} is none of 0 to 4106.*v2"):
        V2.decode([CLS, token_id])


# Batches.


@given(
    tokenizers,
    st.lists(letters, max_size=5),
    st.integers(1, 20),
    st.sampled_from(["end", "random"]),
)
def test_a_row_is_the_longest_prefix_that_fits(tokenizer, sequences, length, padding):
    batch = tokenizer.encode_batch(sequences, length, padding=padding, seed=3)
    assert batch.ids.shape == (len(sequences), length)
    encoded = [slowly(sequence, tokenizer) for sequence in sequences]
    assert batch.cut == sum(len(ids) > length for ids in encoded)
    for row, sequence in zip(batch.ids.tolist(), sequences, strict=True):
        prefixes = (sequence[:n] for n in range(len(sequence), -1, -1))
        fitting = (slowly(prefix, tokenizer) for prefix in prefixes)
        longest = next(ids for ids in fitting if len(ids) <= length)
        front = row.index(CLS)
        assert row[front : front + len(longest)] == longest
        rest = row[:front] + row[front + len(longest) :]
        assert rest == [PAD] * (length - len(longest))
        assert padding == "random" or front == 0


def test_cut_and_unknown_are_counted():
    batch = V2.encode_batch(["AAAAAATC", "nNrR", "AAAAAATCGxRR", "T"], 4)
    assert isinstance(batch, TokenizedBatch)
    assert batch.ids.tolist() == [
        [3, 6, 4103, 4104],
        [3, 4106, 4106, 4106],
        [3, 6, 4103, 4104],
        [3, 4103, 1, 1],
    ]
    assert batch.ids.dtype == np.int32
    assert (batch.cut, batch.unknown) == (2, 5)


def test_what_does_not_fit_is_raised_by_choice():
    fits = ["AAAAAATC", "T"]
    raised = V2.encode_batch(fits, 4, overflow="raise")
    assert raised.ids.tolist() == V2.encode_batch(fits, 4).ids.tolist()
    with pytest.raises(InputError, match=r"sequence 2: has 5 tokens.*4 fit.*`length`"):
        V2.encode_batch([*fits, "AAAAAATCG"], 4, overflow="raise")


def test_every_split_of_the_padding_is_equally_likely():
    ids = V2.encode_batch(["AAAAAAT"] * 8_000, 10, padding="random").ids
    fronts = np.bincount((ids == CLS).argmax(axis=1), minlength=10)
    assert fronts[8:].tolist() == [0, 0]
    assert np.all(np.abs(fronts[:8] - 1_000) < 130)  # four standard deviations


def test_the_split_depends_on_seed_and_row_alone():
    many = ["AAAAAAT", "", "NNNN", "AAAAAATTTTTT", "ACG"] * 4

    def random(sequences, seed=5, **which):
        batch = V2.encode_batch(sequences, 30, padding="random", seed=seed, **which)
        return batch.ids

    np.testing.assert_array_equal(random(many)[:7], random(many[:7]))
    np.testing.assert_array_equal(random(many)[7:], random(many[7:], first_row=7))
    others = ["CCCCCC", *many[1:]]
    np.testing.assert_array_equal(random(others)[1:], random(many)[1:])
    assert np.any(random(many, seed=6) != random(many))
    assert np.any(random(many, seed=(5, 1)) != random(many, seed=(5, 2)))
    np.testing.assert_array_equal(random(many, (5, 1)), random(many, (5, 1)))


def test_an_empty_batch():
    batch = V2.encode_batch([], 7)
    assert (batch.ids.shape, batch.cut, batch.unknown) == ((0, 7), 0, 0)


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ("ACGT\n", r"'\\n' at position 4 is no letter"),
        (">chr1", "'>' at position 0"),
        ("AC-GT", "'-' at position 2"),
        ("RRé1", "'é' at position 2"),
    ],
)
def test_what_is_no_letter(sequence: str, message: str):
    with pytest.raises(InputError, match=f"^sequence: {message}"):
        V2.encode(sequence)
    with pytest.raises(InputError, match=f"^sequence 1: {message}"):
        V2.encode_batch(["ACGT", sequence], 9)


def test_one_string_is_no_batch():
    with pytest.raises(TypeError, match="not one string"):
        V2.encode_batch("ACGT", 9)


def test_no_room_for_cls():
    with pytest.raises(ValueError, match="at least 1"):
        V2.encode_batch(["ACGT"], 0)


@pytest.mark.parametrize("k", [1, 11])
def test_k_has_bounds(k: int):
    with pytest.raises(ValueError, match="from 2 to 10"):
        KmerTokenizer(k=k)


@pytest.mark.parametrize("k", [2, 6])
def test_kmers_of_the_vocabulary_are_all_of_them(k: int):
    kmers = KmerTokenizer(k=k).vocabulary[6:-5]
    assert sorted(kmers) == sorted(map("".join, itertools.product("ACGT", repeat=k)))


# One frame.


def in_frame(*sequences: str, k: int = 3) -> list[list[int]]:
    letters = [np.frombuffer(s.encode(), np.uint8) for s in sequences]
    return KmerTokenizer("v2", k).encode_frame(np.stack(letters)).tolist()


def test_a_frame_without_n_is_what_encode_gives():
    tokenizer = KmerTokenizer()
    sequence = "ACGTTGCAAGGCacgtacTTTAAA"
    assert in_frame(sequence, k=6) == [tokenizer.encode(sequence)]


def test_n_hides_its_kmer_and_shifts_nothing():
    tokenizer = KmerTokenizer("v2", 3)
    plain, hidden = in_frame("ACGTTGCAA", "ACGTNGCAR")
    assert hidden == [plain[0], plain[1], tokenizer.mask_id, tokenizer.mask_id]


def test_what_is_beyond_the_end_is_pad():
    tokenizer = KmerTokenizer("v2", 3)
    (ids,) = in_frame("ACGT\0\0\0\0\0")
    assert ids[2:] == [tokenizer.mask_id, tokenizer.pad_id]


def test_a_frame_of_broken_kmers_is_refused():
    with pytest.raises(ValueError, match="10 letters are no multiple of 3"):
        in_frame("ACGTACGTAC")
