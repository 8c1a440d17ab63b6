"""Gradient × input of open peaks: by hand, and by closing a share of a peak."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.modules.heads.gene_query import STYLES, GeneQueryConfig
from scmultimodal.tasks.gene_from_peaks import GeneFromPeaks, GeneFromPeaksConfig
from scmultimodal.tasks.peak_links import Pairs, PeakLinks
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

GENES = 12
ASKED = np.array([7, 0, 3], np.int32)
BATCH = builders.peak_batch(num_genes=GENES)
PLAIN = builders.peak_encoder_config(GENES)
EXACT = dataclasses.replace(PLAIN.path, attention="exact")
NO_ATTENTION = dataclasses.replace(PLAIN.path, num_layers=0)
PEAKS = {
    "favor": PLAIN.peaks,
    "exact": dataclasses.replace(PLAIN.peaks, path=EXACT),
    "mean": dataclasses.replace(PLAIN.peaks, path=NO_ATTENTION, pool="mean"),
}


def begin(peaks="favor", **head):
    """(task, links, parameters, state) of random numbers."""
    encoder = dataclasses.replace(PLAIN, peaks=PEAKS[peaks])
    shape = GeneQueryConfig(**{"query_dim": 5, "gene_dim": 4, "hidden": 6} | head)
    task = GeneFromPeaks(GeneFromPeaksConfig(encoder=encoder, head=shape))
    params, state = jax.jit(task.init)(jax.random.PRNGKey(0), BATCH)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda a: a + rng.normal(0, 0.5, np.shape(a)).astype(np.float32), params
    )
    return task, PeakLinks(encoder, shape), params, state


def every_pair():
    """All open peaks with all genes that are asked about."""
    cell, token = np.nonzero(BATCH.peaks.mask)
    gene = np.tile(np.arange(len(ASKED)), len(cell))
    return Pairs(np.repeat(cell, len(ASKED)), np.repeat(token, len(ASKED)), gene)


@pytest.mark.parametrize("bins", [2, 5])
def test_log_odds_are_those_of_the_task(bins):
    """Expressed, in whichever bin, against silent; no gene of the cell is shown."""
    task, links, params, state = begin(num_bins=bins)
    genes = np.tile(ASKED, (6, 1))
    logits = task.predict(params, state, BATCH, genes)
    chances = np.asarray(jax.nn.softmax(logits))
    expected = np.log((1 - chances[..., 0]) / chances[..., 0])
    found = links.log_odds(params, state, BATCH, ASKED)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("peaks", ["exact", "mean"])
def test_it_is_the_slope_where_a_share_of_a_peak_is_closed(peaks, style):
    """Central differences, at all pairs of open peaks and genes, in float64."""
    _, links, params, state = begin(peaks, style=style, num_bins=3)
    pairs = every_pair()
    with jax.enable_x64(True):
        params, state = jax.tree.map(
            lambda a: np.asarray(a, np.float64), (params, state)
        )
        found = jax.jit(links.contributions)(params, state, BATCH, ASKED, pairs)
        expected = slopes(jax.jit(links.log_odds), params, state, pairs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert np.abs(found).max() > 0.1


@pytest.mark.parametrize("peaks", PEAKS)
def test_it_is_the_gradient_of_each_gene(peaks):
    """Taken gene by gene; by FAVOR+ too, whose stabiliser has no gradient."""
    _, links, params, state = begin(peaks)
    pairs = every_pair()
    found = jax.jit(links.contributions)(params, state, BATCH, ASKED, pairs)
    ones = jnp.ones(BATCH.peaks.mask.shape)

    @jax.jit
    def gradients(dials):
        return jax.jacrev(
            lambda dials: links.log_odds(params, state, BATCH, ASKED, dials).sum(0)
        )(dials)

    expected = np.asarray(gradients(ones))[pairs.gene, pairs.cell, pairs.token]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert np.abs(found).max() > 0.1


def slopes(odds, params, state, pairs):
    """Central differences of log odds, for each pair."""
    ones, step = np.ones(BATCH.peaks.mask.shape), 1e-5
    found = np.zeros(len(pairs.cell))
    for token in range(ones.shape[1]):
        more, less = ones.copy(), ones.copy()
        more[:, token] += step
        less[:, token] -= step
        above, below = (odds(params, state, BATCH, ASKED, d) for d in (more, less))
        slope = (np.asarray(above) - np.asarray(below)) / (2 * step)
        here = pairs.token == token
        found[here] = slope[pairs.cell[here], pairs.gene[here]]
    return found


def test_by_hand_without_attention():
    """The mean of n vectors moves by (x − mean) / n; then the norm, then a product."""
    _, links, params, state = begin("mean", style="inner_product")
    pairs = every_pair()
    found = np.asarray(links.contributions(params, state, BATCH, ASKED, pairs))
    tokens = tokens_of(params)
    head = {
        n: {k: np.asarray(v) for k, v in leaves.items()}
        for n, leaves in params.items()
        if n.startswith("gene_query_head")
    }
    queries = head["gene_query_head/gene"]["embeddings"]
    query = head["gene_query_head/query"]
    queries = (queries @ query["w"] + query["b"])[ASKED]
    norm, told = head["gene_query_head/norm"], head["gene_query_head/cell"]
    weights = told["w"].reshape(8, 2, 5) * 5**-0.5
    weights = weights[:, 1] - weights[:, 0]
    for number, (cell, token, gene) in enumerate(zip(*pairs, strict=True)):
        own = tokens[cell][BATCH.peaks.mask[cell]]
        mean = own.mean(0)
        moved = (tokens[cell, token] - mean) / len(own)
        centred, spread = mean - mean.mean(), np.sqrt(mean.var() + 1e-5)
        flat = moved - moved.mean() - centred * (centred @ moved) / 8 / spread**2
        expected = norm["scale"] * flat / spread @ weights @ queries[gene]
        np.testing.assert_allclose(found[number], expected, rtol=1e-3, atol=1e-4)


def tokens_of(params):
    """Of each peak, its embedding normalised, and the chromosome; normalised again."""
    own = {
        name.removeprefix("cell_encoder/peak_encoder/"): leaves
        for name, leaves in params.items()
    }

    def normed(x, norm):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-5)
        return x * np.asarray(norm["scale"]) + np.asarray(norm["offset"])

    x = normed(np.asarray(own["peak"]["embeddings"])[BATCH.peaks.ids], own["peak_norm"])
    x = x + np.asarray(own["chrom"]["embeddings"])[BATCH.peaks.chroms]
    return normed(x, own["performer/norm"])


def test_pairs_are_answered_one_by_one():
    _, links, params, state = begin()
    pairs = every_pair()
    whole = np.asarray(links.contributions(params, state, BATCH, ASKED, pairs))
    some = np.array([5, 1, 1, len(whole) - 1])
    part = Pairs(*(field[some] for field in pairs))
    found = links.contributions(params, state, BATCH, ASKED, part)
    np.testing.assert_allclose(found, whole[some], rtol=1e-4, atol=1e-6)


def test_a_peak_that_is_alone_adds_nothing_to_a_mean():
    """Less of the only peak is the same mean."""
    _, links, params, state = begin("mean")
    mask = BATCH.peaks.mask.copy()
    mask[:, 1:] = False
    alone = BATCH.replace(peaks=BATCH.peaks.replace(mask=mask))
    pairs = Pairs(np.zeros(1, int), np.zeros(1, int), np.zeros(1, int))
    found = links.contributions(params, state, alone, ASKED, pairs)
    np.testing.assert_allclose(found, 0, atol=1e-5)
    half = jnp.full(mask.shape, 0.5)
    np.testing.assert_allclose(
        links.log_odds(params, state, alone, ASKED, half)[0],
        links.log_odds(params, state, alone, ASKED)[0],
        atol=1e-4,
    )
