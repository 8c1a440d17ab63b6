"""Elements along a sequence of any length, window by window.

Windows overlap; of each only what lies away from its ends is kept, and every base is
kept once. All begin at multiples of the length that the U-Net halves to one token, so
that k-mers and halves are the same whichever window a base is in.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import tqdm
from jaxtyping import Float32, Int64, UInt8

from scmultimodal.genome.letters import NO_LETTER, N, reverse_complement
from scmultimodal.modules.heads.segmentation import wrong_length
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights.genome_model import StoredGenomeModel
from scmultimodal.workflows import genome_inference

Letters = Callable[[int, int], UInt8[np.ndarray, " bases"]]
"""(first base, base behind the last) -> upper-case letters, N for unknown ones."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StitchingConfig:
    """How a long sequence is cut into windows.

    Attributes:
        window_bp: length of a window; None takes that of training.
        margin_bp: what is left out at both ends of a window; None takes an eighth of
            it. Without one the ends of windows are seen with half of their context.
        both_strands: averages what the two strands say.
        batch_size: windows computed at a time.
    """

    window_bp: int | None = None
    margin_bp: int | None = None
    both_strands: bool = False
    batch_size: int = 8

    def __post_init__(self):
        if self.batch_size < 1:
            raise InputError("batch_size", f"is {self.batch_size}", "Give 1 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Where windows lie, and which bases are taken of each.

    Attributes:
        starts: first base of each window; multiples of `unit_bp`.
        ends: behind the last base that is taken of it; it begins where the one before
            ends.
        window_bp: length of a window.
    """

    starts: Int64[np.ndarray, " windows"]
    ends: Int64[np.ndarray, " windows"]
    window_bp: int


def layout(length: int, window_bp: int, margin_bp: int, unit_bp: int) -> Layout:
    """Windows over a sequence of so many bases.

    A sequence shorter than a window has one window, of its own length filled up.

    Raises:
        InputError: a length that the model cannot read, or margins that leave nothing.
    """
    for name, value in (("window_bp", window_bp), ("margin_bp", margin_bp)):
        if value % unit_bp or value < (unit_bp if name == "window_bp" else 0):
            problem = wrong_length(value, unit_bp).removeprefix("a window has ")
            raise InputError(name, f"is {problem}", "Take that one")
    stride = window_bp - 2 * margin_bp
    if stride < unit_bp:
        problem = f"is {margin_bp:,} on both sides of windows of {window_bp:,} bp"
        raise InputError("margin_bp", problem, "Leave something between them")
    filled = -(-length // unit_bp) * unit_bp
    window_bp = min(window_bp, filled)
    last = filled - window_bp
    starts = np.append(np.arange(0, last, stride), last)
    ends = np.append(starts[:-1] + window_bp - margin_bp, length)
    return Layout(starts=starts, ends=ends, window_bp=window_bp)


def sizes(model: StoredGenomeModel, config: StitchingConfig) -> tuple[int, int, int]:
    """Length of windows, what is left out at their ends, and the unit of both; bp.

    Raises:
        InputError: the model has no segmenter.
    """
    segmenter = genome_inference.require_segmenter(model)
    unit_bp = segmenter.head.unit_bp(model.config.k)
    window_bp = config.window_bp or segmenter.window_bp
    margin_bp = config.margin_bp
    if margin_bp is None:
        margin_bp = window_bp // (8 * unit_bp) * unit_bp
    return window_bp, margin_bp, unit_bp


def around(
    start: int,
    end: int,
    room: tuple[int, int],
    *,
    window_bp: int,
    margin_bp: int,
    unit_bp: int,
) -> tuple[int, int]:
    """The stretch to read for what is wanted of it, so that its ends have context.

    It begins at a multiple of the unit, wherever the wanted part does, and is a window
    long at least, if there is room.

    Args:
        start: of the wanted part.
        end: behind it.
        room: where the sequence that holds it begins and ends.
        window_bp: see `sizes`.
        margin_bp: likewise.
        unit_bp: likewise.
    """
    if end - start + 2 * margin_bp + unit_bp <= window_bp:
        first = (start + end - window_bp) // 2 // unit_bp * unit_bp
        last = first + window_bp
    else:
        first = (start - margin_bp) // unit_bp * unit_bp
        last = -(-(end + margin_bp) // unit_bp) * unit_bp
    first = max(first, room[0])
    return first, min(max(last, first + window_bp), room[1])


def stream(
    model: StoredGenomeModel,
    length: int,
    letters_of: Letters,
    config: StitchingConfig | None = None,
) -> Iterator[Float32[np.ndarray, "part elements"]]:
    """Probabilities along a sequence, part after part, in order; NaN where N is.

    Memory holds one batch of windows, however long the sequence is.

    Args:
        model: with a segmenter.
        length: bases of the sequence.
        letters_of: the letters from one base to another.
        config: how it is cut.

    Raises:
        InputError: the model has no segmenter, or windows that it cannot read.
    """
    config = config or StitchingConfig()
    plan = layout(length, *sizes(model, config))
    model = genome_inference.on_device(model)
    done = 0
    for first in range(0, len(plan.starts), config.batch_size):
        part = slice(first, first + config.batch_size)
        starts, ends = plan.starts[part], plan.ends[part]
        read = np.full((len(starts), plan.window_bp), NO_LETTER, np.uint8)
        for row, start in enumerate(starts):
            text = letters_of(int(start), min(int(start) + plan.window_bp, length))
            read[row, : len(text)] = text
        found = windows(model, read, config)
        for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
            yield found[row, done - start : end - start]
            done = int(end)


def segment(
    model: StoredGenomeModel,
    letters: UInt8[np.ndarray, " bases"],
    config: StitchingConfig | None = None,
    *,
    progress: bool = False,
) -> Float32[np.ndarray, "bases elements"]:
    """Probabilities along a sequence, at once; see `stream`.

    Args:
        model: with a segmenter.
        letters: upper case, as `letters.as_letters` makes them.
        config: how it is cut.
        progress: shows a bar.
    """
    elements = genome_inference.require_segmenter(model).head.num_elements
    if not len(letters):
        return np.zeros((0, elements), np.float32)
    parts = []
    with tqdm.tqdm(
        total=len(letters),
        desc="segment",
        unit="bp",
        unit_scale=True,
        delay=2,
        disable=None if progress else True,
    ) as bar:
        for part in stream(model, len(letters), lambda a, b: letters[a:b], config):
            parts.append(part)
            bar.update(len(part))
    return np.concatenate(parts)


def windows(
    model: StoredGenomeModel,
    letters: UInt8[np.ndarray, "windows bases"],
    config: StitchingConfig,
) -> Float32[np.ndarray, "windows bases elements"]:
    """Probabilities in windows of their own; NaN where N is, or no letter.

    And of elements that were not learned.

    Args:
        model: with a segmenter.
        letters: of a length that the model can read.
        config: `both_strands` and `batch_size` are read.
    """
    tokenizer = model.config.tokenizer
    segmenter = genome_inference.require_segmenter(model)
    shape = (*letters.shape, segmenter.head.num_elements)
    found = np.full(shape, np.nan, np.float32)
    unknown = (letters == N) | (letters == NO_LETTER)
    some = ~unknown.all(axis=1)
    if not some.any():
        return found
    read = letters[some]

    def run(strand: UInt8[np.ndarray, "windows bases"]) -> np.ndarray:
        ids = tokenizer.encode_frame(strand)
        return genome_inference.segment(model, ids, batch_size=config.batch_size)

    found[some] = run(read)
    if config.both_strands:
        turned = run(reverse_complement(read))[:, ::-1]
        found[some] = (found[some] + turned) / 2
    found[unknown] = np.nan
    found[..., [name in segmenter.unlearned for name in segmenter.elements]] = np.nan
    return found
