"""The loader in plain numpy says what the model says, where nothing else is."""

import dataclasses
import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from safetensors import numpy as safetensors_numpy

from scmultimodal.models import CellModel
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.modules.heads.gene_query import GeneQueryConfig
from scmultimodal.modules.peak_encoder import PeakEncoderConfig
from scmultimodal.modules.performer import PerformerConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell import inputs, recipe
from scmultimodal.singlecell.peaks import PeakAggregation
from scmultimodal.weights import evaluate, export
from scmultimodal.workflows import exporting, trained
from scmultimodal.workflows.alignment import AlignedCells
from tests import builders

MODELS = {
    "counted": {
        "tokens": "nonzero",
        "head": {"silent_genes": False, "by_value": True, "skip": True},
    },
    "exact": {
        "tokens": "all",
        "joint": "concatenate",
        "depth": True,
        "path": {"attention": "exact", "approximate_gelu": False, "num_layers": 1},
    },
    "crossed": {"tokens": "nonzero", "joint": "cross_attention"},
    "rounded": {
        "tokens": "nonzero",
        "modalities": ("rna",),
        "path": {"dtype": "bfloat16", "num_layers": 1},
    },
}
ALONE = """
import sys


class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[3].split(","):
            raise ImportError(f"{name} is not here")


sys.meta_path.insert(0, Nothing())
import importlib.util
from pathlib import Path
import numpy as np

given, told = np.load(sys.argv[1]), {}
for folder in map(Path, sys.argv[4:]):
    spec = importlib.util.spec_from_file_location("evaluate", folder / "evaluate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.Model(folder)
    rna = model.align(given["rna"], given["genes"].tolist())
    if "atac" in model.modalities:
        atac = model.align_peaks(given["atac"], given["peaks"].tolist(), "fragments")
        told[f"{folder.name} both"] = model.embed(rna=rna, atac=atac)
        told[f"{folder.name} atac"] = model.embed(atac=atac)
    told[f"{folder.name} rna"] = model.embed(rna=rna)
    told[f"{folder.name} logits"] = model.logits(rna=rna)
    told[f"{folder.name} check"] = model.check()
np.savez(sys.argv[2], **told)
"""
ABSENT = "scmultimodal,jax,jaxlib,haiku,safetensors,scipy,pandas,anndata,numba"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "data"
    return builders.simulated_store(path, num_cells=80)


@pytest.fixture(scope="module")
def folders(store, tmp_path_factory, lightly_compiled):
    """Model folders with the loader in them, as an export has it."""
    out, found = tmp_path_factory.mktemp("models"), {}
    for name, shape in MODELS.items():
        model = builders.cell_type_model(store, **shape)
        kept = trained.save(
            out / "plain", store, model.config, model.params, model.network_state
        )
        loader = {exporting.LOADER: exporting.loader()}
        found[name] = export.save(kept, out / name, loader)
    return found


@pytest.fixture(scope="module")
def data():
    return builders.simulated_cells(num_cells=12, seed=5)


@pytest.fixture(scope="module")
def told(folders, data, tmp_path_factory):
    """What the loader says of new cells, whose features stand in another order."""
    place, rng = tmp_path_factory.mktemp("alone"), np.random.default_rng(1)
    genes, peaks = (rng.permutation(data[m].n_vars) for m in ("rna", "atac"))
    np.savez(
        place / "given.npz",
        rna=data["rna"].X.toarray()[:, genes],
        genes=data["rna"].var_names.to_numpy(str)[genes],
        atac=data["atac"].X.toarray()[:, peaks],
        peaks=data["atac"].var_names.to_numpy(str)[peaks],
    )
    names = [str(place / "given.npz"), str(place / "told.npz"), ABSENT]
    command = [sys.executable, "-B", "-c", ALONE, *names, *map(str, folders.values())]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place)
    assert done.returncode == 0, done.stderr
    with np.load(place / "told.npz") as content:
        return dict(content)


@pytest.mark.parametrize("name", MODELS)
def test_it_embeds_as_the_model_does(folders, data, told, name):
    model = CellModel.load(folders[name])
    tolerance = 1e-4 if name == "rounded" else 2e-5
    cells = {"rna": data["rna"]}
    if "atac" in model.modalities:
        cells |= {"both": data, "atac": data["atac"]}
    for part, of in cells.items():
        expected = model.embed(of, counts="fragments")
        assert np.ptp(expected, axis=0).max() > 0.05
        np.testing.assert_allclose(
            told[f"{name} {part}"], expected, rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("name", ["counted", "rounded"])
def test_its_logits_name_the_types_that_the_model_names(folders, data, told, name):
    found = CellModel.load(folders[name]).annotate(data["rna"].copy())
    logits = told[f"{name} logits"].astype(np.float64)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    np.testing.assert_allclose(
        shares.max(1), found["scmm_confidence"], rtol=0, atol=1e-3
    )
    codes = found["scmm_cell_type"].cat.codes
    assert shares.argmax(1).tolist() == codes.tolist()


def test_it_recomputes_the_reference(told):
    assert told["counted check"] < 1e-5
    assert told["exact check"] < 1e-5


@pytest.mark.parametrize("target_sum", [None, 500.0])
@pytest.mark.parametrize(
    "strategy", ["gene_normalized", "quantile", "absolute", "counts"]
)
def test_bins_are_those_of_the_recipe(folders, strategy, target_sum):
    model = evaluate.Model(folders["counted"])
    model.recipe = {
        "strategy": strategy,
        "num_bins": 5,
        "totals": {"rna": target_sum, "atac": target_sum},
    }
    counts = builders.sparse_counts(20, 40, seed=2, most=300)
    for modality, unit in (("rna", 1.0), ("atac", model.unit)):
        expected = recipe.bin_counts(
            counts,
            unit=unit,
            target_sum=target_sum,
            medians=model.medians[modality],
            strategy=strategy,
            num_bins=5,
        )
        found = [model.bins(row, modality) for row in counts.toarray()]
        np.testing.assert_array_equal(found, expected.toarray())


def test_bins_by_hand(folders):
    """Six values, three bins: edges above the 2nd and the 4th of the sorted values."""
    model = evaluate.Model(folders["counted"])
    totals = {"rna": None}
    model.recipe = {"strategy": "quantile", "num_bins": 3, "totals": totals}
    counts = np.array([0, 9, 1, 4, 0, 7, 2, 30])
    assert model.bins(counts, "rna").tolist() == [0, 3, 1, 2, 0, 2, 1, 3]


# Genes.


@pytest.fixture
def loader(folders):
    return evaluate.Model(folders["counted"])


@pytest.fixture(scope="module")
def vocabulary(folders):
    return export.load(folders["counted"]).vocabulary


def aligned(vocabulary, data, modality, counts="auto"):
    """Counts of the model's genes as the package has them."""
    cells = AlignedCells(inputs.from_data(data, "data"), vocabulary, counts=counts)
    return cells.counts(Modality(modality), slice(0, cells.num_cells)).toarray()


def test_genes_are_found_by_id_version_and_symbol(loader):
    names = [f"{loader.genes[0]}.7", loader.symbols[1], "Nobody", *loader.genes[2:]]
    names += ["AC233755.1", "AC233755.2"]  # No genes of the model's.
    counts = sp.csr_matrix(np.arange(len(names)) + 1)
    found = loader.align(counts, names)
    assert found.tolist() == [[1, 2, *range(4, 42)]]
    with pytest.raises(ValueError, match=r"only 1 of 40 genes"):
        loader.align(counts[:, :2], [loader.genes[0], "Nobody"])


@pytest.mark.parametrize("seed", range(6))
def test_genes_are_those_that_the_package_finds(loader, vocabulary, seed):
    """Symbols that genes share, genes that are missing, genes of several features."""
    rng = np.random.default_rng(seed)
    symbols = vocabulary.symbols.astype(object)
    symbols[rng.integers(0, 40, 6)] = "Shared"
    vocabulary = dataclasses.replace(vocabulary, symbols=symbols.astype(str))
    loader.symbols, names = symbols.tolist(), ["Shared", "ENSG00000000001", "Nobody"]
    for gene, symbol in zip(loader.genes, loader.symbols, strict=True):
        spellings = [gene, f"{gene}.3", symbol, f"{gene}_PAR_Y"]
        some = rng.random(4) < [0.3, 0.1, 0.3, 0.05]
        names += np.array(spellings, object)[some].tolist()
    names = rng.permutation(list(dict.fromkeys(names))).tolist()
    counts = rng.integers(0, 9, (3, len(names)))
    with warnings.catch_warnings(record=True) as theirs:
        warnings.simplefilter("always")
        expected = aligned(vocabulary, builders.annotated(counts, names), "rna")
    with warnings.catch_warnings(record=True) as ours:
        warnings.simplefilter("always")
        found = loader.align(counts, names)
    assert found.any()
    np.testing.assert_array_equal(found, expected)
    for word in ("taken as 0; sum or drop", "others are taken as 0"):
        said = [[word in str(w.message) for w in some] for some in (ours, theirs)]
        assert any(said[0]) == any(said[1])


def test_less_than_half_of_the_genes_is_said(loader):
    counts = np.ones((2, 19), int)
    with pytest.warns(UserWarning, match=r"only 19 of the model's 40 genes are in"):
        loader.align(counts, loader.genes[:19])


# Peaks.


def shape_of(loader, vocabulary, aggregation):
    """Both, told to bring peaks to genes otherwise."""
    recipe = {**vocabulary.recipe, "aggregation": dataclasses.asdict(aggregation)}
    loader.recipe, loader.unit = recipe, aggregation.unit
    return dataclasses.replace(vocabulary, recipe=recipe, atac_unit=aggregation.unit)


@pytest.mark.parametrize("anchor", ["tss_and_body", "tss", "body"])
@pytest.mark.parametrize("style", ["chr{}:{}-{}", "{}-{}-{}"])
def test_peaks_serve_the_genes_that_they_serve_in_the_package(
    loader, vocabulary, anchor, style
):
    """Ends of bands and of genes too: all distances are multiples of 1,000."""
    rng = np.random.default_rng(len(anchor + style))
    starts = 1_000 * rng.integers(60, 200, 40)
    genes = {
        "chroms": rng.choice(["chr1", "chr2", "chrM", ""], 40),
        "starts": starts,
        "ends": starts + 1_000 * rng.integers(1, 90, 40),
        "strands": rng.choice(["+", "-", "."], 40),
    }
    vocabulary = dataclasses.replace(vocabulary, **genes)
    loader.places = list(zip(*(of.tolist() for of in genes.values()), strict=True))
    vocabulary = shape_of(
        loader,
        vocabulary,
        PeakAggregation(
            bands_bp=(5_000, 30_000), weights=(3 / 4, 1 / 6), anchor=anchor
        ),
    )
    first = 1_000 * rng.integers(0, 300, 80)
    width = 1_000 * rng.integers(1, 20, 80)
    chroms = rng.choice(["1", "2", "MT" if style[0] == "{" else "M", "GL000194.1"], 80)
    places = zip(chroms, first, first + width, strict=True)
    names = list(dict.fromkeys(style.format(*place) for place in places))
    atac = builders.annotated(rng.integers(0, 4, (5, len(names))), names)
    for kind in ("fragments", "reads", "insertions", "auto"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of the histogram, and of few peaks.
            expected = aligned(vocabulary, atac, "atac", kind)
            found = loader.align_peaks(atac.X, names, kind)
        np.testing.assert_array_equal(found, expected)
    assert (np.unique(found) > 0).sum() > 5


def test_reads_are_told_from_fragments_as_the_package_tells_them(
    loader, vocabulary, data
):
    peaks = data["atac"].var_names
    for times in (1, 2):
        atac = data["atac"].copy()
        atac.X = atac.X * times
        found = loader.align_peaks(atac.X.tocoo(), peaks)
        np.testing.assert_array_equal(found, aligned(vocabulary, atac, "atac"))
        np.testing.assert_array_equal(
            found, loader.align_peaks(atac.X.toarray(), peaks)
        )


def test_peaks_of_something_else_are_refused_or_said(loader, data):
    counts, peaks = data["atac"].X, data["atac"].var_names.tolist()
    for names, message in [
        (["Peak1", *peaks[1:]], r"'Peak1' is no interval"),
        (["chr1:9-9", *peaks[1:]], r"'chr1:9-9' is no interval"),
        ([peaks[1], *peaks[1:]], rf"name '{peaks[1]}' occurs 2 times"),
        ([f"chr99_{name}" for name in peaks], r"share no chromosome"),
        (peaks[1:], r"peaks: \[cells, \d+\] is needed, not \(12, "),
    ]:
        with pytest.raises(ValueError, match=message):
            loader.align_peaks(counts, names)
    with pytest.raises(ValueError, match=r"value 0.5 of 'chr.* is not a count"):
        loader.align_peaks(counts * 0.5, peaks)
    with pytest.raises(ValueError, match=r"kind is 'cuts'"):
        loader.align_peaks(counts, peaks, kind="cuts")
    with pytest.warns(UserWarning, match=r"only 1 of the model's 40 genes have a peak"):
        loader.align_peaks(counts[:, :1], peaks[:1])


# What is no count, or of another shape.


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, -1, 2.0**25])
@pytest.mark.parametrize(
    "form", [np.asarray, sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.csr_array]
)
def test_what_is_no_count_is_refused_as_the_package_refuses_it(
    folders, loader, vocabulary, value, form
):
    counts = builders.sparse_counts(4, 40, seed=1).toarray().astype(np.float64)
    counts[2, 7] = value
    data = builders.annotated(sp.csr_matrix(counts), loader.genes)
    with pytest.raises(InputError, match=r"is not a count \(1 such"):
        aligned(vocabulary, data, "rna")
    said = rf"rna: value .* of '{loader.genes[7]}' in cell 2 is not a count \(1 such"
    for ask in (loader.embed, loader.logits, loader.batch):
        with pytest.raises(ValueError, match=said):
            ask(rna=form(counts))
    with pytest.raises(ValueError, match=said):
        loader.align(form(counts), loader.genes)
    with pytest.raises(ValueError, match=r"rna: a value is not a count"):
        loader.bins(counts[2], "rna")


def test_a_value_of_a_gene_that_the_model_lacks_is_looked_at_too(loader):
    counts = np.ones((2, 41))
    counts[1, 40] = 0.25
    with pytest.raises(ValueError, match=r"0.25 of 'Nobody' in cell 1 is not a count"):
        loader.align(counts, [*loader.genes, "Nobody"])
    with pytest.raises(ValueError, match=r"object values are no counts"):
        loader.align(counts.astype(object), [*loader.genes, "Nobody"])


@pytest.mark.parametrize(
    "form", [sp.coo_matrix, sp.csc_matrix, sp.lil_matrix, sp.coo_array]
)
def test_the_form_of_a_matrix_does_not_matter(loader, form):
    counts = builders.sparse_counts(3, 40, seed=1).toarray()
    found = loader.align(form(counts), loader.genes)
    np.testing.assert_array_equal(found, counts)
    whole = loader.embed(rna=counts)
    for other in (form(counts), counts.astype(np.float32), counts.astype(np.uint8)):
        np.testing.assert_array_equal(loader.embed(rna=other), whole)


def test_shapes_that_do_not_fit_are_refused(loader):
    counts = builders.sparse_counts(20, 40, seed=1)
    for rna, atac in ((counts[:5], counts), (counts, counts[:5])):
        for ask in (loader.embed, loader.logits, loader.batch):
            with pytest.raises(ValueError, match=r"5 of .*the same cells"):
                ask(rna=rna, atac=atac)
    for wrong in (counts[:, :39], counts.toarray()[0], np.ones((2, 3, 40))):
        with pytest.raises(ValueError, match=r"rna: \[cells, 40\] is needed, not \("):
            loader.embed(rna=wrong)
    for names in (loader.genes[1:], [*loader.genes, "Nobody"]):
        with pytest.raises(ValueError, match=r"is needed, not \(20, 40\)"):
            loader.align(counts, names)
    with pytest.raises(ValueError, match=r"name 'Gene' occurs 40 times"):
        loader.align(counts, ["Gene"] * 40)


def test_no_cells_have_no_vectors(loader):
    none = loader.align(np.zeros((0, 40), int), loader.genes)
    assert none.shape == (0, 40)
    assert loader.embed(rna=none, atac=sp.csr_matrix((0, 40))).shape == (0, 8)
    assert loader.logits(rna=none).shape == (0, len(loader.classes))
    assert loader.batch(rna=none)["rna"].shape == (0, 128)


# What it knows.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": {"tokens": "static_zeros"}}, r"tokens is 'static_zeros'"),
        ({"encoder": {"joint": "sum"}}, r"joint is 'sum'"),
        ({"genes_told": {"head": {"style": "new"}}}, r"head.style is 'new'"),
        ({"values_told": {"scale": 2}}, r"model.values_told.scale is not known"),
        ({"feature_order": "per_cell"}, r"feature_order is 'per_cell'"),
        ({"encoder": {"path": {"attention": "new"}}}, r"attention is 'new'"),
        ({"encoder": {"path": {"gates": 2}}}, r"model.encoder.path.gates is not known"),
        ({"head": {"twist": True}}, r"model.head.twist is not known"),
    ],
)
def test_what_it_does_not_know_is_refused_by_name(settings, message):
    with pytest.raises(NotImplementedError, match=message):
        evaluate.refuse_unknown(
            {"model": settings}, evaluate.COMPUTABLE, evaluate.FIELDS
        )


def test_it_knows_the_settings_of_this_version_and_no_others():
    for path, kind in {
        "model": export.ModelConfig,
        "model.encoder": CellEncoderConfig,
        "model.encoder.path": PerformerConfig,
        "model.head": CellTypeHeadConfig,
        "model.encoder.peaks": PeakEncoderConfig,
        "model.genes_told": export.GenesTold,
        "model.genes_told.head": GeneQueryConfig,
        "model.values_told": export.ValuesTold,
        "model.values_told.head": GeneQueryConfig,
    }.items():
        fields = {field.name for field in dataclasses.fields(kind)}
        assert set(evaluate.FIELDS[path].split()) == fields
    assert evaluate.READABLE["format"] == [export.FORMAT]
    assert evaluate.READABLE["format_version"] == [export.FORMAT_VERSION]


def test_a_changed_file_is_noticed(folders, tmp_path):
    for path in folders["counted"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "evaluate.py").write_text("print('other')")
    with pytest.raises(ValueError, match=r"evaluate.py: differs from the sha256"):
        evaluate.Model(tmp_path)
    del config["companions"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    evaluate.Model(tmp_path).check()
    del config["sha256"]["reference.safetensors"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    reference = evaluate.read_tensors(tmp_path / "reference.safetensors")
    moved = {**reference, "embedding": reference["embedding"] + np.float32(0.1)}
    safetensors_numpy.save_file(moved, tmp_path / "reference.safetensors")
    with pytest.raises(ValueError, match=r"differs by 0.1 from the reference"):
        evaluate.Model(tmp_path).check()


def test_run_as_a_program_it_checks_its_folder(folders, tmp_path):
    program = folders["counted"] / "evaluate.py"
    for given in ([], [str(folders["rounded"])]):
        command = [sys.executable, "-B", str(program), *given]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        words, _, difference = done.stdout.rpartition(" ")
        assert words == "reference recomputed, largest difference"
        assert float(difference) < 1e-3
