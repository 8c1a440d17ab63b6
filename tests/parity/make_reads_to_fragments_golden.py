"""Writes reads_to_fragments.npz: reads, and scvi-tools' fragments of them.

With the `parity` extra installed:

    python -m tests.parity.make_reads_to_fragments_golden

Without it, from a copy of scvi-tools' `src/scvi/data/_preprocessing.py`, of which the
one function is run (the stored golden: commit 93dc4fae2191 of scverse/scvi-tools):

    python -m tests.parity.make_reads_to_fragments_golden _preprocessing.py

Regenerate only when scvi-tools changes what it computes.
"""

import ast
import sys
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import scipy.sparse as sp
from anndata import AnnData

GOLDEN = Path(__file__).parent / "reads_to_fragments.npz"


def reads() -> np.ndarray:
    """Counts [cells, peaks]: zeros, every small count, and some large ones."""
    counts = np.random.default_rng(0).negative_binomial(0.5, 0.2, (40, 25))
    counts[0] = np.arange(25)
    counts[1, :4] = [9_999, 10_000, 65_535, 65_536]
    return counts.astype(np.int32)


def fragments(reads_to_fragments: Callable[[AnnData], None], form: type) -> np.ndarray:
    """What scvi-tools' function makes of `reads`, given in the wanted form."""
    adata = AnnData(X=form(reads().astype(np.float32)))
    reads_to_fragments(adata)
    layer = adata.layers["fragments"]
    return layer.toarray() if sp.issparse(layer) else layer


def _function_of(source: Path) -> Callable[[AnnData], None]:
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name == "reads_to_fragments":
            names = {"np": np, "issparse": sp.issparse, "anndata": anndata}
            exec(ast.unparse(node), names)
            return names["reads_to_fragments"]
    raise SystemExit(f"{source} does not define reads_to_fragments")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        function = _function_of(Path(sys.argv[1]))
    else:
        from scvi.data import reads_to_fragments as function
    sparse, dense = (fragments(function, form) for form in (sp.csr_matrix, np.array))
    assert (sparse == dense).all()
    np.savez_compressed(GOLDEN, reads=reads(), fragments=sparse.astype(np.int32))
