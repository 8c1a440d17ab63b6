"""Segmenting takes memory for a few windows, however long a chromosome is."""

import json
import subprocess
import sys
import textwrap

import pytest

from scmultimodal.genome.elements import ELEMENTS
from scmultimodal.weights import genome_model
from tests import builders

MEASURED = """
    import json, resource, sys
    from pathlib import Path
    from scmultimodal.workflows import genome_inference, segment_genome

    model = genome_inference.open_any(sys.argv[1])
    found = segment_genome.run(model, Path(sys.argv[2]), Path(sys.argv[3]), figures=1)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([found.bases, peak_mb]))
"""


@pytest.mark.long
def test_memory_does_not_grow_with_the_sequence(tmp_path):
    model = builders.segmenter_model(elements=ELEMENTS, window_bp=2_400)
    genome_model.save(model, tmp_path / "model")
    peaks = {}
    for length in (100_000, 3_000_000):
        fasta, out = tmp_path / f"{length}.fa", tmp_path / f"{length}"
        fasta.write_bytes(builders.fasta({"chr1": builders.dna(length)}))
        arguments = [str(tmp_path / "model"), str(fasta), str(out)]
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(MEASURED), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        bases, peaks[length] = json.loads(done.stdout.splitlines()[-1])
        assert bases == length
    print(peaks)
    # All probabilities of the longer one would be 168 MB.
    assert peaks[3_000_000] - peaks[100_000] < 60
