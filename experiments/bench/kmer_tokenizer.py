"""Times `KmerTokenizer.encode_batch`, on one core.

    make bench
    python -m experiments.bench.kmer_tokenizer --length-bp 3000

Random sequences, a share of their letters N by choice. Expect 40 Mb/s at 3,000 bp and
20 Mb/s at the least, 2026-11.
"""

import dataclasses
import statistics
import time

import numpy as np
import tyro

from scmultimodal.genome.kmers import KmerTokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is encoded, and how often.

    Attributes:
        length_bp: letters of a sequence.
        sequences: sequences of a batch.
        n_share: share of the letters that are N.
        repeats: timed runs, after one that warms up.
    """

    length_bp: int = 3_000
    sequences: int = 1_000
    n_share: float = 0.0
    repeats: int = 9

    def __post_init__(self):
        if min(self.length_bp, self.sequences, self.repeats) < 1:
            raise ValueError("length_bp, sequences and repeats must be at least 1")
        if not 0 <= self.n_share <= 1:
            raise ValueError(f"n_share must be from 0 to 1, not {self.n_share}")


def main(config: Config) -> None:
    """Prints the median speed of the runs, and the slowest."""
    sequences = random_sequences(config)
    tokenizer = KmerTokenizer()
    megabases = config.sequences * config.length_bp / 1e6
    speeds = []
    for _ in range(config.repeats + 1):
        start = time.perf_counter()
        tokenizer.encode_batch(sequences, 501, padding="random")
        speeds.append(megabases / (time.perf_counter() - start))
    median, slowest = statistics.median(speeds[1:]), min(speeds[1:])
    print(f"{config}: median {median:.1f} Mb/s, slowest {slowest:.1f} Mb/s")


def random_sequences(config: Config) -> list[str]:
    """Sequences of equally frequent bases, and N."""
    share = (1 - config.n_share) / 4
    size = (config.sequences, config.length_bp)
    rng = np.random.default_rng(0)
    letters = rng.choice(list("ACGTN"), size, p=[share] * 4 + [config.n_share])
    return ["".join(row) for row in letters]


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
