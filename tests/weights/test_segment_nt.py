"""Published SegmentNTs: every array of the U-Net finds its place, in both layouts."""

import joblib
import numpy as np
import pytest

from scmultimodal.models import GenomeModel
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import nucleotide_transformer, pickles
from tests.modules.test_segmentation_head import convolve, swish
from tests.weights import published_folders

FEATURES = ("exon", "intron", "3UTR")


def probabilities(head, embeddings, k=2):
    """The U-Net and its last map by the published names, in numpy."""

    def block(x, name, transposed=False, last=True):
        kind = "conv_transpose" if transposed else "conv"
        x = swish(convolve(x, head[f"{name}/{kind}0"], transposed=transposed))
        x = convolve(x, head[f"{name}/{kind}1"], transposed=transposed)
        return swish(x) if last else x

    x = embeddings[:, 1:].astype(np.float64)
    fine = block(x, "downsample_block_0")
    coarse = block((fine[:, ::2] + fine[:, 1::2]) / 2, "downsample_block_1")
    bottom = (coarse[:, ::2] + coarse[:, 1::2]) / 2
    up = np.repeat(block(bottom, "upsample_block_0", transposed=True), 2, 1) + coarse
    up = np.repeat(block(up, "upsample_block_1", transposed=True), 2, 1) + fine
    hidden = swish(block(up, "final_conv1_d", last=False))
    logits = hidden @ head["fc"]["w"] + head["fc"]["b"]
    logits = logits.reshape(len(x), -1, len(FEATURES), 2)
    return 1 / (1 + np.exp(logits[..., 0] - logits[..., 1]))


@pytest.mark.parametrize("layout", ["jax", "torch"])
def test_elements_are_those_of_an_independent_implementation(tmp_path, layout):
    folder, head = published_folders.write_segment_nt(tmp_path / "nt", layout)
    model = GenomeModel.from_nucleotide_transformer(folder)
    assert model.elements == FEATURES
    # Rescaled by 2 from 20 tokens: 39 k-mers of 2, of which a multiple of 8 bp.
    assert model.config.segmenter.window_bp == 72
    assert model.config.encoder.rescaling == 2
    sequence = "ACGTTGCAGGATTACA"
    ids = model.tokenizer.encode_frame(np.frombuffer(sequence.encode(), np.uint8)[None])
    expected = probabilities(head, model.encode(ids))[0]
    np.testing.assert_allclose(model.segment(sequence), expected, atol=1e-5)


def test_both_layouts_are_one_model(tmp_path):
    one, other = (
        nucleotide_transformer.load_published(
            published_folders.write_segment_nt(tmp_path / layout, layout)[0]
        )
        for layout in ("jax", "torch")
    )
    assert one.segmenter == other.segmenter
    assert one.encoder == other.encoder
    for module, leaves in one.params.items():
        for name, leaf in leaves.items():
            np.testing.assert_array_equal(leaf, other.params[module][name])


def test_it_is_saved_and_loaded(tmp_path):
    folder, _ = published_folders.write_segment_nt(tmp_path / "nt", "jax")
    model = GenomeModel.from_nucleotide_transformer(folder)
    model.save(tmp_path / "ours")
    again = GenomeModel.load(tmp_path / "ours")
    assert again.self_check() < 1e-6
    np.testing.assert_array_equal(again.segment("ACGT" * 9), model.segment("ACGT" * 9))


def test_a_missing_kernel_and_other_features(tmp_path):
    folder, _ = published_folders.write_segment_nt(tmp_path / "nt", "jax")
    path = folder / "jax_model" / "pytree_ckpt.joblib"
    tree = {name: dict(of) for name, of in pickles.load_tree(path).items()}
    name = next(n for n in tree if n.endswith("upsample_block_1/~/conv_transpose0"))
    kernel = tree[name].pop("w")
    joblib.dump(tree, path)
    with pytest.raises(InputError, match="lacks the arrays upsample_block_1/conv_tra"):
        nucleotide_transformer.load_published(folder)
    tree[name]["w"] = kernel[:, :-1]
    joblib.dump(tree, path)
    with pytest.raises(InputError, match=r"has shape \(3, 7, 16\), .* \(3, 8, 16\)"):
        nucleotide_transformer.load_published(folder)
