"""How the outputs of the paths of a cell encoder become one; to be called within it."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Literal

import haiku as hk
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from scmultimodal.modules import performer, token_arrays
from scmultimodal.modules.performer import PerformerConfig
from scmultimodal.ops import exact_attention
from scmultimodal.schemas.batches import Array

Rows = Float[Array, "cells rows dim"]
Present = Bool[Array, " cells"]
Joint = Literal["mean", "concatenate", "cross_attention"]


def join(
    joint: Joint, outputs: Mapping[str, Rows], present: Mapping[str, Present]
) -> Float[Array, "cells rows dim"]:
    """One row for the rows of each modality: their mean, or the sum of linear maps.

    Args:
        joint: how; rows of "cross_attention" have attended before.
        outputs: rows by modality.
        present: which cells have it.
    """
    if joint != "concatenate":
        return token_arrays.average_present(
            list(outputs.values()), list(present.values())
        )
    mapped = []
    for modality, rows in outputs.items():
        shown = jnp.where(present[modality][:, None, None], rows, 0)
        mapped.append(hk.Linear(rows.shape[-1], name=f"{modality}_joint")(shown))
    return functools.reduce(jnp.add, mapped)


def cross(
    path: PerformerConfig,
    outputs: Mapping[str, Float[Array, "cells tokens dim"]],
    present: Mapping[str, Present],
    token_mask: Bool[Array, "cells tokens"] | None,
    at: Int[Array, "cells chosen"] | None,
) -> dict[str, Rows]:
    """A layer of softmax attention from each path to the other.

    Args:
        path: shape of the layer.
        outputs: of two modalities.
        present: which cells have each; one that lacks one keeps its rows.
        token_mask: True at real tokens.
        at: the tokens whose rows are wanted; None wants all.
    """
    found = {}
    both = functools.reduce(jnp.logical_and, present.values())[:, None, None]
    for modality, own in outputs.items():
        (other,) = (rows for m, rows in outputs.items() if m != modality)
        crossed = _attend(path, f"{modality}_cross", own, other, token_mask, at)
        if at is not None:
            own = jnp.take_along_axis(own, at[..., None], 1)
        found[modality] = jnp.where(both, crossed, own)
    return found


def attend_to_peaks(
    path: PerformerConfig,
    tokens: Rows,
    peaks: Float[Array, "cells peaks dim"],
    mask: Bool[Array, "cells peaks"],
    shares: Float[Array, "cells peaks"] | None = None,
) -> Rows:
    """Tokens of cells with open peaks have attended to them.

    Args:
        path: shape of the layer.
        tokens: of genes.
        peaks: of each peak.
        mask: True at real peaks.
        shares: how much each counts; None is 1 throughout.
    """
    counted = mask if shares is None else jnp.where(mask, shares, 0)
    crossed = _attend(path, "peak_cross", tokens, peaks, counted)
    return jnp.where(mask.any(1)[:, None, None], crossed, tokens)


def _attend(
    path: PerformerConfig,
    name: str,
    rows: Float[Array, "cells tokens dim"],
    context: Float[Array, "cells keys dim"],
    mask: Bool[Array, "cells keys"] | Float[Array, "cells keys"] | None,
    at: Int[Array, "cells chosen"] | None = None,
) -> Rows:
    """A layer of softmax attention to the tokens of another path."""
    config = dataclasses.replace(path, attention="exact")
    layer = performer.PerformerLayer(config, name=name)
    return exact_attention.layer(
        layer()[0],
        rows,
        mask,
        at=at,
        context=context,
        approximate_gelu=config.approximate_gelu,
        precision=config.dtype,
    )
