"""The genome model as its user meets it: DNA in, vectors and scores out."""

import dataclasses
import inspect
import warnings

import haiku as hk
import jax
import numpy as np
import pytest

from scmultimodal.data.region_loading import RegionBatchBuilder, Turning
from scmultimodal.models import GenomeModel
from scmultimodal.modules import nucleotide_transformer as modules
from scmultimodal.modules.heads.accessibility import ScorerConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.tasks.region_ranking import RegionRanking, RegionRankingConfig
from scmultimodal.weights import genome_model, nucleotide_transformer
from scmultimodal.weights.genome_model import GenomeModelConfig
from scmultimodal.workflows import genome_inference, ranking
from tests import builders
from tests.weights import published_folders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

SEQUENCES = ["ACGTTGCA", "GATTACANGA", "T", ""]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A published folder of version 2, as JAX."""
    arrays = published_folders.weights()
    return published_folders.write_jax(tmp_path_factory.mktemp("nt"), arrays)


@pytest.fixture(scope="module")
def model(published):
    return GenomeModel.from_nucleotide_transformer(published)


@pytest.fixture(scope="module")
def token_ids(model):
    return model.tokenizer.encode_batch(SEQUENCES, 9).ids


@pytest.fixture(scope="module")
def vectors(model, token_ids):
    return model.encode(token_ids)


@pytest.fixture(scope="module")
def with_scorer(model):
    """The same encoder and an untrained scorer of 9 tokens."""
    encoder = model.config.encoder
    scorer = ScorerConfig(
        name="convolutional",
        convolution_channels=(2,),
        convolution_pool=2,
        convolution_hidden=4,
    )
    task = RegionRanking(RegionRankingConfig(encoder=encoder, scorer=scorer))
    params, _ = jax.jit(task.init)(
        jax.random.PRNGKey(0), builders.region_batch(num_spans=1, num_tokens=9)
    )
    config = GenomeModelConfig(encoder=encoder, k=2, scorer=scorer, num_tokens=9)
    stored = genome_inference.with_reference(config, jax.device_get(params))
    return GenomeModel(stored)


# A published model.


@pytest.mark.parametrize("version", [2, 1])
@pytest.mark.parametrize("layout", ["jax", "older", "torch"])
def test_published_folders_encode_as_an_independent_implementation(
    tmp_path, version, layout
):
    arrays = published_folders.weights(version)
    if layout == "torch":
        folder = published_folders.write_torch(tmp_path / "nt", arrays, version)
    else:
        folder = published_folders.write_jax(
            tmp_path / "nt", arrays, version, older=layout == "older"
        )
    model = GenomeModel.from_nucleotide_transformer(folder)
    assert (model.config.tokens, model.config.k) == (f"v{version}", 2)
    assert model.config.provenance == {"converted_from": "nt"}
    assert model.num_parameters == sum(
        a.size for leaves in arrays.values() for a in leaves.values()
    )
    token_ids = model.tokenizer.encode_batch(SEQUENCES, 9).ids
    states, _, _ = published_folders.reference(arrays, version)(token_ids)
    vectors = model.encode(token_ids)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, states[-1], rtol=0, atol=1e-5)
    middle = model.encode(token_ids, layer=1)
    np.testing.assert_allclose(middle, states[1], rtol=0, atol=1e-5)


def test_saved_and_loaded_it_is_the_same(model, token_ids, vectors, tmp_path):
    again = GenomeModel.load(model.save(tmp_path / "model"))
    assert again.config == model.config
    np.testing.assert_array_equal(again.encode(token_ids), vectors)
    assert again.self_check() <= 1e-6


def test_a_trained_encoder_may_come_without_a_head(token_ids, tmp_path):
    arrays = published_folders.weights()
    for part in ("lm_final_fc", "lm_head_fc_1", "lm_head_layer_norm"):
        del arrays[f"roberta_lm_head/{part}"]
    folder = published_folders.write_jax(tmp_path, arrays)
    assert GenomeModel.from_nucleotide_transformer(folder).encode(token_ids).any()


def test_names_go_to_the_hub_and_paths_do_not(published, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        nucleotide_transformer, "download", lambda name: asked.append(name) or published
    )
    model = GenomeModel.from_nucleotide_transformer("v2-50m-multi-species")
    assert asked == ["v2-50m-multi-species"]
    assert model.config.provenance == {"converted_from": "v2-50m-multi-species"}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.joblib").touch()
    for path in ("a/b/c", "weights.joblib", tmp_path / "absent"):
        with pytest.raises(InputError, match="is no folder"):
            GenomeModel.from_nucleotide_transformer(path)
    assert len(asked) == 1


def test_a_vocabulary_of_no_kmers_is_refused(tmp_path):
    arrays = published_folders.weights()
    arrays["embed"]["embeddings"] = arrays["embed"]["embeddings"][:26]
    last = arrays["roberta_lm_head/lm_final_fc"]
    last.update(w=last["w"][:, :26], b=last["b"][:26])
    folder = published_folders.write_jax(tmp_path, arrays)
    with pytest.raises(InputError, match="26 tokens, which is no vocabulary"):
        GenomeModel.from_nucleotide_transformer(folder)


# Encoding.


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_batches_change_nothing(model, token_ids, vectors, batch_size):
    found = model.encode(token_ids, batch_size=batch_size)
    np.testing.assert_allclose(found, vectors, rtol=0, atol=1e-6)


def test_other_integers_and_no_sequence(model, token_ids, vectors):
    found = model.encode(token_ids.astype(np.uint8))
    np.testing.assert_array_equal(found, vectors)
    assert model.encode(token_ids[:0]).shape == (0, *vectors.shape[1:])


def test_the_last_layer_is_the_default(model, token_ids, vectors):
    last = model.encode(token_ids, layer=published_folders.LAYERS)
    np.testing.assert_array_equal(last, vectors)
    first = model.encode(token_ids, layer=0)
    table = published_folders.weights()["embed"]["embeddings"]
    np.testing.assert_array_equal(first, table[token_ids])


def test_a_program_is_compiled_once(model, token_ids, monkeypatch):
    model.encode(token_ids)
    built = []
    monkeypatch.setattr(hk, "transform", lambda f: built.append(f))
    model.encode(token_ids)
    assert built == []


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_layer_that_there_is_not(model, token_ids, layer):
    with pytest.raises(InputError, match=f"layer: is {layer}. Choose one from 0 to 2"):
        model.encode(token_ids, layer=layer)


@pytest.mark.parametrize("token", [-1, 27, 4_000])
def test_a_token_outside_the_vocabulary(model, token_ids, token):
    token_ids = token_ids.copy()
    token_ids[1, 2] = token
    with pytest.raises(InputError, match=f"token_ids: .*{token}.*from 0 to 26"):
        model.encode(token_ids)


def test_more_tokens_than_learned_positions(tmp_path):
    arrays = published_folders.weights(1)
    folder = published_folders.write_jax(tmp_path, arrays, 1)
    model = GenomeModel.from_nucleotide_transformer(folder)
    token_ids = np.full((1, published_folders.POSITIONS + 1), 3)
    for rescale in (False, True):
        with pytest.raises(InputError, match=r"21 tokens in a row.*positions for 20"):
            model.encode(token_ids, rescale=rescale)
    assert model.encode(token_ids[:, 1:]).shape[1] == 20


def test_longer_rows_than_those_of_training_are_rescaled_or_refused(model):
    trained = published_folders.POSITIONS
    letters = [builders.dna(4 * trained - 2, seed=seed) for seed in range(2)]
    token_ids = model.tokenizer.encode_batch(letters, 2 * trained).ids
    with pytest.raises(
        InputError, match=r"40 tokens in a row.*trained on 20.*rescale="
    ):
        model.encode(token_ids)
    encoder = dataclasses.replace(model.config.encoder, rescaling=2.0)
    config = dataclasses.replace(model.config, encoder=encoder)
    knows = GenomeModel(dataclasses.replace(model._stored, config=config))
    found = model.encode(token_ids, rescale=True)
    np.testing.assert_array_equal(found, knows.encode(token_ids))
    within = token_ids[:, :trained]
    expected = model.encode(within)
    np.testing.assert_array_equal(model.encode(within, rescale=True), expected)
    assert np.abs(knows.encode(within) - expected).max() > 1e-4
    with pytest.raises(InputError, match=r"41 tokens in a row.*trained on 40"):
        knows.encode(np.pad(token_ids, ((0, 0), (0, 1)), constant_values=1))


@pytest.mark.parametrize("change", [np.float32, np.ravel, lambda ids: ids > 3])
def test_what_is_no_row_of_tokens(model, token_ids, change):
    """In these tests the annotation speaks first, with a TypeError."""
    with pytest.raises((InputError, TypeError), match="token_ids"):
        model.encode(change(token_ids))


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batches_of_nothing(model, with_scorer, token_ids, batch_size):
    with pytest.raises(InputError, match=f"batch_size: is {batch_size}"):
        model.encode(token_ids, batch_size=batch_size)
    with pytest.raises(InputError, match=f"batch_size: is {batch_size}"):
        with_scorer.score(SEQUENCES, batch_size=batch_size)


# Scoring.


def test_without_a_scorer_nothing_is_scored(model):
    with pytest.raises(InputError, match=r"no head that scores.*region_ranking"):
        model.score(SEQUENCES)


def test_scores_are_those_of_the_task(with_scorer):
    scores = with_scorer.score(SEQUENCES, batch_size=3)
    config = with_scorer.config
    task = RegionRanking(
        RegionRankingConfig(encoder=config.encoder, scorer=config.scorer)
    )
    batch = builders.region_batch(num_spans=1, num_regions=4, num_tokens=9)
    token_ids = with_scorer.tokenizer.encode_batch(SEQUENCES, 9).ids
    batch = dataclasses.replace(batch, token_ids=token_ids[None])
    expected = task.predict(with_scorer._stored.params, {}, batch)[0, :, 0]
    assert scores.dtype == np.float32
    assert len(np.unique(scores)) == len(SEQUENCES)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)


def test_a_scorer_survives_the_folder(with_scorer, tmp_path):
    again = GenomeModel.load(with_scorer.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.score(SEQUENCES), with_scorer.score(SEQUENCES))
    assert again.self_check() <= 1e-6


def test_what_is_no_dna(with_scorer):
    with pytest.raises(InputError, match="'-' at position 2"):
        with_scorer.score(["ACGT", "AC-T"])


@pytest.mark.parametrize(
    ("given", "words"),
    [("ACGT", "sequences: are one text"), (["ACGT", None], "sequence: is a NoneType")],
)
def test_what_is_no_list_of_texts(with_scorer, given, words):
    score = inspect.unwrap(GenomeModel.score)  # Past jaxtyping's own check.
    with pytest.raises(InputError, match=words):
        score(with_scorer, given)


@pytest.fixture(scope="module")
def turned():
    """Ten tokens are prepared, and the scorer reads nine in twelve views."""
    turning = Turning(reverse_complement=True, crop_bp=6)
    encoder = builders.dna_encoder_config(vocabulary_size=4107)
    scorer = ScorerConfig(name="linear")
    task = RegionRanking(RegionRankingConfig(encoder=encoder, scorer=scorer))
    params, _ = jax.jit(task.init)(
        jax.random.PRNGKey(0), builders.region_batch(num_spans=1, num_tokens=9)
    )
    config = GenomeModelConfig(
        encoder=encoder, scorer=scorer, num_tokens=9, turning=turning
    )
    return GenomeModel(genome_inference.with_reference(config, jax.device_get(params)))


PREPARED = [
    [builders.dna(54, seed=1), builders.dna(49, seed=2), builders.dna(5, seed=3)],
    [builders.dna(12, seed=4) + "N" + builders.dna(24, seed=5), "ACGT" * 12, "G" * 54],
]
"""Full, shorter, shorter than a k-mer, with an N, and of few letters."""


@pytest.mark.parametrize("loaded", [False, True])
def test_scores_are_what_accuracy_is_measured_by(turned, tmp_path, loaded, recwarn):
    store = builders.region_store(
        tmp_path / "spans", PREPARED, np.zeros((2, 3)), num_tokens=10
    )
    turning = turned.config.turning
    builder = RegionBatchBuilder(store, store.tokenizer, turning)
    assert len(turning.views(6)) == 12
    model = GenomeModel.load(turned.save(tmp_path / "m")) if loaded else turned
    measured = ranking.scores(model._stored, builder, np.arange(2))
    found = model.score([sequence for span in PREPARED for sequence in span])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, measured.ravel(), rtol=0, atol=1e-6)
    assert np.diff(np.sort(found)).min() > 1e-4
    assert not list(recwarn)


def test_a_score_depends_on_its_sequence_alone(turned):
    sequences = [sequence for span in PREPARED for sequence in span]
    found = turned.score(sequences, overflow="raise")
    backwards = turned.score(sequences[::-1], batch_size=4)[::-1]
    np.testing.assert_allclose(backwards, found, rtol=0, atol=1e-6)
    assert turned.score([]).shape == (0,)


def test_sequences_that_lose_their_end_are_counted_or_refused(turned):
    sequences = [builders.dna(54, seed=1) + end for end in ("", "A", "ACGTACGTA")]
    said = r"2 of 3 have more than the 10 tokens .* 54 bp without N"
    with pytest.warns(UserWarning, match=said) as caught:
        found = turned.score(sequences)
    assert len(caught) == 1
    np.testing.assert_allclose(found, found[0], rtol=0, atol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cut = turned.score(sequences, overflow="cut")
        turned.score(sequences[:1])
        turned.score(sequences[:1], overflow="raise")
    np.testing.assert_array_equal(cut, found)
    with pytest.raises(InputError, match=f"sequences: {said}"):
        turned.score(sequences, overflow="raise")


def test_what_is_no_choice_for_those_too_long(turned):
    """In these tests the annotation speaks first, with a TypeError."""
    with pytest.raises((InputError, TypeError), match="overflow"):
        turned.score(["ACGT"], overflow="explode")


# Whatever the folder is.


def test_every_kind_of_model_folder_is_opened(model, published, tmp_path):
    arrays = published_folders.weights()
    torch = published_folders.write_torch(tmp_path / "torch", arrays)
    model.save(tmp_path / "run" / "model")
    source = {
        published: published.name,
        published / "jax_model": "jax_model",
        torch: "torch",
        tmp_path / "run": published.name,
        tmp_path / "run" / "model": published.name,
    }
    for folder, name in source.items():
        found = genome_inference.open_any(folder)
        assert found.config.provenance == {"converted_from": name}
        assert found.params.keys() == model._stored.params.keys()


def test_what_is_no_model_folder_says_what_to_give(model, tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match=r"is no model.*give a run folder"):
            genome_inference.open_any(folder)
    path = model.save(tmp_path / "model") / "config.json"
    path.write_text("{")
    with pytest.raises(InputError, match=r"config\.json: cannot be read"):
        genome_inference.open_any(tmp_path / "model")


# The stored reference.


def test_a_machine_that_computes_something_else_is_noticed(model):
    stored = model._stored
    moved = stored.reference["embeddings"] + np.float32(0.01)
    moved = {**stored.reference, "embeddings": moved}
    other = GenomeModel(dataclasses.replace(stored, reference=moved))
    with pytest.raises(InputError, match=r"differ by 0\.01"):
        other.self_check()
    assert other.self_check(tolerance=0.1) == pytest.approx(0.01, abs=1e-4)
    moved["embeddings"] = moved["embeddings"] * np.nan
    with pytest.raises(InputError, match="differ by nan"):
        GenomeModel(dataclasses.replace(stored, reference=moved)).self_check()


def test_the_reference_holds_scores_where_there_is_a_scorer(model, with_scorer):
    assert set(model._stored.reference) == {"token_ids", "embeddings"}
    reference = with_scorer._stored.reference
    assert set(reference) == {"token_ids", "embeddings", "scored_token_ids", "scores"}
    assert reference["token_ids"].shape == (2, 16)
    assert reference["scored_token_ids"].shape == (2, 9)
    sequences = genome_inference.REFERENCE_SEQUENCES
    scores = with_scorer.score(sequences, overflow="cut")
    np.testing.assert_array_equal(reference["scores"], scores)
    assert scores[0] != scores[1]


def test_scores_that_moved_are_noticed(with_scorer):
    stored = with_scorer._stored
    moved = {**stored.reference, "scores": stored.reference["scores"] + 0.5}
    with pytest.raises(InputError, match=r"differ by 0\.5"):
        GenomeModel(dataclasses.replace(stored, reference=moved)).self_check()


def test_the_reference_is_no_longer_than_learned_positions():
    encoder = builders.dna_encoder_config(learned_positions=True, max_tokens=10)
    network = modules.build_encoder(encoder)
    token_ids = np.full((1, 10), 3, np.int32)
    params = jax.device_get(jax.jit(network.init)(jax.random.PRNGKey(0), token_ids))
    config = GenomeModelConfig(encoder=encoder, k=2)
    stored = genome_inference.with_reference(config, params)
    assert stored.reference["embeddings"].shape == (2, 10, encoder.dim)


def test_a_cell_model_is_no_genome_model(model, tmp_path):
    path = model.save(tmp_path / "model") / genome_model.folders.CONFIG
    path.write_text(path.read_text().replace("genome model", "cell model"))
    with pytest.raises(InputError, match="is a scmultimodal cell model"):
        GenomeModel.load(tmp_path / "model")
