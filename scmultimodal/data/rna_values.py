"""RNA of cells as values to be told: log1p of counts at one depth."""

import dataclasses

import numpy as np
from jaxtyping import Float32, Integer
from scipy import sparse

from scmultimodal.data.sampling import spread
from scmultimodal.data.shards import ShardedMatrix
from scmultimodal.data.store import Store
from scmultimodal.ops import csr
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality

_DEPTH_CELLS = 50_000


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RnaValues:
    """The values of cells, by number.

    Attributes:
        matrix: counts.
        depth: counts that a cell is scaled to before log1p.
    """

    matrix: ShardedMatrix
    depth: float

    @classmethod
    def at_median_depth(cls, store: Store) -> "RnaValues":
        """Of a prepared dataset, at the median depth of its training cells.

        Raises:
            InputError: it has no RNA, or no training cell has any of it.
        """
        train = store.split("train")
        train = spread(train[store.present(Modality.RNA)[train]], _DEPTH_CELLS)
        counts = store.rows(Modality.RNA, train, "counts")
        depths = np.asarray(counts.sum(1, dtype=np.float64)).ravel()
        if not depths.any():
            problem = "has no training cell with counts of RNA"
            raise InputError(store.path, problem, "Prepare more cells")
        depth = float(np.median(depths[depths > 0]))
        return cls(matrix=store.matrix(Modality.RNA), depth=depth)

    def rows(self, cells: Integer[np.ndarray, " rows"]) -> sparse.csr_matrix:
        """Returns the values that are not 0, [rows, genes]; none at −1.

        Args:
            cells: positions in the dataset.
        """
        found = self.matrix.entries(cells, "counts")
        of = np.repeat(np.arange(len(cells)), found.lengths)
        counts = found.values[0].astype(np.float64)
        depths = np.bincount(of, counts, minlength=len(cells))
        values = np.log1p(self.depth * counts / depths[of]).astype(np.float32)
        indptr = np.concatenate(([0], np.cumsum(found.lengths)))
        shape = (len(cells), self.matrix.num_genes)
        return csr.wrap(values, found.genes, indptr, shape)

    def dense(
        self, cells: Integer[np.ndarray, " rows"]
    ) -> Float32[np.ndarray, "rows genes"]:
        """Returns the values of all genes; zeros at −1.

        Args:
            cells: positions in the dataset.
        """
        return self.rows(cells).toarray()
