"""Which cells train, tune and test."""

import numpy as np
import pytest

from scmultimodal.evaluation.split_indices import SplitIndices
from scmultimodal.schemas.errors import InputError


def test_a_split_is_read_from_words():
    split = SplitIndices.from_names(
        ["train", "test", "left_out", "validation", "train"]
    )
    assert split.train.tolist() == [0, 4]
    assert split.validation.tolist() == [3]
    assert split.test.tolist() == [1]


def test_a_split_is_disjoint_and_has_no_empty_part():
    with pytest.raises(InputError, match="'validation': no cell"):
        SplitIndices.from_names(["train", "test"])
    rows = np.array([1])
    with pytest.raises(InputError, match="listed twice"):
        SplitIndices(train=rows, validation=np.array([2]), test=rows)
