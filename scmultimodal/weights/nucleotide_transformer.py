"""Published Nucleotide Transformers, SegmentNT among them, as ours (SPEC 3.5).

A published folder holds one or both of
    model*.safetensors, config.json                            Hugging Face's ESM
    jax_model/pytree_ckpt.joblib, jax_model/hyperparams.json   the JAX reference
and the first is taken where both are there: it cannot hold code.

Those with a U-Net (SegmentNT) name their elements in the settings.

Confirmed by reading both publishers' code: names of modules, old and new; that matrices
are [out, in] in the first layout and [in, out] in the second, heads side by side; that
the activated half of a gated block comes first; that the first layout has a table of
positions which rotary models do not use; that transposed kernels of the first layout
are [in, out, taps] and backward; and by their sum, the shapes of v2 50M and 500M. Not
confirmed, since no published file was at hand: the files themselves, the values in
`hyperparams.json`, and whether the first layout ties the LM head of version 1 (where
the head's matrix is absent, the token embedding takes its place).
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import haiku as hk
import jax
import numpy as np
from jaxtyping import Int32

from scmultimodal.modules import nucleotide_transformer
from scmultimodal.modules.heads.segmentation import (
    SegmentationHead,
    SegmentationHeadConfig,
)
from scmultimodal.modules.nucleotide_transformer import NucleotideTransformerConfig
from scmultimodal.schemas.batches import Array
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import folder as folders
from scmultimodal.weights import hub, pickles, published_names
from scmultimodal.weights.folder import Tree
from scmultimodal.weights.genome_model import SegmenterConfig

_TENSORS, _TORCH_CONFIG = "model*.safetensors", "config.json"
_JOBLIB, _HYPERPARAMS = "pytree_ckpt.joblib", "hyperparams.json"
_REMEDY = "get the files again from where they were published"
_HEAD = "roberta_lm_head/lm_"
_SEGMENTER = "fc/w"
_WINDOW_BP = 3_000
_READ_FIRST = {"embed/embeddings", "attention_layer_0/fc1/w"}
"""What the shape of a model is read from."""


class Published(NamedTuple):
    """A published model as ours.

    Attributes:
        encoder: its shape.
        segmenter: head that tells elements; None where there is none.
        params: {module: {name: float32 array}}, with the LM head if the files have one.
    """

    encoder: NucleotideTransformerConfig
    segmenter: SegmenterConfig | None
    params: Tree


def load_published(directory: str | os.PathLike) -> Published:
    """Reads a published model, of either layout.

    Args:
        directory: the published folder, or its `jax_model`.

    Raises:
        InputError: files missing, damaged or unsafe; an array missing, left over, of
            another shape or not finite.
    """
    directory = Path(directory)
    if tensors := sorted(directory.glob(_TENSORS)):
        source, settings_path = tensors[0], directory / _TORCH_CONFIG
        arrays: dict[str, Any] = {}
        for path in tensors:
            arrays |= folders.read_tensors(path, _REMEDY)
        rename, read_config = published_names.from_torch, config_from_torch
    else:
        source = _find_joblib(directory)
        settings_path = source.with_name(_HYPERPARAMS)
        arrays = dict(pickles.load_tree(source))
        rename, read_config = published_names.from_haiku, config_from_hyperparams
    settings = folders.read_json(settings_path, _REMEDY)
    try:
        flat = rename(arrays)
    except ValueError as error:
        raise InputError(source, str(error), _REMEDY) from error
    _check_names(_READ_FIRST, _READ_FIRST & set(flat), source)
    try:
        config = read_config(settings, flat)
        segmenter = segmenter_from(settings, config, flat)
    except (LookupError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            settings_path, f"describes no model that we know ({reason})", _REMEDY
        ) from error
    params = to_parameters(config, flat, segmenter=segmenter, source=source)
    return Published(config, segmenter, params)


def download(name: str) -> Path:
    """Fetches a published model by name ("v2-50m-multi-species", or owner/name).

    Needs the `hub` extra. Files are cached by huggingface-hub; its own settings say
    where, and whether it may use the network.

    Raises:
        InputError: huggingface-hub is not installed, or has no such model.
    """
    repository = name if "/" in name else f"InstaDeepAI/nucleotide-transformer-{name}"
    patterns = [_TENSORS, _TORCH_CONFIG, f"jax_model/{_HYPERPARAMS}"]
    folder = hub.fetch(repository, patterns)
    if not any(folder.glob(_TENSORS)):
        hub.fetch(repository, [*patterns, f"jax_model/{_JOBLIB}"])
    return folder


def config_from_hyperparams(
    hyperparams: Mapping[str, Any], arrays: published_names.Flat
) -> NucleotideTransformerConfig:
    """The model's shape by `hyperparams.json`; what it does not say, by the arrays."""
    get = hyperparams.get
    positions = get("positional_embedding", "learned")
    if positions not in ("learned", None):
        raise ValueError(f"positional_embedding is {positions!r}")
    if get("add_bias_kv", False):
        raise ValueError("add_bias_kv is true")
    mask_share = get("masking_ratio", 0.15) * get("masking_prob", 0.8)
    return NucleotideTransformerConfig(
        vocabulary_size=len(arrays["embed/embeddings"]),
        dim=hyperparams["embed_dim"],
        num_layers=hyperparams["num_layers"],
        num_heads=hyperparams["attention_heads"],
        key_size=get("key_dim"),
        hidden=hyperparams["ffn_embed_dim"],
        gated=get("use_glu_in_ffn", False),
        activation=get("ffn_activation_name", "gelu-no-approx"),
        feed_forward_biases=get("add_bias_ffn", True),
        rotary=get("use_rotary_embedding", False),
        rescaling=get("rescaling_factor"),
        learned_positions=positions == "learned",
        max_tokens=hyperparams["max_positions"],
        embedding_scale=float(get("embed_scale", 1.0)),
        embedding_norm=get("emb_layer_norm_before", False),
        token_dropout=get("token_dropout", False),
        mask_share=mask_share,
    )


def config_from_torch(
    settings: Mapping[str, Any], arrays: published_names.Flat
) -> NucleotideTransformerConfig:
    """The model's shape by Hugging Face's `config.json`, and the arrays beside it.

    Completes and prunes `arrays`: a tied head, a table of positions nobody uses.
    """
    get = settings.get
    rotary = settings["position_embedding_type"] == "rotary"
    if not rotary and settings["position_embedding_type"] != "absolute":
        raise ValueError(f"position_embedding_type is {get('position_embedding_type')}")
    if rotary:
        arrays.pop("esm_learned_positional_embeddings/embed/embeddings", None)
    embedding = arrays["embed/embeddings"]
    has_head = any(name.startswith(_HEAD) for name in arrays)
    if has_head and get("tie_word_embeddings", True):
        arrays.setdefault(f"{_HEAD}final_fc/w", embedding.T)
    hidden = settings["intermediate_size"]
    gated = arrays["attention_layer_0/fc1/w"].shape[1] == 2 * hidden
    return NucleotideTransformerConfig(
        vocabulary_size=len(embedding),
        dim=settings["hidden_size"],
        num_layers=settings["num_hidden_layers"],
        num_heads=settings["num_attention_heads"],
        hidden=hidden,
        gated=gated,
        activation="swish" if gated else "gelu-no-approx",
        feed_forward_biases=get("add_bias_fnn", True),
        rotary=rotary,
        rescaling=get("rescaling_factor") if rotary else None,
        learned_positions=not rotary,
        max_tokens=settings["max_position_embeddings"] - settings["pad_token_id"] - 1,
        embedding_norm=get("emb_layer_norm_before") or False,
        token_dropout=get("token_dropout", False),
        pad_id=settings["pad_token_id"],
        mask_id=settings["mask_token_id"],
    )


def segmenter_from(
    settings: Mapping[str, Any],
    encoder: NucleotideTransformerConfig,
    arrays: published_names.Flat,
) -> SegmenterConfig | None:
    """The U-Net of a SegmentNT, by the `features` of its settings; None without one.

    Its windows are those that the rescaling of positions was chosen for; 3 kb without.
    """
    if _SEGMENTER not in arrays:
        return None
    names = tuple(map(str, settings["features"]))
    head = SegmentationHeadConfig(num_elements=len(names))
    k, window_bp = _letters(arrays, head), _WINDOW_BP
    if encoder.rescaling is not None:
        unit, tokens = head.unit_bp(k), round(encoder.rescaling * encoder.max_tokens)
        window_bp = max(unit, (tokens - 1) * k // unit * unit)
    return SegmenterConfig(head=head, elements=names, window_bp=window_bp)


def to_parameters(
    config: NucleotideTransformerConfig,
    arrays: published_names.Flat,
    *,
    source: object,
    segmenter: SegmenterConfig | None = None,
) -> Tree:
    """Puts published arrays under our names; every one must find its place.

    Args:
        config: shape of the model.
        arrays: by published name, see `published_names`.
        source: file to name in an error.
        segmenter: head that tells elements, if there is one.

    Raises:
        InputError: an array missing, left over, of another shape or not finite.
    """
    with_logits = any(name.startswith(_HEAD) for name in arrays)
    levels = 0 if segmenter is None else segmenter.head.num_levels

    def forward(token_ids: Int32[Array, "sequences tokens"]) -> None:
        encoder = nucleotide_transformer.NucleotideTransformer(config)
        embeddings = encoder(token_ids, with_logits=with_logits).embeddings
        if segmenter is not None:
            k = _letters(arrays, segmenter.head)
            SegmentationHead(segmenter.head, k)(embeddings)

    wanted = jax.eval_shape(
        hk.transform(forward).init,
        jax.random.PRNGKey(0),
        np.full((1, 1 + 2**levels), config.pad_id, np.int32),
    )
    places = {
        published_names.published_name(module, leaf, levels): (
            module,
            leaf,
            array.shape,
        )
        for module, leaves in wanted.items()
        for leaf, array in leaves.items()
    }
    _check_names(set(places), set(arrays), source)
    params: dict[str, dict[str, np.ndarray]] = {}
    for name, (module, leaf, shape) in places.items():
        array, expected = arrays[name], published_names.published_shape(leaf, shape)
        if array.shape != expected:
            raise InputError(
                source,
                f"{name} has shape {array.shape}, the configuration asks for "
                f"{expected}",
                _REMEDY,
            )
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, np.float32).reshape(shape)
        if not np.isfinite(array).all():
            raise InputError(source, f"{name} is not finite", _REMEDY)
        params.setdefault(module, {})[leaf] = array
    return params


def _letters(arrays: published_names.Flat, head: SegmentationHeadConfig) -> int:
    """Letters of a token, of which each has its elements' no and yes."""
    return arrays[_SEGMENTER].shape[-1] // (2 * head.num_elements)


def _check_names(wanted: set[str], found: set[str], source: object) -> None:
    for names, problem in (
        (wanted - found, "lacks"),
        (found - wanted, "also has"),
    ):
        if names:
            first = ", ".join(sorted(names, key=_by_number)[:5])
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise InputError(source, f"{problem} the arrays {first}{more}", _REMEDY)


def _by_number(name: str) -> list[Any]:
    return [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)]


def _find_joblib(directory: Path) -> Path:
    for folder in (directory / "jax_model", directory):
        if (folder / _JOBLIB).exists():
            return folder / _JOBLIB
    raise InputError(
        directory,
        f"has neither {_TENSORS} nor jax_model/{_JOBLIB}",
        "Give the folder of a published Nucleotide Transformer",
    )
