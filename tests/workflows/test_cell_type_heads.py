"""A score for each cell type: learned together, and added to without moving the old."""

import dataclasses

import jax
import numpy as np
import pytest

from scmultimodal.data.region_loading import Turning
from scmultimodal.evaluation.ranking import full_order_accuracy
from scmultimodal.models import GenomeModel
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import genome_inference, ranking
from tests import builders
from tests.workflows.test_ranking import CONFIG, NUM_TOKENS, planted

pytestmark = pytest.mark.usefixtures("lightly_compiled")

EACH = dataclasses.replace(CONFIG, outputs="per_cell_type", steps=90)
ADDED = dataclasses.replace(CONFIG, outputs="added", steps=60)


def spans(folder, samples, *, turned):
    """240 spans; where `turned`, every other one is ordered the other way round.

    The builder deals spans to two samples in turn: what opens one closes the other.
    """
    sequences, values = planted(240)
    if turned:
        values[1::2] = 4 - values[1::2]
    return builders.region_store(
        folder,
        sequences,
        values,
        num_tokens=NUM_TOKENS,
        split=np.repeat([0, 1, 2], [120, 60, 60]),
        samples=samples,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "spans"
    return spans(folder, ("B", "T"), turned=True)


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    return ranking.run(store, EACH, tmp_path_factory.mktemp("each") / "run")


def accuracy(model, store):
    rows = store.split("test")
    builder = ranking.make_builder(store, EACH, model)
    scores = ranking.scores(model, builder, rows)
    return full_order_accuracy(scores, store.values[rows])


def test_each_cell_type_has_its_own_order(store, trained, tmp_path):
    shared = dataclasses.replace(EACH, outputs="shared")
    one = ranking.run(store, shared, tmp_path / "one")
    assert trained.config.cell_types == ("B", "T")
    assert accuracy(trained, store) > 0.8
    assert accuracy(one, store) < 0.5


def test_a_span_moves_the_score_of_its_cell_type_alone(store, trained):
    task = ranking.make_task(EACH, None, store.samples)
    builder = ranking.make_builder(store, EACH, None, store.samples)
    rows = np.flatnonzero(store.spans.sample_index == 1)[:4]
    batch = builder.build(rows)
    assert batch.output.tolist() == [1] * 4

    def loss(params):
        rng = jax.random.PRNGKey(0)
        return task.loss(params, {}, rng, batch, is_training=True)[0][0]

    gradient = jax.jit(jax.grad(loss))(trained.params)
    size = {
        name: np.abs(gradient[f"accessibility_head/{name}"]["w"]).max()
        for name in ("score_0", "score_1")
    }
    assert size["score_0"] == 0 < size["score_1"]


def test_added_cell_types_leave_the_old_as_they_were(store, trained, tmp_path):
    more = spans(tmp_path / "more", ("NK", "pDC"), turned=False)
    model = ranking.run(more, ADDED, tmp_path / "added", start=trained)
    assert model.config.cell_types == ("B", "T", "NK", "pDC")
    for module, leaves in trained.params.items():
        for name, leaf in leaves.items():
            np.testing.assert_array_equal(model.params[module][name], leaf)
    assert accuracy(model, store) == accuracy(trained, store)
    assert accuracy(model, more) > 0.8
    # As a user meets it.
    sequences = ["GATTAC" * 6, builders.dna(36)]
    loaded = GenomeModel.load(tmp_path / "added")
    scores = loaded.score(sequences)
    assert loaded.cell_types == ("B", "T", "NK", "pDC")
    assert scores.shape == (2, 4)
    np.testing.assert_array_equal(loaded.score(sequences, cell_type="NK"), scores[:, 2])
    np.testing.assert_array_equal(GenomeModel(trained).score(sequences), scores[:, :2])
    assert loaded.self_check() == 0


def test_what_cannot_be_added(store, trained, tmp_path):
    with pytest.raises(InputError, match="has 'B', which the model knows already"):
        ranking.run(store, ADDED, tmp_path / "a", start=trained)
    with pytest.raises(InputError, match="no model with cell types to add to"):
        ranking.run(store, ADDED, tmp_path / "a")
    other = spans(tmp_path / "other", ("NK", "pDC"), turned=False)
    plain = dataclasses.replace(ADDED, turning=Turning())
    with pytest.raises(InputError, match=r"turning: is .* trained with"):
        ranking.run(other, plain, tmp_path / "a", start=trained)
    config = dataclasses.replace(trained.config, num_tokens=NUM_TOKENS + 1)
    wider = dataclasses.replace(trained, config=config)
    with pytest.raises(InputError, match="Prepare the spans with --num-tokens 9"):
        ranking.run(other, ADDED, tmp_path / "a", start=wider)
    builder = ranking.make_builder(other, EACH, trained)
    with pytest.raises(InputError, match="has 'NK', which the model does not know"):
        ranking.scores(trained, builder, other.split("test"))
    with pytest.raises(InputError, match=r"cell_type: is 'NK'\. Take one of B, T"):
        GenomeModel(trained).score(["ACGT"], cell_type="NK")


def test_names_and_outputs_go_together(trained):
    with pytest.raises(ValueError, match="1 cell types for 2 outputs"):
        dataclasses.replace(trained.config, cell_types=("B",))
    assert genome_inference.score(
        trained, np.full((3, NUM_TOKENS), 7, np.int32)
    ).shape == (3, 2)
