"""The arithmetic of `tpu.scaling` as tables of Markdown."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from tpu.chips import CHIPS_A_HOST
from tpu.scaling import formulae
from tpu.scaling.case import GIGABIT, Case
from tpu.scaling.chips import GIB

Cases = Mapping[str, Case]
"""By the name of the chip; of one network, under the same assumptions."""

BATCHES = (256, 1_024, 4_096, 32_768)
FEW = (1, 4, 8)
RUN = (8, 32, 128)
CORPUS = (256, 1_024, 4_096)
WEAK = (8, 32, 128, 512, 1_024, 4_096)
KINDS = {"RNA": ("rna",), "RNA and ATAC": ("rna", "atac")}


def of_chips(cases: Cases) -> str:
    """What Google Cloud says of the chips."""
    rows = {
        "peak, bfloat16, TFLOP/s": lambda case: _number(case.chip.peak / 1e12),
        "memory, GiB": lambda case: _number(case.chip.memory / GIB),
        "memory, GB/s": lambda case: _number(case.chip.memory_rate / 1e9),
        "ICI, GB/s sent by a chip": lambda case: _number(case.chip.ici / 1e9),
        "DCN, Gbit/s of a chip": lambda case: _number(case.chip.dcn / GIGABIT),
        "axes of the torus": lambda case: _number(case.chip.axes),
        "closed to rings from, chips": lambda case: _number(case.chip.wraps_from),
        "largest slice, chips": lambda case: _number(case.chip.largest),
    }
    return _by_chip("of a chip", rows, cases)


def of_network(cases: Cases) -> str:
    """What was measured of the network and the cells."""
    case = _any(cases)
    network, assumed = case.network, case.assumed
    both = KINDS["RNA and ATAC"]
    rows = {
        "genes": f"{network.genes:,}",
        "tokens of a cell, averaged": f"{network.tokens:,.0f}",
        "parameters": f"{network.parameters:,}",
        "arithmetic of a cell and step, averaged": f"{network.flop / 1e9:,.0f} GFLOP",
        "read and written by its products": f"{network.traffic / 1e9:,.1f} GB",
        "memory without any cell": f"{network.fixed / 1e6:,.0f} MB",
        "memory of each further cell": f"{network.per_cell / 1e6:,.0f} MB",
        "state = checkpoint": f"{network.state / 1e6:,.1f} MB",
        "added up over devices in a step": f"{network.reduced / 1e6:,.1f} MB",
        "prepared cell, RNA and ATAC: stored; read": (
            f"{case.stored_bytes(both) / assumed.cells / 1e3:,.1f} kB; "
            f"{case.bytes_of('read', both) / 1e3:,.1f} kB"
        ),
        "prepared cell, RNA: stored; read": (
            f"{case.stored_bytes(KINDS['RNA']) / assumed.cells / 1e3:,.1f} kB; "
            f"{case.bytes_of('read', KINDS['RNA']) / 1e3:,.1f} kB"
        ),
    }
    where = (
        f"{network.device}, jax {network.jax}, revision {(network.revision or '–')[:7]}"
    )
    return _table([f"measured on {where}", assumed.preset], rows.items())


def of_batches(cases: Cases) -> str:
    """How many chips for which batch."""
    batch = _any(cases).network.batch_size

    def parts(chips: int) -> Callable[[Case], str]:
        return lambda case: _number(formulae.parts(batch // chips, case.largest_batch))

    def chips_for(batch: int) -> Callable[[Case], str]:
        return lambda case: _number(formulae.chips_for(batch, case.largest_batch))

    rows = {"cells that a chip holds": lambda case: _number(case.largest_batch)}
    for chips in FEW:
        name = f"`--running.microbatches` of batch {batch} on {chips} chip(s)"
        rows[name] = parts(chips)
    for size in BATCHES:
        rows[f"chips for a batch of {size:,} without"] = chips_for(size)
    return _by_chip("", rows, cases)


def of_run(cases: Cases) -> str:
    """Time and cost of the preset's run."""
    network = _any(cases).network
    shown = network.steps * network.batch_size
    rows: dict[str, Callable[[Case], str]] = {
        "utilisation": lambda case: _percent(case.utilisation),
        "cells/s of a chip": lambda case: _number(case.cells_a_second),
        "thousand tokens/s of a chip": lambda case: _number(
            case.cells_a_second * network.tokens / 1e3
        ),
    }
    for chips in RUN:
        rows |= _hours(shown, chips, network.batch_size / chips)
    return _by_chip(
        f"{network.steps:,} steps of {network.batch_size} cells", rows, cases
    )


def of_corpus(cases: Cases) -> str:
    """Time and cost of the corpus."""
    assumed = _any(cases).assumed
    shown = assumed.cells * assumed.epochs
    rows: dict[str, Callable[[Case], str]] = {}
    for chips in CORPUS:
        rows |= _hours(shown, chips, assumed.cells_per_chip)
    what = f"{assumed.cells / 1e6:,g} M cells × {assumed.epochs:g}"
    return _by_chip(f"{what}, {assumed.cells_per_chip} a chip", rows, cases)


def of_scaling(cases: Cases) -> str:
    """Weak scaling: as many cells a chip, on ever more chips."""
    few = _any(cases).assumed.cells_per_chip
    rows: dict[str, Callable[[Case], str]] = {
        "arithmetic of a step, ms": lambda case: _number(
            1e3 * case.compute_seconds(few), ",.0f"
        )
    }
    for chips in WEAK:
        rows[f"{chips:,} chips, batch {chips * few:,}"] = lambda case, n=chips: (
            _efficiencies(case, n)
        )
    rows[f"{WEAK[-1]:,} chips, were the arithmetic done at the peak rate"] = (
        lambda case: _efficiencies(_at_peak(case), WEAK[-1])
    )
    return _by_chip(f"{few} cells a chip", rows, cases)


def of_data(cases: Cases) -> str:
    """Storage of the corpus, and how hosts come by it."""
    assumed = _any(cases).assumed
    host, bucket = assumed.host_gbit * GIGABIT, assumed.bucket_gbit * GIGABIT
    patience = 60 * assumed.patience_minutes
    columns = {
        kind: (_any(cases).stored_bytes(modalities), modalities)
        for kind, modalities in KINDS.items()
    }
    rows: dict[str, list[str]] = {
        "on disk, TB": [_number(size / 1e12, ",.2f") for size, _ in columns.values()],
        f"cells that fit a disk of {assumed.disk_gib:g} GiB, M": [
            _number(assumed.disk_gib * GIB / size * assumed.cells / 1e6, ",.1f")
            for size, _ in columns.values()
        ],
    }
    for hosts in (chips // CHIPS_A_HOST for chips in WEAK[1:]):
        rows[f"copying all to each of {hosts:,} hosts, h"] = [
            _number(_any(cases).copy_seconds(hosts, kind) / 3_600, ",.1f")
            for _, kind in columns.values()
        ]
    hosts = CORPUS[1] // CHIPS_A_HOST
    rows[f"copying its own share alone to each of {hosts:,} hosts, h"] = [
        _number(formulae.copy_seconds(size / hosts, hosts, host, bucket) / 3_600)
        for size, _ in columns.values()
    ]
    rows[f"hosts that can copy all in {assumed.patience_minutes:g} min"] = [
        _number(
            formulae.hosts_in(patience, size, bucket) if size / host <= patience else 0
        )
        for size, _ in columns.values()
    ]
    for name, case in cases.items():
        rows[f"a host of {CHIPS_A_HOST} {name} reads, MB/s (reads/s)"] = [
            f"{_number(case.read_rate(modalities) / 1e6, ',.1f')} "
            f"({_number(case.reads_a_second(modalities))})"
            for _, modalities in columns.values()
        ]
    title = f"{assumed.cells / 1e6:,g} M cells"
    return _table([title, *columns], ((name, *row) for name, row in rows.items()))


def of_checkpoints(cases: Cases) -> str:
    """What checkpoints take, and losses of machines that come back without data."""
    assumed = _any(cases).assumed
    rows: dict[str, Callable[[Case], str]] = {
        "a save, s": lambda case: _number(case.save_seconds),
        f"every {assumed.checkpoint_every:,} steps = every, s": lambda case: _number(
            assumed.checkpoint_every * _step(case)
        ),
        "of the time, saving": lambda case: _percent(
            case.save_seconds / (assumed.checkpoint_every * _step(case))
        ),
    }
    for kind, modalities in KINDS.items():
        for hosts in (chips // CHIPS_A_HOST for chips in WEAK):
            losses = _any(cases).loss_seconds(hosts, modalities)
            between, restart = (_number(seconds / 3_600) for seconds in losses)
            name = (
                f"{kind}, {hosts:,} hosts: a loss every {between} h, takes {restart} h"
            )
            rows[name] = lambda case, losses=losses: _losses(case, *losses)
    return _by_chip(f"{assumed.cells_per_chip} cells a chip", rows, cases)


def _losses(case: Case, between: float, restart: float) -> str:
    """Lost as assumed; at the best interval, and that in steps."""
    save, step = case.save_seconds, _step(case)
    best = formulae.best_interval(save, between)
    intervals = (case.assumed.checkpoint_every * step, best)
    if not all(formulae.are_rare(i, save, between, restart) for i in intervals):
        return _number(None)
    given, least = (
        _percent(formulae.lost_share(i, save, between, restart)) for i in intervals
    )
    return f"{given}; {least}, {_number(max(1, round(best / step)))} steps"


def _step(case: Case) -> float:
    return case.compute_seconds(case.assumed.cells_per_chip)


def _hours(
    shown: float, chips: int, cells_a_chip: float
) -> dict[str, Callable[[Case], str]]:
    """Rows of so many cells on so many chips: time, chip-hours, cost."""
    rows: dict[str, Callable[[Case], str]] = {
        f"{chips:,} chips: hours; chip-hours": lambda case: (
            f"{_number(case.hours(shown, chips, cells_a_chip))}; "
            f"{_number(chips * case.hours(shown, chips, cells_a_chip))}"
        )
    }

    def cost(case: Case) -> str:
        hours = chips * case.hours(shown, chips, cells_a_chip)
        return _number(hours * (case.assumed.price or 0), ",.2f")

    rows[f"{chips:,} chips: cost"] = cost
    return rows


def _efficiencies(case: Case, chips: int) -> str:
    apart, overlapped = (
        _percent(case.efficiency(chips, overlapped=together))
        for together in (False, True)
    )
    slices = case.slices(chips)
    joined = f", {slices} slices" if slices > 1 else ""
    return f"{apart} ({overlapped}{joined})"


def _at_peak(case: Case) -> Case:
    """The hardest for the all-reduce."""
    assumed = dataclasses.replace(case.assumed, utilisation=1)
    return dataclasses.replace(case, assumed=assumed)


def _by_chip(
    title: str, rows: Mapping[str, Callable[[Case], str]], cases: Cases
) -> str:
    """A column for each chip; of cost only where there is a price."""
    priced = _any(cases).assumed.price is not None
    return _table(
        [title, *cases],
        (
            (name, *(cell(case) for case in cases.values()))
            for name, cell in rows.items()
            if priced or not name.endswith(": cost")
        ),
    )


def _any(cases: Cases) -> Case:
    return next(iter(cases.values()))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def _number(value: float | None, pattern: str | None = None) -> str:
    """With three digits at least, and no more than needed."""
    if value is None:
        return "–"
    if pattern is None:
        pattern = ",.0f" if value >= 100 or value == round(value) else ",.3g"
    return format(value, pattern)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
