"""Pictures of the page, to be looked at: `make test-docs` leaves them in build/."""

import numpy as np
import pytest

from scmultimodal.evaluation.view import page
from scmultimodal.evaluation.view.content import Category, Layout, Number
from scmultimodal.evaluation.view.page import Panel
from tests import view_pages
from tests.docs import pages
from tests.view_browser import opened, turn_to

pytestmark = pytest.mark.docs

SCREENSHOTS = pages.ROOT / "build" / "screenshots"
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
TABS = ("cells", "genome", "confusion", "curves")
TYPES = ("Astrocyte", "Excitatory neuron, layer 2/3", "Microglia", "Oligodendrocyte")
TYPES += ("Inhibitory neuron, Sst", "Endothelial", "Not named before")
STEPS = range(0, 2_001, 100)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A page of clouds of cells, two long trainings and seven types."""
    return page.write_page(
        tmp_path_factory.mktemp("full") / "view.html",
        title="Run of a name of some length",
        subtitle="Cell types · mouse cortex",
        cells=_clouds(np.random.default_rng(0), 3_000),
        loci=[view_pages.locus(), view_pages.locus(400)],
        confusions=[_confusion()],
        curves=[_curves()],
        panels=[Panel(name=name.lower(), title=name) for name in ("Scores", "Run")],
        banner="Simulated data, no biology: run",
    )


def _clouds(rng, count):
    """Cells around a centre for each type; some are of none."""
    codes = rng.integers(-1, len(TYPES), count)
    angles = 2 * np.pi * codes / len(TYPES)
    centres = 6 * np.stack([np.cos(angles), np.sin(angles)], 1)
    places = (centres + rng.normal(size=(count, 2))).astype(np.float32)
    sure = rng.uniform(size=count).astype(np.float32)
    return view_pages.cells(
        count,
        classes=TYPES,
        layouts=[Layout(name="fine-tuned vectors", how="UMAP", places=places)],
        fields=[
            Category(name="type", classes=TYPES, codes=codes, named=True),
            Number(name="confidence", values=sure, ends=(0.0, 1.0)),
        ],
    )


def _confusion():
    sizes = np.diag(np.arange(len(TYPES)) * 30 + 20)
    counts = (sizes + 4 + 9 * np.eye(len(TYPES), k=1)).astype(int).tolist()
    models = [
        {"name": name, "is_baseline": place > 0, "counts": counts}
        for place, name in enumerate(("scmultimodal", "logistic_regression"))
    ]
    return {"name": "rna", "classes": list(TYPES), "models": models}


def _curves():
    metrics = ("loss", "masked accuracy", "nats")
    trainings = []
    for place, name in enumerate(("fine-tuning, rna", "fine-tuning, atac", "scratch")):
        series = [
            {
                "metric": metric,
                "split": split,
                "steps": list(STEPS),
                "values": [
                    None if metric == "nats" else gap + 2 / (1 + place + step / 300)
                    for step in STEPS
                ],
            }
            for metric in metrics
            for split, gap in (("train", 0.0), ("validation", 0.1))
        ]
        trainings.append({"name": name, "series": series})
    described = [{"name": m, "title": m, "lower_is_better": True} for m in metrics]
    return {"name": "Fine-tuning", "metrics": described, "trainings": trainings}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_tab_fits_its_window(chromium, full, width, theme):
    across, down = WIDTHS[width]
    chromium.dark(theme == "dark")
    with opened(chromium, full, width=across, height=down):
        for name in TABS:
            turn_to(chromium, name)
            path = SCREENSHOTS / width / "run" / f"{name}-{theme}.png"
            chromium.shoot(path)
            assert chromium.value("document.documentElement.scrollWidth") <= across
    chromium.dark(False)


def test_the_tab_of_an_address_is_in_view(chromium, full):
    chromium.dark(False)
    with opened(chromium, full, width=320, height=640):
        chromium.value("{ location.hash = 'run'; }")
        chromium.wait("document.body.dataset.panel === 'run'")
        right = "document.querySelector('[aria-selected=true]').getBoundingClientRect()"
        assert chromium.value(f"{right}.right") <= 320


@pytest.mark.parametrize("width", WIDTHS)
def test_the_letters_of_curves_are_whole_and_of_one_size(chromium, full, width):
    across, down = WIDTHS[width]
    with opened(chromium, full, width=across, height=down):
        turn_to(chromium, "curves")
        scale, over = chromium.value(
            "(() => { const svg = document.querySelector('#curves svg');"
            "const { right } = svg.getBoundingClientRect();"
            "return [svg.getScreenCTM().a, Math.max(...[...svg.querySelectorAll('.x')]"
            ".map((word) => word.getBoundingClientRect().right - right))]; })()"
        )
    assert scale == pytest.approx(1, abs=0.01)
    assert over <= 0
