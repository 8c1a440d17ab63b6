"""Published folders, of both layouts and both versions, and what may be wrong there."""

import sys
import types

import joblib
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import nucleotide_transformer
from tests.weights import published_folders
from tests.weights.published_folders import DIM, HEADS, KEY_SIZE

JOBLIB = "jax_model/pytree_ckpt.joblib"


def load(folder):
    """(config, {"module/name": array})."""
    config, _, params = nucleotide_transformer.load_published(folder)
    return config, {
        f"{m}/{k}": a for m, leaves in params.items() for k, a in leaves.items()
    }


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], strict=True)


@pytest.fixture(params=[2, 1], ids=["v2", "v1"])
def version(request):
    return request.param


def test_every_array_finds_its_place(tmp_path, version):
    arrays = published_folders.weights(version)
    config, params = load(published_folders.write_jax(tmp_path, arrays, version))
    assert config.rotary == config.gated == (version == 2)
    assert config.learned_positions == config.feed_forward_biases == (version == 1)
    published = [a for leaves in arrays.values() for a in leaves.values()]
    assert sum(a.size for a in params.values()) == sum(a.size for a in published)
    assert all(a.dtype == np.float32 for a in params.values())
    name = "nucleotide_transformer"
    np.testing.assert_array_equal(
        params[f"{name}/token_embedding"], arrays["embed"]["embeddings"]
    )
    for part in ("query", "key", "value"):
        leaves = arrays[f"attention_layer_1/self_attention/{part}"]
        np.testing.assert_array_equal(
            params[f"{name}/layer_1/{part}"], leaves["w"].reshape(DIM, HEADS, KEY_SIZE)
        )
        np.testing.assert_array_equal(
            params[f"{name}/layer_1/{part}_bias"], leaves["b"].reshape(HEADS, KEY_SIZE)
        )
    np.testing.assert_array_equal(
        params[f"{name}/lm_head/output_bias"],
        arrays["roberta_lm_head/lm_final_fc"]["b"],
    )


def test_both_layouts_and_older_names_are_one_model(tmp_path, version):
    arrays = published_folders.weights(version)
    folders = [
        published_folders.write_jax(tmp_path / "jax", arrays, version),
        published_folders.write_jax(tmp_path / "older", arrays, version, older=True),
        published_folders.write_torch(tmp_path / "torch", arrays, version),
    ]
    config, params = load(folders[0])
    for folder in (*folders[1:], folders[0] / "jax_model"):
        again_config, again = load(folder)
        assert again_config == config
        same(again, params)


def test_tensors_are_taken_where_both_layouts_are(tmp_path):
    published_folders.write_torch(tmp_path, published_folders.weights())
    (tmp_path / "jax_model").mkdir()
    (tmp_path / JOBLIB).write_bytes(b"never read")
    load(tmp_path)


def test_tensors_in_two_files(tmp_path):
    folder = published_folders.write_torch(tmp_path, published_folders.weights())
    config, whole = load(folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    for i in range(2):
        part = {name: tensors[name] for name in names[i::2]}
        save_file(part, folder / f"model-0000{i + 1}-of-00002.safetensors")
    again_config, again = load(folder)
    assert again_config == config
    same(again, whole)


def test_a_head_may_be_tied_or_absent(tmp_path):
    arrays = published_folders.weights(1)
    del arrays["roberta_lm_head/lm_final_fc"]["w"]
    folder = published_folders.write_torch(
        tmp_path / "tied", arrays, 1, tie_word_embeddings=True
    )
    output = load(folder)[1]["nucleotide_transformer/lm_head/output"]
    np.testing.assert_array_equal(output, arrays["embed"]["embeddings"].T)
    for part in ("lm_final_fc", "lm_head_fc_1", "lm_head_layer_norm"):
        del arrays[f"roberta_lm_head/{part}"]
    folder = published_folders.write_jax(tmp_path / "headless", arrays, 1)
    assert not any("lm_head" in name for name in load(folder)[1])


def test_hyperparams_say_what_arrays_do_not(tmp_path):
    fields = {
        "token_dropout": True,
        "embed_scale": 2,
        "rescaling_factor": 1.5,
        "masking_ratio": 0.2,
        "key_dim": KEY_SIZE,
    }
    folder = published_folders.write_jax(
        tmp_path, published_folders.weights(), **fields
    )
    config, _ = load(folder)
    assert config.token_dropout
    assert config.embedding_scale == 2
    assert config.rescaling == 1.5
    assert config.mask_share == pytest.approx(0.16)
    assert config.max_tokens == published_folders.POSITIONS


@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_other_precisions_become_float32(tmp_path, dtype):
    arrays = published_folders.weights()
    for leaves in arrays.values():
        leaves.update({k: a.astype("f2").astype(dtype) for k, a in leaves.items()})
    one = load(published_folders.write_jax(tmp_path / "jax", arrays))[1]
    other = load(published_folders.write_torch(tmp_path / "torch", arrays))[1]
    assert {a.dtype for a in one.values()} == {np.dtype("f4")}
    same(one, other)


# What may be wrong.


def refused(folder, *words):
    """Loading ends in one line with these words, and leaves the folder as it was."""
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(InputError) as caught:
        nucleotide_transformer.load_published(folder)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def edit_jax(folder, arrays, change):
    published_folders.write_jax(folder, arrays)
    tree = published_folders.haiku_names(arrays)
    change(tree)
    joblib.dump(tree, folder / JOBLIB)
    return "pytree_ckpt.joblib"


def edit_torch(folder, arrays, change):
    published_folders.write_torch(folder, arrays)
    path = folder / "model.safetensors"
    tree = {name: {"": array} for name, array in load_file(path).items()}
    change(tree)
    save_file({name: leaves[""] for name, leaves in tree.items()}, path)
    return "model.safetensors"


LAYOUTS = pytest.mark.parametrize("edit", [edit_jax, edit_torch])
VALUE = {
    edit_jax: "nucleotide_transformer_v2_50M/attention_layer_1/~/self_attention/value",
    edit_torch: "esm.encoder.layer.1.attention.self.value.weight",
}


def leaf(edit):
    return "w" if edit is edit_jax else ""


@LAYOUTS
def test_a_missing_array(tmp_path, edit):
    arrays = published_folders.weights()
    del arrays["attention_layer_1/self_attention/value"]["w"]
    name = edit(tmp_path, arrays, lambda tree: None)
    refused(tmp_path, name, "lacks the arrays attention_layer_1/self_attention/value/w")


@LAYOUTS
@pytest.mark.parametrize("missing", ["embed", "attention_layer_0/fc1"])
def test_the_arrays_that_tell_the_shape_are_missing(tmp_path, edit, missing):
    arrays = published_folders.weights()
    del arrays[missing]
    name = edit(tmp_path, arrays, lambda tree: None)
    refused(tmp_path, name, f"lacks the arrays {missing}/")


@LAYOUTS
def test_an_array_left_over(tmp_path, edit):
    extra = {leaf(edit): np.ones(3, "f4")}
    name = edit(
        tmp_path, published_folders.weights(), lambda t: t.update({"unet/conv": extra})
    )
    refused(tmp_path, name, "also has the arrays unet/conv")


@LAYOUTS
@pytest.mark.parametrize("shape", [(DIM, DIM - 1), (DIM * DIM,), (DIM, DIM, 1)])
def test_a_wrong_shape(tmp_path, edit, shape):
    name = edit(
        tmp_path,
        published_folders.weights(),
        lambda t: t[VALUE[edit]].update({leaf(edit): np.ones(shape, "f4")}),
    )
    refused(tmp_path, name, "self_attention/value/w has shape (", "asks for (8, 8)")


@LAYOUTS
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_number_that_is_none(tmp_path, edit, value):
    array = np.full((DIM, DIM), 0.5)
    array[3, 2] = value
    name = edit(
        tmp_path,
        published_folders.weights(),
        lambda t: t[VALUE[edit]].update({leaf(edit): array}),
    )
    refused(tmp_path, name, "self_attention/value/w is not finite")


def test_a_layer_too_many_and_too_few(tmp_path):
    arrays = published_folders.weights()
    more = published_folders.write_jax(tmp_path / "more", arrays, num_layers=3)
    refused(more, "lacks the arrays attention_layer_2/fc1/w", "and 9 more")
    fewer = published_folders.write_torch(
        tmp_path / "fewer", arrays, num_hidden_layers=1
    )
    refused(fewer, "also has the arrays attention_layer_1/fc1/w", "and 9 more")


def test_two_arrays_for_one_place(tmp_path):
    def twice(tree):
        tree["another_model/embed"] = {"embeddings": np.ones((27, DIM), "f4")}

    name = edit_jax(tmp_path, published_folders.weights(), twice)
    refused(tmp_path, name, "has two arrays for embed/embeddings")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"embed_dim": 9}, "key_size"),
        ({"embed_dim": None}, ""),
        ({"attention_heads": "2"}, ""),
        ({"positional_embedding": "alibi"}, "alibi"),
        ({"add_bias_kv": True}, "add_bias_kv"),
        ({"ffn_activation_name": "tanh"}, "activation"),
        ({"masking_ratio": 2}, "mask_share"),
    ],
)
def test_hyperparams_of_no_model(tmp_path, fields, word):
    arrays = published_folders.weights()
    folder = published_folders.write_jax(tmp_path, arrays, **fields)
    refused(folder, "hyperparams.json: describes no model", word)


@pytest.mark.parametrize("name", ["hyperparams.json", "config.json"])
@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", b"\xff\xfe"])
def test_settings_that_cannot_be_read(tmp_path, name, content):
    write = published_folders.write_jax
    if name == "config.json":
        write = published_folders.write_torch
    folder = write(tmp_path, published_folders.weights())
    (path,) = folder.rglob(name)
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(folder, name)


def test_a_config_of_no_model(tmp_path):
    arrays = published_folders.weights(1)
    published_folders.write_torch(tmp_path, arrays, 1, position_embedding_type="rope")
    refused(tmp_path, "config.json: describes no model", "rope")


@pytest.mark.parametrize("part", [0, 4, 0.5, -1])
@pytest.mark.parametrize("name", ["model.safetensors", "pytree_ckpt.joblib"])
def test_truncated(tmp_path, name, part):
    write = published_folders.write_jax
    if name == "model.safetensors":
        write = published_folders.write_torch
    (path,) = write(tmp_path, published_folders.weights()).rglob(name)
    content = path.read_bytes()
    end = int(part * len(content)) if part == 0.5 else part
    path.write_bytes(content[:end])
    refused(tmp_path, name, "get the files again" if "safe" in name else "again from")


def test_compressed(tmp_path):
    arrays = published_folders.weights()
    folder = published_folders.write_jax(tmp_path, arrays)
    joblib.dump(published_folders.haiku_names(arrays), folder / JOBLIB, compress=3)
    refused(folder, "pytree_ckpt.joblib", "Decompress")


def test_an_empty_folder(tmp_path):
    refused(tmp_path, "has neither model*.safetensors nor jax_model")


# By name.


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that serves one published folder; returns what it was asked for."""
    asked = []

    def snapshot_download(repository, allow_patterns):
        asked.append((repository, tuple(allow_patterns)))
        if "absent" in repository:
            raise RuntimeError("404 Client Error\nRequest id …")
        return str(tmp_path)

    module = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return asked


def test_names_are_completed_and_pickles_fetched_last(hub, tmp_path):
    found = nucleotide_transformer.download("v2-50m-multi-species")
    assert found == tmp_path
    repositories, patterns = zip(*hub, strict=True)
    assert {*repositories} == {
        "InstaDeepAI/nucleotide-transformer-v2-50m-multi-species"
    }
    assert JOBLIB not in patterns[0]
    assert JOBLIB in patterns[1]
    hub.clear()
    (tmp_path / "model.safetensors").touch()
    nucleotide_transformer.download("somebody/model")
    assert [repository for repository, _ in hub] == ["somebody/model"]


def test_what_the_hub_does_not_have_is_one_line(hub):
    with pytest.raises(InputError, match=r"absent.*\(404 Client Error\)") as caught:
        nucleotide_transformer.download("absent")
    assert "\n" not in str(caught.value)


def test_without_the_hub_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"scmultimodal\[hub\]"):
        nucleotide_transformer.download("v2-50m-multi-species")
