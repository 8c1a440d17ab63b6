"""Every parameter is taken, new or left, and the account says which."""

import numpy as np
import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import warm_start

FRESH = {
    "encoder/layer_0": {"w": np.zeros((2, 3)), "b": np.zeros(3)},
    "head": {"w": np.zeros(4)},
}
START = {
    "encoder/layer_0": {"w": np.ones((2, 3)), "b": np.ones(3)},
    "scorer": {"w": np.ones(5)},
}


def of_encoder(module):
    return module.startswith("encoder")


def test_by_hand():
    params, account = warm_start.take(FRESH, START, of_encoder, source="runs/x")
    assert params["encoder/layer_0"]["w"].all()
    assert not params["head"]["w"].any()
    assert {(e.name, e.size, e.fate) for e in account} == {
        ("encoder/layer_0/w", 6, "taken"),
        ("encoder/layer_0/b", 3, "taken"),
        ("head/w", 4, "new"),
        ("scorer/w", 5, "left"),
    }
    text = warm_start.format_account(account, "runs/x")
    numbers = [line.split()[-1] for line in text.splitlines()[-3:]]
    assert numbers == ["9", "4", "5"]
    assert "all that are left of runs/x" in text


def test_nothing_to_start_from():
    params, account = warm_start.take(FRESH, None, of_encoder, source="none")
    assert {entry.fate for entry in account} == {"new"}
    assert params == FRESH


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"encoder/layer_0": {"b": np.ones(3)}}, "encoder/layer_0/w is missing"),
        (
            {"encoder/layer_0": {"w": np.ones((2, 4)), "b": np.ones(3)}},
            r"encoder/layer_0/w has shape \(2, 4\), not \(2, 3\)",
        ),
    ],
)
def test_an_encoder_of_another_shape(start, message):
    with pytest.raises(InputError, match=f"runs/x: {message}"):
        warm_start.take(FRESH, start, of_encoder, source="runs/x")
