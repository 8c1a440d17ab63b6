"""Figures of benchmarks that README and site show are those that are kept."""

import json
import sys

import pytest

from experiments.bench import kept
from scmultimodal.schemas.errors import InputError

PRINTED = """| loader | cells/s |
|---|---:|
| ours | 9 |
| theirs |  |

Left out: another (absent)."""


@pytest.mark.parametrize("name", kept.read())
def test_the_readme_has_the_tables_that_are_kept(name):
    """After a change of either: `python -m experiments.bench.kept`."""
    text = (kept.ROOT / "README.md").read_text("utf-8")
    place = text.partition(f"<!-- {name} -->\n\n")[2].partition("\n\n<!-- end")[0]
    assert place == kept.markdown(kept.read()[name])


def test_a_figure_says_what_made_it_and_leaves_the_others(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    monkeypatch.setattr(sys, "argv", ["/x/loading.py", "--minutes", "2"])
    kept.keep("loading", PRINTED, path)
    kept.keep("another", PRINTED.replace("9", "8"), path)
    kept.keep("loading", PRINTED.replace("9", "7"), path)
    tables = kept.read(path)
    assert tables["loading"]["rows"] == [["ours", "7"], ["theirs", ""]]
    assert tables["another"]["rows"][0] == ["ours", "8"]
    command = "python -m experiments.bench.loading --minutes 2"
    assert tables["loading"]["command"] == command
    assert {"revision", "machine"} <= set(tables["loading"])
    assert kept.markdown(tables["another"]) == (
        "| loader | cells/s |\n|---|---:|\n| ours | 8 |\n| theirs |  |"
    )


def test_a_page_is_filled_or_stays(tmp_path):
    page, figures = tmp_path / "page.md", tmp_path / "results.json"
    kept.keep("one", PRINTED, figures)
    page.write_text("a\n<!-- one -->\nold\n<!-- end of one -->\nb\n")
    kept.fill(page, figures)
    table = kept.markdown(kept.read(figures)["one"])
    filled = f"a\n<!-- one -->\n\n{table}\n\n<!-- end of one -->\nb\n"
    assert page.read_text() == filled
    kept.keep("two", PRINTED, figures)
    with pytest.raises(InputError, match=r"has no place, or several, .*'two'"):
        kept.fill(page, figures)
    assert page.read_text() == filled


def test_damaged_figures_are_named(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"one": {}})[:-1])
    with pytest.raises(InputError, match=r"results\.json: cannot be read"):
        kept.read(path)
