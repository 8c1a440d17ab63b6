"""Preparing takes memory for a few cells at a time, however many there are."""

import json
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata.io import write_elem

GENES, PER_CELL = 30_000, 600
_AT_ONCE = 10_000


def write_atlas(path, num_cells):
    """An .h5ad of random counts, written as it grows."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        cells = [f"cell{i}" for i in range(num_cells)]
        write_elem(file, "obs", pd.DataFrame(index=cells))
        genes = [f"ENSG{i:011d}" for i in range(GENES)]
        write_elem(file, "var", pd.DataFrame(index=genes))
        matrix = file.create_group("X")
        matrix.attrs["encoding-type"] = "csr_matrix"
        matrix.attrs["encoding-version"] = "0.1.0"
        matrix.attrs["shape"] = (num_cells, GENES)
        size = num_cells * PER_CELL
        matrix["indptr"] = np.arange(0, size + 1, PER_CELL)
        data = matrix.create_dataset("data", (size,), np.uint16)
        indices = matrix.create_dataset("indices", (size,), np.int32)
        for start in range(0, size, _AT_ONCE * PER_CELL):
            rows = min(_AT_ONCE, (size - start) // PER_CELL)
            shape = (rows, PER_CELL)
            # Increasing, and different from cell to cell.
            steps = rng.integers(1, 2 * (GENES // PER_CELL), shape, np.int32)
            span = slice(start, start + rows * PER_CELL)
            indices[span] = (np.cumsum(steps, axis=1) % GENES).ravel()
            indices[span] = np.sort(indices[span].reshape(shape), axis=1).ravel()
            data[span] = rng.geometric(0.5, rows * PER_CELL).astype(np.uint16)


def write_genes(path):
    lines = [
        f"chr1\t{100 * i + 1}\t{100 * i + 90}\tG{i}\t0\t+\tENSG{i:011d}"
        for i in range(GENES)
    ]
    header = "chrom\tstart\tend\tsymbol\tscore\tstrand\tgene_id\n"
    path.write_text(header + "\n".join(lines) + "\n")


MEASURED = """
    import json, multiprocessing, os, re, sys
    from pathlib import Path
    from scmultimodal.workflows import prepare, prepare_files, runners

    def peak_mb(pid):
        found = re.search(r"VmHWM:\\s+(\\d+)", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) / 1024

    if __name__ == "__main__":
        atlas, genes, out = map(Path, sys.argv[1:])
        with runners.processes(2) as runner:
            store = prepare_files.run(
                prepare_files.Sources(files=[(atlas, "rna")], annotation=genes),
                prepare.PrepareConfig(),
                out,
                runner=runner,
                command="test",
            )
            workers = multiprocessing.active_children()
            pids = [os.getpid(), *(worker.pid for worker in workers)]
            print(json.dumps([store.num_cells, *map(peak_mb, pids)]))
"""


def prepare(folder, num_cells):
    """Cells that were kept, and the peak of each process in MB."""
    write_atlas(folder / "atlas.h5ad", num_cells)
    write_genes(folder / "genes.tsv")
    (folder / "measured.py").write_text(textwrap.dedent(MEASURED))
    names = ("measured.py", "atlas.h5ad", "genes.tsv", f"store{num_cells}")
    done = subprocess.run(
        [sys.executable, *(str(folder / name) for name in names)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    cells, *peaks = json.loads(done.stdout.splitlines()[-1])
    return cells, peaks


@pytest.mark.long
def test_half_a_million_cells_within_two_gigabytes(tmp_path, tally):
    peaks = {}
    for cells in (100_000, 500_000):
        kept, peaks[cells] = prepare(tmp_path, cells)
        assert kept == cells
        tally(f"{cells:,} cells x {GENES:,} genes prepared: peaks of the "
                    f"processes {[round(p) for p in peaks[cells]]} MB")  # fmt: skip
    small, large = (sum(peaks[cells]) for cells in (100_000, 500_000))
    assert large < 2_000
    # The names of the cells are all that is kept of each.
    assert large - small < 400 * 0.5
