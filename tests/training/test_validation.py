import jax
import numpy as np

from scmultimodal.training.validation import evaluate
from tests.regression import RegressionTask, regression_batch


def test_mean_over_all_rows_whatever_the_batches():
    task = RegressionTask()
    batches = [
        regression_batch(seed, rows=rows) for seed, rows in ((0, 8), (1, 4), (2, 8))
    ]
    # A batch of filling rows alone counts nothing.
    batches.append(regression_batch(3).replace(weight=np.zeros(8, np.float32)))
    params, state = task.init(jax.random.PRNGKey(0), batches[0])
    means = evaluate(task, params, state, iter(batches))
    x, y, w = (
        np.concatenate([getattr(batch, name) for batch in batches]).astype(np.float64)
        for name in ("x", "y", "weight")
    )
    first, second = params["net/first"], params["net/second"]
    error = np.tanh(x @ first["w"] + first["b"]) @ second["w"] - y
    np.testing.assert_allclose(means["loss"], np.average(error**2, weights=w), 1e-5)
    np.testing.assert_allclose(
        means["absolute_error"], np.average(abs(error), weights=w), 1e-5
    )
    by_feature = np.average(abs(x), axis=0, weights=w)
    np.testing.assert_allclose(means["by_feature"], by_feature, 1e-5)


def test_every_evaluation_draws_the_same():
    class Noisy(RegressionTask):
        def loss(self, *arguments, is_training):
            return super().loss(*arguments, is_training=True)

    batches = [regression_batch(0), regression_batch(0)]
    params, state = Noisy().init(jax.random.PRNGKey(0), batches[0])
    one, again, first = (
        evaluate(Noisy(), params, state, chosen)["loss"]
        for chosen in (batches, batches, batches[:1])
    )
    assert one == again
    # Equal batches draw differently: the key is that of their position.
    assert one != first


def test_nothing_to_judge():
    task = RegressionTask()
    params, state = task.init(jax.random.PRNGKey(0), regression_batch(0))
    assert evaluate(task, params, state, []) == {}
