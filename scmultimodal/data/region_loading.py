"""Batches of regions to be ranked: tokens as prepared, or read anew and turned."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int, Int32, Integer

from scmultimodal.data.region_store import RegionStore
from scmultimodal.data.sampling import FILLER, WHOLE, Share
from scmultimodal.genome.composition import reverse_complement
from scmultimodal.genome.kmers import KmerTokenizer, Padding
from scmultimodal.schemas.batches import RegionBatch
from scmultimodal.schemas.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turning:
    """How training varies what it shows of a sequence; the order stays the same.

    Attributes:
        reverse_complement: shows either strand at random.
        crop_bp: shows a stretch that is this much shorter, at a random place, so that
            k-mers are read in every frame; a multiple of k. Shorter sequences stay.
    """

    reverse_complement: bool = False
    crop_bp: int = 0

    def __post_init__(self):
        if self.crop_bp < 0:
            raise InputError("crop_bp", f"is {self.crop_bp}", "Give 0 or more")

    def views(self, k: int) -> tuple["View", ...]:
        """What a judgement averages over: every frame of k-mers, each strand."""
        first = max(0, self.crop_bp // 2 - k // 2)
        starts = range(first, min(first + k, self.crop_bp + 1))
        strands = (False, True) if self.reverse_complement else (False,)
        return tuple(View(start, turned) for turned in strands for start in starts)


@dataclasses.dataclass(frozen=True)
class View:
    """One way to show a sequence: where its stretch begins, and on which strand."""

    start: int = 0
    turned: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceTurner:
    """Shows prepared sequences as a turning has them, as tokens again.

    Training, judging and `GenomeModel.score` all show sequences through this.

    Attributes:
        tokenizer: what their tokens were made with.
        prepared_tokens: tokens of a prepared sequence, CLS included.
        turning: how what is shown varies.
        padding: of what is shown; without turning it stays as prepared.
    """

    tokenizer: KmerTokenizer
    prepared_tokens: int
    turning: Turning = Turning()
    padding: Padding = "end"

    def __post_init__(self):
        k, crop = self.tokenizer.k, self.turning.crop_bp
        if crop % k or self.num_tokens < 2:
            raise InputError(
                "crop_bp",
                f"is {crop}",
                f"Give a multiple of {k} below the length of a region",
            )

    @property
    def num_tokens(self) -> int:
        """Tokens of what is shown, CLS included."""
        return self.prepared_tokens - self.turning.crop_bp // self.tokenizer.k

    def views(
        self, token_ids: Integer[np.ndarray, "sequences prepared"], *, seed: int = 0
    ) -> Iterator[Int32[np.ndarray, "sequences tokens"]]:
        """Prepared sequences in every view that a judgement averages over."""
        for view in self.turning.views(self.tokenizer.k):
            yield self.show(token_ids, view, seed=seed)

    def show(
        self,
        token_ids: Integer[np.ndarray, "sequences prepared"],
        view: View,
        *,
        seed: int = 0,
    ) -> Int32[np.ndarray, "sequences tokens"]:
        """Prepared sequences in one view; the seed is of the padding."""
        starts = np.full(len(token_ids), view.start)
        turned = np.full(len(token_ids), view.turned)
        return self.turn(token_ids, starts, turned, seed=(seed,))

    def turn(
        self,
        token_ids: Integer[np.ndarray, "sequences prepared"],
        starts: Int[np.ndarray, " sequences"],
        turned: Bool[np.ndarray, " sequences"],
        *,
        seed: tuple[int, ...],
        first_row: int = 0,
    ) -> Int32[np.ndarray, "sequences tokens"]:
        """Each sequence from its start on, on either strand.

        Where a sequence holds N, some views need a few tokens more than there are, and
        lack as many letters at the end (at most k − 1 for each N).

        Args:
            token_ids: prepared sequences.
            starts: letters that are left out in front, where any are.
            turned: which are shown on the other strand.
            seed: of the padding.
            first_row: see `KmerTokenizer.encode_batch`.
        """
        if self.turning == Turning():
            return token_ids.astype(np.int32)
        crop = self.turning.crop_bp
        sequences = []
        for ids, start, turn in zip(token_ids, starts, turned, strict=True):
            sequence = self.tokenizer.decode(ids)
            if len(sequence) > crop:
                sequence = sequence[start : start + len(sequence) - crop]
            sequences.append(reverse_complement(sequence) if turn else sequence)
        return self.tokenizer.encode_batch(
            sequences,
            self.num_tokens,
            padding=self.padding,
            seed=seed,
            first_row=first_row,
        ).ids


class RegionBatchBuilder:
    """Makes batches of prepared spans."""

    def __init__(
        self,
        store: RegionStore,
        tokenizer: KmerTokenizer,
        turning: Turning | None = None,
        *,
        seed: int = 0,
        outputs: Sequence[int] | None = None,
    ):
        """Prepares the builder; nothing is read yet.

        Args:
            store: prepared spans.
            tokenizer: what their tokens were made with.
            turning: how training varies the sequences; None leaves them as prepared.
            seed: of the varying.
            outputs: of a scorer, for each sample of the store; None has one for all.

        Raises:
            InputError: a crop that is no multiple of k, or leaves nothing.
        """
        self._outputs = None if outputs is None else np.asarray(outputs, np.int32)
        self.store, self.tokenizer, self.seed = store, tokenizer, seed
        version = store.manifest["config"].get("spans", {}).get("version")
        self.turner = SequenceTurner(
            tokenizer=tokenizer,
            prepared_tokens=store.manifest["num_tokens"],
            turning=turning or Turning(),
            padding="random" if version == "v2" else "end",
        )

    @property
    def turning(self) -> Turning:
        """How training varies the sequences."""
        return self.turner.turning

    @property
    def num_tokens(self) -> int:
        """Tokens of a sequence in a batch, CLS included."""
        return self.turner.num_tokens

    def build(
        self,
        spans: Integer[np.ndarray, " batch"],
        *,
        step: int | None = None,
        share: Share = WHOLE,
    ) -> RegionBatch:
        """A batch of spans, −1 at rows that only fill it up.

        Args:
            spans: rows of the store, of the global batch.
            step: varies what is shown by (seed, step); None shows the first view.
            share: the part of the batch that is built.
        """
        rows = share.rows(len(spans))
        mine = spans[rows]
        real = mine != FILLER
        prepared = self.store.tokens[mine[real]]
        flat = prepared.reshape(-1, prepared.shape[-1])
        # Drawn for the whole batch, so that a row is the same in any part.
        size = (len(spans), self.store.tokens.shape[1])
        if step is None:
            view, seed = self.turning.views(self.tokenizer.k)[0], (self.seed,)
            starts, turned = np.full(size, view.start), np.full(size, view.turned)
        else:
            seed = (self.seed, step)
            rng = np.random.Generator(np.random.Philox([*seed]))
            starts = rng.integers(0, self.turning.crop_bp + 1, size)
            turned = rng.integers(0, 2, size) > 0
            turned &= self.turning.reverse_complement
        ids = self.turner.turn(
            flat,
            starts[rows][real].ravel(),
            turned[rows][real].ravel(),
            seed=seed,
            first_row=int((spans[: rows.start] != FILLER).sum()) * size[1],
        )
        return self._batch(spans, rows, ids)

    def outputs(
        self, spans: Integer[np.ndarray, " spans"]
    ) -> Int32[np.ndarray, " spans"]:
        """The scorer's output that each span is ranked by."""
        if self._outputs is None:
            return np.zeros(len(spans), np.int32)
        return self._outputs[self.store.spans.sample_index[spans]]

    def views(
        self, token_ids: Integer[np.ndarray, "sequences prepared"]
    ) -> Iterator[Int32[np.ndarray, "sequences tokens"]]:
        """Prepared sequences in every view that a judgement averages over."""
        return self.turner.views(token_ids, seed=self.seed)

    def _batch(
        self,
        batch: Integer[np.ndarray, " batch"],
        rows: slice,
        token_ids: Int32[np.ndarray, "sequences tokens"],
    ) -> RegionBatch:
        spans = batch[rows]
        real, regions = spans != FILLER, self.store.tokens.shape[1]
        shape = (len(spans), regions, self.num_tokens)
        ids = np.full(shape, self.tokenizer.pad_id, np.int32)
        values = np.zeros((len(spans), regions), np.float32)
        ids[real] = token_ids.reshape(-1, *shape[1:])
        values[real] = self.store.values[spans[real]]
        output = np.zeros(len(spans), np.int32)
        output[real] = self.outputs(spans[real])
        return RegionBatch(
            token_ids=ids,
            values=values,
            output=output,
            span_mask=real,
            row=np.arange(len(batch), dtype=np.int32)[rows],
            span_index=spans.astype(np.int32),
        )
