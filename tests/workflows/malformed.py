"""Files that no command should trust, and what `scmultimodal prepare` makes of them."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import multiprocessing
import resource
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scmultimodal import cli
from scmultimodal.data.store import Store
from scmultimodal.schemas.status import Status
from scmultimodal.workflows import runners
from tests.workflows.small_files import SmallFiles

BYTES, SECONDS = 2**30, 10
"""What a process may write to in memory, and one reading of a file take in time."""
CRASHES = {-number for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT)}
"""How a process ends that reads what is damaged. One that runs out of memory or time
is ended by other signals, or says so."""


class Workers:
    """One process that reads, and a new one whenever it has crashed."""

    def __init__(self):
        """Starts none yet."""
        self.crashes = 0
        self.stores: dict[str, Store] = {}
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None

    @contextlib.contextmanager
    def processes(self, workers: int | None = None) -> Iterator[runners.Processes]:
        """Stands in for `runners.processes`, which starts a process each time."""
        del workers
        if self._pool is None:
            self._pool = concurrent.futures.ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), _limit_memory
            )
        try:
            yield _Timed(self._pool)
        finally:
            if self._pool._broken:
                self.crashes += 1
                self.close()

    def peak_bytes(self) -> int:
        """The most memory that the process has had."""
        return 0 if self._pool is None else self._pool.submit(_peak_bytes).result()

    def close(self) -> None:
        """Ends the process."""
        if self._pool is None:
            return
        running = list((self._pool._processes or {}).values())
        self._pool.shutdown()
        assert {process.exitcode for process in running} <= {0} | CRASHES
        self._pool = None


class _Timed(runners.Processes):
    def map(self, function: Callable, shared: Any, items: Iterable) -> Iterator:
        return super().map(functools.partial(_in_time, function), shared, items)


def _in_time(function: Callable, shared: Any, item: Any) -> Any:
    """Has the process ended that takes more than its time."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + SECONDS, hard))
    return function(shared, item)


def _limit_memory() -> None:
    # Addresses would be no measure: libraries map more of them than this.
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))


def _peak_bytes() -> int:
    # getrusage would count what the process was that this one was forked from.
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    return 1_024 * int(line.split()[1])


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a command.

    Attributes:
        status: that it ended with.
        said: on stderr.
        store: that it made.
    """

    status: int
    said: str
    store: Store | None


class Bench:
    """Runs `scmultimodal prepare` in this process; files are read in another."""

    def __init__(self, folder: Path, workers: Workers, capsys, monkeypatch):
        """Takes a new folder, and fixtures of pytest."""
        self.folder, self._workers, self._capsys = folder, workers, capsys
        self._results = folder / "results"
        self._results.mkdir()
        monkeypatch.setattr(runners, "processes", workers.processes)

    def prepare(self, *arguments: object, out: Path | None = None) -> Outcome:
        """Runs the command; asserts that nothing but a whole store is left."""
        out = out or self._results / "store"
        before = sorted(self._results.rglob("*"))
        self._capsys.readouterr()
        command = ["prepare", *map(str, arguments), "--out", str(out)]
        status = cli.main(command)
        said = self._capsys.readouterr().err
        if status:
            assert sorted(self._results.rglob("*")) == before, "something is left"
            return Outcome(status, said, None)
        assert [path.name for path in self._results.iterdir()] == [out.name]
        moved = out.rename(self.folder / f"store{len(list(self.folder.iterdir()))}")
        return Outcome(status, said, Store.open(moved))

    def whole(self, small: SmallFiles, source: str) -> Store:
        """What a file that is as it should be gives; made once for a module."""
        if source not in self._workers.stores:
            outcome = self.prepare(*small.command(source))
            assert outcome.store is not None, outcome.said
            self._workers.stores[source] = outcome.store
        return self._workers.stores[source]

    def refuses(self, *arguments: object, out: Path | None = None) -> str:
        """Asserts that a command ends in one line for its user, which it returns."""
        outcome = self.prepare(*arguments, out=out)
        assert outcome.status is Status.GIVE_UP, outcome
        (line,) = outcome.said.splitlines()
        assert line.startswith("scmultimodal: ")
        assert line.endswith(".")
        return line


@dataclasses.dataclass(frozen=True)
class Difference:
    """Where two stores differ.

    Attributes:
        cells: in how many; one that a store lacks differs.
        genes: in the counts of how many, likewise.
        columns: of obs, likewise.
        rank: of the difference of the counts.
        chromosomes: of the genes that differ.
    """

    cells: int
    genes: int
    columns: int
    rank: int
    chromosomes: int

    @property
    def is_of_one_value(self) -> bool:
        """Whether one changed value of a file explains it, which nothing could tell.

        A count, its place or a name concerns a cell, or the two that it was moved
        between; the name or the place of a gene, the gene; a column of obs, itself. A
        peak serves many genes of many cells, all in proportion: what it was and what
        it became are of rank 1 each. The name of a chromosome is written once for
        all of its peaks.
        """
        if self.cells <= 2 or self.genes + self.columns <= 2:
            return True
        return self.columns == 0 and (self.rank <= 2 or self.chromosomes <= 2)

    @classmethod
    def between(cls, one: Store, other: Store) -> "Difference":
        """Compares what depends on no other cell: bins do, and the split."""
        assert one.modalities == other.modalities
        stores = (one, other)
        obs = [store.obs.drop(columns="split") for store in stores]
        genes = [store.vocabulary.to_frame().set_index("gene_id") for store in stores]
        axes = [
            [table.index for table in obs],
            [table.index for table in genes],
            [table.columns for table in obs],
        ]
        cell, gene, column = (first.intersection(second) for first, second in axes)
        cells, differing, columns = (
            set(first.symmetric_difference(second)) for first, second in axes
        )
        first, second = (_as_text(table.loc[cell, column]) for table in obs)
        row, place = (first != second).nonzero()
        cells.update(cell[row])
        columns.update(column[place])
        rank = 0
        for modality in one.modalities:
            first, second = (
                store.rows(modality, table.index.get_indexer(cell), "counts")
                [:, its.index.get_indexer(gene)].astype(np.int64)
                for store, table, its in zip(stores, obs, genes, strict=True)
            )  # fmt: skip
            row, place = (first != second).nonzero()
            cells.update(cell[row])
            differing.update(gene[place])
            changed = (first - second)[np.unique(row)][:, np.unique(place)]
            rank += np.linalg.matrix_rank(changed.toarray()) if len(row) else 0
        chroms = pd.concat([table["chrom"] for table in genes])
        return cls(
            cells=len(cells),
            genes=len(differing),
            columns=len(columns),
            rank=rank,
            chromosomes=chroms[chroms.index.isin(list(differing))].nunique(),
        )


def _as_text(table: pd.DataFrame) -> np.ndarray:
    """A column of whole numbers in which one is missing holds the same numbers."""
    numbers = table.select_dtypes("number")
    return table.assign(**numbers.astype(float)).astype(str).to_numpy()


SAME = Difference(cells=0, genes=0, columns=0, rank=0, chromosomes=0)
