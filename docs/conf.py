"""The documentation site: `make docs` builds it, without network, in build/site."""

import hashlib
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]


def _digest_of_code() -> str:
    """Names the cache of executed tutorials: new code runs them again."""
    rooms = ("scmultimodal", "experiments", "tpu")
    files = sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


project = "scmultimodal"
author = "the authors of scmultimodal"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "extension",
]
exclude_patterns = ["README.md"]
root_doc = "index"
suppress_warnings = ["mystnb.unknown_mime_type"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# Tutorials run in folders of their own, by the Python that builds the site.
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / "tutorials" / _digest_of_code())
nb_execution_in_temp = True
nb_execution_timeout = 3_600
nb_execution_raise_on_error = True
nb_merge_streams = True
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ |= {"JAX_PLATFORMS": "cpu", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
os.environ["PYTHONPATH"] = str(ROOT)
# Nearly all of the tutorials' time goes into compiling what runs for an instant.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
)

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "scmultimodal"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_show_copyright = False
html_use_index = False
html_domain_indices = False
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"
