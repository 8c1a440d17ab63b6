import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.data.mixing import Pattern
from scmultimodal.schemas.errors import InputError

weights = st.lists(st.floats(0.01, 100), min_size=1, max_size=5)


def test_round_robin_by_hand():
    pattern = Pattern(("rna", "atac", "both"))
    plans = [pattern.plan(step) for step in range(7)]
    assert [name for name, _ in plans] == ["rna", "atac", "both"] * 2 + ["rna"]
    assert [step for _, step in plans] == [0, 0, 0, 1, 1, 1, 2]


def test_weights_by_hand():
    pattern = Pattern(("a", "b"), {"a": 3, "b": 1})
    assert "".join(pattern.plan(step)[0] for step in range(8)) == "aaabaaab"


@given(weights)
def test_each_source_counts_its_own_steps_and_keeps_its_share(values):
    names = tuple("abcde"[: len(values)])
    pattern = Pattern(names, dict(zip(names, values, strict=True)))
    counts = dict.fromkeys(names, 0)
    for step in range(200):
        name, source_step = pattern.plan(step)
        assert source_step == counts[name]
        counts[name] += 1
        for other, value in zip(names, values, strict=True):
            exact = (step + 1) * Fraction(value) / sum(map(Fraction, values))
            assert abs(counts[other] - exact) <= max(1, len(names) - 1)


@given(weights, st.integers(0, 10**12))
def test_far_steps_have_not_drifted(values, step):
    names = tuple("abcde"[: len(values)])
    pattern = Pattern(names, dict(zip(names, values, strict=True)))
    name, source_step = pattern.plan(step)
    share = values[names.index(name)] / sum(values)
    assert source_step == pytest.approx(step * share, abs=len(names), rel=1e-12)
    following = (pattern.plan(s) for s in itertools.count(step + 1))
    assert next(n for other, n in following if other == name) == source_step + 1


@pytest.mark.parametrize(
    ("sources", "weights", "message"),
    [
        ((), "round_robin", "has no source"),
        (("a", "b"), {"a": 1.0}, "does not name the sources a, b"),
        (("a",), {"a": 1.0, "b": 1.0}, "does not name the sources a"),
        (("a", "b"), {"a": 1.0, "b": 0.0}, "not above 0"),
        (("a", "b"), {"a": 1.0, "b": float("nan")}, "not above 0"),
        (("a", "b"), {"a": 1.0, "b": float("inf")}, "not above 0"),
    ],
)
def test_weights_that_make_no_pattern(sources, weights, message):
    with pytest.raises(InputError, match=message):
        Pattern(sources, weights)
