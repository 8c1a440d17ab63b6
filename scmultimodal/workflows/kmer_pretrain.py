"""Masked-k-mer pre-training of an encoder of DNA, from a FASTA alone."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Int32

from scmultimodal.data import atomic
from scmultimodal.data.sampling import Share
from scmultimodal.data.sequence_windows import Stretch, WindowSampler
from scmultimodal.evaluation import kmer_baselines
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.modules.nucleotide_transformer import NucleotideTransformerConfig
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import TokenBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.tasks.masked_kmers import MaskedKmers, MaskedKmersConfig
from scmultimodal.training import hosts, loop, parallel
from scmultimodal.training.config import RunningConfig
from scmultimodal.training.optimizers import OptimizerConfig, shorten_warmup
from scmultimodal.weights import genome_model
from scmultimodal.weights.genome_model import GenomeModelConfig, StoredGenomeModel
from scmultimodal.workflows import dry_run, genome_inference, judged, provenance

_VALIDATION, _TABLE = 1, 2
"""Streams of random numbers beside that of the training."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class KmerPretrainConfig:
    """Masked-k-mer pre-training.

    Attributes:
        shape: of the encoder; how many tokens it knows, and which are PAD and the
            mask, follows from the next two.
        vocabulary: of the tokens.
        k: letters of a k-mer.
        window_bp: length of a window.
        mask_share: of the k-mers, the share to predict; 80 % of those become the mask
            token, 10 % a random k-mer, 10 % stay.
        reverse_complement: shows either strand at random.
        held_out: share of each stretch, at its end, that is validated on; where
            stretches to validate on are given, nothing is cut off.
        validation_windows: windows validated on; the same at every validation.
        table_windows: training windows that the frequency tables are made of.
        steps: updates in all.
        batch_size: windows of a batch, over all devices.
        evaluate_every: steps between validations.
        checkpoint_every: steps between checkpoints; None saves at the end.
        resume: "auto" goes on where the folder has a checkpoint.
        seed: of parameters, windows and masks.
        optimizer: AdamW.
        running: how it runs; changes nothing that is learned, but for rounding.
    """

    shape: NucleotideTransformerConfig = dataclasses.field(
        default_factory=NucleotideTransformerConfig
    )
    vocabulary: Literal["v1", "v2"] = "v2"
    k: int = 6
    window_bp: int = 3_000
    mask_share: float = 0.15
    reverse_complement: bool = True
    held_out: float = 0.05
    validation_windows: int = 1_024
    table_windows: int = 20_000
    steps: int = 100_000
    batch_size: int = 256
    evaluate_every: int | None = 1_000
    checkpoint_every: int | None = 1_000
    resume: Literal["auto", "never"] = "auto"
    seed: int = 0
    optimizer: OptimizerConfig = dataclasses.field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=1e-4, weight_decay=1e-2, warmup_steps=1_000
        )
    )
    running: RunningConfig = dataclasses.field(default_factory=RunningConfig)

    def __post_init__(self):
        if not 0 < self.held_out < 1:
            raise InputError(
                "held_out", f"is {self.held_out}", "Give a share between 0 and 1"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A pre-trained encoder, and what it must be measured by.

    Attributes:
        model: the encoder, its LM head among the parameters.
        losses: validation cross-entropy in nats of a k-mer: "model", where the mask
            token stood; "unigram" and "unigram by GC", by the frequency tables of the
            training windows.
    """

    model: StoredGenomeModel
    losses: dict[str, float]


def run(
    fasta: Path,
    config: KmerPretrainConfig,
    out: Path,
    *,
    train: Sequence[Stretch] | None = None,
    validation: Sequence[Stretch] | None = None,
) -> Pretrained:
    """Pre-trains on windows of a genome.

    Writes metrics, checkpoints, `losses.json` and `model/` into `out`. A model whose
    loss is above that of "unigram by GC" has learnt no more than composition.

    Args:
        fasta: the genome.
        config: the numbers.
        out: the run folder.
        train: stretches to train on; None takes all but the end of each record.
        validation: stretches to validate on; None takes those ends.

    Raises:
        InputError: no stretch holds a window, or one is both trained and validated on.
    """
    tokenizer = KmerTokenizer(config.vocabulary, config.k)
    config = dataclasses.replace(config, shape=_knowing(tokenizer, config.shape))
    task = _task(config, tokenizer)
    with Genome.open(fasta) as genome:
        shown, held_out = _parts(genome, config, train, validation)
        read_from = provenance.of_file(Path(fasta))

        def sampler(stretches: Sequence[Stretch]) -> WindowSampler:
            return _sampler(genome, stretches, tokenizer, config)

        windows = sampler(shown)
        # Read before the training does: a genome serves one thread at a time.
        validated = sampler(held_out).tokens(
            (config.seed, 0, _VALIDATION), config.validation_windows
        )
        table = windows.tokens((config.seed, 0, _TABLE), config.table_windows)
        result = loop.fit(
            task,
            train_batches=lambda step, share: windows.batch(
                step, config.batch_size, share
            ),
            validation_batches=lambda share: _in_order(
                validated, config.batch_size, share
            ),
            config=loop.LoopConfig(
                num_steps=config.steps,
                seed=config.seed,
                evaluate_every=config.evaluate_every,
                checkpoint_every=config.checkpoint_every,
                resume=config.resume,
            ),
            folder=out,
            optimizer=shorten_warmup(config.optimizer, config.steps),
            run_config={
                "kmers": configs.to_json(config),
                "fasta": read_from,
                "train": list(map(list, shown)),
                "validation": list(map(list, held_out)),
            },
            running=config.running,
            describe="pre-train on k-mers",
        )
    last = [r for r in result.history if r["split"] == "validation"][-1]
    losses = {"model": last["hidden_loss"], **_of_tables(table, validated, tokenizer)}
    model = genome_inference.with_reference(
        GenomeModelConfig(
            encoder=config.shape,
            tokens=config.vocabulary,
            k=config.k,
            provenance={
                **provenance.of_code(),
                "stage": "masked k-mers",
                "fasta": read_from,
                "losses": losses,
            },
        ),
        jax.device_get(result.state.params),
    )
    if hosts.is_main():
        genome_model.save(model, out / "model")
        atomic.write_text(out / "losses.json", json.dumps(losses, indent=1) + "\n")
        judged.write(out, {"validation": judged.windows(validated)})
    return Pretrained(model=model, losses=losses)


def plan(fasta: Path, config: KmerPretrainConfig) -> dry_run.Plan:
    """What `run` would take; nothing is started and nothing is written."""
    tokenizer = KmerTokenizer(config.vocabulary, config.k)
    config = dataclasses.replace(config, shape=_knowing(tokenizer, config.shape))
    with Genome.open(fasta) as genome:
        shown, _ = _parts(genome, config, None, None)
        example = _sampler(genome, shown, tokenizer, config).batch(
            0, config.batch_size, parallel.share_of_host()
        )
    letters = sum(stretch.end - stretch.start for stretch in shown)
    return dry_run.plan(
        _task(config, tokenizer),
        example,
        optimizer=shorten_warmup(config.optimizer, config.steps),
        running=config.running,
        steps=config.steps,
        steps_per_epoch=letters / config.window_bp / config.batch_size,
    )


def format_losses(losses: dict[str, Any]) -> str:
    """The model's loss beside those of the frequency tables."""
    width = max(map(len, losses))
    return "\n".join(f"{n:<{width}}  {loss:.4f} nats" for n, loss in losses.items())


def _knowing(
    tokenizer: KmerTokenizer, shape: NucleotideTransformerConfig
) -> NucleotideTransformerConfig:
    """The shape, with the tokens of a tokenizer."""
    return dataclasses.replace(
        shape,
        vocabulary_size=tokenizer.vocabulary_size,
        pad_id=tokenizer.pad_id,
        mask_id=tokenizer.mask_id,
    )


def _task(config: KmerPretrainConfig, tokenizer: KmerTokenizer) -> MaskedKmers:
    return MaskedKmers(
        MaskedKmersConfig(
            encoder=config.shape,
            first_kmer=tokenizer.vocabulary.index("A" * config.k),
            num_kmers=4**config.k,
            mask_share=config.mask_share,
        )
    )


def _sampler(
    genome: Genome,
    stretches: Sequence[Stretch],
    tokenizer: KmerTokenizer,
    config: KmerPretrainConfig,
) -> WindowSampler:
    return WindowSampler(
        genome,
        stretches,
        tokenizer,
        window_bp=config.window_bp,
        reverse_complement=config.reverse_complement,
        seed=config.seed,
    )


def _parts(
    genome: Genome,
    config: KmerPretrainConfig,
    train: Sequence[Stretch] | None,
    validation: Sequence[Stretch] | None,
) -> tuple[Sequence[Stretch], Sequence[Stretch]]:
    records = [Stretch(*piece[:3]) for piece in genome.pieces]
    shown = records if train is None else train
    if validation is None:
        sizes = [int((s.end - s.start) * config.held_out) for s in shown]
        cuts = [
            s.end - max(config.window_bp, size)
            for s, size in zip(shown, sizes, strict=True)
        ]
        parts = [(s, cut) for s, cut in zip(shown, cuts, strict=True) if cut > s.start]
        shown = [s._replace(end=cut) for s, cut in parts]
        validation = [s._replace(start=cut) for s, cut in parts]
    _require_apart(shown, validation)
    return shown, validation


def _require_apart(train: Sequence[Stretch], validation: Sequence[Stretch]) -> None:
    held_out: dict[str, list[Stretch]] = {}
    for stretch in validation:
        held_out.setdefault(stretch.chrom, []).append(stretch)
    for chrom, first, last in train:
        for other in held_out.get(chrom, ()):
            start, end = max(first, other.start), min(last, other.end)
            if start < end:
                raise InputError(
                    f"{chrom}:{start}-{end}",
                    "would be both trained and validated on",
                    "Give stretches of their own to each, and no piece twice",
                )


def _in_order(
    ids: Int32[np.ndarray, "windows tokens"], size: int, share: Share
) -> Iterable[TokenBatch]:
    """All windows once; the last batch is filled up with the first windows."""
    for first in range(0, len(ids), size):
        rows = np.arange(first, first + size)[share.rows(size)]
        yield TokenBatch(
            token_ids=ids[rows % len(ids)],
            sequence_mask=rows < len(ids),
            row=rows.astype(np.int32),
        )


def _of_tables(
    train: Int32[np.ndarray, "windows tokens"],
    judged: Int32[np.ndarray, "judged tokens"],
    tokenizer: KmerTokenizer,
) -> dict[str, float]:
    vocabulary = tokenizer.vocabulary
    tables = {
        "unigram": kmer_baselines.unigram(train, vocabulary),
        "unigram by GC": kmer_baselines.unigram_by_gc(train, vocabulary),
    }
    return {
        name: float(np.nanmean(table.cross_entropy(judged)))
        for name, table in tables.items()
    }
