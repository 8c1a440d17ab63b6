"""What somebody without the `eval` extra reads, and what they can do without it."""

import subprocess
import sys

import pytest

from scmultimodal.evaluation import extra
from scmultimodal.schemas.errors import InputError


def test_a_missing_package_is_one_line_with_the_remedy():
    with pytest.raises(InputError) as caught, extra.required():
        import no_such_package  # noqa: F401
    assert str(caught.value) == (
        "scmultimodal.evaluation: no_such_package is not installed. "
        "Run: pip install 'scmultimodal[eval]'."
    )


def test_scores_and_reports_need_no_extra():
    code = (
        "import sys\n"
        "import scmultimodal.evaluation.classification\n"
        "import scmultimodal.evaluation.report\n"
        "heavy = {'sklearn', 'matplotlib', 'umap', 'jax'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_figures_without_matplotlib_are_one_line_with_the_remedy():
    code = (
        "import sys\n"
        "sys.modules['matplotlib'] = None\n"
        "from scmultimodal.schemas.errors import InputError\n"
        "try:\n"
        "    from scmultimodal.evaluation.figures import links\n"
        "except InputError as error:\n"
        "    sys.exit('matplotlib is not installed' not in str(error))\n"
        "sys.exit('nothing was missing')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
