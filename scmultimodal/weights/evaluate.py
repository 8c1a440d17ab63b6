"""An exported cell model in plain numpy: this file and its folder are all it takes.

    from evaluate import Model
    model = Model(".")                                # the folder that this file is in
    model.check()                                     # recomputes the reference
    rna = model.align(counts, gene_names)             # [cells, genes of the model]
    atac = model.align_peaks(counts, peak_names)      # [cells, genes of the model]
    vectors = model.embed(rna=rna)                    # [cells, dim]; or atac, or both
    logits = model.logits(rna=rna)                    # [cells, len(model.classes)]
    peaks = model.open_peaks(counts, peak_names)      # of a model that reads peaks:
    vectors = model.embed(peaks=peaks)                # alone, or beside rna and atac
    told = model.express(peaks)                       # [cells, genes of the model]

Needs Python and numpy, and nothing else. `python evaluate.py [FOLDER]` checks a folder.
Read from the top: files, counts to genes to bins, the encoder, the head. One cell is
computed at a time, so there is no padding and there are no masks. What this file does
not know it refuses by name; of a network that it does not know it still makes bins and
batches.
"""

import hashlib
import json
import math
import re
import struct
import sys
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

ENSEMBL = re.compile(r"(ENS[A-Z]*G\d+)(\.\d+)?(_PAR_Y)?")
"""A gene ID and its version; other names may end in a number after a dot too."""
PEAK = re.compile(r"(.+)[:_-](\d{1,10})[_-](\d{1,10})")
CHROMOSOME = re.compile(r"\d{1,2}[LRab]{0,2}|[XYWZ]|MT?|[IVX]+")
"""Names that a "chr" may stand before: 1, X, MT, 2L, IV."""
MOST = {"rna": 2**24, "peaks": 2**24, "atac": 2**31 - 1}
"""Of one count. ATAC of a gene is the weighted sum of many peaks."""
EPSILON = 1e-4
"""Added to every random feature (performer-pytorch)."""
TYPES = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "U8": "u1", "I32": "<i4"}
READABLE = {
    "format": ["scmultimodal cell model"],
    "format_version": [2],
    "recipe.strategy": ["gene_normalized", "quantile", "absolute", "counts"],
    "recipe.aggregation.anchor": ["tss_and_body", "tss", "body"],
}
COMPUTABLE = {
    "model.feature_order": ["fixed"],
    "model.encoder.tokens": ["all", "nonzero"],
    "model.encoder.joint": ["mean", "concatenate", "cross_attention"],
    "model.encoder.atac_path": ["gene", "peak", "both"],
    "model.encoder.path.attention": ["favor", "exact"],
    "model.encoder.path.dtype": ["float32", "bfloat16"],
    "model.encoder.peak_joint": ["mean", "cross_attention"],
    "model.encoder.peaks.pool": ["cls", "mean"],
    "model.encoder.peaks.path.attention": ["favor", "exact"],
    "model.encoder.peaks.path.dtype": ["float32", "bfloat16"],
    "model.head.reads": ["tokens", "vector"],
    "model.genes_told.head.style": ["inner_product", "summed", "concatenated"],
    "model.values_told.head.style": ["inner_product", "summed", "concatenated"],
}
"""Settings of which this file knows some values, by where they are in config.json."""
PATH = (
    "dim num_layers num_heads key_size num_features feed_forward_multiplier attention "
    "redraw_every chunk approximate_gelu dtype"
)
QUERY = "style query_dim gene_dim hidden num_bins num_batches"
FIELDS = {
    "model": "encoder head decoder genes_told classes modalities feature_order buckets "
    "peak_tokens provenance values_told",
    "model.encoder": "num_genes num_bins tokens path joint depth atac_path peaks "
    "peak_joint",
    "model.encoder.path": PATH,
    "model.encoder.peaks": "num_peaks num_chroms path position dna_dim pool",
    "model.encoder.peaks.path": PATH,
    "model.peak_tokens": "most buckets",
    "model.head": "num_classes hidden dropout silent_genes by_value skip root_skip "
    "reads",
    "model.genes_told": "head log_odds",
    "model.genes_told.head": QUERY,
    "model.values_told": "head depth",
    "model.values_told.head": QUERY,
}
"""Every setting that this file knows, or may overlook."""


# Files.


def read_tensors(path):
    """{name: array} of a safetensors file: length, JSON header, then the numbers."""
    content = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    tensors = {}
    for name, entry in json.loads(content[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in TYPES:
            raise ValueError(f"{path}: {name} is of type {entry['dtype']}")
        first, last = (8 + length + offset for offset in entry["data_offsets"])
        numbers = np.frombuffer(content[first:last], TYPES[entry["dtype"]])
        tensors[name] = numbers.reshape(entry["shape"])
    return tensors


def read_config(folder):
    """config.json, after the files were compared with the sha256 in it.

    The model is not read without any of "sha256"; "companions" may be left out.
    """
    config = json.loads((folder / "config.json").read_text("utf-8"))
    beside = config.get("companions", {})
    wanted = [name for name in config["sha256"] if name != "config.json"]
    wanted += [name for name in beside if (folder / name).exists()]
    for name in wanted:
        found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if found != {**config["sha256"], **beside}[name]:
            raise ValueError(f"{folder / name}: differs from the sha256 in config.json")
    return config


def refuse_unknown(settings, known, fields=()):
    """Raises NotImplementedError, with its name, for what this file does not know."""

    def find(path):
        found = settings
        for name in path.split("."):
            found = (found or {}).get(name)
        return found

    for path, values in known.items():
        value = find(path)
        if value is not None and value not in values:
            raise NotImplementedError(f"{path} is {value!r}; known here: {values}")
    for path in fields:
        for name in find(path) or {}:
            if name not in FIELDS[path].split():
                raise NotImplementedError(f"{path}.{name} is not known here")


# Counts.


def are_counts(values, kind):
    """Which values are whole numbers from 0; `kind` is one of `MOST`."""
    with np.errstate(invalid="ignore"):
        return (values % 1 == 0) & (values >= 0) & (values <= MOST[kind])


def as_peaks(cells, number):
    """The open peaks of each cell, by their places in a model's `number` of peaks.

    Raises ValueError where they are none, as `open_peaks` gives them.
    """
    found = []
    for cell, peaks in enumerate(map(np.asarray, cells)):
        is_place = peaks.ndim == 1 and (peaks.dtype.kind in "iu" or not len(peaks))
        if not is_place or ((peaks < 0) | (peaks >= number)).any():
            raise ValueError(
                f"peaks of cell {cell} are no places 0 to {number - 1} in peaks.json: "
                f"{peaks.tolist()!r:.60}; give what open_peaks gives"
            )
        found.append(peaks.astype(np.int64))
    return found


def as_counts(matrix, names, kind):
    """A matrix [cells, len(names)], dense or scipy's, by rows and checked.

    Raises ValueError at another shape, a name that stands there twice, and a value that
    is no count: NaN, negative, a fraction.
    """
    rows = matrix.tocsr() if hasattr(matrix, "tocsr") else np.asarray(matrix)
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise ValueError(f"{kind}: [cells, {len(names)}] is needed, not {rows.shape}")
    if len(set(names)) < len(names):
        name, times = Counter(names).most_common(1)[0]
        raise ValueError(f"{kind}: name {name!r} occurs {times} times")
    values = rows.data if hasattr(rows, "indptr") else rows.ravel()
    if values.dtype.kind not in "buif":
        raise ValueError(f"{kind}: {values.dtype} values are no counts")
    wrong = np.flatnonzero(~are_counts(values, kind))
    if len(wrong):
        if hasattr(rows, "indptr"):
            cell = np.searchsorted(rows.indptr, wrong[0], side="right") - 1
            column = rows.indices[wrong[0]]
        else:
            cell, column = divmod(wrong[0], len(names))
        raise ValueError(
            f"{kind}: value {values[wrong[0]]:g} of {names[column]!r} in cell {cell} "
            f"is not a count ({len(wrong)} such values); give raw counts"
        )
    return rows


def dense(rows):
    """An array of what may be scipy's."""
    return rows.toarray() if hasattr(rows, "toarray") else rows


def are_reads(values):
    """Reads come in pairs: nearly all counts are even, or 2 is more frequent than 1."""
    values = values[values != 0]
    even = (values % 2 == 0).sum()
    return even > 0.9 * len(values) or (values == 2).sum() > (values == 1).sum()


def places_of(names):
    """Chromosomes, starts and ends of peaks named chr1:100-600."""
    parts = [PEAK.fullmatch(name) for name in names]
    for name, part in zip(names, parts, strict=True):
        if part is None or int(part[2]) >= int(part[3]):
            raise ValueError(f"{name!r} is no interval such as chr1:100-600")
    starts, ends = (np.array([int(p[i]) for p in parts], np.int64) for i in (2, 3))
    return [bare(part[1]) for part in parts], starts, ends


def bare(chrom):
    """A chromosome as Ensembl names it: chr1 is 1, and chrM is MT."""
    name = chrom.removeprefix("chr")
    if not CHROMOSOME.fullmatch(name):
        return chrom
    return "MT" if name == "M" else name


# Cells as tokens.


def tokens_of(bins, everything):
    """The genes that are tokens of a cell, and their bins by modality.

    `bins` is {modality: [genes]} of what the cell has; tokens are `everything`, or the
    genes that are not zero in some modality.
    """
    shown = np.any([values > 0 for values in bins.values()], axis=0)
    genes = np.arange(len(shown)) if everything else np.flatnonzero(shown)
    return genes, {m: values[genes] for m, values in bins.items()}


def pad(cells, modalities, multiple=128):
    """Cells as `tokens_of` gives them, as arrays [cells, tokens] by name.

    The number of tokens is a multiple of `multiple`: exported functions take no other.
    """
    width = max([1, *(len(genes) for genes, _ in cells)])
    shape = (len(cells), -(-width // multiple) * multiple)
    found = {m: np.zeros(shape, np.uint8) for m in modalities}
    found["gene_ids"] = np.zeros(shape, np.int32)
    found["token_mask"] = np.zeros(shape, bool)
    for modality in modalities:
        present = [modality in values for _, values in cells]
        found[f"{modality}_present"] = np.array(present, bool)
    for row, (genes, values) in enumerate(cells):
        here = (row, slice(len(genes)))
        found["gene_ids"][here], found["token_mask"][here] = genes, True
        for modality, bins in values.items():
            found[modality][here] = bins
    return found


def pad_peaks(cells, multiple=128):
    """Open peaks of each cell, as arrays [cells, peaks] by name: see `pad`."""
    width = max([1, *map(len, cells)])
    shape = (len(cells), -(-width // multiple) * multiple)
    found = {"peak_ids": np.zeros(shape, np.int32), "peak_mask": np.zeros(shape, bool)}
    for row, peaks in enumerate(cells):
        here = (row, slice(len(peaks)))
        found["peak_ids"][here], found["peak_mask"][here] = peaks, True
    return found


def drawn(peaks, most):
    """The open peaks of a cell that a model reads: of more than `most` a subset.

    It depends on the cell's peaks alone; the words of Philox are stable.
    """
    if len(peaks) <= most:
        return peaks
    cell = zlib.crc32(peaks.astype("<i8").tobytes())
    words = np.random.Philox(key=(0, 4), counter=(0, 0, cell, 0)).random_raw(len(peaks))
    return peaks[np.sort(np.argsort(words, kind="stable")[:most])]


# Mathematics.


def layer_norm(x, scale, offset):
    """Over the last axis, ε = 1e-5."""
    centred = x - x.mean(-1, keepdims=True)
    variance = np.square(centred).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + np.float32(1e-5)) * scale + offset


def gelu(x, approximate):
    """By tanh, or by erf, for which numpy has no function of its own."""
    if approximate:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + np.tanh(inner))
    erf = np.vectorize(math.erf, otypes=[np.float32])
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def to_bfloat16(x):
    """Rounds to the nearest bfloat16, ties to even; the type stays float32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    bits = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


def product(left, right, path):
    """A product of matrices, in the precision that a Performer was trained in."""
    if path.get("dtype", "float32") == "bfloat16":
        left, right = to_bfloat16(left), to_bfloat16(right)
    return left @ right


def sinusoids(positions, dim):
    """Sines, then cosines, of places in bp; wavelengths from 2 kb to 1 Gb."""
    waves = np.geomspace(2_000.0, 1e9, (dim + 1) // 2).astype(np.float32)
    angles = 2 * np.pi * positions[:, None].astype(np.float32) / waves
    angles = angles.astype(np.float32)
    return np.concatenate([np.sin(angles), np.cos(angles)], 1)[:, :dim]


class Model:
    """The model of a folder.

    Attributes: `genes` (IDs), `symbols`, `classes`, `modalities`, `config`; `by_gene`,
    the modalities that it reads by bins of genes; `peaks`, those that it reads, by
    `chroms`, `chrom` (which of them), `starts` and `ends`, or None.
    """

    def __init__(self, folder="."):
        self.folder = Path(folder)
        whole = read_config(self.folder)
        self.config = config = whole["model"]
        vocabulary = json.loads((self.folder / "vocabulary.json").read_text("utf-8"))
        self.recipe, self.unit = vocabulary["recipe"], vocabulary["atac_unit"]
        refuse_unknown({**whole, "recipe": self.recipe}, READABLE)
        self.genes, self.symbols = vocabulary["gene_ids"], vocabulary["symbols"]
        places = (vocabulary[name] for name in ("chroms", "starts", "ends", "strands"))
        self.places = list(zip(*places, strict=True))
        self.medians = {
            m: np.array(vocabulary[f"{m}_medians"], np.float32) for m in ("rna", "atac")
        }
        self.classes, self.modalities = config["classes"], config["modalities"]
        self.encoder, self.path = config["encoder"], config["encoder"]["path"]
        atac_path, self.peaks = self.encoder.get("atac_path", "gene"), None
        self.by_gene = [m for m in self.modalities if m == "rna" or atac_path != "peak"]
        if self.encoder.get("peaks"):
            self.peaks = json.loads((self.folder / "peaks.json").read_text("utf-8"))
            for name in ("chrom", "starts", "ends"):
                self.peaks[name] = np.array(self.peaks[name], np.int64)
        self.tensors = read_tensors(self.folder / "model.safetensors")

    # Counts to genes to bins.

    def align(self, counts, names):
        """Columns of a matrix [cells, features] in the order of the model's genes.

        A name is an Ensembl gene ID, with or without version, or a symbol of one gene
        alone. A gene that is not there is 0; so is, with a warning, one that several
        features are. Raises ValueError where values are no counts, names occur twice,
        or hardly any gene is there.
        """
        names = list(map(str, names))
        counts, columns = as_counts(counts, names, "rna"), self._columns(names)
        found = {gene: of[0] for gene, of in columns.items() if len(of) == 1}
        if len(found) < 0.1 * len(self.genes):
            said = f"only {len(found)} of {len(self.genes)} genes are there"
            raise ValueError(f"{said}; they are {self.genes[:2]}, {self.symbols[:2]} …")
        if twice := [self.symbols[gene] for gene in columns if gene not in found]:
            several = f"{', '.join(twice[:5])}: {len(twice)} genes of several features"
            warnings.warn(f"{several} are taken as 0; sum or drop these", stacklevel=2)
        self._report(len(found), "are in the data")
        aligned = np.zeros((counts.shape[0], len(self.genes)), np.int64)
        aligned[:, list(found)] = dense(counts[:, list(found.values())])
        return aligned

    def _columns(self, names):
        """{gene: columns}: by ID, or where a name is no ID by symbol."""
        ids = {gene: number for number, gene in enumerate(self.genes)}
        times = Counter(self.symbols)
        alone = {s: i for i, s in enumerate(self.symbols) if times[s] == 1}
        columns = {}
        for column, name in enumerate(names):
            identifier = ENSEMBL.fullmatch(name)
            gene = ids.get(identifier[1]) if identifier else alone.get(name)
            if gene is not None:
                columns.setdefault(gene, []).append(column)
        return columns

    def _report(self, found, where):
        """Warns where less than half of the genes are found."""
        if found < 0.5 * len(self.genes):
            said = f"only {found} of the model's {len(self.genes)} genes {where}"
            warnings.warn(f"{said}; the others are taken as 0", stacklevel=3)

    def align_peaks(self, counts, names, kind="auto"):
        """Gene-level ATAC of peaks [cells, peaks], in whole units [cells, genes].

        A gene has the fragments of the peaks near it, weighted by distance. Peaks are
        named chr1:100-600, in bp from 0, half-open, in the assembly of the model.
        Counts are "fragments", or "reads" or "insertions", of which two make a
        fragment; "auto" reads that off the histogram of all counts, which a handful of
        cells may not show. Raises ValueError where values are no counts, or names no
        intervals of any chromosome of the model.
        """
        if kind not in ("auto", "fragments", "reads", "insertions"):
            raise ValueError(f"kind is {kind!r}")
        names = list(map(str, names))
        counts = as_counts(counts, names, "peaks")
        values = counts.data if hasattr(counts, "indptr") else counts
        halved = are_reads(values) if kind == "auto" else kind != "fragments"
        columns = counts.tocsc() if hasattr(counts, "tocsc") else counts
        aligned = np.zeros((counts.shape[0], len(self.genes)), np.int64)
        served = 0
        for gene, peaks, weights in self._links(names):
            some = dense(columns[:, peaks]).astype(np.int64)
            aligned[:, gene] = ((some + 1) // 2 if halved else some) @ weights
            served += len(peaks) > 0
        self._report(served, "have a peak near them")
        return aligned

    def open_peaks(self, counts, names):
        """The peaks of the model that are open in each cell: an array for each.

        Counts [cells, peaks] of peaks named as for `align_peaks`: each is the peak of
        the model that it shares most bp with, the first of equals. Raises ValueError
        where values are no counts, or no peak is any, and warns where most are none.
        """
        if self.peaks is None:
            raise ValueError("this model reads no peaks: give align_peaks' as atac")
        names = list(map(str, names))
        counts, which = as_counts(counts, names, "peaks"), self._matched(names)
        if not (found := (which >= 0).sum()):
            raise ValueError("no peak overlaps one of the model: another assembly?")
        if found < 0.5 * len(names):
            said = f"only {found} of {len(names)} peaks overlap one that it reads"
            warnings.warn(f"{said}; the others are left out", stacklevel=2)
        most, cells = (self.config.get("peak_tokens") or {}).get("most", 8_192), []
        for cell in range(counts.shape[0]):
            peaks = which[np.flatnonzero(np.ravel(dense(counts[[cell]])))]
            cells.append(drawn(np.unique(peaks[peaks >= 0]), most))
        return cells

    def _matched(self, names):
        """Which peak of the model each name is, or −1."""
        chroms, first, last = places_of(names)
        known = list(map(bare, self.peaks["chroms"]))
        starts, ends = self.peaks["starts"], self.peaks["ends"]
        longest, which = (ends - starts).max(initial=0), np.full(len(names), -1)
        on = {c: np.flatnonzero(self.peaks["chrom"] == i) for i, c in enumerate(known)}
        for column, chrom in enumerate(chroms):
            here = on.get(chrom, np.zeros(0, np.int64))
            window = first[column] - longest, last[column]
            here = here[slice(*np.searchsorted(starts[here], window))]
            low = np.maximum(starts[here], first[column])
            shared = np.minimum(ends[here], last[column]) - low
            if shared.max(initial=0) > 0:
                which[column] = here[shared.argmax()]
        return which

    def _links(self, names):
        """Of each gene on a chromosome with peaks: columns, and weights in units.

        The distance of a peak is that of its nearer end from the gene's start, which is
        `end` on −; a peak on the gene body is in the nearest band, too.
        """
        how = self.recipe["aggregation"]
        ends, reach, anchor = how["bands_bp"], how["bands_bp"][-1], how["anchor"]
        units = np.rint(np.append(how["weights"], 0) / self.unit).astype(np.int64)
        chroms, first, last = places_of(names)
        on = {c: [] for c in chroms}
        for column in np.argsort(first, kind="stable"):
            on[chroms[column]].append(column)
        on = {chrom: np.array(columns) for chrom, columns in on.items()}
        longest = (last - first).max(initial=0)
        if not on.keys() & {bare(chrom) for chrom, *_ in self.places}:
            raise ValueError(
                "the peaks share no chromosome with the genes of the model"
            )
        for gene, (chrom, start, end, strand) in enumerate(self.places):
            if (here := on.get(bare(chrom))) is None:
                continue
            site = end if strand == "-" else start
            low, high = (start, end) if anchor == "body" else (site, site)
            window = start - reach - longest, end + reach
            here = here[slice(*np.searchsorted(first[here], window))]
            left, right = first[here], last[here]
            away = np.maximum(0, np.maximum(left - high, low - right))
            band = np.searchsorted(ends, away, side="right")
            if anchor == "tss_and_body":
                band[(left < end) & (right > start)] = 0
            weights = units[band]
            yield gene, here[weights > 0], weights[weights > 0]

    def bins(self, counts, modality):
        """Bins 0…num_bins of one cell's counts [genes]; 0 is zero.

        ATAC: the weighted sum of the peaks of each gene in whole units, which are
        1/6 where bands weigh 1/2, 1/3 and 1/6: 3, 2 or 1 for each fragment.
        """
        if not are_counts(counts, modality).all():
            raise ValueError(f"{modality}: a value is not a count")
        strategy, num_bins = self.recipe["strategy"], self.recipe["num_bins"]
        unit = self.unit if modality == "atac" else 1.0
        shown = np.flatnonzero(counts)
        counts, bins = counts[shown].astype(np.float64), np.zeros(len(counts), np.uint8)
        if not len(shown):
            return bins
        if strategy == "counts":
            bins[shown] = np.clip(np.ceil(counts * unit), 1, num_bins)
            return bins
        total = self.recipe["totals"].get(modality)
        factor = unit if total is None else total / counts.sum()
        values = np.log1p(counts * factor).astype(np.float32)
        if strategy == "absolute":
            bins[shown] = np.clip(np.floor(values), 1, num_bins)
            return bins
        if strategy == "gene_normalized":
            values = values / self.medians[modality][shown]
        # An edge is the percentile k / num_bins of the cell's own values, and lies
        # between two of them: above it is what is above the lower one.
        ranks = np.arange(1, num_bins) * (len(values) - 1) // num_bins
        edges = np.sort(values)[ranks]
        bins[shown] = 1 + (values[:, None] > edges).sum(1)
        return bins

    # The encoder.

    def embed(self, rna=None, atac=None, peaks=None):
        """Vectors [cells, dim]: the mean over a cell's non-zero genes.

        `rna` and `atac` are counts [cells, genes of the model], dense or scipy's, as
        `align` and `align_peaks` give them, and `peaks` those that `open_peaks` gives;
        None where all cells lack the modality. A model that reads peaks takes ATAC by
        them, and one of `atac_path` "both" by `atac` too; where a cell has genes and
        peaks the vector is the mean of theirs. A cell of no gene is zero. Raises
        ValueError where values are no counts, or numbers of cells differ.
        """
        cells = self._cells(rna, atac, peaks)
        return self._over(cells, self._vector, self.path["dim"])

    def logits(self, rna=None, atac=None, peaks=None):
        """Logits [cells, classes] of the cell types; the softmax of them is certainty.

        Raises ValueError where the model was not trained to tell types.
        """
        if self.config["head"] is None:
            raise ValueError("this model tells no types: it was not trained on any")
        cells = self._cells(rna, atac, peaks)
        return self._over(cells, self._head, len(self.classes))

    def express(self, peaks):
        """What open peaks tell of each gene [cells, genes of the model].

        The log1p of its counts at the depth `values_told` of the model's config has,
        where it is expressed; or, by `genes_told`, the probability of expression, of
        more than two bins the expected one. Raises ValueError where the model was
        trained to tell neither.
        """
        if not (self.config.get("genes_told") or self.config.get("values_told")):
            raise ValueError("this model tells no genes: it was not trained to")
        cells = self._cells(None, None, peaks)
        return self._over(cells, self._express, len(self.genes))

    def batch(self, rna=None, atac=None, peaks=None):
        """What the exported functions of jax take: see `pad` and `pad_peaks`."""
        cells = list(self._cells(rna, atac, peaks))
        genes = [(genes, values) for genes, values, _ in cells]
        found = pad(genes, self.by_gene) if self.by_gene else {}
        if self.peaks is not None:
            found |= pad_peaks([open_ for _, _, open_ in cells])
        return found

    def _over(self, cells, function, width):
        refuse_unknown({"model": self.config}, COMPUTABLE, FIELDS)
        found = [function(*cell) for cell in cells]
        return np.array(found, np.float32).reshape(len(found), width)

    def _cells(self, rna, atac, peaks):
        """The tokens of each cell: genes, their bins by modality, and open peaks."""
        given = {"rna": rna, "atac": atac}
        if atac is not None and "atac" not in self.by_gene and self.peaks is not None:
            raise ValueError("this model reads open peaks: give open_peaks' as peaks")
        if peaks is not None and self.peaks is None:
            raise ValueError("this model reads no open peaks: leave peaks out")
        given = {
            m: as_counts(given[m], self.genes, m)
            for m in self.by_gene
            if given[m] is not None
        }
        numbers = {m: counts.shape[0] for m, counts in given.items()}
        if self.peaks is not None and peaks is not None:
            peaks = as_peaks(peaks, len(self.peaks["starts"]))
            numbers["peaks"] = len(peaks)
        if not numbers:
            known = [*self.by_gene, *(["peaks"] if self.peaks is not None else [])]
            raise ValueError(f"give counts of {' or '.join(known)}")
        if len(set(numbers.values())) > 1:
            said = " and ".join(f"{number} of {m}" for m, number in numbers.items())
            raise ValueError(f"{said}: give the same cells, and those with one apart")
        return (
            self._cell(given, peaks if "peaks" in numbers else None, number)
            for number in range(next(iter(numbers.values())))
        )

    def _cell(self, given, peaks, number):
        rows = {m: np.ravel(dense(counts[[number]])) for m, counts in given.items()}
        bins = {m: self.bins(row, m) for m, row in rows.items()}
        open_ = np.zeros(0, np.int64) if peaks is None else peaks[number]
        return *self._tokens_of(bins), open_

    def _tokens_of(self, bins):
        if not bins:
            return np.zeros(0, np.int64), {}
        return tokens_of(bins, everything=self.encoder["tokens"] == "all")

    def _vector(self, genes, values, peaks):
        """Of genes, of peaks, or the mean of both where a cell has both."""
        rows = self._peak_rows(peaks)
        if not values:
            return self._of_peaks(rows)
        of_genes = self._of_genes(genes, values, rows)
        return (of_genes + self._of_peaks(rows)) / 2 if len(peaks) else of_genes

    def _of_peaks(self, rows):
        """What a path of open peaks makes of the cell [dim]: CLS, or the mean."""
        if self._has_cls():
            return rows[0]
        return rows.mean(0) if len(rows) else np.zeros(self.path["dim"], np.float32)

    def _has_cls(self):
        return self.encoder["peaks"].get("pool", "cls") == "cls"

    def _peak_rows(self, peaks):
        """A Performer over open peaks, CLS first where there is one [rows, dim].

        None of a model that reads no peaks.
        """
        if self.peaks is None:
            return None
        how, name = self.encoder["peaks"], "cell_encoder/peak_encoder"
        dim = how["path"]["dim"]

        def normed(x, norm):
            scale, offset = (self._get(f"{norm}/{n}") for n in ("scale", "offset"))
            return layer_norm(x, scale, offset)

        x = normed(self._get(f"{name}/peak/embeddings")[peaks], f"{name}/peak_norm")
        x = x + self._get(f"{name}/chrom/embeddings")[self.peaks["chrom"][peaks]]
        if how.get("position", False):
            middles = (self.peaks["starts"] + self.peaks["ends"]) // 2
            x = x + sinusoids(middles[peaks], dim)
        if how.get("dna_dim") is not None:
            dna = self.tensors[f"state/{name}/dna"][peaks]
            x = x + self._linear(f"{name}/dna", dna)
        if self._has_cls():
            x = np.concatenate([self._get(f"{name}/cls")[None], x])
        for number in range(how["path"]["num_layers"]):
            x = self._layer(f"{name}/performer/layer_{number}", x, how["path"])
        return normed(x, f"{name}/performer/norm")

    def _of_genes(self, genes, values, rows):
        shown = np.any([v > 0 for v in values.values()], axis=0)
        if not shown.any():
            return np.zeros(self.path["dim"], np.float32)
        return self._tokens(genes, values, rows)[shown].mean(0)

    def _tokens(self, genes, values, rows):
        """The joint embedding of each token [tokens, dim]; `rows` are of peaks."""
        outputs = {m: self._path(m, genes, v) for m, v in values.items()}
        joint = self.encoder.get("joint", "mean")
        if joint == "concatenate":
            outputs = {
                m: self._linear(f"cell_encoder/{m}_joint", rows)
                for m, rows in outputs.items()
            }
        if joint == "cross_attention" and len(outputs) == 2:
            others = {"rna": outputs["atac"], "atac": outputs["rna"]}
            outputs = {
                m: self._layer(f"cell_encoder/{m}_cross", rows, self.path, others[m])
                for m, rows in outputs.items()
            }
        tokens = sum(outputs.values())
        if joint != "concatenate":
            tokens = tokens / np.float32(len(outputs))
        if self.encoder.get("peak_joint", "mean") != "cross_attention":
            return tokens
        rows = rows[1:] if self._has_cls() else rows
        if not len(rows):
            return tokens
        return self._layer("cell_encoder/peak_cross", tokens, self.path, rows)

    def _path(self, modality, genes, values):
        """One Performer over the tokens of one modality [tokens, dim]."""
        name = f"cell_encoder/{modality}"
        of_gene = self._get(f"{name}_embedding/gene/embeddings")[genes]
        x = of_gene + self._get(f"{name}_embedding/value/embeddings")[values]
        if self.encoder.get("depth", False):
            depth = np.log1p(np.float32(values.sum(dtype=np.int64)))
            x = x + self._linear(f"{name}_depth", depth.reshape(1, 1))
        for number in range(self.path["num_layers"]):
            x = self._layer(f"{name}_performer/layer_{number}", x, self.path)
        norm = f"{name}_performer/norm"
        return layer_norm(x, self._get(f"{norm}/scale"), self._get(f"{norm}/offset"))

    def _layer(self, name, x, path, context=None):
        """A pre-norm transformer layer: x + attention, then + feed-forward.

        Attention is to `context`, exact, where that is given.
        """

        def get(leaf):
            return self._get(f"{name}/{leaf}")

        dim, heads, size = get("query").shape

        def split(rows, leaf):  # [heads, tokens, key_size]
            norm = get("attention_norm_scale"), get("attention_norm_offset")
            flat = get(leaf).reshape(dim, heads * size)
            flat = product(layer_norm(rows, *norm), flat, path)
            return flat.reshape(-1, heads, size).swapaxes(0, 1)

        seen = x if context is None else context
        query, key, value = split(x, "query"), split(seen, "key"), split(seen, "value")
        if context is None and path.get("attention", "favor") == "favor":
            directions = self.tensors[f"state/{name}/projection"]
            attended = self._favor(query, key, value, directions, path)
        else:
            logits = product(query * size**-0.5, key.swapaxes(1, 2), path)
            weights = np.exp(logits - logits.max(-1, keepdims=True))
            weights = weights / weights.sum(-1, keepdims=True)
            attended = product(weights, value, path)
        attended = attended.swapaxes(0, 1).reshape(len(x), heads * size)
        output = get("output").reshape(heads * size, dim)
        x = x + product(attended, output, path) + get("output_bias")
        hidden = layer_norm(
            x, get("feed_forward_norm_scale"), get("feed_forward_norm_offset")
        )
        hidden = product(hidden, get("feed_forward_in"), path)
        hidden = hidden + get("feed_forward_in_bias")
        hidden = gelu(hidden, path.get("approximate_gelu", True))
        hidden = product(hidden, get("feed_forward_out"), path)
        return x + hidden + get("feed_forward_out_bias")

    def _favor(self, query, key, value, directions, path):
        """FAVOR+ (arXiv:2009.14794): softmax attention by random features.

        φ(k) = exp(W k − |k|²/2 − s) + ε with s the largest W k of the head, φ(q) alike
        with s of the token; q and k are scaled by key_size^(−1/4). Then attention is
        φ(q) Σ φ(k) v / φ(q) Σ φ(k), in time that is linear in the tokens.
        """
        scale = directions.shape[1] ** -0.25

        def exponents(vectors):
            along = product(vectors, directions.T * np.float32(scale), path)
            half = np.square(vectors).sum(-1, keepdims=True) * np.float32(scale**2 / 2)
            return along, half

        along, half = exponents(key)
        of_keys = np.exp(along - half - along.max((1, 2), keepdims=True)).swapaxes(1, 2)
        ones = np.ones((*value.shape[:2], 1), np.float32)
        weighted = product(of_keys, value, path)
        weighted = weighted + EPSILON * value.sum(1, keepdims=True)
        weights = product(of_keys, ones, path) + EPSILON * value.shape[1]
        along, half = exponents(query)
        of_queries = np.exp(along - half - along.max(-1, keepdims=True)) + EPSILON
        attended = product(of_queries, weighted, path)
        return attended / product(of_queries, weights, path)

    # The heads.

    def _head(self, genes, values, peaks):
        """Logits of one cell: an MLP, and linear maps of what it was given."""
        head, name = self.config["head"], "cell_type_head"
        if head.get("reads", "tokens") == "vector":
            norm = (self._get(f"{name}/norm/{n}") for n in ("scale", "offset"))
            hidden = layer_norm(self._vector(genes, values, peaks), *norm)
        else:
            hidden = self._channel(genes, values, peaks)
        for number in range(len(head["hidden"])):
            hidden = np.maximum(self._linear(f"{name}/hidden_{number}", hidden), 0)
        logits = self._linear(f"{name}/logits", hidden)
        if head.get("skip", False):
            for modality, bins in values.items():
                weights = self._get(f"{name}/{modality}_skip")[genes]
                logits = logits + bins.astype(np.float32) @ weights
        if head.get("skip", False) and len(peaks):
            logits = logits + self._get(f"{name}/peak_skip")[peaks].sum(0)
        if head.get("root_skip", False) and len(peaks):
            total = self._get(f"{name}/peak_root_skip")[peaks].sum(0)
            logits = logits + total / np.float32(math.sqrt(len(peaks)))
        return logits

    def _channel(self, genes, values, peaks):
        """One number for each gene: 0 where it is no token."""
        head, name = self.config["head"], "cell_type_head"
        channel = np.zeros(len(self.genes), np.float32)
        if len(genes):
            tokens = self._tokens(genes, values, self._peak_rows(peaks))
            said = tokens @ self._get(f"{name}/convolution")
            said = said + self._get(f"{name}/convolution_bias")
            largest = np.max(list(values.values()), axis=0)
            if not head.get("silent_genes", True):
                said = np.where(largest > 0, said, 0)
            channel[genes] = said * largest if head.get("by_value", False) else said
        return channel

    def _express(self, genes, values, peaks):
        """What is told of every gene, the mean over batches where it knows some."""
        told = self.config.get("values_told") or self.config["genes_told"]
        tell = self._values if self.config.get("values_told") else self._bins_told
        vector, how = self._of_peaks(self._peak_rows(peaks)), told["head"]
        batches = range(how["num_batches"]) if how.get("num_batches") else [None]
        return np.mean([tell(told, vector, code, len(peaks)) for code in batches], 0)

    def _bins_told(self, told, vector, code, number):
        """Expected bin of each gene; what is expressed is as rare as in training."""
        logits = self._asked("gene_query_head", told["head"], vector, code)
        logits[:, 1:] += np.float32(told.get("log_odds", 0))
        chances = np.exp(logits - logits.max(1, keepdims=True))
        expected = chances @ np.arange(logits.shape[1], dtype=np.float32)
        return expected / chances.sum(1)

    def _values(self, told, vector, code, number):
        """Value of each gene: of its own, by open peaks, and by the cell's vector."""
        name = "gene_value_head"
        own = self._asked(f"{name}/gene_query_head", told["head"], vector, code)
        norm = (self._get(f"{name}/norm/{n}") for n in ("scale", "offset"))
        alike = self._linear(f"{name}/all_genes", layer_norm(vector, *norm))
        depth = self._get(f"{name}/depth_scale") * np.log1p(np.float32(number))
        return own[:, 0] + self._get(f"{name}/offset") + alike + depth

    def _asked(self, name, how, vector, code):
        """Logits [genes, bins] of a cell's vector asked about every gene."""
        norm = (self._get(f"{name}/norm/{n}") for n in ("scale", "offset"))
        vector = layer_norm(vector, *norm)
        if code is not None:
            vector = vector + self._get(f"{name}/batch/embeddings")[code]
        queries = self._linear(f"{name}/query", self._get(f"{name}/gene/embeddings"))
        if how["style"] == "inner_product":
            told = self._linear(f"{name}/cell", vector).reshape(how["num_bins"], -1)
            told = told * np.float32(how["query_dim"] ** -0.5)
            return queries @ told.T + self._linear(f"{name}/gene_logits", queries)
        if how["style"] == "summed":
            hidden = queries + self._linear(f"{name}/cell", vector)
            hidden = self._linear(f"{name}/hidden", hidden)
        else:
            hidden = queries @ self._get(f"{name}/hidden_query/w")
            hidden = hidden + self._linear(f"{name}/hidden_cell", vector)
        return self._linear(f"{name}/logits", np.maximum(hidden, 0))

    def _get(self, name):
        return self.tensors[f"params/{name}"]

    def _linear(self, name, x):
        return x @ self._get(f"{name}/w") + self._get(f"{name}/b")

    # The proof.

    def check(self, tolerance=1e-3):
        """Recomputes the stored reference; returns the largest difference.

        Raises ValueError where it is above `tolerance`.
        """
        refuse_unknown({"model": self.config}, COMPUTABLE, FIELDS)
        reference = read_tensors(self.folder / "reference.safetensors")
        shown = [m for m in self.by_gene if m in reference]
        most, worst = (self.config.get("peak_tokens") or {}).get("most", 8_192), 0.0
        for number in range(len(reference["embedding"])):
            cell = self._tokens_of({m: reference[m][number] for m in shown})
            open_ = np.zeros(0, np.int64)
            if self.peaks is not None:
                open_ = drawn(np.flatnonzero(reference["peaks"][number]), most)
            cell = *cell, open_
            found = {"embedding": self._vector(*cell)}
            if "logits" in reference:
                found["logits"] = self._head(*cell)
            if "expression" in reference:
                found["expression"] = self._express(*cell)
            for name, values in found.items():
                difference = np.abs(values - reference[name][number]).max()
                worst = float(np.maximum(worst, difference))  # Lets a NaN through.
        if not worst <= tolerance:
            raise ValueError(
                f"{self.folder}: differs by {worst:.2g} from the reference"
            )
        return worst


if __name__ == "__main__":
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    print(f"reference recomputed, largest difference {Model(given).check():.2g}")
