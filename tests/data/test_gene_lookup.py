"""Genes by the names that people give them."""

import dataclasses

import numpy as np
import pytest

from scmultimodal.data import gene_lookup
from scmultimodal.schemas.errors import InputError
from tests import builders


@pytest.fixture
def vocabulary():
    """IDs ENSG00000 … and symbols Gene0 …; two genes are called Twice."""
    made = builders.gene_vocabulary(12)
    symbols = made.symbols.copy()
    symbols[[4, 7]] = "Twice"
    return dataclasses.replace(made, symbols=symbols)


def test_symbols_and_ids_with_or_without_version(vocabulary):
    names = ["Gene3", "ENSG00001", "ENSG00010.7", "ENSG00007"]
    assert gene_lookup.positions(vocabulary, names).tolist() == [3, 1, 10, 7]


def test_an_id_goes_before_a_symbol(vocabulary):
    symbols = vocabulary.symbols.copy().astype(object)
    symbols[0] = "ENSG00005"
    both = dataclasses.replace(vocabulary, symbols=symbols.astype(np.str_))
    assert gene_lookup.positions(both, "ENSG00005").tolist() == [5]


def test_a_gene_that_is_named_twice_counts_once(vocabulary):
    found = gene_lookup.positions(vocabulary, ["Gene3", "Gene2", "ENSG00003"])
    assert found.tolist() == [3, 2]


def test_unknown_genes_are_named_with_those_near_them(vocabulary):
    with pytest.raises(InputError) as caught:
        gene_lookup.positions(vocabulary, ["GENE11", "Gene3", "Sox2"])
    said = str(caught.value)
    assert said.startswith("genes: 2 of 3 are not in the model: 'GENE11' (near: Gene11")
    assert said.endswith("'Sox2'. Name them as in model.genes, by symbol or by ID.")
    with pytest.raises(InputError, match="'x4' and 2 more"):
        gene_lookup.positions(vocabulary, [f"x{i}" for i in range(7)])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("Twice", "'Twice' is the symbol of several: ENSG00004, ENSG00007"),
        ([], "no gene is named"),
    ],
)
def test_names_that_say_too_little(vocabulary, names, message):
    with pytest.raises(InputError, match=message):
        gene_lookup.positions(vocabulary, names)
