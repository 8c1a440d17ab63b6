"""How published Nucleotide Transformers name their arrays, and how we do (SPEC 3.5).

The names of the JAX reference, without its "~" and without what stands in front of the
first known element, serve as the common tongue: "attention_layer_3/fc1/w".
"""

import re
from collections.abc import Mapping

import numpy as np

Flat = dict[str, np.ndarray]
"""{name in the common tongue: array}."""

_FIRST = re.compile(
    r"(?:^|/)(attention_layer_\d+/|emb_layer_norm_before/|roberta_lm_head/"
    r"|esm_learned_positional_embeddings/|embed/"
    r"|downsample_block_\d+/|upsample_block_\d+/|final_conv1_d/|fc/)"
)
_OLDER = {
    "esm_roberta_lm_head/": "roberta_lm_head/",
    "/mha_layer_norm/": "/self_attention_layer_norm/",
    "/mha/": "/self_attention/",
}
_LAYER = r"encoder\.layer\.(\d+)\."
_TORCH = {
    r"embeddings\.word_embeddings": "embed",
    r"embeddings\.position_embeddings": "esm_learned_positional_embeddings/embed",
    r"embeddings\.layer_norm": "emb_layer_norm_before",
    _LAYER + r"attention\.LayerNorm": r"attention_layer_\1/self_attention_layer_norm",
    _LAYER + r"attention\.self\.(query|key|value)": (
        r"attention_layer_\1/self_attention/\2"
    ),
    _LAYER + r"attention\.output\.dense": (
        r"attention_layer_\1/self_attention/mha_output"
    ),
    _LAYER + "LayerNorm": r"attention_layer_\1/final_layer_norm",
    _LAYER + r"intermediate\.dense": r"attention_layer_\1/fc1",
    _LAYER + r"output\.dense": r"attention_layer_\1/fc2",
    r"encoder\.emb_layer_norm_after": "roberta_lm_head/emb_layer_norm_after",
    r"lm_head\.dense": "roberta_lm_head/lm_head_fc_1",
    r"lm_head\.layer_norm": "roberta_lm_head/lm_head_layer_norm",
    r"lm_head(?:\.decoder)?": "roberta_lm_head/lm_final_fc",
    r"unet\._?downsample_blocks\.(\d+)\.conv_layers\.(\d+)": (
        r"downsample_block_\1/conv\2"
    ),
    r"unet\._?upsample_blocks\.(\d+)\.conv_layers\.(\d+)": (
        r"upsample_block_\1/conv_transpose\2"
    ),
    r"unet\.final_block\.conv_layers\.(\d+)": r"final_conv1_d/conv\1",
    "fc": "fc",
}
_TORCH_UNUSED = re.compile(r"contact_head\.|pooler\.|\binv_freq$|position_ids$")
_OURS = {
    "token_embedding": "embed/embeddings",
    "position_embedding": "esm_learned_positional_embeddings/embed/embeddings",
    "embedding_norm": "emb_layer_norm_before",
    "norm": "roberta_lm_head/emb_layer_norm_after",
    "lm_head/dense": "roberta_lm_head/lm_head_fc_1",
    "lm_head/norm": "roberta_lm_head/lm_head_layer_norm",
    "lm_head/output": "roberta_lm_head/lm_final_fc",
    "attention_norm": "self_attention_layer_norm",
    "query": "self_attention/query",
    "key": "self_attention/key",
    "value": "self_attention/value",
    "output": "self_attention/mha_output",
    "feed_forward_norm": "final_layer_norm",
    "feed_forward_in": "fc1",
    "feed_forward_out": "fc2",
}


def from_haiku(tree: Mapping[str, Mapping[str, np.ndarray]]) -> Flat:
    """Arrays of the JAX reference, of whatever age and under whatever model name.

    Raises:
        ValueError: two arrays have one name.
    """
    flat: Flat = {}
    for module, leaves in tree.items():
        path = "/".join(part for part in module.split("/") if part != "~")
        for leaf, array in leaves.items():
            name = f"{path}/{leaf}"
            for old, new in _OLDER.items():
                name = name.replace(old, new)
            if known := _FIRST.search(name):
                name = name[known.start(1) :]
            _put(flat, name, array)
    return flat


def from_torch(tensors: Mapping[str, np.ndarray]) -> Flat:
    """Arrays of Hugging Face's ESM and SegmentNT; its matrices are [out, in].

    Kernels are [out, in, taps] there; those of transposed convolutions are
    [in, out, taps], and backward.

    Raises:
        ValueError: two arrays have one name.
    """
    flat: Flat = {}
    for name, tensor in tensors.items():
        if not _TORCH_UNUSED.search(name):
            common = _from_torch_name(name)
            tensor = tensor.T if common.endswith("/w") else tensor
            if "/conv_transpose" in common and tensor.ndim > 1:
                tensor = tensor[::-1]
            _put(flat, common, tensor)
    return flat


def _put(flat: Flat, name: str, array: np.ndarray) -> None:
    # What is tied may be stored twice.
    if name in flat and not np.array_equal(flat[name], array):
        raise ValueError(f"has two arrays for {name}")
    flat[name] = array


def _from_torch_name(name: str) -> str:
    module, _, leaf = name.removeprefix("esm.").rpartition(".")
    for pattern, common in _TORCH.items():
        if match := re.fullmatch(pattern, module):
            module = match.expand(common)
            break
    else:
        return name
    if module.endswith("norm") or "layer_norm" in module:
        leaf = {"weight": "scale", "bias": "offset"}.get(leaf, leaf)
    elif module.endswith("embed"):
        leaf = {"weight": "embeddings"}.get(leaf, leaf)
    else:
        leaf = {"weight": "w", "bias": "b"}.get(leaf, leaf)
    return f"{module}/{leaf}"


def published_name(module: str, leaf: str, num_levels: int = 0) -> str:
    """Common name of one of our parameters.

    Args:
        module: of the parameter.
        leaf: its name.
        num_levels: of the U-Net: there, blocks on the way up count from the bottom.
    """
    head, _, place = module.partition("/")
    if head == "segmentation_head":
        return f"{_of_segmenter(place, num_levels)}/{leaf}"
    stem, kind = leaf, "/w"
    for ending, published in (("_scale", "/scale"), ("_offset", "/offset")):
        if leaf.endswith(ending):
            stem, kind = leaf.removesuffix(ending), published
    if leaf.endswith("_bias"):
        stem, kind = leaf.removesuffix("_bias"), "/b"
    if layer := re.fullmatch(r"layer_(\d+)", place):
        return f"attention_layer_{layer[1]}/{_OURS[stem]}{kind}"
    if leaf.endswith("_embedding"):
        return _OURS[leaf]
    return _OURS[f"{place}/{stem}" if place else stem] + kind


def _of_segmenter(place: str, num_levels: int) -> str:
    """Common name of a module of the segmentation head."""
    if place == "elements":
        return "fc"
    block, *numbers = place.removeprefix("unet/").split("_")
    if block == "final":
        return f"final_conv1_d/conv{numbers[0]}"
    level, layer = map(int, numbers)
    if block == "down":
        return f"downsample_block_{level}/conv{layer}"
    return f"upsample_block_{num_levels - 1 - level}/conv_transpose{layer}"


def published_shape(leaf: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Published shape of one of our parameters: heads stand side by side there."""
    if leaf.endswith("_bias"):
        return (int(np.prod(shape)),)
    if len(shape) == 3 and leaf != "w":  # w is a kernel of the U-Net
        dim = shape[-1] if leaf == "output" else shape[0]
        inner = int(np.prod(shape)) // dim
        return (inner, dim) if leaf == "output" else (dim, inner)
    return shape
