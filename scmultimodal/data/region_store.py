"""Spans of DNA to be ranked, on disk: tokens, places, values and where they are from.

    manifest.json   versions, sizes, names, provenance, report, sha256 of every file
    tokens.npy      uint16 [spans, 3, tokens]
    features.npy    float32 [spans, 3, 4]: `genome.composition.FEATURES`
    cut.npy         bool [spans, 3]: sequences that had too many tokens
    intervals.npy, values.npy, chrom_index.npy, start.npy, sample_index.npy,
    offset.npy, group.npy, split.npy: the columns of `genome.span_table.SpanTable`

Every array is appended to chunk by chunk and mapped into memory when it is read.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, Integer, UInt16

from scmultimodal.data import atomic, manifest, mapped
from scmultimodal.data.region_chunks import RegionChunk
from scmultimodal.genome import region_splits
from scmultimodal.genome.composition import FEATURES
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.genome.region_splits import SPLITS
from scmultimodal.genome.span_table import SpanTable
from scmultimodal.genome.spans import NUM_REGIONS
from scmultimodal.schemas.errors import InputError

_DTYPES = {
    "tokens": np.uint16,
    "features": np.float32,
    "cut": np.bool_,
    "intervals": np.int64,
    "values": np.float32,
    "chrom_index": np.int16,
    "start": np.int64,
    "sample_index": np.int16,
    "offset": np.int32,
    "group": np.int32,
    "split": np.uint8,
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RegionStore:
    """A prepared set of spans, opened. Tokens stay on disk.

    Attributes:
        path: the folder.
        manifest: content of `manifest.json`.
        tokens: of the sequence under each region, padded.
        features: what `genome.composition.features` says of each sequence.
        cut: which sequences had too many tokens and lost their end.
        spans: places, values and splits.
    """

    path: Path
    manifest: dict[str, Any]
    tokens: UInt16[np.ndarray, "spans 3 tokens"]
    features: Float32[np.ndarray, "spans 3 4"]
    cut: Bool[np.ndarray, "spans 3"]
    spans: SpanTable

    @classmethod
    def open(cls, path: str | os.PathLike, *, verify: bool = False) -> "RegionStore":
        """Opens prepared spans and checks them.

        Args:
            path: the folder.
            verify: also checks the sha256 of the tokens.

        Raises:
            InputError: a file is missing, truncated, swapped or damaged; names it.
        """
        path = Path(path)
        content = manifest.read(path, manifest.REGIONS)
        manifest.check_files(path, content["files"], verify, manifest.REGIONS)
        return cls._map(path, content)

    @classmethod
    def _map(cls, path: Path, content: dict[str, Any]) -> "RegionStore":
        shapes = _shapes(content["num_tokens"])
        arrays = {
            name: mapped.read(
                path / f"{name}.npy", (content["num_spans"], *shape), dtype
            )
            for (name, dtype), shape in zip(_DTYPES.items(), shapes, strict=True)
        }
        return cls(
            path=path,
            manifest=content,
            **{name: arrays.pop(name) for name in ("tokens", "features", "cut")},
            spans=SpanTable(**arrays),
        )

    def __repr__(self) -> str:
        samples = f"{len(self.samples)} samples"
        return f"RegionStore({self.path}: {self.num_spans} spans, {samples})"

    @property
    def num_spans(self) -> int:
        """Number of spans of all splits."""
        return len(self.spans)

    @property
    def chromosomes(self) -> tuple[str, ...]:
        """Names that `chrom_index` numbers."""
        return tuple(self.manifest["chromosomes"])

    @property
    def samples(self) -> tuple[str, ...]:
        """Names that `sample_index` numbers: cell types, clusters or tracks."""
        return tuple(self.manifest["samples"])

    @property
    def intervals(self) -> Int64[np.ndarray, "spans 3 2"]:
        """Start and end of each region, in bp."""
        return self.spans.intervals

    @property
    def values(self) -> Float32[np.ndarray, "spans 3"]:
        """How open each region is; 0 is closed."""
        return self.spans.values

    @property
    def group(self) -> Int32[np.ndarray, " spans"]:
        """What a fold or split keeps together: number of the chromosome or region."""
        return self.spans.group

    @property
    def tokenizer(self) -> KmerTokenizer:
        """What the tokens were made with: v2 and k = 6 where the manifest is silent."""
        config = self.manifest["config"]
        return KmerTokenizer(config.get("vocabulary", "v2"), config.get("k", 6))

    def sequences(
        self, rows: Integer[np.ndarray, " chosen"]
    ) -> tuple[UInt16[np.ndarray, "different tokens"], Int64[np.ndarray, "chosen 3"]]:
        """The different sequences of some spans, and which of them each region is.

        Spans share regions: what is computed of a sequence is computed once.
        """
        tokens = self.tokens[rows]
        different, where = np.unique(
            tokens.reshape(-1, tokens.shape[-1]), axis=0, return_inverse=True
        )
        return different, where.reshape(tokens.shape[:2])

    def split(self, name: str) -> Int64[np.ndarray, " chosen"]:
        """Returns the spans of "train", "validation", "test" or "none".

        Raises:
            InputError: there is no split of that name.
        """
        return np.flatnonzero(
            self.spans.split == region_splits.position(name, self.path)
        )


def write_region_store(
    path: str | os.PathLike,
    chunks: Iterable[RegionChunk],
    *,
    num_tokens: int,
    chromosomes: Sequence[str],
    samples: Sequence[str],
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    report: Callable[[RegionStore], Mapping[str, Any]] = lambda store: {},
    overwrite: bool = False,
) -> RegionStore:
    """Writes spans chunk by chunk, whole or not at all, and opens them.

    Args:
        path: the folder to make.
        chunks: taken one at a time; memory holds no other.
        num_tokens: tokens of a region.
        chromosomes: names that `chrom_index` numbers.
        samples: names that `sample_index` numbers.
        config: what the spans were made with; anything that JSON holds.
        provenance: where the data come from; anything that JSON holds.
        report: called when all spans are written; returns what JSON holds.
        overwrite: replaces prepared spans that stand there.

    Raises:
        InputError: the folder holds something, or there is not one span.
    """
    path = Path(path)
    manifest.check_target(path, overwrite, manifest.REGIONS)
    with atomic.folder(path) as folder:
        num_spans, unknown = _append_all(folder, chunks, num_tokens)
        if not num_spans:
            raise InputError(path, "would hold no span", "Nothing was written")
        content = {
            "num_spans": num_spans,
            "num_tokens": num_tokens,
            "chromosomes": list(chromosomes),
            "samples": list(samples),
            "features": list(FEATURES),
            "config": dict(config),
            "provenance": dict(provenance),
            "letters_read_as_n": unknown,
        }
        written = RegionStore._map(folder, content)
        split = np.bincount(written.spans.split, minlength=len(SPLITS)).tolist()
        content["splits"] = dict(zip(SPLITS, split, strict=True))
        content["report"] = dict(report(written))
        manifest.write(folder, content, manifest.REGIONS)
    return RegionStore.open(path)


def _append_all(
    folder: Path, chunks: Iterable[RegionChunk], num_tokens: int
) -> tuple[int, int]:
    """Writes every chunk behind the last: number of spans, letters read as N."""
    shapes = dict(zip(_DTYPES, _shapes(num_tokens), strict=True))
    total, unknown = 0, 0
    files = {name: (folder / f"{name}.npy").open("wb") for name in _DTYPES}
    try:
        for name, file in files.items():
            _write_header(file, 0, shapes[name], _DTYPES[name])
        for chunk in chunks:
            columns = chunk.spans.columns()
            columns |= {n: getattr(chunk, n) for n in ("tokens", "features", "cut")}
            for name, file in files.items():
                array = np.ascontiguousarray(columns[name], _DTYPES[name])
                if array.shape != (len(chunk.spans), *shapes[name]):
                    raise ValueError(f"{name} of a chunk has shape {array.shape}")
                file.write(array.data)
            total += len(chunk.spans)
            unknown += chunk.unknown
        # Only now is the number of rows known; a header's length does not depend on it.
        for name, file in files.items():
            file.seek(0)
            _write_header(file, total, shapes[name], _DTYPES[name])
    finally:
        for file in files.values():
            file.close()
    return total, unknown


def _shapes(num_tokens: int) -> list[tuple[int, ...]]:
    """Shape of one span in each array, in the order of `_DTYPES`."""
    one: tuple[int, ...] = ()
    regions = (NUM_REGIONS,)
    return [
        (NUM_REGIONS, num_tokens),
        (NUM_REGIONS, len(FEATURES)),
        regions,
        (NUM_REGIONS, 2),
        regions,
        *[one] * 6,
    ]


def _write_header(
    file: BinaryIO, rows: int, shape: tuple[int, ...], dtype: type
) -> None:
    description = np.lib.format.dtype_to_descr(np.dtype(dtype))
    header = {"descr": description, "fortran_order": False, "shape": (rows, *shape)}
    np.lib.format.write_array_header_1_0(file, header)
