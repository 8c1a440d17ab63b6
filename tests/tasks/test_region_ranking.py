"""Ranking: spans with an order count, and a region is scored by itself alone."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scmultimodal.modules import nucleotide_transformer
from scmultimodal.modules.heads.accessibility import ScorerConfig
from scmultimodal.schemas import configs
from scmultimodal.tasks.region_ranking import RegionRanking, RegionRankingConfig
from tests import builders
from tests.tasks.whole import compiled

pytestmark = pytest.mark.usefixtures("lightly_compiled")

RNG = jax.random.PRNGKey(5)
SCORER = ScorerConfig(
    convolution_channels=(2, 3), convolution_pool=2, convolution_hidden=5
)


def make(**fields):
    encoder = builders.dna_encoder_config()
    config = RegionRankingConfig(encoder=encoder, scorer=SCORER, **fields)
    return compiled(RegionRanking(config))


@pytest.fixture(scope="module")
def trained():
    """(task, params, state) with random weights."""
    task = make()
    return task, *task.init(jax.random.PRNGKey(0), builders.region_batch())


def judge(trained, batch):
    task, params, state = trained
    return jax.device_get(task.loss(params, state, RNG, batch, is_training=False))


def test_loss_and_metrics_by_hand(trained):
    spans = builders.region_batch()
    values = spans.values.copy()
    values[1, :2] = 7  # a tie
    spans = spans.replace(values=values, span_mask=np.arange(6) != 5)
    (total, weight), (_, metrics) = judge(trained, spans)
    scores = np.asarray(trained[0].predict(*trained[1:], spans))[..., 0]
    logp = np.asarray(jax.nn.log_softmax(scores))
    expected, right = 0, 0
    for span in (0, 2, 3, 4):
        order = np.argsort(values[span])
        expected -= logp[span, order[1]] + 2 * logp[span, order[2]]
        right += (np.diff(scores[span, order]) > 0).all()
    assert weight == 4
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert metrics["full_order"] == (right, 4)
    assert metrics["ties"] == (1, 5)
    assert set(metrics) == {"full_order", "pairwise", "ndcg", "mrr", "ties"}


def test_the_order_of_regions_changes_nothing(trained):
    spans = builders.region_batch()
    turned = spans.replace(
        token_ids=spans.token_ids[:, ::-1], values=spans.values[:, ::-1]
    )
    for a, b in zip(
        jax.tree.leaves(judge(trained, turned)),
        jax.tree.leaves(judge(trained, spans)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_region_is_scored_by_itself_alone(trained):
    task, params, state = trained
    spans = builders.region_batch()
    other = builders.region_batch(seed=1)
    mixed = spans.replace(token_ids=other.token_ids.copy())
    mixed.token_ids[:, 1] = spans.token_ids[:, 1]
    scores, before = (
        np.asarray(task.predict(params, state, batch)) for batch in (mixed, spans)
    )
    np.testing.assert_allclose(scores[:, 1], before[:, 1], rtol=1e-5, atol=1e-6)
    assert np.abs(scores - before)[:, [0, 2]].max() > 1e-3


def test_filling_rows_and_ties_weigh_nothing(trained):
    spans = builders.region_batch()
    values = np.where(np.arange(6)[:, None] == 4, 1, spans.values).astype(np.float32)
    filled = spans.replace(values=values, span_mask=np.arange(6) < 5)
    part = jax.tree.map(lambda leaf: leaf[:4], spans)
    whole, (_, metrics) = judge(trained, filled)
    expected, (_, of_part) = judge(trained, part)
    np.testing.assert_allclose(whole, expected, rtol=1e-5)
    assert metrics.pop("ties") == (1, 5)
    assert of_part.pop("ties") == (0, 4)
    for name, metric in of_part.items():
        np.testing.assert_allclose(metrics[name], metric, rtol=1e-5)


def test_a_batch_of_ties_has_no_weight_and_a_finite_gradient(trained):
    task, params, state = trained
    spans = builders.region_batch()
    spans = spans.replace(values=np.zeros_like(spans.values))

    @jax.jit
    def pulled(params, spans):
        def total(params):
            return task.loss(params, state, RNG, spans, is_training=True)[0]

        totals, pull = jax.vjp(total, params)
        return totals, pull((jnp.ones(()), jnp.zeros(())))

    totals, gradient = pulled(params, spans)
    assert totals == (0, 0)
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_array_equal(leaf, 0)


def test_counts_as_labels_weigh_by_value(trained):
    _, params, state = trained
    spans = builders.region_batch()
    (by_counts, _), _ = make(labels="counts").loss(
        params, state, RNG, spans, is_training=False
    )
    scores = trained[0].predict(params, state, spans)[..., 0]
    logp = np.asarray(jax.nn.log_softmax(scores))
    np.testing.assert_allclose(by_counts, -(spans.values * logp).sum(), rtol=1e-5)
    # The metrics go by ranks all the same.
    assert judge(trained, spans)[1][1]["ndcg"][0] <= 6


def test_l2_is_of_training_and_of_matrices_alone(trained):
    _, params, state = trained
    task, spans = make(l2=0.01), builders.region_batch()
    (with_l2, weight), _ = jax.device_get(
        task.loss(params, state, RNG, spans, is_training=True)
    )
    (without, _), _ = judge(trained, spans)
    squares = sum(
        (leaf**2).sum()
        for module in jax.device_get(params).values()
        for name, leaf in module.items()
        if name != "b" and not name.endswith(("bias", "scale", "offset"))
    )
    np.testing.assert_allclose(with_l2, without + 0.01 * squares * weight, rtol=1e-5)
    judged, _ = task.loss(params, state, RNG, spans, is_training=False)
    np.testing.assert_allclose(judged[0], without, rtol=1e-6)


def test_an_encoder_serves_as_it_is(trained):
    """Parameters are those of the encoder alone, and of a head beside them."""
    _, params, _ = trained
    encoder = nucleotide_transformer.build_encoder(builders.dna_encoder_config())
    alone = jax.eval_shape(encoder.init, RNG, builders.token_batch().token_ids)
    heads = {name.split("/")[0] for name in params.keys() - alone.keys()}
    assert alone.keys() < params.keys()
    assert heads == {"accessibility_head"}


def test_learns_an_order_that_the_sequence_tells(trained):
    """The value of a region is how often one k-mer stands at its start."""
    task, params, state = trained

    def batch(seed):
        spans = builders.region_batch(num_spans=32, seed=seed)
        rank = np.random.default_rng(seed).permuted(np.tile([0, 1, 2], (32, 1)), axis=1)
        token_ids = np.where(spans.token_ids == 9, 8, spans.token_ids)
        marked = np.arange(12) - 1 < 2 * rank[..., None]
        marked[..., 0] = False
        return spans.replace(
            token_ids=np.where(marked, 9, token_ids).astype(np.int32),
            values=rank.astype(np.float32),
        )

    optimizer = optax.adam(1e-2)
    opt_state = jax.jit(optimizer.init)(params)

    @jax.jit
    def step(params, opt_state, batch):
        def mean(params):
            (total, weight), _ = task.loss(params, state, RNG, batch, is_training=True)
            return total / weight

        updates, opt_state = optimizer.update(jax.grad(mean)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    for i in range(60):
        params, opt_state = step(params, opt_state, batch(i))
    (right, of) = judge((task, params, state), batch(10_000))[1][1]["full_order"]
    assert right / of > 0.7


@pytest.mark.parametrize(
    ("field", "value"), [("loss", "hinge"), ("labels", "logs"), ("l2", -1.0)]
)
def test_configurations_that_cannot_be_are_refused(field, value):
    config = make().config
    object.__setattr__(config, field, value)  # past the type checker of tests
    with pytest.raises(ValueError, match=f"{field} must be"):
        config.__post_init__()


def test_configurations_survive_json():
    config = make(l2=0.1, loss="listmle").config
    fields = json.loads(json.dumps(configs.to_json(config)))
    assert configs.from_json(RegionRankingConfig, fields, source="a test") == config
