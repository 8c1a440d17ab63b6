"""Layers of performer-pytorch in our layout."""

from collections.abc import Mapping

from scmultimodal.ops import favor
from scmultimodal.schemas.batches import Array


def layer_parameters(
    arrays: Mapping[str, Array], prefix: str, index: int, heads: int
) -> favor.LayerParameters:
    """Weights of one layer, or their gradients: `arrays` has "PREFIX.layers.I.NAME"."""

    def of(name: str) -> Array:
        return arrays[f"{prefix}.layers.{index}.{name}"]

    def by_head(name: str) -> Array:
        dim = of(name).shape[1]
        return of(name).T.reshape(dim, heads, -1)

    output = of("0.fn.to_out.weight")
    return favor.LayerParameters(
        attention_norm_scale=of("0.norm.weight"),
        attention_norm_offset=of("0.norm.bias"),
        query=by_head("0.fn.to_q.weight"),
        key=by_head("0.fn.to_k.weight"),
        value=by_head("0.fn.to_v.weight"),
        output=output.T.reshape(heads, -1, output.shape[0]),
        output_bias=of("0.fn.to_out.bias"),
        feed_forward_norm_scale=of("1.norm.weight"),
        feed_forward_norm_offset=of("1.norm.bias"),
        feed_forward_in=of("1.fn.fn.w1.weight").T,
        feed_forward_in_bias=of("1.fn.fn.w1.bias"),
        feed_forward_out=of("1.fn.fn.w2.weight").T,
        feed_forward_out_bias=of("1.fn.fn.w2.bias"),
    )
