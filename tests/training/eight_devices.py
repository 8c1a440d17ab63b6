"""Run as a child process: trains on 1, 3 and 8 of 8 forced CPU devices.

Writes what each saw as npz, named `<devices>/<what>`.
"""

import re
import signal
import sys

import jax
import numpy as np
import optax

jax.config.update("jax_num_cpu_devices", 8)

from scmultimodal.training import parallel, validation  # noqa: E402
from scmultimodal.training.state import TrainState  # noqa: E402
from scmultimodal.training.step import VOTES  # noqa: E402
from tests.builders import RegressionTask, regression_batch  # noqa: E402

COLLECTIVE = (
    r"all-(?:reduce|gather|to-all)(?:-start)?\(|collective-permute|reduce-scatter"
)


def train(num_devices: int) -> dict[str, np.ndarray]:
    """Plain SGD at rate 1, so that the first change of a parameter is the gradient."""
    devices = jax.devices()[:num_devices]
    batches = [regression_batch(seed, rows=24) for seed in range(3)]
    # Whole devices without weight, and weights that differ between the others.
    batches[0].weight[:6] = 0
    task, optimizer = RegressionTask(), optax.sgd(1.0)
    params, network_state = task.init(jax.random.PRNGKey(1), batches[0])
    state = TrainState(
        params=params,
        network_state=network_state,
        opt_state=optimizer.init(params),
        step=np.zeros((), np.int32),
        rng=np.asarray(jax.random.PRNGKey(2)),
    )
    step = parallel.make_train_step(task, optimizer, devices=devices)
    state = parallel.replicate(state, devices)
    votes = parallel.vote(signal.SIGTERM, devices)
    first = parallel.place(batches[0], devices)
    program = step.lower(state, first, votes).compile().as_text()
    seen = {"collectives": np.array(len(re.findall(COLLECTIVE, program)))}
    for index, batch in enumerate(batches):
        state, metrics = step(state, parallel.place(batch, devices), votes)
        asked = metrics.pop(VOTES)
        assert parallel.result_of_vote(parallel.unreplicate(asked)) is signal.SIGTERM
        host = parallel.unreplicate((state.params, state.network_state, metrics))
        for path, leaf in jax.tree_util.tree_leaves_with_path(host):
            seen[f"{index}/{jax.tree_util.keystr(path)}"] = leaf
    for leaf in jax.tree.leaves(state):
        copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(copies) == num_devices
        for copy in copies:
            np.testing.assert_array_equal(copy, copies[0])
    means = validation.evaluate(task, params, network_state, batches, devices=devices)
    return seen | {f"evaluate/{name}": value for name, value in means.items()}


if __name__ == "__main__":
    results = {
        f"{n}/{name}": value for n in (1, 3, 8) for name, value in train(n).items()
    }
    np.savez(sys.argv[1], **results)
