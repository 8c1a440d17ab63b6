"""`scmultimodal convert`: published weights to ours."""

import numpy as np
import pytest

from scmultimodal import cli
from scmultimodal.models import GenomeModel
from tests.weights import crafted_pickles, published_folders


@pytest.mark.parametrize("layout", ["jax", "torch"])
def test_convert_end_to_end(tmp_path, capsys, layout):
    write = getattr(published_folders, f"write_{layout}")
    folder = write(tmp_path / "nt", published_folders.weights())
    out = tmp_path / "models" / "nt"
    command = ["convert", "--model", str(folder), "--out", str(out)]
    for flags in ([], ["--overwrite"]):
        assert cli.main([*command, *flags]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "2 layers of 8, 2-mers, 1,491 parameters",
            f"model {out}",
        ]
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "model.safetensors",
        "reference.safetensors",
    ]
    model = GenomeModel.load(out)
    assert model.self_check() <= 1e-6
    published = GenomeModel.from_nucleotide_transformer(folder)
    token_ids = model.tokenizer.encode_batch(["ACGTTGCANAC"], 9).ids
    np.testing.assert_array_equal(model.encode(token_ids), published.encode(token_ids))


def poisoned(folder):
    folder = published_folders.write_jax(folder, published_folders.weights())
    data = crafted_pickles.LIVE["builtins.exec"](str(folder.parent / "ran"))
    (folder / "jax_model" / "pytree_ckpt.joblib").write_bytes(data)


def incomplete(folder):
    arrays = published_folders.weights()
    del arrays["attention_layer_1/fc2"]
    published_folders.write_torch(folder, arrays)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (poisoned, ["pytree_ckpt.joblib", "'builtins.exec'", "nothing in it was run"]),
        (incomplete, ["model.safetensors", "lacks the arrays attention_layer_1/fc2/w"]),
        (lambda folder: folder.mkdir(), ["has neither model*.safetensors nor"]),
        (lambda folder: folder.touch(), ["is no folder", "Give the published folder"]),
    ],
    ids=["poisoned", "incomplete", "empty", "file"],
)
def test_convert_of_what_is_no_model(tmp_path, refused, make, words):
    make(tmp_path / "nt")
    out = tmp_path / "out"
    command = ["convert", "--model", str(tmp_path / "nt"), "--out", str(out)]
    line = refused(out, command)
    for word in words:
        assert word in line
    assert [path.name for path in tmp_path.iterdir()] == ["nt"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [([], "exists. Choose another --out"), (["--overwrite"], "holds something else")],
)
def test_convert_spares_the_published_folder(tmp_path, capsys, flags, words):
    folder = published_folders.write_torch(tmp_path, published_folders.weights())
    before = {path: path.read_bytes() for path in folder.iterdir()}
    command = ["convert", "--model", str(folder), "--out", str(folder), *flags]
    assert cli.main(command) == 2
    assert words in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


def test_a_converted_model_goes_only_if_asked_and_alone(tmp_path, capsys):
    folder = published_folders.write_torch(tmp_path / "nt", published_folders.weights())
    out = tmp_path / "out"
    command = ["convert", "--model", str(folder), "--out", str(out)]
    assert cli.main(command) == 0
    assert cli.main(command) == 2
    assert f"{out}: exists. Choose another --out, or" in capsys.readouterr().err
    (out / "notes.txt").write_text("mine")
    assert cli.main([*command, "--overwrite"]) == 2
    assert f"{out / 'notes.txt'}: is no file of the" in capsys.readouterr().err
    assert (out / "notes.txt").read_text() == "mine"
