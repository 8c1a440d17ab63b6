"""The picture of peaks and the genes near them."""

import numpy as np
import pytest
from matplotlib import colormaps, image

from scmultimodal.evaluation.figures import links


def seen(path, side, shade):
    """Pixels of a band's colour in one of the two panels."""
    pixels = np.array_split(image.imread(path)[..., :3], 2, axis=1)[side]
    colour = np.array(colormaps["Blues"](shade)[:3])
    return int((np.abs(pixels - colour).max(-1) < 0.02).sum())


def counted(peaks_per_gene, genes_per_peak):
    return {
        "within_bp": [10_000, 50_000],
        "peaks_per_gene": peaks_per_gene,
        "genes_per_peak": genes_per_peak,
    }


def test_bars_are_as_high_as_there_are_genes_and_peaks(tmp_path):
    """Of the near band, of the genes half as much in bar 0 as of the peaks."""
    found = counted([[10, 0], [0, 10]], [[4, 0], [0, 4]])
    path = links.link_counts(found, tmp_path / "a.png")
    areas = [seen(path, side, shade) for side in (0, 1) for shade in (0.4, 1.0)]
    assert min(areas) > 1_000
    assert max(areas) == pytest.approx(min(areas), rel=0.1)


def test_bars_of_one_panel_add_up_to_all_genes(tmp_path):
    """However they are spread: the area is the same share of the highest bar's."""
    one = links.link_counts(counted([[0, 8], [8]], [[8], [8]]), tmp_path / "one.png")
    found = counted([[0, 4, 4], [8]], [[8], [8]])
    two = links.link_counts(found, tmp_path / "two.png")
    # The second panel is the same in both.
    assert seen(one, 1, 0.4) == seen(two, 1, 0.4)
    assert seen(one, 0, 0.4) == pytest.approx(seen(two, 0, 0.4), rel=0.1)


def test_a_long_tail_is_one_bar(tmp_path):
    """It is as high as the panel, and dwarfs bars that alone would fill the panel."""
    flat = counted([[1] * 24] * 2, [[5], [5]])
    tail = counted([[1] * 90] * 2, [[5], [5]])
    full = seen(links.link_counts(flat, tmp_path / "flat.png"), 0, 1.0)
    one_of_25 = seen(links.link_counts(tail, tmp_path / "tail.png"), 0, 1.0)
    assert 0.02 * full < one_of_25 < 0.1 * full


def test_no_gene_and_no_peak_are_drawn_too(tmp_path):
    path = links.link_counts(counted([[0], [0]], [[0], [0]]), tmp_path / "a.png")
    assert image.imread(path).shape[1] > 1_000


@pytest.mark.parametrize("anchor", ["tss", "body", "tss_and_body"])
def test_names_and_notes_are_no_formulas(tmp_path, anchor):
    found = counted([[1, 2], [3]], [[1], [1]])
    path = tmp_path / "a.png"
    links.link_counts(found, path, anchor=anchor, name="a$\\b{$", note="$^$")
    assert path.is_file()
