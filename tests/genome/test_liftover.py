"""Intervals from one assembly to another."""

import gzip
import random

import anndata
import numpy as np
import pandas as pd
import pytest

from scmultimodal.genome import liftover
from scmultimodal.schemas.errors import InputError

# chr1 100–200 goes to chrA 1000–1100, 210–300 after 40 new bases to 1140–1230; chr2
# 0–50 goes to the reverse strand of chrB, whose size is 500: base 0 to base 499.
CHAIN = """chain 900 chr1 1000 + 100 300 chrA 5000 + 1000 1230 1
100\t10\t40
90

chain 500 chr2 600 + 0 50 chrB 500 - 0 50 2
50
"""


@pytest.fixture
def chain(tmp_path):
    path = tmp_path / "old_to_new.chain"
    path.write_text(CHAIN)
    return path


def frame(*rows):
    return pd.DataFrame(rows, columns=["chrom", "start", "end"])


def test_by_hand(chain):
    peaks = frame(
        ("chr1", 110, 120), ("chr1", 200, 205), ("chr1", 190, 220), ("chr1", 150, 290),
        ("chr2", 10, 15), ("chr3", 1, 9), ("chr1", 100, 200), ("chr1", 210, 211),
    ).set_axis(list("abcdefgh"))  # fmt: skip
    lifted, outcome = result = liftover.lift(peaks, chain, max_change=0.25)
    assert outcome.tolist() == [
        "lifted", "lost", "resized", "lifted", "lifted", "lost", "lifted", "lifted",
    ]  # fmt: skip
    assert lifted.loc["a"].tolist() == ["chrA", 1010, 1020]
    assert lifted.loc["d"].tolist() == ["chrA", 1050, 1220]  # 140 bp, now 170
    assert lifted.loc["e"].tolist() == ["chrB", 485, 490]
    assert lifted.loc["g"].tolist() == ["chrA", 1000, 1100]
    assert lifted.loc["h"].tolist() == ["chrA", 1140, 1141]
    assert lifted.index.tolist() == list("adegh")
    assert result.report == {"lifted": 5, "lost": 2, "split": 0, "resized": 1}


def test_ends_on_two_chromosomes_are_split(tmp_path):
    path = tmp_path / "c.chain"
    path.write_text(CHAIN.replace("chr2 600 + 0 50", "chr1 1000 + 400 450"))
    peaks = frame(("chr1", 150, 430), ("chr1", 120, 150))
    assert liftover.lift(peaks, path).outcome.tolist() == ["split", "lifted"]


def test_two_places_are_split(tmp_path):
    path = tmp_path / "c.chain"
    path.write_text(CHAIN + CHAIN.replace("chrA", "chrC"))
    peaks = frame(("chr1", 120, 150), ("chr2", 1, 5))
    with pytest.raises(InputError, match="lifts none of 2 intervals"):
        liftover.lift(peaks, path)


def test_names_keep_their_style(chain):
    chain.write_text(CHAIN.replace("chrA", "chr7").replace("chrB", "chr8"))
    lifted = liftover.lift(frame(("1", 110, 120), ("2", 10, 15)), chain).intervals
    assert lifted["chrom"].tolist() == ["7", "8"]


def test_one_assembly_to_itself_changes_nothing(tmp_path):
    path = tmp_path / "same.chain"
    path.write_text("chain 1 chr1 9000 + 0 9000 chr1 9000 + 0 9000 1\n9000\n")
    rng = np.random.default_rng(0)
    start = rng.integers(0, 8_000, 50)
    peaks = pd.DataFrame(
        {"chrom": "chr1", "start": start, "end": start + rng.integers(1, 999, 50)}
    )
    pd.testing.assert_frame_equal(liftover.lift(peaks, path).intervals, peaks)


BROKEN = {
    "missing": (None, "does not exist"),
    "empty": ("", "holds no chain"),
    "no chain": ("chr1\t5\t9\n", "line 1 is"),
    "half a chain": ("\n".join(CHAIN.splitlines()[:2]), "ends within a chain"),
    "a short header": ("chain 900 chr1 1000 + 100\n", "line 1 is"),
    "a negative size": (CHAIN.replace("90\n\n", "-90\n\n"), "line 3 is '-90'"),
    "a strand": (CHAIN.replace("500 - 0", "500 x 0"), "line 5 is"),
    "letters": (CHAIN.replace("\n50", "\nab"), "line 6 is 'ab'"),
    "headers in a row": (CHAIN.splitlines()[0] + "\n" + CHAIN, "line 2 is"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_chains_are_errors_in_words(tmp_path, what):
    text, words = BROKEN[what]
    path = tmp_path / "broken.chain"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=rf"broken\.chain.*{words}"):
        liftover.lift(frame(("chr1", 110, 120)), path)


@pytest.mark.parametrize(
    "content",
    [gzip.compress(CHAIN.encode())[:-9], b"\x00\xff"],
    ids=["a gzip cut short", "bytes that are no text"],
)
def test_damaged_files(tmp_path, content):
    path = tmp_path / "broken.chain.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.chain\.gz"):
        liftover.lift(frame(("chr1", 110, 120)), path)


CHAIN_FILE = "liftover/hg19ToHg38.over.chain.gz"


def test_peaks_of_bone_marrow_as_their_authors_lifted_them(data_folder):
    path = data_folder / "granja_bmmc_scatac/granja_bmmc_scatac.h5ad"
    peaks = anndata.read_h5ad(path, backed="r").var
    lifted, outcome = liftover.lift(
        peaks[["chrom", "start", "end"]], data_folder / CHAIN_FILE
    )
    theirs = peaks[["chrom_hg38", "start_hg38", "end_hg38"]].set_axis(
        ["chrom", "start", "end"], axis=1
    )
    both = theirs.index.isin(lifted.index) & (theirs["start"] >= 0)
    same = (lifted.loc[theirs.index[both]] == theirs[both]).all(axis=1)
    lost = (theirs["start"] < 0) == (outcome != "lifted")
    print(f"{same.sum()} of {len(same)} alike; {lost.mean():.4f} alike in being lost")
    assert same.all()
    assert lost.mean() > 0.999


@pytest.mark.parity
def test_ends_lie_where_pyliftover_puts_them(data_folder):
    import pyliftover

    path = data_folder / CHAIN_FILE
    reference = pyliftover.LiftOver(str(path))
    draw = random.Random(0)
    chroms = [f"chr{n}" for n in (*range(1, 23), "X")]
    rows = []
    for _ in range(5_000):
        start = draw.randrange(48_000_000)
        rows.append((draw.choice(chroms), start, start + draw.randrange(1, 3_000)))
    peaks = frame(*rows)
    lifted, outcome = liftover.lift(peaks, path)
    assert {"lifted", "lost", "split"} <= set(outcome)
    for row, (chrom, start, end) in enumerate(rows):
        ends = [reference.convert_coordinate(chrom, at) for at in (start, end - 1)]
        if outcome[row] == "lost":
            assert not all(ends)
        if outcome[row] == "lifted":
            (new_chrom, *first), (_, *last) = ends[0][0][:2], ends[1][0][:2]
            low, high = sorted(first + last)
            assert lifted.loc[row].tolist() == [new_chrom, low, high + 1]
