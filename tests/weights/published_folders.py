"""Folders as Nucleotide Transformers are published, of random weights, tiny.

`SIZES` of version 2 with k-mers of 2 letters (27 tokens) and of version 1 (25).
"""

import json

import joblib
import numpy as np
from safetensors.numpy import save_file

from tests.parity.nucleotide_transformer_reference import Reference, random_weights

LAYERS, HEADS, KEY_SIZE, HIDDEN, POSITIONS = 2, 2, 4, 6, 20
DIM = HEADS * KEY_SIZE
SIZES = {
    version: {
        "layers": LAYERS,
        "heads": HEADS,
        "key_size": KEY_SIZE,
        "dim": DIM,
        "hidden": HIDDEN,
        "vocabulary": vocabulary,
        "positions": positions,
    }
    for version, vocabulary, positions in ((2, 27, None), (1, 25, POSITIONS))
}
HYPERPARAMS = {
    "k_for_kmers": 2,
    "attention_heads": HEADS,
    "embed_dim": DIM,
    "ffn_embed_dim": HIDDEN,
    "num_layers": LAYERS,
    "max_positions": POSITIONS,
    "embed_scale": 1.0,
    "emb_layer_norm_before": False,
    "token_dropout": False,
    "masking_ratio": 0.15,
    "masking_prob": 0.8,
}
"""Those of version 1: what they leave out has the defaults of SPEC 3.5."""
VERSION_2 = {
    "add_bias_ffn": False,
    "ffn_activation_name": "swish",
    "use_glu_in_ffn": True,
    "use_rotary_embedding": True,
    "positional_embedding": None,
}
CONFIG = {
    "model_type": "esm",
    "hidden_size": DIM,
    "intermediate_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": POSITIONS + 2,
    "position_embedding_type": "absolute",
    "emb_layer_norm_before": False,
    "token_dropout": False,
    "pad_token_id": 1,
    "mask_token_id": 2,
    "tie_word_embeddings": False,
}
_TORCH = {
    "embed": "esm.embeddings.word_embeddings",
    "positions": "esm.embeddings.position_embeddings",
    "self_attention_layer_norm": "attention.LayerNorm",
    "self_attention/query": "attention.self.query",
    "self_attention/key": "attention.self.key",
    "self_attention/value": "attention.self.value",
    "self_attention/mha_output": "attention.output.dense",
    "final_layer_norm": "LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "emb_layer_norm_after": "esm.encoder.emb_layer_norm_after",
    "lm_head_fc_1": "lm_head.dense",
    "lm_head_layer_norm": "lm_head.layer_norm",
}


def weights(version=2, *, seed=0):
    """{module: {leaf: float32 array}} by the names of SPEC 3.5."""
    drawn = random_weights(**SIZES[version], seed=seed)
    return {m: {k: np.float32(a) for k, a in v.items()} for m, v in drawn.items()}


def reference(arrays, version=2):
    """An independent implementation of the model with these weights."""
    doubles = {m: {k: np.float64(a) for k, a in v.items()} for m, v in arrays.items()}
    return Reference(doubles, layers=LAYERS, heads=HEADS, version=version)


def haiku_names(arrays, *, older=False):
    """As the JAX reference names them, or as older files do."""
    tree = {}
    for module, leaves in arrays.items():
        if module == "positions":
            module = "esm_learned_positional_embeddings/embed"
        if older:
            module = module.replace("self_attention_layer_norm", "mha_layer_norm")
            module = module.replace("self_attention", "mha")
            module = module.replace("roberta_lm_head", "esm_roberta_lm_head")
        name = "nucleotide_transformer_v2_50M/" + module.replace("/", "/~/", 1)
        tree[name.replace("/mha/", "/~/mha/") if older else name] = leaves
    return tree


def torch_names(arrays):
    """As Hugging Face's ESM names them; matrices are [out, in] there."""
    tensors = {"esm.contact_head.regression.weight": np.ones((1, 4), "f4")}
    for module, leaves in arrays.items():
        layer, _, part = module.removeprefix("attention_layer_").partition("/")
        for leaf, array in leaves.items():
            ending = "bias" if leaf in ("b", "offset") else "weight"
            if module == "roberta_lm_head/lm_final_fc":
                name = "lm_head.bias" if leaf == "b" else "lm_head.decoder.weight"
            elif module.startswith("attention_layer_"):
                name = f"esm.encoder.layer.{layer}.{_TORCH[part]}.{ending}"
            else:
                name = f"{_TORCH[module.rpartition('/')[2]]}.{ending}"
            tensors[name] = np.ascontiguousarray(array.T if leaf == "w" else array)
    for layer in range(LAYERS):
        name = f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"
        tensors[name] = np.ones(KEY_SIZE // 2, "f4")
    return tensors


def write_jax(folder, arrays, version=2, *, older=False, **fields):
    """jax_model/ with pytree_ckpt.joblib and hyperparams.json."""
    folder = folder / "jax_model"
    folder.mkdir(parents=True)
    joblib.dump(haiku_names(arrays, older=older), folder / "pytree_ckpt.joblib")
    hyperparams = HYPERPARAMS | (VERSION_2 if version == 2 else {}) | fields
    (folder / "hyperparams.json").write_text(json.dumps(hyperparams))
    return folder.parent


def write_torch(folder, arrays, version=2, **fields):
    """model.safetensors and config.json; version 2 has a table that is not used."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = torch_names(arrays)
    config = CONFIG | fields
    if version == 2:
        table = np.ones((POSITIONS + 2, DIM), "f4")
        tensors["esm.embeddings.position_embeddings.weight"] = table
        config |= {"position_embedding_type": "rotary", "add_bias_fnn": False}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def segmenter_weights(elements=3, k=2, *, seed=5):
    """{module: {leaf: array}} of a U-Net, by the names of the JAX reference."""
    rng = np.random.default_rng(seed)
    shapes = {}
    for level, (inner, outer) in enumerate([(DIM, DIM), (DIM, 2 * DIM)]):
        for i in (0, 1):
            shape = (3, inner if i == 0 else outer, outer)
            shapes[f"downsample_block_{level}/conv{i}"] = shape
    for block, (inner, outer) in enumerate([(2 * DIM, 2 * DIM), (2 * DIM, DIM)]):
        for i in (0, 1):
            # Transposed: [taps, out, in].
            shape = (3, outer, inner if i == 0 else outer)
            shapes[f"upsample_block_{block}/conv_transpose{i}"] = shape
    for i in (0, 1):
        shapes[f"final_conv1_d/conv{i}"] = (3, DIM, DIM)
    shapes["fc"] = (DIM, k * elements * 2)
    return {
        name: {
            "w": rng.normal(0, 0.3, shape).astype("f4"),
            "b": rng.normal(
                0, 0.3, shape[1] if "transpose" in name else shape[-1]
            ).astype("f4"),
        }
        for name, shape in shapes.items()
    }


def write_segment_nt(folder, layout, features=("exon", "intron", "3UTR")):
    """A SegmentNT of either layout; returns its folder and the arrays of the head."""
    arrays, head = weights(), segmenter_weights(len(features))
    if layout == "jax":
        folder = folder / "jax_model"
        folder.mkdir(parents=True)
        unet = "u_net_head/~/unet1_d_segmentation_head/~/"
        tree = haiku_names(arrays) | {
            ("u_net_head/~/fc" if m == "fc" else unet + m.replace("/", "/~/")): leaves
            for m, leaves in head.items()
        }
        joblib.dump(tree, folder / "pytree_ckpt.joblib")
        fields = {"rescaling_factor": 2.0, "features": list(features)}
        hyperparams = HYPERPARAMS | VERSION_2 | fields
        (folder / "hyperparams.json").write_text(json.dumps(hyperparams))
        return folder.parent, head
    write_torch(folder, arrays, features=list(features), rescaling_factor=2.0)
    tensors = {
        name: array
        for module, leaves in head.items()
        for name, array in _torch_segmenter(module, leaves)
    }
    save_file(torch_names(arrays) | tensors, folder / "model.safetensors")
    return folder, head


def _torch_segmenter(module, leaves):
    """Names and arrays as SegmentNT's torch module has them."""
    kernel = leaves["w"]
    if module == "fc":
        yield "fc.weight", np.ascontiguousarray(kernel.T)
        yield "fc.bias", leaves["b"]
        return
    block, layer = module.split("/")
    kind, _, number = block.rpartition("_")
    place = {
        "downsample_block": f"_downsample_blocks.{number}",
        "upsample_block": f"_upsample_blocks.{number}",
        "final_conv1": "final_block",
    }[kind]
    if "transpose" in layer:  # [in, out, taps], and backward
        kernel = kernel[::-1].transpose(2, 1, 0)
    else:
        kernel = kernel.transpose(2, 1, 0)
    name = f"unet.{place}.conv_layers.{layer[-1]}"
    yield f"{name}.weight", np.ascontiguousarray(kernel)
    yield f"{name}.bias", leaves["b"]
