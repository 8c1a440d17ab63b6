"""Blocks of plain and gzipped files, read again in any order."""

import gzip
import io
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.genome import blocks
from tests import builders

TEXT = bytes(range(256)) * 3 + b"ACGT" * 90


def gzip_members(text: bytes) -> bytes:
    half = len(text) // 2
    return gzip.compress(text[:half]) + gzip.compress(text[half:])


PACKINGS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "stored": lambda text: gzip.compress(text, compresslevel=0),
    "members": gzip_members,
    "padded": lambda text: gzip.compress(text) + b"\0" * 41 + gzip.compress(b""),
    "bgzip": builders.bgzip,
}
"""How a text may lie on disk."""

texts = st.builds(
    lambda some, times, rest: some * times + rest,
    st.binary(max_size=60).filter(lambda some: some[:1] != b"\x1f"),
    st.integers(1, 30),
    st.binary(max_size=9).filter(lambda rest: rest[:1] != b"\x1f"),
)


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    """Sizes at which a short text has many blocks, and a block many reads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_PLAIN_BYTES", 64)
        patch.setattr(blocks, "_MEMBER_BYTES", 150)
        patch.setattr(blocks, "_STATE_BYTES", 300)
        patch.setattr(blocks, "_READ_BYTES", 7)
        yield


def opened(packed: bytes) -> blocks.Blocks:
    return blocks.open_blocks(io.BytesIO(packed))


@pytest.mark.parametrize("packing", PACKINGS.values(), ids=PACKINGS)
@given(texts, st.randoms(use_true_random=False))
def test_blocks_are_the_text(packing: Callable[[bytes], bytes], text, random):
    scanned = opened(packing(text))
    parts = list(scanned.scan())
    assert b"".join(parts) == text
    assert all(parts)
    order = list(range(len(parts))) * 2
    random.shuffle(order)
    assert [scanned.read(i) for i in order] == [parts[i] for i in order]


@pytest.mark.parametrize("packing", PACKINGS.values(), ids=PACKINGS)
def test_no_block_is_large(packing: Callable[[bytes], bytes]):
    sizes = [len(block) for block in opened(packing(TEXT)).scan()]
    assert len(sizes) >= len(TEXT) / 300
    assert max(sizes) <= 300


def test_members_of_bgzip_need_no_state():
    scanned = opened(builders.bgzip(TEXT))
    assert all(list(scanned.scan()))
    assert {state for _, state in scanned._starts} == {None}


@pytest.mark.parametrize("packing", ["gzip", "members", "bgzip"])
def test_a_truncated_file_never_passes(packing: str):
    packed = PACKINGS[packing](TEXT)
    first_member = len(gzip.compress(TEXT[: len(TEXT) // 2]))
    for length in range(2, len(packed)):
        if packing == "members" and length == first_member:
            continue  # a whole gzip file, as far as anybody can tell
        with pytest.raises((EOFError, zlib.error)):
            list(opened(packed[:length]).scan())


@pytest.mark.parametrize("packing", ["gzip", "bgzip"])
def test_a_flipped_bit_is_noticed_or_harmless(packing: str):
    packed = PACKINGS[packing](TEXT)
    noticed = 0
    for place in range(2, len(packed)):
        flipped = bytearray(packed)
        flipped[place] ^= 1 << place % 8
        try:
            text = b"".join(opened(bytes(flipped)).scan())
        except (EOFError, zlib.error):
            noticed += 1
        else:
            assert text == TEXT
    assert noticed > len(packed) / 2


def test_what_follows_a_member_must_be_one():
    with pytest.raises(zlib.error):
        list(opened(gzip.compress(TEXT) + b"trailing").scan())
