"""How long, how much, how many: arithmetic on figures that are given, nothing else.

Seconds, bytes and bytes a second throughout.
"""

import math


def largest_batch(memory: float, usable: float, fixed: float, per_cell: float) -> int:
    """Cells that a chip can hold at once: ⌊(usable · memory − fixed) / per_cell⌋."""
    return max(0, math.floor((usable * memory - fixed) / per_cell))


def parts(cells: int, largest: int) -> int | None:
    """Microbatches of a chip's cells: the fewest equal parts that fit, if any do."""
    fitting = (
        p for p in range(1, cells + 1) if cells % p == 0 and cells // p <= largest
    )
    return next(fitting, None)


def chips_for(batch: int, largest: int) -> int | None:
    """Chips that hold a batch in one part: ⌈batch / largest⌉."""
    return math.ceil(batch / largest) if largest else None


def compute_seconds(
    flop_per_cell: float, cells: float, peak: float, utilisation: float
) -> float:
    """Of a chip's cells: cells · flop / (utilisation · peak)."""
    return cells * flop_per_cell / (utilisation * peak)


def utilisation_by_memory(
    flop: float, traffic: float, peak: float, memory_rate: float
) -> float:
    """Share of the peak, if memory alone limits: flop · rate / (traffic · peak)."""
    return min(1.0, flop * memory_rate / (traffic * peak))


def hops(chips: int, axes: int) -> int:
    """Steps of rings along the axes of a slice that is as cubic as can be: Σ(side − 1).

    A slice of fewer chips than a cube has room for counts as that cube.
    """
    side = math.ceil(round(chips ** (1 / axes), 9))
    return axes * (side - 1)


def ici_seconds(
    size: float, chips: int, bandwidth: float, steps: int, hop: float
) -> float:
    """All-reduce within a slice: 2 (n − 1) / n · size / bandwidth + 2 · steps · hop.

    Each of n chips sends (n − 1) / n of the bytes to add them up, and as many again to
    hand the sums on.
    """
    return 2 * (chips - 1) / chips * size / bandwidth + 2 * steps * hop


def dcn_seconds(
    size: float, slices: int, chips_a_slice: int, bandwidth: float, latency: float
) -> float:
    """All-reduce over s slices: 2 (s − 1) · (size / n / s / bandwidth + latency).

    Each of the n chips of a slice adds up its n-th of the bytes with those of the other
    slices, all at once, in a ring.
    """
    piece = size / chips_a_slice / slices
    return 2 * (slices - 1) * (piece / bandwidth + latency)


def efficiency(compute: float, reduce: float, *, overlapped: bool = False) -> float:
    """Share of the time that is computed: c / (c + r), or c / max(c, r) overlapped."""
    return compute / (max(compute, reduce) if overlapped else compute + reduce)


def cell_bytes(nonzeros: float, per_nonzero: float) -> float:
    """Of a cell's counts or bins of a modality: non-zero genes · bytes of each."""
    return nonzeros * per_nonzero


def copy_seconds(size: float, hosts: int, per_host: float, of_bucket: float) -> float:
    """Every host copies all: max(size / host's rate, hosts · size / bucket's rate)."""
    return max(size / per_host, hosts * size / of_bucket)


def hosts_in(seconds: float, size: float, of_bucket: float) -> int:
    """Hosts that can copy all within so long, by the bucket's rate."""
    return math.floor(seconds * of_bucket / size)


def best_interval(save: float, between: float) -> float:
    """Of checkpoints, by Young: √(2 · save · between); Daly's first order."""
    return math.sqrt(2 * save * between)


def lost_share(interval: float, save: float, between: float, restart: float) -> float:
    """Share of the time lost: save / interval + (interval / 2 + restart) / between.

    Saves that are waited for; half an interval is done again after each loss. Of use
    where losses are rare.
    """
    return save / interval + (interval / 2 + restart) / between


def are_rare(interval: float, save: float, between: float, restart: float) -> bool:
    """Whether the first order says something: save + interval / 2 + restart is small.

    A tenth of the time between losses at most.
    """
    return save + interval / 2 + restart <= between / 10
