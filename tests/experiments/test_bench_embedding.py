"""The benchmark of embedding runs, and says what it measured."""

import json

import pytest

from experiments.bench import embedding


@pytest.mark.long
def test_both_sizes_are_measured(tmp_path, capsys):
    rows = embedding.main(embedding.Config(cells=(300, 600), out=tmp_path))
    assert [row["cells"] for row in rows] == [300, 600]
    assert all(row["peak_mb"] >= row["before_mb"] > 0 for row in rows)
    assert "600 cells" in capsys.readouterr().out
    written = json.loads((tmp_path / "embedding.json").read_text())
    assert written["runs"] == rows
