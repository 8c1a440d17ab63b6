"""Training by ranking: learns, freezes, slows, resumes, and starts from a model."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from scmultimodal.data.region_loading import RegionBatchBuilder, Turning
from scmultimodal.data.sampling import WHOLE
from scmultimodal.evaluation.ranking import full_order_accuracy
from scmultimodal.genome.composition import reverse_complement
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.models import GenomeModel
from scmultimodal.modules.heads.accessibility import ScorerConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.training.metrics import read_metrics
from scmultimodal.training.optimizers import OptimizerConfig, build_optimizer
from scmultimodal.weights.genome_model import StoredGenomeModel
from scmultimodal.workflows import genome_inference, genome_presets, ranking
from scmultimodal.workflows.ranking_config import RankingConfig
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

NUM_TOKENS = 8
SHAPE = builders.dna_encoder_config(vocabulary_size=4107)
FAST = OptimizerConfig(learning_rate=0.02, weight_decay=0.0, decay="constant")
CONFIG = RankingConfig(
    shape=SHAPE,
    scorer=ScorerConfig(name="linear"),
    optimizer=FAST,
    turning=Turning(reverse_complement=True),
    steps=60,
    batch_size=16,
    evaluate_every=20,
    checkpoint_every=25,
)
VARIED = Turning(reverse_complement=True, crop_bp=6)


def planted(num_spans):
    """Regions of 42 bp, and how many of their 6-mers are the planted one."""
    rng = np.random.default_rng(0)
    order = rng.permuted(np.tile(np.arange(3), (num_spans, 1)), axis=1)
    spans = []
    for row, counts in enumerate(order.tolist()):
        spans.append([])
        for place, count in enumerate(counts):
            kmers = [builders.dna(6, seed=99 * row + 9 * place + i) for i in range(7)]
            for i in rng.choice(7, 2 * count, replace=False):
                kmers[i] = "GATTAC"
            spans[-1].append("".join(kmers))
    return spans, order * rng.uniform(0.5, 2, (num_spans, 1)) + 1


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """240 spans: half to train on, a quarter to validate on, a quarter to test on."""
    sequences, values = planted(240)
    return builders.region_store(
        tmp_path_factory.mktemp("store") / "spans",
        sequences,
        values,
        num_tokens=NUM_TOKENS,
        split=np.repeat([0, 1, 2], [120, 60, 60]),
    )


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """(folder, model) of a training from scratch."""
    folder = tmp_path_factory.mktemp("ranking") / "run"
    return folder, ranking.run(store, CONFIG, folder)


@pytest.fixture
def asked(store, tmp_path, monkeypatch):
    """Says what a training would ask of the loop."""

    def ask(*, start=None, train=None, validation=None, **changes):
        config = dataclasses.replace(CONFIG, **changes)
        out, kept = tmp_path / "asked", []

        def fit(task, **keywords):
            kept.append(keywords)
            raise InterruptedError

        with monkeypatch.context() as patch:
            patch.setattr(ranking.loop, "fit", fit)
            with pytest.raises(InterruptedError):
                ranking.run(
                    store, config, out, start=start, train=train, validation=validation
                )
        assert not out.exists()
        return kept[0]

    return ask


def leaves(params):
    return {
        f"{module}/{name}": leaf
        for module, names in params.items()
        for name, leaf in names.items()
    }


def moved(before, after):
    """Largest change of each parameter."""
    before, after = leaves(before), leaves(after)
    assert before.keys() == after.keys()
    return {name: np.abs(after[name] - before[name]).max() for name in before}


def of_encoder(name):
    return name.startswith("nucleotide_transformer/")


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, leaf in leaves(one).items():
        np.testing.assert_array_equal(leaf, leaves(other)[name], err_msg=name)


# What comes of it.


def test_held_out_spans_are_ordered(store, trained):
    _, model = trained
    builder = ranking.make_builder(store, CONFIG, model)
    held_out = store.split("test")
    found = ranking.scores(model, builder, held_out)
    assert found.shape == (60, 3)
    assert full_order_accuracy(found, store.values[held_out]) > 0.6


def test_the_model_trains_by_one_call(store, trained, tmp_path, monkeypatch):
    """`GenomeModel.fit_ranking`: the workflow, a run folder, and words for mistakes."""
    small = dataclasses.replace(genome_presets.SMALL, ranking=CONFIG)
    monkeypatch.setitem(genome_presets.GENOME_PRESETS, "small", small)
    out, start = tmp_path / "run", GenomeModel(trained[1])
    options = {"out": out, "start": start, "frozen": True, "steps": 4, "seed": 3}
    model = GenomeModel.fit_ranking(store.path, **options)
    config = dataclasses.replace(CONFIG, encoder="frozen", steps=4, seed=3)
    same = ranking.run(store, config, tmp_path / "same", start=trained[1])
    assert_same(model._stored.params, same.params)
    assert_same(GenomeModel.load(out)._stored.params, same.params)
    written = json.loads((out / "config.json").read_text())
    assert written["training"]["steps"] == 4
    assert written["spans"] == str(store.path)
    for changes, message in [
        ({"seed": 4}, r"training.seed = 3, not 4"),
        ({"start": GenomeModel(same)}, r"start_sha256"),
        ({"head": "cubic"}, r"head: is 'cubic'. Give one of linear"),
        ({"preset": "best"}, r"preset: is 'best'. Give one of small, study"),
    ]:
        with pytest.raises(InputError, match=message):
            GenomeModel.fit_ranking(store.path, **options | changes)


def test_the_folder_holds_metrics_and_a_model(store, trained):
    folder, model = trained
    records = read_metrics(folder / "metrics.jsonl")
    validated = [r for r in records if r["split"] == "validation"]
    assert [r["step"] for r in validated] == [20, 40, 60]
    assert {"loss", "full_order", "pairwise", "ndcg", "mrr", "ties"} <= {*validated[0]}
    loaded = GenomeModel.load(folder)
    assert loaded.self_check() <= 1e-6
    assert (loaded.config.num_tokens, loaded.config.scorer) == (8, CONFIG.scorer)
    assert loaded.config.turning == CONFIG.turning
    assert loaded.config.provenance["stage"] == "ranked"
    assert loaded.config.provenance["spans"] == {"source": "tests"}
    assert_same(loaded._stored.params, model.params)
    assert set(model.reference) == {
        "token_ids",
        "embeddings",
        "scored_token_ids",
        "scores",
    }
    sequences, _ = planted(240)
    builder = RegionBatchBuilder(store, loaded.tokenizer, CONFIG.turning)
    scores = ranking.scores(model, builder, np.array([3, 1]))
    found = loaded.score(sequences[3] + sequences[1])
    np.testing.assert_allclose(found, scores.ravel(), rtol=1e-5, atol=1e-6)


def test_what_is_kept_is_the_best_on_the_validation_spans(store, trained):
    folder, model = trained
    records = read_metrics(folder / "metrics.jsonl")
    best = max(r["full_order"] for r in records if r["split"] == "validation")
    rows = store.split("validation")
    builder = RegionBatchBuilder(store, KmerTokenizer())
    found = ranking.scores(model, builder, rows)
    assert full_order_accuracy(found, store.values[rows]) == pytest.approx(best)


def test_the_splits_are_trained_and_validated_on(store, asked):
    keywords = asked()
    epoch = [keywords["train_batches"](step, WHOLE).span_index for step in range(7)]
    assert set(np.concatenate(epoch)) <= set(range(120))
    assert len(np.unique(np.concatenate(epoch))) == 7 * 16
    judged = [batch.span_index for batch in keywords["validation_batches"](WHOLE)]
    assert np.concatenate(judged).tolist() == [*range(120, 180), *[-1] * 4]
    assert keywords["config"].keep_best == "full_order"


def test_rows_of_the_callers_choice_come_before_the_splits(asked):
    keywords = asked(train=np.arange(100, 110), validation=np.arange(200, 207))
    shown = keywords["train_batches"](5, WHOLE).span_index
    assert set(shown) == {-1, *range(100, 110)}
    (judged,) = keywords["validation_batches"](WHOLE)
    assert set(judged.span_index) == {-1, *range(200, 207)}
    nothing = asked(validation=np.arange(0))
    assert nothing["validation_batches"] is None
    assert nothing["config"].keep_best is None


def test_training_is_turned_and_validation_is_not(store, asked):
    keywords = asked()
    tokens = [keywords["train_batches"](step, WHOLE) for step in (0, 1)]
    for batch in tokens:
        same = (batch.token_ids == store.tokens[batch.span_index]).all(-1)
        assert 8 < same.sum() < 40
    for batch in keywords["validation_batches"](WHOLE):
        real = batch.span_mask
        expected = store.tokens[batch.span_index[real]]
        np.testing.assert_array_equal(batch.token_ids[real], expected)


# Which parameters move, and how fast.


def test_a_frozen_encoder_does_not_move_and_its_head_does(store, trained, tmp_path):
    start = trained[1]
    config = dataclasses.replace(CONFIG, encoder="frozen", steps=3)
    model = ranking.run(store, config, tmp_path, start=start, validation=np.arange(0))
    change = moved(start.params, model.params)
    assert not any(change[name] for name in change if of_encoder(name))
    assert all(change[name] for name in change if not of_encoder(name))
    assert 0 < sum(map(of_encoder, change)) < len(change)


def test_rates_by_layer(asked):
    """Adam's first step is as long as the rate, whatever the gradient."""
    shape = dataclasses.replace(
        SHAPE, num_layers=2, learned_positions=True, max_tokens=8, embedding_norm=True
    )
    keywords = asked(shape=shape, layer_decay=0.5)
    params, _ = keywords["initial"]
    optimizer = build_optimizer(keywords["optimizer"], params, CONFIG.steps)
    gradient = jax.tree.map(np.ones_like, params)
    updates, _ = jax.jit(optimizer.update)(
        gradient, jax.jit(optimizer.init)(params), params
    )
    rates = {
        "accessibility_head": 1,
        "nucleotide_transformer/norm": 1,
        "nucleotide_transformer/layer_1/": 1 / 2,
        "nucleotide_transformer/layer_0/": 1 / 4,
        "nucleotide_transformer/token_embedding": 1 / 8,
        "nucleotide_transformer/position_embedding": 1 / 8,
        "nucleotide_transformer/embedding_norm": 1 / 8,
    }
    met = set()
    for name, update in leaves(updates).items():
        (group,) = [prefix for prefix in rates if name.startswith(prefix)]
        met.add(group)
        np.testing.assert_allclose(update, -0.02 * rates[group], rtol=1e-3)
    assert met == rates.keys()


def test_rates_by_hand():
    config = dataclasses.replace(CONFIG, layer_decay=0.5)
    assert ranking.optimizer_of(config, 2).rates == (
        ("nucleotide_transformer/layer_0/.*", 0.25),
        ("nucleotide_transformer/layer_1/.*", 0.5),
        ("nucleotide_transformer/.*embedding.*", 0.125),
        (".*", 1.0),
    )
    frozen = dataclasses.replace(config, encoder="frozen")
    assert ranking.optimizer_of(frozen, 2).rates == (
        ("nucleotide_transformer/.*", 0.0),
        (".*", 1.0),
    )
    assert ranking.optimizer_of(CONFIG, 2) == FAST


# Starting and going on.


def test_a_start_gives_its_encoder_and_the_head_is_new(trained, asked):
    start = trained[1]
    found, _ = asked(start=start, seed=3)["initial"]
    fresh, _ = asked(seed=3)["initial"]
    expected = {
        name: (start.params if of_encoder(f"{name}/") else fresh)[name]
        for name in fresh
    }
    assert_same(found, expected)
    assert sum(map(bool, moved(found, start.params).values())) > 1


def test_a_start_decides_the_shape_and_gives_no_lm_head(trained, asked):
    start = trained[1]
    extra = {"nucleotide_transformer/lm_head": {"dense": np.zeros((8, 8))}}
    start = dataclasses.replace(start, params={**start.params, **extra})
    initial, _ = asked(start=start, shape=dataclasses.replace(SHAPE, dim=16))["initial"]
    encoder = {name: a for name, a in initial.items() if of_encoder(f"{name}/")}
    expected = trained[1].params
    assert_same(encoder, {n: a for n, a in expected.items() if of_encoder(f"{n}/")})


def test_how_a_start_is_computed_is_the_run_s_to_say(trained):
    how = dataclasses.replace(SHAPE, dim=16, dtype="bfloat16", remat=True)
    config = dataclasses.replace(CONFIG, shape=how)
    encoder = ranking.make_task(config, trained[1]).config.encoder
    assert encoder == dataclasses.replace(SHAPE, dtype="bfloat16", remat=True)


def killing(step_to_die, build=RegionBatchBuilder.build):
    def dying(self, spans, *, step=None, **part):
        if step == step_to_die:
            raise OSError("the power went")
        return build(self, spans, step=step, **part)

    return dying


def without_times(folder):
    records = read_metrics(folder / "metrics.jsonl")
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records]


def test_killed_and_resumed_equals_undisturbed(store, trained, tmp_path, monkeypatch):
    folder, model = trained
    with monkeypatch.context() as patch:
        # After a validation that is newer than the checkpoint.
        patch.setattr(RegionBatchBuilder, "build", killing(45))
        with pytest.raises(OSError, match="power"):
            ranking.run(store, CONFIG, tmp_path)
    assert not (tmp_path / "model").exists()
    resumed = ranking.run(store, CONFIG, tmp_path)
    assert_same(resumed.params, model.params)
    assert without_times(tmp_path) == without_times(folder)
    for name, array in model.reference.items():
        np.testing.assert_array_equal(resumed.reference[name], array)
    # Done, it is not trained again.
    with monkeypatch.context() as patch:
        patch.setattr(RegionBatchBuilder, "build", killing(1))
        assert_same(ranking.run(store, CONFIG, tmp_path).params, model.params)


def test_another_training_does_not_go_on_in_the_folder(store, trained):
    folder, start = trained
    rows = store.split("train")

    def again(config=CONFIG, **options):
        return ranking.run(store, config, folder, **options)

    before = json.loads((folder / "model" / "config.json").read_text())
    for name, options in {
        "run.train": {"train": rows[::-1].copy()},
        "run.validation": {"validation": rows[:60]},
        "run.start": {"start": start},
        "run.ranking.labels": {"config": dataclasses.replace(CONFIG, labels="counts")},
        "resume is 'never'": {"config": dataclasses.replace(CONFIG, resume="never")},
    }.items():
        with pytest.raises(InputError, match=name):
            again(**options)
    assert json.loads((folder / "model" / "config.json").read_text()) == before


# Scores.


def test_scores_are_the_mean_over_views(store, trained, monkeypatch):
    model = trained[1]
    encoder = {n: p for n, p in model.params.items() if of_encoder(n + "/")}
    task = ranking.make_task(CONFIG, None)
    builder = RegionBatchBuilder(store, KmerTokenizer(), VARIED)
    params, _ = jax.jit(task.init)(jax.random.PRNGKey(0), builder.build(np.arange(1)))
    config = dataclasses.replace(model.config, num_tokens=NUM_TOKENS - 1)
    params = {**jax.device_get(params), **encoder}
    model = StoredGenomeModel(config=config, params=params, reference={})
    rows = np.array([5, 200, 5, 17])
    sequences, _ = planted(240)
    stretches = {
        (row, place, start): sequences[row][place][start : start + 36]
        for row in rows.tolist()
        for place in range(3)
        for start in range(6)
    }
    expected = np.zeros((4, 3))
    for i, j in np.ndindex(4, 3):
        views = [stretches[int(rows[i]), j, start] for start in range(6)]
        views += [reverse_complement(view) for view in views]
        ids = builder.tokenizer.encode_batch(views, NUM_TOKENS - 1).ids
        expected[i, j] = genome_inference.score(model, ids).mean()
    assert expected.std() > 0.01
    found = ranking.scores(model, builder, rows)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(ranking, "SCORED_AT_ONCE", 4)
    few = ranking.scores(model, builder, rows, batch_size=3)
    np.testing.assert_allclose(few, found, rtol=1e-5, atol=1e-6)
    assert ranking.scores(model, builder, rows[:0]).shape == (0, 3)


# What cannot be.


def test_another_vocabulary_than_the_encoders_is_refused(store, trained, tmp_path):
    sequences, values = planted(4)
    older = builders.region_store(
        tmp_path / "v1", sequences, values, num_tokens=8, vocabulary="v1"
    )
    for start in (None, trained[1]):
        with pytest.raises(InputError, match="has 4105 tokens, and the encoder 4107"):
            ranking.run(older, CONFIG, tmp_path / "run", start=start)
    config = dataclasses.replace(CONFIG, shape=builders.dna_encoder_config())
    with pytest.raises(InputError, match="has 4107 tokens, and the encoder 27"):
        ranking.run(store, config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nothing_to_train_on_is_refused(store, tmp_path):
    with pytest.raises(InputError, match="has no training span"):
        ranking.run(store, CONFIG, tmp_path / "run", train=np.arange(0))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("decay", [0.0, -1.0, 1.5])
def test_layers_cannot_stand_still_or_overtake(decay):
    with pytest.raises(InputError, match=f"layer_decay: is {decay}"):
        dataclasses.replace(CONFIG, layer_decay=decay)


def test_an_encoder_is_trained_or_frozen():
    config = dataclasses.replace(CONFIG)
    object.__setattr__(config, "encoder", "thawed")  # past the type checker of tests
    with pytest.raises(InputError, match="encoder: is 'thawed'"):
        config.__post_init__()
