"""Run as a child process: trains on 1, 3 and 8 of 8 forced CPU devices.

Writes what each variant saw as npz, named `<variant>/<what>`.
"""

import re
import signal
import sys

import jax
import numpy as np
import optax

jax.config.update("jax_num_cpu_devices", 8)

from scmultimodal.training import parallel, validation  # noqa: E402
from scmultimodal.training.config import ParallelName  # noqa: E402
from scmultimodal.training.state import begin  # noqa: E402
from scmultimodal.training.step import VOTES  # noqa: E402
from tests.regression import RegressionTask, regression_batch  # noqa: E402

COLLECTIVE = (
    r"all-(?:reduce|gather|to-all)(?:-start)?\(|collective-permute|reduce-scatter"
)


VARIANTS = {
    "1": (1, "pmap", 1),
    "3": (3, "pmap", 1),
    "8": (8, "pmap", 1),
    "8 in parts": (8, "pmap", 3),
    "8 jit": (8, "jit", 1),
    "8 jit in parts": (8, "jit", 3),
    "8 fsdp": (8, "fsdp", 1),
}
"""{name: devices, parallelism, microbatches}."""


def train(
    num_devices: int, parallelism: ParallelName, microbatches: int
) -> dict[str, np.ndarray]:
    """Plain SGD at rate 1/8, so that the first change of a parameter is the gradient.

    A rate of 1 would throw parameters far about, and rounding with them.
    """
    over = parallel.build(parallelism, jax.devices()[:num_devices])
    batches = [regression_batch(seed, rows=24) for seed in range(3)]
    # Whole devices without weight, and weights that differ between the others.
    batches[0].weight[:6] = 0
    task, optimizer = RegressionTask(width=8), optax.sgd(0.125)
    params, network_state = task.init(jax.random.PRNGKey(1), batches[0])
    state = begin(params, network_state, optimizer, jax.random.PRNGKey(2))
    step = over.train_step(task, optimizer, microbatches=microbatches)
    state, votes = over.replicate(state), over.vote(signal.SIGTERM)
    program = step.lower(state, over.place(batches[0]), votes).compile().as_text()
    seen = {"collectives": np.array(len(re.findall(COLLECTIVE, program)))}
    for index, batch in enumerate(batches):
        state, metrics = step(state, over.place(batch), votes)
        asked = metrics.pop(VOTES)
        assert parallel.result_of_vote(over.unreplicate(asked)) is signal.SIGTERM
        host = over.unreplicate((state.params, state.network_state, metrics))
        for path, leaf in jax.tree_util.tree_leaves_with_path(host):
            seen[f"{index}/{jax.tree_util.keystr(path)}"] = leaf
    for leaf in jax.tree.leaves(state):
        copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(copies) == num_devices
        for copy in copies if parallelism != "fsdp" else ():
            np.testing.assert_array_equal(copy, copies[0])
    if parallelism != "pmap":
        spread = {
            not leaf.is_fully_replicated for leaf in jax.tree.leaves(state.params)
        }
        assert spread == {parallelism == "fsdp"}
    means = validation.evaluate(task, params, network_state, batches, over=over)
    return seen | {f"evaluate/{name}": value for name, value in means.items()}


if __name__ == "__main__":
    # Else nothing of so small a network would be spread.
    parallel.SPREAD_FROM = 1
    results = {
        f"{name}/{what}": value
        for name, variant in VARIANTS.items()
        for what, value in train(*variant).items()
    }
    np.savez(sys.argv[1], **results)
