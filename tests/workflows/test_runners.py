"""Whoever does the work, and whatever happens to workers: the same bytes."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import distributed
import mudata
import pytest

import scmultimodal
from scmultimodal import datasets
from scmultimodal.data.growing import GrowingArray
from scmultimodal.schemas.errors import InputError, PreemptedError
from scmultimodal.singlecell.recipe import RecipeConfig
from scmultimodal.workflows import (
    prepare_files,
    prepare_shards,
    process,
    provenance,
    runners,
)
from scmultimodal.workflows.prepare_config import PrepareConfig
from tests import builders
from tests.workflows import runner_tasks

WORKERS = 2
GENES = "gene_annotation_hg38/CollapsedGeneBounds.hg38.intGENCODEv43.bed.gz"


@pytest.fixture(scope="module", autouse=True)
def one_revision():
    """Whoever works on the code meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "git_revision", lambda: "tested")
        yield


@pytest.fixture(scope="module")
def cluster():
    """Two workers, on a machine where the usual ports of dask are taken."""
    with socket.socket() as scheduler, socket.socket() as dashboard:
        for taken, port in ((scheduler, 8786), (dashboard, 8787)):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taken.bind(("127.0.0.1", port))
                taken.listen()
            except OSError:
                pass  # by somebody else
        with runners.dask(None, WORKERS) as runner:
            yield runner


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Cells of both modalities, and of RNA by column, which must be sorted."""
    folder = tmp_path_factory.mktemp("files")
    with mudata.set_options(pull_on_update=False):
        builders.simulated_cells().write_h5mu(folder / "both.h5mu")
    rna = builders.simulated_cells(seed=2)["rna"]
    rna.X = rna.X.tocsc()
    rna.obs["cell_type"] = "type_0"
    rna.write_h5ad(folder / "rna.h5ad")
    genes = datasets.simulated_genes(builders.simulated_cells())
    genes.to_csv(folder / "genes.tsv", sep="\t", index=False)
    return folder


def run(files, out, runner):
    sources = prepare_files.Sources(
        files=[(files / "both.h5mu", "multiome"), (files / "rna.h5ad", "rna")],
        annotation=files / "genes.tsv",
    )
    config = PrepareConfig(
        label="cell_type", cells_per_shard=70, recipe=RecipeConfig(target_sum=None)
    )
    return prepare_files.run(sources, config, out, runner=runner, command="prepare")


@pytest.fixture(scope="module")
def expected(files, tmp_path_factory):
    """What one process makes of the files."""
    return contents(run(files, tmp_path_factory.mktemp("here") / "out", runners.Here()))


def contents(store):
    found = sorted(path for path in store.path.rglob("*") if path.is_file())
    return {str(path.relative_to(store.path)): path.read_bytes() for path in found}


def test_processes_write_the_same_bytes(files, expected, tmp_path):
    assert len(expected) > 10 * 8  # shards of eight arrays
    with runners.processes(WORKERS) as runner:
        assert contents(run(files, tmp_path / "out", runner)) == expected


def test_dask_writes_the_same_bytes(files, expected, cluster, tmp_path):
    assert contents(run(files, tmp_path / "out", cluster)) == expected


def test_so_does_a_cluster_that_runs_already(files, expected, cluster, tmp_path):
    address = cluster._client.scheduler.address
    assert address.startswith("tcp://")
    with runners.dask(address) as runner:
        assert contents(run(files, tmp_path / "out", runner)) == expected
    assert cluster._client.run(os.getpid).keys()


class KillingFromOutside:
    """Kills a worker when the first shard is there."""

    def __init__(self, inner):
        self.inner, self.killed = inner, None

    def map(self, function, shared, items):
        results = self.inner.map(function, shared, items)
        if function is prepare_shards.write_part and self.killed is None:
            yield next(results)
            self.killed = next(iter(self.inner._client.run(os.getpid).values()))
            os.kill(self.killed, signal.SIGKILL)
        yield from results


def test_a_worker_that_is_killed_changes_nothing(files, expected, cluster, tmp_path):
    runner = KillingFromOutside(cluster)
    assert contents(run(files, tmp_path / "out", runner)) == expected
    assert runner.killed not in cluster._client.run(os.getpid).values()
    assert list(tmp_path.glob(".out*")) == []


@pytest.mark.long
def test_so_it_is_with_real_cells(data_folder, cluster, tmp_path):
    """Multiome, and Granja's peaks lifted: 25 shards."""
    sources = prepare_files.Sources(
        files=[
            (data_folder / "bmmc_multiome/bmmc_multiome_A.h5mu", "multiome"),
            (data_folder / "granja_bmmc_scatac/granja_bmmc_scatac.h5ad", "atac"),
        ],
        annotation=data_folder / GENES,
        chain=data_folder / "liftover/hg19ToHg38.over.chain.gz",
        lifted=[data_folder / "granja_bmmc_scatac/granja_bmmc_scatac.h5ad"],
    )
    config = PrepareConfig(label="cell_type", batch="batch", cells_per_shard=600)
    killing = KillingFromOutside(cluster)
    stores = [
        prepare_files.run(sources, config, tmp_path / name, runner=runner, command="")
        for name, runner in (("here", runners.Here()), ("dask", killing))
    ]
    assert killing.killed not in cluster._client.run(os.getpid).values()
    expected, found = map(contents, stores)
    assert len(stores[0].manifest["shards"]) == 25
    assert found == expected


class DyingHalfWay:
    """Lets the worker die that does a thing first: within a file, if it writes one."""

    def __init__(self, inner, folder):
        self.inner, self.folder = inner, folder

    def map(self, function, shared, items):
        return self.inner.map(
            runner_tasks.dies_once, (function, shared, self.folder), items
        )


def test_workers_that_die_half_way_leave_nothing(files, expected, cluster, tmp_path):
    (tmp_path / "died").mkdir()
    runner = DyingHalfWay(cluster, tmp_path / "died")
    assert contents(run(files, tmp_path / "out", runner)) == expected
    died = {path.name for path in (tmp_path / "died").iterdir()}
    assert died == {"open_file", "count_histogram", "write_part", "write_bins"}
    assert list(tmp_path.glob(".out*")) == []


class Terminated:
    """Asks this process to end when the first shard is there."""

    def __init__(self, inner):
        self.inner = inner

    def map(self, function, shared, items):
        results = self.inner.map(function, shared, items)
        if function is prepare_shards.write_part:
            yield next(results)
            os.kill(os.getpid(), signal.SIGTERM)
        yield from results


@pytest.mark.parametrize("kind", ["here", "processes", "dask"])
def test_a_process_that_is_asked_to_end_leaves_nothing(files, cluster, tmp_path, kind):
    with contextlib.ExitStack() as opened:
        runner = {"here": runners.Here(), "dask": cluster}.get(kind)
        runner = runner or opened.enter_context(runners.processes(WORKERS))
        with pytest.raises(PreemptedError), process.terminable():
            run(files, tmp_path / "out", Terminated(runner))
    assert list(tmp_path.iterdir()) == []


def test_processes_end_with_the_one_that_started_them(tmp_path):
    """It is killed: pipes that they share are closed when all have ended."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal\n"
        "from scmultimodal.workflows import runners\n"
        "if __name__ == '__main__':\n"
        "    with runners.processes(2) as runner:\n"
        "        print(*runner.map(divmod, 7, [2, 3]), flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == "(3, 1) (2, 1)\n"


class Twice:
    """Each item by two at once: one that was taken for lost may go on."""

    def map(self, function, shared, items):
        with ThreadPoolExecutor(2) as pool:
            for item in items:
                first, second = [pool.submit(function, shared, item) for _ in "12"]
                second.result()
                yield first.result()


def test_two_workers_may_write_one_shard(files, expected, tmp_path, monkeypatch):
    together = threading.Barrier(2, timeout=60)
    append = GrowingArray.append

    def append_together(self, values):
        together.wait()
        append(self, values)

    monkeypatch.setattr(GrowingArray, "append", append_together)
    assert contents(run(files, tmp_path / "out", Twice())) == expected


@pytest.mark.parametrize("kind", ["dask", "processes"])
def test_an_error_of_a_worker_comes_back_and_ends_the_rest(cluster, tmp_path, kind):
    with contextlib.ExitStack() as opened:
        runner = cluster
        if kind == "processes":
            runner = opened.enter_context(runners.processes(WORKERS))
        results = runner.map(runner_tasks.fail_at_two, tmp_path, range(500))
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(InputError, match=r"^file: is damaged\. Copy it\.$"):
            next(results)
        assert len(list(tmp_path.iterdir())) < 500


def test_only_a_few_items_are_on_their_way():
    """On a cluster of its own: workers that another test killed may not be back."""
    with distributed.LocalCluster(
        n_workers=WORKERS,
        threads_per_worker=1,
        processes=False,
        dashboard_address=":0",
    ) as cluster, runners.dask(cluster.scheduler_address) as runner:  # fmt: skip
        runner._client.wait_for_workers(WORKERS, timeout=60)
        taken = []
        items = (taken.append(item) or item for item in range(500))
        results = runner.map(runner_tasks.double, 2, items)
        assert next(results) == 0
        assert len(taken) == 2 * WORKERS + 1
        assert list(results) == [2 * item for item in range(1, 500)]


@pytest.mark.parametrize("kind", ["dask", "processes"])
def test_an_item_that_ends_every_worker_is_named(cluster, kind):
    def once(dask_scheduler):
        dask_scheduler.allowed_failures = 0

    with contextlib.ExitStack() as opened:
        runner = cluster
        if kind == "processes":
            runner = opened.enter_context(runners.processes(1))
        cluster._client.run_on_scheduler(once)
        with pytest.raises(InputError, match=r"^cells: the process that read it was"):
            list(runner.map(runner_tasks.crash, None, ["cells"]))


def test_a_scheduler_that_is_lost(monkeypatch):
    monkeypatch.setattr(runners, "PATIENCE_S", 0.5)
    with distributed.LocalCluster(
        n_workers=1, processes=False, dashboard_address=":0", silence_logs=logging.FATAL
    ) as cluster, runners.dask(cluster.scheduler_address) as runner:  # fmt: skip
        results = runner.map(runner_tasks.double, 2, range(500))
        assert next(results) == 0
        cluster.close()
        with pytest.raises(InputError, match="--scheduler: was lost, or ended"):
            list(results)


@pytest.mark.parametrize("kind", ["silent", "refused", "nonsense", "no workers"])
def test_a_scheduler_that_does_not_answer(kind, monkeypatch):
    monkeypatch.setattr(runners, "PATIENCE_S", 0.5)
    with contextlib.ExitStack() as opened:
        listening = opened.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        if kind == "silent":
            listening.listen()
        if kind == "nonsense":
            address = "somewhere"
        if kind == "no workers":
            address = opened.enter_context(
                distributed.LocalCluster(
                    n_workers=0, processes=False, dashboard_address=":0"
                )
            ).scheduler_address
        with pytest.raises(InputError, match=f"--scheduler {address}: does not answer"):
            opened.enter_context(runners.dask(address))


def test_workers_of_another_version(cluster, monkeypatch):
    monkeypatch.setattr(scmultimodal, "__version__", "0.0.7")
    address = cluster._client.scheduler.address
    with pytest.raises(InputError, match=r"version \d\S+ of scmultimodal, not 0.0.7"):
        runners.dask(address).__enter__()


def test_dask_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'scmultimodal\[scale\]'"):
        runners.dask(None).__enter__()


@pytest.mark.parametrize("runner", [runners.processes, lambda n: runners.dask(None, n)])
def test_there_must_be_a_worker(runner):
    with pytest.raises(InputError, match="--workers: is 0"):
        runner(0).__enter__()
