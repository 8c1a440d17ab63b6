"""The peaks of a model on disk and back, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from scmultimodal.data.peak_vocabulary import FILE_NAME, PeakVocabulary
from scmultimodal.schemas.errors import InputError

PEAKS = pd.DataFrame(
    {
        "chrom": ["chr2", "chr1", "chr10", "chr1", "chr2"],
        "start": [5, 30, 1, 10, 5],
        "end": [9, 40, 2, 20, 9],
        "score": range(5),
    }
)


@pytest.fixture
def vocabulary():
    return PeakVocabulary.from_frame(PEAKS, origin={"how": "bed"})


def test_sorted_and_each_once(vocabulary):
    assert vocabulary.num_peaks == 4
    assert vocabulary.to_frame().to_numpy().tolist() == [
        ["chr1", 10, 20], ["chr1", 30, 40], ["chr10", 1, 2], ["chr2", 5, 9],
    ]  # fmt: skip
    assert vocabulary.chroms.tolist() == ["chr1", "chr10", "chr2"]


def test_there_and_back(vocabulary, tmp_path):
    vocabulary.save(tmp_path)
    again = PeakVocabulary.load(tmp_path)
    assert again.digest() == vocabulary.digest()
    assert again.origin == {"how": "bed"}
    pd.testing.assert_frame_equal(again.to_frame(), vocabulary.to_frame())
    shuffled = PeakVocabulary.from_frame(PEAKS[::-1], origin={"how": "bed"})
    assert shuffled.digest() == vocabulary.digest()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"starts": [10, 30, 1, 9]}, "from 9 to 9 bp"),
        ({"chrom": [0, 0, 1, 3]}, "on no chromosome"),
        ({"starts": [31, 30, 1, 5], "ends": [32, 40, 2, 9]}, "is not sorted"),
        ({"starts": [10, 10, 1, 5], "ends": [20, 20, 2, 9]}, "a peak twice"),
        ({"ends": [20, 40, 2]}, "several lengths"),
        ({"chrom": [], "starts": [], "ends": []}, "has no peak"),
        ({"starts": ["x"] * 4}, "is not a peak vocabulary"),
        ({"schema_version": 9}, "another schema version"),
    ],
)
def test_damage_is_named(vocabulary, tmp_path, change, problem):
    path = vocabulary.save(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=rf"{FILE_NAME}: .*{problem}"):
        PeakVocabulary.load(tmp_path)


def test_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"peaks\.json: does not exist"):
        PeakVocabulary.load(tmp_path)


def test_the_arrays_themselves_are_checked(vocabulary):
    with pytest.raises(InputError, match="on no chromosome"):
        PeakVocabulary(
            chroms=vocabulary.chroms,
            chrom=np.array([-1]),
            starts=np.array([0]),
            ends=np.array([1]),
        )
