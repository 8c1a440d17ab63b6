"""Arithmetic of TPUs: by hand, its properties, and against what is traced."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.bench.shape import Shape, step_flop
from scmultimodal.data.store import Store
from scmultimodal.ops import flop
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.schemas.status import Status
from scmultimodal.training import parallel
from scmultimodal.training.optimizers import build_optimizer
from scmultimodal.training.state import begin
from scmultimodal.workflows import presets, pretrain_batches, pretrain_tasks
from scmultimodal.workflows.pretrain_config import PretrainConfig
from tpu.scaling import __main__ as scaling
from tpu.scaling import footprint, formulae, measuring, tables
from tpu.scaling.case import Assumptions, Case
from tpu.scaling.chips import CHIPS, GIB
from tpu.scaling.footprint import Cells, Network

README = Path(__file__).parents[2] / "tpu" / "README.md"
RATES = st.floats(1e3, 1e15)
SIZES = st.floats(1, 1e12)
COUNTS = st.integers(1, 10_000)


# By hand.


def test_batches_that_fit_by_hand():
    # Half of 1,000 bytes, less 100: four cells of 90 are 360, five are 450.
    assert formulae.largest_batch(1_000, usable=0.5, fixed=100, per_cell=90) == 4
    assert formulae.largest_batch(1_000, usable=0.5, fixed=600, per_cell=90) == 0
    assert formulae.parts(12, largest=4) == 3
    assert formulae.parts(12, largest=5) == 3
    assert formulae.parts(7, largest=6) == 7
    assert formulae.parts(8, largest=100) == 1
    assert formulae.parts(8, largest=0) is None
    assert formulae.chips_for(256, largest=53) == 5
    assert formulae.chips_for(256, largest=0) is None


def test_times_by_hand():
    # Ten cells of 5 TFLOP at a quarter of 200 TFLOP/s.
    assert formulae.compute_seconds(5e12, 10, peak=200e12, utilisation=0.25) == 1
    # Each of four sends 3/4 of 100 bytes, twice, at 50 a second; six steps, twice.
    assert formulae.ici_seconds(100, 4, 50, steps=6, hop=0.1) == pytest.approx(4.2)
    assert formulae.ici_seconds(100, 1, 50, steps=0, hop=0.1) == 0
    # A chip's fifth of 100 bytes, in four pieces, six steps of 5 / 10 + 0.25 s.
    assert formulae.dcn_seconds(100, 4, 5, 10, latency=0.25) == pytest.approx(4.5)
    assert formulae.dcn_seconds(100, 1, 5, 10, latency=0.25) == 0
    assert formulae.efficiency(3, 1) == 0.75
    assert formulae.efficiency(3, 1, overlapped=True) == 1
    assert formulae.efficiency(1, 4, overlapped=True) == 0.25


def test_hops_by_hand():
    assert formulae.hops(1, axes=2) == 0
    assert formulae.hops(256, axes=2) == 30  # 16 × 16
    assert formulae.hops(4_096, axes=3) == 45  # 16 × 16 × 16
    assert formulae.hops(8, axes=2) == 4  # 2 × 4, as 3 × 3


def test_memory_limits_the_rate_by_hand():
    # 100 operations need 50 bytes: at 10 bytes a second, 20 of 80 operations.
    assert formulae.utilisation_by_memory(100, 50, peak=80, memory_rate=10) == 0.25
    assert formulae.utilisation_by_memory(100, 1, peak=80, memory_rate=10) == 1


def test_copies_by_hand():
    assert formulae.cell_bytes(894, 5) == 4_470
    # Ten hosts take 10 s at their own rate, 50 s at what the bucket gives.
    assert formulae.copy_seconds(100, 10, per_host=10, of_bucket=20) == 50
    assert formulae.copy_seconds(100, 1, per_host=10, of_bucket=20) == 10
    assert formulae.hosts_in(50, 100, of_bucket=20) == 10


def test_losses_by_hand():
    assert formulae.best_interval(2, between=10_000) == 200
    # Saved 2 of 200 s; of 10,000 s, 100 are done again and 300 waited.
    found = formulae.lost_share(200, 2, between=10_000, restart=300)
    assert found == pytest.approx(0.05)
    # 2 + 100 + 300 are less than a tenth of 10,000, and more than one of 4,000.
    assert formulae.are_rare(200, 2, between=10_000, restart=300)
    assert not formulae.are_rare(200, 2, between=4_000, restart=300)


# Properties.


@given(compute=SIZES, reduce=SIZES)
def test_efficiency_is_a_share_and_overlap_helps(compute: float, reduce: float):
    apart = formulae.efficiency(compute, reduce)
    assert 0 < apart <= formulae.efficiency(compute, reduce, overlapped=True) <= 1


@given(size=SIZES, chips=COUNTS, more=COUNTS, rate=RATES, hop=st.floats(0, 1))
def test_more_chips_never_reduce_faster(
    size: float, chips: int, more: int, rate: float, hop: float
):
    def within(chips: int) -> float:
        return formulae.ici_seconds(size, chips, rate, formulae.hops(chips, 3), hop)

    assert within(chips) <= within(chips + more)

    def across(slices: int) -> float:
        return formulae.dcn_seconds(size, slices, chips, rate, hop)

    assert across(more) <= across(more + 1)


@given(cells=st.integers(1, 512), largest=st.integers(1, 512))
def test_parts_are_equal_fit_and_are_the_fewest(cells: int, largest: int):
    found = formulae.parts(cells, largest)
    assert found is not None
    assert cells % found == 0
    assert cells // found <= largest
    assert all(cells % p or cells // p > largest for p in range(1, found))


@given(save=st.floats(0.1, 100), between=st.floats(1e4, 1e6), factor=st.floats(0.1, 9))
def test_no_interval_loses_less_than_the_best(
    save: float, between: float, factor: float
):
    def lost(interval: float) -> float:
        return formulae.lost_share(interval, save, between, restart=60)

    best = formulae.best_interval(save, between)
    assert lost(best) <= lost(factor * best) + 1e-12


@pytest.mark.parametrize("name", CHIPS)
def test_efficiency_falls_with_chips_of_one_topology(name: str):
    case = scaling.cases(Assumptions())[name]
    closed = [n for n in (64, 128, 256, 512, 1_024, 4_096) if n >= case.chip.wraps_from]
    for overlapped in (False, True):
        found = [case.efficiency(n, overlapped=overlapped) for n in closed]
        assert found == sorted(found, reverse=True)
        assert all(0 < share <= 1 for share in found)


# Chips.


def test_links_fit_the_published_all_reduce_of_a_pod():
    # All-reduce bandwidth of a pod of 256 chips, on the pages of the two.
    assert CHIPS["v5e"].ici == pytest.approx(51.2e12 / 256)
    assert CHIPS["v6e"].ici == pytest.approx(102.4e12 / 256)
    # Six links of 4,800 Gbit/s in all, both ways.
    assert CHIPS["v5p"].ici == pytest.approx(4_800e9 / 8)


def test_memory_is_that_of_the_generations():
    assert {name: chip.memory / GIB for name, chip in CHIPS.items()} == {
        "v4": 32,
        "v5e": 16,
        "v5p": 95,
        "v6e": 32,
    }


# A case.


@pytest.fixture
def case() -> Case:
    """Round numbers on v5e."""
    memory = {"1": (1_010, 90), "3": (1_030, 270)}
    network = Network(
        genes=10, parameters=100, flop=2e9, traffic=1e9, tokens=15, batch_size=16,
        steps=5, memory=memory, device="cpu", jax="0", revision=None,
    )  # fmt: skip
    prepared = Cells(
        name="ten", nonzero={"rna": 0.1, "atac": 0.5}, stored={"rna": 5, "atac": 4},
        read={"rna": 3, "atac": 3}, other=7,
    )  # fmt: skip
    return Case(
        assumed=Assumptions(utilisation=0.5, cells=1_000, save_megabytes=1e-3),
        network=network,
        prepared=prepared,
        chip=CHIPS["v5e"],
    )


def test_memory_is_split_into_fixed_and_per_cell(case: Case):
    assert case.network.per_cell == 100  # 1,100 of one cell, 1,300 of three
    assert case.network.fixed == 1_000
    assert case.network.state == 1_000
    assert case.network.reduced == 1_000 - 2 * 4 * 100


def test_a_case_by_hand(case: Case):
    by_memory = dataclasses.replace(case, assumed=Assumptions())
    assert case.largest_batch == (8 * GIB - 1_000) // 100
    assert case.compute_seconds(8) == pytest.approx(8 * 2e9 / (0.5 * 197e12))
    assert by_memory.utilisation == pytest.approx(2 * 819e9 / 197e12)
    assert case.stored_bytes(("rna",)) == 1_000 * (5 + 7)
    assert case.stored_bytes(("rna", "atac")) == 1_000 * (5 + 20 + 7)
    # 15 tokens are averaged, of 10 genes; a cell with RNA alone has 10, with both 20.
    one, both = 1.5 * case.cells_a_second, 0.75 * case.cells_a_second
    assert case.read_rate(("rna",)) == pytest.approx(4 * one * 3)
    assert case.read_rate(("rna", "atac")) == pytest.approx(4 * both * (3 + 15))
    assert case.reads_a_second(("rna",)) == pytest.approx(4 * one * 2)
    assert case.reads_a_second(("rna", "atac")) == pytest.approx(4 * both * 4)
    assert case.save_seconds == 1


def test_more_hosts_lose_more_often_and_copy_longer(case: Case):
    assumed = Assumptions(cells=1e9, machine_hours=64, restart_minutes=5)
    case = dataclasses.replace(case, assumed=assumed)
    # 12 GB at 10 Gbit/s a host, 200 to all.
    assert case.copy_seconds(20, ("rna",)) == pytest.approx(9.6)
    assert case.copy_seconds(64, ("rna",)) == pytest.approx(64 * 12 / 25)
    between, restart = case.loss_seconds(64, ("rna",))
    assert (between, restart) == (3_600, pytest.approx(300 + 30.72))
    assert case.loss_seconds(1, ("rna",))[0] == 64 * 3_600
    table = tables.of_checkpoints({"v5e": case}).splitlines()
    lost = {line.split("|")[1]: line.split("|")[2].strip() for line in table}
    of_rna = [cell for name, cell in lost.items() if name.startswith(" RNA, ")]
    # A loss every 32, 8, 2, 0.5, … h; 5 min are less than a tenth of the first three.
    assert [cell == "–" for cell in of_rna] == [False] * 3 + [True] * 3


def test_slices_are_joined_by_the_data_centre(case: Case):
    assert [case.slices(n) for n in (8, 256, 512, 4_096)] == [1, 1, 2, 16]
    inside = formulae.ici_seconds(200, 256, 200e9, 30, 1e-6)
    across = formulae.dcn_seconds(200, 2, 256, 25e9 / 8, 100e-6)
    assert case.reduce_seconds(512) == pytest.approx(inside + across)
    # A slice that is no torus has half of the bandwidth.
    open_ended = formulae.ici_seconds(200, 64, 100e9, 14, 1e-6)
    assert case.reduce_seconds(64) == pytest.approx(open_ended)
    step = case.step_seconds(64, 4)
    assert step == pytest.approx(case.compute_seconds(4) + open_ended)
    assert case.hours(1_024, 64, 4) == pytest.approx(4 * step / 3_600)


def test_slices_that_are_not_equal_are_refused(case: Case):
    assumed = dataclasses.replace(case.assumed, slice_chips=3)
    with pytest.raises(InputError, match=r"--slice-chips: is 3. Give a divisor of 64"):
        dataclasses.replace(case, assumed=assumed).slices(64)


# What was measured.


def test_memory_of_the_study_grows_with_its_cells():
    network = footprint.network("study")
    for cells, sizes in network.memory.items():
        expected = network.fixed + int(cells) * network.per_cell
        assert sum(sizes) == pytest.approx(expected, rel=0.02)


@pytest.fixture(scope="module")
def study_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Made-up cells of as many genes as the study has."""
    folder = tmp_path_factory.mktemp("study") / "cells"
    return measuring.made_up_store(folder, measuring.GENES)


def test_what_is_kept_of_the_study_is_what_is_traced(study_store: Store):
    kept = footprint.network("study")
    remedy = "run `python -m tpu.scaling.measuring --preset study`"
    params, forward = _forward(study_store, presets.STUDY.pretrain, Regime.MULTIOME)
    # RNA, ATAC and both in turn: four paths in three batches, of two at most.
    assert kept.flop == pytest.approx(3 * flop.of_products(forward) * 2 / 3), remedy
    assert kept.parameters == sum(leaf.size for leaf in jax.tree.leaves(params)), remedy
    assert kept.tokens == pytest.approx(4 / 3 * kept.genes)
    assert kept.batch_size == presets.STUDY.pretrain.batch_size, remedy
    assert kept.steps == presets.STUDY.pretrain.steps, remedy


def test_the_arithmetic_of_the_study_by_hand():
    shape = Shape()
    # Both paths are asked for the tokens that either modality hides.
    of_both = 2 * step_flop(shape, last_layer_rows=2 * shape.predicted)
    assert footprint.network("study").flop == pytest.approx(of_both * 2 / 3, rel=0.01)


def test_products_are_what_xla_counts(tmp_path: Path):
    # One layer of one chunk: XLA counts the body of a loop once.
    path = dataclasses.replace(presets.STUDY.pretrain.path, num_layers=1, chunk=256)
    config = dataclasses.replace(presets.STUDY.pretrain, path=path)
    store = measuring.made_up_store(tmp_path / "cells", genes=256)
    task, cell, shapes = _task(store, config, Regime.RNA)

    def loss(params: Any, network_state: Any) -> jax.Array:
        rng = jax.random.PRNGKey(0)
        return task.loss(params, network_state, rng, cell, is_training=False)[0][0]

    counted = jax.jit(loss).lower(*shapes).compile().cost_analysis()
    assert counted is not None
    ours = flop.of_products(jax.make_jaxpr(loss)(*shapes))
    # XLA also counts what is no product.
    assert ours <= counted["flops"] <= 1.15 * ours


def test_a_small_network_is_measured(tmp_path: Path):
    path = dataclasses.replace(presets.SMALL.pretrain.path, num_layers=0)
    config = dataclasses.replace(presets.SMALL.pretrain, path=path)
    found = measuring.measure_network(config, genes=40, batches=(2, 4))
    store = measuring.made_up_store(tmp_path / "cells", genes=40)
    params, forward = _forward(store, config, Regime.MULTIOME)
    assert found.flop == pytest.approx(2 * flop.of_products(forward))
    assert found.parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert found.per_cell > 0
    assert found.tokens == pytest.approx(40 * 4 / 3)
    # One read of the weights of a batch of one, at least.
    assert found.traffic > 4 * found.flop / (2 * 40)
    added_up = _added_up(store, config)
    assert added_up == pytest.approx(found.reduced, abs=200)


def test_prepared_cells_are_weighed(tmp_path: Path):
    store = measuring.made_up_store(tmp_path / "cells", genes=500, cells=6)
    found = measuring.measure_cells(store)
    for modality in ("rna", "atac"):
        number = store.nonzeros_per_cell(modality).sum()
        assert found.nonzero[modality] == pytest.approx(number / 6 / 500)
        # A file of numpy begins with 128 bytes; genes take two each, bins one, and
        # counts, here one, two in a corpus with a single one above 255.
        assert found.stored[modality] == pytest.approx(5 + 2 * 128 / number)
        assert found.read[modality] == pytest.approx(3 + 2 * 128 / number)
    files = {p.name: p.stat().st_size for p in store.path.rglob("*") if p.is_file()}
    pointers = files["rna.indptr.npy"] + files["atac.indptr.npy"]
    flags = files["present.rna.npy"] + files["present.atac.npy"]
    assert found.other == pytest.approx((files["obs.json"] + pointers + flags) / 6)


def test_figures_are_kept_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    study, prepared = footprint.network("study"), footprint.cells()
    monkeypatch.setattr(footprint, "FILE", tmp_path / "footprint.json")
    with pytest.raises(InputError, match=r"tpu.scaling.measuring --preset study"):
        footprint.network("study")
    with pytest.raises(InputError, match=r"tpu.scaling.measuring --store DATASET"):
        footprint.cells()
    footprint.keep_cells(prepared)
    footprint.keep_network("study", study)
    small = dataclasses.replace(study, genes=7)
    footprint.keep_network("small", small)
    assert footprint.cells() == prepared
    assert footprint.network("study").state == study.state
    assert footprint.network("small").genes == 7


# The command and the README.


def test_tables_of_the_readme_are_what_the_command_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert scaling.main([]) == Status.DONE
    printed = capsys.readouterr().out
    text = README.read_text("utf-8")
    for name, filled in scaling.sections(scaling.cases(Assumptions())).items():
        place = f"<!-- {name} -->\n\n{filled}\n\n<!-- end of {name} -->"
        assert place in text, "run `python -m tpu.scaling --readme tpu/README.md`"
        assert filled in printed
    assert text.endswith("<!-- end of scaling -->\n")
    of_data = text[text.index("**Data.**") : text.index("**Checkpoints.**")]
    assert "SCMULTIMODAL_WORK" in of_data
    assert "SCMULTIMODAL_CACHE" not in of_data  # Pods fetch by inputs.py.
    copy = tmp_path / "README.md"
    copy.write_text(text.replace("| peak", "| pique"), "utf-8")
    assert scaling.main(["--readme", str(copy)]) == Status.DONE
    assert copy.read_text("utf-8") == text


def test_one_accelerator_and_a_price(capsys: pytest.CaptureFixture[str]):
    assert scaling.main(["--accelerator", "v5p", "--price", "2"]) == Status.DONE
    lines = capsys.readouterr().out.splitlines()
    assert "| of a chip | v5p |" in lines
    case = scaling.cases(Assumptions(accelerator="v5p"))["v5p"]
    cost = 2 * 8 * case.hours(10_000 * 256, 8, 32)
    assert f"| 8 chips: cost | {cost:,.2f} |" in lines


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"utilisation": 1.5}, r"--utilisation: is 1.5. Give a share, up to 1"),
        ({"cells_per_chip": 0}, r"--cells-per-chip: is 0. Give a number above 0"),
        ({"cells": math.nan}, r"--cells: is nan. Give a number above 0"),
        ({"price": -1.0}, r"--price: is -1.0. Give a number above 0"),
    ],
)
def test_wrong_assumptions_are_named(wrong: dict[str, float], said: str):
    with pytest.raises(InputError, match=said):
        Assumptions(**wrong)


def test_what_does_not_fit_is_said_with_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert scaling.main(["--slice-chips", "3"]) == Status.GIVE_UP
    assert "--slice-chips: is 3. Give a divisor of 8." in capsys.readouterr().err
    empty = tmp_path / "empty.md"
    empty.touch()
    assert scaling.main(["--readme", str(empty)]) == Status.GIVE_UP
    assert "has no place" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"absent.md: is no file"):
        scaling.Command(readme=Path("absent.md"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, r"measuring: has nothing to do"),
        ({"preset": "study", "batches": (4,)}, r"--batches: are \(4,\)"),
        ({"preset": "study", "batches": (0, 4)}, r"--batches: are \(0, 4\)"),
    ],
)
def test_measuring_wants_something_to_measure(wrong: dict[str, Any], said: str):
    with pytest.raises(InputError, match=said):
        measuring.Command(**wrong)


def test_measuring_says_what_is_no_dataset(capsys: pytest.CaptureFixture[str]):
    assert measuring.main(["--store", "absent"]) == Status.GIVE_UP
    assert "absent" in capsys.readouterr().err


def test_measuring_keeps_what_it_weighed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(footprint, "FILE", tmp_path / "footprint.json")
    store = measuring.made_up_store(tmp_path / "cells", genes=50)
    assert measuring.main(["--store", str(store.path)]) == Status.DONE
    assert footprint.cells() == measuring.measure_cells(store)
    assert json.loads((tmp_path / "footprint.json").read_text())["cells"]


def _task(store: Store, config: PretrainConfig, regime: Regime) -> tuple[Any, Any, Any]:
    """Objective, a batch of one cell, and shapes of parameters and network state."""
    task = pretrain_tasks.make_task(store, config)
    cell = pretrain_batches.make_builder(store, config).build(np.arange(1), regime)
    return task, cell, jax.eval_shape(task.init, jax.random.PRNGKey(0), cell)


def _forward(store: Store, config: PretrainConfig, regime: Regime) -> tuple[Any, Any]:
    """(shapes of the parameters, the traced loss of a cell)."""
    task, cell, (params, network_state) = _task(store, config, regime)

    def loss(params: Any, network_state: Any) -> Any:
        rng = jax.random.PRNGKey(0)
        return task.loss(params, network_state, rng, cell, is_training=False)

    return params, jax.make_jaxpr(loss)(params, network_state)


def _added_up(store: Store, config: PretrainConfig) -> int:
    """Bytes that a mapped step hands to its collectives."""
    task, cell, (params, network_state) = _task(store, config, Regime.MULTIOME)
    optimizer = build_optimizer(config.optimizer, params, 1_000)
    rng = jax.random.PRNGKey(0)
    state = jax.eval_shape(
        lambda params, network: begin(params, network, optimizer, rng),
        params,
        network_state,
    )
    over = parallel.build("pmap", jax.local_devices()[:1])
    step = over.train_step(task, optimizer)
    traced = jax.make_jaxpr(step)(*over.shapes(state, cell), over.vote(None))
    return sum(
        variable.aval.size * variable.aval.dtype.itemsize
        for equation in _equations(traced.jaxpr)
        if equation.primitive.name.startswith("psum")
        for variable in equation.invars
    )


def _equations(jaxpr: Any) -> Any:
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if hasattr(inner, "jaxpr"):
                    yield from _equations(inner.jaxpr)
                elif hasattr(inner, "eqns"):
                    yield from _equations(inner)
