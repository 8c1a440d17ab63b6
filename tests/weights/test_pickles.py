"""Pickles that hold arrays are read; of those that hold anything else nothing runs."""

import contextlib
import copyreg
import pickle
import sys

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import pickles
from tests.weights import crafted_pickles
from tests.weights.crafted_pickles import DAMAGED, HOSTILE, LIVE, SOUND


@pytest.fixture
def path(tmp_path):
    copyreg.add_extension(crafted_pickles.__name__, "Trap", 0xF0)
    yield tmp_path / "weights.joblib"
    copyreg.remove_extension(crafted_pickles.__name__, "Trap", 0xF0)


def refused(path, data, words="nothing in it was run"):
    """Reading ends in one line that names the file; nothing appears beside it."""
    path.write_bytes(data)
    before = sorted(path.parent.iterdir())
    with pytest.raises(InputError) as caught:
        pickles.load_tree(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 400
    assert sorted(path.parent.iterdir()) == before


@pytest.mark.parametrize("name", LIVE)
def test_nothing_runs(path, name):
    sentinel = path.with_name("ran")
    data = LIVE[name](str(sentinel))
    refused(path, data, "begins otherwise" if "protocol 0" in name else "was run")
    assert not sentinel.exists()
    # Python itself would have run it.
    with contextlib.suppress(Exception):
        joblib.load(path) if "joblib" in name else pickle.loads(data)
    assert sentinel.exists()


def test_nothing_is_imported(path):
    assert "this" not in sys.modules
    refused(path, crafted_pickles.file(crafted_pickles.named("this", "s")))
    refused(path, b"\x80\x02cthis\ns\n.")
    assert "this" not in sys.modules


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_array_is_refused(path, name):
    refused(path, HOSTILE[name])


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_refused(path, name):
    refused(path, DAMAGED[name], "damaged (")


def test_a_product_without_end_is_not_taken(path):
    """3,000 times 2²⁰³⁹, in 9 kB: many minutes."""
    large = pickle.dumps(2**2038, 2)[2:-1]
    axes = crafted_pickles.many(large, b"q\x01", b"h\x01" * 3_000)
    data = crafted_pickles.file(crafted_pickles.wrapped(axes))
    refused(path, data, "damaged (a shape that is none)")


@pytest.mark.parametrize("name", SOUND)
def test_every_truncation_is_refused(path, name):
    for length in range(len(SOUND[name])):
        refused(path, SOUND[name][:length], "damaged (")


@pytest.mark.parametrize("name", SOUND)
@settings(max_examples=300)
@given(data=st.data())
def test_other_bytes_end_in_arrays_or_in_an_error(tmp_path_factory, name, data):
    path = tmp_path_factory.getbasetemp() / "scrambled"
    content = bytearray(SOUND[name])
    places = st.integers(0, len(content) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        (leaves,) = pickles.load_tree(path).values()
        assert all(type(leaf) is np.ndarray for leaf in leaves.values())


def test_no_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match=f"^{path}: cannot be read"):
            pickles.load_tree(path)


# What is sound is read.

NUMBERS = ["f4", "f8", "f2", ">f4", "i8", ">i2", "u1", "?"]
ARRAYS = st.builds(
    lambda sizes, dtype, order: np.array(
        np.arange(np.prod(sizes, dtype=int)).reshape(sizes) % 7, dtype, order=order
    ),
    st.lists(st.integers(0, 4), max_size=3),
    st.sampled_from(NUMBERS),
    st.sampled_from("CF"),
)


@settings(max_examples=30)
@given(
    st.dictionaries(st.text(max_size=9), st.lists(ARRAYS, min_size=1, max_size=3)),
    st.sampled_from(["joblib", 4]),
)
def test_what_was_written_is_read(tmp_path_factory, modules, protocol):
    path = tmp_path_factory.getbasetemp() / "sound"
    tree = {m: {f"w{i}": a for i, a in enumerate(ar)} for m, ar in modules.items()}
    if protocol == "joblib":
        joblib.dump(tree, path)
    else:
        path.write_bytes(pickle.dumps(tree, protocol))
    found = pickles.load_tree(path)
    assert list(found) == list(tree)
    for module, leaves in tree.items():
        for name, array in leaves.items():
            native = array.astype(array.dtype.newbyteorder("="))
            np.testing.assert_array_equal(found[module][name], native, strict=True)
