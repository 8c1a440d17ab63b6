"""One network on one generation of chips, and what is assumed of all else."""

import dataclasses
import math

from scmultimodal.schemas.errors import InputError
from tpu.chips import CHIPS_A_HOST
from tpu.scaling import formulae
from tpu.scaling.chips import Chip, ChipName
from tpu.scaling.footprint import Cells, Network, PresetName

GIGABIT = 1e9 / 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What is neither measured by us nor said of a chip by Google Cloud."""

    preset: PresetName = "study"
    """Size of the network."""
    accelerator: ChipName | None = None
    """Generation of chips; by default all of them."""
    utilisation: float | None = None
    """Share of the peak rate at which the arithmetic that a step needs is done; by
    default what memory allows where every product goes through it."""
    usable: float = 0.5
    """Share of a chip's memory that bytes as counted on a CPU may fill: a TPU pads
    axes, heads of 64 to 128 for one, and the compiler keeps some."""
    cells_per_chip: int = 8
    """Of a batch, in the weak scaling."""
    cells: float = 100e6
    """Of the corpus."""
    epochs: float = 1
    """How often each cell of the corpus is shown."""
    price: float | None = None
    """Of a chip for an hour; adds columns of cost. Prices change: look them up."""
    slice_chips: int | None = None
    """Chips of a slice where several are joined; by default of the largest there is."""
    ici_microseconds: float = 1
    """Of a step from chip to chip."""
    dcn_microseconds: float = 100
    """Of a step from slice to slice."""
    host_gbit: float = 10
    """That a host reads from the bucket or a network disk, in Gbit/s."""
    bucket_gbit: float = 200
    """That a bucket gives to all hosts together."""
    disk_gib: float = 100
    """Of a host: the boot disk of a TPU VM."""
    patience_minutes: float = 30
    """How long all hosts may copy the data before the first step."""
    save_megabytes: float = 100
    """A second, at which host 0 writes a checkpoint to the bucket."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    machine_hours: float = 1_000
    """Mean time in which one machine is lost: of n machines, n in that time."""
    restart_minutes: float = 15
    """From a loss to the next step, without copying the data: chips again, packages,
    compiling."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not 0 < value < math.inf:
                raise _wrong(field.name, value, "Give a number above 0")
        for name in ("utilisation", "usable"):
            if (getattr(self, name) or 0) > 1:
                raise _wrong(name, getattr(self, name), "Give a share, up to 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A network, prepared cells and chips, under assumptions."""

    assumed: Assumptions
    network: Network
    prepared: Cells
    chip: Chip

    @property
    def largest_batch(self) -> int:
        """Cells that one chip holds at once."""
        return formulae.largest_batch(
            self.chip.memory,
            self.assumed.usable,
            self.network.fixed,
            self.network.per_cell,
        )

    def slices(self, chips: int) -> int:
        """Of so many chips; the fewest that are equal and not too large."""
        most = min(self.assumed.slice_chips or math.inf, self.chip.largest)
        number = math.ceil(chips / most)
        if chips % number:
            raise _wrong("slice_chips", most, f"Give a divisor of {chips}")
        return number

    def compute_seconds(self, cells: float) -> float:
        """Of a chip's cells of a batch."""
        return formulae.compute_seconds(
            self.network.flop, cells, self.chip.peak, self.utilisation
        )

    def reduce_seconds(self, chips: int) -> float:
        """Of the all-reduce of a step."""
        chip, size, slices = self.chip, self.network.reduced, self.slices(chips)
        inside = chips // slices
        # Without the links that close the rings, both ends wait for the middle.
        bandwidth = chip.ici if inside >= chip.wraps_from else chip.ici / 2
        steps = formulae.hops(inside, chip.axes)
        return formulae.ici_seconds(
            size, inside, bandwidth, steps, self.assumed.ici_microseconds / 1e6
        ) + formulae.dcn_seconds(
            size, slices, inside, chip.dcn, self.assumed.dcn_microseconds / 1e6
        )

    def step_seconds(self, chips: int, cells: float) -> float:
        """Of a step on so many cells a chip; the all-reduce follows the arithmetic."""
        return self.compute_seconds(cells) + self.reduce_seconds(chips)

    def efficiency(self, chips: int, *, overlapped: bool) -> float:
        """Share of a step that is arithmetic, in the weak scaling."""
        return formulae.efficiency(
            self.compute_seconds(self.assumed.cells_per_chip),
            self.reduce_seconds(chips),
            overlapped=overlapped,
        )

    def hours(self, cells: float, chips: int, cells_a_chip: float) -> float:
        """To show so many cells, in batches of so many cells a chip."""
        steps = cells / (chips * cells_a_chip)
        return steps * self.step_seconds(chips, cells_a_chip) / 3_600

    @property
    def utilisation(self) -> float:
        """As assumed; else as if all that products read and write went to memory."""
        return self.assumed.utilisation or formulae.utilisation_by_memory(
            self.network.flop,
            self.network.traffic,
            self.chip.peak,
            self.chip.memory_rate,
        )

    @property
    def cells_a_second(self) -> float:
        """That one chip works on."""
        return 1 / self.compute_seconds(1)

    def read_rate(self, modalities: tuple[str, ...]) -> float:
        """Bytes a second that a host's chips ask for, with nothing else in the way."""
        return self.cells_of_host(modalities) * self.bytes_of("read", modalities)

    def reads_a_second(self, modalities: tuple[str, ...]) -> float:
        """At random places: of each modality of a cell, genes and bins."""
        return self.cells_of_host(modalities) * 2 * len(modalities)

    def cells_of_host(self, modalities: tuple[str, ...]) -> float:
        """That a host's chips work on in a second, if all show these.

        A path of each modality: as many tokens as genes, where the average has more.
        """
        averaged = self.network.tokens / self.network.genes
        return CHIPS_A_HOST * self.cells_a_second * averaged / len(modalities)

    def stored_bytes(self, modalities: tuple[str, ...]) -> float:
        """Of the corpus on disk."""
        of_cell = self.bytes_of("stored", modalities) + self.prepared.other
        return self.assumed.cells * of_cell

    def bytes_of(self, what: str, modalities: tuple[str, ...]) -> float:
        """Of the matrices of a cell: "stored", or what is "read" of it."""
        nonzeros = self.prepared.nonzeros(self.network.genes)
        each = getattr(self.prepared, what)
        return sum(formulae.cell_bytes(nonzeros[m], each[m]) for m in modalities)

    def copy_seconds(self, hosts: int, modalities: tuple[str, ...]) -> float:
        """Until each host has the corpus."""
        return formulae.copy_seconds(
            self.stored_bytes(modalities),
            hosts,
            self.assumed.host_gbit * GIGABIT,
            self.assumed.bucket_gbit * GIGABIT,
        )

    def loss_seconds(
        self, hosts: int, modalities: tuple[str, ...]
    ) -> tuple[float, float]:
        """(between losses of any host, from one to the next step).

        All hosts copy the corpus again: a slice comes back as a whole, with new disks.
        """
        between = 3_600 * self.assumed.machine_hours / hosts
        restart = 60 * self.assumed.restart_minutes
        return between, restart + self.copy_seconds(hosts, modalities)

    @property
    def save_seconds(self) -> float:
        """Of a checkpoint."""
        return self.network.state / (1e6 * self.assumed.save_megabytes)


def _wrong(name: str, value: object, remedy: str) -> InputError:
    return InputError(f"--{name.replace('_', '-')}", f"is {value}", remedy)
