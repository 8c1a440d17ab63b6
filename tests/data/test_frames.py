import json

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.data import frames


def there_and_back(frame):
    return frames.from_json(json.loads(json.dumps(frames.to_json(frame))))


def test_types_and_missing_values_survive():
    index = pd.Index(["a", "b", "c"], dtype=object, name="cell_id")
    frame = pd.DataFrame(
        {
            "text": ["x", None, "ü"],
            "number": [1.5, np.nan, np.inf],
            "small": np.float32([0.1, 0.2, 0.3]),
            "count": np.int32([1, 2, 3]),
            "maybe": pd.array([1, None, 3], dtype="Int64"),
            "flag": [True, False, True],
            "kind": pd.Categorical(["u", None, "v"], ["v", "unused", "u"]),
            "rank": pd.Categorical([2, 1, 2], [2, 1], ordered=True),
        },
        index=index,
    )
    pd.testing.assert_frame_equal(there_and_back(frame), frame)


def test_anything_else_becomes_text():
    frame = pd.DataFrame(
        {"mixed": [1, "a"], "day": pd.to_datetime(["2024-01-01", None])}, index=[7, 8]
    )
    back = there_and_back(frame)
    assert back.index.tolist() == ["7", "8"]
    assert back["mixed"].tolist() == ["1", "a"]
    assert back["day"].tolist()[0].startswith("2024-01-01")
    assert back["day"].isna().tolist() == [False, True]


@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=True),
            st.integers(-(2**63), 2**63 - 1),
            st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        ),
        min_size=1,
    )
)
def test_values_survive_bit_for_bit(rows):
    floats, integers, texts = zip(*rows, strict=True)
    index = pd.Index(map(str, range(len(rows))), dtype=object, name="cell_id")
    frame = pd.DataFrame(
        {
            "floats": np.array(floats, np.float64),
            "integers": np.array(integers, np.int64),
            "texts": pd.Series(texts, dtype=object, index=index).to_numpy(),
        },
        index=index,
    )
    pd.testing.assert_frame_equal(there_and_back(frame), frame)
