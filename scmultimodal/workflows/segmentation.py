"""Training in segmentation: an encoder of DNA and its U-Net, and what they say."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Integer

from scmultimodal.data import atomic
from scmultimodal.data.element_store import ElementStore
from scmultimodal.data.element_windows import ElementSampler
from scmultimodal.data.sampling import Share
from scmultimodal.evaluation import segmentation as evaluation
from scmultimodal.genome import elements
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import SegmentationBatch
from scmultimodal.tasks.segmentation import Segmentation, SegmentationConfig
from scmultimodal.training import hosts, loop, parallel, validation
from scmultimodal.training.optimizers import OptimizerConfig, shorten_warmup
from scmultimodal.weights import genome_model
from scmultimodal.weights.folder import Tree
from scmultimodal.weights.genome_model import (
    GenomeModelConfig,
    SegmenterConfig,
    StoredGenomeModel,
)
from scmultimodal.workflows import dry_run, genome_inference, provenance, warm_start
from scmultimodal.workflows.segmentation_config import SegmentationTrainingConfig

Territories = Integer[np.ndarray, " territories"]


def run(
    store: ElementStore,
    config: SegmentationTrainingConfig,
    out: Path,
    *,
    start: StoredGenomeModel | None = None,
    source: object = "the encoder",
    train: Territories | None = None,
    held_out: Territories | None = None,
    describe: str = "segment",
) -> StoredGenomeModel:
    """Trains encoder and U-Net to tell the elements of every base.

    Writes metrics, checkpoints, `parameters.txt` and `model/` into `out`, and prints
    what became of every parameter.

    Args:
        store: labelled letters.
        config: the numbers.
        out: the run folder.
        start: whose encoder to start from; None starts afresh. The head is always new,
            so that encoders are compared on equal terms.
        source: of `start`, for the account.
        train: territories of the store; None takes its training part.
        held_out: territories to validate on; None takes its validation part.
        describe: what the progress bar says.

    Raises:
        InputError: no window to train on, or another vocabulary than we know.
    """
    train = store.split("train") if train is None else train
    held_out = store.split("validation") if held_out is None else held_out
    task, tokenizer = make_task(config, start), tokenizer_of(config, start)
    windows = sampler(store, train, tokenizer, config)
    judged = sampler(store, held_out, tokenizer, config) if len(held_out) else None
    initial, account = _initial(task, windows, config, start, source)
    text = warm_start.format_account(account, source)
    if hosts.is_main():
        print(f"\n{text}\n", flush=True)
        if short := windows.num_too_short:
            print(f"{short} territories are shorter than a window: not learned from\n")
    result = loop.fit(
        task,
        train_batches=lambda step, share: windows.batch(step, config.batch_size, share),
        validation_batches=None
        if judged is None
        else lambda share: in_order(judged, config, share),
        config=loop.LoopConfig(
            num_steps=config.steps,
            seed=config.seed,
            evaluate_every=config.evaluate_every,
            checkpoint_every=config.checkpoint_every,
            keep_best=config.keep_best if judged is not None else None,
            resume=config.resume,
        ),
        folder=out,
        optimizer=optimizer_of(config),
        initial=initial,
        run_config={
            "segmentation": configs.to_json(config),
            "elements": {
                name: store.manifest["files"][name]
                for name in ("letters.npy", "labels.npy")
            },
            "train": provenance.digest(np.asarray(train)),
            "validation": provenance.digest(np.asarray(held_out)),
            "start": None
            if start is None
            else provenance.digest(*jax.tree.leaves(start.params)),
        },
        running=config.running,
        derive=evaluation.numbers,
        describe=describe,
    )
    model = genome_inference.with_reference(
        GenomeModelConfig(
            encoder=task.config.encoder,
            tokens=tokenizer.version,
            k=tokenizer.k,
            segmenter=SegmenterConfig(
                head=config.head,
                elements=elements.ELEMENTS,
                unlearned=elements.names(~known_in(store, train)),
                window_bp=config.window_bp,
            ),
            provenance={
                **provenance.of_code(),
                "stage": "segmentation",
                "elements": store.manifest["provenance"],
                "start": None if start is None else start.config.provenance,
            },
        ),
        jax.device_get(result.state.params),
    )
    if hosts.is_main():
        genome_model.save(model, out / "model")
        lines = [f"{e.fate:<6} {e.name} {list(e.shape)}\n" for e in account]
        atomic.write_text(out / "parameters.txt", "".join(lines))
    return model


def known_in(store: ElementStore, territories: Territories) -> int:
    """Bits of the elements that are known in some of these territories."""
    known = 0
    for number in territories:
        known |= store.territories[number].known
    return known


def plan(
    store: ElementStore,
    config: SegmentationTrainingConfig,
    *,
    start: StoredGenomeModel | None = None,
) -> dry_run.Plan:
    """What `run` on the training part would take; nothing is started or written."""
    windows = sampler(store, store.split("train"), tokenizer_of(config, start), config)
    return dry_run.plan(
        make_task(config, start),
        windows.batch(0, config.batch_size, parallel.share_of_host()),
        optimizer=optimizer_of(config),
        running=config.running,
        steps=config.steps,
        steps_per_epoch=windows.num_bases / config.window_bp / config.batch_size,
    )


def judge(
    model: StoredGenomeModel,
    store: ElementStore,
    territories: Territories,
    *,
    batch_size: int = 16,
) -> dict[int, dict[str, Any]]:
    """Counts of a model on territories, by their group: what `evaluation.judge` takes.

    Every base is judged once, in windows as long as those of training.

    Raises:
        InputError: the model has no segmenter.
    """
    segmenter = genome_inference.require_segmenter(model)
    devices = jax.device_count()
    batch_size = -(-batch_size // devices) * devices
    share = parallel.share_of_host()
    task = genome_inference.segmentation_task(model)
    group_of = np.array([t.group for t in store.territories])
    found = {}
    for group in np.unique(group_of[territories]):
        windows = ElementSampler(
            store,
            territories[group_of[territories] == group],
            model.config.tokenizer,
            window_bp=segmenter.window_bp,
        )
        tiles = windows.tiles()
        means = validation.evaluate(
            task, model.params, {}, windows.in_order(tiles, batch_size, share)
        )
        found[int(group)] = {
            name: means[name] * len(tiles) for name in evaluation.COUNTS
        }
    return found


def make_task(
    config: SegmentationTrainingConfig, start: StoredGenomeModel | None
) -> Segmentation:
    """The objective; positions are rescaled where windows are longer than usual.

    Raises:
        InputError: windows that the k-mers of `start` do not fill.
    """
    tokenizer = tokenizer_of(config, start)
    config.check_window(tokenizer.k)
    encoder = dataclasses.replace(
        config.shape,
        vocabulary_size=tokenizer.vocabulary_size,
        pad_id=tokenizer.pad_id,
        mask_id=tokenizer.mask_id,
    )
    if start is not None:
        encoder = dataclasses.replace(
            start.config.encoder, dtype=encoder.dtype, remat=encoder.remat
        )
    encoder = encoder.for_length(config.window_bp // tokenizer.k + 1)
    return Segmentation(
        SegmentationConfig(
            encoder=encoder, head=config.head, k=tokenizer.k, gamma=config.gamma
        )
    )


def tokenizer_of(
    config: SegmentationTrainingConfig, start: StoredGenomeModel | None
) -> KmerTokenizer:
    """Of the encoder that is started from, or of a fresh one."""
    if start is not None:
        return start.config.tokenizer
    return KmerTokenizer(config.vocabulary, config.k)


def sampler(
    store: ElementStore,
    territories: Territories,
    tokenizer: KmerTokenizer,
    config: SegmentationTrainingConfig,
) -> ElementSampler:
    """Windows of some territories, as the training has them."""
    return ElementSampler(
        store,
        territories,
        tokenizer,
        window_bp=config.window_bp,
        reverse_complement=config.reverse_complement,
        seed=config.seed,
    )


def in_order(
    windows: ElementSampler, config: SegmentationTrainingConfig, share: Share
) -> Iterable[SegmentationBatch]:
    """The windows validated on: the part of each batch that is asked for."""
    tiles = windows.tiles(config.validation_windows)
    return windows.in_order(tiles, config.batch_size, share)


def optimizer_of(config: SegmentationTrainingConfig) -> OptimizerConfig:
    """The optimiser, with the rate of the encoder."""
    optimizer = shorten_warmup(config.optimizer, config.steps)
    if config.encoder_rate == 1:
        return optimizer
    rates = (("nucleotide_transformer/.*", config.encoder_rate), (".*", 1.0))
    return dataclasses.replace(optimizer, rates=rates)


def _initial(
    task: Segmentation,
    windows: ElementSampler,
    config: SegmentationTrainingConfig,
    start: StoredGenomeModel | None,
    source: object,
) -> tuple[tuple[Tree, Tree], list[warm_start.Entry]]:
    """Fresh parameters, the encoder of `start` in its place, and the account."""
    fresh = jax.jit(task.init)(jax.random.PRNGKey(config.seed), windows.batch(0, 1))
    params, network_state = jax.device_get(fresh)
    params, account = warm_start.take(
        params,
        None if start is None else start.params,
        lambda module: module.split("/")[0] == "nucleotide_transformer",
        source=source,
    )
    return (params, network_state), account
