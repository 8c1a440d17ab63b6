"""AdamW with warm-up and decay; which parameters move is data, not code."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from scmultimodal.schemas.errors import InputError

# By name too: where layers are stacked for a scan their vectors gain an axis.
VECTOR_NAMES = re.compile(r"(.*[/_])?(b|bias|offset|scale)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How parameters are updated.

    Attributes:
        learning_rate: rate at the end of the warm-up.
        weight_decay: decoupled decay, multiplied by the learning rate.
        decay_vectors: whether biases and LayerNorm parameters decay too.
        warmup_steps: steps over which the rate rises linearly to its full value.
        decay: how the rate falls from there to the last step.
        final_fraction: share of the learning rate that is left after the last step.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        clip_norm: largest global norm of the gradient of all that moves.
        rates: ordered (regex, multiplier of the learning rate). The first regex that
            matches a whole "module/name" path decides; 0 freezes: no update, no decay.
        average: decay of a running mean of the parameters, which is what is judged and
            kept in their place; it starts fast, as min(average, (1 + t) / (10 + t)).
            None keeps the parameters themselves.
        skip_spikes: skips a step whose loss is this many robust standard deviations
            above the median of the last 64; None skips none.
    """

    learning_rate: float = 5e-5
    weight_decay: float = 1e-4
    decay_vectors: bool = False
    warmup_steps: int = 0
    decay: Literal["cosine", "linear", "constant"] = "cosine"
    final_fraction: float = 0.0
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    clip_norm: float = 1.0
    rates: tuple[tuple[str, float], ...] = ((".*", 1.0),)
    average: float | None = None
    skip_spikes: float | None = None

    def __post_init__(self):
        rules = {
            "learning_rate": (self.learning_rate > 0, "must be positive"),
            "weight_decay": (self.weight_decay >= 0, "must not be negative"),
            "warmup_steps": (self.warmup_steps >= 0, "must not be negative"),
            "final_fraction": (0 <= self.final_fraction <= 1, "must be within 0…1"),
            "b1": (0 <= self.b1 < 1, "must be within [0, 1)"),
            "b2": (0 <= self.b2 < 1, "must be within [0, 1)"),
            "eps": (self.eps > 0, "must be positive"),
            "clip_norm": (self.clip_norm > 0, "must be positive"),
            "skip_spikes": (
                self.skip_spikes is None or self.skip_spikes > 0,
                "must be positive, or None",
            ),
            "average": (
                self.average is None or 0 < self.average < 1,
                "must be within (0, 1), or None",
            ),
            "decay": (
                self.decay in ("cosine", "linear", "constant"),
                "must be cosine, linear or constant",
            ),
            "rates": (
                bool(self.rates) and all(rate >= 0 for _, rate in self.rates),
                "needs at least one (regex, multiplier), none of them negative",
            ),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                value = getattr(self, name)
                raise InputError(f"OptimizerConfig.{name}", f"is {value!r}", rule)


def shorten_warmup(config: OptimizerConfig, num_steps: int) -> OptimizerConfig:
    """The same with a warm-up of at most a quarter of the steps."""
    warmup = min(config.warmup_steps, num_steps // 4)
    return dataclasses.replace(config, warmup_steps=warmup)


def build_optimizer(
    config: OptimizerConfig, params: Any, num_steps: int
) -> optax.GradientTransformation:
    """AdamW for `params`, clipped by the global norm of what moves.

    Raises:
        InputError: a parameter that no regex matches, a regex that decides no
            parameter, or a warm-up that does not end before the training does.
    """
    rates = _rates(config, params)
    schedule = build_schedule(config, num_steps)
    groups: dict[str, optax.GradientTransformation] = {
        str(rate): _adamw(config, rate, schedule) for _, rate in config.rates if rate
    }
    groups["0.0"] = optax.set_to_zero()
    labels = jax.tree.map(lambda rate: str(rate if rate else 0.0), rates)
    return optax.chain(
        optax.masked(
            optax.clip_by_global_norm(config.clip_norm), trainable(config, params)
        ),
        optax.partition(groups, labels),
    )


def build_schedule(config: OptimizerConfig, num_steps: int) -> optax.Schedule:
    """Learning rate of each update, counted from 0: no update is spent on rate 0."""
    warmup, floor = config.warmup_steps, config.final_fraction
    if warmup >= num_steps and warmup > 0:
        raise InputError(
            "OptimizerConfig.warmup_steps",
            f"is {warmup} in a training of {num_steps} steps",
            "warm up for fewer steps than the training has",
        )

    def schedule(step):
        rise = jnp.minimum(1.0, (step + 1) / max(warmup, 1))
        progress = jnp.clip((step - warmup) / max(num_steps - warmup, 1), 0.0, 1.0)
        left = {
            "constant": 1.0,
            "linear": 1.0 - progress,
            "cosine": 0.5 * (1.0 + jnp.cos(jnp.pi * progress)),
        }[config.decay]
        return config.learning_rate * rise * (floor + (1.0 - floor) * left)

    return schedule


def trainable(config: OptimizerConfig, params: Any) -> Any:
    """True at each parameter that moves, in the structure of `params`."""
    return jax.tree.map(bool, _rates(config, params))


def describe(params: Any, config: OptimizerConfig) -> str:
    """A table of the groups: regex, tensors, parameters, learning rate."""
    owner = _deciding_rule(config, params)
    sizes = {path: leaf.size for path, leaf in _named(params)}
    lines = [f"{'group':<40} {'tensors':>8} {'parameters':>12} {'rate':>10}"]
    for index, (pattern, rate) in enumerate(config.rates):
        mine = [sizes[path] for path, rule in owner.items() if rule == index]
        speed = f"{rate * config.learning_rate:.2g}" if rate else "frozen"
        lines.append(f"{pattern:<40} {len(mine):>8,} {sum(mine):>12,} {speed:>10}")
    return "\n".join(lines)


def _adamw(
    config: OptimizerConfig, rate: float, schedule: optax.Schedule
) -> optax.GradientTransformation:
    def decays(params):
        matrices = [
            leaf.ndim > 1 and not VECTOR_NAMES.fullmatch(path)
            for path, leaf in _named(params)
        ]
        return jax.tree.unflatten(jax.tree.structure(params), matrices)

    return optax.chain(
        optax.scale_by_adam(config.b1, config.b2, config.eps),
        optax.add_decayed_weights(
            config.weight_decay, None if config.decay_vectors else decays
        ),
        optax.scale_by_learning_rate(lambda step: rate * schedule(step)),
    )


def _rates(config: OptimizerConfig, params: Any) -> Any:
    """The multiplier of each parameter, in the structure of `params`."""
    rules = _deciding_rule(config, params).values()
    rates = [float(config.rates[rule][1]) for rule in rules]
    return jax.tree.unflatten(jax.tree.structure(params), rates)


def _deciding_rule(config: OptimizerConfig, params: Any) -> dict[str, int]:
    """Path of each parameter -> index of the rule that decides its rate."""
    owner = {path: _first_match(config, path) for path, _ in _named(params)}
    for index, (pattern, _) in enumerate(config.rates):
        if index not in owner.values():
            raise InputError(
                "OptimizerConfig.rates",
                f"{pattern!r} decides no parameter",
                "a regex matches a whole path that no earlier one matches; paths "
                f"are such as {', '.join(list(owner)[:3])}",
            )
    return owner


def _first_match(config: OptimizerConfig, path: str) -> int:
    for index, (pattern, _) in enumerate(config.rates):
        if re.fullmatch(pattern, path):
            return index
    raise InputError(
        "OptimizerConfig.rates",
        f"no regex matches the parameter {path}",
        "end the list with ('.*', 1.0), or with ('.*', 0.0) to freeze the rest",
    )


def _named(tree: Any) -> Iterator[tuple[str, Any]]:
    """("module/name", leaf) of each leaf, in the order of `jax.tree.leaves`."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(path, simple=True, separator="/"), leaf
