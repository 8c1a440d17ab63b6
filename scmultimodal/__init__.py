"""Foundation models for single-cell RNA and ATAC, and for DNA accessibility.

    from scmultimodal import CellModel, GenomeModel, datasets

Names are resolved on first use, so that `import scmultimodal` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scmultimodal import datasets
    from scmultimodal.models import CellModel, GenomeModel, build_forward

__version__ = "0.1.0"
__all__ = ["CellModel", "GenomeModel", "__version__", "build_forward", "datasets"]


def __getattr__(name: str) -> Any:
    if name == "datasets":
        return importlib.import_module("scmultimodal.datasets")
    if name in ("CellModel", "GenomeModel", "build_forward"):
        return getattr(importlib.import_module("scmultimodal.models"), name)
    raise AttributeError(f"module 'scmultimodal' has no attribute {name!r}")
