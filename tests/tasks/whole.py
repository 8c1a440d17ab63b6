"""Tasks whose functions are programs of their own, and weights without a program."""

from typing import Any

import jax
import numpy as np


def compiled(task: Any) -> Any:
    """The task with its functions compiled whole: by primitives it takes far longer."""
    for name in {"init", "mask", "predict"} & set(dir(task)):
        setattr(task, name, jax.jit(getattr(task, name)))
    task.loss = jax.jit(task.loss, static_argnames="is_training")
    return task


def drawn(task: Any, batch: Any) -> Any:
    """(params, state) as of `task.init`, which compiles for seconds, but by numpy."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        name = path[-1].key
        return np.float32(name.endswith("scale") + rng.normal(0, 0.3, leaf.shape))

    shapes = jax.eval_shape(task.init, jax.random.PRNGKey(0), batch)
    return jax.tree_util.tree_map_with_path(draw, shapes)
